"""The two operations on labels, on a database alone: an edit, and its undoing or redoing.

The store does them, and recovery does them again from the log. The caller holds the transaction.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ethoprism.errors import LabelError
from ethoprism.store.schema import COLUMNS, LABELS

Row = dict[str, Any]
Rows = dict[str, list[Row]]
"""Rows of ``bouts`` and of ``spans``."""

_MODULUS = 1 << 64


@dataclass(frozen=True)
class State:
    """How far a store is.

    Attributes
    ----------
    store
        Name of the store; copies share it.
    n, last
        Number of operations done, and the name of the last one.
    log_start, log_end
        Where the last operation lies in the log, in bytes.
    digests
        By table: number of rows, and the sum of their hashes, which does not depend on the order.
    """

    store: str
    n: int
    last: str
    log_start: int
    log_end: int
    digests: dict[str, tuple[int, int]]

    @classmethod
    def fresh(cls, store: str) -> State:
        """The state of a store in which nothing was done yet."""
        return cls(store, 0, store, 0, 0, dict.fromkeys(COLUMNS, (0, 0)))


def read_state(db: sqlite3.Connection) -> State:
    """The state as the database holds it."""
    row = db.execute("SELECT store, n, last, log_start, log_end, digests FROM state").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("the state of the store is missing")
    digests = {k: (int(c), int(h, 16)) for k, (c, h) in json.loads(row[5]).items()}
    return State(row[0], row[1], row[2], row[3], row[4], digests)


def write_state(db: sqlite3.Connection, state: State) -> None:
    """Put the state into the database."""
    digests = {k: (c, f"{h:016x}") for k, (c, h) in state.digests.items()}
    db.execute(
        "INSERT OR REPLACE INTO state (one, store, n, last, log_start, log_end, digests) "
        "VALUES (1, ?, ?, ?, ?, ?, ?)",
        (state.store, state.n, state.last, state.log_start, state.log_end, json.dumps(digests)),
    )


def row_hash(values: Iterable[Any]) -> int:
    """A hash of one row of a table."""
    text = "\x1f".join(map(str, values)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def add_digest(state: State, table: str, values: Sequence[Any], sign: int = 1) -> State:
    """The state with a row put into a table's digest, or taken out with ``sign=-1``."""
    count, total = state.digests[table]
    changed = (count + sign, (total + sign * row_hash(values)) % _MODULUS)
    return replace(state, digests={**state.digests, table: changed})


def table_digest(db: sqlite3.Connection, table: str) -> tuple[int, int]:
    """Number of rows of a table and the sum of their hashes, read from all of it."""
    count = total = 0
    for values in db.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}"):  # noqa: S608
        count += 1
        total += row_hash(values)
    return count, total % _MODULUS


def rows_where(
    db: sqlite3.Connection, table: str, where: str = "", values: Sequence[Any] = ()
) -> list[Row]:
    """Rows of a table in the order of recording, frame and id; of ``edits`` in that of id."""
    order = "id" if table == "edits" else "recording, start_frame, id"
    names = COLUMNS[table]
    text = f"SELECT {', '.join(names)} FROM {table} {where} ORDER BY {order}"  # noqa: S608
    return [dict(zip(names, row, strict=True)) for row in db.execute(text, values)]


def do_edit(db: sqlite3.Connection, state: State, edit: Row, scope: str | None) -> State:
    """Exchange the rows of an edit and write it into the history.

    Parameters
    ----------
    edit
        ``uid, time, author, description, removed, added``; the ids that rows and edit are given are
        written into it, and are kept if they are there already.
    scope
        Undone edits of this author are dropped, as a new edit ends their branch; ``None`` for all.
    """
    where, values = ("", ()) if scope is None else ("AND author = ?", (scope,))
    for old in rows_where(db, "edits", f"WHERE undone = 1 {where}", values):
        state = add_digest(state, "edits", [old[c] for c in COLUMNS["edits"]], -1)
    db.execute(f"DELETE FROM edits WHERE undone = 1 {where}", values)  # noqa: S608
    state = _exchange(db, state, edit["removed"], edit["added"])
    cursor = db.execute(
        "INSERT INTO edits (id, uid, time, author, description, removed, added, undone) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
        _edit_values(edit)[:-1],
    )
    edit["id"] = cursor.lastrowid
    return add_digest(state, "edits", _edit_values(edit))


