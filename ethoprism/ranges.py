"""Half-open ranges of frames: their union, difference and intersection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

Frames = tuple[int, int]
"""A half-open range of frames."""


def union(frames: Iterable[Frames]) -> list[Frames]:
    """Ranges in order; those that overlap or touch are one; empty ones are gone."""
    joined: list[Frames] = []
    for start, stop in sorted(f for f in frames if f[1] > f[0]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def minus(frames: Iterable[Frames], taken: Iterable[Frames]) -> list[Frames]:
    """What of the ranges lies in none of ``taken``."""
    holes = union(taken)
    starts = [a for a, _ in holes]
    left: list[Frames] = []
    for start, stop in union(frames):
        at = start
        first = max(bisect_right(starts, start) - 1, 0)
        for a, b in holes[first : bisect_left(starts, stop)]:
            if b <= at:
                continue
            if a > at:
                left.append((at, a))
            at = b
        if at < stop:
            left.append((at, stop))
    return left


def overlap(frames: Iterable[Frames], others: Iterable[Frames]) -> list[Frames]:
    """What lies in ranges of both."""
    found = list(frames)
    return minus(found, minus(found, others))


def meets(start: np.ndarray, stop: np.ndarray, frames: Sequence[Frames]) -> np.ndarray:
    """Which rows share a frame with a range."""
    joined = np.asarray(union(frames), dtype=np.int64).reshape(-1, 2)
    if not len(joined):
        return np.zeros(len(start), dtype=bool)
    # The last range that starts before a row stops is the only one that can matter.
    at = np.searchsorted(joined[:, 0], stop, side="left") - 1
    return (at >= 0) & (joined[np.maximum(at, 0), 1] > start)
