"""Recovery: a sound database from a snapshot and the log, in place of a damaged one."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ethoprism.errors import LabelError
from ethoprism.store import log
from ethoprism.store.disk import journal_path, log_path, set_aside, snapshot_folder, sync_folder
from ethoprism.store.integrity import UNSOUND, connect, problems_of
from ethoprism.store.operations import State, read_state, replay, write_state
from ethoprism.store.schema import create
from ethoprism.store.snapshots import snapshots_of


@dataclass(frozen=True)
class RecoveryReport:
    """What was damaged, and what was done about it.

    Attributes
    ----------
    damage
        What was found, one sentence each.
    source
        Where the labels were taken from.
    edits
        Number of operations that were done again from the log.
    lost
        What could not be recovered, one sentence each; empty if nothing is missing.
    kept
        Where the damaged files lie now.
    """

    damage: tuple[str, ...]
    source: str
    edits: int = 0
    lost: tuple[str, ...] = ()
    kept: tuple[Path, ...] = ()

    def sentences(self) -> list[str]:
        """The report in words."""
        text = [f"The labels were damaged: {d}." for d in self.damage]
        text.append(f"They were recovered from {self.source}, {self.edits} operations of the log.")
        text += [f"Not recovered: {sentence}." for sentence in self.lost]
        text += [f"The damaged file is kept as {path}." for path in self.kept]
        return text


def can_recover(store: Path) -> bool:
    """Whether there is a log or a snapshot to recover from."""
    return bool(snapshots_of(store)) or any(True for _ in log.entries(log_path(store)))


def rebuild(store: Path, target: Path) -> tuple[State, str, int, tuple[str, ...]] | None:
    """Make a sound database at ``target`` from the newest sound snapshot and the log.

    Returns
    -------
    Its state, where it came from, how many operations of the log were done again, and what could
    not be recovered; ``None`` if there is nothing to make it from.
    """
    history = list(_history(store))
    for snapshot in reversed(snapshots_of(store)):
        shutil.copyfile(snapshot.path, target)
        source = f"the snapshot {snapshot.name}"
        result = _replayed(target, history, source)
        if result is not None:
            return (*result, _lost(store, result[0]))
    begun = [e for e in history if e.data["kind"] == "begin" and e.data["n"] == 0]
    if begun:
        target.unlink(missing_ok=True)
        db = connect(target)
        try:
            db.execute("BEGIN IMMEDIATE")
            create(db, begun[0].data["store"])
            db.execute("COMMIT")
        finally:
            db.close()
        result = _replayed(target, history, "the log alone")
        if result is not None:
            return (*result, _lost(store, result[0]))
    return None


def recover(store: Path, damage: Iterable[str]) -> RecoveryReport | None:
    """Put a sound database in the place of a damaged one, which is kept under another name.

    An interruption at any moment leaves a state from which the next opening recovers.
    """
    fresh = store.with_name(f".{store.name}.recovered")
    fresh.unlink(missing_ok=True)
    try:
        result = rebuild(store, fresh)
        if result is None:
            return None
        _, source, edits, lost = result
        with fresh.open("r+b") as file:
            os.fsync(file.fileno())
        # The journal goes first: beside the new database, SQLite would apply it to that.
        kept = [set_aside(journal_path(store), "damaged"), set_aside(store, "damaged")]
        fresh.replace(store)
        sync_folder(store.parent)
    finally:
        fresh.unlink(missing_ok=True)
    return RecoveryReport(tuple(damage), source, edits, lost, tuple(p for p in kept if p))


def catch_up(db: sqlite3.Connection, store: Path) -> tuple[State, int, str]:
    """Do the operations that the log holds and the database does not.

    Returns
    -------
    The state, the number of operations done, and what is wrong with the log, or an empty string.
    The state's ``log_end`` is where the next line belongs, if nothing is wrong with the log.
    """
    state = read_state(db)
    path = log_path(store)
    if not path.exists():
        return state, 0, "it is missing"
    position = _position(path, state)
    if position is None:
        return state, 0, "it does not hold the last edit of the database"
    done = 0
    db.execute("BEGIN IMMEDIATE")
    try:
        state = replace(state, log_start=position[0], log_end=position[1])
        for entry in log.entries(path, position[1]):
            if entry.data.get("prev") != state.last:
                break
            state = replay(db, state, entry.data)
            state = replace(state, log_start=entry.start, log_end=entry.end)
            done += 1
        write_state(db, state)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    return state, done, ""


def pending(path: Path, state: State) -> int:
    """Number of operations in the log that a database in this state lacks."""
    position = _position(path, state)
    if position is None:
        return 0
    return sum(1 for _ in log.entries(path, position[1]))


def _position(path: Path, state: State) -> tuple[int, int] | None:
    """Where the last operation of the database lies in the log."""
    if path.exists() and path.stat().st_size >= state.log_end > state.log_start:
        first = next(log.entries(path, state.log_start), None)
        if first and first.end == state.log_end and first.data["uid"] == state.last:
            return first.start, first.end
    for entry in log.entries(path):
        if entry.data["uid"] == state.last:
            return entry.start, entry.end
    return None


def _log_files(store: Path) -> list[Path]:
    older = sorted(snapshot_folder(store).glob("*.log"))
    return [p for p in (*older, log_path(store)) if p.exists()]


def _history(store: Path) -> Iterable[log.Entry]:
    for path in _log_files(store):
        yield from log.entries(path)


def _lost(store: Path, state: State) -> tuple[str, ...]:
    """What the log has behind the last operation that could be recovered; lines are numbered."""
    path = log_path(store)
    first = next(log.entries(path), None)
    missing = log.count_lines(path) - (state.n - first.data["n"] + 1 if first else 0)
    if missing <= 0:
        return ()
    return (f"{missing} lines of the log, which are damaged or come after one that is",)


def _replayed(target: Path, history: list[log.Entry], source: str) -> tuple[State, str, int] | None:
    """Apply to a copy what the log holds after it; ``None`` if the copy is not sound."""
    try:
        db = connect(target)
    except UNSOUND:
        return None
    try:
        if problems_of(db):
            return None
        state = read_state(db)
        following = {e.data["prev"]: e.data for e in history if e.data["kind"] != "begin"}
        done = 0
        db.execute("BEGIN IMMEDIATE")
        while state.last in following:
            state = replay(db, state, following[state.last])
            done += 1
        # Its place in the log is found by name when the store is opened.
        state = replace(state, log_start=0, log_end=0)
        write_state(db, state)
        db.execute("COMMIT")
        return (state, source, done) if not problems_of(db) else None
    except (*UNSOUND, LabelError, KeyError, TypeError):
        return None
    finally:
        db.close()
