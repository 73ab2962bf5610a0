"""What a report says of a project: labels, predictions, and scores on frames that were held out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from ethoprism import scoring
from ethoprism.annotation import UNOBSERVED
from ethoprism.crops import Crop
from ethoprism.errors import EthoPrismError, LabelError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.metrics.agreement import annotator_agreement
from ethoprism.metrics.summary import Pairing, Scores, frame_seconds, score
from ethoprism.prediction import decide, load_prediction
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import edge_times
from ethoprism.subjects import Unit, units
from ethoprism.workflow import open_annotations, predict_recordings, unit_states

if TYPE_CHECKING:  # imports jax
    from ethoprism.probe.checkpoint import Probe

Basis = Literal["held out", "folds", "tuned on", "nothing"]
Part = Literal["not in training", "test part", "training", "no labels"]
_FALLBACK_COLOUR = "#888888"


@dataclass(frozen=True, eq=False)
class View:
    """One recording, or one subject of it.

    Attributes
    ----------
    unit
        Which.
    times, edges, seconds
        When frames begin; the same with the end of the last; how long each lasts.
    states
        What people labelled, int8 ``[frames, behaviours]``.
    called, probability
        What the probe decided, and its probabilities; None without a prediction.
    learnt
        bool ``[frames]``: frames that trained or tuned the probe, or lie in the gaps of its split.
    """

    unit: Unit
    times: np.ndarray
    edges: np.ndarray
    seconds: np.ndarray
    states: np.ndarray
    called: np.ndarray | None
    probability: np.ndarray | None
    learnt: np.ndarray

    @property
    def observed(self) -> np.ndarray:
        """bool ``[frames]``: somebody looked for some behaviour."""
        return (self.states != UNOBSERVED).any(axis=1)


@dataclass(frozen=True, eq=False)
class Findings:
    """All that the page shows.

    Attributes
    ----------
    title, folder, made
        Name of the project, its folder, and when the report was made.
    ethogram, behaviours
        The ethogram, and what the report is on: the probe's behaviours, or the whole ethogram.
    views
        The project's recordings, or their subjects.
    annotators
        Who labelled.
    probe
        The probe; None where the report is on labels alone.
    basis
        On what the scores rest: frames that were held out for good; all frames by cross-validation,
        each fold with thresholds of its own; frames that set thresholds; or none.
    pairings, scores, by_subject
        What was scored, and the scores; None without a probe or without frames to score.
    agreement, agreement_with_probe
        Of annotators with each other, and with the probe on the scored frames; may be empty.
    scope
        A sentence for each recording: which of its frames were scored.
    missing
        Why something is not in the report.
    """

    title: str
    folder: Path
    made: datetime
    ethogram: Ethogram
    behaviours: tuple[str, ...]
    views: tuple[View, ...]
    annotators: tuple[str, ...]
    probe: Probe | None
    basis: Basis
    pairings: tuple[Pairing, ...]
    scores: Scores | None
    by_subject: Mapping[str, Scores]
    agreement: pd.DataFrame
    agreement_with_probe: pd.DataFrame
    scope: tuple[str, ...]
    missing: tuple[str, ...]

    def colour(self, name: str) -> str:
        """The ethogram's colour of a behaviour."""
        return self.ethogram[name].colour if name in self.ethogram else _FALLBACK_COLOUR

    @property
    def recordings(self) -> list[str]:
        """Ids of the recordings that are shown."""
        return list(dict.fromkeys(view.unit.recording for view in self.views))

    @property
    def scored_recordings(self) -> list[str]:
        """Ids of the recordings of which some frame was scored."""
        return list(dict.fromkeys(p.recording for p in self.pairings))


