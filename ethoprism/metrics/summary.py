"""All scores of predictions against labels, with intervals.

Every recording gives sums. They are added up before anything is divided, so a long recording
counts for more than a short one, and a drawn recording is a drawn row of sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pandas as pd
from jaxtyping import Float, Int8

from ethoprism.annotation import PRESENT
from ethoprism.metrics import bootstrap, bouts, calibration, frames
from ethoprism.metrics.frames import Ranks, ratio

IOU = (0.1, 0.25, 0.5)
IOU_NAMES = tuple(f"segment_f1_{round(100 * value)}" for value in IOU)
FEWEST_RECORDINGS = 5
N_BLOCKS = 20
COLUMNS = (
    "precision",
    "recall",
    "f1",
    "chance_f1",
    "average_precision",
    *IOU_NAMES,
    "edit",
    "banos_detection",
    "banos_overlap",
    "banos_timing",
    "banos_continuity",
    "bout_count_error",
    "latency_error_s",
    "latency_bias_s",
    "time_share",
    "called_time_share",
    "time_share_error",
    "calibration_error",
    "adaptive_calibration_error",
)
WITH_INTERVAL = (
    "precision",
    "recall",
    "f1",
    "average_precision",
    *IOU_NAMES,
    "time_share",
    "called_time_share",
    "time_share_error",
)


@dataclass(frozen=True, eq=False)
class Pairing:
    """What people saw and what was predicted, of one recording or of one subject of it.

    Attributes
    ----------
    recording, subject
        Whose frames these are.
    truth, called
        int8 ``[frames, behaviours]`` states; frames that are not to count are unobserved.
    probability
        ``[frames, behaviours]``; meaningless where ``called`` is unobserved.
    times
        Seconds, ``[frames]``.
    seconds
        How long each frame lasts, ``[frames]``.
    """

    recording: str
    subject: str
    truth: Int8[np.ndarray, "frames behaviours"]
    called: Int8[np.ndarray, "frames behaviours"]
    probability: Float[np.ndarray, "frames behaviours"]
    times: Float[np.ndarray, " frames"]
    seconds: Float[np.ndarray, " frames"]

    def cut(self, start: int, stop: int) -> Pairing:
        """The frames from ``start`` to ``stop`` (excluded)."""
        names = ("truth", "called", "probability", "times", "seconds")
        return replace(self, **{name: getattr(self, name)[start:stop] for name in names})


@dataclass(frozen=True, eq=False)
class Scores:
    """What predictions are worth.

    Attributes
    ----------
    table
        One row per behaviour, support first. A column ``x_low`` and one ``x_high`` hold the ends of
        the interval of ``x``.
    overall
        ``mean_average_precision``, ``edit`` (of all behaviours together), each with ``_low`` and
        ``_high``.
    drawn
        What was drawn again for the intervals: ``3 recordings`` or ``20 blocks of 500 frames``.
    """

    table: pd.DataFrame
    overall: Mapping[str, float]
    drawn: str


def frame_seconds(times: Float[np.ndarray, " frames"]) -> Float[np.ndarray, " frames"]:
    """How long each frame lasts: until the next; the last as long as the median; 0 if alone."""
    gaps = np.diff(times)
    return np.append(gaps, np.median(gaps) if len(gaps) else 0.0)[: len(times)]


def score(
    pairings: Sequence[Pairing],
    behaviours: Sequence[str],
    *,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
    n_blocks: int = N_BLOCKS,
) -> Scores:
    """Score predictions; see `Scores`.

    Parameters
    ----------
    pairings
        All of them with the same ``behaviours`` as columns.
    behaviours
        Names of the columns.
    n_resamples, seed
        Of the bootstrap. Whole recordings are drawn, all subjects of one together, since they share
        its circumstances. With fewer than `FEWEST_RECORDINGS` there is too little to draw from, and
        about ``n_blocks`` contiguous blocks of equal length are drawn instead. That takes blocks
        for independent, so for new recordings the intervals are too narrow. Scores of bouts have
        no interval then: a block's edge cuts a long bout into others.
    """
    added = _added([sums_of(p) for p in pairings])
    groups, drawn = _groups(pairings, n_blocks)
    weights = bootstrap.draw(len(groups), n_resamples, seed)
    if len(groups) < 2:  # nothing to draw from
        weights = weights[:0]
    each = [_added([sums_of(p) for p in group]) for group in groups]
    stacked = {name: np.stack([s[name] for s in each]) for name in each[0]}
    again = metrics_of(bootstrap.resample(stacked, weights))
    if "blocks" in drawn:
        # A cut makes other bouts of a long one, so blocks say nothing of how bouts vary.
        for name in (*IOU_NAMES, "edit_all"):
            again[name] = np.full_like(again[name], np.nan)
    point = {**metrics_of(added), **_adaptive(groups, len(behaviours))}
    for weighted, place in ((np.ones((1, len(groups))), point), (weights, again)):
        place["average_precision"] = _average_precision(groups, weighted, len(behaviours))
    point["average_precision"] = point["average_precision"][0]
    columns = _support(added)
    for name in COLUMNS:
        columns[name] = point[name]
        if name in WITH_INTERVAL:
            columns[f"{name}_low"], columns[f"{name}_high"] = bootstrap.interval(again[name])
    overall = {}
    for name, value, values in (
        ("mean_average_precision", *_means(point, again, behaviours)),
        ("edit", point["edit_all"], again["edit_all"]),
    ):
        low, high = bootstrap.interval(values)
        overall |= {name: float(value), f"{name}_low": float(low), f"{name}_high": float(high)}
    table = pd.DataFrame(columns, index=pd.Index(behaviours, name="behaviour"))
    return Scores(table, overall, drawn)


def _average_precision(
    groups: Sequence[Sequence[Pairing]], weights: np.ndarray, n_behaviours: int
) -> np.ndarray:
    """``[resamples, behaviours]``, with each group as often as it was drawn."""
    result = np.full((len(weights), n_behaviours), np.nan)
    for column in range(n_behaviours):
        truth, probability = zip(*(_column(group, column) for group in groups), strict=True)
        result[:, column] = Ranks.of(truth, probability).average_precision(weights)
    return result


def _adaptive(groups: Sequence[Sequence[Pairing]], n_behaviours: int) -> dict[str, np.ndarray]:
    together = [p for group in groups for p in group]
    columns = [_column(together, column) for column in range(n_behaviours)]
    errors = [calibration.adaptive_calibration_error(*column) for column in columns]
    return {"adaptive_calibration_error": np.array(errors, np.float64)}


def _means(
    point: Mapping[str, np.ndarray], again: Mapping[str, np.ndarray], behaviours: Sequence[str]
) -> tuple[float, np.ndarray]:
    """Mean average precision, and of every resample."""
    rows = [frames.mean_average_precision(r, behaviours) for r in again["average_precision"]]
    value = frames.mean_average_precision(point["average_precision"], behaviours)
    return value, np.array(rows, np.float64)


def sums_of(p: Pairing) -> dict[str, np.ndarray]:
    """Sums of one pairing, from which `metrics_of` divides; each ``[behaviours, ...]``.

    ``edit_all`` is ``[2]``: the distance and the length for all behaviours together.
    """
    known = frames.scored(p.truth, p.called)
    truth, called = (p.truth == PRESENT) & known, (p.called == PRESENT) & known
    columns = [_bout_sums(p, truth[:, i], called[:, i], known[:, i]) for i in range(known.shape[1])]
    seconds = p.seconds @ known
    true_s, called_s = p.seconds @ truth, p.seconds @ called
    return {
        "frames": known.sum(axis=0),
        "present": truth.sum(axis=0),
        "called": called.sum(axis=0),
        "hits": (truth & called).sum(axis=0),
        "seconds": seconds,
        "present_s": true_s,
        "called_s": called_s,
        "edit_all": np.array(bouts.edit_counts(truth, called, known), np.float64),
        **{name: np.array([c[name] for c in columns], np.float64) for name in _BOUT_SUMS},
        "segment_hits": np.array([c["segment_hits"] for c in columns]).reshape(-1, len(IOU)),
        "calibration": np.array(
            [calibration.bin_sums(truth[k, i], p.probability[k, i]) for i, k in enumerate(known.T)]
        ).reshape(-1, calibration.N_BINS, 3),
    }


_BOUT_SUMS = (
    "bouts",
    "called_bouts",
    "edit_distance",
    "edit_length",
    "matched",
    "pairs",
    "overlap",
    "timing",
    "long_bouts",
    "continuity",
    "latencies",
    "latency_error",
    "latency_bias",
)


def _bout_sums(
    p: Pairing, truth: np.ndarray, called: np.ndarray, known: np.ndarray
) -> dict[str, object]:
    """Sums of one behaviour's bouts."""
    a, b = bouts.bouts_of(truth, known), bouts.bouts_of(called, known)
    distance, length = bouts.edit_counts(truth[:, None], called[:, None], known[:, None])
    late = bouts.latencies(b, known, p.times) - bouts.latencies(a, known, p.times)
    late = late[np.isfinite(late)]
    return {
        "bouts": len(a),
        "called_bouts": len(b),
        "segment_hits": bouts.segment_hits(a, b, IOU),
        "edit_distance": distance,
        "edit_length": length,
        **vars(bouts.banos_sums(a, b, called)),
        "latencies": len(late),
        "latency_error": np.abs(late).sum(),
        "latency_bias": late.sum(),
    }


