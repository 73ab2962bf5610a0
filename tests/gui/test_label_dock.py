"""The label dock in a real viewer: keys, buttons, undo over a restart, texts and remapped keys."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ethoprism import workflow
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy import QtTest  # noqa: E402
from qtpy.QtCore import QEvent, Qt  # noqa: E402
from qtpy.QtGui import QKeyEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QMainWindow  # noqa: E402

from napari_ethoprism import key_filter  # noqa: E402
from napari_ethoprism.label_dock import LabelDock  # noqa: E402
from napari_ethoprism.label_rows import BehaviourRows  # noqa: E402
from napari_ethoprism.session import Selection, Session, Span  # noqa: E402
from napari_ethoprism.workbench import Workbench  # noqa: E402

QTest: Any = QtTest.QTest  # the bindings type it differently
N_FRAMES = 60
_ETHOGRAM = Ethogram(
    (
        Behaviour("walk", "steps with all legs", "w", "#E69F00"),
        Behaviour("rest", "", "r", "#56B4E9"),
        Behaviour("touch", "", "t", "#009E73", "point"),
        Behaviour("split up", "", "s", "#CC79A7"),  # also the key of a command
    ),
    (("walk", "rest"),),
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "p", Settings(), _ETHOGRAM)
    for seed, name in enumerate(("a", "b")):
        video = write_recording(tmp_path / "videos", name, seed, n_frames=N_FRAMES).video
        made, _, _ = workflow.add_recording(made, video)
    return made


@pytest.fixture(autouse=True)
def keys_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own keys, which no test may touch."""
    path = tmp_path / "config" / "keys.json"
    monkeypatch.setattr(key_filter, "keymap_path", lambda: path)
    return path


@pytest.fixture
def start(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: Any
) -> Iterator[Callable[[], tuple[Any, Workbench, LabelDock]]]:
    """Starts a viewer with the workbench and the project in it."""

    def started() -> tuple[Any, Workbench, LabelDock]:
        viewer = make_napari_viewer()
        _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
        qtbot.waitUntil(lambda: bench._docked)
        assert bench.open_project(project.folder)
        qtbot.waitUntil(lambda: bench.session.entry is not None)
        dock = bench.docks["Labels"]
        assert isinstance(dock, LabelDock)
        return viewer, bench, dock

    yield started


def _press(viewer: Any, key: Qt.Key, modifier: Qt.KeyboardModifier | None = None) -> None:
    """A key as it reaches the picture."""
    canvas = viewer.window._qt_viewer.canvas.native
    QTest.keyClick(canvas, key, modifier or Qt.KeyboardModifier.NoModifier)


def _close(viewer: Any, bench: Workbench, qtbot: Any) -> None:
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not bench._parts)


def _labels(bench: Workbench) -> Any:
    return bench.session.labels


def _rows(session: Session, recording: str = "a") -> list[tuple[str, int, int]]:
    assert session.labels is not None
    table = session.labels.bouts(recording)
    columns = (table[c].tolist() for c in ("behaviour", "start_frame", "stop_frame"))
    return list(zip(*columns, strict=True))


def _saved(dock: LabelDock, number: int) -> Callable[[], bool]:
    return lambda: dock.saved.saved.text().endswith(f"(edit {number})")


