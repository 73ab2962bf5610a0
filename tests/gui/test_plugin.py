"""The napari plugin in a real viewer: exact frames, true times, and what the docks say of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_probe import save_toy_probe
from video_samples import Sample, damage, packet_table, write

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import InputError, ProjectError, VideoError
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Prediction, save_prediction
from ethoprism.project import Project, Settings
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism import _video_array  # noqa: E402
from napari_ethoprism._reader import get_reader  # noqa: E402
from napari_ethoprism._video_array import VideoArray  # noqa: E402
from napari_ethoprism.project_dock import ProjectDock  # noqa: E402
from napari_ethoprism.workbench import Workbench  # noqa: E402

N_FRAMES = 40
TICKS = [0, 3, 4, 10, 11, 19, 20, 27, 40, 41]  # of 1/100 s: no frame rate fits them


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A simulated recording of 40 frames."""
    return write_recording(tmp_path / "videos", "r", 3, n_frames=N_FRAMES).video


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A recording of 10 frames at a variable rate."""
    sample = Sample("uneven.mkv", "ffv1", "yuv420p")
    return write(tmp_path, sample, len(TICKS), ticks=TICKS, time_base=Fraction(1, 100))


@pytest.fixture
def project(tmp_path: Path, video: Path, uneven: Path) -> Project:
    """Two recordings; in the first, "walk" was seen in 10–19 and "groom" was looked for in 0–29."""
    ethogram = Ethogram().with_names(["walk", "groom"])
    made = Project.create(tmp_path / "project", Settings(), ethogram)
    for path in (video, uneven):
        made, _, _ = workflow.add_recording(made, path)
    with workflow.open_annotations(made) as store:
        span: dict[str, object] = {"recording": "r", "start_frame": 0, "stop_frame": 30}
        walk = {"recording": "r", "behaviour": "walk", "start_frame": 10, "stop_frame": 20}
        spans = [{**span, "behaviour": name} for name in ("walk", "groom")]
        store.add(bout_table([walk]), span_table(spans), description="made for a test")
    return made


@pytest.fixture(autouse=True)
def own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests leave the user's list of projects alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any], qtbot: Any) -> tuple[Any, ProjectDock]:
    """A viewer with the workbench, found through the plugin's manifest; its project dock."""
    viewer = make_napari_viewer()
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    assert isinstance(bench, Workbench)
    qtbot.waitUntil(lambda: bench._docked)
    (project_dock,) = (w for w in bench.docks.values() if isinstance(w, ProjectDock))
    return viewer, project_dock


def test_manifest_is_valid_and_names_what_exists() -> None:
    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("ethoprism")
    manifest.validate_imports()
    assert manifest.display_name == "EthoPrism"


def test_layer_shows_the_exact_frame_at_which_the_slider_stands(
    make_napari_viewer: Callable[..., Any], video: Path
) -> None:
    viewer = make_napari_viewer()
    (layer,) = viewer.open(video, plugin="ethoprism")
    recording = layer.metadata["recording"]
    assert layer.rgb and not layer.multiscale and recording.path == video
    with FrameReader(recording) as reader:
        assert layer.data.shape == reader.shape
        for n in (0, 17, 3, N_FRAMES - 1, 18):
            viewer.dims.set_current_step(0, n)
            np.testing.assert_array_equal(layer._slice.image.raw, reader[n])


