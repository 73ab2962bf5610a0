"""The project dock: adding, extracting, exporting, relinking; what fails is said in plain words."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_backbone import ToyBackbone
from toy_probe import save_toy_probe
from video_samples import Sample, cut, write

from ethoprism import batch, workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.cli import main
from ethoprism.errors import StorageError
from ethoprism.ethogram import Ethogram
from ethoprism.project import MANIFEST, Project, Settings
from ethoprism.store import AnnotationStore
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl  # noqa: E402
from qtpy.QtGui import QDragEnterEvent, QDropEvent  # noqa: E402
from qtpy.QtWidgets import QApplication, QWidget  # noqa: E402

from napari_ethoprism import extract_run  # noqa: E402
from napari_ethoprism.closing import Answer, CloseGuard  # noqa: E402
from napari_ethoprism.project_dock import ProjectDock  # noqa: E402
from napari_ethoprism.project_recent import RecentProjects  # noqa: E402
from napari_ethoprism.session import Moment, Session  # noqa: E402

LONG = 20_000


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two simulated recordings, of 60 and of 40 frames."""
    folder = tmp_path_factory.mktemp("videos")
    return [write_recording(folder, n, 3, n_frames=k).video for n, k in (("a", 60), ("b", 40))]


@pytest.fixture
def project(tmp_path: Path, videos: list[Path]) -> Project:
    """The two recordings; in the first "walk" was seen in 10–19, of 0–29 that were observed."""
    ethogram = Ethogram().with_names(["walk", "groom"])
    made = Project.create(tmp_path / "project", Settings("toy"), ethogram)
    for path in videos:
        made, _, _ = workflow.add_recording(made, path)
    with workflow.open_annotations(made, "write") as store:
        walk = {"recording": "a", "behaviour": "walk", "start_frame": 10, "stop_frame": 20}
        span = {"recording": "a", "behaviour": "walk", "start_frame": 0, "stop_frame": 30}
        store.add(bout_table([walk]), span_table([span]), description="made for a test")
    return made


@pytest.fixture
def dock(qtbot: Any, tmp_path: Path) -> Iterator[ProjectDock]:
    """A dock by itself, whose session is closed at the end; no thread is left."""
    before = set(threading.enumerate())
    session = Session()
    made = ProjectDock(session, recent=RecentProjects(tmp_path / "recent.json"))
    qtbot.addWidget(made)
    yield made
    assert session.jobs.close(30.0)
    session.close()
    left = set(threading.enumerate()) - before
    # zarr keeps its threads for the life of the process
    assert not [t for t in left if not t.name.startswith(("zarr", "asyncio"))]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> ToyBackbone:
    """A backbone that is quick to load stands in for the project's."""
    backbone = ToyBackbone()
    monkeypatch.setattr(workflow, "load_backbone", lambda settings: backbone)
    return backbone


@pytest.fixture
def opened(dock: ProjectDock, project: Project, qtbot: Any) -> ProjectDock:
    """The dock with the project open and its states read."""
    assert dock.header.open(project.folder)
    qtbot.waitUntil(lambda: len(list(dock.states)) == 2, timeout=LONG)
    return dock


def _row(dock: ProjectDock, name: str) -> list[str]:
    model = dock.table.rows
    row = model.names.index(name)
    return [str(model.data(model.index(row, column))) for column in range(model.columnCount())]


def _drop(widget: Any, paths: list[Path]) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    button, key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), Qt.DropAction.CopyAction, data, button, key)
    widget.dragEnterEvent(enter)
    assert enter.isAccepted()
    widget.dropEvent(QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, button, key))


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_table_tells_the_state_of_each_recording(opened: ProjectDock) -> None:
    assert _row(opened, "a") == ["a", "2.4 s", "60", "1 bout", "none", "–"]
    assert _row(opened, "b") == ["b", "1.6 s", "40", "–", "none", "–"]
    assert opened.problem_row.isHidden()


def test_table_follows_edits_of_the_labels(opened: ProjectDock, qtbot: Any) -> None:
    labels = opened.session.labels
    assert labels is not None
    bout = {"recording": "b", "behaviour": "groom", "start_frame": 0, "stop_frame": 10}
    labels.apply(add_bouts=bout_table([bout]), description="groom")
    qtbot.waitUntil(lambda: _row(opened, "b")[3] == "1 bout", timeout=LONG)
    labels.undo()
    qtbot.waitUntil(lambda: _row(opened, "b")[3] == "–", timeout=LONG)


