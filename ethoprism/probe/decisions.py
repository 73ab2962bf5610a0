"""What is learnt on held-out rows after training: thresholds, lengths, and sequences of groups.

Nothing here sees training or test rows. A rule that is more than a threshold is taken where it
makes the held-out score better by `WORTH` at least, so few rows don't make up rules. The score is
the mean of the frames' F1 and of the bouts' F1 at half overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int8

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.evaluate import best_threshold, frame_scores
from ethoprism.metrics import frames
from ethoprism.metrics.bouts import bouts_of, segment_hits
from ethoprism.metrics.summary import Pairing, score
from ethoprism.postprocess import Chain, hysteresis, smooth
from ethoprism.prediction import Decision, Prediction, decide

WORTH = 0.01
_LOW = (0.7, 0.4)
_QUANTILES = (5, 10, 25)
_RESAMPLES = 300


@dataclass(frozen=True, eq=False)
class Timeline:
    """Probabilities of rows of a recording, or of one subject of it, and what is known of them.

    Attributes
    ----------
    recording, subject
        Whose rows.
    probability
        float32 ``[rows, behaviours]``, meaningless where ``covered`` is false.
    covered
        bool ``[rows]``.
    states
        int8 ``[rows, behaviours]``, unobserved where ``covered`` is false.
    """

    recording: str
    subject: str
    probability: Float32[np.ndarray, "rows behaviours"]
    covered: Bool[np.ndarray, " rows"]
    states: Int8[np.ndarray, "rows behaviours"]

    def prediction(self, behaviours: Sequence[str]) -> Prediction:
        """As a prediction of rows."""
        return Prediction(
            self.recording,
            self.subject,
            tuple(behaviours),
            self.probability,
            self.covered,
            "",
            "",
            "",
        )


def joined(timelines: Sequence[Timeline], n_behaviours: int) -> Timeline:
    """All of them behind one another, with a row between that is not covered."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for item in timelines:
        used = np.flatnonzero(item.covered)
        if len(used):
            here = slice(used[0], used[-1] + 1)
            parts.append((item.probability[here], item.covered[here], item.states[here]))
        parts.append(
            (
                np.zeros((1, n_behaviours), np.float32),
                np.zeros(1, bool),
                np.full((1, n_behaviours), UNOBSERVED, np.int8),
            )
        )
    if not parts:
        empty = (0, n_behaviours)
        return Timeline(
            "", "", np.zeros(empty, np.float32), np.zeros(0, bool), np.zeros(empty, np.int8)
        )
    p, covered, states = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Timeline("", "", p, covered, states)


def learn_decision(
    timelines: Sequence[Timeline],
    behaviours: Sequence[str],
    exclusive: Sequence[Sequence[str]],
) -> Decision:
    """Thresholds with the best F1, and rules for bouts where they are worth it; lengths in rows."""
    names = list(behaviours)
    present = set(names)
    groups = tuple(tuple(n for n in group if n in present) for group in exclusive)
    groups = tuple(group for group in groups if len(group) > 1)
    whole = joined(timelines, len(names))
    thresholds = {}
    for column, name in enumerate(names):
        known = whole.states[:, column] != UNOBSERVED
        truth = whole.states[known, column] == PRESENT
        thresholds[name] = best_threshold(truth, whole.probability[known, column])
    decision = Decision(
        thresholds, dict.fromkeys(names, 1), groups, min_gap=dict.fromkeys(names, 1)
    )
    for group in groups:
        decision = _with_chain(decision, whole, names, group)
    grouped = {name for group in groups for name in group}
    for column, name in enumerate(names):
        decision = _with_lengths(decision, whole, names, column, name in grouped)
    return decision


def _with_chain(
    decision: Decision, whole: Timeline, names: Sequence[str], group: tuple[str, ...]
) -> Decision:
    """With the likeliest sequence of a group, if that does better than its thresholds."""
    columns = [names.index(name) for name in group]
    outcome = _outcomes(whole.states[:, columns])
    sequences = [outcome[start:stop] for start, stop in runs(outcome >= 0)]
    if sum(len(s) for s in sequences) < 2:
        return decision
    chain = Chain.learn(group, sequences)
    neutral = {**decision.thresholds, **dict.fromkeys(group, 0.5)}
    other = replace(decision, thresholds=neutral, chains=(*decision.chains, chain))
    scores = [
        np.mean([_quality(states[:, c] == PRESENT, whole, c) for c in columns])
        for states in (_decided(whole, names, d) for d in (decision, other))
    ]
    return other if scores[1] > scores[0] + WORTH else decision


def _decided(whole: Timeline, names: Sequence[str], decision: Decision) -> np.ndarray:
    return decide(whole.prediction(names), decision)


def _outcomes(states: np.ndarray) -> np.ndarray:
    """0 for none of a group, the number of the present member, −1 for not known."""
    present = states == PRESENT
    count = present.sum(axis=1)
    known = (states != UNOBSERVED).all(axis=1)
    none = np.where(known & (count == 0), 0, -1)
    return np.where(count == 1, 1 + present.argmax(axis=1), none)