def metrics_of(sums: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores from sums; each ``[..., behaviours]``, for any leading dimensions.

    ``edit_all`` is ``[...]``. The names are those of docs/metrics.md.
    """
    s = sums
    prevalence = ratio(s["present"], s["frames"])
    segment = [
        frames.f1(s["segment_hits"][..., i], s["bouts"], s["called_bouts"]) for i in range(len(IOU))
    ]
    return {
        "precision": frames.precision(s["hits"], s["called"]),
        "recall": frames.recall(s["hits"], s["present"]),
        "f1": frames.f1(s["hits"], s["present"], s["called"]),
        # As `ethoprism.evaluate.chance_f1`; without a true frame there is no F1 to compare with.
        "chance_f1": np.where(s["present"] > 0, 2 * prevalence / (1 + prevalence), np.nan),
        **dict(zip(IOU_NAMES, segment, strict=True)),
        "edit": 1 - ratio(s["edit_distance"], s["edit_length"]),
        "edit_all": np.asarray(1 - ratio(s["edit_all"][..., 0], s["edit_all"][..., 1])),
        "banos_detection": frames.f1(s["matched"], s["bouts"], s["called_bouts"]),
        "banos_overlap": ratio(s["overlap"], s["pairs"]),
        "banos_timing": ratio(s["timing"], s["pairs"]),
        "banos_continuity": ratio(s["continuity"], s["long_bouts"]),
        "bout_count_error": s["called_bouts"] - s["bouts"],
        "latency_error_s": ratio(s["latency_error"], s["latencies"]),
        "latency_bias_s": ratio(s["latency_bias"], s["latencies"]),
        "time_share": ratio(s["present_s"], s["seconds"]),
        "called_time_share": ratio(s["called_s"], s["seconds"]),
        "time_share_error": ratio(s["called_s"] - s["present_s"], s["seconds"]),
        "calibration_error": calibration.calibration_error(s["calibration"]),
    }


def _support(added: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    counts = ("frames", "present", "called", "bouts", "called_bouts", "latencies")
    return {**{n: added[n].astype(np.int64) for n in counts}, "seconds": added["seconds"]}


def _added(each: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.sum([s[name] for s in each], axis=0) for name in each[0]}


def _column(group: Sequence[Pairing], column: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and probability of the scored frames of one behaviour."""
    known = [frames.scored(p.truth, p.called)[:, column] for p in group]
    truth = [p.truth[k, column] == PRESENT for p, k in zip(group, known, strict=True)]
    probability = [p.probability[k, column] for p, k in zip(group, known, strict=True)]
    return np.concatenate(truth), np.concatenate(probability)


def _groups(pairings: Sequence[Pairing], n_blocks: int) -> tuple[list[list[Pairing]], str]:
    """What is drawn: recordings, or blocks of frames where there are few."""
    recordings: dict[str, list[Pairing]] = {}
    for p in pairings:
        if frames.scored(p.truth, p.called).any():
            recordings.setdefault(p.recording, []).append(p)
    if len(recordings) >= FEWEST_RECORDINGS:
        return list(recordings.values()), f"{len(recordings)} recordings"
    if not recordings:
        return [list(pairings)], "nothing: no frame is scored"
    total = sum(_scored_frames(group).sum() for group in recordings.values())
    length = max(1, -(-int(total) // n_blocks))
    blocks = [b for group in recordings.values() for b in _blocks(group, length)]
    return blocks, f"{len(blocks)} blocks of up to {length} scored frames"


def _scored_frames(group: Sequence[Pairing]) -> np.ndarray:
    """bool ``[frames]``: some subject is scored for some behaviour."""
    scored = [frames.scored(p.truth, p.called).any(axis=1) for p in group]
    return np.logical_or.reduce(scored)


def _blocks(group: Sequence[Pairing], length: int) -> list[list[Pairing]]:
    """One recording cut where another ``length`` scored frames are over; all subjects alike."""
    places = np.flatnonzero(_scored_frames(group))
    edges = [0, *places[length::length].tolist(), len(group[0].times)]
    return [[p.cut(a, b) for p in group] for a, b in pairwise(edges)]
