"""The threshold assistant: from "rather miss" to "rather over-call", behaviour by behaviour.

What a threshold does is shown on frames that the probe had not learnt from (see
`ethoprism.probe.checkpoint.load_held_out`), decided with its shortest bouts and gaps. A choice is
told of frames that it was not made on: the frames are cut into `PARTS` stretches, the threshold for
each is chosen on the others, and what the thresholds do is added up. The threshold that is put into
use is chosen on all of them.
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
PARTS = 5
"""Stretches of held-out frames; each is decided by thresholds that were chosen on the others."""
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
    nested
        Whether the figures are of frames that the threshold was not chosen on. Not so where the
        behaviour occurs in one stretch only, nor for a learnt threshold in use.
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
    nested: bool = False


@dataclass(frozen=True, eq=False)
class _Point:
    """A threshold, and what it does in each stretch: int64 ``[parts]`` each."""

    threshold: float
    hits: np.ndarray
    called: np.ndarray
    true: np.ndarray
    known: np.ndarray
    bouts: np.ndarray
    true_bouts: np.ndarray

    def choice(self, name: str, choice: str, parts: np.ndarray) -> Choice:
        """What it does in some of the stretches."""
        sums = (self.hits, self.called, self.true, self.known, self.bouts, self.true_bouts)
        return _choice(name, choice, self.threshold, [int(v[parts].sum()) for v in sums])


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
        found += [_told(curve, name, choice) for choice in CHOICES]
        now = probe.decision.thresholds[name]
        used = _measured(whole, probe.behaviours, decision, column, now)
        found.append(used.choice(name, "in use", np.arange(PARTS)))
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
) -> _Point:
    """What a threshold does on the held-out rows."""
    name = names[column]
    decided = decide(whole.prediction(names), with_threshold(decision, name, threshold))
    known = whole.states[:, column] != UNOBSERVED
    truth = (whole.states[:, column] == PRESENT) & known
    called = (decided[:, column] == PRESENT) & known
    part = np.arange(len(known)) * PARTS // len(known)
    counts = (
        np.bincount(part[mask], minlength=PARTS)
        for mask in (truth & called, called, truth, known, _begins(called), _begins(truth))
    )
    return _Point(threshold, *counts)


def _begins(mask: np.ndarray) -> np.ndarray:
    """Rows in which a run begins."""
    return mask & ~np.concatenate(([False], mask[:-1]))


def _choice(name: str, choice: str, threshold: float, sums: Sequence[int]) -> Choice:
    hits, n_called, n_true, n_known, bouts, true_bouts = sums
    return Choice(
        name,
        choice,
        threshold,
        hits / n_called if n_called else float("nan"),
        hits / n_true if n_true else float("nan"),
        2 * hits / (n_true + n_called) if n_true + n_called else float("nan"),
        n_called / n_known if n_known else float("nan"),
        n_true / n_known if n_known else float("nan"),
        bouts,
        true_bouts,
    )


def _told(curve: Sequence[_Point], name: str, choice: str) -> Choice:
    """A choice made on all stretches, told of stretches that it was not made on."""
    everything = np.arange(PARTS)
    at, reached = _chosen([p.choice(name, choice, everything) for p in curve], choice)
    usual = replace(curve[at].choice(name, choice, everything), reached=reached)
    if (curve[0].true > 0).sum() < 2:
        return usual
    sums = np.zeros(6, np.int64)
    for part in everything:
        others = everything[everything != part]
        other, _ = _chosen([p.choice(name, choice, others) for p in curve], choice)
        p = curve[other]
        own = (p.hits, p.called, p.true, p.known, p.bouts, p.true_bouts)
        sums += [int(values[part]) for values in own]
    told = _choice(name, choice, usual.threshold, sums.tolist())
    return replace(told, reached=reached, nested=True)


def _chosen(curve: Sequence[Choice], choice: str) -> tuple[int, bool]:
    """The point that a choice stands for, of equals the one with the best F1; if it reaches it."""

    def f_beta(point: Choice, beta: float) -> float:
        p, r = np.nan_to_num(point.precision), np.nan_to_num(point.recall)
        below = beta**2 * p + r
        return float((1 + beta**2) * p * r / below) if below else 0.0

    places = range(len(curve))
    if choice in _BETA:
        beta = _BETA[choice]
        return max(places, key=lambda i: (f_beta(curve[i], beta), curve[i].threshold)), True
    wanted, other = ("precision", "recall") if choice == "miss" else ("recall", "precision")

    def value(i: int, field: str) -> float:
        return float(np.nan_to_num(getattr(curve[i], field)))

    enough = [i for i in places if value(i, wanted) >= _WANTED]
    if enough:
        best = max(enough, key=lambda i: (value(i, other), np.nan_to_num(curve[i].f1)))
        return best, True
    return max(places, key=lambda i: (value(i, wanted), np.nan_to_num(curve[i].f1))), False
