"""The napari plugin in a real viewer: exact frames, true times, and what the dock says of them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_samples import Sample, write

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import InputError, ProjectError, VideoError
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Decision, Prediction, save_prediction
from ethoprism.project import Project, Settings
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism import _video_array  # noqa: E402
from napari_ethoprism._reader import get_reader  # noqa: E402
from napari_ethoprism._video_array import VideoArray  # noqa: E402
from napari_ethoprism._widget import EthoPrismWidget  # noqa: E402

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


@pytest.fixture
def dock(make_napari_viewer: Callable[..., Any]) -> tuple[Any, EthoPrismWidget]:
    """A viewer with the dock, found through the plugin's manifest."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    assert isinstance(widget, EthoPrismWidget)
    return viewer, widget


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
    dock: tuple[Any, EthoPrismWidget], uneven: Path
) -> None:
    viewer, widget = dock
    assert widget.recording_label.text() == "No recording is open."
    (layer,) = viewer.open(uneven, plugin="ethoprism")
    times = layer.metadata["recording"].frame_times
    np.testing.assert_allclose(times, np.array(TICKS) / 100)
    for n in (0, 5, 8):
        viewer.dims.set_current_step(0, n)
        assert widget.session.frame == n
        assert widget.recording_label.text() == "uneven"
        assert widget.frame_label.text() == f"{n} of {len(TICKS)}, counted from 0"
        assert widget.time_label.text() == f"{times[n]:.4f} s"
    layer.visible = False
    assert widget.recording_label.text() == "No recording is open."


def test_dock_follows_the_recording_that_is_looked_at(
    dock: tuple[Any, EthoPrismWidget], uneven: Path, video: Path
) -> None:
    viewer, widget = dock
    (first,) = viewer.open(uneven, plugin="ethoprism")
    viewer.open(video, plugin="ethoprism")
    viewer.dims.set_current_step(0, 30)
    assert (widget.recording_label.text(), widget.session.frame) == ("r", 30)
    viewer.layers.selection.active = first
    assert widget.recording_label.text() == "uneven"
    assert widget.frame_label.text() == "outside the recording"
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
    dock: tuple[Any, EthoPrismWidget], project: Project
) -> None:
    viewer, widget = dock
    (layer,) = viewer.open(project.folder, plugin="ethoprism")
    assert layer.name == "r"
    assert _listed(widget) == ["r", "uneven"]


def test_dock_shows_the_labels_of_a_frame_and_never_takes_unobserved_for_absent(
    dock: tuple[Any, EthoPrismWidget], project: Project
) -> None:
    viewer, widget = dock
    widget.open_project(project.folder)
    assert _listed(widget) == ["r", "uneven"]
    _click(widget, 0)
    expected = {9: "none", 10: "walk", 19: "walk", 20: "none", 35: "not observed"}
    for n, text in expected.items():
        viewer.dims.set_current_step(0, n)
        assert widget.labelled_label.text() == text
    _click(widget, 1)
    assert (widget.recording_label.text(), widget.session.frame) == ("uneven", 0)
    assert widget.labelled_label.text() == "not observed"
    assert [layer.visible for layer in viewer.layers] == [False, True]
    _click(widget, 0)
    assert len(viewer.layers) == 2 and widget.recording_label.text() == "r"


def test_labels_made_meanwhile_show_when_read_again(
    dock: tuple[Any, EthoPrismWidget], project: Project
) -> None:
    viewer, widget = dock
    widget.open_project(project.folder)
    _click(widget, 0)
    viewer.dims.set_current_step(0, 35)
    bout = {"recording": "r", "behaviour": "groom", "start_frame": 35, "stop_frame": 36}
    with workflow.open_annotations(project) as store:
        store.add(bout_table([bout]), description="made meanwhile")
    widget.again_button.click()
    assert widget.labelled_label.text() == "groom (not observed: walk)"


def test_dock_shows_saved_predictions_and_names_an_untrained_backbone(
    dock: tuple[Any, EthoPrismWidget], project: Project
) -> None:
    viewer, widget = dock
    _save_probe_and_prediction(project)
    widget.open_project(project.folder)
    _click(widget, 0)
    for n, text in {4: "none", 7: "groom", 39: "no tokens"}.items():
        viewer.dims.set_current_step(0, n)
        assert widget.predicted_label.text() == f"{text}\n    (p, toy (untrained))"
    prediction = project.prediction_path("p", "r")
    save_prediction(_prediction(project, "f" * 64), prediction)  # of another probe
    widget.again_button.click()
    assert "another probe" in widget.error_label.text()
    assert widget.labelled_label.text() == "not observed"


