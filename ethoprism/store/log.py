"""The log of operations: a second, independent place for every edit.

``annotations.log`` is text that only grows. Each line is a checksum and one operation in JSON, and
is on the disk before the database commits. So a database with destroyed pages is made anew from a
snapshot and the lines after it. Each line names the one before, so that lines of another history
are never applied.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethoprism.store.disk import sync_folder


@dataclass(frozen=True)
class Entry:
    """One line: the operation, and its half-open range of bytes in the file."""

    data: dict[str, Any]
    start: int
    end: int


def begin(path: Path, store: str, n: int, last: str) -> tuple[int, int]:
    """Start a log behind operation ``n``; returns the range of its first line."""
    line = _line({"kind": "begin", "store": store, "n": n, "uid": last})
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)
    return 0, len(line)


def entries(path: Path, start: int = 0) -> Iterator[Entry]:
    """The lines from a byte on, up to the first that is torn or damaged."""
    if not path.exists():
        return
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            data = _parse(line)
            if data is None:
                return
            yield Entry(data, start, start + len(line))
            start += len(line)


def count_lines(path: Path) -> int:
    """Number of lines, sound or not."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)


def damaged_around(path: Path, end: int) -> bool:
    """Whether a line before a byte is damaged, or whole lines come after it.

    ``end`` is where the last line that could be used ends. What a killed writer leaves behind it is
    the beginning of one line; whole lines there are edits that could not be used, and are not to be
    overwritten. Only checksums are read.
    """
    start = 0
    with path.open("rb") as file:
        for line in file:
            if start >= end:
                return line.endswith(b"\n")
            if not _sound(line):
                return True
            start += len(line)
    return start < end


class LogWriter:
    """The open log of the one process that writes.

    Parameters
    ----------
    path
        An existing log.
    end
        Where the last good line ends; what follows is cut off at the next line.
    """

    def __init__(self, path: Path, end: int):
        self.path = path
        self.end = end
        self._file = path.open("r+b", buffering=0)

    def append(self, data: dict[str, Any]) -> tuple[int, int]:
        """Put a line on the disk and return its range.

        Raises
        ------
        OSError
            If it could not be written; the log is then as before.
        """
        line = _line(data)
        start = self.end
        try:
            if os.fstat(self._file.fileno()).st_size != start:
                self._file.truncate(start)
            self._file.seek(start)
            written = 0
            while written < len(line):
                written += self._file.write(line[written:]) or 0
            os.fsync(self._file.fileno())
        except OSError:
            self.cut(start)
            raise
        self.end = start + len(line)
        return start, self.end

    def cut(self, end: int) -> None:
        """Take back what was written after a byte, because its transaction failed."""
        self.end = end
        try:
            self._file.truncate(end)
            os.fsync(self._file.fileno())
        except OSError:
            pass  # the next line is written at ``end`` all the same

    def close(self) -> None:
        self._file.close()


def _line(data: dict[str, Any]) -> bytes:
    text = json.dumps(data, separators=(",", ":")).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _sound(line: bytes) -> bool:
    return line.endswith(b"\n") and line[:9] == b"%08x " % zlib.crc32(line[9:-1])


def _parse(line: bytes) -> dict[str, Any] | None:
    if not _sound(line):
        return None
    try:
        data = json.loads(line[9:-1])
    except ValueError:
        return None
    return data if isinstance(data, dict) and "n" in data and "uid" in data else None
