"""The steps of a project, each one function: what the command line and the GUI both call.

Long steps are generators of `Progress` whose result is what they made. Nothing here prints.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ethoprism import registry
from ethoprism.annotation import UNOBSERVED, frame_states
from ethoprism.crops import CropPath, place_digest
from ethoprism.errors import InputError
from ethoprism.exchange.spec import Format, FrameLabels
from ethoprism.files import write_json
from ethoprism.prediction import Prediction, decide, load_prediction, save_prediction
from ethoprism.progress import Progress
from ethoprism.project import Project, Settings
from ethoprism.recording import (
    ImportReport,
    open_recording,
)
from ethoprism.store import AnnotationStore, Mode
from ethoprism.subjects import Unit, place_of, tracks_of, units
from ethoprism.tokens import TokenKey, TokenStore

if TYPE_CHECKING:  # these import jax, which the other steps do without
    from ethoprism.backbones.engine_choice import Choice
    from ethoprism.backbones.spec import Backbone
    from ethoprism.probe.checkpoint import Probe


def add_recording(
    project: Project,
    path: Path,
    *,
    id: str | None = None,
    accept_damaged: bool = False,
    reader: str = "",
    array: str = "",
    frame_times: np.ndarray | None = None,
) -> tuple[Project, str, ImportReport]:
    """The project with a recording added, the recording's id, and what its import showed.

    The options are those of `open_recording`.
    """
    recording, report = open_recording(
        path,
        id,
        accept_damaged=accept_damaged,
        reader=reader,
        array=array,
        frame_times=frame_times,
    )
    project = project.with_recording(recording)
    added = next(e.id for e in project.entries if e.content_key == recording.content_key)
    return project, added, report


def fetch_weights(settings: Settings) -> Iterator[Progress]:
    """Download the backbone's released weights, in bytes, where they are needed and not here."""
    from ethoprism.backbones.releases import RELEASES, download, is_here

    if not settings.weights and settings.backbone in RELEASES and not is_here(settings.backbone):
        yield from download(settings.backbone)


def load_backbone(settings: Settings) -> Backbone:
    """The project's backbone with its weights, in the project's precision.

    Raises
    ------
    InputError
        If the backbone does not compute in that precision.
    """
    from ethoprism.backbones.engine import check_precision, precisions

    load = registry.load("backbones", settings.backbone)
    known = precisions(load)
    check_precision(settings.precision, settings.backbone, known)
    options = {"precision": settings.precision} if len(known) > 1 else {}
    backbone: Backbone = load(settings.weights or None, **options)
    return backbone


def choose_engine(backbone: Backbone, name: str = "") -> Choice:
    """The backbone on an engine; ``auto`` is the faster one here, timed once and remembered.

    Without a name it is the one that the environment variable ``ETHOPRISM_ENGINE`` names, or
    ``auto``.
    """
    from ethoprism.backbones.engine_choice import on_engine
    from ethoprism.window_encoder import default_batches

    batches = default_batches(backbone.card)
    name = name or os.environ.get("ETHOPRISM_ENGINE") or "auto"
    return on_engine(backbone, name, frames=batches.frames, windows=batches.windows)


def project_key(project: Project, backbone: Backbone) -> TokenKey:
    """The key of the tokens that the project extracts."""
    from ethoprism.extract import token_key

    s = project.settings
    return token_key(backbone.card, hop=s.hop, step=s.step, pooling=s.pooling, crop=s.crop)


def extract_tokens(
    project: Project, backbone: Backbone, recordings: Sequence[str] = ()
) -> Iterator[Progress]:
    """Extract the tokens of recordings, all by default; what is there already is kept."""
    key = project_key(project, backbone)
    for unit in units(project, key.crop, recordings):
        yield from extract_unit(project, backbone, key, unit)


def extract_unit(
    project: Project, backbone: Backbone, key: TokenKey, unit: Unit
) -> Iterator[Progress]:
    """Extract the tokens of one unit; what is there already is kept."""
    from ethoprism.extract import extract

    crop = place_of(project, unit, key.crop)
    path = project.tokens_path(key.digest, unit.name)
    steps = extract(project.recording(unit.recording), backbone, key, path, crop=crop)
    with closing(steps):
        for step in steps:
            yield replace(step, note=unit.name)


