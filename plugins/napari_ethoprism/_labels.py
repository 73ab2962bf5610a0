"""What a project knows of one recording's frames, read through the library; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ethoprism import workflow
from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from ethoprism.recording import Recording


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


@dataclass(frozen=True, eq=False)
class RecordingStates:
    """What people labelled, what each probe predicts, and what could not be read."""

    labelled: States | None = None
    predicted: tuple[States, ...] = ()
    problems: tuple[str, ...] = ()


def read_states(project: Project, recording: Recording) -> RecordingStates:
    """Labels and saved predictions of a recording, which the project knows by its content."""
    names = [e.id for e in project.entries if e.content_key == recording.content_key]
    if not names:
        return RecordingStates(problems=(f"{recording.id!r} is not in this project.",))
    behaviours = project.ethogram.names
    labelled, problems = None, []
    try:
        states = workflow.label_states(project, names, behaviours)[names[0]]
        labelled = States("labelled", behaviours, states, "not observed")
    except EthoPrismError as error:
        problems.append(str(error))
    predicted, unread = _predictions(project, names)
    return RecordingStates(labelled, tuple(predicted), (*problems, *unread))


def _predictions(project: Project, names: Sequence[str]) -> tuple[list[States], list[str]]:
    predicted, problems = [], []
    for card in sorted((project.folder / "probes").glob("*/card.json")):
        try:
            folder = project.prediction_path(card.parent.name, names[0]).parent
            if not any(folder.glob(f"{names[0]}[.@]*")):
                continue
            probe = workflow.probe_from(project, card.parent.name)
            found = workflow.predicted_labels(project, probe, names[:1])
        except EthoPrismError as error:
            problems.append(str(error))
            continue
        for labels in found:
            source = ", ".join(filter(None, (probe.name, labels.subject, probe.key.label)))
            predicted.append(States(source, labels.behaviours, labels.states, "no tokens"))
    return predicted, problems