def gather(
    project: Project,
    probe: Probe | None,
    made: datetime,
    *,
    recordings: Sequence[str] = (),
    n_resamples: int = 1000,
    seed: int = 0,
) -> Generator[Progress, None, Findings]:
    """Collect what the page shows; predictions that are missing are made."""
    behaviours = probe.behaviours if probe is not None else project.ethogram.names
    if not behaviours:
        raise LabelError(
            "There is nothing to report on: the ethogram has no behaviours",
            remedy="Label something, or import labels: ethoprism label import PROJECT FILE",
        )
    missing: list[str] = []
    found = _units(project, probe, recordings, missing)
    views = []
    for i, unit in enumerate(found):
        yield Progress(i, len(found), f"reading {unit.name}")
        views.append((yield from _view(project, probe, unit, behaviours, missing)))
    yield Progress(len(found), len(found), "scoring")
    basis, pairings, scope = _scored(project, probe, views, behaviours)
    options: dict[str, Any] = {"n_resamples": n_resamples, "seed": seed}
    scores = score(pairings, behaviours, **options) if pairings else None
    subjects = dict.fromkeys(p.subject for p in pairings)
    by_subject = {
        name: score([p for p in pairings if p.subject == name], behaviours, **options)
        for name in subjects
        if len(subjects) > 1
    }
    yield Progress(len(found), len(found), "comparing annotators")
    return Findings(
        title=project.folder.resolve().name,
        folder=project.folder.resolve(),
        made=made,
        ethogram=project.ethogram,
        behaviours=tuple(behaviours),
        views=tuple(views),
        annotators=_annotators(project),
        probe=probe,
        basis=basis,
        pairings=tuple(pairings),
        scores=scores,
        by_subject=by_subject,
        agreement=_agreement(project, behaviours, options),
        agreement_with_probe=_with_probe(project, probe, pairings, behaviours, basis, options),
        scope=tuple(scope),
        missing=tuple(missing),
    )


def _units(
    project: Project, probe: Probe | None, recordings: Sequence[str], missing: list[str]
) -> list[Unit]:
    """Units as the probe sees them; without one, each subject that labels name."""
    names = list(recordings) or list(project.recording_ids)
    if not names:
        raise ProjectError(
            f"{project.folder} has no recordings", remedy="Run: ethoprism add PROJECT VIDEO..."
        )
    if probe is not None:
        found = []
        for name in names:
            try:
                found += units(project, probe.key.crop, [name], probe.subject)
            except ProjectError as error:
                missing.append(f"{name} is left out: {error.problem}.")
        if not found:
            raise ProjectError("No recording can be shown", found=" ".join(missing))
        return found
    if Crop.parse(project.settings.crop).kind == "subject":
        tracked = [n for n in names if project.tracks_path(n).is_file()]
        if tracked:
            return units(project, project.settings.crop, tracked)
    return [Unit(name) for name in names]


def _view(
    project: Project,
    probe: Probe | None,
    unit: Unit,
    behaviours: Sequence[str],
    missing: list[str],
) -> Generator[Progress, None, View]:
    times = np.asarray(project.frame_times(unit.recording), np.float64)
    states = unit_states(project, unit, behaviours, probe.subject if probe else "")
    called = probability = None
    learnt = np.zeros(len(times), bool)
    if probe is not None:
        learnt = ~scoring.unseen_frames(probe, unit.recording, len(times))
        try:
            prediction = yield from _prediction(project, probe, unit)
            called, probability = decide(prediction, probe.decision), prediction.probability
        except EthoPrismError as error:
            missing.append(f"{unit.name} has no prediction: {error.problem}.")
    return View(
        unit, times, edge_times(times), frame_seconds(times), states, called, probability, learnt
    )


def _prediction(project: Project, probe: Probe, unit: Unit) -> Generator[Progress, None, Any]:
    """The saved prediction; where it is missing or of another probe, a new one."""
    entry = project.entry(unit.recording)
    path = project.prediction_path(probe.name, unit.name)
    expected: dict[str, Any] = {"probe": probe.digest, "content_key": entry.content_key}
    try:
        return load_prediction(path, n_frames=entry.n_frames, **expected)
    except ProjectError:
        yield from predict_recordings(project, probe, [unit.recording])
    return load_prediction(path, n_frames=entry.n_frames, **expected)


