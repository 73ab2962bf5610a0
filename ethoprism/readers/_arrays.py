"""Which axis of an array is what: time, rows, columns, channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_CHANNELS = (1, 3, 4)
_TIMES = "TIQZ"  # in order of preference: time, image, unknown, slices
_MEANING = {
    "T": "time", "Z": "slices (z)", "C": "channels", "S": "samples", "I": "images",
    "Q": "unknown", "Y": "rows", "X": "columns",
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Positions of the axes; every other axis has length 1.

    Attributes
    ----------
    shape
        The array's.
    time, rows, columns
        Positions. ``time`` is −1 for an array of a single frame without an axis of time.
    channels
        Position, or −1 for grey.
    note
        What was assumed; empty if nothing was.
    """

    shape: tuple[int, ...]
    time: int
    rows: int
    columns: int
    channels: int = -1
    note: str = ""

    @property
    def size(self) -> tuple[int, int, int]:
        """``(n_frames, height, width)``."""
        n = self.shape[self.time] if self.time >= 0 else 1
        return n, self.shape[self.rows], self.shape[self.columns]

    @property
    def place_of_time(self) -> int:
        """Position of the time axis in ``array[key(slice)]``, where axes of length 1 are gone."""
        kept = (self.time, self.rows, self.columns, self.channels)
        return sum(0 <= axis < self.time for axis in kept)

    def key(self, n: int | slice) -> tuple[Any, ...]:
        """The index of frame ``n``, or of a slice of frames."""
        whole = (self.rows, self.columns, self.channels)
        return tuple(
            n if axis == self.time else slice(None) if axis in whole else 0
            for axis in range(len(self.shape))
        )

    def upright(self, image: np.ndarray) -> np.ndarray:
        """``array[key(n)]`` as ``[height, width]`` or ``[height, width, channels]``."""
        kept = sorted(axis for axis in (self.rows, self.columns, self.channels) if axis >= 0)
        wanted = [axis for axis in (self.rows, self.columns, self.channels) if axis >= 0]
        return image.transpose([kept.index(axis) for axis in wanted])


def layout(shape: Sequence[int], axes: str = "") -> Layout:
    """The layout of an array of frames.

    Parameters
    ----------
    shape
        The array's.
    axes
        One capital letter an axis, as OME and TIFF name them: T Z C S I Q Y X. Without them,
        ``[t, y, x]``, ``[t, y, x, c]`` and ``[t, c, y, x]`` are told apart by a channel axis of 1,
        3 or 4.

    Raises
    ------
    ValueError
        With what was found.
    """
    shape = tuple(int(n) for n in shape)
    if not axes:
        return _by_shape(shape)
    found = ", ".join(f"{_MEANING.get(a, a)} {n}" for a, n in zip(axes, shape, strict=True))
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise ValueError(f"the axes {found}, not one of rows and one of columns")
    long = [i for i, (a, n) in enumerate(zip(axes, shape, strict=True)) if n != 1 and a not in "YX"]
    channels = [i for i in long if axes[i] in "CS"]
    times = [i for i in long if i not in channels]
    if len(times) > 1 or any(axes[i] not in _TIMES for i in times):
        raise ValueError(f"the axes {found}; only one of them can be time")
    if len(channels) > 1 or any(shape[i] not in _CHANNELS for i in channels):
        raise ValueError(f"the axes {found}; channels must be 1, 3 or 4 and on one axis")
    time = times[0] if times else max((axes.find(a) for a in "ZQIT"), key=lambda i: i, default=-1)
    note = ""
    if times and axes[time] == "Z":
        note = "the file calls the axis of the frames slices (z); it is taken as time"
    return Layout(
        shape, time, axes.index("Y"), axes.index("X"), channels[0] if channels else -1, note
    )


def _by_shape(shape: tuple[int, ...]) -> Layout:
    if len(shape) == 3:
        return Layout(shape, 0, 1, 2)
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return Layout(shape, 0, 1, 2, 3)
    if len(shape) == 4 and shape[1] in _CHANNELS:
        return Layout(shape, 0, 2, 3, 1)
    raise ValueError(
        f"an array of the shape {shape}; [t, y, x], [t, y, x, c] or [t, c, y, x] with 1, 3 or 4"
        " channels are read"
    )
