"""A project's predictions against its labels, and its annotators against each other.

Frames that a probe was trained on, or that set its thresholds, say nothing of how it does on new
ones. So they are left out here, unless somebody asks for them, and then the result says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ethoprism.annotation import UNOBSERVED, frame_states
from ethoprism.errors import InputError, LabelError
from ethoprism.metrics import bootstrap
from ethoprism.metrics.agreement import PROBE, annotator_agreement
from ethoprism.metrics.summary import (
    Pairing,
    Scores,
    frame_seconds,
    score,
)
from ethoprism.prediction import decide, load_prediction
from ethoprism.project import Project
from ethoprism.subjects import Unit, units
from ethoprism.workflow import open_annotations, unit_labels, unit_states

if TYPE_CHECKING:  # imports jax
    from ethoprism.probe.checkpoint import Probe

UNNAMED = "(unnamed)"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a probe does on a project's labels.

    Attributes
    ----------
    scores
        Of all subjects together.
    by_subject
        Of each subject, where there are several.
    agreement
        As from `annotator_agreement`, on the same frames; empty with one annotator.
    scope
        One sentence on each recording: which of its frames were scored, and why.
    seen
        Frames of the training or validation part are among the scored ones.
    """

    scores: Scores
    by_subject: dict[str, Scores]
    agreement: pd.DataFrame
    scope: list[str]
    seen: bool

    def table(self) -> pd.DataFrame:
        """All figures, one row per subject and behaviour; ``all`` is all subjects together."""
        parts = {"all": self.scores, **self.by_subject}
        tables = [
            scores.table.reset_index().assign(
                subject=name,
                includes_training_frames=self.seen,
                drawn_for_intervals=scores.drawn,
                **scores.overall,
            )
            for name, scores in parts.items()
        ]
        table = pd.concat(tables, ignore_index=True)
        return table[["subject", *(c for c in table.columns if c != "subject")]]


def evaluate(
    project: Project,
    probe: Probe,
    recordings: Sequence[str] = (),
    *,
    include_seen: bool = False,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
) -> Evaluation:
    """Score the saved predictions of a probe against the project's labels.

    Parameters
    ----------
    project, probe
        The probe's predictions must have been made (see `ethoprism.workflow.predict_recordings`).
    recordings
        Ids; by default all that have labels and frames that the probe has not seen.
    include_seen
        Score the frames of the training and validation parts as well.
    n_resamples, seed
        Of the intervals.

    Raises
    ------
    InputError
        If no labelled frame is left to score.
    ProjectError
        If a prediction is absent or of another probe.
    """
    pairings, scope = _pairings(project, probe, recordings, include_seen)
    if not pairings:
        raise InputError(
            f"There is nothing to score {probe.name!r} on",
            expected="labelled frames that it was not trained or tuned on",
            found="; ".join(scope) or "no labels",
            remedy="Label a recording that it has not seen and predict it, or train again with "
            "--test RECORDING. To look at frames that it has seen all the same, use --all.",
        )
    subjects = dict.fromkeys(p.subject for p in pairings)
    options: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    by_subject = {
        name: score([p for p in pairings if p.subject == name], probe.behaviours, **options)
        for name in subjects
        if len(subjects) > 1
    }
    labels = {
        (p.recording, p.subject): _with_probe(
            annotator_states(
                project, Unit(p.recording, p.subject), probe.behaviours, probe.subject
            ),
            p,
        )
        for p in pairings
    }
    several = any(len(found) > 2 for found in labels.values())  # the probe is one of them
    return Evaluation(
        score(pairings, probe.behaviours, **options),
        by_subject,
        annotator_agreement(labels, probe.behaviours, **options) if several else pd.DataFrame(),
        scope,
        include_seen and any(part in ("train", "validation") for part in _parts(probe).values()),
    )