def test_enter_and_double_click_ask_for_the_recording(opened: ProjectDock, qtbot: Any) -> None:
    sought: list[tuple[str, int]] = []
    opened.session.sought.connect(lambda name, frame: sought.append((name, frame)))
    opened.table.setCurrentIndex(opened.table.rows.index(1, 0))
    qtbot.keyClick(opened.table, Qt.Key.Key_Return)
    opened.table.doubleClicked.emit(opened.table.rows.index(0, 2))
    assert [name for name, _ in sought] == ["b", "a"]


def test_files_and_folders_dropped_on_the_dock_are_added_with_a_report(
    opened: ProjectDock, tmp_path: Path, qtbot: Any
) -> None:
    folder = tmp_path / "more"
    write_recording(folder, "c", 5, n_frames=20)
    (folder / "notes.txt").write_text("not a video")
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video at all\n" * 100)
    _drop(opened.table, [folder, bad])
    qtbot.waitUntil(lambda: not opened.adding.isHidden(), timeout=LONG)
    assert opened.session.project is not None
    assert opened.session.project.recording_ids == ("a", "b", "c")
    assert Project.open(opened.session.project.folder).recording_ids == ("a", "b", "c")
    assert opened.adding.title.text() == "1 of 2 added"
    report = opened.adding.report.toPlainText()
    assert "✓  c: 20 frames" in report and "×  bad.mp4" in report and "notes" not in report
    assert opened.adding.damaged_button.isHidden()
    assert opened.session.labels is not None and opened.session.labels.writable
    qtbot.waitUntil(lambda: "c" in opened.states, timeout=LONG)
    assert _row(opened, "c")[2] == "20"


def test_damaged_video_is_added_only_when_that_is_asked_for(
    opened: ProjectDock, tmp_path: Path, qtbot: Any
) -> None:
    whole = write(tmp_path, Sample("whole.avi", "mjpeg", "yuvj420p"), 60)
    path = cut(whole, 0.61, "cut.avi")
    _drop(opened, [path])
    qtbot.waitUntil(lambda: not opened.adding.isHidden(), timeout=LONG)
    project = opened.session.project
    assert project is not None
    assert project.recording_ids == ("a", "b")
    report = opened.adding.report.toPlainText()
    assert "cut.avi is damaged" in report and "--" not in report
    assert not opened.adding.damaged_button.isHidden()
    opened.adding.damaged_button.click()
    qtbot.waitUntil(
        lambda: (
            opened.session.project is not None
            and opened.session.project.recording_ids == ("a", "b", "cut")
        ),
        timeout=LONG,
    )


def test_dropped_project_is_opened_and_remembered(
    dock: ProjectDock, project: Project, qtbot: Any
) -> None:
    _drop(dock, [project.folder])
    assert dock.session.project is not None and dock.session.project.folder == project.folder
    assert dock.header.recent.folders() == [project.folder.resolve()]
    dock.header._list_recent()
    assert str(project.folder) in [action.text() for action in dock.header.menu.actions()]


def test_videos_dropped_without_a_project_are_not_lost_silently(
    dock: ProjectDock, videos: list[Path]
) -> None:
    _drop(dock, videos)
    assert "make a project first" in dock.notices.text


def test_a_project_starts_with_the_recording_that_is_shown_in_one_click(
    dock: ProjectDock, tmp_path: Path, qtbot: Any
) -> None:
    from ethoprism.recording import open_recording

    video = write_recording(tmp_path / "here", "fly", 3, n_frames=12).video
    recording, _ = open_recording(video)
    assert dock.header.start_button.isHidden()
    dock.session.moment = Moment(recording, 4)
    assert not dock.header.start_button.isHidden()
    dock.header.start_button.click()
    qtbot.waitUntil(lambda: dock.session.project is not None, timeout=LONG)
    made = Project.open(tmp_path / "here" / "fly_project")
    assert made.recording_ids == ("fly",) and dock.session.project == made
    assert dock.session.entry == made.entry("fly") and dock.header.start_button.isHidden()
    np.testing.assert_array_equal(made.frame_times("fly"), recording.frame_times)


