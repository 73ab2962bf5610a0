"""The timeline in a window: what the pointer does, what is drawn again, and what is let go."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_samples import Sample, write

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Decision, Prediction
from ethoprism.project import Project, Settings
from ethoprism.recording import Recording, open_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt  # noqa: E402
from qtpy.QtGui import QMouseEvent, QWheelEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QWidget  # noqa: E402

from napari_ethoprism import timeline_predictions  # noqa: E402
from napari_ethoprism.session import (  # noqa: E402
    Moment,
    Selection,
    Session,
    ShownPrediction,
    Span,
)
from napari_ethoprism.timeline_canvas import TimelineCanvas  # noqa: E402
from napari_ethoprism.timeline_dock import TimelineDock  # noqa: E402

N = 300
LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two recordings at a variable rate."""
    folder = tmp_path_factory.mktemp("videos")
    ticks = np.cumsum(np.random.default_rng(0).integers(1, 6, N)).tolist()
    made = [
        write(folder, Sample(f"{name}.mkv", "ffv1", "yuv420p"), N, ticks=[t + i for t in ticks])
        for i, name in enumerate(("one", "two"))
    ]
    return made[0], made[1]


@pytest.fixture
def session(tmp_path: Path, videos: tuple[Path, Path]) -> Iterator[Session]:
    """A session with a project: "walk" in 50–99 and 150–199, "groom" in 120; 0–249 observed."""
    gc.collect()  # what an earlier test left must not be collected in a worker thread
    project = Project.create(
        tmp_path / "project", Settings(), Ethogram().with_names(["walk", "groom"])
    )
    for path in videos:
        project, _, _ = workflow.add_recording(project, path)
    session = Session()
    session.open_project(project, annotator="ann")
    assert session.labels is not None
    session.labels.apply(
        add_bouts=bout_table(
            [
                _row("walk", 50, 100),
                _row("walk", 150, 200, source="automated"),
                _row("groom", 120, 121),
            ]
        ),
        add_spans=span_table([_row("walk", 0, 250)]),
        description="made for a test",
    )
    yield session
    session.close()
    assert session.jobs.close()


@pytest.fixture
def recording(videos: tuple[Path, Path]) -> Recording:
    """The first recording."""
    return open_recording(videos[0])[0]


@pytest.fixture
def dock(session: Session, recording: Recording, qtbot: Any) -> TimelineDock:
    """The dock, with the viewer at frame 10; seeking moves the session as the viewer would."""
    session.moment = Moment(recording, 10)
    session.sought.connect(lambda _, frame: setattr(session, "moment", Moment(recording, frame)))
    made = TimelineDock(session)
    qtbot.addWidget(made)
    made.resize(1000, 260)
    with qtbot.waitExposed(made):
        made.show()
    return made


def _row(behaviour: str, start: int, stop: int, **more: str) -> dict[str, object]:
    return {
        "recording": "one",
        "behaviour": behaviour,
        "start_frame": start,
        "stop_frame": stop,
        **more,
    }


def _send(
    canvas: QWidget,
    kind: QEvent.Type,
    x: float,
    y: float,
    button: Qt.MouseButton = LEFT,
    held: Qt.KeyboardModifier = NONE,
) -> None:
    at = QPointF(x, y)
    pressed = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseButtonRelease else button
    button = Qt.MouseButton.NoButton if kind == QEvent.Type.MouseMove else button
    where = QPointF(canvas.mapToGlobal(QPoint(int(x), int(y))))
    QApplication.sendEvent(canvas, QMouseEvent(kind, at, where, button, pressed, held))


def _drag(
    canvas: QWidget,
    places: Sequence[tuple[float, float]],
    held: Qt.KeyboardModifier = NONE,
    *,
    release: bool = True,
    button: Qt.MouseButton = LEFT,
) -> None:
    _send(canvas, QEvent.Type.MouseButtonPress, *places[0], button, held)
    for place in places[1:]:
        _send(canvas, QEvent.Type.MouseMove, *place, button, held)
    if release:
        _send(canvas, QEvent.Type.MouseButtonRelease, *places[-1], button, held)


def _click(canvas: TimelineCanvas, x: float, y: float) -> None:
    _drag(canvas, [(x, y)])


