"""``recordings.csv``: the recordings of a project, a line each."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from ethoprism.errors import InputError, ProjectError
from ethoprism.files import write_text
from ethoprism.recording import FFMPEG, check_name
from ethoprism.safety import MOST_FRAMES, guard_cell, read_text, unguard_cell


@dataclass(frozen=True)
class Entry:
    """A line of ``recordings.csv``: a recording without its frame times.

    Attributes
    ----------
    id, path, content_key, n_frames, height, width, reader, array
        As in `Recording`; the path is relative to the project where it lies in or beside it.
    times
        Where frame times come from: empty for the file itself, ``table`` for a table that was
        given and is kept in ``frame_times/<id>.csv``.
    region
        The part of the frame that counts, as ``left,top,width,height`` in pixels; empty for all.
    session, offset, drift
        Recordings of one session are views of the same events: the session's time is
        ``offset + (1 + drift) * time``, in seconds. Empty, 0 and 0 where there is one view.
    """

    id: str
    path: str
    content_key: str
    n_frames: int
    height: int
    width: int
    reader: str = FFMPEG
    array: str = ""
    times: str = ""
    region: str = ""
    session: str = ""
    offset: float = 0.0
    drift: float = 0.0


_LONGEST_SIDE = 2**16  # pixels
_COLUMNS = tuple(field.name for field in fields(Entry))
_FIRST_COLUMNS = _COLUMNS[:6]  # those without a default


def _entry(row: Mapping[str, str]) -> Entry:
    kinds = get_type_hints(Entry)
    values: dict[str, Any] = {
        name: unguard_cell(text) if kinds[name] is str else kinds[name](text)
        for name, text in row.items()
    }
    entry = Entry(**values)
    check_name(entry.id)
    if min(entry.n_frames, entry.height, entry.width) < 1:
        raise ValueError("frames, height and width are positive numbers")
    if entry.n_frames > MOST_FRAMES or max(entry.height, entry.width) > _LONGEST_SIDE:
        raise ValueError(f"{entry.n_frames:,} frames of {entry.width:,}×{entry.height:,} pixels")
    if any("\0" in value for value in (entry.path, entry.reader, entry.array, entry.session)):
        raise ValueError("a cell holds a NUL character")
    if not math.isfinite(entry.offset) or not math.isfinite(entry.drift) or entry.drift <= -1:
        raise ValueError("offset and drift are finite numbers, and the drift is above -1")
    return entry


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The lines of a table; a `ProjectError` that names the line if one cannot be read."""
    if not path.is_file():
        raise ProjectError(f"{path} is missing", remedy="Restore it, or add the recordings anew.")
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except (OSError, ValueError, csv.Error) as error:
        raise ProjectError(f"{path} cannot be read", found=str(error)) from error
    header = rows[0] if rows else []
    if not set(_FIRST_COLUMNS) <= set(header) <= set(_COLUMNS) or len(set(header)) < len(header):
        raise ProjectError(
            f"{path} has other columns than it should",
            expected=", ".join(_COLUMNS),
            found=", ".join(header) or "none",
        )
    entries: dict[str, Entry] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        try:
            entry = _entry(dict(zip(header, row, strict=True)))
        except (ValueError, TypeError, OverflowError, InputError) as error:
            raise ProjectError(
                f"Line {number} of {path} cannot be read", found=str(error)
            ) from error
        if entry.id in entries:
            raise ProjectError(f"{path} lists {entry.id!r} twice")
        entries[entry.id] = entry
    return tuple(entries.values())


def write_entries(path: Path, entries: Sequence[Entry]) -> None:
    """Replace a table with these lines."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for entry in entries:
        cells = asdict(entry).items()
        writer.writerow({k: guard_cell(v) if isinstance(v, str) else v for k, v in cells})
    write_text(path, text.getvalue())