def test_moved_video_is_a_problem_until_it_is_found_and_another_one_is_refused(
    dock: ProjectDock, tmp_path: Path, qtbot: Any
) -> None:
    video = write_recording(tmp_path / "here", "fly", 3, n_frames=12).video
    other = write_recording(tmp_path / "here", "other", 4, n_frames=12).video
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    workflow.add_recording(project, video)
    moved = video.rename(tmp_path / "moved.mp4")
    dock.header.open(tmp_path / "p")
    qtbot.waitUntil(lambda: "fly" in dock.states, timeout=LONG)
    assert _row(dock, "fly")[0] == "⚠ fly" and "not where it was" in dock.problem.text()
    dock.adding.relink_to("fly", other)
    qtbot.waitUntil(lambda: "other.mp4 is not the video of 'fly'" in dock.notices.text)
    assert Project.open(tmp_path / "p").recording_ids == ("fly",)
    dock.adding.relink_to("fly", moved)
    qtbot.waitUntil(lambda: _row(dock, "fly")[0] == "fly", timeout=LONG)
    assert dock.problem_row.isHidden()
    assert Project.open(tmp_path / "p").recording("fly").path == moved


def test_panel_says_what_extraction_would_take_before_it_starts(
    opened: ProjectDock, toy: ToyBackbone, qtbot: Any
) -> None:
    opened.extract_button.click()
    qtbot.waitUntil(lambda: "Time" in opened.extracting.facts, timeout=LONG)
    facts = opened.extracting.facts
    assert facts["Backbone"].startswith("toy (untrained): its weights are random")
    assert "windows of 6 every 3" in facts["Settings"] and "whole frames" in facts["Settings"]
    assert facts["To do"] == "2 of 2: 100 frames to encode"
    assert facts["Disk"].startswith("0.0 MB of ")
    assert not opened.extracting.start_button.isHidden()
    assert not (opened.session.project.folder / "tokens").exists()  # type: ignore[union-attr]
    opened.extracting.start_button.click()
    qtbot.waitUntil(lambda: _row(opened, "b")[4] == "complete", timeout=LONG)
    assert _row(opened, "a")[4] == "complete"
    assert "tokens of 2 recordings are complete" in opened.notices.text


