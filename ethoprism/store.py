"""AnnotationStore: the labels of a project in SQLite; every edit is one durable transaction.

The file is the one part of a project that cannot be rebuilt. Each edit is written together with
its inverse, so undo and redo survive a restart. After each edit a plain CSV mirror of the recording
is replaced atomically, for eyes and for version control (bouts in ``<id>.csv``, observed spans in
``<id>.observed.csv``); it is never read back.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ethoprism.annotation import (
    BOUT_COLUMNS,
    SOURCES,
    SPAN_COLUMNS,
    bout_table,
    check_frames,
    span_table,
)
from ethoprism.errors import LabelError, ProjectError, StorageError
from ethoprism.files import replacing

SCHEMA_VERSION = 1
APPLICATION_ID = 0x4554504D  # "ETPM": tells `file` and us that this is an annotation store

_SCHEMA = """
CREATE TABLE bouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
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
    recording TEXT NOT NULL, subject TEXT NOT NULL, behaviour TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    stop_frame INTEGER NOT NULL CHECK (stop_frame > start_frame),
    annotator TEXT NOT NULL, modified TEXT NOT NULL
);
CREATE INDEX spans_by_recording ON spans (recording, start_frame);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL, author TEXT NOT NULL, description TEXT NOT NULL,
    removed TEXT NOT NULL, added TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
