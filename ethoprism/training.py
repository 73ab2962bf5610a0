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
from ethoprism.subjects import Unit, units
from ethoprism.tokens import TokenKey
from ethoprism.workflow import open_annotations, open_tokens, unit_states


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
        Whose behaviour; anybody's if empty, or with subject crops each subject's own (see
        `ethoprism.workflow.unit_states`).
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
    states, behaviours = _training_states(project, key, plan)
    data = [
        LabelledTokens(
            unit.recording, open_tokens(project, key, unit), rows[:: key.step], unit.subject
        )
        for unit, rows in states.items()
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
    # The subjects of a recording are seen at the same time and mostly in each other's crops. So
    # they are split together: each subject's states are columns of the recording's.
    recordings = {item.recording: _all_states(data, item.recording) for item in data}
    rest = [name for name in recordings if name not in plan.test]
    if plan.split == "recordings" or (plan.split == "auto" and len(rest) > 1):
        return split_recordings(recordings, test=plan.test, seed=plan.seed)
    if len(rest) != 1:
        raise InputError(
            "A split by blocks is for one recording",
            found=f"{len(rest)} recordings with labels to train on",
            remedy="Choose one with --recording, or split by recordings.",
        )
    context = max(key.length // 2, 1) if plan.context is None else plan.context
    blocks = split_blocks(
        rest[0],
        recordings[rest[0]],
        gap=split_gap(key, context),
        test_fraction=0.0 if plan.test else 0.2,
        seed=plan.seed,
    )
    whole = [name for name in recordings if name in plan.test]
    return blocks + [Segment(name, 0, len(recordings[name]), "test") for name in whole]


def _all_states(data: Sequence[LabelledTokens], recording: str) -> np.ndarray:
    """States of all subjects of a recording side by side: ``[rows, subjects · behaviours]``.

    Every recording has the same number of columns, so that they can be compared; a subject that a
    recording lacks is unobserved there.
    """
    subjects = dict.fromkeys(item.subject for item in data)
    mine = {item.subject: item.states for item in data if item.recording == recording}
    blank = np.full_like(next(iter(mine.values())), UNOBSERVED)
    return np.concatenate([mine.get(subject, blank) for subject in subjects], axis=1)


def _training_states(
    project: Project, key: TokenKey, plan: TrainingPlan
) -> tuple[dict[Unit, np.ndarray], tuple[str, ...]]:
    """States of the units that have labels, for the behaviours that can be learnt."""
    recordings = plan.recordings or _labelled_recordings(project)
    recordings = tuple(dict.fromkeys((*recordings, *plan.test)))
    unknown = [name for name in plan.behaviours if name not in project.ethogram]
    if unknown:
        raise LabelError(
            "The ethogram lacks behaviours that were asked for",
            expected=", ".join(project.ethogram.names) or "behaviours (it is empty)",
            found=", ".join(unknown),
        )
    names = plan.behaviours or project.ethogram.names
    states: dict[Unit, np.ndarray] = {}
    found = units(project, key.crop, recordings, plan.subject) if recordings else []
    for unit in found:
        rows = unit_states(project, unit, names, plan.subject)
        if (rows != UNOBSERVED).any():
            states[unit] = rows
    labelled = {unit.recording for unit in states}
    unlabelled = [name for name in (*plan.recordings, *plan.test) if name not in labelled]
    if unlabelled or not states:
        subjects = [plan.subject] if plan.subject else sorted({u.subject for u in found} - {""})
        raise LabelError(
            f"{', '.join(map(repr, unlabelled)) or 'The project'} has no labels"
            + (f" of {', '.join(map(repr, subjects))}" if subjects else ""),
            found=_named_subjects(project, recordings) if subjects else "",
            remedy="Label some, or import them: ethoprism label import PROJECT FILE"
            + (" --subject NAME. Labels count for the subject that they name." if subjects else ""),
        )
    if not plan.behaviours:
        rows = np.concatenate([r for u, r in states.items() if u.recording not in plan.test])
        usable = (rows == 1).any(axis=0) & (rows == 0).any(axis=0)
        if not usable.any():
            raise LabelError(
                "No behaviour has frames where it is present and frames where it is absent",
                found=f"labels of {', '.join(names)}",
                remedy="Frames count as absent only where somebody observed them: mark observed "
                "spans, or import bouts with --observed whole.",
            )
        names = tuple(n for n, ok in zip(names, usable, strict=True) if ok)
        states = {unit: r[:, usable] for unit, r in states.items()}
    return states, names


def _labelled_recordings(project: Project) -> tuple[str, ...]:
    with open_annotations(project, "read") as store:
        return tuple(n for n in project.recording_ids if len(store.bouts(n)) or len(store.spans(n)))


def _named_subjects(project: Project, recordings: Sequence[str]) -> str:
    with open_annotations(project, "read") as store:
        tables = [t for n in recordings for t in (store.bouts(n), store.spans(n))]
    names = sorted({str(name) for table in tables for name in table["subject"]})
    return "labels of " + (", ".join(repr(n) if n else "no subject" for n in names) or "nothing")


def _label_counts(
    states: dict[Unit, np.ndarray], behaviours: Sequence[str]
) -> dict[str, dict[str, dict[str, int]]]:
    return {
        unit.name: {
            behaviour: {
                "present": int((rows[:, i] == 1).sum()),
                "absent": int((rows[:, i] == 0).sum()),
            }
            for i, behaviour in enumerate(behaviours)
        }
        for unit, rows in states.items()
    }
