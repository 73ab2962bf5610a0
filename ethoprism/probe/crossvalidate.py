"""Cross-validation: every labelled frame predicted by a probe that saw nothing of its fold.

It is nested: within each fold's training data a validation part stops the training, calibrates and
sets thresholds. The fold itself is looked at once.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.metrics.summary import Scores, score
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
    """

    timelines: tuple[Timeline, ...]
    scores: Scores
    segments: tuple[tuple[Segment, ...], ...]

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
    pairings, timelines = [], []
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
    return CrossValidation(
        tuple(merged(timelines)),
        score(pairings, behaviours),
        tuple(tuple(split) for split in folds),
    )
