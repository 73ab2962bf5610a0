"""What a project has to train a probe on, and what it lacks, said plainly; no Qt."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from ethoprism import workflow
from ethoprism.project import Project
from ethoprism.store import Edit
from napari_ethoprism.probe_run import token_key, token_problems

FEW_BOUTS = 5
"""A behaviour with fewer bouts is said to have few."""


@dataclass(frozen=True)
class BehaviourCount:
    """Labels of one behaviour in the whole project: bouts, and frames by what is known."""

    name: str
    colour: str
    bouts: int
    present: int
    absent: int

    @property
    def problem(self) -> str:
        """Why it cannot be learnt; empty where it can."""
        if not self.bouts:
            return "not labelled yet"
        if not self.absent:
            return "never absent: mark where you looked and it was not there (observed spans)"
        return ""

    @property
    def remark(self) -> str:
        """What to expect of it; empty where there is nothing to say."""
        if self.problem or self.bouts >= FEW_BOUTS:
            return ""
        return f"only {self.bouts} bouts: its scores will be rough"


@dataclass(frozen=True)
class RecordingCount:
    """Labels and tokens of one recording; frames are those observed for any behaviour."""

    id: str
    n_frames: int
    bouts: int
    observed: int
    token_problem: str

    @property
    def problem(self) -> str:
        """Why nothing can be learnt from it; empty where something can."""
        if not self.observed:
            return "no labels"
        if self.token_problem:
            return "no tokens: extract them in the dock EthoPrism"
        return ""


@dataclass(frozen=True)
class Survey:
    """What there is to train on."""

    behaviours: tuple[BehaviourCount, ...] = ()
    recordings: tuple[RecordingCount, ...] = ()
    subjects: tuple[str, ...] = ()
    backbone: str = ""
    trained: bool = True

    @property
    def with_tokens(self) -> tuple[str, ...]:
        """Recordings that can be predicted."""
        return tuple(r.id for r in self.recordings if not r.token_problem)

    def problem(self, behaviours: Collection[str], recordings: Collection[str]) -> str:
        """Why a probe of these cannot be trained, with the remedy; empty where it can."""
        if not self.recordings:
            return "The project has no recordings. Add some in the dock EthoPrism."
        if not any(row.observed for row in self.recordings):
            return "Nothing is labelled yet. Label some bouts, and mark what you have observed."
        if not self.with_tokens:
            return "No recording has tokens. Extract them in the dock EthoPrism."
        if not any(not row.problem for row in self.recordings):
            return "No recording has labels and tokens. Extract tokens in the dock EthoPrism."
        if not any(not row.problem for row in self.behaviours):
            return (
                "No behaviour is both seen and looked for in vain. Mark observed spans: frames "
                "count as absent only where somebody looked."
            )
        if not behaviours:
            return "Choose a behaviour."
        if not recordings:
            return "Choose a recording to train on."
        return ""


def edits_since(history: Sequence[Edit], moment: datetime) -> int:
    """How many edits that hold were made after a moment."""
    count = 0
    for edit in reversed(history):
        if datetime.fromisoformat(edit.time) <= moment:
            break
        count += not edit.undone
    return count


def survey(project: Project) -> Survey:
    """Read the labels and look up the tokens of a project; for a worker thread.

    Raises
    ------
    EthoPrismError
        If the labels or the backbone cannot be read.
    """
    with workflow.open_annotations(project, "read") as store:
        bouts, spans = store.bouts(), store.spans()
    key = token_key(project)
    problems = token_problems(project, key)
    present = _frames(bouts)
    observed = _frames(pd.concat([bouts[list(_KEYS)], spans[list(_KEYS)]]))
    n_bouts = bouts.groupby("behaviour").size()
    by_recording = bouts.groupby("recording").size()
    seen = present.groupby("behaviour")["frames"].sum()
    looked = observed.groupby("behaviour")["frames"].sum()
    behaviours = tuple(
        BehaviourCount(
            b.name,
            b.colour,
            int(n_bouts.get(b.name, 0)),
            int(seen.get(b.name, 0)),
            int(looked.get(b.name, 0) - seen.get(b.name, 0)),
        )
        for b in project.ethogram.behaviours
    )
    any_behaviour = _frames(
        pd.concat([bouts[list(_KEYS)], spans[list(_KEYS)]]).assign(behaviour="", subject="")
    )
    watched = any_behaviour.groupby("recording")["frames"].sum()
    recordings = tuple(
        RecordingCount(
            e.id,
            e.n_frames,
            int(by_recording.get(e.id, 0)),
            int(watched.get(e.id, 0)),
            problems[e.id],
        )
        for e in project.entries
    )
    subjects = sorted({str(n) for n in (*bouts["subject"], *spans["subject"])} - {""})
    return Survey(behaviours, recordings, tuple(subjects), key.label, key.trained)


_KEYS = ("recording", "subject", "behaviour", "start_frame", "stop_frame")


def _frames(table: pd.DataFrame) -> pd.DataFrame:
    """Frames that ranges cover together, by recording, subject and behaviour."""
    rows = [
        {"recording": recording, "behaviour": behaviour, "frames": _covered(group)}
        for (recording, _, behaviour), group in table.groupby(list(_KEYS[:3]), sort=False)
    ]
    return pd.DataFrame(rows, columns=["recording", "behaviour", "frames"])


def _covered(group: pd.DataFrame) -> int:
    order = np.argsort(group["start_frame"].to_numpy(np.int64), kind="stable")
    start = group["start_frame"].to_numpy(np.int64)[order]
    stop = np.maximum.accumulate(group["stop_frame"].to_numpy(np.int64)[order])
    before = np.concatenate([start[:1], stop[:-1]])
    return int(np.maximum(stop - np.maximum(start, before), 0).sum())
