"""Opening a store: check it, recover it if it is damaged, bring it to this schema."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ethoprism.errors import LabelError, ProjectError, StorageError
from ethoprism.store import log
from ethoprism.store.disk import (
    journal_path,
    log_path,
    set_aside,
    snapshot_folder,
    stamp,
    sync_folder,
)
from ethoprism.store.integrity import (
    UNSOUND,
    NewerSchema,
    connect,
    connect_reading,
    is_storage,
    problems_of,
    unreadable,
    version_of,
)
from ethoprism.store.operations import State, read_state, write_state
from ethoprism.store.recovery import (
    RecoveryReport,
    can_recover,
    catch_up,
    pending,
    rebuild,
    recover,
)
from ethoprism.store.schema import SCHEMA_VERSION, create, migrate, new_uid
from ethoprism.store.snapshots import snapshots_of, take_snapshot

_LONG_LOG = 64 << 20


@dataclass
class Opened:
    """An open database, and what opening it showed.

    Attributes
    ----------
    log
        For appending; ``None`` where the store is only read.
    recovery
        What was recovered, if anything was.
    notes
        What else the user should know, one sentence each.
    scratch
        A folder with a private copy that is read in place of the file.
    """

    db: sqlite3.Connection
    state: State
    log: log.LogWriter | None = None
    recovery: RecoveryReport | None = None
    notes: list[str] = field(default_factory=list)
    scratch: tempfile.TemporaryDirectory[str] | None = None


def open_for_writing(path: Path) -> Opened:
    """Open the store at ``path``, made if it is absent; the caller holds its lock.

    Raises
    ------
    ProjectError
        If it is another kind of file, from a newer EthoPrism, or damaged with nothing to recover
        from. It is untouched then.
    StorageError
        If the disk is full, read-only or gone.
    """
    try:
        return _open_for_writing(path)
    except UNSOUND as error:
        if is_storage(error):
            raise _cannot_write(path, str(error)) from error
        raise unreadable(path, str(error)) from error
    except OSError as error:
        raise _cannot_write(path, error.strerror or str(error)) from error


def open_for_reading(path: Path) -> Opened:
    """Open the store at ``path`` without writing anything beside it.

    What a killed writer left unfinished, a damaged file and an older schema are put right in a
    private copy. A store that is not there yet reads as an empty one.
    """
    try:
        if not path.exists() and not can_recover(path):
            db = sqlite3.connect(":memory:", isolation_level=None)
            create(db, new_uid())
            return Opened(db, read_state(db))
        damage = "the file is missing"
        if path.exists():
            opened, damage = _read_in_place(path)
            if opened is not None:
                return opened
        return _read_copy(path, damage)
    except UNSOUND as error:
        raise unreadable(path, str(error)) from error
    except OSError as error:
        raise StorageError(
            f"{path} could not be read", found=f"{error.strerror or error}"
        ) from error


def _open_for_writing(path: Path) -> Opened:
    notes: list[str] = []
    version, damage = _look(path)
    report = None
    if damage:
        report = recover(path, damage) if can_recover(path) else None
        if report is None:
            raise unreadable(path, damage[0])
        version = SCHEMA_VERSION
    if path.exists() and not os.access(path, os.W_OK):
        raise _cannot_write(path, "you may not write to it")
    db = connect(path)
    try:
        began = version == 0
        if began:
            _in_transaction(db, lambda: create(db, new_uid()))
        elif version < SCHEMA_VERSION:
            backup = _migrate(db, path, version)
            notes.append(f"The labels were brought to a new schema; the old file is {backup}.")
        opened = Opened(db, read_state(db), None, report, notes)
        _open_log(opened, path, quiet=began or version < SCHEMA_VERSION)
        return opened
    except BaseException:
        db.close()
        raise


def _look(path: Path) -> tuple[int, list[str]]:
    """The schema version of a file and what is wrong with it."""
    if not path.exists():
        lost = can_recover(path)
        return 0, ["the file is missing"] if lost else []
    try:
        db = connect(path)
        try:
            version = version_of(db, path)
            if version == SCHEMA_VERSION:
                return version, problems_of(db)
            if version == 0:
                return 0, ["the file is empty"] if can_recover(path) else []
            pages = [str(row[0]) for row in db.execute("PRAGMA integrity_check(3)")]
            return version, [] if pages == ["ok"] else pages
        finally:
            db.close()
    except NewerSchema:
        raise
    except ProjectError:
        if not can_recover(path):
            raise
        return SCHEMA_VERSION, ["its first page is that of another file"]
    except UNSOUND as error:
        if is_storage(error):
            raise
        return SCHEMA_VERSION, [str(error)]


def _migrate(db: sqlite3.Connection, path: Path, version: int) -> Path:
    """Bring a store to this schema in one transaction, after a verified backup."""
    backup = path.with_name(f"{path.stem}.v{version}-{stamp()}{path.suffix}")
    try:
        copy = sqlite3.connect(backup)
        try:
            db.backup(copy)
            pages = [row[0] for row in copy.execute("PRAGMA integrity_check(1)")]
        finally:
            copy.close()
        if pages != ["ok"]:
            raise sqlite3.DatabaseError(f"the backup is damaged: {pages[0]}")
        with backup.open("r+b") as file:
            os.fsync(file.fileno())
        sync_folder(path.parent)
    except BaseException:
        backup.unlink(missing_ok=True)
        raise

    def work() -> None:
        migrate(db)
        problems = problems_of(db)
        if problems:
            raise unreadable(path, f"after the change of its schema: {problems[0]}")

    _in_transaction(db, work)
    return backup


def _open_log(opened: Opened, path: Path, *, quiet: bool) -> None:
    """Do again what only the log holds, take a snapshot if there was a change, open the log."""
    db, file = opened.db, log_path(path)
    try:
        state, done, wrong = catch_up(db, path)
    except LabelError as error:
        state, done, wrong = read_state(db), 0, str(error)
    if done and opened.recovery is None:
        opened.recovery = RecoveryReport(
            ("the writing process was ended in the middle of an edit",), "the log", done
        )
    if not wrong and log.damaged_around(file, state.log_end):
        wrong = "some of its lines are damaged"
    made = _snapshot(opened, path, state.n)
    long = file.exists() and file.stat().st_size > _LONG_LOG
    if wrong or (long and made):
        if wrong and not made:
            raise _cannot_write(path, opened.notes[-1])
        if wrong and file.exists():
            kept = set_aside(file, "damaged")
            opened.notes.append(f"The log of edits was begun anew: {wrong}. The old one is {kept}.")
        elif wrong and not quiet:
            opened.notes.append(f"The log of edits was begun anew: {wrong}.")
        elif file.exists():
            file.replace(snapshot_folder(path) / f"{state.n:012d}.log")
        start, end = log.begin(file, state.store, state.n, state.last)
        state = replace(state, log_start=start, log_end=end)
        begun = state
        _in_transaction(db, lambda: write_state(db, begun))
    opened.state = state
    opened.log = log.LogWriter(file, state.log_end)


def _snapshot(opened: Opened, path: Path, n: int) -> bool:
    """Whether the newest snapshot holds everything, after taking one if need be."""
    found = snapshots_of(path)
    if n == 0 and not found and opened.state.digests == State.fresh("").digests:
        return True  # an empty store is made anew from nothing
    if found and found[-1].n == n and opened.recovery is None:
        return True
    try:
        take_snapshot(opened.db, path, n)
    except (OSError, sqlite3.Error) as error:
        opened.notes.append(f"No snapshot of the labels could be made: {error}.")
        return False
    return True


def _read_in_place(path: Path) -> tuple[Opened | None, str]:
    """The store as it lies, or ``None`` and why it cannot be read so."""
    from ethoprism.store.lock import holder_of

    try:
        db = connect_reading(path)
    except UNSOUND as error:
        return None, str(error)
    try:
        version = version_of(db, path)
        problems = problems_of(db, quick=True) if version == SCHEMA_VERSION else ["its schema"]
        if not problems:
            state = read_state(db)
            # A writer at work is ahead of its database for a moment; a dead one stays so.
            if holder_of(path) or not pending(log_path(path), state):
                return Opened(db, state), ""
            problems = ["the writing process was ended in the middle of an edit"]
        db.close()
        return None, problems[0]
    except NewerSchema:
        db.close()
        raise
    except ProjectError:
        db.close()
        if not can_recover(path):
            raise
        return None, "its first page is that of another file"
    except UNSOUND as error:
        db.close()
        return None, str(error)


def _read_copy(path: Path, damage: str) -> Opened:
    scratch = tempfile.TemporaryDirectory(prefix="ethoprism-labels-")
    target = Path(scratch.name) / path.name
    db = None
    try:
        for source in (path, journal_path(path)):
            if source.exists():
                shutil.copyfile(source, target.with_name(source.name))
        report = None
        version, problems = _look(target)
        if problems or not path.exists():
            journal_path(target).unlink(missing_ok=True)
            result = rebuild(path, target)
            if result is None:
                raise unreadable(path, damage)
            _, source, edits, lost = result
            report = RecoveryReport((*(problems or [damage]),), source, edits, lost)
            version = SCHEMA_VERSION
        db = connect(target)
        if version == 0:
            created = db
            _in_transaction(db, lambda: create(created, new_uid()))
        elif version < SCHEMA_VERSION:
            migrating = db
            _in_transaction(db, lambda: migrate(migrating))
        elif report is None:
            if log_path(path).exists():
                shutil.copyfile(log_path(path), log_path(target))
            _, done, _ = catch_up(db, target)
            if done:
                report = RecoveryReport((damage,), "the log", done)
        db.execute("PRAGMA query_only=ON")
        return Opened(db, read_state(db), None, report, [], scratch)
    except BaseException:
        if db is not None:
            db.close()
        scratch.cleanup()
        raise


def _in_transaction(db: sqlite3.Connection, work: Callable[[], None]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        work()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _cannot_write(path: Path, found: str) -> StorageError:
    return StorageError(
        f"The labels {path} cannot be opened for writing",
        found=found,
        remedy="Nothing was changed. Free disk space, or see that you may write to the file and "
        "its folder. They can be read meanwhile.",
    )