def test_extraction_stopped_and_gone_on_with_gives_an_equal_store(
    opened: ProjectDock,
    project: Project,
    toy: ToyBackbone,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    key = workflow.project_key(project, toy)
    _small_blocks(monkeypatch)
    list(batch.extract_batch(project, toy, ["a"]))
    reference = _digest(project.folder / "tokens")
    (project.folder / "tokens").rename(tmp_path / "reference")
    gate = _Gate(monkeypatch)
    opened.table.choose("a")
    opened.extract()
    qtbot.waitUntil(lambda: "Time" in opened.extracting.facts, timeout=LONG)
    opened.extracting.start_button.click()
    assert gate.reached.wait(20)
    opened.extracting.cancel_button.click()
    gate.open.set()
    qtbot.waitUntil(lambda: "Stopped" in opened.extracting.status.text(), timeout=LONG)
    store = workflow.open_tokens(project, key, batch.Unit("a"))
    assert 0 < store.done.sum() < store.n_blocks
    opened.extracting.start_button.click()
    qtbot.waitUntil(lambda: _row(opened, "a")[4] == "complete", timeout=LONG)
    assert _digest(project.folder / "tokens") == reference


def test_what_fails_in_a_worker_is_told_with_its_remedy(
    opened: ProjectDock, toy: ToyBackbone, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.extract()
    qtbot.waitUntil(lambda: "Time" in opened.extracting.facts, timeout=LONG)

    def full(*_: Any) -> Any:
        raise StorageError("The disk is full", remedy="Free some space.")
        yield

    monkeypatch.setattr(extract_run, "extract_batch", full)
    opened.extracting.start_button.click()
    qtbot.waitUntil(lambda: "The disk is full. Free some space." in opened.notices.text)
    assert opened.notices.text.startswith("Extract tokens of 2 recordings: ")
    opened.notices.copy_button.click()
    clipboard: Any = QApplication.clipboard()
    assert clipboard.text() == opened.notices.text
    opened.notices.dismiss_button.click()
    assert opened.notices.text == "" and "The disk is full" in opened.notices.log.text


def test_exports_equal_the_command_lines_byte_for_byte(
    opened: ProjectDock, project: Project, qtbot: Any, tmp_path: Path
) -> None:
    _predict(project)
    opened.states.refresh()
    qtbot.waitUntil(lambda: _row(opened, "a")[5] == "p", timeout=LONG)
    folder = str(project.folder)
    for what in ("Labels", "Predictions of p"):
        for format_name in ("frames-csv", "bouts-csv"):
            opened.export()
            opened.exporting.what.setCurrentText(what)
            opened.exporting.format.setCurrentText(format_name)
            opened.exporting.path = None
            opened.exporting.export_button.click()
            qtbot.waitUntil(lambda: opened.exporting.path is not None, timeout=LONG)
            path = opened.exporting.path
            assert path is not None and str(path) in opened.exporting.written.text()
            by_gui = path.read_bytes()
            path.unlink()
            out = tmp_path / f"{what}-{format_name}.csv"
            arguments = ["export", folder, "--format", format_name, "-o", str(out)]
            main(arguments + (["--labels"] if what == "Labels" else ["--probe", "p"]))
            assert by_gui == out.read_bytes() and len(by_gui) > 100


def test_an_export_waits_for_edits_that_are_not_on_the_disk_yet(
    opened: ProjectDock, project: Project, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = opened.session.labels
    assert labels is not None
    slow, apply = threading.Event(), AnnotationStore.apply

    def late(*arguments: Any, **named: Any) -> Any:
        slow.wait(20)
        return apply(*arguments, **named)

    monkeypatch.setattr(AnnotationStore, "apply", late)
    groom = {"recording": "a", "behaviour": "groom", "start_frame": 40, "stop_frame": 45}
    labels.apply(add_bouts=bout_table([groom]), description="just now")
    opened.export()
    opened.exporting.what.setCurrentText("Labels")
    opened.exporting.format.setCurrentText("bouts-csv")
    opened.exporting.export_button.click()
    threading.Timer(1.0, slow.set).start()
    qtbot.waitUntil(lambda: opened.exporting.path is not None, timeout=LONG)
    path = opened.exporting.path
    assert path is not None and "groom" in path.read_text()


def test_closing_while_extracting_asks_and_leaves_a_store_that_goes_on(
    opened: ProjectDock,
    project: Project,
    toy: ToyBackbone,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    _small_blocks(monkeypatch)
    list(batch.extract_batch(project, toy, ["a"]))
    reference = _digest(project.folder / "tokens")
    (project.folder / "tokens").rename(tmp_path / "reference")
    window = QWidget()
    qtbot.addWidget(window)
    answers, asked = [Answer.STAY, Answer.STOP], []
    guard = CloseGuard(
        opened.session,
        window,
        lambda _, jobs: asked.append([job.title for job in jobs]) or answers.pop(0),
    )
    window.show()
    gate = _Gate(monkeypatch)
    opened.table.choose("a")
    opened.extract()
    qtbot.waitUntil(lambda: "Time" in opened.extracting.facts, timeout=LONG)
    opened.extracting.start_button.click()
    assert gate.reached.wait(20)
    assert not window.close() and window.isVisible()  # stays
    assert asked == [["Extract tokens of a"]] and not guard.closing
    assert not window.close() and window.isVisible()  # stops first, without blocking
    gate.open.set()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)
    assert len(asked) == 2 and not opened.session.jobs.active
    store = workflow.open_tokens(project, workflow.project_key(project, toy), batch.Unit("a"))
    assert 0 < store.done.sum() < store.n_blocks
    list(batch.extract_batch(project, toy, ["a"]))
    assert _digest(project.folder / "tokens") == reference


def test_closing_when_finished_waits_and_then_closes(dock: ProjectDock, qtbot: Any) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    guard = CloseGuard(dock.session, window, lambda *_: Answer.WHEN_DONE)
    window.show()
    go = threading.Event()
    job = dock.session.jobs.start("Wait", lambda: go.wait(20))
    assert not window.close() and guard.closing and window.isVisible()
    assert not job.cancelling
    go.set()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)


def test_nobody_is_asked_for_work_that_nobody_awaits(dock: ProjectDock, qtbot: Any) -> None:
    window = QWidget()
    qtbot.addWidget(window)
    CloseGuard(dock.session, window, lambda *_: pytest.fail("asked"))
    window.show()
    go = threading.Event()
    dock.session.jobs.start("Thumbnails", lambda: go.wait(20), lane="frames")
    window.close()
    go.set()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)


def test_jobs_are_shown_with_a_way_to_stop_them(dock: ProjectDock, qtbot: Any) -> None:
    from ethoprism.progress import Progress

    go = threading.Event()

    def work() -> Iterator[Progress]:
        for n in range(1000):
            yield Progress(n, 1000, "fly")
            go.wait(0.02)

    job = dock.session.jobs.start("Count", work)
    qtbot.waitUntil(lambda: len(dock.jobs.rows) == 1, timeout=LONG)
    (row,) = dock.jobs.rows
    qtbot.waitUntil(lambda: row.left.text().endswith(" left"), timeout=LONG)
    assert row.title.text() == "Count – fly" and row.bar.value() > 0
    row.stop.click()
    assert row.left.text() == "stopping…"
    qtbot.waitUntil(lambda: not job.active and not dock.jobs.rows, timeout=LONG)
    assert dock.jobs.isHidden()


def test_opening_shows_no_frozen_window_and_imports_no_jax(
    tmp_path: Path, project: Project
) -> None:
    """The GUI thread stays free of jax: measured in a process of its own."""
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from qtpy.QtWidgets import QApplication;"
        "app = QApplication([]);"
        "from napari_ethoprism.session import Session;"
        "from napari_ethoprism.project_dock import ProjectDock;"
        "from napari_ethoprism.project_recent import RecentProjects;"
        "s = Session(); d = ProjectDock(s, recent=RecentProjects(Path(sys.argv[2])));"
        "assert d.header.open(Path(sys.argv[1]));"
        "assert 'jax' not in sys.modules; s.jobs.close(); s.close()"
    )
    arguments = [sys.executable, "-c", code, str(project.folder), str(tmp_path / "r.json")]
    subprocess.run(arguments, check=True, timeout=120)
    assert (project.folder / MANIFEST).exists()


