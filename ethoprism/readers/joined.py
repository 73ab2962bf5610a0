"""Several files as one continuous recording: cameras that start a new file every few minutes.

The recording is a table ``<name>.joined.csv`` with the columns ``path, content_key, start_s``, one
row per file in order. Paths are relative to the table where the files lie near it. ``start_s`` is
when the file's first frame was shown, in seconds of the recording; where it is empty, a file begins
one interval after the last frame of the file before it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.files import write_text
from ethoprism.frame_array import FrameArray
from ethoprism.frame_index import Findings
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.recording import Recording, edge_times, open_frames, open_recording, reader_of

ENDING = ".joined.csv"
MOST_PARTS = 10_000
_COLUMNS = ("path", "content_key", "start_s")


@dataclass(frozen=True)
class Part:
    """One file of a joined recording."""

    path: Path
    content_key: str
    start_s: float | None


def write_joined(table: Path, files: Sequence[Path], starts: Sequence[float] = ()) -> None:
    """Write the table of files that make one recording.

    Parameters
    ----------
    table
        File to write, ending in ``.joined.csv``.
    files
        The files in order.
    starts
        Seconds at which each file's first frame was shown; one per file, or none.

    Raises
    ------
    InputError
        If there are other numbers of files and starts.
    """
    if len(files) < 2 or len(starts) not in (0, len(files)):
        raise InputError(
            "Joining takes two or more files, and a start for each of them or for none",
            found=f"{len(files)} files, {len(starts)} starts",
        )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for i, path in enumerate(files):
        absolute, near = path.resolve(), table.resolve().parent.parent
        shown = absolute
        if absolute.is_relative_to(near):
            shown = Path("..", absolute.relative_to(near))
        key = reader_of(path).content_key(path)
        writer.writerow([shown.as_posix(), key, repr(float(starts[i])) if starts else ""])
    write_text(table, text.getvalue())


def read_parts(table: Path) -> list[Part]:
    """The files that a table names; a `VideoError` that says which one is gone or has changed."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [row for _, row in zip(range(MOST_PARTS + 1), reader, strict=False)]
            columns = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VideoError(f"{table} cannot be read", found=str(error)) from error
    if columns != _COLUMNS or not 2 <= len(rows) <= MOST_PARTS:
        raise VideoError(
            f"{table} is no table of joined files",
            expected=f"columns {', '.join(_COLUMNS)} and 2 to {MOST_PARTS} rows",
            found=f"columns {', '.join(columns)} and {len(rows)} rows",
        )
    return [_part(table, row) for row in rows]


def _part(table: Path, row: dict[str, str]) -> Part:
    path = (table.parent / (row["path"] or "")).resolve()
    try:
        start = float(row["start_s"]) if row["start_s"] else None
    except (ValueError, TypeError):
        start = math.nan
    if start is not None and not math.isfinite(start):
        raise VideoError(
            f"{table} has a start that is no number of seconds", found=str(row["start_s"])
        )
    if path == table.resolve() or path.name.endswith(ENDING):
        raise VideoError(f"{table} joins a table of joined files", found=str(path))
    if not path.exists():
        raise VideoError(
            f"A file of the joined recording {table.name} is not where it was",
            expected=str(path),
            remedy=f"Put it back, or correct its path in {table}.",
        )
    if reader_of(path).content_key(path) != row["content_key"]:
        raise VideoError(
            f"A file of the joined recording {table.name} is not the one that was joined",
            found=str(path),
            remedy="Put the original back, or join the files anew.",
        )
    return Part(path, row["content_key"], start)


