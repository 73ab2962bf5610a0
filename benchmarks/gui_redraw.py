"""Redraws of the timeline and of the map without a screen; a part of `gui.py`."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QImage, QWheelEvent
from qtpy.QtWidgets import QApplication

from ethoprism.annotation import span_table
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Prediction
from ethoprism.recording import Recording
from napari_ethoprism.map_canvas import MapCanvas
from napari_ethoprism.session import Moment, Session
from napari_ethoprism.timeline_canvas import TimelineCanvas
from napari_ethoprism.timeline_data import (
    Coded,
    Shade,
    ShadedRows,
    TimelineData,
    in_rows,
    labelled,
    timeline_rows,
)
from napari_ethoprism.timeline_feed import TimelineFeed

FRAMES, BEHAVIOURS, BOUTS, POINTS = 1_000_000, 30, 50_000, 300_000
WIDTH, HEIGHT = 1600, 700


def application() -> QApplication:
    """The one application; offscreen where there is no display."""
    return QApplication.instance() or QApplication([])  # type: ignore[return-value]


def timeline_data(rng: np.random.Generator) -> TimelineData:
    """Labels of three sources, observed spans, probabilities and as many decided bouts."""
    names = [f"behaviour {i}" for i in range(BEHAVIOURS)]
    rows = timeline_rows(Ethogram().with_names(names), ("",))
    count = BOUTS // BEHAVIOURS + 1
    room = FRAMES // count
    starts = (np.arange(count) * room + rng.integers(0, room // 3, (BEHAVIOURS, count))).ravel()
    stops = starts + rng.integers(1, room // 2, starts.size)
    bouts = pd.DataFrame(
        {
            "recording": "r",
            "subject": "",
            "behaviour": np.repeat(names, count),
            "start_frame": starts,
            "stop_frame": np.minimum(stops, FRAMES),
            "source": rng.choice(["manual", "curated"], starts.size),
        }
    )[:BOUTS]
    spans = span_table(
        [
            {"recording": "r", "behaviour": n, "start_frame": 0, "stop_frame": FRAMES // 2}
            for n in names
        ]
    )
    shown, sources, observed = labelled(FRAMES, rows, Coded.of(bouts), Coded.of(spans))
    noise = rng.random((FRAMES, BEHAVIOURS), np.float32) ** 4
    prediction = Prediction(
        "r", "", tuple(names), noise, np.ones(FRAMES, bool), "0" * 64, "prism-nano", "0" * 64
    )
    shade = Shade(prediction)
    for _ in shade.build():
        pass
    numbers = np.arange(BEHAVIOURS)
    shaded = ShadedRows(prediction, shade, "p", False, numbers, numbers)
    firsts = starts.reshape(BEHAVIOURS, count)
    decided = in_rows(
        (
            (row, np.stack([firsts[row], firsts[row] + room // 4], axis=1))
            for row in numbers.tolist()
        ),
        FRAMES,
    )
    covered = in_rows(((row, np.array([[0, FRAMES]])) for row in numbers.tolist()), FRAMES)
    return TimelineData(FRAMES, rows, shown, sources, observed, decided, covered, (shaded,))


def timed(draw: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each of ``runs`` redraws, after one that is not counted."""
    draw()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - began)
    return seconds


def timeline_seconds(runs: int, seed: int) -> list[float]:
    """Seconds of full redraws, at views from all frames to 500 of them."""
    app = application()
    session = Session()
    times = np.arange(FRAMES) / 30
    session.moment = Moment(
        Recording("r", Path("r.mp4"), FRAMES, 480, 640, times, "0" * 64), FRAMES // 3
    )
    feed = TimelineFeed(session)
    feed.data = timeline_data(np.random.default_rng(seed))
    canvas = TimelineCanvas(feed)
    canvas.resize(WIDTH, HEIGHT)
    feed.changed.emit()
    seconds: list[float] = []
    for part in (1, 10, 100, 2000):
        view = (
            canvas.view.fitted(FRAMES / 3, FRAMES / 3 + FRAMES / part) if part > 1 else canvas.view
        )
        canvas.show_view(view)
        seconds += timed(canvas.redraw, runs)
    feed.close()
    canvas.deleteLater()
    session.jobs.close()
    app.processEvents()
    return seconds


def map_seconds(runs: int, seed: int) -> list[float]:
    """Seconds of full redraws of the map, whole and zoomed in."""
    app = application()
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 6, (25, 2))
    group = rng.integers(0, 25, POINTS)
    points = (centres[group] + rng.normal(0, 0.7, (POINTS, 2))).astype(np.float32)
    colours = rng.random((25, 3), np.float32)[group]
    canvas = MapCanvas()
    canvas.resize(900, 900)
    canvas.set_points(points, colours)
    picture = QImage(canvas.size(), QImage.Format.Format_ARGB32)
    middle = QPointF(450.0, 450.0)

    def draw(turn: int) -> None:
        """One notch of the wheel, to or fro, and what it makes the map paint."""
        event = QWheelEvent(
            middle,
            middle,
            QPoint(),
            QPoint(0, turn),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(canvas, event)
        canvas.render(picture)

    seconds: list[float] = []
    for notches in (0, 8, 8):
        for _ in range(notches):
            draw(120)
        seconds += timed(partial(draw, 60), runs // 2) + timed(partial(draw, -60), runs // 2)
    canvas.deleteLater()
    app.processEvents()
    return seconds