class _Gate:
    """Holds an extraction after its first block, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from ethoprism.tokens import TokenStore

        self.reached, self.open = threading.Event(), threading.Event()
        mark_done: Callable[..., None] = TokenStore.mark_done

        def held(store: Any, *arguments: Any) -> None:
            mark_done(store, *arguments)
            self.reached.set()
            assert self.open.wait(30)

        monkeypatch.setattr(TokenStore, "mark_done", held)


def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from ethoprism import tokens

    monkeypatch.setattr(tokens, "_CHUNK_ROWS", 8)
    monkeypatch.setattr(tokens, "_TARGET_SHARD_BYTES", 8)


def _predict(project: Project) -> None:
    """A probe "p", and what it predicts of both recordings."""
    from ethoprism.prediction import Prediction, save_prediction

    names, probe = project.ethogram.names, save_toy_probe(project)
    for entry in project.entries:
        rng = np.random.default_rng(entry.n_frames)
        probability = rng.random((entry.n_frames, 2), np.float32)
        covered = np.arange(entry.n_frames) < entry.n_frames - 1
        save_prediction(
            Prediction(
                entry.id,
                "",
                names,
                probability,
                covered,
                probe.digest,
                "toy (untrained)",
                entry.content_key,
            ),
            project.prediction_path("p", entry.id),
        )


def test_dock_is_content_with_a_narrow_place(opened: ProjectDock, qtbot: Any) -> None:
    widest = opened.fontMetrics().averageCharWidth() * 50
    opened.resize(widest, 700)
    opened.show()
    opened.extract()
    opened.notices.message.setText("A long message without an end " * 10)
    assert opened.minimumSizeHint().width() <= widest
    assert opened.table.isColumnHidden(2)
    opened.resize(2 * widest, 700)
    assert not opened.table.isColumnHidden(2)