def unseen_frames(probe: Probe, recording: str, n_frames: int) -> np.ndarray:
    """bool ``[n_frames]``: frames that neither trained nor tuned the probe.

    All, for a recording that took no part in its training. Else those of the test part, without
    the gaps between parts.
    """
    segments = [s for s in probe.training.get("segments", ()) if s["recording"] == recording]
    if not segments:
        return np.ones(n_frames, dtype=bool)
    unseen = np.zeros(n_frames, dtype=bool)
    step, last_row = probe.key.step, -(-n_frames // probe.key.step)
    for segment in segments:
        if segment["part"] == "test":
            stop = int(segment["stop"])
            # A frame between sampled ones may take its value from the row after it.
            end = n_frames if stop >= last_row else (stop - 1) * step + 1
            unseen[int(segment["start"]) * step : end] = True
    return unseen


def _parts(probe: Probe) -> dict[tuple[str, int], str]:
    segments = probe.training.get("segments", ())
    return {(s["recording"], int(s["start"])): str(s["part"]) for s in segments}


def _pairings(
    project: Project, probe: Probe, recordings: Sequence[str], include_seen: bool
) -> tuple[list[Pairing], list[str]]:
    pairings, scope = [], []
    for unit in _labelled_units(project, probe, recordings):
        n_frames = project.entry(unit.recording).n_frames
        unseen = unseen_frames(probe, unit.recording, n_frames)
        took_part = any(r == unit.recording for r, _ in _parts(probe))
        keep = np.ones(n_frames, dtype=bool) if include_seen else unseen
        truth = unit_states(project, unit, probe.behaviours, probe.subject)
        truth[~keep] = UNOBSERVED
        if (truth == UNOBSERVED).all():
            scope.append(f"{unit.name}: not scored, no labels outside what it was trained on")
            continue
        pairing = _pairing(project, probe, unit, truth)
        pairings.append(pairing)
        known = ((truth != UNOBSERVED) & (pairing.called != UNOBSERVED)).any(axis=1)
        seen = int((known & ~unseen).sum())
        which = "not part of the training" if not took_part else "test part"
        if seen:
            which = f"of which {seen} WERE USED IN TRAINING"
        scope.append(f"{unit.name}: {int(known.sum())} of {n_frames} frames scored, {which}")
    return pairings, scope


def _labelled_units(project: Project, probe: Probe, recordings: Sequence[str]) -> Iterator[Unit]:
    """The units that have labels; recordings without are passed over, if not asked for."""
    with open_annotations(project, "read") as store:
        labelled = [
            name
            for name in recordings or project.recording_ids
            if recordings or len(store.bouts(name)) or len(store.spans(name))
        ]
    if labelled:
        yield from units(project, probe.key.crop, labelled, probe.subject)


def _pairing(project: Project, probe: Probe, unit: Unit, truth: np.ndarray) -> Pairing:
    prediction = load_prediction(
        project.prediction_path(probe.name, unit.name),
        probe=probe.digest,
        content_key=project.entry(unit.recording).content_key,
        n_frames=len(truth),
    )
    times = np.asarray(project.frame_times(unit.recording), np.float64)
    return Pairing(
        unit.recording,
        unit.subject,
        truth,
        decide(prediction, probe.decision),
        prediction.probability,
        times,
        frame_seconds(times),
    )


def annotator_states(
    project: Project, unit: Unit, behaviours: Sequence[str], subject: str = ""
) -> dict[str, np.ndarray]:
    """What each annotator labelled of a unit: int8 ``[frames, behaviours]`` by name.

    Labels whose source is ``automated`` are nobody's. Whose behaviour counts is decided by
    `ethoprism.workflow.unit_labels`.
    """
    bouts, spans = unit_labels(project, unit)
    n_frames = project.entry(unit.recording).n_frames
    return _by_annotator(bouts, spans, behaviours, n_frames, unit.subject or subject)


def project_agreement(
    project: Project,
    recordings: Sequence[str] = (),
    behaviours: Sequence[str] = (),
    *,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """How far the annotators of a project agree; see `annotator_agreement`.

    Each subject that labels name is compared for itself, and so are labels that name none.

    Raises
    ------
    LabelError
        If no two annotators labelled the same recording.
    """
    names = tuple(behaviours) or project.ethogram.names
    labels: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for recording in recordings or project.recording_ids:
        with open_annotations(project, "read") as store:
            tables = store.bouts(recording), store.spans(recording)
        for subject in sorted({str(s) for table in tables for s in table["subject"]}):
            mine = [table.loc[table["subject"] == subject] for table in tables]
            labels[recording, subject] = _by_annotator(
                mine[0], mine[1], names, project.entry(recording).n_frames, subject
            )
    if not any(len(found) > 1 for found in labels.values()):
        people = sorted({name for found in labels.values() for name in found})
        raise LabelError(
            "No two annotators labelled the same recording and subject",
            found=f"labels by {', '.join(people) or 'nobody'}",
            remedy="Import a second person's labels with: ethoprism label import PROJECT FILE "
            "--annotator NAME",
        )
    return annotator_agreement(labels, names, n_resamples=n_resamples, seed=seed)


def _by_annotator(
    bouts: pd.DataFrame,
    spans: pd.DataFrame,
    behaviours: Sequence[str],
    n_frames: int,
    subject: str,
) -> dict[str, np.ndarray]:
    """States by annotator, of those who labelled something; anybody's if ``subject`` is empty."""
    bouts = bouts.loc[bouts["source"] != "automated"]
    states = {}
    for name in sorted({str(name) for table in (bouts, spans) for name in table["annotator"]}):
        rows = frame_states(
            bouts.loc[bouts["annotator"] == name],
            spans.loc[spans["annotator"] == name],
            behaviours,
            n_frames,
            subject or None,
        )
        if (rows != UNOBSERVED).any():
            states[name or UNNAMED] = rows
    return states


def _with_probe(labels: dict[str, np.ndarray], pairing: Pairing) -> dict[str, np.ndarray]:
    """Labels of the frames that are scored, and with them the probe's calls."""
    scored = (pairing.truth != UNOBSERVED) & (pairing.called != UNOBSERVED)
    everyone = {**labels, PROBE: pairing.called}
    return {
        name: np.where(scored, rows, UNOBSERVED).astype(np.int8) for name, rows in everyone.items()
    }
