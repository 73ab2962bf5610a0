"""The workbench in a real viewer: docks, viewer and session in step, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import workflow
from ethoprism.annotation import bout_table
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism.labels import Labels  # noqa: E402
from napari_ethoprism.session import Session  # noqa: E402
from napari_ethoprism.workbench import Workbench  # noqa: E402


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Two recordings, of 40 and of 30 frames, and an ethogram of two behaviours."""
    made = Project.create(tmp_path / "p", Settings(), Ethogram().with_names(["walk", "groom"]))
    for name, n_frames in (("a", 40), ("b", 30)):
        video = write_recording(tmp_path / "videos", name, 3, n_frames=n_frames).video
        made, _, _ = workflow.add_recording(made, video)
    return made


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: Any
) -> tuple[Any, Workbench]:
    """A viewer with the workbench and the project in it, showing its first recording."""
    viewer = make_napari_viewer()
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    qtbot.waitUntil(lambda: bench._docked)
    assert bench.open_project(project.folder)
    qtbot.waitUntil(lambda: bench.session.entry is not None)
    return viewer, bench


def test_docks_and_viewer_stay_in_step(opened: tuple[Any, Workbench], qtbot: Any) -> None:
    viewer, bench = opened
    session = bench.session
    assert (_shown(session), session.frame) == ("a", 0)
    session.seek(17)
    assert session.frame == 17 and viewer.dims.current_step[0] == 17
    viewer.dims.set_current_step(0, 31)
    assert session.frame == 31
    session.seek(10**6)
    assert session.frame == 39
    session.seek(12, "b")
    qtbot.waitUntil(lambda: _shown(session) == "b")
    assert session.frame == 12 and [layer.visible for layer in viewer.layers] == [False, True]
    session.show("a")
    assert (_shown(session), session.frame) == ("a", 39)
    session.seek(3, "b")
    assert (_shown(session), session.frame) == ("b", 3)


def test_a_dropped_project_opens_whole(
    make_napari_viewer: Callable[..., Any], project: Project, qtbot: Any
) -> None:
    viewer = make_napari_viewer()
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    viewer.open(project.folder, plugin="ethoprism")
    assert bench.session.project.folder == project.folder
    assert _shown(bench.session) == "a" and _labels(bench).writable


def test_a_folder_that_is_no_project_is_told_and_the_old_one_stays(
    opened: tuple[Any, Workbench], tmp_path: Path
) -> None:
    _, bench = opened
    told: list[Any] = []
    bench.session.noticed.connect(told.append)
    assert not bench.open_project(tmp_path)
    assert told[0].kind == "error" and "is not a project" in told[0].text
    assert bench.session.project is not None and _labels(bench).writable


def test_closing_the_window_frees_the_labels_and_leaves_no_thread(
    opened: tuple[Any, Workbench], project: Project, qtbot: Any
) -> None:
    viewer, bench = opened
    before = set(threading.enumerate())
    bout = {"recording": "a", "behaviour": "walk", "start_frame": 3, "stop_frame": 9}
    _labels(bench).apply(add_bouts=bout_table([bout]), description="walk")
    with workflow.open_annotations(project, "either") as other:
        assert not other.writable  # the workbench holds the lock
    bench.session.jobs.start("count", lambda: iter(()), lane="map")  # nobody waits for these
    viewer.close()
    qtbot.waitUntil(lambda: not bench._parts)
    with workflow.open_annotations(project, "write") as other:
        assert other.bouts("a")["stop_frame"].tolist() == [9]
    assert set(threading.enumerate()) <= before


def test_taking_the_dock_away_takes_the_workbench_away(
    opened: tuple[Any, Workbench], project: Project, qtbot: Any
) -> None:
    viewer, bench = opened
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not bench._parts)
    with workflow.open_annotations(project, "write") as other:
        assert other.writable
    viewer.dims.set_current_step(0, 5)  # nobody listens any more
    np.testing.assert_array_equal(viewer.dims.current_step[0], 5)


def _shown(session: Session) -> str:
    """The project's id of the recording that is shown."""
    assert session.entry is not None
    return session.entry.id


def _labels(bench: Workbench) -> Labels:
    assert bench.session.labels is not None
    return bench.session.labels
