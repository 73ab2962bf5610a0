"""Figures of bouts and frames that only the report shows: pure functions on states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Int8

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.metrics.summary import Pairing

States = Int8[np.ndarray, "frames behaviours"]


def bout_seconds(
    states: Int8[np.ndarray, " frames"], edges: Float[np.ndarray, " edges"]
) -> Float[np.ndarray, " bouts"]:
    """How long each bout lasts that begins and ends inside observed time.

    A bout that touches an unobserved frame, or the recording's first or last, may be longer than
    what was seen of it; it is left out.
    """
    found = runs(states == PRESENT)
    if not len(found):
        return np.zeros(0)
    padded = np.concatenate(([UNOBSERVED], states, [UNOBSERVED]))
    whole = (padded[found[:, 0]] != UNOBSERVED) & (padded[found[:, 1] + 1] != UNOBSERVED)
    kept = found[whole]
    return edges[kept[:, 1]] - edges[kept[:, 0]]


def transitions(states: States) -> Int[np.ndarray, "behaviours behaviours"]:
    """How often a bout of one behaviour (row) is the next to begin after one of another (column).

    Bouts are put in the order in which they begin, within stretches in which every behaviour was
    observed; a pair that begins in different stretches is not counted. Bouts that begin at the same
    frame stand in the order of the columns.
    """
    n = states.shape[1]
    counts = np.zeros((n, n), np.int64)
    observed = (states != UNOBSERVED).all(axis=1)
    for start, stop in runs(observed).tolist():
        found = [
            (int(a), column)
            for column in range(n)
            for a in runs(states[start:stop, column] == PRESENT)[:, 0].tolist()
        ]
        order = [column for _, column in sorted(found)]
        np.add.at(counts, (order[:-1], order[1:]), 1)
    return counts


def shares(counts: Int[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Each row divided by its sum; NaN where it is 0."""
    total = counts.sum(axis=1, keepdims=True)
    result = np.full(counts.shape, np.nan)
    np.divide(counts, total, out=result, where=total > 0)
    return result


def together(states: States) -> Int[np.ndarray, "behaviours behaviours"]:
    """Frames in which both of two behaviours are present; on the diagonal those of each."""
    known = (states != UNOBSERVED).all(axis=1)
    present = (states[known] == PRESENT).astype(np.int64)
    return present.T @ present


def confusion(
    truth: States, called: States, columns: Sequence[int]
) -> Int[np.ndarray, "outcomes outcomes"]:
    """Frames by what is true (row) and what was called (column) of an exclusive group.

    The last row and column are "none of them". Frames count in which all of the group is known to
    both sides and each side has one of them at most.
    """
    chosen = list(columns)
    n = len(chosen)
    counts = np.zeros((n + 1, n + 1), np.int64)
    known = ((truth[:, chosen] != UNOBSERVED) & (called[:, chosen] != UNOBSERVED)).all(axis=1)
    a, b = truth[known][:, chosen] == PRESENT, called[known][:, chosen] == PRESENT
    clear = (a.sum(axis=1) <= 1) & (b.sum(axis=1) <= 1)
    row = np.where(a.any(axis=1), a.argmax(axis=1), n)[clear]
    column = np.where(b.any(axis=1), b.argmax(axis=1), n)[clear]
    np.add.at(counts, (row, column), 1)
    return counts


@dataclass(frozen=True)
class Mistake:
    """A stretch of frames in which the probe contradicts people.

    ``missed`` is whether people saw the behaviour and the probe did not; else it was called without
    being there. ``weight`` is the sum of how far each frame's probability is from the truth.
    ``frame`` is the one that is farthest from it.
    """

    recording: str
    subject: str
    behaviour: str
    start: int
    stop: int
    frame: int
    missed: bool
    probability: float
    weight: float


def worst_mistakes(
    pairings: Sequence[Pairing], behaviours: Sequence[str], most: int
) -> list[Mistake]:
    """The gravest mistakes of each behaviour, ``most`` missed and ``most`` false, gravest first."""
    result = []
    for column, name in enumerate(behaviours):
        found = [m for p in pairings for m in _mistakes(p, column, name)]
        for missed in (True, False):
            mine = sorted((m for m in found if m.missed == missed), key=lambda m: -m.weight)
            result.extend(mine[:most])
    return result


def _mistakes(p: Pairing, column: int, name: str) -> list[Mistake]:
    truth, called = p.truth[:, column], p.called[:, column]
    known = (truth != UNOBSERVED) & (called != UNOBSERVED)
    probability = p.probability[:, column].astype(np.float64)
    off = np.abs(probability - (truth == PRESENT))
    result = []
    for missed in (True, False):
        wrong = known & ((truth == PRESENT) == missed) & ((called == PRESENT) != missed)
        result += [
            Mistake(
                p.recording,
                p.subject,
                name,
                start,
                stop,
                start + int(np.argmax(off[start:stop])),
                missed,
                float(probability[start:stop].mean()),
                float(off[start:stop].sum()),
            )
            for start, stop in runs(wrong).tolist()
        ]
    return result
