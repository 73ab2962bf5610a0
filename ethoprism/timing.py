"""Tables of frame times: what a camera or a TTL line recorded, in place of the file's timestamps.

A table has one row per frame, or one row per edge of a TTL line. Columns are told by their names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64

from ethoprism.errors import InputError
from ethoprism.files import write_text

UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_TIMES = (
    ("time_s", "s"),
    ("seconds", "s"),
    ("time", ""),
    ("timestamp", ""),
    ("timestamps", ""),
    ("frame_time", ""),
    ("t", ""),
    ("time_ms", "ms"),
    ("timestamp_ms", "ms"),
    ("milliseconds", "ms"),
    ("time_us", "us"),
    ("timestamp_us", "us"),
    ("time_ns", "ns"),
    ("timestamp_ns", "ns"),
)
_COUNTERS = ("frame", "frame_number", "frame_id", "framecount", "index", "frame_index")
_LEVELS = ("level", "ttl", "state", "value", "pin")
MOST_BYTES = 1 << 30
"""Tables beyond this size are not read: 20 million frames fit."""


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """Seconds of each frame, float64, ascending, and sentences that a user should read."""

    times: Float64[np.ndarray, " n_frames"]
    notes: tuple[str, ...]


def read_frame_times(path: Path, n_frames: int, *, column: str = "", unit: str = "") -> FrameTimes:
    """Frame times from a table.

    Parameters
    ----------
    path
        Text with cells separated by commas, semicolons, tabs or spaces; the first line may name the
        columns. One column of numbers alone needs no name. With a column of levels (0 and 1), each
        change from 0 to 1 is a frame. With a column of frame counters, rows are put in its order,
        and counters that the camera skipped are told.
    n_frames
        Frames of the recording.
    column
        Name of the column with the times; found by its name where it is empty.
    unit
        ``s``, ``ms``, ``us`` or ``ns``; told from the column's name where it is empty, else
        seconds. Times may also be dates (ISO 8601), which need no unit.

    Raises
    ------
    InputError
        If the table has another number of frames, times that do not ascend, or no column of times.
    """
    if unit and unit not in UNITS:
        raise InputError(f"{unit!r} is no unit of time", expected=", ".join(UNITS))
    table = _read(path)
    name, stated = _time_column(path, table, column)
    notes: list[str] = []
    rows = _edges(path, table, notes)
    times = _seconds(path, table[name].iloc[rows], unit or stated)
    times = _in_counter_order(path, table.iloc[rows], times, notes)
    if len(times) != n_frames:
        raise InputError(
            f"{path.name} has times of another number of frames than the recording",
            expected=f"{n_frames} frames",
            found=f"{len(times)} times",
            remedy="Frames were dropped or the files do not belong together. Find out at which end "
            "the rows are too many or missing, and correct the table: nothing is guessed.",
        )
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise InputError(
            f"{path.name} has times that go back",
            expected="times in ascending order",
            found=f"{times[back[0] + 1]:g} s at frame {back[0] + 1} after {times[back[0]]:g} s",
        )
    same = int((np.diff(times) == 0).sum())
    if same:
        notes.append(f"{same} frames have the time of the frame before.")
    return FrameTimes(times, tuple(notes))


def constant_times(n_frames: int, rate: float) -> Float64[np.ndarray, " n_frames"]:
    """Times of frames that were taken at a constant rate, in seconds from the first."""
    if not 1e-6 <= rate <= 1e6:
        raise InputError("A frame rate is a positive number of frames a second", found=f"{rate:g}")
    return np.arange(n_frames) / rate


def write_frame_times(times: Sequence[float] | np.ndarray, path: Path) -> None:
    """Write the table that a project keeps: ``frame,time_s``, to the last digit."""
    rows = "".join(f"{i},{float(t)!r}\n" for i, t in enumerate(times))
    write_text(path, "frame,time_s\n" + rows)


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(
                f"{path.name} is too large for a table of frame times",
                expected=f"at most {MOST_BYTES >> 20} MiB",
                found=f"{path.stat().st_size >> 20} MiB",
            )
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline(1 << 16)
        separator = next((s for s in ",;\t" if s in first), r"\s+")
        cells = [cell.strip().strip('"') for cell in first.strip().split(separator)]
        named = not any(_is_time(cell) for cell in cells)
        table = pd.read_csv(
            path,
            sep=separator,
            header=0 if named else None,
            encoding="utf-8-sig",
            comment="#",
            dtype=str,
            skipinitialspace=True,
        )
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(
            f"{path} cannot be read as a table of frame times", found=str(error)
        ) from error
    table.columns = [str(name).strip().lower() for name in table.columns]
    if len(set(table.columns)) < table.shape[1]:
        raise InputError(f"{path.name} has two columns of one name", found=", ".join(table.columns))
    return table


def _is_time(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell[:4].isdigit() and cell[4:5] == "-"
    return True


def _time_column(path: Path, table: pd.DataFrame, column: str) -> tuple[str, str]:
    if column:
        if column.lower() not in table.columns:
            raise InputError(
                f"{path.name} has no column {column!r}", expected=", ".join(table.columns)
            )
        return column.lower(), dict(_TIMES).get(column.lower(), "")
    found = [(name, unit) for name, unit in _TIMES if name in table.columns]
    if found:
        return found[0]
    if table.shape[1] == 1:
        return str(table.columns[0]), ""
    raise InputError(
        f"{path.name} has no column that is known to hold times",
        expected="one of " + ", ".join(name for name, _ in _TIMES),
        found=", ".join(table.columns),
        remedy="Name it with --time-column.",
    )


def _edges(path: Path, table: pd.DataFrame, notes: list[str]) -> np.ndarray:
    """Rows that are frames: those where a line rises, or all where there is no line."""
    level = next((name for name in _LEVELS if name in table.columns), None)
    if level is None:
        return np.arange(len(table))
    values = pd.to_numeric(table[level], errors="coerce").to_numpy(np.float64)
    if not np.isin(values, (0, 1)).all():
        raise InputError(f"{path.name} has levels that are neither 0 nor 1 in its column {level!r}")
    rising = np.flatnonzero((values == 1) & (np.concatenate([[0], values[:-1]]) == 0))
    notes.append(f"Each of {len(rising)} changes of {level!r} from 0 to 1 is taken for a frame.")
    return rising


def _seconds(path: Path, cells: pd.Series, unit: str) -> np.ndarray:
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    if np.isfinite(numbers).all():
        return numbers * UNITS[unit or "s"]
    try:
        dates = pd.to_datetime(cells, format="ISO8601", utc=True)
        moments = np.asarray((dates - dates.iloc[0]) / pd.Timedelta(seconds=1), np.float64)
    except (ValueError, TypeError, OverflowError):
        moments = np.full(len(cells), np.nan)
    if not np.isfinite(moments).all():
        bad = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise InputError(
            f"{path.name} has a time that cannot be read",
            expected="numbers, or dates like 2024-05-01T12:00:00.040",
            found=f"{cells.iloc[bad]!r} in row {bad + 1}",
        )
    return moments


def _in_counter_order(
    path: Path, table: pd.DataFrame, times: np.ndarray, notes: list[str]
) -> np.ndarray:
    counter = next((name for name in _COUNTERS if name in table.columns), None)
    if counter is None:
        return times
    numbers = pd.to_numeric(table[counter], errors="coerce").to_numpy(np.float64)
    if not np.isfinite(numbers).all() or len(np.unique(numbers)) < len(numbers):
        raise InputError(
            f"{path.name} has frame numbers that are no numbers, or twice the same",
            found=f"its column {counter!r}",
        )
    order = np.argsort(numbers, kind="stable")
    skipped = np.diff(numbers[order]) - 1
    if (skipped > 0).any():
        notes.append(
            f"The camera skipped {int(skipped[skipped > 0].sum())} frames in"
            f" {int((skipped > 0).sum())} places; the first is behind frame"
            f" {int(np.flatnonzero(skipped > 0)[0])}."
        )
    return times[order]
