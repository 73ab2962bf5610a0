"""VideoArray: a recording's frames as napari slices them, one frame in memory at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.recording import Recording, open_frames

MOST_BYTES = 256 << 20
"""The largest block that is decoded at once: napari asks for all frames in its 3D display."""


class VideoArray:
    """The frames of a recording as an array ``[frames, height, width, 3]``, uint8.

    The frames are those of `open_frames`, bit for bit. One that cannot be decoded is black, so that
    the picture of another frame never stands in its place, and `problem` says why.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, recording: Recording):
        self._reader = open_frames(recording)
        self._last: tuple[int, np.ndarray, str] | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_frames, height, width, 3)``."""
        return self._reader.shape

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, key: Any) -> np.ndarray:
        """Frames as an array indexed by ``key`` would give them.

        Raises
        ------
        InputError
            If the frames would take more than `MOST_BYTES`.
        """
        first, *rest = key if isinstance(key, tuple) else (key,)
        if not isinstance(first, slice):
            return self._frame(range(len(self))[first])[0][tuple(rest)]
        numbers = range(*first.indices(len(self)))
        size = len(numbers) * int(np.prod(self.shape[1:]))
        if size > MOST_BYTES:
            raise InputError(
                f"{len(numbers)} frames at once would take {size / 1e9:.1f} GB of memory",
                expected=f"at most {MOST_BYTES / 1e9:.1f} GB",
                remedy="Show the recording in the 2D display, one frame at a time.",
            )
        block = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for row, n in enumerate(numbers):
            block[row] = self._frame(n)[0]
        return block[(slice(None), *rest)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All frames, where they fit into `MOST_BYTES`."""
        return np.asarray(self[:], dtype)

    def problem(self, n: int) -> str:
        """Why frame ``n`` cannot be shown, as one paragraph; empty where it can."""
        return self._frame(n)[1]

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    def _frame(self, n: int) -> tuple[np.ndarray, str]:
        """Frame ``n`` and its problem. The last one is kept: the layer and the dock both ask."""
        last = self._last
        if last is None or last[0] != n:
            try:
                last = (n, self._reader[n], "")
            except VideoError as error:
                last = (n, np.zeros(self.shape[1:], np.uint8), str(error))
            self._last = last
        return last[1], last[2]