def open_tokens(project: Project, key: TokenKey, unit: Unit) -> TokenStore:
    """The tokens of a unit; a `ProjectError` that names the remedy if they are not there."""
    entry = project.entry(unit.recording)
    place = place_digest(place_of(project, unit, key.crop))
    path = project.tokens_path(key.digest, unit.name)
    return TokenStore.open(path, key, entry.n_frames, entry.content_key, place)


def engines_of(
    project: Project, key: TokenKey, recordings: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """The engines that took part in the tokens of each unit; of units that have tokens."""
    found = {}
    for unit in units(project, key.crop, recordings):
        if project.tokens_path(key.digest, unit.name).exists():
            makers = open_tokens(project, key, unit).made_by
            found[unit.name] = tuple(dict.fromkeys(maker["engine"] for maker in makers))
    return found


def known_keys(project: Project) -> list[TokenKey]:
    """Keys of the tokens that the project holds."""
    import json

    keys = []
    for folder in sorted((project.folder / "tokens").glob("*")):
        for store in sorted(folder.glob("[!.]*.zarr")):
            attributes = json.loads((store / "zarr.json").read_text())["attributes"]
            keys.append(TokenKey.from_dict(attributes["key"]))
            break
    return keys


def open_annotations(
    project: Project, mode: Mode = "either", *, annotator: str = "", blind: bool = False
) -> AnnotationStore:
    """The project's labels; close it after use.

    ``write`` takes the lock, ``read`` takes none and writes nothing, ``either`` writes if nobody
    else does. See `AnnotationStore` for the rest.
    """
    return AnnotationStore(
        project.annotations_path,
        project.n_frames,
        project.mirror_folder,
        mode=mode,
        annotator=annotator,
        blind=blind,
    )


def label_states(
    project: Project, recordings: Iterable[str], behaviours: Sequence[str], subject: str = ""
) -> dict[str, np.ndarray]:
    """What people labelled: int8 ``[frames, behaviours]`` by recording (see `frame_states`)."""
    states = {}
    with open_annotations(project, "read") as store:
        for name in recordings:
            states[name] = frame_states(
                store.bouts(name),
                store.spans(name),
                behaviours,
                project.entry(name).n_frames,
                subject or None,
            )
    return states


def unit_states(
    project: Project, unit: Unit, behaviours: Sequence[str], subject: str = ""
) -> np.ndarray:
    """What people labelled of a unit: int8 ``[frames, behaviours]``; see `unit_labels`.

    Parameters
    ----------
    project, unit
        Of which project, and of what.
    behaviours
        Column order of the result.
    subject
        Whose behaviour, where the unit is a whole recording; anybody's if empty.
    """
    if not unit.subject:
        return label_states(project, [unit.recording], behaviours, subject)[unit.recording]
    bouts, spans = unit_labels(project, unit)
    n_frames = project.entry(unit.recording).n_frames
    return frame_states(bouts, spans, behaviours, n_frames, unit.subject)


def unit_labels(project: Project, unit: Unit) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Bouts and observed spans of a unit's recording, with the subjects that they count for.

    Labels count for the subject that they name. Labels that name none count for a subject where it
    is the recording's only one; where there are several, nobody knows whose they are, and they
    count for none.
    """
    with open_annotations(project, "read") as store:
        bouts, spans = store.bouts(unit.recording), store.spans(unit.recording)
    return counted_labels(project, unit, bouts, spans)


def counted_labels(
    project: Project, unit: Unit, bouts: pd.DataFrame, spans: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Labels of a unit's recording with the subjects that they count for; see `unit_labels`."""
    if unit.subject and len(tracks_of(project, unit.recording)) == 1:
        bouts = bouts.assign(subject=bouts["subject"].replace("", unit.subject))
        spans = spans.assign(subject=spans["subject"].replace("", unit.subject))
    return bouts, spans


def probe_from(project: Project, name: str) -> Probe:
    """A probe of the project."""
    from ethoprism.probe.checkpoint import load_probe

    return load_probe(project.probe_folder(name))


def predict_recordings(
    project: Project, probe: Probe, recordings: Sequence[str] = ()
) -> Generator[Progress, None, list[Prediction]]:
    """Predict recordings, all by default, and save the predictions in the project."""
    from ethoprism.probe.predict import predict

    predictions = []
    for unit in units(project, probe.key.crop, recordings, probe.subject):
        store = open_tokens(project, probe.key, unit)
        prediction = yield from predict(
            probe, project.recording(unit.recording), store, unit.subject or probe.subject
        )
        crop = place_of(project, unit, probe.key.crop)
        if isinstance(crop, CropPath):  # between sampled frames, too, an animal may be lost
            prediction = replace(prediction, covered=prediction.covered & crop.valid)
        save_prediction(prediction, project.prediction_path(probe.name, unit.name))
        predictions.append(prediction)
    return predictions


def predicted_labels(
    project: Project, probe: Probe, recordings: Sequence[str] = ()
) -> list[FrameLabels]:
    """Predictions as they are exported: decided with the probe's thresholds and smoothing."""
    labels = []
    for unit in units(project, probe.key.crop, recordings, probe.subject):
        prediction = load_prediction(
            project.prediction_path(probe.name, unit.name),
            probe=probe.digest,
            content_key=project.entry(unit.recording).content_key,
            n_frames=project.entry(unit.recording).n_frames,
        )
        labels.append(
            FrameLabels(
                unit.recording,
                prediction.subject,
                project.frame_times(unit.recording),
                prediction.behaviours,
                decide(prediction, probe.decision),
                prediction.covered,
                prediction.probability,
                "automated",
            )
        )
    return labels


def manual_labels(
    project: Project, recordings: Sequence[str] = (), subject: str = ""
) -> list[FrameLabels]:
    """What people labelled, as it is exported; ``covered`` where anything was observed."""
    names = project.ethogram.names
    chosen = recordings or project.recording_ids
    return [
        FrameLabels(
            name,
            subject,
            project.frame_times(name),
            names,
            states,
            (states != UNOBSERVED).any(axis=1),
            None,
            "manual",
        )
        for name, states in label_states(project, chosen, names, subject).items()
    ]


def export_predictions(
    project: Project,
    probe: Probe,
    format_name: str,
    path: Path | None = None,
    recordings: Sequence[str] = (),
) -> Path:
    """Write predictions in an exchange format, and beside them a card of where they come from.

    Parameters
    ----------
    path
        File to write; by default one in ``exports/``, whose name says so if the backbone is
        untrained.

    Returns
    -------
    The file that was written.
    """
    labels = predicted_labels(project, probe, recordings)
    untrained = "" if probe.key.trained else "-untrained"
    path = path or project.exports_folder / f"{probe.name}{untrained}-{_ending(format_name)}"
    _write(format_name, path, labels)
    write_json(
        path.with_name(path.name + ".card.json"),
        {
            "backbone": probe.key.label,
            "probe": probe.name,
            "probe_digest": probe.digest,
            "token_key": probe.key.to_dict(),
            "decision_by": "training" if probe.learnt is None else "user",
            "thresholds": probe.decision.thresholds,
            "min_bout_frames": probe.decision.min_bout,
            "decision": probe.decision.to_dict(),
            "recordings": list(dict.fromkeys(item.recording for item in labels)),
            "note": "Predictions of a probe, not observations. "
            + ("The backbone's weights are random (untrained). " if untrained else "")
            + "Frames that are not covered have no values.",
        },
    )
    return path


def export_labels(
    project: Project,
    format_name: str,
    path: Path | None = None,
    recordings: Sequence[str] = (),
    subject: str = "",
) -> Path:
    """Write what people labelled in an exchange format; the file that was written is returned."""
    path = path or project.exports_folder / f"labels-{_ending(format_name)}"
    _write(format_name, path, manual_labels(project, recordings, subject))
    return path


def _ending(format_name: str) -> str:
    """``frames.csv`` for ``frames-csv``."""
    return ".".join(format_name.rsplit("-", 1))


def _write(format_name: str, path: Path, labels: Sequence[FrameLabels]) -> None:
    format: Format = registry.load("exchange", format_name)
    if format.write is None:
        raise InputError(f"The format {format_name!r} can be read, but not written")
    format.write(path, labels)