def test_library_errors_are_one_paragraph_in_the_dock(
    dock: tuple[Any, EthoPrismWidget], project: Project, tmp_path: Path, video: Path
) -> None:
    _, widget = dock
    widget.open_project(tmp_path)
    assert "is not a project" in widget.error_label.text()
    assert "\n" not in widget.error_label.text()
    widget.open_project(project.folder)
    assert widget.error_label.text() == ""
    video.unlink()
    _click(widget, 0)
    assert "not where it was" in widget.error_label.text()


def test_frame_that_cannot_be_decoded_is_black_and_explained(
    dock: tuple[Any, EthoPrismWidget], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, widget = dock
    one_frame = FrameReader.__getitem__

    def damaged(self: FrameReader, key: Any) -> np.ndarray:
        if key == 8:
            raise VideoError("Frame 8 is damaged")
        return one_frame(self, key)

    monkeypatch.setattr(FrameReader, "__getitem__", damaged)
    (layer,) = viewer.open(video, plugin="ethoprism")
    viewer.dims.set_current_step(0, 8)
    assert not layer._slice.image.raw.any()
    assert widget.error_label.text() == "Frame 8 is damaged."
    viewer.dims.set_current_step(0, 9)
    assert layer._slice.image.raw.any() and widget.error_label.text() == ""


def test_3d_display_of_a_long_recording_is_refused_and_2d_goes_on(
    dock: tuple[Any, EthoPrismWidget], video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    viewer, _ = dock
    monkeypatch.setattr(_video_array, "MOST_BYTES", 1 << 20)
    (layer,) = viewer.open(video, plugin="ethoprism")
    with pytest.raises(InputError, match="2D display"):
        viewer.dims.ndisplay = 3
    viewer.dims.ndisplay = 2
    viewer.dims.set_current_step(0, 6)
    np.testing.assert_array_equal(layer._slice.image.raw, layer.data[6])


def test_window_shows_the_recording_and_the_dock(
    make_napari_viewer: Callable[..., Any], project: Project, tmp_path: Path, qtbot: Any
) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    _, widget = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    _save_probe_and_prediction(project)
    widget.open_project(project.folder)
    _click(widget, 0)
    viewer.dims.set_current_step(0, 12)
    qtbot.wait(300)
    path = tmp_path / "window.png"
    shot = viewer.screenshot(str(path), canvas_only=False, flash=False)
    canvas = viewer.screenshot(canvas_only=True, flash=False)
    assert path.stat().st_size > 10_000
    assert shot[..., :3].std() > 10 and canvas[..., :3].std() > 10


def _listed(widget: EthoPrismWidget) -> list[str]:
    items = [widget.recordings.item(row) for row in range(widget.recordings.count())]
    return [item.text() for item in items if item is not None]


def _click(widget: EthoPrismWidget, row: int) -> None:
    item = widget.recordings.item(row)
    assert item is not None
    widget.recordings.setCurrentItem(item)
    widget.recordings.itemClicked.emit(item)


def _save_probe_and_prediction(project: Project) -> None:
    """A probe that says "groom" in frames 5–9 of "r" and has seen all frames but the last."""
    from ethoprism.probe.checkpoint import Probe, save_probe
    from ethoprism.probe.model import ProbeShape
    from ethoprism.tokens import TokenKey

    names = project.ethogram.names
    probe = Probe(
        name="p",
        behaviours=names,
        ethogram=project.ethogram,
        subject="",
        key=TokenKey("toy", "0" * 64, "float32", False, 1, 16, 4, 8, 6, 6, 1, 4),
        shape=ProbeShape(8, 2, 1),
        decision=Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 1)),
        parameters={"weight": np.zeros(2, np.float32)},
        training={},
        metrics={},
    )
    save_probe(probe, project.probe_folder("p"))
    save_prediction(_prediction(project, probe.digest), project.prediction_path("p", "r"))


def _prediction(project: Project, digest: str) -> Prediction:
    probability = np.zeros((N_FRAMES, 2), np.float32)
    probability[5:10, 1] = 0.9
    covered = np.arange(N_FRAMES) < N_FRAMES - 1
    key = project.entry("r").content_key
    names = project.ethogram.names
    return Prediction("r", "", names, probability, covered, digest, "toy (untrained)", key)
