"""Small projects with labels and predictions, made without an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import workflow
from ethoprism.annotation import bout_table, runs, span_table
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.prediction import Decision, Prediction, save_prediction
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import ProbeShape
from ethoprism.progress import Progress
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenKey
from ethoprism_datasets.arena import write_recording

N = 120
NASTY = "<script>alert(1)</script>"
NAMES = (NASTY, '"&walk\' onload="x', "rest")


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(2):
        write_recording(folder, f"r{i}", i, n_frames=N)
    return folder


@pytest.fixture
def project(videos: Path, tmp_path: Path) -> Project:
    """Two recordings and an ethogram, in a folder whose name is markup; nothing is labelled."""
    made = Project.create(
        tmp_path / "p&<b>q", Settings(), Ethogram(exclusive=()).with_names(list(NAMES))
    )
    for path in sorted(videos.glob("*.mp4")):
        made, _, _ = workflow.add_recording(made, path)
    return made


def truth(seed: int) -> np.ndarray:
    """int8 ``[N, behaviours]``: every behaviour in bouts of 10 frames."""
    rng = np.random.default_rng(seed)
    blocks = rng.random((N // 10, len(NAMES))) < 0.4
    blocks[1], blocks[2] = True, False
    return np.repeat(blocks, 10, axis=0).astype(np.int8)


def label(
    project: Project,
    recording: str,
    states: np.ndarray,
    *,
    observed: tuple[int, int] = (0, N),
    annotator: str = "<i>ann</i>",
    subject: str = "",
) -> None:
    """Store the bouts of states, and one observed span for each behaviour."""
    start, stop = observed
    common = {"recording": recording, "annotator": annotator, "subject": subject}
    bouts = [
        {**common, "behaviour": name, "start_frame": start + a, "stop_frame": start + b}
        for i, name in enumerate(NAMES)
        for a, b in runs(states[start:stop, i] == 1).tolist()
    ]
    spans = [
        {**common, "behaviour": name, "start_frame": start, "stop_frame": stop} for name in NAMES
    ]
    with workflow.open_annotations(project, "write") as store:
        store.add(bout_table(bouts), span_table(spans), description="test")


def probe_of(parts: Mapping[str, str], crop: str = "whole", **training: Any) -> Probe:
    """A probe without parameters; its split has the part of each recording."""
    key = TokenKey(
        backbone="toy",
        weights_sha256="0" * 64,
        precision="float32",
        trained=False,
        preprocess_version=1,
        input_size=16,
        grid=4,
        width=8,
        length=6,
        hop=3,
        step=1,
        pooling=2,
        crop=crop,
    )
    segments = [vars(Segment(name, 0, N, part)) for name, part in parts.items()]  # type: ignore[arg-type]
    log = [{"step": s, "train": 1 / s, "validation": 2 / s} for s in (25, 50, 75)]
    return Probe(
        name="probe-1",
        behaviours=NAMES,
        ethogram=Ethogram().with_names(list(NAMES)),
        subject="",
        key=key,
        shape=ProbeShape(8, len(NAMES), 3),
        decision=Decision(dict.fromkeys(NAMES, 0.5), dict.fromkeys(NAMES, 1)),
        parameters={},
        training={"seed": 0, "segments": segments, "log": log, **training},
    )


def predict(project: Project, probe: Probe, unit: Unit, probability: np.ndarray) -> None:
    """Save a prediction of a unit."""
    entry = project.entry(unit.recording)
    prediction = Prediction(
        unit.recording,
        unit.subject,
        NAMES,
        probability.astype(np.float32),
        np.ones(len(probability), bool),
        probe.digest,
        probe.key.label,
        entry.content_key,
    )
    save_prediction(prediction, project.prediction_path(probe.name, unit.name))


def finish(task: Any) -> Any:
    """The result of a generator that yields `Progress`."""
    while True:
        try:
            assert isinstance(next(task), Progress)
        except StopIteration as stop:
            return stop.value


Tools = dict[str, Callable[..., Any]]


@pytest.fixture
def tools() -> Tools:
    """What tests of pages use; fixtures, since test folders are no packages."""
    return {
        "truth": truth,
        "label": label,
        "probe_of": probe_of,
        "predict": predict,
        "finish": finish,
    }