def test_opening_and_moving_decodes_only_the_frames_that_are_shown(
    make_napari_viewer: Callable[..., Any], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    one_frame = FrameReader.__getitem__
    monkeypatch.setattr(
        FrameReader, "__getitem__", lambda self, key: asked.append(key) or one_frame(self, key)
    )
    viewer = make_napari_viewer()
    viewer.open(video, plugin="ethoprism")
    viewer.dims.set_current_step(0, 5)
    assert asked[-1] == 5 and len(asked) <= 3


def test_array_is_indexed_as_numpy_would(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording, _ = open_recording(video)
    array = VideoArray(recording)
    with FrameReader(recording) as reader:
        whole = reader[:]
    for key in (3, -1, (2, slice(4, 9)), slice(1, 9, 3), (slice(5, 6), slice(None), 2)):
        np.testing.assert_array_equal(array[key], whole[key])
    np.testing.assert_array_equal(np.asarray(array), whole)
    with pytest.raises(IndexError):
        array[N_FRAMES]
    monkeypatch.setattr(_video_array, "MOST_BYTES", whole.nbytes - 1)
    with pytest.raises(InputError, match="2D display"):
        array[:]
    array.close()


def test_dock_gives_the_time_of_each_frame_from_the_container(
    dock: tuple[Any, ProjectDock], uneven: Path
) -> None:
    viewer, widget = dock
    here = widget.moment
    assert here.recording.text() == "No recording is open" and here.isHidden()
    (layer,) = viewer.open(uneven, plugin="ethoprism")
    times = layer.metadata["recording"].frame_times
    np.testing.assert_allclose(times, np.array(TICKS) / 100)
    assert not here.isHidden()
    for n in (0, 5, 8):
        viewer.dims.set_current_step(0, n)
        assert widget.session.frame == n
        assert here.recording.text() == "uneven"
        assert here.frame.text() == f"{n} of {len(TICKS)}, counted from 0"
        assert here.time.text() == f"{times[n]:.4f} s"
    layer.visible = False
    assert here.recording.text() == "No recording is open"


def test_opening_a_video_tells_what_its_times_are_like(
    dock: tuple[Any, ProjectDock], uneven: Path
) -> None:
    viewer, widget = dock
    viewer.open(uneven, plugin="ethoprism")
    assert "frame rate varies" in widget.notices.text and "3 frames" in widget.notices.text
    assert widget.notices.log.text.count("warning") == 1


def test_dock_follows_the_recording_that_is_looked_at(
    dock: tuple[Any, ProjectDock], uneven: Path, video: Path
) -> None:
    viewer, widget = dock
    (first,) = viewer.open(uneven, plugin="ethoprism")
    viewer.open(video, plugin="ethoprism")
    viewer.dims.set_current_step(0, 30)
    assert (widget.moment.recording.text(), widget.session.frame) == ("r", 30)
    viewer.layers.selection.active = first
    assert widget.moment.recording.text() == "uneven"
    assert widget.moment.frame.text() == "outside the recording"
    viewer.layers.clear()
    assert widget.session.moment is None


def test_text_named_as_video_gives_a_clear_error(
    make_napari_viewer: Callable[..., Any], tmp_path: Path
) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a video at all\n" * 50)
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        make_napari_viewer().open(path, plugin="ethoprism")


def test_reader_takes_projects_and_leaves_other_folders(tmp_path: Path, project: Project) -> None:
    assert get_reader(str(tmp_path)) is None
    assert get_reader(["a.mp4", "b.mp4"]) is None
    empty = Project.create(tmp_path / "empty", Settings(), Ethogram())
    read = get_reader(str(empty.folder))
    assert read is not None
    with pytest.raises(ProjectError, match="ethoprism add"):
        read(str(empty.folder))


def test_project_folder_opens_its_first_recording_and_the_dock_lists_all(
    dock: tuple[Any, ProjectDock], project: Project
) -> None:
    viewer, widget = dock
    (layer,) = viewer.open(project.folder, plugin="ethoprism")
    assert layer.name == "r"
    assert _listed(widget) == ["r", "uneven"]


def test_dock_shows_the_labels_of_a_frame_and_never_takes_unobserved_for_absent(
    dock: tuple[Any, ProjectDock], project: Project, qtbot: Any
) -> None:
    viewer, widget = dock
    widget.header.open(project.folder)
    assert _listed(widget) == ["r", "uneven"]
    _show(widget, "r", qtbot)
    expected = {9: "none", 10: "walk", 19: "walk", 20: "none", 35: "not observed"}
    for n, text in expected.items():
        viewer.dims.set_current_step(0, n)
        assert widget.moment.labelled.text() == text
    _show(widget, "uneven", qtbot)
    assert (widget.moment.recording.text(), widget.session.frame) == ("uneven", 0)
    assert widget.moment.labelled.text() == "not observed"
    assert [layer.visible for layer in viewer.layers] == [False, True]
    _show(widget, "r", qtbot)
    assert len(viewer.layers) == 2 and widget.moment.recording.text() == "r"


def test_labels_show_as_soon_as_they_are_made(
    dock: tuple[Any, ProjectDock], project: Project, qtbot: Any
) -> None:
    viewer, widget = dock
    widget.header.open(project.folder)
    _show(widget, "r", qtbot)
    viewer.dims.set_current_step(0, 35)
    assert widget.moment.labelled.text() == "not observed"
    bout = {"recording": "r", "behaviour": "groom", "start_frame": 35, "stop_frame": 36}
    labels = widget.session.labels
    assert labels is not None
    labels.apply(add_bouts=bout_table([bout]), description="made in a dock")
    assert widget.moment.labelled.text() == "groom (not observed: walk)"
    labels.undo()
    assert widget.moment.labelled.text() == "not observed"


def test_labels_made_elsewhere_show_when_the_project_is_opened_again(
    dock: tuple[Any, ProjectDock], project: Project, qtbot: Any
) -> None:
    viewer, widget = dock
    bout = {"recording": "r", "behaviour": "groom", "start_frame": 35, "stop_frame": 36}
    with workflow.open_annotations(project, "write") as store:  # another program has the lock
        widget.header.open(project.folder)
        _show(widget, "r", qtbot)
        viewer.dims.set_current_step(0, 35)
        assert widget.moment.labelled.text() == "not observed"
        store.add(bout_table([bout]), description="made meanwhile")
        widget.header.open(project.folder)
        assert widget.moment.labelled.text() == "groom (not observed: walk)"


def test_dock_shows_saved_predictions_and_names_an_untrained_backbone(
    dock: tuple[Any, ProjectDock], project: Project, qtbot: Any
) -> None:
    viewer, widget = dock
    _save_probe_and_prediction(project)
    widget.header.open(project.folder)
    _show(widget, "r", qtbot)
    qtbot.waitUntil(lambda: widget.moment.predicted.text() != "–", timeout=20_000)
    for n, text in {4: "none", 7: "groom", 39: "no tokens"}.items():
        viewer.dims.set_current_step(0, n)
        assert widget.moment.predicted.text() == f"{text} (p, toy (untrained))"
    prediction = project.prediction_path("p", "r")
    save_prediction(_prediction(project, "f" * 64), prediction)  # of another probe
    widget.session.probe = ""
    widget.session.probe = "p"
    qtbot.waitUntil(lambda: "another probe" in widget.notices.text, timeout=20_000)
    assert widget.session.predictions == () and widget.moment.predicted.text() == "–"
    assert widget.moment.labelled.text() == "not observed"


def test_library_errors_are_one_paragraph_in_the_dock(
    dock: tuple[Any, ProjectDock], project: Project, tmp_path: Path, video: Path, qtbot: Any
) -> None:
    _, widget = dock
    assert not widget.header.open(tmp_path)
    assert "is not a project" in widget.notices.text
    assert "\n" not in widget.notices.text
    video.unlink()
    assert widget.header.open(project.folder)
    widget.table.opened.emit("r")
    qtbot.waitUntil(lambda: "not where it was" in widget.notices.text)
    assert "ethoprism add" in widget.notices.text  # the remedy
    qtbot.waitUntil(lambda: "r" in widget.states)
    assert "not where it was" in widget.problem.text()
    assert not widget.problem_row.isHidden() and not widget.relink_button.isHidden()


def test_frame_that_cannot_be_decoded_is_black_and_explained(
    dock: tuple[Any, ProjectDock], tmp_path: Path, qtbot: Any
) -> None:
    viewer, widget = dock
    whole = write(tmp_path, Sample("whole.mp4", "libx264", options={"g": "20", "bf": "0"}), 60)
    _, position, size, _ = packet_table(whole)[33]
    path = damage(whole, position + 16, size - 16, "corrupt.mp4")
    project = Project.create(tmp_path / "damaged", Settings(), Ethogram())
    workflow.add_recording(project, path, accept_damaged=True)
    assert widget.header.open(tmp_path / "damaged")
    qtbot.waitUntil(lambda: widget.session.entry is not None)
    viewer.dims.set_current_step(0, 35)
    qtbot.waitUntil(lambda: "damaged" in widget.moment.problem.text())
    (layer,) = viewer.layers
    assert not widget.moment.problem.isHidden() and not layer._slice.image.raw.any()
    viewer.dims.set_current_step(0, 45)
    qtbot.waitUntil(lambda: widget.session.decoding is None)
    assert layer._slice.image.raw.any() and widget.moment.problem.text() == ""


def test_3d_display_of_a_long_recording_is_refused_and_2d_goes_on(
    dock: tuple[Any, ProjectDock], video: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    viewer, widget = dock
    monkeypatch.setattr(_video_array, "MOST_BYTES", 1 << 20)
    (layer,) = viewer.open(video, plugin="ethoprism")
    with pytest.raises(InputError, match="2D display"):
        viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(0, 6)
    qtbot.waitUntil(lambda: widget.session.decoding is None)
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data[6])


def test_window_shows_the_recording_and_the_dock(
    make_napari_viewer: Callable[..., Any], project: Project, tmp_path: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    _save_probe_and_prediction(project)
    assert bench.open_project(project.folder)
    qtbot.waitUntil(lambda: bench.session.entry is not None)
    viewer.dims.set_current_step(0, 12)
    qtbot.waitUntil(lambda: bench.session.decoding is None)
    qtbot.wait(300)
    path = tmp_path / "window.png"
    shot = viewer.screenshot(str(path), canvas_only=False, flash=False)
    canvas = viewer.screenshot(canvas_only=True, flash=False)
    assert path.stat().st_size > 10_000
    assert shot[..., :3].std() > 10 and canvas[..., :3].std() > 10


def _listed(widget: ProjectDock) -> list[str]:
    model = widget.table.rows
    return [str(model.data(model.index(row, 0))) for row in range(model.rowCount())]


def _show(widget: ProjectDock, name: str, qtbot: Any) -> None:
    """Show a recording as a double click on its row does."""
    index = widget.table.rows.index(widget.table.rows.names.index(name), 0)
    widget.table.doubleClicked.emit(index)
    qtbot.waitUntil(lambda: widget.session.entry is not None and widget.session.entry.id == name)


def _save_probe_and_prediction(project: Project) -> None:
    """A probe that says "groom" in frames 5–9 of "r" and has seen all frames but the last."""
    probe = save_toy_probe(project)
    save_prediction(_prediction(project, probe.digest), project.prediction_path("p", "r"))


def _prediction(project: Project, digest: str) -> Prediction:
    probability = np.zeros((N_FRAMES, 2), np.float32)
    probability[5:10, 1] = 0.9
    covered = np.arange(N_FRAMES) < N_FRAMES - 1
    key = project.entry("r").content_key
    names = project.ethogram.names
    return Prediction("r", "", names, probability, covered, digest, "toy (untrained)", key)
