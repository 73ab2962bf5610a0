"""The threshold assistant: from "rather miss" to "rather over-call", behaviour by behaviour.

What a threshold does is shown on frames that the probe had not learnt from (see
`ethoprism.probe.checkpoint.load_held_out`), decided with its shortest bouts and gaps. The choices
are made on the same frames as their precision and recall are told of, so with few bouts these are a
little too good.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.errors import InputError, LabelError
from ethoprism.prediction import Decision, decide
from ethoprism.probe.checkpoint import (
    Probe,
    forget_decision,
    load_held_out,
    load_probe,
    save_decision,
)
from ethoprism.probe.decisions import Timeline, in_rows, joined
from ethoprism.project import Project

CHOICES = ("miss", "rather-miss", "balanced", "rather-over", "over-call")
"""From the choice that calls the least to the one that calls the most."""
WORDS = {
    "miss": "precision of 0.9 at least",
    "rather-miss": "best F0.5: precision counts more",
    "balanced": "best F1",
    "rather-over": "best F2: recall counts more",
    "over-call": "recall of 0.9 at least",
}
LEARNT = "learnt"
_BETA = {"rather-miss": 0.5, "balanced": 1.0, "rather-over": 2.0}
_WANTED = 0.9
_CANDIDATES = 200
_SOURCES = {
    "folds": "cross-validation: each frame was predicted by a probe that saw nothing of its fold",
    "members": "each frame was predicted by a network that was stopped on it, not trained on it",
    "validation": "the validation part, which also stopped the training: not cross-validated, so "
    "a little too good (ethoprism train --folds 5)",
}


@dataclass(frozen=True)
class Choice:
    """A threshold, and what it does on held-out frames.

    Attributes
    ----------
    behaviour
        Its name.
    choice
        One of `CHOICES`; ``in use`` for the threshold that the probe decides with.
    threshold
        Present at this probability or above.
    precision, recall, f1
        Of frames; NaN where nothing was called, or nothing is there.
    called_share, true_share
        Share of the frames that is called present, and that is.
    bouts, true_bouts
        Bouts that are called, and that there are.
    reached
        Whether the choice does what its words say; else it comes as near as any threshold.
    """

    behaviour: str
    choice: str
    threshold: float
    precision: float
    recall: float
    f1: float
    called_share: float
    true_share: float
    bouts: int
    true_bouts: int
    reached: bool = True


def source_of(probe: Probe) -> str:
    """Where the frames come from that thresholds are shown on, in words."""
    return _SOURCES.get(str(probe.training.get("held_out")), _SOURCES["validation"])


def choices(probe: Probe, held_out: Sequence[Timeline]) -> list[Choice]:
    """What each choice of threshold does for each behaviour, and what is in use.

    Behaviours that do not occur in the held-out frames have no choices.

    Parameters
    ----------
    probe
        Its decision gives the shortest bouts and gaps.
    held_out
        From `ethoprism.probe.checkpoint.load_held_out`.
    """
    found = []
    whole = joined(held_out, len(probe.behaviours))
    decision = in_rows(probe.decision, probe.key.step)
    for column, name in enumerate(probe.behaviours):
        known = whole.states[:, column] != UNOBSERVED
        truth = (whole.states[:, column] == PRESENT) & known
        if not truth.any():
            continue
        curve = [
            _measured(whole, probe.behaviours, decision, column, float(t))
            for t in _candidates(whole.probability[known, column])
        ]
        found += [_chosen(curve, choice) for choice in CHOICES]
        now = probe.decision.thresholds[name]
        used = _measured(whole, probe.behaviours, decision, column, now)
        found.append(replace(used, choice="in use"))
    return found


def table(found: Sequence[Choice]) -> pd.DataFrame:
    """The choices as a table, one row each."""
    return pd.DataFrame([vars(choice) for choice in found])


def set_thresholds(project: Project, name: str, wanted: Mapping[str, str]) -> Probe:
    """Put choices of thresholds into use for a probe, beside its learnt ones.

    Parameters
    ----------
    project, name
        Of the probe.
    wanted
        By behaviour: one of `CHOICES`, a number between 0 and 1, or ``learnt``. Behaviours that
        are not named keep what they have.

    Raises
    ------
    InputError
        If there is no such behaviour or choice.
    LabelError
        If nothing is known of a behaviour in the held-out frames.
    """
    folder = project.probe_folder(name)
    probe = load_probe(folder)
    learnt = load_probe(folder, own=False).decision
    unknown = [behaviour for behaviour in wanted if behaviour not in probe.behaviours]
    if unknown:
        raise InputError(
            f"The probe {name!r} does not predict {', '.join(map(repr, unknown))}",
            expected=f"one of {', '.join(probe.behaviours)}",
        )
    decision = probe.decision
    asked = [choice for choice in wanted.values() if choice in CHOICES]
    found = choices(probe, load_held_out(folder, probe)) if asked else []
    known = {(c.behaviour, c.choice): c.threshold for c in found}
    for behaviour, choice in wanted.items():
        if choice == LEARNT:
            decision = _like(decision, learnt, behaviour)
            continue
        threshold = known.get((behaviour, choice)) if choice in CHOICES else _number(choice)
        if threshold is None:
            raise LabelError(
                f"{behaviour!r} does not occur in the held-out frames, so nothing can be chosen",
                remedy="Give a number, or label more and train again.",
            )
        decision = with_threshold(decision, behaviour, threshold)
    if decision == learnt:
        forget_decision(folder)
    else:
        save_decision(folder, decision)
    return load_probe(folder)


def with_threshold(decision: Decision, behaviour: str, threshold: float) -> Decision:
    """The decision with another threshold; the low one moves in proportion."""
    old = decision.thresholds[behaviour]
    low = dict(decision.low)
    if behaviour in low:
        low[behaviour] = min(threshold * low[behaviour] / old if old else threshold, threshold)
    return replace(decision, thresholds={**decision.thresholds, behaviour: threshold}, low=low)


def _like(decision: Decision, learnt: Decision, behaviour: str) -> Decision:
    """The decision with what was learnt for one behaviour."""
    changed = {}
    for field in ("thresholds", "min_bout", "low", "min_gap"):
        values, old = dict(getattr(decision, field)), getattr(learnt, field)
        values.pop(behaviour, None)
        if behaviour in old:
            values[behaviour] = old[behaviour]
        order = [*decision.thresholds]
        changed[field] = {name: values[name] for name in order if name in values}
    return replace(decision, **changed)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(
            f"{text!r} is no choice of a threshold",
            expected=f"one of {', '.join((*CHOICES, LEARNT))}, or a number between 0 and 1",
        )
    return value


def _candidates(probability: np.ndarray) -> np.ndarray:
    """Thresholds from low to high: quantiles of the probabilities, each between two of them."""
    values = np.unique(probability)
    if len(values) > _CANDIDATES:
        values = values[np.linspace(0, len(values) - 1, _CANDIDATES).astype(int)]
    return np.append((values[1:] + values[:-1]) / 2, values[-1]) if len(values) > 1 else values


def _measured(
    whole: Timeline, names: Sequence[str], decision: Decision, column: int, threshold: float
) -> Choice:
    """What a threshold does on the held-out rows."""
    name = names[column]
    decided = decide(whole.prediction(names), with_threshold(decision, name, threshold))
    known = whole.states[:, column] != UNOBSERVED
    truth = (whole.states[:, column] == PRESENT) & known
    called = (decided[:, column] == PRESENT) & known
    hits, n_true, n_called = int((truth & called).sum()), int(truth.sum()), int(called.sum())
    return Choice(
        name,
        "",
        threshold,
        hits / n_called if n_called else float("nan"),
        hits / n_true,
        2 * hits / (n_true + n_called),
        n_called / int(known.sum()),
        n_true / int(known.sum()),
        _count(called),
        _count(truth),
    )


def _count(mask: np.ndarray) -> int:
    return int((mask[1:] & ~mask[:-1]).sum()) + int(mask[0])


def _chosen(curve: Sequence[Choice], choice: str) -> Choice:
    """The point of the curve that a choice stands for; of equals the one with the best F1."""

    def f_beta(point: Choice, beta: float) -> float:
        p, r = np.nan_to_num(point.precision), point.recall
        below = beta**2 * p + r
        return float((1 + beta**2) * p * r / below) if below else 0.0

    if choice in _BETA:
        best = max(curve, key=lambda point: (f_beta(point, _BETA[choice]), point.threshold))
        return replace(best, choice=choice)
    wanted, other = ("precision", "recall") if choice == "miss" else ("recall", "precision")
    enough = [point for point in curve if np.nan_to_num(getattr(point, wanted)) >= _WANTED]
    if enough:
        best = max(enough, key=lambda point: (np.nan_to_num(getattr(point, other)), point.f1))
        return replace(best, choice=choice)
    best = max(curve, key=lambda point: (np.nan_to_num(getattr(point, wanted)), point.f1))
    return replace(best, choice=choice, reached=False)
