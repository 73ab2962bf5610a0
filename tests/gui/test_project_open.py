"""Ways in: the sample data, ``ethoprism gui``, readers of every ending, and clear refusals."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ethoprism import workflow
from ethoprism.cli.gui import require_gui
from ethoprism.errors import EthoPrismError
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism import _sample, launch  # noqa: E402
from napari_ethoprism._reader import get_reader  # noqa: E402
from napari_ethoprism.project_dock import ProjectDock  # noqa: E402


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests leave the user's configuration and data alone."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(_sample, "user_data_path", lambda name: tmp_path / "data" / name)


def test_sample_opens_as_a_labelled_project_and_is_kept(
    make_napari_viewer: Callable[..., Any], qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    qtbot.waitUntil(lambda: bench._docked)
    (layer,) = viewer.open_sample("ethoprism", "arena")
    project = bench.session.project
    assert project is not None and project.folder == _sample.sample_folder() / "project"
    assert len(project.recording_ids) == 2 and layer.name == project.recording_ids[0]
    labels = bench.session.labels
    assert labels is not None and labels.writable
    assert all(len(labels.bouts(name)) > 5 for name in project.recording_ids)
    states = workflow.label_states(project, project.recording_ids, project.ethogram.names)
    assert all((known != -1).all() for known in states.values())
    made = (project.folder / "ethoprism.toml").stat().st_mtime_ns
    assert [data[1]["name"] for data in _sample.arena()] == [layer.name]
    assert (project.folder / "ethoprism.toml").stat().st_mtime_ns == made


def test_sample_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    from ethoprism.sample import sample_project

    steps = sample_project(tmp_path / "s")
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_manifest_reads_every_ending_that_the_dock_adds() -> None:
    from npe2 import PluginManifest

    from ethoprism.batch import VIDEO_ENDINGS

    contributions = PluginManifest.from_distribution("ethoprism").contributions
    assert contributions.readers is not None and contributions.sample_data is not None
    (reader,) = contributions.readers
    assert reader.accepts_directories
    missing = {f"*{ending}" for ending in VIDEO_ENDINGS} - set(reader.filename_patterns)
    assert not missing
    assert get_reader("a.mp4") is not None


def test_window_opens_with_a_project_and_what_cannot_be_opened_is_told(
    monkeypatch: pytest.MonkeyPatch,
    make_napari_viewer: Callable[..., Any],
    tmp_path: Path,
    qtbot: Any,
) -> None:
    import napari

    video = write_recording(tmp_path / "videos", "r", 3, n_frames=10).video
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    workflow.add_recording(project, video)
    bad = tmp_path / "bad.mp4"
    bad.write_text("no video\n" * 50)
    monkeypatch.setattr(napari, "Viewer", lambda **_: make_napari_viewer())
    viewer, bench = launch.open_window([tmp_path / "p", bad], show=False)
    qtbot.waitUntil(lambda: len(viewer.layers) == 1)
    assert bench.session.project.folder == tmp_path / "p"
    (dock,) = (widget for widget in bench.docks.values() if isinstance(widget, ProjectDock))
    assert "bad.mp4" in dock.notices.log.text


def test_command_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    require_gui()
    if sys.platform.startswith("linux"):
        with monkeypatch.context() as patch:
            for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
                patch.delenv(name, raising=False)
            with pytest.raises(EthoPrismError, match="no display"):
                require_gui()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "napari" else find_spec(name)
    )
    with pytest.raises(EthoPrismError, match=r'pip install "ethoprism\[gui\]"'):
        require_gui()


def test_command_refuses_a_path_that_is_not_there(tmp_path: Path) -> None:
    command = str(Path(sys.executable).parent / "ethoprism")
    done = subprocess.run(
        [command, "gui", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 3 and "There is nothing at" in done.stderr
