"""Training of a probe on a project: which recordings, behaviours and split."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ethoprism.annotation import UNOBSERVED
from ethoprism.errors import InputError, LabelError
from ethoprism.evaluate import Segment, split_blocks, split_recordings
from ethoprism.probe.batches import LabelledTokens, split_gap
from ethoprism.probe.checkpoint import Probe, save_probe
from ethoprism.probe.train import train
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.tokens import TokenKey
from ethoprism.workflow import label_states, open_tokens


@dataclass(frozen=True)
class TrainingPlan:
    """What a probe is to be trained on.

    Attributes
    ----------
    name
        Of the probe.
    behaviours
        Names; by default those that are present somewhere and absent somewhere.
    recordings
        By default all that have labels and tokens.
    test
        Recordings to hold out entirely.
    split
        ``recordings``, ``blocks``, or ``auto``: blocks where one recording is left to train on.
    subject
        Whose behaviour; anybody's if empty.
    context
        Rows pooled on either side of a frame; half a window by default.
    motion
        See `ethoprism.probe.model.ProbeShape`.
    seed
        Of everything that is drawn.
    """

    name: str = "probe"
    behaviours: tuple[str, ...] = ()
    recordings: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    split: str = "auto"
    subject: str = ""
    context: int | None = None
    motion: bool = True
    seed: int = 0


def train_probe(
    project: Project, key: TokenKey, plan: TrainingPlan
) -> Generator[Progress, None, Probe]:
    """Train a probe on the project's labels and tokens, and save it in the project.

    Raises
    ------
    LabelError, InputError, ProjectError
        If labels, tokens or recordings do not suffice; each says what to do.
    """
    folder = project.probe_folder(plan.name)
    for name in (*plan.recordings, *plan.test):
        project.entry(name)
    states, behaviours = _training_states(project, plan)
    data = [
        LabelledTokens(name, open_tokens(project, key, name), rows[:: key.step])
        for name, rows in states.items()
    ]
    for item in data:
        item.store.require_complete()
    probe = yield from train(
        data,
        _segments(data, key, plan),
        project.ethogram,
        behaviours,
        name=plan.name,
        subject=plan.subject,
        context=plan.context,
        motion=plan.motion,
        seed=plan.seed,
    )
    training = {**probe.training, "labels": _label_counts(states, behaviours)}
    probe = replace(probe, training=training)
    save_probe(probe, folder)
    return probe


def _segments(data: Sequence[LabelledTokens], key: TokenKey, plan: TrainingPlan) -> list[Segment]:
    rest = [item for item in data if item.recording not in plan.test]
    if plan.split == "recordings" or (plan.split == "auto" and len(rest) > 1):
        states = {item.recording: item.states for item in data}
        return split_recordings(states, test=plan.test, seed=plan.seed)
    if len(rest) != 1:
        raise InputError(
            "A split by blocks is for one recording",
            found=f"{len(rest)} recordings with labels to train on",
            remedy="Choose one with --recording, or split by recordings.",
        )
    context = max(key.length // 2, 1) if plan.context is None else plan.context
    blocks = split_blocks(
        rest[0].recording,
        rest[0].states,
        gap=split_gap(key, context),
        test_fraction=0.0 if plan.test else 0.2,
        seed=plan.seed,
    )
    whole = [item for item in data if item.recording in plan.test]
    return blocks + [Segment(d.recording, 0, len(d.states), "test") for d in whole]


def _training_states(
    project: Project, plan: TrainingPlan
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """States of the recordings that have labels, for the behaviours that can be learnt."""
    recordings = plan.recordings or project.recording_ids
    recordings = tuple(dict.fromkeys((*recordings, *plan.test)))
    unknown = [name for name in plan.behaviours if name not in project.ethogram]
    if unknown:
        raise LabelError(
            "The ethogram lacks behaviours that were asked for",
            expected=", ".join(project.ethogram.names) or "behaviours (it is empty)",
            found=", ".join(unknown),
        )
    names = plan.behaviours or project.ethogram.names
    states = label_states(project, recordings, names, plan.subject)
    states = {name: rows for name, rows in states.items() if (rows != UNOBSERVED).any()}
    unlabelled = [name for name in (*plan.recordings, *plan.test) if name not in states]
    if unlabelled or not states:
        raise LabelError(
            f"{', '.join(map(repr, unlabelled)) or 'The project'} has no labels"
            + (f" of {plan.subject!r}" if plan.subject else ""),
            remedy="Label some, or import them: ethoprism label import PROJECT FILE",
        )
    if not plan.behaviours:
        rows = np.concatenate([r for n, r in states.items() if n not in plan.test])
        usable = (rows == 1).any(axis=0) & (rows == 0).any(axis=0)
        if not usable.any():
            raise LabelError(
                "No behaviour has frames where it is present and frames where it is absent",
                found=f"labels of {', '.join(names)}",
                remedy="Frames count as absent only where somebody observed them: mark observed "
                "spans, or import bouts with --observed whole.",
            )
        names = tuple(n for n, ok in zip(names, usable, strict=True) if ok)
        states = {name: r[:, usable] for name, r in states.items()}
    return states, names


def _label_counts(
    states: dict[str, np.ndarray], behaviours: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    return {
        name: {
            behaviour: {
                "present": int((rows[:, i] == 1).sum()),
                "absent": int((rows[:, i] == 0).sum()),
            }
            for i, behaviour in enumerate(behaviours)
        }
        for name, rows in states.items()
    }
