"""Scores of bouts: segment F1, edit score, BANOS, latency.

A bout is a row ``start, stop`` of half-open frames. Functions take the bouts of one behaviour in
order, from `bouts_of`, which cuts them at the edges of stretches (see `ethoprism.metrics`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ethoprism.annotation import runs

Bouts = Int[np.ndarray, "_ 2"]


def bouts_of(present: Bool[np.ndarray, " frames"], known: Bool[np.ndarray, " frames"]) -> Bouts:
    """Bouts of one behaviour, cut to the frames that are ``known``."""
    return runs(present & known)


def overlapping(a: Bouts, b: Bouts) -> Int[np.ndarray, "pairs 2"]:
    """Pairs ``i, j`` of which ``a[i]`` and ``b[j]`` share a frame, ordered by ``i``, then ``j``."""
    first = np.searchsorted(b[:, 1], a[:, 0], side="right")
    last = np.searchsorted(b[:, 0], a[:, 1], side="left")
    count = np.maximum(last - first, 0)
    i = np.repeat(np.arange(len(a)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.stack([i, np.repeat(first, count) + within], axis=1)


def intersection_over_union(a: Bouts, b: Bouts) -> Float[np.ndarray, " _"]:
    """Frames in both bouts over frames in either, row by row; 0 where they share none."""
    shared = np.maximum(np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0]), 0)
    return shared / ((a[:, 1] - a[:, 0]) + (b[:, 1] - b[:, 0]) - shared)


def segment_hits(truth: Bouts, called: Bouts, thresholds: Sequence[float]) -> list[int]:
    """Called bouts that are true at each threshold of overlap, for segment F1@k.

    Each called bout takes the true bout with which its intersection over union is largest, the
    first of equals. It is a hit if that is at least the threshold and no earlier called bout has
    taken that true bout. Precision is hits over called bouts, recall hits over true bouts.

    Source: Lea, Flynn, Vidal, Reiter, Hager, Temporal Convolutional Networks for Action
    Segmentation and Detection, CVPR 2017.
    """
    pairs = overlapping(called, truth)
    overlap = intersection_over_union(called[pairs[:, 0]], truth[pairs[:, 1]])
    order = np.lexsort((pairs[:, 1], -overlap, pairs[:, 0]))
    _, best = np.unique(pairs[order, 0], return_index=True)
    taken, overlap = pairs[order[best], 1], overlap[order[best]]
    return [len(np.unique(taken[overlap >= threshold])) for threshold in thresholds]


def edit_distance(a: Sequence[int] | np.ndarray, b: Sequence[int] | np.ndarray) -> int:
    """Levenshtein's distance: fewest insertions, deletions and replacements from ``a`` to ``b``.

    Source: Levenshtein, Soviet Physics Doklady 10, 1966.
    """
    a, b = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
    steps = np.arange(len(b) + 1)
    row = steps.copy()
    for i, item in enumerate(a):
        best = np.minimum(row[1:] + 1, row[:-1] + (b != item))
        # An insertion comes from the left in the same row: the least of what lies there, plus the
        # way from it.
        row = np.minimum.accumulate(np.concatenate(([i + 1], best)) - steps) + steps
    return int(row[-1])


def edit_counts(
    truth: Bool[np.ndarray, "frames behaviours"],
    called: Bool[np.ndarray, "frames behaviours"],
    known: Bool[np.ndarray, "frames behaviours"],
) -> tuple[int, int]:
    """Edit distance of the orders of bouts, and the longer order's length, summed over stretches.

    The order of bouts is that of their starts, then of their stops, then of the columns. The edit
    score is ``1 - distance / length``, NaN without bouts. Only frames count in which every
    behaviour is known. For behaviours that exclude each other it is the published score with
    background left out; for one behaviour it compares the numbers of bouts. The published score is
    the mean over videos; this one is pooled, so a long video counts for more.

    Source: Lea, Reiter, Vidal, Hager, Segmental Spatiotemporal CNNs for Fine-grained Action
    Segmentation, ECCV 2016; used with segment F1 in Lea et al., CVPR 2017.
    """
    everywhere = np.asarray(known.all(axis=1))
    starts = runs(everywhere)[:, 0]
    (label_a, place_a), (label_b, place_b) = (
        _in_order(side, everywhere, starts) for side in (truth, called)
    )
    distance = length = 0
    for place in np.union1d(place_a, place_b):
        a, b = label_a[place_a == place], label_b[place_b == place]
        distance += edit_distance(a, b)
        length += max(len(a), len(b))
    return distance, length


def _in_order(
    present: np.ndarray, known: np.ndarray, stretches: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Columns of all bouts in order, and the stretch that each is in."""
    each = [bouts_of(column, known) for column in present.T]
    labels = np.repeat(np.arange(len(each)), [len(b) for b in each])
    bouts = np.concatenate([*each, np.zeros((0, 2), np.int64)])
    order = np.lexsort((labels, bouts[:, 1], bouts[:, 0]))
    return labels[order], np.searchsorted(stretches, bouts[order, 0], side="right") - 1


