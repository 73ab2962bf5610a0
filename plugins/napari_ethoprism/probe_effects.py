"""What a decision makes of predictions, and the scales of the sliders that set it; no Qt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ethoprism.annotation import PRESENT, runs
from ethoprism.errors import EthoPrismError
from ethoprism.prediction import Decision, Prediction, decide

if TYPE_CHECKING:  # these import jax
    from ethoprism.probe.checkpoint import Probe
    from ethoprism.probe.decisions import Timeline

STEPS = 1000
"""Positions of a threshold's slider, from "rather miss" (0) to "rather over-call"."""
_SPREAD = math.log(999)  # from a threshold of 0.999 to 0.001


@dataclass(frozen=True)
class Effect:
    """What is called of one behaviour.

    Attributes
    ----------
    bouts, share
        In the predictions that are shown: bouts, and the share of the frames with tokens.
    precision, recall
        On labelled frames that were held out in training; NaN where there are none.
    """

    bouts: int
    share: float
    precision: float = math.nan
    recall: float = math.nan


@dataclass(frozen=True, eq=False)
class Counted:
    """Effects by behaviour, and the held-out frames that they were scored on, for the next time."""

    effects: dict[str, Effect]
    held_out: tuple[Timeline, ...] = field(default=())


def effects(predictions: Sequence[Prediction], decision: Decision) -> dict[str, Effect]:
    """The effect of a decision by behaviour, over all predictions together."""
    bouts: dict[str, int] = {}
    frames: dict[str, int] = {}
    covered = sum(int(p.covered.sum()) for p in predictions)
    for prediction in predictions:
        called = decide(prediction, decision) == PRESENT
        for column, name in enumerate(prediction.behaviours):
            bouts[name] = bouts.get(name, 0) + len(runs(called[:, column]))
            frames[name] = frames.get(name, 0) + int(np.count_nonzero(called[:, column]))
    return {n: Effect(bouts[n], frames[n] / covered if covered else 0.0) for n in bouts}


def count(
    predictions: Sequence[Prediction],
    decision: Decision,
    probe: Probe,
    folder: Path,
    held_out: tuple[Timeline, ...] | None,
) -> Counted:
    """Effects with their scores on held-out frames; for a worker thread.

    Parameters
    ----------
    predictions, decision
        What is shown, and how it becomes bouts.
    probe, folder
        The probe, and where it lies.
    held_out
        As it was counted before; None reads it. A probe without held-out frames has no scores.
    """
    from ethoprism.probe.checkpoint import load_held_out
    from ethoprism.probe.decisions import in_rows, part_metrics

    found = effects(predictions, decision)
    if held_out is None:
        try:
            held_out = load_held_out(folder, probe)
        except EthoPrismError:  # made by an older version
            held_out = ()
    rows = in_rows(decision, probe.key.step)
    scores, _ = part_metrics(held_out, probe.behaviours, rows, intervals=False)
    scored = {name: _scored(effect, scores.get(name, {})) for name, effect in found.items()}
    return Counted(scored, held_out)


def _scored(effect: Effect, scores: dict[str, Any]) -> Effect:
    names = ("precision", "recall")
    return replace(effect, **{name: float(scores.get(name, math.nan)) for name in names})


def threshold_at(position: int) -> float:
    """The threshold of a slider's position; its steps are finer near 0 and near 1."""
    return 1 / (1 + math.exp(_SPREAD * (2 * position / STEPS - 1)))


def position_of(threshold: float) -> int:
    """The position nearest to a threshold."""
    inside = min(max(threshold, 1e-9), 1 - 1e-9)
    place = (math.log(1 / inside - 1) / _SPREAD + 1) / 2
    return min(max(round(place * STEPS), 0), STEPS)


def low_of(decision: Decision, name: str) -> float:
    """Down to which probability a bout goes on."""
    return decision.low.get(name, decision.thresholds[name])


def gap_of(decision: Decision, name: str) -> int:
    """Frames up to which, exclusively, a gap in a bout is filled; 0 in exclusive groups."""
    if any(name in group for group in decision.exclusive):
        return 0
    return decision.min_gap.get(name, decision.min_bout[name])


def decoded(decision: Decision, name: str) -> bool:
    """Whether a behaviour is decoded as a sequence, so that hysteresis and gaps do not apply."""
    return any(name in chain.behaviours for chain in decision.chains)


def with_threshold(decision: Decision, name: str, threshold: float) -> Decision:
    """The decision with another threshold; a lower one takes the end of its bouts with it."""
    low = decision.low
    if name in low:
        low = {**low, name: min(low[name], float(threshold))}
    return replace(decision, thresholds={**decision.thresholds, name: float(threshold)}, low=low)


def with_low(decision: Decision, name: str, low: float) -> Decision:
    """The decision with another probability down to which bouts go on, the threshold at most."""
    return replace(decision, low={**decision.low, name: min(float(low), decision.thresholds[name])})


def with_min_bout(decision: Decision, name: str, frames: int) -> Decision:
    """The decision with another shortest bout; what is said of gaps stays."""
    gaps = {**decision.min_gap, name: decision.min_gap.get(name, decision.min_bout[name])}
    min_bout = {**decision.min_bout, name: int(frames)}
    return replace(decision, min_bout=min_bout, min_gap=gaps)


def with_min_gap(decision: Decision, name: str, frames: int) -> Decision:
    """The decision with another shortest gap."""
    return replace(decision, min_gap={**decision.min_gap, name: int(frames)})
