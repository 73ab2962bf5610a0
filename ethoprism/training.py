"""Training of a probe on a project: which recordings, behaviours and split."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ethoprism.annotation import UNOBSERVED
from ethoprism.errors import InputError, LabelError
from ethoprism.evaluate import Segment, split_blocks
from ethoprism.files import write_text
from ethoprism.probe.batches import LabelledTokens, split_gap
from ethoprism.probe.card import card_text
from ethoprism.probe.checkpoint import Probe, save_probe
from ethoprism.probe.crossvalidate import cross_validate
from ethoprism.probe.heads import HEADS
from ethoprism.probe.losses import LOSSES
from ethoprism.probe.model import default_context, fitting_context
from ethoprism.probe.train import DEFAULT_HEAD, Schedule, train
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.splits import (
    SPLITS,
    fold_blocks,
    fold_groups,
    groups_by_pattern,
    groups_by_shared,
    member_blocks,
    member_groups,
    refuse_frames,
    split_groups,
)
from ethoprism.subjects import Unit, tracks_of, units
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
        What stays together: one of `ethoprism.splits.SPLITS`. ``auto`` is ``blocks`` where one
        recording is left to train on, else ``recordings``.
    subject
        Whose behaviour; anybody's if empty, or with subject crops each subject's own (see
        `ethoprism.workflow.unit_states`).
    context
        Rows on either side of a frame that are looked at; by default as
        `ethoprism.probe.model.default_context` says.
    motion
        See `ethoprism.probe.model.ProbeShape`.
    seed
        Of everything that is drawn.
    head, loss
        One of `ethoprism.probe.heads.HEADS` and of `ethoprism.probe.losses.LOSSES`.
    pattern
        With ``split="pattern"``: a regular expression that finds in a recording's name what must
        stay together.
    ensemble
        Networks whose probabilities are averaged, each stopped on another fold; 1 for none.
    folds
        Folds of a cross-validation before the probe itself is trained; 0 for none.
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
    head: str = DEFAULT_HEAD
    loss: str = "cross-entropy"
    pattern: str = ""
    ensemble: int = 1
    folds: int = 0


def train_probe(
    project: Project, key: TokenKey, plan: TrainingPlan
) -> Generator[Progress, None, Probe]:
    """Train a probe on the project's labels and tokens, and save it in the project.

    With ``plan.folds`` every labelled frame is first predicted by a probe that saw neither it nor
    anything of its group. The scores of that are in the card's ``cross_validation``, and what was
    predicted is the probe's ``held_out``.

    Raises
    ------
    LabelError, InputError, ProjectError
        If labels, tokens or recordings do not suffice; each says what to do.
    """
    folder = project.probe_folder(plan.name)
    require_sound(plan)
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
    splits = _Splits.of(project, data, key, plan)
    options: dict[str, Any] = {
        "subject": plan.subject,
        "head": plan.head,
        "context": plan.context,
        "motion": plan.motion,
        "schedule": Schedule(loss=plan.loss),
        "seed": plan.seed,
    }
    found = None
    if plan.folds:
        found = yield from cross_validate(
            data, splits.folds(), project.ethogram, behaviours, **options
        )
    probe = yield from train(
        data,
        splits.usual(),
        project.ethogram,
        behaviours,
        name=plan.name,
        members=splits.members() if plan.ensemble > 1 else (),
        **options,
    )
    training: dict[str, Any] = {
        **probe.training,
        "labels": _label_counts(states, behaviours),
        "split": splits.kind,
    }
    if found is not None:
        training |= {"cross_validation": found.to_dict(), "held_out": "folds"}
        probe = replace(probe, held_out=found.timelines)
    probe = replace(probe, training=training)
    save_probe(probe, folder)
    write_text(folder / "card.md", card_text(probe))
    return probe


def require_sound(plan: TrainingPlan) -> None:
    """Raise an `InputError` for what no plan can ask for."""
    if plan.split == "frames":
        refuse_frames()
    for option, value, known in (
        ("split", plan.split, SPLITS),
        ("head", plan.head, HEADS),
        ("loss", plan.loss, LOSSES),
    ):
        if value not in known:
            raise InputError(
                f"There is no {option} {value!r}", expected=", ".join(known), found=value
            )
    if (plan.split == "pattern") != bool(plan.pattern):
        raise InputError(
            "A split by a pattern needs a pattern, and no other split has one",
            found=f"split {plan.split!r}, pattern {plan.pattern!r}",
            remedy="For example --split-pattern '^(mouse[0-9]+)_'.",
        )
    if plan.ensemble < 1 or plan.folds < 0 or plan.folds == 1:
        raise InputError(
            "There cannot be so few folds",
            expected="an ensemble of 1 or more, and 0 or at least 2 folds",
            found=f"{plan.ensemble} and {plan.folds}",
        )


@dataclass(frozen=True, eq=False)
class _Splits:
    """The ways in which a plan splits what is labelled."""

    plan: TrainingPlan
    states: dict[str, np.ndarray]
    kind: str
    groups: dict[str, str]
    gap: int

    @classmethod
    def of(
        cls, project: Project, data: Sequence[LabelledTokens], key: TokenKey, plan: TrainingPlan
    ) -> _Splits:
        # The subjects of a recording are seen at the same time and mostly in each other's crops.
        # So they are split together: each subject's states are columns of the recording's.
        states = {item.recording: _all_states(data, item.recording) for item in data}
        rest = [name for name in states if name not in plan.test]
        kind = plan.split
        if kind == "auto":
            kind = "recordings" if len(rest) > 1 else "blocks"
        context = (
            default_context(plan.head, key.length)
            if plan.context is None
            else fitting_context(plan.head, plan.context)
        )
        gap = split_gap(key, context)
        groups = {} if kind == "blocks" else _groups(project, list(states), kind, plan.pattern)
        if kind == "blocks" and len(rest) != 1:
            raise InputError(
                "A split by blocks is for one recording",
                found=f"{len(rest)} recordings with labels to train on",
                remedy="Choose one with --recording, or split by recordings.",
            )
        return cls(plan, states, kind, groups, gap)

    @property
    def _block(self) -> str:
        return next(name for name in self.states if name not in self.plan.test)

    def _whole(self) -> list[Segment]:
        """The recordings that are held out, beside blocks of the other."""
        return [Segment(n, 0, len(self.states[n]), "test") for n in self.states if n != self._block]

    def usual(self) -> list[Segment]:
        """The split of the probe itself."""
        plan = self.plan
        if self.kind == "blocks":
            fraction = 0.0 if plan.test or plan.folds else 0.2
            rows = self.states[self._block]
            blocks = split_blocks(
                self._block, rows, gap=self.gap, test_fraction=fraction, seed=plan.seed
            )
            return blocks + self._whole()
        return split_groups(self.states, self.groups, test=plan.test, seed=plan.seed)

    def members(self) -> list[list[Segment]]:
        """The splits of an ensemble's networks; all with the test part of `usual`."""
        plan, k = self.plan, self.plan.ensemble
        if self.kind == "blocks":
            fraction = 0.0 if plan.test or plan.folds else 0.2
            found = member_blocks(
                self._block,
                self.states[self._block],
                k,
                gap=self.gap,
                test_fraction=fraction,
                seed=plan.seed,
            )
            return [split + self._whole() for split in found]
        return member_groups(self.states, self.groups, k, test=plan.test, seed=plan.seed)

    def folds(self) -> list[list[Segment]]:
        """The splits of a cross-validation; what ``plan.test`` holds out is in none."""
        plan, k = self.plan, self.plan.folds
        if self.kind == "blocks":
            return fold_blocks(
                self._block, self.states[self._block], k, gap=self.gap, seed=plan.seed
            )
        return fold_groups(self.states, self.groups, k, test=plan.test, seed=plan.seed)


def _groups(project: Project, recordings: Sequence[str], kind: str, pattern: str) -> dict[str, str]:
    """What stays together: the group of each recording."""
    if kind == "pattern":
        return groups_by_pattern(recordings, pattern)
    if kind == "sessions":
        # A recording of no session is one by itself.
        return {name: project.entry(name).session or f"{name} (no session)" for name in recordings}
    if kind == "animals":
        with open_annotations(project, "read") as store:
            labelled = {
                name: {str(s) for t in (store.bouts(name), store.spans(name)) for s in t["subject"]}
                for name in recordings
            }
        for name in recordings:
            if project.tracks_path(name).is_file():
                labelled[name] |= {track.subject for track in tracks_of(project, name)}
        animals = {name: found - {""} for name, found in labelled.items()}
        return groups_by_shared(animals, "animals")
    return {name: name for name in recordings}


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
