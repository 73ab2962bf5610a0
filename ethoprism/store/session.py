"""A session: a store opened by one process, and the way in which its operations become durable."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ethoprism.errors import ProjectError, StorageError
from ethoprism.store.lock import Holder, Locked, StoreLock, holder_of
from ethoprism.store.log import LogWriter
from ethoprism.store.mirror import Mirror
from ethoprism.store.opening import Opened, open_for_reading, open_for_writing
from ethoprism.store.operations import Row, State, advance, read_state
from ethoprism.store.schema import new_uid
from ethoprism.store.snapshots import take_snapshot

Mode = Literal["write", "read", "either"]
Work = Callable[[State], tuple[State, Row, list[str]]]
"""Does an operation; returns the new state, its entry in the log and the recordings it touched."""

_SNAPSHOT_EVERY = 500


class Session:
    """An open store.

    Parameters
    ----------
    path, mirror, mode
        As `AnnotationStore` takes them.

    Attributes
    ----------
    db
        The database.
    mirror
        The CSV mirror.
    holder, recovery, notes
        As `AnnotationStore` has them.
    """

    def __init__(self, path: Path, mirror: Path | None, mode: Mode):
        self.path = path
        self.holder: Holder | None = None
        self._lock: StoreLock | None = None
        opened = self._open(mode)
        self.db, self._log, self._scratch = opened.db, opened.log, opened.scratch
        self._last = opened.state.last
        self.recovery, self.notes = opened.recovery, tuple(opened.notes)
        self.mirror = Mirror(mirror if self.writable else None)
        self.mirror.find_stale(self.db)
        self.mirror.flush(self.db)

    @property
    def writable(self) -> bool:
        """Whether edits are possible."""
        return self._log is not None

    def close(self) -> None:
        """Close all files and give the lock back; a second time does nothing."""
        self.db.close()
        if self._log is not None:
            self._log.close()
        if self._scratch is not None:
            self._scratch.cleanup()
        self._release()

    def require_writable(self) -> LogWriter:
        """The log, or a `ProjectError` that names who is writing."""
        if self._log is None:
            holder = self.holder or holder_of(self.path)
            raise ProjectError(
                f"The labels {self.path.name} are open for reading only",
                found=f"they are being written by {holder}" if holder else "",
                remedy="Open them for writing, once nobody else does. Nothing was changed.",
            )
        return self._log

    def commit(self, work: Work) -> None:
        """Do an operation: in the log first, then in the database, or in neither.

        Raises
        ------
        StorageError
            If it could not be saved; nothing of it was kept.
        """
        log = self.require_writable()
        before = log.end
        uid = new_uid()
        try:
            self.db.execute("BEGIN IMMEDIATE")
            state = read_state(self.db)
            if state.last != self._last:
                raise ProjectError(
                    f"{self.path} was changed by another program since it was opened",
                    remedy="Nothing of this edit was kept. Open the project again.",
                )
            changed, entry, recordings = work(state)
            entry |= {"n": state.n + 1, "uid": uid, "prev": state.last}
            start, end = log.append(entry)
            changed = replace(changed, n=state.n + 1, last=uid, log_start=start, log_end=end)
            advance(self.db, changed, recordings)
            self.db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._check_committed(log, uid, before, error)
            self._last = uid
            self.mirror.find_stale(self.db)
            return
        except BaseException:
            self._roll_back()
            if log.end != before:
                log.cut(before)
            raise
        self._last = uid
        self._after(changed, recordings)

    def _open(self, mode: Mode) -> Opened:
        if mode == "read":
            return open_for_reading(self.path)
        try:
            self._lock = StoreLock(self.path)
            return open_for_writing(self.path)
        except (Locked, StorageError) as error:
            self._release()
            if mode == "write":
                raise
            self.holder = error.holder if isinstance(error, Locked) else None
            opened = open_for_reading(self.path)
            opened.notes.append(f"Read only. {error}")
            return opened
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _after(self, state: State, recordings: Sequence[str]) -> None:
        """What follows a saved edit; its failures must not look like a lost edit."""
        self.mirror.changed(self.db, recordings)
        if state.n % _SNAPSHOT_EVERY == 0:
            try:
                take_snapshot(self.db, self.path, state.n)
            except (OSError, sqlite3.Error) as error:
                self.notes = (*self.notes, f"No snapshot of the labels could be made: {error}.")

    def _check_committed(
        self, log: LogWriter, uid: str, before: int, error: sqlite3.Error | OSError
    ) -> None:
        """After a failure: the edit stays if it is in the database; if not, it leaves the log."""
        try:
            self._roll_back()
            if read_state(self.db).last == uid:
                return
        except sqlite3.Error:
            pass  # the database says nothing; the edit counts as refused
        log.cut(before)
        raise StorageError(
            f"The labels could not be saved in {self.path}",
            found=str(error),
            remedy="Nothing of this edit was kept, everything before it is safe. Free disk space, "
            "or see that the file may be written, and do it again.",
        ) from error

    def _roll_back(self) -> None:
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
