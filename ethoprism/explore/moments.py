"""Moments: the short stretches of frames that a map's points stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, Int, Int32, Int64

from ethoprism.subjects import Unit


@dataclass(frozen=True, order=True)
class MomentSpan:
    """Frames ``start`` to ``stop``, half-open, of a unit."""

    unit: Unit
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of units, by unit and then by frame.

    Those of a map do not overlap within a unit; `at`, `at_recording` and `within` need that. Those
    of a search may be the encoder's windows, which do.

    Attributes
    ----------
    units
        Recordings, or subjects of them.
    unit
        int32 ``[moments]``: which of the units each one is of, ascending.
    start, stop
        int64 ``[moments]``: the frames that each one stands for, half-open.
    """

    units: tuple[Unit, ...]
    unit: Int32[np.ndarray, " moments"]
    start: Int64[np.ndarray, " moments"]
    stop: Int64[np.ndarray, " moments"]

    def __len__(self) -> int:
        return len(self.unit)

    @cached_property
    def bounds(self) -> Int64[np.ndarray, " units_1"]:
        """Where each unit's moments begin: those of unit ``u`` are ``bounds[u]:bounds[u + 1]``."""
        return np.searchsorted(self.unit, np.arange(len(self.units) + 1)).astype(np.int64)

    @cached_property
    def middle(self) -> Int64[np.ndarray, " moments"]:
        """The middle frame of each moment: the one that is shown for it."""
        return (self.start + self.stop - 1) // 2

    def take(self, chosen: np.ndarray) -> Moments:
        """The moments of a mask or of ascending indices; all units stay."""
        return Moments(self.units, self.unit[chosen], self.start[chosen], self.stop[chosen])

    def at(self, unit: Unit, frame: int) -> int | None:
        """The moment that a frame belongs to, or None."""
        if unit not in self.units:
            return None
        first, last = self.bounds[self.units.index(unit) :][:2].tolist()
        i = first + int(np.searchsorted(self.start[first:last], frame, side="right")) - 1
        return i if i >= first and frame < self.stop[i] else None

    def at_recording(self, recording: str, frame: int) -> list[int]:
        """The moments of all units of a recording that a frame belongs to."""
        found = [self.at(unit, frame) for unit in self.units if unit.recording == recording]
        return [i for i in found if i is not None]

    def within(
        self, recording: str, start: int, stop: int, subject: str = ""
    ) -> Int[np.ndarray, " chosen"]:
        """Indices of the moments whose middle lies in the frames ``start`` to ``stop``.

        Where these are fewer than a moment long and hold no middle, the moment that they lie in.
        """
        chosen = []
        for u, unit in enumerate(self.units):
            if unit.recording != recording or (subject and unit.subject not in ("", subject)):
                continue
            first, last = self.bounds[u : u + 2].tolist()
            low, high = first + np.searchsorted(self.middle[first:last], [start, stop])
            if low < high:
                chosen.append(np.arange(low, high))
            else:
                around = self.at(unit, (start + stop - 1) // 2)
                chosen += [] if around is None else [np.array([around])]
        return np.concatenate(chosen) if chosen else np.empty(0, np.int64)

    def spans(self, chosen: Int[np.ndarray, " chosen"]) -> tuple[MomentSpan, ...]:
        """The frames of some moments, as spans in order; moments that meet become one span."""
        chosen = np.unique(chosen)
        if not len(chosen):
            return ()
        unit, start, stop = self.unit[chosen], self.start[chosen], self.stop[chosen]
        breaks = (unit[1:] != unit[:-1]) | (start[1:] > stop[:-1])
        first = np.flatnonzero(np.concatenate([[True], breaks]))
        last = np.concatenate([first[1:], [len(chosen)]]) - 1
        spans = zip(unit[first].tolist(), start[first].tolist(), stop[last].tolist(), strict=True)
        return tuple(MomentSpan(self.units[u], a, b) for u, a, b in spans)


def tile(units: Sequence[Unit], n_frames: Sequence[int], hop: int, step: int = 1) -> Moments:
    """Moments of ``hop`` sampled frames each, side by side over whole recordings.

    Parameters
    ----------
    units, n_frames
        The units and the frames of their recordings.
    hop
        Sampled frames that a moment stands for.
    step
        Frames from one sampled frame to the next.
    """
    parts = []
    for u, n in enumerate(n_frames):
        start = np.arange(0, n, hop * step, dtype=np.int64)
        parts.append((np.full(len(start), u, np.int32), start, np.minimum(start + hop * step, n)))
    unit, start, stop = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Moments(tuple(units), unit, start, stop)


def moment_means(
    moments: Moments,
    unit: int,
    values: Float32[np.ndarray, "frames columns"],
    known: Bool[np.ndarray, "frames columns"],
) -> Float32[np.ndarray, "moments columns"]:
    """Means over the frames of a unit's moments that are known; NaN where none is.

    Parameters
    ----------
    moments, unit
        Which unit of which moments; the result has a row for each moment of it.
    values
        One row a frame: whether a behaviour is present, or its probability.
    known
        Which of them count.
    """
    first, last = moments.bounds[unit : unit + 2].tolist()
    start, stop = moments.start[first:last], moments.stop[first:last]

    def totals(column: np.ndarray) -> np.ndarray:
        sums = np.concatenate([np.zeros((1, column.shape[1])), np.cumsum(column, axis=0)])
        return sums[stop] - sums[start]

    total = totals(np.where(known, values, 0).astype(np.float64))
    count = totals(known.astype(np.float64))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
