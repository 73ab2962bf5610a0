"""What is present in each frame, in words; no Qt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.prediction import decide
from napari_ethoprism.session import ShownPrediction


@dataclass(frozen=True, eq=False)
class States:
    """Presence of behaviours: int8 ``[frames, behaviours]``, and where it comes from."""

    source: str
    behaviours: tuple[str, ...]
    states: np.ndarray
    unknown: str
    """How a frame is called of which nothing is known."""

    def at(self, frame: int) -> str:
        """The behaviours present at a frame, and those of which nothing is known, as a phrase."""
        row = self.states[frame]
        named = {
            value: [n for n, state in zip(self.behaviours, row, strict=True) if state == value]
            for value in (PRESENT, ABSENT, UNOBSERVED)
        }
        if not named[PRESENT] and not named[ABSENT]:
            return self.unknown
        text = ", ".join(named[PRESENT]) or "none"
        rest = ", ".join(named[UNOBSERVED])
        return f"{text} ({self.unknown}: {rest})" if rest else text


def predicted_states(shown: tuple[ShownPrediction, ...]) -> tuple[States, ...]:
    """What the shown predictions decide, each with its probe, subject and backbone."""
    made = []
    for item in shown:
        prediction = item.prediction
        source = ", ".join(filter(None, (item.probe, prediction.subject, prediction.backbone)))
        states = decide(prediction, item.decision)
        made.append(States(source, prediction.behaviours, states, "no tokens"))
    return tuple(made)
