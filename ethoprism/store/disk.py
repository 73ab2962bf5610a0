"""Names beside a store, and what makes them durable."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Have renames in a folder put on the disk, where the operating system can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders; its renames are journalled by the file system
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network drives refuse it
    finally:
        os.close(descriptor)


def stamp(moment: datetime | None = None) -> str:
    """A moment, now by default, as it stands in names of files: ``20260131T235959.123Z``."""
    moment = (moment or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def moment_of(text: str) -> datetime:
    """The moment that `stamp` wrote; a `ValueError` if it is none."""
    return datetime.strptime(text, "%Y%m%dT%H%M%S.%fZ").replace(tzinfo=UTC)


def log_path(store: Path) -> Path:
    """Where the log of a store lies."""
    return store.with_suffix(".log")


def snapshot_folder(store: Path) -> Path:
    """Where the snapshots of a store lie."""
    return store.with_suffix(".snapshots")


def journal_path(store: Path) -> Path:
    """Where SQLite keeps the old pages during a transaction."""
    return store.with_name(store.name + "-journal")


def set_aside(path: Path, why: str) -> Path | None:
    """Rename a file so that it is out of the way and kept; returns its new place."""
    if not path.exists():
        return None
    place = path.with_name(f"{path.stem}.{why}-{stamp()}{path.suffix}")
    count = 1
    while place.exists():
        count += 1
        place = path.with_name(f"{path.stem}.{why}-{stamp()}-{count}{path.suffix}")
    path.rename(place)
    sync_folder(path.parent)
    return place