def _with_lengths(
    decision: Decision, whole: Timeline, names: Sequence[str], column: int, grouped: bool
) -> Decision:
    """With hysteresis, a shortest gap and a shortest bout for one behaviour."""
    name = names[column]
    known = whole.states[:, column] != UNOBSERVED
    truth = (whole.states[:, column] == PRESENT) & known
    if not truth.any():
        return decision
    best = _quality(_decided(whole, names, decision)[:, column] == PRESENT, whole, column)
    threshold = decision.thresholds[name]
    bouts = runs(truth)
    gaps = bouts[1:, 0] - bouts[:-1, 1]
    tries: list[list[tuple[str, Any]]] = [
        [] if grouped else [("low", factor * threshold) for factor in _LOW],
        [] if grouped else [("min_gap", n) for n in _lengths(gaps)],
        [("min_bout", n) for n in _lengths(bouts[:, 1] - bouts[:, 0])],
    ]
    single = None if grouped else whole.probability[:, [column]]
    for options in tries:
        chosen = decision
        for field, value in options:
            other = replace(decision, **{field: {**getattr(decision, field), name: value}})
            called = (
                _decided(whole, names, other)[:, column] == PRESENT
                if single is None
                else _single(single, whole.covered, other, name)
            )
            found = _quality(called, whole, column)
            if found > best + WORTH:
                best, chosen = found, other
        decision = chosen
    return decision


def _single(p: np.ndarray, covered: np.ndarray, decision: Decision, name: str) -> np.ndarray:
    """`decide` for one behaviour that is in no group."""
    threshold = np.float32(decision.thresholds[name])
    low = np.float32(decision.low.get(name, threshold))
    called = hysteresis(p >= threshold, p >= low, covered)
    return smooth(called, covered, [decision.min_bout[name]], [decision.min_gap[name]])[:, 0]


def _lengths(found: np.ndarray) -> list[int]:
    if not len(found):
        return []
    values = {int(v) for v in np.percentile(found, _QUANTILES)}
    return sorted(v for v in values | {max(values) // 2} if v > 1)


def _quality(called: np.ndarray, whole: Timeline, column: int) -> float:
    """Mean of the frames' F1 and the bouts' F1 at half overlap."""
    known = (whole.states[:, column] != UNOBSERVED) & whole.covered
    truth = (whole.states[:, column] == PRESENT) & known
    if not truth.any():
        return 0.0
    called = called & known
    a, b = bouts_of(truth, known), bouts_of(called, known)
    hits = segment_hits(a, b, (0.5,))[0]
    of_frames = frames.f1((truth & called).sum(), truth.sum(), called.sum())
    return float(of_frames + frames.f1(hits, len(a), len(b))) / 2


def in_frames(decision: Decision, step: int) -> Decision:
    """The same decision with its lengths in frames, where a row is ``step`` frames."""
    return replace(
        decision,
        min_bout={name: _frames(n, step) for name, n in decision.min_bout.items()},
        min_gap={name: _frames(n, step) for name, n in decision.min_gap.items()},
        chains=tuple(replace(chain, step=step) for chain in decision.chains),
    )


def in_rows(decision: Decision, step: int) -> Decision:
    """The same decision with its lengths in rows of ``step`` frames each."""
    return replace(
        decision,
        min_bout={name: -(-n // step) for name, n in decision.min_bout.items()},
        min_gap={name: -(-n // step) for name, n in decision.min_gap.items()},
        chains=tuple(replace(chain, step=1) for chain in decision.chains),
    )


def _frames(rows: int, step: int) -> int:
    return rows * step if rows > 1 else 1


def part_metrics(
    timelines: Sequence[Timeline],
    behaviours: Sequence[str],
    decision: Decision,
    *,
    intervals: bool = True,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Scores by behaviour, and of all together, of decided rows; lengths of the decision in rows.

    Besides the columns of `ethoprism.evaluate.frame_scores` there are ``f1_low``, ``f1_high``,
    ``average_precision_low`` and ``average_precision_high`` (95 % intervals, see
    `ethoprism.metrics.summary.score`) and ``calibration_error``.
    """
    used = [item for item in timelines if item.covered.any()]
    if not used:
        return {}, {}
    pairings = [pairing_of(item, behaviours, decision) for item in used]
    whole = joined(used, len(behaviours))
    table = frame_scores(
        whole.states, _decided(whole, behaviours, decision), whole.probability, behaviours
    )
    overall: dict[str, Any] = {}
    if intervals:
        found = score(pairings, behaviours, n_resamples=_RESAMPLES)
        for name in ("f1", "average_precision"):
            for end in ("low", "high"):
                table[f"{name}_{end}"] = found.table[f"{name}_{end}"]
        table["calibration_error"] = found.table["calibration_error"]
        overall = {**found.overall, "intervals_from": found.drawn}
    return {str(name): dict(row) for name, row in table.to_dict("index").items()}, overall


def pairing_of(item: Timeline, behaviours: Sequence[str], decision: Decision) -> Pairing:
    """Decided rows against what is known of them, with rows for seconds."""
    rows = np.arange(len(item.covered), dtype=np.float64)
    return Pairing(
        item.recording,
        item.subject,
        item.states,
        decide(item.prediction(behaviours), decision),
        item.probability,
        rows,
        np.ones(len(rows)),
    )
