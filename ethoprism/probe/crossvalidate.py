"""Cross-validation: every labelled frame predicted by a probe that saw nothing of its fold.

It is nested: within each fold's training data a validation part stops the training, calibrates and
sets thresholds. The fold itself is looked at once.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Int8

from ethoprism.annotation import UNOBSERVED
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.metrics.summary import Scores, score
from ethoprism.prediction import Decision, decide
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.decisions import Timeline, in_rows, pairing_of
from ethoprism.probe.train import merged, numbered, train_and_test
from ethoprism.progress import Progress


@dataclass(frozen=True, eq=False)
class CrossValidation:
    """What the probes of all folds say of what they had not seen.

    Attributes
    ----------
    timelines
        One for each recording and subject, of all folds.
    scores
        Of all folds together, each decided as its own validation part says; times in rows.
    segments
        The split of each fold.
    decisions
        What the validation part of each fold says; times in frames.
    """

    timelines: tuple[Timeline, ...]
    scores: Scores
    segments: tuple[tuple[Segment, ...], ...]
    decisions: tuple[Decision, ...]

    def to_dict(self) -> dict[str, Any]:
        """What a card says."""
        table = self.scores.table
        return {
            "folds": len(self.segments),
            "tested": [
                sorted({s.recording for s in split if s.part == "test"}) for split in self.segments
            ],
            "metrics": {str(k): dict(v) for k, v in table.to_dict("index").items()},
            "overall": dict(self.scores.overall),
            "intervals_from": self.scores.drawn,
            "segments": [[asdict(s) for s in split] for split in self.segments],
            "decisions": [decision.to_dict() for decision in self.decisions],
        }


def cross_validate(
    data: Sequence[LabelledTokens],
    folds: Sequence[Sequence[Segment]],
    ethogram: Ethogram,
    behaviours: Sequence[str],
    **options: Any,
) -> Generator[Progress, None, CrossValidation]:
    """Train and test a probe for each fold; the generator's result is the `CrossValidation`.

    Parameters
    ----------
    data, ethogram, behaviours
        As for `ethoprism.probe.train.train`.
    folds
        A split each, from `ethoprism.splits`.
    options
        Of `ethoprism.probe.train.train`, except its name.

    Raises
    ------
    LabelError
        If a behaviour is lacking in the training part of a fold.
    """
    pairings, timelines, decisions = [], [], []
    for index, split in enumerate(folds):
        steps = train_and_test(
            data, split, ethogram, behaviours, name=f"fold {index + 1}", intervals=False, **options
        )
        try:
            probe, tested = yield from numbered(steps, index, len(folds), "fold")
        except LabelError as error:
            raise LabelError(
                f"Fold {index + 1} of {len(folds)} cannot be trained: {error}",
                remedy="Use fewer folds, leave the behaviour out with --behaviours, or label more.",
            ) from error
        decision = in_rows(probe.decision, probe.key.step)
        pairings += [pairing_of(item, behaviours, decision) for item in tested]
        timelines += tested
        decisions.append(probe.decision)
    return CrossValidation(
        tuple(merged(timelines)),
        score(pairings, behaviours),
        tuple(tuple(split) for split in folds),
        tuple(decisions),
    )


def called_by_folds(
    found: Mapping[str, Any], item: Timeline, behaviours: Sequence[str], step: int
) -> Int8[np.ndarray, "rows behaviours"] | None:
    """What is called of a timeline of all folds, each row as its own fold decides.

    Parameters
    ----------
    found
        What `CrossValidation.to_dict` gave, as a card holds it.
    item
        One of the timelines.
    behaviours
        Names of its columns.
    step
        Frames from row to row.

    Returns
    -------
    States of the rows, unobserved where no fold tested them; None from cards that do not hold the
    folds' decisions.
    """
    decisions, splits = found.get("decisions"), found.get("segments")
    if not decisions or not splits:
        return None
    called = np.full(item.states.shape, UNOBSERVED, np.int8)
    for decision, split in zip(decisions, splits, strict=True):
        tested = np.zeros(len(item.covered), bool)
        for segment in split:
            if segment["recording"] == item.recording and segment["part"] == "test":
                tested[segment["start"] : segment["stop"]] = True
        part = replace(item, covered=item.covered & tested)
        if part.covered.any():
            own = in_rows(Decision.from_dict(decision), step)
            called[part.covered] = decide(part.prediction(behaviours), own)[part.covered]
    return called
