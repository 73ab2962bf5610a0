"""How far annotators agree, frame by frame and bout by bout.

Only frames count that both annotators observed, or for Krippendorff's alpha at least two of them.
Neighbouring frames are alike, so frames are not independent observations: these coefficients
describe, and their uncertainty comes from drawing recordings again, not from the number of frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Int8, Num

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.metrics import bootstrap
from ethoprism.metrics.bouts import bouts_of, segment_hits
from ethoprism.metrics.frames import Figures, f1, ratio
from ethoprism.metrics.summary import FEWEST_RECORDINGS, IOU, IOU_NAMES

PROBE = "the probe"
ALL = "all annotators"
Key = tuple[str, str]
"""A recording and a subject of it."""
Labels = Mapping[Key, Mapping[str, np.ndarray]]


def pair_counts(
    a: Int8[np.ndarray, " frames"], b: Int8[np.ndarray, " frames"]
) -> Int[np.ndarray, " 4"]:
    """Frames that both call present, only ``a``, only ``b``, neither; of those both observed."""
    known = (a != UNOBSERVED) & (b != UNOBSERVED)
    x, y = a[known] == PRESENT, b[known] == PRESENT
    return np.array([(x & y).sum(), (x & ~y).sum(), (~x & y).sum(), (~x & ~y).sum()], np.int64)


def cohen_kappa(counts: Num[np.ndarray, "... 4"]) -> Float[np.ndarray, "..."]:
    """Agreement beyond chance of two annotators: 1 is full agreement, 0 what chance gives.

    Parameters
    ----------
    counts
        As from `pair_counts`; they add up over recordings.

    NaN where chance alone would make them agree everywhere, that is where both always call the
    behaviour present, or both always absent. Source: Cohen, Educational and Psychological
    Measurement 20, 1960.
    """
    both, only_a, only_b, neither = np.moveaxis(counts.astype(np.float64), -1, 0)
    total = both + only_a + only_b + neither
    a, b = both + only_a, both + only_b
    # Times total², so that "agree by chance everywhere" is an exact comparison of whole numbers.
    chance = a * b + (total - a) * (total - b)
    return ratio(total * (both + neither) - chance, total * total - chance)


def alpha_sums(states: Int8[np.ndarray, "annotators frames"]) -> Float[np.ndarray, " 3"]:
    """What Krippendorff's alpha needs: calls of absent, of present, and disagreeing pairs.

    A frame counts if two annotators or more observed it. A disagreeing pair weighs
    ``1 / (observers - 1)``, so that every call weighs the same. The sums add up over recordings.
    """
    absent = (states == 1 - PRESENT).sum(axis=0)
    present = (states == PRESENT).sum(axis=0)
    pairable = absent + present > 1
    absent, present = absent[pairable], present[pairable]
    disagreeing = (absent * present / (absent + present - 1)).sum()
    return np.array([absent.sum(), present.sum(), disagreeing], np.float64)


def krippendorff_alpha(sums: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "..."]:
    """Agreement beyond chance of any number of annotators, with gaps; nominal alpha of two values.

    One minus the observed over the expected disagreement, which for two values is
    ``1 - (n - 1) · disagreeing / (absent · present)``. NaN where only one value was ever called.
    Source: Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011.
    """
    absent, present, disagreeing = np.moveaxis(sums, -1, 0)
    return np.asarray(1 - ratio((absent + present - 1) * disagreeing, absent * present))


def bout_counts(
    a: Int8[np.ndarray, " frames"],
    b: Int8[np.ndarray, " frames"],
    thresholds: Sequence[float],
) -> tuple[int, int, list[int], list[int]]:
    """Bouts of ``a`` and of ``b``, and hits at each threshold with either as the truth.

    The frames that either did not observe cut bouts.
    """
    known = (a != UNOBSERVED) & (b != UNOBSERVED)
    x, y = bouts_of(a == PRESENT, known), bouts_of(b == PRESENT, known)
    return len(x), len(y), segment_hits(x, y, thresholds), segment_hits(y, x, thresholds)


def bout_agreement(
    bouts_a: Figures,
    bouts_b: Figures,
    hits_ab: Figures,
    hits_ba: Figures,
) -> Float[np.ndarray, "..."]:
    """Segment F1 of two annotators, the mean with either as the truth, so that it has no side.

    NaN where neither has a bout; 0 where one has and the other has not.
    """
    total = bouts_a + bouts_b
    return f1((hits_ab + hits_ba) / 2, total, np.zeros_like(total))


def annotator_agreement(
    labels: Labels,
    behaviours: Sequence[str],
    *,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """How far annotators agree, one row per pair and behaviour.

    Parameters
    ----------
    labels
        By recording and subject, then by annotator, int8 ``[frames, behaviours]``. `PROBE` is an
        annotator whose pairs come first.
    behaviours
        Names of the columns.
    n_resamples, seed
        Of the interval of Cohen's kappa, for which recordings are drawn; NaN with fewer than
        `FEWEST_RECORDINGS`.

    Returns
    -------
    Columns ``annotators`` (two names, or `ALL` where there are three or more), ``behaviour``,
    ``frames`` (both observed; for all, two or more did), ``present_1``, ``present_2``, ``kappa``,
    ``kappa_low``, ``kappa_high``, ``alpha`` and the columns of `IOU_NAMES`.
    """
    names = sorted({name for found in labels.values() for name in found}, key=_probe_first)
    rows = []
    for a, b in combinations(names, 2):
        both = {unit: found for unit, found in labels.items() if a in found and b in found}
        for column, behaviour in enumerate(behaviours):
            pair = {unit: (f[a][:, column], f[b][:, column]) for unit, f in both.items()}
            scores = _pair_scores(pair, n_resamples, seed)
            if scores["frames"]:
                rows.append({"annotators": f"{a}, {b}", "behaviour": behaviour, **scores})
    people = [name for name in names if name != PROBE]
    if len(people) > 2:
        rows += _alpha_of_all(labels, people, behaviours)
    return pd.DataFrame(rows)


def _probe_first(name: str) -> tuple[bool, str]:
    return name != PROBE, name


def _pair_scores(
    pair: Mapping[Key, tuple[np.ndarray, np.ndarray]], n_resamples: int, seed: int
) -> dict[str, Any]:
    counts: dict[str, np.ndarray] = {}
    alpha, bouts, hits = np.zeros(3), np.zeros(2), np.zeros((2, len(IOU)))
    for (recording, _), (a, b) in pair.items():
        mine = pair_counts(a, b)
        if mine.any():
            counts[recording] = counts.get(recording, np.zeros(4, np.int64)) + mine
        known = (a != UNOBSERVED) & (b != UNOBSERVED)
        alpha += alpha_sums(np.stack([a[known], b[known]]))
        n_a, n_b, ab, ba = bout_counts(a, b, IOU)
        bouts += n_a, n_b
        hits += ab, ba
    each = np.array(list(counts.values()), np.int64).reshape(-1, 4)
    total = each.sum(axis=0)
    low = high = float("nan")
    if len(each) >= FEWEST_RECORDINGS:
        weights = bootstrap.draw(len(each), n_resamples, seed)
        drawn = bootstrap.resample({"pairs": each}, weights)["pairs"]
        low, high = map(float, bootstrap.interval(cohen_kappa(drawn)))
    segment = bout_agreement(bouts[0], bouts[1], *hits)
    return {
        "frames": int(total.sum()),
        "present_1": int(total[0] + total[1]),
        "present_2": int(total[0] + total[2]),
        "kappa": float(cohen_kappa(total)),
        "kappa_low": low,
        "kappa_high": high,
        "alpha": float(krippendorff_alpha(alpha)),
        **dict(zip(IOU_NAMES, map(float, segment), strict=True)),
    }


def _alpha_of_all(
    labels: Labels,
    people: Sequence[str],
    behaviours: Sequence[str],
) -> list[dict[str, Any]]:
    rows = []
    for column, behaviour in enumerate(behaviours):
        sums, n_frames = np.zeros(3), 0
        for found in labels.values():
            columns = [found[name][:, column] for name in people if name in found]
            if len(columns) > 1:
                states = np.stack(columns)
                sums += alpha_sums(states)
                n_frames += int(((states != UNOBSERVED).sum(axis=0) > 1).sum())
        if n_frames:
            alpha = float(krippendorff_alpha(sums))
            rows.append(
                {"annotators": ALL, "behaviour": behaviour, "frames": n_frames, "alpha": alpha}
            )
    return rows