def test_labelled_by_keys_while_playing_undone_and_undone_again_after_a_restart(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], project: Project, qtbot: Any
) -> None:
    viewer, bench, dock = start()
    session: Any = bench.session
    session.playing = True
    _press(viewer, Qt.Key.Key_W)
    for frame in range(0, 21):
        viewer.dims.set_current_step(0, frame)
    assert [run.frames for run in session.running] == [(0, (session.frame or 0) + 1)]
    session.playing = False
    viewer.dims.set_current_step(0, 20)
    _press(viewer, Qt.Key.Key_R)
    viewer.dims.set_current_step(0, 29)
    _press(viewer, Qt.Key.Key_R)
    _press(viewer, Qt.Key.Key_T)
    assert sorted(_rows(session)) == [("rest", 20, 30), ("touch", 29, 30), ("walk", 0, 20)]
    qtbot.waitUntil(_saved(dock, 3))
    assert dock.saved.light.tone == "saved"
    _press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert sorted(_rows(session)) == [("rest", 20, 30), ("walk", 0, 20)]
    assert "touch" in dock.saved.redo_button.toolTip()
    _close(viewer, bench, qtbot)

    viewer, bench, dock = start()
    session: Any = bench.session
    assert sorted(_rows(session)) == [("rest", 20, 30), ("walk", 0, 20)]
    dock.saved.undo_button.click()
    assert _rows(session) == [("walk", 0, 20)]
    both = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    _press(viewer, Qt.Key.Key_Z, both)
    _press(viewer, Qt.Key.Key_Z, both)
    assert len(_rows(session)) == 3


def test_a_lasso_over_two_recordings_is_labelled_by_one_key_and_undone_as_one(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], qtbot: Any
) -> None:
    viewer, bench, dock = start()
    session: Any = bench.session
    spans = (Span("a", 3, 9), Span("a", 30, 31), Span("b", 5, 50))
    session.selection = Selection(spans, "map")
    _press(viewer, Qt.Key.Key_W)
    assert _rows(session) == [("walk", 3, 9), ("walk", 30, 31)]
    assert _rows(session, "b") == [("walk", 5, 50)]
    qtbot.waitUntil(_saved(dock, 1))
    _press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert _rows(session) == _rows(session, "b") == []


def test_keys_typed_into_a_text_label_nothing(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], qtbot: Any
) -> None:
    viewer, bench, dock = start()
    QTest.keyClicks(dock.who.annotator, "wrt")
    assert dock.who.annotator.text() == "wrt" and bench.session.running == ()
    dock.who.new_button.setChecked(True)
    line = dock.who.subject.lineEdit()
    QTest.keyClicks(line, "tom")
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert bench.session.subject == "tom" and not _rows(bench.session)
    assert dock.who.names() == ("tom",)
    _press(viewer, Qt.Key.Key_T)
    assert _labels(bench).bouts("a")["subject"].tolist() == ["tom"]
    dock.who.annotator.setText("anna")
    dock.who.annotator.editingFinished.emit()
    assert _labels(bench).annotator == "anna" and not _labels(bench).blind
    dock.who.blind.click()
    assert _labels(bench).blind and not _rows(bench.session)


def test_a_key_is_taken_from_napari_and_repeats_where_that_helps(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], qtbot: Any
) -> None:
    viewer, bench, _ = start()
    session: Any = bench.session
    seen: list[str] = []
    viewer.bind_key("W", lambda _: seen.append("napari"), overwrite=True)
    viewer.bind_key("Y", lambda _: seen.append("free"), overwrite=True)
    _press(viewer, Qt.Key.Key_W)
    assert len(session.running) == 1
    _press(viewer, Qt.Key.Key_Y)
    assert "napari" not in seen
    canvas = viewer.window._qt_viewer.canvas.native
    none = Qt.KeyboardModifier.NoModifier
    for _ in range(3):
        QApplication.sendEvent(
            canvas, QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_W, none, "w", True, 1)
        )
        QApplication.sendEvent(
            canvas, QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Right, none, "", True, 1)
        )
    assert len(session.running) == 1
    qtbot.waitUntil(lambda: session.frame == 3)


