"""FrameCache and prefetching: which decoded frames are kept, and which are decoded next; no Qt.

Frames are kept as the decoder gave them where that is smaller than RGB: 1.5 bytes a pixel in most
videos, against 3.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Kept = TypeVar("Kept")

_LEAST_BYTES, _MOST_BYTES = 128 << 20, 1 << 30


def budget(memory: int | None = None) -> int:
    """Bytes for the decoded frames of one recording: an eighth of the memory, 128 MiB to 1 GiB.

    ``memory`` is the computer's, in bytes, found out where it is None.
    """
    if memory is None:
        try:
            memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):  # Windows knows no sysconf
            memory = 4 << 30
    return min(max(memory // 8, _LEAST_BYTES), _MOST_BYTES)


class FrameCache(Generic[Kept]):
    """Values by frame number within a bound of bytes; the one used longest ago goes first.

    Safe for use by several threads.

    Parameters
    ----------
    capacity
        Bytes that the values may take. The newest value is kept even if it alone takes more.
    size_of
        Bytes of a value.
    """

    def __init__(self, capacity: int, size_of: Callable[[Kept], int]):
        self.capacity = capacity
        self._size_of = size_of
        self._kept: OrderedDict[int, Kept] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes that the values take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, n: int) -> bool:
        return n in self._kept

    def get(self, n: int) -> Kept | None:
        """The value of frame ``n``, which counts as used by that; None if it is not kept."""
        with self._lock:
            value = self._kept.get(n)
            if value is not None:
                self._kept.move_to_end(n)
            return value

    def put(self, n: int, value: Kept) -> None:
        """Keep a value; others are dropped to make room."""
        with self._lock:
            former = self._kept.pop(n, None)
            if former is not None:
                self._bytes -= self._size_of(former)
            self._kept[n] = value
            self._bytes += self._size_of(value)
            while self._bytes > self.capacity and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._bytes -= self._size_of(dropped)

    def nearest(self, n: int) -> int | None:
        """The number nearest to ``n`` of those that are kept."""
        with self._lock:
            return min(self._kept, key=lambda kept: abs(kept - n), default=None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0


def prefetch_order(playhead: int, forward: bool, n_frames: int, reach: int) -> Iterator[int]:
    """The frames that are likely to be asked for next, the likeliest first.

    Parameters
    ----------
    playhead
        The frame that is shown.
    forward
        Whether the playhead moved forward last.
    n_frames
        Frames of the recording.
    reach
        How many frames ahead in the direction of movement; a quarter as many lie behind.
    """
    ahead = 1 if forward else -1
    for offset in range(1, reach + 1):
        if 0 <= playhead + ahead * offset < n_frames:
            yield playhead + ahead * offset
    for offset in range(1, reach // 4 + 1):
        if 0 <= playhead - ahead * offset < n_frames:
            yield playhead - ahead * offset