def _scored(
    project: Project, probe: Probe | None, views: Sequence[View], behaviours: Sequence[str]
) -> tuple[Basis, list[Pairing], list[str]]:
    """What is scored: held-out frames, else those of folds, else those that chose thresholds."""
    if probe is None:
        return "nothing", [], []
    pairings, scope = [], []
    took_part = {str(s["recording"]) for s in probe.training.get("segments", ())}
    for view in views:
        if view.called is None or view.probability is None:
            continue
        truth = view.states.copy()
        truth[view.learnt] = UNOBSERVED
        known = ((truth != UNOBSERVED) & (view.called != UNOBSERVED)).any(axis=1)
        if not known.any():
            continue
        which = (
            "the test part of its split"
            if view.unit.recording in took_part
            else "a recording that took no part in the training"
        )
        if probe.training.get("segments") and _is_test(probe, view.unit.recording, len(truth)):
            which = "held out as a whole"
        scope.append(f"{view.unit.name}: {int(known.sum()):,} frames, {which}")
        pairings.append(
            Pairing(
                view.unit.recording,
                view.unit.subject,
                truth,
                view.called,
                view.probability,
                view.times,
                view.seconds,
            )
        )
    if pairings:
        return "held out", pairings, scope
    tuned, nested = _kept(project, probe, views)
    part = "all folds" if nested else "the validation part"
    scope = [f"{p.recording}: {len(p.times):,} sampled frames of {part}" for p in tuned]
    if not tuned:
        return "nothing", [], []
    return ("folds" if nested else "tuned on"), tuned, scope


def _is_test(probe: Probe, recording: str, n_frames: int) -> bool:
    """The whole recording is the test part."""
    parts = [s for s in probe.training["segments"] if s["recording"] == recording]
    return (
        bool(parts)
        and {s["part"] for s in parts} == {"test"}
        and bool(scoring.unseen_frames(probe, recording, n_frames).all())
    )


def _kept(project: Project, probe: Probe, views: Sequence[View]) -> tuple[list[Pairing], bool]:
    """Rows that the probe keeps, and whether they are of folds that decide for themselves.

    Otherwise they are those that stopped the training and set the thresholds.
    """
    from ethoprism.probe.checkpoint import load_held_out
    from ethoprism.probe.crossvalidate import called_by_folds
    from ethoprism.probe.decisions import in_rows

    times_of = {view.unit: view.times[:: probe.key.step] for view in views}
    pairings = []
    folds = probe.training.get("cross_validation", {})
    nested = probe.training.get("held_out") == "folds" and bool(folds.get("decisions"))
    usual = in_rows(probe.decision, probe.key.step)
    try:
        timelines = load_held_out(project.probe_folder(probe.name), probe)
    except ProjectError:  # a probe from before these were kept
        return [], False
    for item in timelines:
        times = times_of.get(Unit(item.recording, item.subject))
        if times is None or len(times) != len(item.states):
            continue
        own = called_by_folds(folds, item, probe.behaviours, probe.key.step) if nested else None
        called = decide(item.prediction(probe.behaviours), usual) if own is None else own
        pairings.append(
            Pairing(
                item.recording,
                item.subject,
                item.states,
                called,
                item.probability,
                times,
                frame_seconds(times),
            )
        )
    return pairings, nested


def _annotators(project: Project) -> tuple[str, ...]:
    with open_annotations(project, "read") as store:
        tables = [t for n in project.recording_ids for t in (store.bouts(n), store.spans(n))]
    return tuple(sorted({str(name) for table in tables for name in table["annotator"]}))


def _agreement(
    project: Project, behaviours: Sequence[str], options: Mapping[str, Any]
) -> pd.DataFrame:
    names = [name for name in behaviours if name in project.ethogram]
    try:
        return scoring.project_agreement(project, (), names, **options)
    except LabelError:  # no two people labelled the same
        return pd.DataFrame()


def _with_probe(
    project: Project,
    probe: Probe | None,
    pairings: Sequence[Pairing],
    behaviours: Sequence[str],
    basis: Basis,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """Annotators and the probe on the frames that are scored, where two people labelled them."""
    from ethoprism.metrics.agreement import PROBE

    if probe is None or basis != "held out":
        return pd.DataFrame()
    labels = {}
    for p in pairings:
        people = scoring.annotator_states(
            project, Unit(p.recording, p.subject), behaviours, probe.subject
        )
        scored = (p.truth != UNOBSERVED) & (p.called != UNOBSERVED)
        labels[p.recording, p.subject] = {
            name: np.where(scored, rows, UNOBSERVED).astype(np.int8)
            for name, rows in {**people, PROBE: p.called}.items()
        }
    if not any(len(found) > 2 for found in labels.values()):
        return pd.DataFrame()
    return annotator_agreement(labels, behaviours, **options)