@dataclass(frozen=True)
class BanosSums:
    """Sums from which the four parts of BANOS follow; they add up over recordings.

    Attributes
    ----------
    matched
        True bouts that have a called bout of their own, of which they share a frame. Detection
        accuracy is the F1 of these.
    pairs, overlap, timing
        Pairs of bouts that share a frame, and the sums over them of intersection over union
        (segment overlap is the mean) and of ``1 / (1 + |start error| + |stop error|)`` in frames
        (temporal precision is the mean).
    long_bouts, continuity
        True bouts of at least two frames, and the sum over them of
        ``1 - switches / (frames - 1)``, where switches count the changes of what was called inside
        the bout (intra-bout continuity is the mean).
    """

    matched: int
    pairs: int
    overlap: float
    timing: float
    long_bouts: int
    continuity: float


def banos_sums(truth: Bouts, called: Bouts, present: Bool[np.ndarray, " frames"]) -> BanosSums:
    """What BANOS needs of one behaviour in one recording.

    Parameters
    ----------
    truth, called
        Its bouts.
    present
        bool ``[frames]``: where it was called.

    Source: Chindemi, Bellone, Girard, From eye to AI, 2025, doi:10.48550/arXiv.2508.04255, as the
    package ``banos`` 1.0 computes it. Two cases differ: a behaviour that does not occur has NaN
    here (there 1 or 0), and detection accuracy is 0 here if no bout is found (there NaN).
    """
    pairs = overlapping(called, truth)
    a, b = called[pairs[:, 0]], truth[pairs[:, 1]]
    errors = np.abs(a - b).sum(axis=1)
    changes = np.concatenate(([0], np.cumsum(present[1:] != present[:-1])))
    long = truth[truth[:, 1] - truth[:, 0] > 1]
    switches = changes[long[:, 1] - 1] - changes[long[:, 0]]
    return BanosSums(
        matched=_matched(pairs),
        pairs=len(pairs),
        overlap=float(intersection_over_union(a, b).sum()),
        timing=float((1 / (1 + errors)).sum()),
        long_bouts=len(long),
        continuity=float((1 - switches / (long[:, 1] - long[:, 0] - 1)).sum()),
    )


def _matched(pairs: np.ndarray) -> int:
    """Most pairs of which no two share a bout.

    Bouts of one side do not overlap, so taking the first free partner in order loses nothing.
    """
    last_i = last_j = -1
    matched = 0
    for i, j in pairs.tolist():
        if i > last_i and j > last_j:
            last_i, last_j = i, j
            matched += 1
    return matched


def latencies(
    bouts: Bouts, known: Bool[np.ndarray, " frames"], times: Float[np.ndarray, " frames"]
) -> Float[np.ndarray, " stretches"]:
    """Seconds from the start of each stretch to the first bout in it; NaN where there is none.

    Parameters
    ----------
    bouts
        Bouts of one behaviour.
    known
        Where the behaviour is scored.
    times
        Times of the frames, in seconds.
    """
    stretches = runs(known)
    if not len(bouts) or not len(stretches):
        return np.full(len(stretches), np.nan)
    first = np.minimum(np.searchsorted(bouts[:, 0], stretches[:, 0]), len(bouts) - 1)
    start = bouts[first, 0]
    inside = (start >= stretches[:, 0]) & (start < stretches[:, 1])
    return np.where(inside, times[start] - times[stretches[:, 0]], np.nan)
