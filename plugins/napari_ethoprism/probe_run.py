"""Training and prediction for the probe dock, as generators that a job runs; no Qt.

Everything is computed by the library; here steps are put in an order that shows something soon.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

from ethoprism import workflow
from ethoprism.errors import EthoPrismError, StorageError
from ethoprism.prediction import Prediction, load_prediction
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.subjects import units
from ethoprism.tokens import TokenKey
from napari_ethoprism.jobs import Task
from napari_ethoprism.labels import Labels

if TYPE_CHECKING:  # these import jax
    from ethoprism.probe.checkpoint import Probe

_SAVING_S = 30.0
"""Longest wait for a disk."""


@dataclass(frozen=True, eq=False)
class Trained(Progress):
    """The probe was trained and saved; its predictions follow."""

    probe: Probe | None = None


@dataclass(frozen=True, eq=False)
class Predicted(Progress):
    """One recording was predicted and its predictions saved."""

    recording: str = ""
    predictions: tuple[Prediction, ...] = ()


@dataclass(frozen=True, eq=False)
class Saved:
    """A probe of the project, and its saved predictions of one recording.

    ``problem`` says why there is no prediction; it is empty where there is one.
    """

    probe: Probe
    trained_at: datetime
    recording: str
    predictions: tuple[Prediction, ...]
    problem: str = ""


def when_saved(labels: Labels | None, task: Task) -> Task:
    """A task that first waits, in its worker thread, until the edits so far are on the disk.

    It fails with a `StorageError` where they are not there in time: the labels that it would use
    are not those that are shown.
    """
    if labels is None:
        return task
    saved = Event()
    labels.later(saved.set)

    def waiting() -> Any:
        if not saved.wait(_SAVING_S):
            raise StorageError(
                "The newest labels are not on the disk yet, so this was not begun",
                expected=f"that the disk takes them within {_SAVING_S:g} s",
                found="edits that still wait",
                remedy="Look whether the project's disk can be reached, wait until the Labels dock "
                "says Saved, and start again.",
            )
        return task()

    return waiting


def probe_names(project: Project) -> tuple[str, ...]:
    """Names of the project's probes, the one that was trained last first."""
    cards = sorted((project.folder / "probes").glob("*/card.json"), key=_modified, reverse=True)
    return tuple(card.parent.name for card in cards)


def trained_at(project: Project, name: str) -> datetime | None:
    """When a probe was trained, in UTC; None if there is none of that name."""
    parameters = project.probe_folder(name) / "probe.safetensors"
    if not (parameters.parent / "card.json").is_file():
        return None
    return datetime.fromtimestamp(_modified(parameters), UTC)


def free_name(project: Project, name: str) -> str:
    """The name, or with the next number behind it where the project has such a probe already."""
    taken, number = set(probe_names(project)), 2
    if name not in taken:
        return name
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def token_key(project: Project) -> TokenKey:
    """The key of the tokens that the project's settings ask for.

    The backbone is loaded only where the project holds tokens of several such keys or of none:
    large weights take seconds to read.
    """
    from ethoprism.backbones.preprocess import PREPROCESS_VERSION
    from ethoprism.overview import current_keys

    s = project.settings
    if not s.weights:
        known = current_keys(s, workflow.known_keys(project))
        alike = [key for key in known if key.preprocess_version == PREPROCESS_VERSION]
        if len(alike) == 1:
            return alike[0]
    return workflow.project_key(project, workflow.load_backbone(s))


def token_problems(project: Project, key: TokenKey) -> dict[str, str]:
    """Why a recording has no tokens to learn from, by recording; empty where it has them."""
    problems = {}
    for name in project.recording_ids:
        try:
            for unit in units(project, key.crop, [name]):
                workflow.open_tokens(project, key, unit).require_complete()
        except EthoPrismError as error:
            problems[name] = error.problem
        else:
            problems[name] = ""
    return problems


def train_and_predict(
    project: Project, options: Mapping[str, Any], recordings: Sequence[str]
) -> Generator[Progress, None, Probe]:
    """Train a probe, then predict ``recordings`` in that order, each at once saved.

    ``options`` are the arguments of a `ethoprism.training.TrainingPlan`, which is made here because
    its module takes seconds to import.

    `Trained` and one `Predicted` a recording are yielded among the progress. Where this is closed
    during the training, no probe is saved; later, the probe and what was predicted are kept.
    """
    yield Progress(0, 1, "reading tokens")
    from ethoprism.training import TrainingPlan, require_sound, train_probe

    plan = TrainingPlan(**options)
    require_sound(plan)
    key = token_key(project)
    probe = yield from train_probe(project, key, plan)
    yield Trained(0, max(len(recordings), 1), "trained", probe)
    yield from predict_in_order(project, probe, recordings)
    return probe


def predict_in_order(
    project: Project, probe: Probe, recordings: Sequence[str]
) -> Generator[Progress, None, None]:
    """Predict recordings one after the other, and yield `Predicted` after each."""
    for number, name in enumerate(recordings):
        steps = workflow.predict_recordings(project, probe, [name])
        note = f"predicting {name} ({number + 1} of {len(recordings)})"
        predictions = yield from _noted(steps, note)
        yield Predicted(number + 1, len(recordings), note, name, tuple(predictions))


def read_saved(project: Project, name: str, recording: str = "") -> Saved:
    """A probe and what it predicted of a recording; without a recording, the probe alone.

    Raises
    ------
    ProjectError
        If the probe cannot be read. Predictions that are there and cannot be read are a
        ``problem``.
    """
    probe = workflow.probe_from(project, name)
    when = trained_at(project, name) or datetime.now(UTC)
    if not recording:
        return Saved(probe, when, "", ())
    try:
        entry = project.entry(recording)
        predictions = tuple(
            load_prediction(
                project.prediction_path(name, unit.name),
                probe=probe.digest,
                content_key=entry.content_key,
                n_frames=entry.n_frames,
            )
            for unit in units(project, probe.key.crop, [recording], probe.subject)
        )
    except EthoPrismError as error:
        there = project.prediction_path(name, recording).parent.glob(f"{recording}[.@]*")
        return Saved(probe, when, recording, (), str(error) if any(there) else "")
    return Saved(probe, when, recording, predictions)


def _noted(
    steps: Generator[Progress, None, list[Prediction]], note: str
) -> Generator[Progress, None, list[Prediction]]:
    try:
        while True:
            yield replace(next(steps), note=note)
    except StopIteration as stop:
        return stop.value
    finally:
        steps.close()


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
