"""FrameArray: what every source of frames shares: it is indexed as an array of images would be."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from types import EllipsisType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ethoprism.errors import VideoError


class FrameArray:
    """Frames by number as an array ``(n_frames, height, width, 3)`` of uint8; a `FrameSource`.

    A subclass gives `read`, and `frames` where reading in order is faster than one by one.

    Parameters
    ----------
    n_frames, height, width
        Shape of the array.
    """

    def __init__(self, n_frames: int, height: int, width: int):
        self._shape = (n_frames, height, width, 3)
        self._closed = False

    def read(self, n: int) -> UInt8[np.ndarray, "height width 3"]:
        """Frame ``n``, from 0; a `VideoError` if it is damaged."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_frames, height, width, 3)``."""
        return self._shape

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """4."""
        return 4

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Frames as an array indexed by ``key`` would give them.

        Parameters
        ----------
        key
            A frame's number (negative ones count from the end), a slice of frames, or a tuple that
            begins with one of these and goes on over rows, columns and channels.

        Returns
        -------
        uint8 ``[height, width, 3]`` for a number, ``[k, height, width, 3]`` for a slice.

        Raises
        ------
        IndexError
            If there is no such frame.
        VideoError
            If a frame among them is damaged.
        """
        parts: list[Any] = list(key) if isinstance(key, tuple) and key else [key]
        first, rest = parts[0], parts[1:]
        if isinstance(first, EllipsisType):
            first, rest = slice(None), [first, *rest]
        if isinstance(first, slice):
            block = self._block(range(*first.indices(len(self))))
            return block[(slice(None), *rest)]
        if not hasattr(first, "__index__"):
            raise TypeError(f"expected a frame's number or a slice, got {type(first).__name__}")
        n = operator.index(first)
        if not -len(self) <= n < len(self):
            raise IndexError(f"frame {n} is out of bounds for a recording of {len(self)} frames")
        frame = self.read(n % len(self))
        return frame[tuple(rest)] if rest else frame

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"] | None]]:
        """Frames in ascending order.

        Parameters
        ----------
        start, stop, step
            As for a slice.

        Yields
        ------
        ``(number, frame)``, with None instead of a frame that is damaged.

        Raises
        ------
        ValueError
            If ``step`` is not positive, or the source is closed.
        """
        self.require_open()
        if step < 1:
            raise ValueError(f"expected a step of at least 1, got {step}")
        return self.in_order(range(*slice(start, stop, step).indices(len(self))))

    def in_order(self, numbers: range) -> Iterator[tuple[int, np.ndarray | None]]:
        """The frames of ``numbers``, which ascend."""
        for n in numbers:
            try:
                frame = self.read(n)
            except VideoError:
                frame = None
            yield n, frame

    def close(self) -> None:
        """Free the file."""
        self._closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def require_open(self) -> None:
        """Raise a ValueError if the source was closed."""
        if self._closed:
            raise ValueError(f"expected an open {type(self).__name__}, got a closed one")

    def _block(self, numbers: range) -> UInt8[np.ndarray, "k height width 3"]:
        block = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        # Ascending is the order in which most sources give them fastest.
        for n in reversed(numbers) if numbers.step < 0 else numbers:
            block[numbers.index(n)] = self.read(n)
        return block