def test_a_remapped_key_holds_after_a_restart_and_conflicts_are_told(
    project: Project, keys_path: Path, qtbot: Any
) -> None:
    session = Session()
    window = QMainWindow()
    qtbot.addWidget(window)
    dock = LabelDock(session)
    window.setCentralWidget(dock)
    keys = key_filter.KeyFilter(session, window)
    session.open_project(project)
    session.selection = Selection((Span("a", 0, 20),))
    QTest.keyClick(dock, Qt.Key.Key_S)  # the behaviour goes first
    assert _rows(session) == [("split up", 0, 20)]
    QTest.keyClick(dock, "?")
    sheet: Any = dock.sheet
    assert sheet.isVisible() and "line-through" in sheet.buttons["split"].styleSheet()
    sheet.buttons["split"].click()
    QTest.keyClick(sheet, Qt.Key.Key_M)
    assert "has no key now" in sheet.remark.text()
    sheet.ask("split")
    QTest.keyClick(sheet, Qt.Key.Key_K, Qt.KeyboardModifier.ControlModifier)
    assert sheet.remark.text() == "Saved." and "Ctrl+K" in keys_path.read_text()
    keys.close()
    dock.close()
    session.close()
    again = Session()
    keys = key_filter.KeyFilter(again, window)
    assert again.keymap.own == {"split": "Ctrl+K"}
    keys.close()
    again.close()


def test_the_ethogram_is_edited_in_the_dock(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], project: Project, qtbot: Any
) -> None:
    viewer, bench, found = start()
    dock: Any = found
    session: Any = bench.session
    session.selection = Selection((Span("a", 0, 20),))
    _press(viewer, Qt.Key.Key_W)
    session.selection = None
    dock.edit_behaviour("walk")
    editor = dock.editor
    assert editor is not None and editor.group.currentText() == "rest"
    editor.name.setText("stroll")
    QTest.keyClick(editor.key, Qt.Key.Key_E)
    assert "also does" in editor.warning.text()
    editor.choose_colour("#123456")
    editor.accept()
    assert _rows(session) == [("stroll", 0, 20)]
    stored = Project.open(project.folder).ethogram
    assert stored.exclusive == (("stroll", "rest"),)
    assert stored["stroll"] == Behaviour("stroll", "steps with all legs", "e", "#123456")
    dock.edit_behaviour()
    editor = dock.editor
    assert editor is not None
    editor.name.setText("rest")
    editor.accept()
    assert "twice" in editor.problem.text() and editor.isVisible()
    editor.name.setText("rear")
    editor.accept()
    assert session.project.ethogram.names[-1] == "rear"
    names = [dock.rows.topLevelItem(i).text(2) for i in range(dock.rows.topLevelItemCount())]
    assert names == ["stroll", "rest", "touch", "split up", "rear"]
    qtbot.waitUntil(lambda: dock.rows.topLevelItem(0).text(3) == "1")
    dock.remove_button.click()
    assert "rear" not in session.project.ethogram


def test_a_running_bout_is_saved_when_the_window_closes_and_nothing_is_left(
    start: Callable[[], tuple[Any, Workbench, LabelDock]], project: Project, qtbot: Any
) -> None:
    before = set(threading.enumerate())
    viewer, bench, dock = start()
    _press(viewer, Qt.Key.Key_W)
    viewer.dims.set_current_step(0, 7)
    assert dock.rows.run_of("walk") is not None
    _close(viewer, bench, qtbot)
    with workflow.open_annotations(project, "write") as store:  # the lock is free
        assert store.bouts("a")["stop_frame"].tolist() == [8]
    left = set(threading.enumerate()) - before
    assert not any(thread.name == "labels" for thread in left)


def test_without_a_project_the_dock_says_what_to_do(qtbot: Any) -> None:
    session = Session()
    dock = LabelDock(session)
    qtbot.addWidget(dock)
    assert dock._stack.currentIndex() == 0
    dock.edit_behaviour()
    dock.who.step(1)
    assert dock.editor is None and session.subject == ""
    dock.close()
    assert not list(session.actions)
    session.close()


def test_rows_have_an_end_also_without_behaviours(qtbot: Any) -> None:
    rows = BehaviourRows()
    qtbot.addWidget(rows)
    rows.show_rows([])
    assert rows.sizeHint().height() < 20 * rows.fontMetrics().height()
