"""The explore dock on a small project: map, hover, click, lasso, labels, more like this."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explore_stores import project_with_tokens

from ethoprism import mapping
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.thumbnails import shrink
from ethoprism.video import FrameReader

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt  # noqa: E402
from qtpy.QtGui import QImage, QMouseEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QWidget  # noqa: E402

from napari_ethoprism.explore_dock import ExploreDock  # noqa: E402
from napari_ethoprism.label_actions import BEHAVIOUR  # noqa: E402
from napari_ethoprism.label_dock import LabelDock  # noqa: E402
from napari_ethoprism.session import Moment, Selection, Session, Span  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project_with_tokens(tmp_path_factory.mktemp("map")).folder.parent


@pytest.fixture
def project(made: Path, tmp_path: Path) -> Project:
    import shutil

    shutil.copytree(made, tmp_path / "copy")
    return Project.open(tmp_path / "copy" / "project")


@pytest.fixture
def session(project: Project) -> Iterator[Session]:
    session = Session()
    session.open_project(project)
    yield session
    assert session.jobs.close(10)
    session.close()


@pytest.fixture
def dock(session: Session, qtbot: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExploreDock]:
    """The dock with a map of principal components, moved a little by what stands for UMAP."""

    def quick(vectors: np.ndarray, _: Any) -> Generator[Progress, None, np.ndarray]:
        yield Progress(1, 2, "laying out")
        return np.ascontiguousarray(vectors[:, 1::-1])

    monkeypatch.setattr(mapping, "umap_coordinates", quick)
    dock = ExploreDock(session)
    qtbot.addWidget(dock)
    dock.resize(460, 820)
    dock.show()
    dock.options.hop.setValue(5)
    dock.options.make.click()
    qtbot.waitUntil(
        lambda: dock.explorer.map is not None and not dock.explorer.busy, timeout=30_000
    )
    qtbot.waitUntil(lambda: dock.canvas._turn.state() == dock.canvas._turn.State.Stopped)
    yield dock
    dock.close()
    assert not [t for t in threading.enumerate() if t.name == "thumbnails"]


def stand(session: Session, recording: str, frame: int) -> None:
    """Show a frame as the viewer would."""
    assert session.project is not None
    session.moment = Moment(session.project.recording(recording), frame)


def point(canvas: QWidget, kind: str, at: QPoint, button: Any = None, held: Any = None) -> None:
    """Send the canvas a mouse event: ``Press``, ``Move`` or ``Release``.

    qtbot moves the real pointer, of which the display server tells the window some time later.
    """
    button = Qt.MouseButton.LeftButton if button is None else button
    held = Qt.KeyboardModifier.NoModifier if held is None else held
    type_ = {
        "Press": QEvent.Type.MouseButtonPress,
        "Move": QEvent.Type.MouseMove,
        "Release": QEvent.Type.MouseButtonRelease,
    }[kind]
    place = QPointF(at)
    event = QMouseEvent(type_, place, QPointF(canvas.mapToGlobal(at)), button, button, held)
    QApplication.sendEvent(canvas, event)


def lasso_all(dock: ExploreDock, held: Any = None) -> None:
    """Draw a lasso along the edges of the canvas."""
    w, h = dock.canvas.width() - 2, dock.canvas.height() - 2
    lasso(dock, [(1, 1), (w, 1), (w, h), (1, h)], held)


def lasso(dock: ExploreDock, corners: list[tuple[int, int]], held: Any = None) -> None:
    point(dock.canvas, "Press", QPoint(*corners[0]), held=held)
    for corner in corners[1:]:
        point(dock.canvas, "Move", QPoint(*corner), held=held)
    point(dock.canvas, "Release", QPoint(*corners[-1]), held=held)


def test_principal_components_come_first_and_umap_takes_their_place(
    session: Session, project: Project, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def slow(vectors: np.ndarray, _: Any) -> Generator[Progress, None, np.ndarray]:
        while not go.wait(0.01):
            yield Progress(0, 1, "finding neighbours")
        return np.ascontiguousarray(vectors[:, :2] * 3)

    monkeypatch.setattr(mapping, "umap_coordinates", slow)
    dock = ExploreDock(session)
    qtbot.addWidget(dock)
    dock.show()
    assert dock.explorer.map is None and "New map" in dock.canvas.message
    dock.new_button.click()
    assert dock.options.isVisible() and dock.options.points.text() == "60 points"
    dock.options.make.click()
    assert not dock.options.isVisible()
    qtbot.waitUntil(lambda: "finding neighbours" in dock.about.text(), timeout=30_000)
    assert dock.explorer.map is not None and dock.explorer.map.method == "PCA"
    assert mapping.open_map(project).umap is None  # it is saved already
    assert dock.progress.isVisible() and not dock.options.make.isEnabled()
    go.set()
    qtbot.waitUntil(lambda: not dock.explorer.busy, timeout=10_000)
    assert dock.explorer.map.method == "UMAP" and "untrained" in dock.about.text()
    np.testing.assert_array_equal(mapping.open_map(project).coordinates, dock.explorer.map.umap)
    dock.close()
    again = ExploreDock(session)
    qtbot.addWidget(again)
    qtbot.waitUntil(lambda: again.explorer.map is not None, timeout=10_000)
    again.close()


def test_cancelling_umap_keeps_the_map_that_is_shown(
    session: Session, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = threading.Event()

    def endless(vectors: np.ndarray, _: Any) -> Generator[Progress, None, np.ndarray]:
        try:
            while True:
                yield Progress(0, 1, "laying out")
                closed.wait(0.01)
        finally:
            closed.set()

    monkeypatch.setattr(mapping, "umap_coordinates", endless)
    dock = ExploreDock(session)
    qtbot.addWidget(dock)
    dock.show()
    dock.options.make.click()
    qtbot.waitUntil(lambda: "laying out" in dock.about.text(), timeout=30_000)
    dock.cancel_button.click()
    qtbot.waitUntil(lambda: not dock.explorer.busy, timeout=10_000)
    assert closed.is_set() and not dock.cancel_button.isVisible()
    assert dock.explorer.map is not None and dock.explorer.map.method == "PCA"
    dock.close()


def test_hover_shows_the_exact_frame(dock: ExploreDock, project: Project, qtbot: Any) -> None:
    found = dock.explorer.map
    assert found is not None
    point(dock.canvas, "Move", dock.canvas.place(9).toPoint())
    hovered = dock.canvas.hover
    assert hovered >= 0
    frame = int(found.moments.middle[hovered])
    recording = found.moments.units[found.moments.unit[hovered]].recording
    qtbot.waitUntil(lambda: bool(dock.canvas._card and dock.canvas._card[0]), timeout=10_000)
    image, lines = dock.canvas._card  # type: ignore[misc]
    assert isinstance(image, QImage) and recording in lines[0] and f"frame {frame}" in lines[1]
    with FrameReader(project.recording(recording)) as frames:
        expected = shrink(frames[frame], 192)
    for y, x in ((0, 0), (50, 60), (100, 31)):
        colour = image.pixelColor(x, y)
        assert [colour.red(), colour.green(), colour.blue()] == expected[y, x].tolist()
    assert dock.canvas.grab().toImage() != QImage()
    point(dock.canvas, "Move", QPoint(1, 1))
    assert dock.canvas.hover == -1 and dock.canvas._card is None


def test_click_seeks_and_the_playhead_is_marked(
    dock: ExploreDock, session: Session, qtbot: Any
) -> None:
    sought: list[tuple[str, int]] = []
    session.sought.connect(lambda recording, frame: sought.append((recording, frame)))
    found = dock.explorer.map
    assert found is not None
    at = dock.canvas.place(30).toPoint()
    qtbot.mouseClick(dock.canvas, Qt.MouseButton.LeftButton, pos=at)
    ((recording, frame),) = sought
    stand(session, recording, frame)
    (mark,) = dock.canvas._marks
    away = dock.canvas.place(mark) - QPointF(at)
    assert abs(away.x()) + abs(away.y()) < 20 and found.moments.middle[mark] == frame
    session.moment = None
    assert dock.canvas._marks == ()


def test_lasso_selects_and_one_key_labels_it_as_one_edit(
    dock: ExploreDock, session: Session, qtbot: Any
) -> None:
    labeller = LabelDock(session)
    qtbot.addWidget(labeller)
    assert session.labels is not None
    before = {name: session.labels.bouts(name).copy() for name in "ab"}
    lasso_all(dock)
    selection = session.selection
    assert selection is not None and selection.origin == "map"
    assert selection.spans == (Span("a", 0, 120), Span("b", 0, 120))
    assert session.actions.trigger(BEHAVIOUR + "groom")
    for name in "ab":
        groom = session.labels.bouts(name).query("behaviour == 'groom'")
        assert groom[["start_frame", "stop_frame"]].to_numpy().tolist() == [[0, 120]]
    session.labels.undo()
    session.labels.wait()
    for name in "ab":
        assert len(session.labels.bouts(name)) == len(before[name])
        assert not (session.labels.bouts(name)["behaviour"] == "groom").any()
    labeller.close()


def test_lassos_add_and_take_away(dock: ExploreDock, session: Session, qtbot: Any) -> None:
    found = dock.explorer.map
    assert found is not None
    w, h = dock.canvas.width(), dock.canvas.height()
    half = [(1, 1), (w // 2, 1), (w // 2, h - 1), (1, h - 1)]
    lasso(dock, half)
    left = dock.explorer.chosen
    assert left is not None and 0 < len(left) < len(found.moments)
    expected = [i for i in range(len(found.moments)) if dock.canvas.place(i).x() < w // 2]
    assert left.tolist() == expected
    lasso_all(dock, Qt.KeyboardModifier.ShiftModifier)
    assert dock.explorer.chosen is not None and len(dock.explorer.chosen) == len(found.moments)
    lasso(dock, half, Qt.KeyboardModifier.ControlModifier)
    assert dock.explorer.chosen.tolist() == sorted(set(range(len(found.moments))) - set(expected))
    spans = found.moments.spans(dock.explorer.chosen)
    assert session.selection is not None and len(session.selection.spans) == len(spans)
    dock.finds.clear_button.click()
    assert session.selection is None and dock.explorer.chosen is None


def test_a_selection_on_the_timeline_shows_on_the_map(dock: ExploreDock, session: Session) -> None:
    found = dock.explorer.map
    assert found is not None
    session.selection = Selection((Span("b", 20, 40),), "timeline")
    assert dock.explorer.chosen is not None
    assert found.moments.start[dock.explorer.chosen].tolist() == [20, 25, 30, 35]
    assert set(found.moments.unit[dock.explorer.chosen]) == {1}
    assert dock.canvas._chosen is not None and dock.canvas._chosen.sum() == 4
    session.selection = None
    assert dock.canvas._chosen is None


def test_more_like_the_playhead_and_like_the_selection(
    dock: ExploreDock, session: Session, qtbot: Any
) -> None:
    told: list[Any] = []
    session.noticed.connect(told.append)
    assert session.actions.trigger("find_similar")  # no frame is shown
    assert told and told[-1].kind == "error"
    stand(session, "a", 30)
    assert session.actions.trigger("find_similar")
    found = dock.explorer.map
    assert found is not None
    indices = dock.finds.indices
    assert len(indices) >= 3 and "Most like frame 30" in dock.finds.title.text()
    assert (found.moments.start[indices[:3]] // 20 % 3 == 1).all()
    qtbot.waitUntil(lambda: len(dock.finds.strip.row._images) >= 3, timeout=10_000)
    sought: list[tuple[str, int]] = []
    session.sought.connect(lambda recording, frame: sought.append((recording, frame)))
    box = dock.finds.strip.row.box(1).center().toPoint()
    qtbot.mouseClick(dock.finds.strip.row, Qt.MouseButton.LeftButton, pos=box)
    unit = found.moments.units[found.moments.unit[indices[1]]]
    assert sought == [(unit.recording, int(found.moments.middle[indices[1]]))]
    dock.finds.select_button.click()
    assert dock.explorer.chosen is not None
    assert dock.explorer.chosen.tolist() == sorted(indices.tolist())
    assert session.actions.trigger("find_similar")
    assert not set(dock.finds.indices.tolist()) & set(indices.tolist())


def test_clusters_show_what_is_typical_and_select(
    dock: ExploreDock, session: Session, qtbot: Any
) -> None:
    dock.cluster_number.setValue(3)
    qtbot.waitUntil(lambda: not dock.explorer.busy, timeout=20_000)
    entries = dock.legend.entries
    assert [e.name for e in entries] == ["0", "1", "2"]
    box, entry = dock.legend._shown[1]
    qtbot.mouseClick(dock.legend, Qt.MouseButton.LeftButton, pos=box.center().toPoint())
    assert dock.explorer.chosen is not None and entry.members is not None
    assert dock.explorer.chosen.tolist() == sorted(entry.members.tolist())
    assert "Typical of Cluster 1" in dock.finds.title.text()
    assert set(dock.finds.indices.tolist()) <= set(entry.members.tolist())


@pytest.mark.parametrize("mode", ["Label", "Prediction", "Confidence", "Recording", "Time"])
def test_every_colour_has_its_legend(dock: ExploreDock, qtbot: Any, mode: str) -> None:
    dock.colour_by.setCurrentText(mode)
    qtbot.waitUntil(lambda: not dock.colourist.busy, timeout=10_000)
    colouring = dock.colourist.colouring(True)
    assert len(colouring.colours) == len(dock.canvas._points)
    names = [e.name for e in dock.legend.entries]
    expected = {
        "Label": ["walk", "groom", "none of these", "not observed"],
        "Prediction": ["no prediction"],
        "Confidence": [],
        "Recording": ["a", "b"],
        "Time": [],
    }
    assert names == expected[mode]
    assert bool(colouring.ramp) == (mode in ("Confidence", "Time"))
    if mode in ("Prediction", "Confidence"):
        assert "probe" in dock.about.text()  # why there is none


def test_colours_follow_the_labels(dock: ExploreDock, session: Session, qtbot: Any) -> None:
    dock.colour_by.setCurrentText("Label")
    qtbot.waitUntil(lambda: not dock.colourist.busy, timeout=10_000)

    def members(name: str) -> int:
        entry = next(e for e in dock.legend.entries if e.name == name)
        return 0 if entry.members is None else len(entry.members)

    assert (members("walk"), members("groom"), members("none of these")) == (4, 0, 8)
    labeller = LabelDock(session)
    qtbot.addWidget(labeller)
    session.selection = Selection((Span("b", 0, 50),), "timeline")
    assert session.actions.trigger(BEHAVIOUR + "groom")
    qtbot.waitUntil(lambda: members("groom") == 10, timeout=10_000)
    labeller.close()


def test_dragging_moves_the_map_and_fitting_brings_it_back(dock: ExploreDock) -> None:
    before = dock.canvas.place(5)
    view = dock.canvas.view
    button = Qt.MouseButton.RightButton
    point(dock.canvas, "Press", QPoint(50, 50), button)
    point(dock.canvas, "Move", QPoint(80, 40), button)
    point(dock.canvas, "Release", QPoint(80, 40), button)
    moved = dock.canvas.place(5) - before
    assert (round(moved.x()), round(moved.y())) == (30, -10)
    dock.canvas.fit()
    assert dock.canvas.view == view