def do_flip(db: sqlite3.Connection, state: State, edit: Row, undone: bool) -> State:
    """Undo an edit (``undone=True``) or redo it.

    Parameters
    ----------
    edit
        A row of ``edits`` with ``removed`` and ``added`` as text.
    """
    removed, added = json.loads(edit["removed"]), json.loads(edit["added"])
    if undone:
        removed, added = added, removed
    state = _exchange(db, state, removed, added)
    state = add_digest(state, "edits", [edit[c] for c in COLUMNS["edits"]], -1)
    db.execute("UPDATE edits SET undone = ? WHERE id = ?", (int(undone), edit["id"]))
    edit = {**edit, "undone": int(undone)}
    return add_digest(state, "edits", [edit[c] for c in COLUMNS["edits"]])


def recordings_of(*sides: Rows) -> list[str]:
    """The recordings that rows belong to, in order."""
    return sorted({row["recording"] for side in sides for rows in side.values() for row in rows})


def advance(db: sqlite3.Connection, state: State, recordings: Iterable[str]) -> None:
    """Write the state after an operation, and which recordings it touched."""
    db.executemany(
        "INSERT OR REPLACE INTO touched (recording, n) VALUES (?, ?)",
        [(name, state.n) for name in recordings],
    )
    write_state(db, state)


def replay(db: sqlite3.Connection, state: State, entry: Row) -> State:
    """Do an operation of the log again; the place in the log is the caller's to fill in."""
    if entry["kind"] == "edit":
        edit = entry["edit"]
        state = do_edit(db, state, edit, entry["scope"])
        touched = recordings_of(edit["removed"], edit["added"])
    else:
        found = rows_where(db, "edits", "WHERE uid = ?", (entry["edit"],))
        if not found:
            raise LabelError("The log takes back an edit that is not in the history")
        state = do_flip(db, state, found[0], bool(entry["undone"]))
        touched = recordings_of(json.loads(found[0]["removed"]), json.loads(found[0]["added"]))
    state = replace(state, n=entry["n"], last=entry["uid"])
    advance(db, state, touched)
    return state


def _edit_values(edit: Row) -> list[Any]:
    sides = [json.dumps(edit["removed"]), json.dumps(edit["added"])]
    names = ("uid", "time", "author", "description")
    return [edit.get("id"), *(edit[name] for name in names), *sides, 0]


def _exchange(db: sqlite3.Connection, state: State, removed: Rows, added: Rows) -> State:
    """Delete and insert rows, if those to be deleted are still as the edit knows them."""
    for table in LABELS:
        names = COLUMNS[table]
        for row in removed[table]:
            present = db.execute(
                f"SELECT {', '.join(names)} FROM {table} WHERE id = ?",  # noqa: S608
                (row["id"],),
            ).fetchone()
            expected = tuple(row[name] for name in names)
            if present is None or tuple(present) != expected:
                raise LabelError(
                    f"A row in the {table} was changed or removed since",
                    expected=_describe(row),
                    found="nothing"
                    if present is None
                    else _describe(dict(zip(names, present, strict=True))),
                    remedy="Take back the later edit first. Nothing was changed.",
                )
            db.execute(f"DELETE FROM {table} WHERE id = ?", (row["id"],))  # noqa: S608
            state = add_digest(state, table, expected, -1)
    for table in LABELS:
        names = COLUMNS[table]
        text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608
        for row in added[table]:
            try:
                cursor = db.execute(text, [row.get(name) for name in names])
            except sqlite3.IntegrityError as error:
                raise LabelError(
                    f"A row cannot be put into the {table}: {error}", found=_describe(row)
                ) from error
            row["id"] = cursor.lastrowid
            state = add_digest(state, table, [row[name] for name in names])
    return state


def _describe(row: Row) -> str:
    whose = f" of {row['annotator']}" if row["annotator"] else ""
    place = f"{row['start_frame']} to {row['stop_frame']} in {row['recording']}"
    return f"{row['behaviour']!r} from frame {place}{whose}"
