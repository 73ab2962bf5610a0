"""Progress of long work: every long task is a generator of these.

The command line and the GUI consume the same generator. Closing it cancels cleanly; starting the
task again goes on from where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """How far a task has come: ``done`` of ``total`` units, and what it is doing."""

    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class LearningProgress(Progress):
    """Progress of a training, with what was measured at this step.

    Attributes
    ----------
    loss
        Mean training loss since the last measurement.
    scores
        F1 by behaviour on held-out validation data, between 0 and 1; NaN where there is none.
    """

    loss: float = float("nan")
    scores: Mapping[str, float] = field(default_factory=dict)