def _recordings(table: Path) -> list[tuple[Part, Recording, Any]]:
    opened = []
    for part in read_parts(table):
        recording, report = open_recording(part.path, "part", accept_damaged=True)
        opened.append((part, recording, report))
    sizes = {(r.height, r.width) for _, r, _ in opened}
    if len(sizes) > 1:
        raise VideoError(
            f"The files of {table.name} have frames of different sizes",
            expected="one size",
            found=", ".join(f"{w}×{h} px" for h, w in sorted(sizes)),
        )
    return opened


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of all files, one file behind the other."""
    if array:
        raise InputError(f"{path.name} has no arrays to choose from", found=array)
    opened = _recordings(path)
    times: list[np.ndarray] = []
    notes, damage = [], []
    first = 0
    end = 0.0
    for part, recording, report in opened:
        mine = recording.frame_times - recording.frame_times[0]
        start = end if part.start_s is None else part.start_s
        if times and start < times[-1][-1]:
            raise VideoError(
                f"{part.path.name} begins before the file in front of it ends",
                expected=f"a start of at least {times[-1][-1]:.6g} s",
                found=f"{start:.6g} s",
                remedy=f"Correct the starts in {path}.",
            )
        times.append(start + mine)
        end = float(start + edge_times(mine)[-1])
        where = f"{part.path.name} (from frame {first})"
        damage += [f"{where}: {text}" for text in report.damage]
        notes += [f"{where}: {text}" for text in report.notes]
        first += recording.n_frames
    if any(part.start_s is None for part, _, _ in opened[1:]):
        notes.append(
            "the files do not state how much time lies between them: each is taken to begin one"
            " interval after the last frame of the one before"
        )
    stated = [report.container_frames for *_, report in opened]
    recording = opened[0][1]
    findings = Findings(
        sum(stated) if all(n is not None for n in stated) else None,
        sum(report.missing_timestamps for *_, report in opened),
        1e-6,
        tuple(damage),
        tuple(notes),
    )
    return Contents(first, recording.height, recording.width, np.concatenate(times), findings)


class JoinedFrames(FrameArray):
    """The frames of all files of a joined recording; a file is opened when it is needed."""

    def __init__(self, recording: Recording):
        self._parts = [part for _, part, _ in _recordings(recording.path)]
        counts = [part.n_frames for part in self._parts]
        self._firsts = np.concatenate([[0], np.cumsum(counts)]).astype(int).tolist()
        if self._firsts[-1] != recording.n_frames:
            raise VideoError(
                f"{recording.path} is not the recording that was imported",
                expected=f"{recording.n_frames} frames",
                found=f"{self._firsts[-1]}",
            )
        self._sources: dict[int, FrameSource] = {}
        super().__init__(recording.n_frames, recording.height, recording.width)

    def read(self, n: int) -> np.ndarray:
        """Frame ``n`` of the recording."""
        part = bisect_right(self._firsts, n) - 1
        if part not in self._sources:
            for source in self._sources.values():
                source.close()
            self._sources = {part: self._open(part)}
        return self._sources[part][n - self._firsts[part]]

    def in_order(self, numbers: range) -> Iterator[tuple[int, np.ndarray | None]]:
        """The frames of ``numbers``; each file is decoded once, in order."""
        for part, (first, end) in enumerate(pairwise(self._firsts)):
            skipped = max(0, -(-(first - numbers.start) // numbers.step))
            mine = numbers[skipped:] if first > numbers.start else numbers
            mine = range(mine.start, min(mine.stop, end), mine.step)
            if not len(mine) or mine.start >= end:
                continue
            with closing(self._open(part)) as source:
                for n, frame in source.frames(mine.start - first, mine.stop - first, mine.step):
                    yield n + first, frame
            numbers = range(mine[-1] + numbers.step, numbers.stop, numbers.step)

    def close(self) -> None:
        """Close the files."""
        super().close()
        for source in self._sources.values():
            source.close()
        self._sources = {}

    def _open(self, part: int) -> FrameSource:
        return open_frames(self._parts[part])


def content_key(path: Path) -> str:
    """The key of a joined recording: that of its files' keys and starts, wherever they lie."""
    parts = read_parts(path)
    text = "".join(f"{part.content_key} {part.start_s!r}\n" for part in parts)
    return hashlib.sha256(f"ethoprism joined\n{text}".encode()).hexdigest()


READER = Reader(
    name="joined",
    title="several files as one recording (.joined.csv)",
    matches=lambda path: path.name.endswith(ENDING) and path.is_file(),
    inspect=inspect,
    open=JoinedFrames,
    content_key=content_key,
)
