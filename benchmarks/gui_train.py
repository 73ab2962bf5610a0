"""From Train to predictions on the timeline; a part of `gui.py`."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from gui_redraw import application
from qtpy.QtCore import QEventLoop, QTimer

from ethoprism import workflow
from ethoprism.annotation import bout_table, runs, span_table
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.tokens import TokenStore
from napari_ethoprism.probe_dock import ProbeDock
from napari_ethoprism.probe_run import token_key
from napari_ethoprism.session import Moment, Session
from napari_ethoprism.shown import PredictionLoader

FRAMES = 10_000
NAMES = ("walk", "groom", "rear", "rest")
TIMEOUT_S = 600


def small_video(path: Path) -> Path:
    """A video of grey frames, since only its number of frames matters here."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(30))
        if not isinstance(stream, VideoStream):
            raise TypeError("expected a stream of video")
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((72, 64), 128, np.uint8), format="yuv420p")
        for n in range(FRAMES):
            frame.pts = n
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def labelled_project(folder: Path, seed: int) -> Project:
    """A project of one recording whose tokens are noise with a sign of each behaviour in it."""
    rng = np.random.default_rng(seed)
    project = Project.create(folder / "p", Settings(), Ethogram().with_names(NAMES))
    project, _, _ = workflow.add_recording(project, small_video(folder / "r.avi"))
    states = np.stack(
        [np.repeat(rng.random(FRAMES // 40) < p, 40) for p in (0.5, 0.2, 0.1, 0.3)], axis=1
    )
    key = token_key(project)
    entry = project.entry("r")
    store = TokenStore.create(
        project.tokens_path(key.digest, "r"), key, entry.n_frames, entry.content_key
    )
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        shape = (stop - start, *store.shape[1:])
        tokens = rng.standard_normal(shape, np.float32)
        for column in range(len(NAMES)):
            part = states[start * key.step : stop * key.step : key.step, column]
            tokens[..., 8 * column : 8 * column + 8] += 1.5 * part[:, None, None, None]
        store.write_block(block, tokens, np.ones(stop - start, bool))
    bouts, spans = [], []
    for column, name in enumerate(NAMES):
        what = {"recording": "r", "behaviour": name}
        spans.append({**what, "start_frame": 0, "stop_frame": FRAMES})
        for start, stop in runs(states[:, column]).tolist():
            bouts.append({**what, "start_frame": start, "stop_frame": stop})
    with workflow.open_annotations(project) as labels:
        labels.add(bout_table(bouts), span_table(spans), description="made for a benchmark")
    return project


def train_seconds(folder: Path, seed: int) -> float:
    """Seconds from pressing Train in the probe dock until the session has the predictions."""
    app = application()
    project = labelled_project(folder, seed)
    session = Session()
    loader, dock = PredictionLoader(session), ProbeDock(session)
    dock.show()
    session.open_project(project)
    session.moment = Moment(project.recording("r"), 0)
    began = time.perf_counter()
    while not (dock.training.survey.with_tokens and dock.training.can_train()):
        if time.perf_counter() - began > TIMEOUT_S:
            raise SystemExit("the probe dock never found the labels and tokens")
        app.processEvents()
        time.sleep(0.01)
    loop = QEventLoop()
    session.events.predictions.connect(lambda new: new and loop.quit(), max_args=1)
    session.jobs.failed.connect(lambda job: loop.quit())
    QTimer.singleShot(TIMEOUT_S * 1000, loop.quit)
    began = time.perf_counter()
    dock.training.train()
    loop.exec()
    seconds = time.perf_counter() - began
    shown = bool(session.predictions)
    loader.close()
    dock.close()
    session.jobs.close()
    session.close()
    if not shown:
        raise SystemExit("the training did not end with a prediction")
    return seconds
