"""The tables of the annotation store, and the way from older ones."""

from __future__ import annotations

import json
import sqlite3
import uuid
from datetime import UTC, datetime
from typing import Any

from ethoprism.annotation import BOUT_COLUMNS, SPAN_COLUMNS

SCHEMA_VERSION = 2
APPLICATION_ID = 0x4554504D  # "ETPM": tells `file` and us that this is an annotation store

COLUMNS: dict[str, tuple[str, ...]] = {
    "bouts": ("id", "uid", *BOUT_COLUMNS),
    "spans": ("id", "uid", *SPAN_COLUMNS),
    "edits": ("id", "uid", "time", "author", "description", "removed", "added", "undone"),
}
LABELS = ("bouts", "spans")

_NAMESPACE = uuid.UUID("7d0f5cf0-5d6b-4e0c-9d63-2f1f5a4f5b1e")

# ``uid`` is the same in all copies of a project, ``id`` is not: two people may both add row 51.
# ``state`` holds one row: how many operations were done, the last one and its place in the log,
# and a digest of each table, by which pages that are whole but old are noticed.
_SCHEMA = """
CREATE TABLE bouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    recording TEXT NOT NULL, subject TEXT NOT NULL, target TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    stop_frame INTEGER NOT NULL CHECK (stop_frame > start_frame),
    modifiers TEXT NOT NULL, comment TEXT NOT NULL, annotator TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('manual', 'automated', 'curated')),
    modified TEXT NOT NULL
);
CREATE INDEX bouts_by_recording ON bouts (recording, start_frame);
CREATE TABLE spans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    recording TEXT NOT NULL, subject TEXT NOT NULL, behaviour TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    stop_frame INTEGER NOT NULL CHECK (stop_frame > start_frame),
    annotator TEXT NOT NULL, modified TEXT NOT NULL
);
CREATE INDEX spans_by_recording ON spans (recording, start_frame);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    time TEXT NOT NULL, author TEXT NOT NULL, description TEXT NOT NULL,
    removed TEXT NOT NULL, added TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX edits_by_undone ON edits (undone, id);
CREATE TABLE touched (recording TEXT PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    store TEXT NOT NULL, n INTEGER NOT NULL, last TEXT NOT NULL,
    log_start INTEGER NOT NULL, log_end INTEGER NOT NULL, digests TEXT NOT NULL
);
"""
TABLES = ("bouts", "spans", "edits", "touched", "state")


def new_uid() -> str:
    """A name that no other row, edit or store has."""
    return uuid.uuid4().hex


def now() -> str:
    """The time as labels and edits state it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def create(db: sqlite3.Connection, store: str) -> None:
    """Make the tables in an empty file; the caller holds the transaction."""
    from ethoprism.store.operations import State, write_state

    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    write_state(db, State.fresh(store))


def migrate(db: sqlite3.Connection) -> None:
    """Bring a store of schema version 1 to this one; the caller holds the transaction.

    Names of old rows and edits are made from their content, so that copies of a project which are
    brought over separately still agree on them.
    """
    from ethoprism.store.operations import State, add_digest, write_state

    old: dict[str, list[dict[str, Any]]] = {}
    for table, columns in COLUMNS.items():
        names = [c for c in columns if c != "uid"]
        rows = db.execute(f"SELECT {', '.join(names)} FROM {table} ORDER BY id")  # noqa: S608
        old[table] = [dict(zip(names, row, strict=True)) for row in rows]
        # The highest id ever given must not be given again.
    used = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
    for table in COLUMNS:
        db.execute(f"DROP TABLE {table}")
    for statement in _SCHEMA.split(";"):
        db.execute(statement)
    state = State.fresh(new_uid())
    for table, rows in old.items():
        marks = ", ".join("?" * len(COLUMNS[table]))
        for row in rows:
            row["uid"] = _old_uid(table, row)
            if table == "edits":
                for side in ("removed", "added"):
                    changes = json.loads(row[side])
                    for kind, changed in changes.items():
                        for entry in changed:
                            entry["uid"] = _old_uid(kind, entry)
                    row[side] = json.dumps(changes)
            values = [row[c] for c in COLUMNS[table]]
            db.execute(f"INSERT INTO {table} VALUES ({marks})", values)  # noqa: S608
            state = add_digest(state, table, values)
    for table, seq in used.items():
        db.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, seq))
    write_state(db, state)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")


def _old_uid(table: str, row: dict[str, Any]) -> str:
    names = [c for c in COLUMNS[table] if c not in ("uid", "undone")]
    text = json.dumps([table, *(row[c] for c in names)], ensure_ascii=False)
    return uuid.uuid5(_NAMESPACE, text).hex
