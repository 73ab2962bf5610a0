"""Snapshots: verified copies of the store, many of the last hours and fewer of the older ones."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ethoprism.store.disk import moment_of, snapshot_folder, stamp, sync_folder
from ethoprism.store.integrity import problems_of

NEWEST = 10
HOURLY = timedelta(days=1)
DAILY = timedelta(days=30)


@dataclass(frozen=True)
class Snapshot:
    """A copy of the store.

    Attributes
    ----------
    path
        An SQLite file of its own.
    time
        When it was made.
    n
        Number of operations that the store held then.
    """

    path: Path
    time: datetime
    n: int

    @property
    def name(self) -> str:
        """Its name, as ``label restore`` takes it."""
        return self.path.stem


def snapshots_of(store: Path) -> list[Snapshot]:
    """The snapshots of a store, oldest first."""
    found = []
    for path in snapshot_folder(store).glob("*.sqlite"):
        try:
            time, n = path.stem.split("-n")
            found.append(Snapshot(path, moment_of(time), int(n)))
        except ValueError:
            continue  # a file that somebody else put there
    return sorted(found, key=lambda s: (s.time, s.n))


def take_snapshot(db: sqlite3.Connection, store: Path, n: int) -> Snapshot:
    """Copy the store; the copy has its name only once it was read and found sound.

    Raises
    ------
    OSError, sqlite3.Error
        If there is no room for it, or the copy is damaged. What was there is untouched.
    """
    folder = snapshot_folder(store)
    folder.mkdir(parents=True, exist_ok=True)
    time = datetime.now(UTC)
    path = folder / f"{stamp(time)}-n{n:06d}.sqlite"
    temporary = folder / f".{path.name}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        copy = sqlite3.connect(temporary)
        try:
            copy.execute("PRAGMA synchronous=OFF")  # it is flushed as a whole below
            copy.execute("PRAGMA journal_mode=MEMORY")
            db.backup(copy)
            problems = problems_of(copy)
        finally:
            copy.close()
        if problems:
            raise sqlite3.DatabaseError(f"the copy is damaged: {problems[0]}")
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)
    thin(store)
    return Snapshot(path, moment_of(stamp(time)), n)


def thin(store: Path) -> None:
    """Delete the snapshots that `kept` does not name."""
    found = snapshots_of(store)
    keep = kept([s.time for s in found])
    for snapshot in found:
        if snapshot.time not in keep:
            snapshot.path.unlink(missing_ok=True)


def kept(times: Iterable[datetime]) -> set[datetime]:
    """Which snapshots stay.

    The newest `NEWEST`; the last of each hour of the day before the newest; the last of each day of
    the 30 days before it; and the last of each month for ever.
    """
    ordered = sorted(set(times), reverse=True)
    if not ordered:
        return set()
    keep = set(ordered[:NEWEST])
    seen: set[str] = set()
    for time in ordered:
        age = ordered[0] - time
        slots = [f"{time:%Y-%m}"]
        if age <= DAILY:
            slots.append(f"{time:%Y-%m-%d}")
        if age <= HOURLY:
            slots.append(f"{time:%Y-%m-%dT%H}")
        if not seen.issuperset(slots):
            keep.add(time)
            seen.update(slots)
    return keep