def _wheel(canvas: TimelineCanvas, x: float, y: float, turn: int, held: Any = NONE) -> None:
    where = QPointF(canvas.mapToGlobal(QPoint(int(x), int(y))))
    event = QWheelEvent(
        QPointF(x, y),
        where,
        QPoint(0, 0),
        QPoint(0, turn),
        Qt.MouseButton.NoButton,
        held,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(canvas, event)


def _middle(canvas: TimelineCanvas, frame: int) -> float:
    return (canvas.x_of(frame) + canvas.x_of(frame + 1)) / 2


def _walk(canvas: TimelineCanvas) -> float:
    """The height at which the bouts of the first row lie."""
    return sum(canvas.bout_band(0)) / 2


def _bouts(session: Session) -> list[tuple[Any, ...]]:
    assert session.labels is not None
    table = session.labels.bouts("one")
    columns = ["behaviour", "start_frame", "stop_frame", "source", "annotator"]
    return sorted(table.loc[:, columns].itertuples(index=False, name=None))


def test_a_click_seeks_the_exact_frame(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    for frame in (0, 7, 140, N - 1):
        _click(canvas, _middle(canvas, frame), canvas.height() - 5)
        assert session.frame == frame
    canvas.show_view(canvas.view.fitted(100, 140))
    for frame in (101, 120, 139):
        _click(canvas, _middle(canvas, frame), canvas.height() - 5)
        assert session.frame == frame


def test_dragging_on_the_ruler_seeks_along(dock: TimelineDock) -> None:
    canvas, sought = dock.canvas, []
    dock.session.sought.connect(lambda _, frame: sought.append(frame))
    _drag(canvas, [(_middle(canvas, f), 10) for f in (20, 20, 60, 90)])
    assert sought == [20, 60, 90] and dock.session.selection is None


def test_dragging_in_a_row_selects_frames_whole(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    y = canvas.row_top(1) + 5
    _drag(canvas, [(canvas.x_of(f), y) for f in (210, 220, 240)])
    assert session.selection == Selection((Span("one", 210, 240),), "timeline")
    assert session.frame == 10
    _drag(canvas, [(canvas.x_of(f), y) for f in (240, 220, 230)])
    assert session.selection == Selection((Span("one", 230, 240),), "timeline")
    _drag(canvas, [(canvas.x_of(f), 10) for f in (20, 40)], Qt.KeyboardModifier.ControlModifier)
    assert session.selection == Selection((Span("one", 20, 40),), "timeline")


def test_a_selections_edge_snaps_to_bouts_unless_alt_is_held(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    y = canvas.row_top(0) + canvas.layout_of_rows.row_height - 2
    near = [(canvas.x_of(102) + 1, y), (canvas.x_of(140), y), (canvas.x_of(149), y)]
    _drag(canvas, near)
    assert session.selection == Selection((Span("one", 100, 150),), "timeline")
    _drag(canvas, near, Qt.KeyboardModifier.AltModifier)
    assert session.selection == Selection((Span("one", 102, 149),), "timeline")


def test_escape_gives_up_a_drag_and_then_the_selection(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    actions = session.actions
    assert not actions["clear_selection"].enabled()
    _drag(canvas, [(300, 200), (400, 200)], release=False)
    assert actions.trigger("clear_selection")
    _send(canvas, QEvent.Type.MouseButtonRelease, 400, 200)
    assert session.selection is None
    session.selection = Selection((Span("one", 3, 4),), "map")
    assert actions.trigger("clear_selection") and session.selection is None


def test_an_edge_is_dragged_in_one_edit_that_can_be_undone(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    assert session.labels is not None
    before, edits = _bouts(session), len(session.labels.history)
    y = _walk(canvas)
    _drag(canvas, [(canvas.x_of(f) + d, y) for f, d in ((100, -1), (105, 0), (112, 1))])
    after = [("walk", 50, 112, "manual", "ann") if b[:2] == ("walk", 50) else b for b in before]
    assert _bouts(session) == after
    assert len(session.labels.history) == edits + 1
    session.labels.undo()
    assert _bouts(session) == before
    # An automated bout that a person puts right is curated, and cannot begin after its end.
    _drag(canvas, [(canvas.x_of(f) + 1, y) for f in (150, 220, 260)])
    assert ("walk", 199, 200, "curated", "ann") in _bouts(session)


def test_a_resized_bout_stays_in_the_recording(dock: TimelineDock) -> None:
    canvas = dock.canvas
    y = _walk(canvas)
    _drag(canvas, [(canvas.x_of(200) - 1, y), (canvas.width() + 500, y)])
    assert ("walk", 150, N, "curated", "ann") in _bouts(dock.session)


def test_escape_and_a_press_without_moving_leave_a_bout_as_it_is(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    assert session.labels is not None
    before, edits = _bouts(session), len(session.labels.history)
    y = _walk(canvas)
    _drag(canvas, [(canvas.x_of(100) - 1, y), (canvas.x_of(130), y)], release=False)
    gesture = canvas.pointer.gesture
    assert gesture is not None and gesture.preview is not None and gesture.preview.stop == 130
    session.actions.trigger("clear_selection")
    _send(canvas, QEvent.Type.MouseButtonRelease, canvas.x_of(130), y)
    _click(canvas, canvas.x_of(100) - 1, y)
    assert _bouts(session) == before and len(session.labels.history) == edits


def test_an_edit_by_somebody_else_ends_a_drag(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    assert session.labels is not None
    y = _walk(canvas)
    _drag(canvas, [(canvas.x_of(100) - 1, y), (canvas.x_of(130), y)], release=False)
    session.labels.undo()
    assert canvas.pointer.gesture is None and len(canvas.data.bouts) == 0
    _send(canvas, QEvent.Type.MouseButtonRelease, canvas.x_of(130), y)
    assert _bouts(session) == []


def test_a_double_click_selects_the_bout_and_its_behaviour(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    _send(canvas, QEvent.Type.MouseButtonDblClick, _middle(canvas, 60), _walk(canvas))
    assert session.selection == Selection((Span("one", 50, 100),), "timeline")
    assert session.behaviour == "walk"
    session.selection = None
    _send(canvas, QEvent.Type.MouseButtonDblClick, _middle(canvas, 130), _walk(canvas))
    assert session.selection is None


def test_the_wheel_zooms_at_the_pointer_and_pans_with_shift(dock: TimelineDock) -> None:
    canvas = dock.canvas
    x = canvas.x_of(100)
    _wheel(canvas, x, 150, 240)
    assert canvas.view.frames == pytest.approx(N / 1.25**2)
    assert canvas.x_of(100) == pytest.approx(x, abs=1e-6)
    start = canvas.view.start
    _wheel(canvas, x, 150, -120, Qt.KeyboardModifier.ShiftModifier)
    assert canvas.view.start > start
    height = canvas.layout_of_rows.row_height
    _wheel(canvas, x, 150, 120, Qt.KeyboardModifier.ControlModifier)
    assert canvas.layout_of_rows.row_height == height + 2
    start = canvas.view.start
    places = [(500.0, 150.0), (560.0, 150.0)]
    _drag(canvas, places, Qt.KeyboardModifier.ShiftModifier)
    assert canvas.view.start == pytest.approx(start - 60 * canvas.view.scale)
    _drag(canvas, places[::-1], button=Qt.MouseButton.MiddleButton)
    assert canvas.view.start == pytest.approx(start)
    assert dock.session.frame == 10 and dock.session.selection is None


def test_actions_zoom(dock: TimelineDock) -> None:
    canvas, actions = dock.canvas, dock.session.actions
    assert actions.trigger("zoom_in") and canvas.view.frames < N
    assert canvas.view.shown(10)
    assert actions.trigger("zoom_all") and canvas.view.frames == N
    assert not actions.trigger("zoom_selection")
    dock.session.selection = Selection((Span("one", 60, 70), Span("two", 0, 5)), "map")
    assert actions.trigger("zoom_selection")
    assert canvas.view.start < 60 and canvas.view.stop > 70 and canvas.view.frames < 25
    assert actions.trigger("zoom_out") and canvas.view.frames > 15


def test_the_strip_below_moves_the_view(dock: TimelineDock) -> None:
    canvas, strip = dock.canvas, dock.overview
    canvas.show_view(canvas.view.fitted(0, 30, 0))
    left, width = canvas.gutter.width, strip.width() - canvas.gutter.width
    _drag(strip, [(left + width * share, 8) for share in (0.5, 0.6)])
    assert canvas.view.start == pytest.approx(0.6 * N - 15) and canvas.view.frames == 30
    _drag(strip, [(left + width * share, 8) for share in (0.62, 5.0)])
    assert canvas.view.stop == N
    assert dock.session.frame == 10
    strip.repaint()


def test_a_drag_beyond_the_edge_takes_the_view_along(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    canvas.show_view(canvas.view.fitted(0, 60, 0))
    y, right = canvas.row_top(1) + 5, canvas.width()
    _drag(canvas, [(canvas.x_of(40), y), *[(right + 40.0, y)] * 12])
    assert canvas.view.start > 0 and session.selection is not None
    (span,) = session.selection.spans
    assert span.start == 40 and span.stop > 60


def test_the_playhead_follows_and_pages_while_playing(
    dock: TimelineDock, recording: Recording
) -> None:
    canvas, session = dock.canvas, dock.session
    canvas.show_view(canvas.view.fitted(0, 40, 0))
    view = canvas.view
    session.moment = Moment(recording, 30)
    assert canvas.view == view
    session.playing = True
    session.moment = Moment(recording, 41)
    assert canvas.view.start == pytest.approx(41 - 0.1 * view.frames)
    session.playing = False
    session.moment = Moment(recording, 200)
    assert canvas.view.start == pytest.approx(200 - 0.5 * view.frames)
    session.moment = Moment(recording, None)
    assert canvas.view.start == pytest.approx(200 - 0.5 * view.frames)


def test_rows_are_worked_out_again_only_when_they_changed(
    dock: TimelineDock, recording: Recording, qtbot: Any
) -> None:
    canvas, session = dock.canvas, dock.session
    canvas.repaint()
    renders = canvas.layers.renders
    for frame in (11, 12, 60):
        session.moment = Moment(recording, frame)
        canvas.repaint()
    session.selection = Selection((Span("one", 5, 9),), "map")
    session.behaviour = "groom"
    canvas.show_view(canvas.view)
    _send(canvas, QEvent.Type.MouseMove, _middle(canvas, 60), _walk(canvas))
    canvas.repaint()
    assert canvas.layers.renders == renders
    assert session.labels is not None
    session.labels.undo()
    canvas.repaint()
    assert canvas.layers.renders == renders + 1


def test_a_selection_is_drawn_whoever_made_it(dock: TimelineDock) -> None:
    canvas, session = dock.canvas, dock.session
    before = _pixels(canvas)
    session.selection = Selection((Span("two", 20, 40),), "map")
    np.testing.assert_array_equal(_pixels(canvas), before)
    spans = tuple(Span("one", a, a + 3) for a in range(200, 260, 10))
    session.selection = Selection(spans, "map")
    changed = (_pixels(canvas) != before).any(axis=(0, 2))
    shown = {f for f in range(N) if changed[int(_middle(canvas, f))]}
    assert shown == {f for s in spans for f in range(s.start, s.stop)}


def test_predictions_show_at_once_and_are_decided_by_a_job(
    dock: TimelineDock, session: Session, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided: list[tuple[str, ...]] = []
    work = timeline_predictions.decided_ranges
    monkeypatch.setattr(
        timeline_predictions,
        "decided_ranges",
        lambda p, d, names: decided.append(tuple(names)) or work(p, d, names),
    )
    canvas, before = dock.canvas, _pixels(dock.canvas)
    shown = _shown(session)
    session.predictions = (shown,)
    now = _pixels(canvas)
    assert (now != before).any()
    qtbot.waitUntil(lambda: not session.jobs.active)
    assert canvas.data.decided.at(0, 80) == (70, 90)
    higher = Decision({"walk": 0.9, "groom": 0.5}, shown.decision.min_bout)
    session.predictions = (ShownPrediction("one", "p", shown.prediction, higher, shown.trained),)
    qtbot.waitUntil(lambda: canvas.data.decided.at(0, 80) is None)
    assert canvas.data.decided.at(1, 20) == (15, 30)
    assert decided == [("walk", "groom"), ("walk",)]
    _send(canvas, QEvent.Type.MouseButtonDblClick, _middle(canvas, 20), canvas.row_top(1) + 9)
    assert session.selection == Selection((Span("one", 15, 30),), "timeline")
    session.predictions = ()
    assert not canvas.data.shaded and not len(canvas.data.decided)


def test_many_changes_of_a_threshold_end_with_the_last_one(
    dock: TimelineDock, session: Session, qtbot: Any
) -> None:
    shown = _shown(session)
    for value in np.linspace(0.99, 0.4, 30):
        decision = Decision({"walk": float(value), "groom": 0.5}, shown.decision.min_bout)
        session.predictions = (
            ShownPrediction("one", "p", shown.prediction, decision, shown.trained),
        )
    assert len(session.jobs.active) <= 2
    qtbot.waitUntil(lambda: not session.jobs.active)
    assert dock.canvas.data.decided.at(0, 80) == (70, 90)


def test_another_recording_and_another_project_are_shown(
    dock: TimelineDock, session: Session, videos: tuple[Path, Path], tmp_path: Path
) -> None:
    canvas = dock.canvas
    other, _ = open_recording(videos[1])
    canvas.show_view(canvas.view.fitted(50, 60))
    session.moment = Moment(other, 3)
    assert dock.feed.recording == "two" and canvas.view.frames == N
    assert len(canvas.data.bouts) == 0 and len(canvas.data.rows) == 2
    empty = Project.create(tmp_path / "empty", Settings(), Ethogram())
    session.open_project(empty)
    assert "Add this recording" in dock.feed.message and not canvas.data.rows
    session.moment = None
    assert "Open a recording" in dock.feed.message
    canvas.repaint()


def test_without_a_project_the_timeline_still_seeks(qtbot: Any, recording: Recording) -> None:
    session = Session()
    session.moment = Moment(recording, 0)
    made = TimelineDock(session)
    qtbot.addWidget(made)
    made.resize(900, 200)
    made.show()
    assert made.feed.message == "Open a project to label this recording"
    sought: list[int] = []
    session.sought.connect(lambda _, frame: sought.append(frame))
    canvas = made.canvas
    _drag(canvas, [(_middle(canvas, f), 120) for f in (40, 41)])
    assert sought == [40, 41]
    canvas.redraw()
    session.jobs.close()


def test_tooltips_say_what_lies_under_the_pointer(dock: TimelineDock, qtbot: Any) -> None:
    from napari_ethoprism.timeline_model import hit
    from napari_ethoprism.timeline_tips import bout_tip, row_tip

    session, canvas = dock.session, dock.canvas
    session.predictions = (_shown(session),)
    qtbot.waitUntil(lambda: not session.jobs.active)
    found = hit(canvas.data.bouts, 0, canvas.view.x_of(80), canvas.view)
    recording = session.recording
    assert recording is not None
    times = recording.frame_times
    text = bout_tip(dock.feed, 0, found, 80)
    assert text.startswith("walk\nFrames 50 to 99 (50), ")
    assert f"{times[100] - times[50]:.3f} s long" in text
    assert "manual, by ann" in text and "probability 0.80" in text
    assert f"mean {(20 * 0.8 + 30 * 0.1) / 50:.2f} in this bout" in text
    assert "untrained backbone" in text
    assert "nobody has looked" in bout_tip(dock.feed, 0, None, 280)
    assert "observed, absent" in bout_tip(dock.feed, 0, None, 20)
    assert "no tokens here" in bout_tip(dock.feed, 0, None, N - 1)
    assert row_tip(canvas.data, 0).startswith("walk")


def test_nothing_is_left_when_the_dock_is_gone(
    session: Session, recording: Recording, qtbot: Any
) -> None:
    session.moment = Moment(recording, 10)
    names = {action.name for action in session.actions}
    made = TimelineDock(session)
    made.show()
    held = [weakref.ref(part) for part in (made, made.canvas, made.feed)]
    made.close()
    made.deleteLater()
    del made
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    session.moment = Moment(recording, 11)
    session.predictions = (_shown(session),)
    session.selection = Selection((Span("one", 1, 2),), "map")
    assert {action.name for action in session.actions} == names
    assert not session.jobs.active
    gc.collect()
    assert [ref() for ref in held] == [None, None, None]


def _shown(session: Session) -> ShownPrediction:
    probability = np.full((N, 2), 0.1, np.float32)
    probability[70:90, 0] = 0.8
    probability[15:30, 1] = 0.7
    names = ("walk", "groom")
    prediction = Prediction(
        "one", "", names, probability, np.arange(N) < N - 5, "p", "toy (untrained)", "k"
    )
    decision = Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 3))
    return ShownPrediction("one", "p", prediction, decision, trained=False)


def _pixels(canvas: TimelineCanvas) -> np.ndarray:
    image = canvas.grab().toImage()
    image = image.convertToFormat(image.Format.Format_RGB32)
    bits: Any = image.constBits()
    if hasattr(bits, "setsize"):
        bits.setsize(image.sizeInBytes())
    pixels = np.frombuffer(bits, np.uint8).reshape(image.height(), image.bytesPerLine() // 4, 4)
    return pixels[:, : image.width(), :3].copy()