"""
_COLUMNS = {"bouts": BOUT_COLUMNS, "spans": SPAN_COLUMNS}


@dataclass(frozen=True)
class Edit:
    """One edit as the history lists it."""

    id: int
    time: str
    author: str
    description: str
    undone: bool


class AnnotationStore:
    """The labels of one project.

    Parameters
    ----------
    path
        The SQLite file; made if it is absent.
    mirror
        Folder of the CSV mirrors, or ``None`` for no mirror.
    n_frames
        Frames of each recording by id; labels outside are refused.

    Raises
    ------
    ProjectError
        If the file is no annotation store, is damaged, or comes from a newer EthoPrism.
    """

    def __init__(self, path: Path, n_frames: dict[str, int], mirror: Path | None = None):
        self.path = path
        self.n_frames = dict(n_frames)
        self.mirror = mirror
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
            self._prepare()
        except sqlite3.Error as error:
            raise _unreadable(path, str(error)) from error

    def close(self) -> None:
        """Close the file. Everything was saved when its edit returned."""
        self._db.close()

    def __enter__(self) -> AnnotationStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def bouts(self, recording: str | None = None) -> pd.DataFrame:
        """The bouts of one recording or of all, with their ``id`` as index."""
        return self._read("bouts", recording)

    def spans(self, recording: str | None = None) -> pd.DataFrame:
        """The observed spans of one recording or of all, with their ``id`` as index."""
        return self._read("spans", recording)

    def add(
        self,
        bouts: pd.DataFrame | None = None,
        spans: pd.DataFrame | None = None,
        *,
        description: str,
        author: str = "",
    ) -> Edit:
        """Add bouts and observed spans as one edit; the edit that was saved is returned.

        Parameters
        ----------
        bouts, spans
            Tables as made by `ethoprism.annotation.bout_table` and `span_table`.
        description
            What the edit does, as the history will show it.

        Raises
        ------
        LabelError
            If a row lies outside its recording or names an unknown source. Nothing is saved then.
        """
        now = _now()
        added: dict[str, list[dict[str, Any]]] = {"bouts": [], "spans": []}
        for name, table in (("bouts", bouts), ("spans", spans)):
            if table is not None and len(table):
                check_frames(table, self.n_frames)
                table = table.copy()
                table.loc[table["modified"] == "", "modified"] = now
                added[name] = [_plain(row) for row in table.to_dict("records")]
        unknown = {row["source"] for row in added["bouts"]} - set(SOURCES)
        if unknown:
            raise LabelError(
                "A bout has an unknown source",
                expected=", ".join(SOURCES),
                found=", ".join(sorted(unknown)),
            )
        return self._edit({"bouts": [], "spans": []}, added, description, author)

    def remove(
        self,
        bout_ids: list[int] | None = None,
        span_ids: list[int] | None = None,
        *,
        description: str,
        author: str = "",
    ) -> Edit:
        """Remove rows by id as one edit; unknown ids are a `LabelError`."""
        removed = {
            "bouts": self._rows_by_id("bouts", bout_ids or []),
            "spans": self._rows_by_id("spans", span_ids or []),
        }
        return self._edit(removed, {"bouts": [], "spans": []}, description, author)

    def undo(self) -> Edit | None:
        """Take back the newest edit that holds; ``None`` if there is none."""
        return self._flip(undone=False)

    def redo(self) -> Edit | None:
        """Do the oldest edit of the undone ones again; ``None`` if there is none."""
        return self._flip(undone=True)

    def history(self) -> list[Edit]:
        """All edits, oldest first."""
        rows = self._db.execute("SELECT id, time, author, description, undone FROM edits")
        return [Edit(r[0], r[1], r[2], r[3], bool(r[4])) for r in rows]

    def _prepare(self) -> None:
        self._db.execute("PRAGMA foreign_keys=ON")
        # A rollback journal, unlike WAL, is also safe on network drives; EXTRA also syncs the
        # folder, so that a committed edit outlives a power cut.
        self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.execute("PRAGMA synchronous=EXTRA")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        application = self._db.execute("PRAGMA application_id").fetchone()[0]
        empty = not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if empty:
            with self._transaction():
                for statement in _SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            return
        if application != APPLICATION_ID:
            raise _unreadable(self.path, "another kind of SQLite file")
        if version > SCHEMA_VERSION:
            raise ProjectError(
                f"{self.path} was written by a newer EthoPrism",
                expected=f"schema version {SCHEMA_VERSION} or older",
                found=f"version {version}",
                remedy="Update EthoPrism. The file was not touched.",
            )
        check = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if check != "ok":
            raise _unreadable(self.path, str(check))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise StorageError(
                f"The labels could not be saved in {self.path}",
                found=str(error),
                remedy="Nothing of this edit was kept, everything before it is safe. Free disk "
                "space, or close the other program that holds the file, and do it again.",
            ) from error

    def _read(self, table: str, recording: str | None) -> pd.DataFrame:
        where, values = ("WHERE recording = ?", (recording,)) if recording is not None else ("", ())
        columns = ", ".join(_COLUMNS[table])
        rows = self._db.execute(
            f"SELECT id, {columns} FROM {table} {where} "  # noqa: S608 - constants of this module
            "ORDER BY recording, start_frame, id",
            values,
        ).fetchall()
        made = bout_table if table == "bouts" else span_table
        frame = made([dict(zip(_COLUMNS[table], row[1:], strict=True)) for row in rows])
        frame.index = pd.Index([row[0] for row in rows], name="id", dtype="int64")
        return frame

    def _rows_by_id(self, table: str, ids: list[int]) -> list[dict[str, Any]]:
        current = self._read(table, None)
        missing = [i for i in ids if i not in current.index]
        if missing:
            raise LabelError(
                f"No such rows in the {table}",
                expected="ids of rows that exist",
                found=", ".join(map(str, missing)),
            )
        rows = current.loc[ids].reset_index().to_dict("records")
        return [_plain(row) for row in rows]

    def _edit(
        self,
        removed: dict[str, list[dict[str, Any]]],
        added: dict[str, list[dict[str, Any]]],
        description: str,
        author: str,
    ) -> Edit:
        time = _now()
        with self._transaction():
            # A new edit ends the branch of undone ones, as in every editor.
            self._db.execute("DELETE FROM edits WHERE undone = 1")
            self._exchange(removed, added)
            cursor = self._db.execute(
                "INSERT INTO edits (time, author, description, removed, added) "
                "VALUES (?, ?, ?, ?, ?)",
                (time, author, description, json.dumps(removed), json.dumps(added)),
            )
        self._mirror(removed, added)
        return Edit(int(cursor.lastrowid or 0), time, author, description, False)

    def _flip(self, *, undone: bool) -> Edit | None:
        with self._transaction():
            row = self._db.execute(
                "SELECT id, time, author, description, removed, added FROM edits "
                "WHERE undone = ? ORDER BY CASE WHEN undone THEN id ELSE -id END LIMIT 1",
                (int(undone),),
            ).fetchone()
            if row is None:
                return None
            removed, added = json.loads(row[4]), json.loads(row[5])
            if not undone:
                removed, added = added, removed
            self._exchange(removed, added)
            self._db.execute("UPDATE edits SET undone = ? WHERE id = ?", (int(not undone), row[0]))
        self._mirror(removed, added)
        return Edit(row[0], row[1], row[2], row[3], not undone)

    def _exchange(
        self,
        removed: dict[str, list[dict[str, Any]]],
        added: dict[str, list[dict[str, Any]]],
    ) -> None:
        """Delete and insert rows; inserted rows are given their ids, so undo restores the same."""
        for table, columns in _COLUMNS.items():
            self._db.executemany(
                f"DELETE FROM {table} WHERE id = ?",  # noqa: S608
                [(row["id"],) for row in removed[table]],
            )
            names = ("id", *columns)
            marks = ", ".join("?" * len(names))
            for row in added[table]:
                cursor = self._db.execute(
                    f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608
                    [row.get(name) for name in names],
                )
                row["id"] = cursor.lastrowid

    def _mirror(self, *changes: dict[str, list[dict[str, Any]]]) -> None:
        if self.mirror is None:
            return
        touched = {row["recording"] for c in changes for rows in c.values() for row in rows}
        for recording in sorted(touched):
            tables = {"": self.bouts(recording), ".observed": self.spans(recording)}
            for suffix, table in tables.items():
                with replacing(self.mirror / f"{recording}{suffix}.csv") as path:
                    table.to_csv(path, index=False, lineterminator="\n")


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(k): v if isinstance(v, str) else int(v) for k, v in row.items()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _unreadable(path: Path, found: str) -> ProjectError:
    return ProjectError(
        f"{path} cannot be read as an annotation store",
        expected="the SQLite file that EthoPrism made",
        found=found,
        remedy="It was not changed. Put a copy of it aside, then restore it from a backup; the "
        "folder annotations/ beside it holds a CSV of every recording as last saved.",
    )
