"""Imports of labels: what a file would do to a project, shown before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ethoprism import registry
from ethoprism.annotation import UNOBSERVED, frame_states
from ethoprism.errors import InputError
from ethoprism.exchange.spec import Format, ImportPlan, ImportRequest
from ethoprism.project import Project
from ethoprism.store import AnnotationStore
from ethoprism.workflow import open_annotations


@dataclass(frozen=True, eq=False)
class ImportPreview:
    """What an import would do.

    Attributes
    ----------
    plan
        Bouts and spans that are not in the project yet.
    table
        Per recording, subject and behaviour: bouts, frames present, absent and unobserved.
    new_behaviours
        Names that the ethogram lacks and would be given.
    notes
        Sentences that the user should read first.
    """

    plan: ImportPlan
    table: pd.DataFrame
    new_behaviours: tuple[str, ...]
    notes: tuple[str, ...]


def preview_import(
    project: Project, path: Path, format_name: str, request: ImportRequest
) -> ImportPreview:
    """What importing a file would do; nothing is written."""
    format: Format = registry.load("exchange", format_name)
    if format.read is None:
        raise InputError(f"The format {format_name!r} can be written, but not read")
    plan = format.read(path, request)
    unknown = [name for name in plan.behaviours if name not in project.ethogram]
    project.ethogram.with_names(unknown)  # refuses names that cannot be used
    notes = list(plan.notes)
    with open_annotations(project, "read") as store:
        fresh = ImportPlan(
            _not_yet(plan.bouts, store.bouts(), "bouts", notes),
            _not_yet(plan.spans, store.spans(), "observed spans", notes),
        )
        notes += _disagreements(project, plan, store)
    return ImportPreview(fresh, _import_table(project, plan), tuple(unknown), tuple(notes))


def apply_import(project: Project, preview: ImportPreview, *, description: str) -> Project:
    """Write what was previewed as one edit; the project with its new behaviours is returned."""
    if preview.new_behaviours:
        project = project.with_ethogram(project.ethogram.with_names(preview.new_behaviours))
    if len(preview.plan.bouts) or len(preview.plan.spans):
        with open_annotations(project, "write") as store:
            store.add(preview.plan.bouts, preview.plan.spans, description=description)
    return project


def import_request(project: Project, **options: object) -> ImportRequest:
    """A request that knows the project's recordings."""
    return ImportRequest(
        n_frames=project.n_frames,
        frame_times=lambda name: project.recording(name).frame_times,
        **options,  # type: ignore[arg-type]
    )


def _not_yet(new: pd.DataFrame, old: pd.DataFrame, what: str, notes: list[str]) -> pd.DataFrame:
    """Rows that the store does not hold already, whenever and from whatever file they came."""
    columns = [c for c in new.columns if c not in ("modified", "comment", "modifiers", "source")]
    known = set(old[columns].itertuples(index=False, name=None))
    repeated = [row in known for row in new[columns].itertuples(index=False, name=None)]
    if any(repeated):
        notes.append(f"{sum(repeated)} of {len(new)} {what} are in the project already.")
    return new.loc[[not r for r in repeated]].reset_index(drop=True)


def _disagreements(project: Project, plan: ImportPlan, store: AnnotationStore) -> list[str]:
    notes = []
    for name in plan.recordings:
        n_frames, names = project.entry(name).n_frames, plan.behaviours
        old = frame_states(store.bouts(name), store.spans(name), names, n_frames)
        new = frame_states(
            plan.bouts.loc[plan.bouts["recording"] == name],
            plan.spans.loc[plan.spans["recording"] == name],
            names,
            n_frames,
        )
        differing = ((old != new) & (old != UNOBSERVED) & (new != UNOBSERVED)).any(axis=1).sum()
        if differing:
            notes.append(
                f"{name}: the file and the labels in the project differ on {differing} frames; "
                "both are kept, and a frame counts as present where either says so."
            )
    return notes


def _import_table(project: Project, plan: ImportPlan) -> pd.DataFrame:
    rows = []
    pairs = pd.concat([t[["recording", "subject"]] for t in (plan.spans, plan.bouts)])
    for recording, subject in dict.fromkeys(pairs.itertuples(index=False, name=None)):
        bouts = plan.bouts.loc[plan.bouts["recording"] == recording]
        spans = plan.spans.loc[plan.spans["recording"] == recording]
        n_frames = project.entry(recording).n_frames
        states = frame_states(bouts, spans, plan.behaviours, n_frames, subject)
        for i, name in enumerate(plan.behaviours):
            mine = (bouts["subject"] == subject) & (bouts["behaviour"] == name)
            rows.append(
                {
                    "recording": recording,
                    "subject": subject,
                    "behaviour": name,
                    "bouts": int(mine.sum()),
                    "present": int((states[:, i] == 1).sum()),
                    "absent": int((states[:, i] == 0).sum()),
                    "unobserved": int((states[:, i] == UNOBSERVED).sum()),
                }
            )
    return pd.DataFrame(rows)
