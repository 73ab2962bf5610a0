"""A region is drawn in the viewer, saved in the project, and the same as in numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import workflow
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism._region import region_layer  # noqa: E402
from napari_ethoprism.project_dock import ProjectDock  # noqa: E402
from napari_ethoprism.project_region import RegionBar  # noqa: E402
from napari_ethoprism.workbench import Workbench  # noqa: E402


@pytest.fixture
def opened(
    make_napari_viewer: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[Any, RegionBar, list[str], Path]:
    """A viewer with the workbench and a project of one recording in it; what it told."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    video = write_recording(tmp_path / "videos", "r", 3, n_frames=10).video
    folder = tmp_path / "project"
    project = Project.create(folder, Settings(), Ethogram().with_names(["walk"]))
    workflow.add_recording(project, video)
    viewer = make_napari_viewer()
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    assert isinstance(bench, Workbench)
    viewer.open(folder, plugin="ethoprism")
    told: list[str] = []
    bench.session.noticed.connect(lambda notice: told.append(notice.text))
    (dock,) = (widget for widget in bench.docks.values() if isinstance(widget, ProjectDock))
    assert dock.region is not None
    return viewer, dock.region, told, folder


def test_a_rectangle_becomes_the_recordings_region(
    opened: tuple[Any, RegionBar, list[str], Path],
) -> None:
    viewer, bar, _, folder = opened
    assert bar.label.text() == "whole frame"
    bar.draw_button.click()
    layer = region_layer(viewer)
    assert layer is not None and layer.mode == "add_rectangle"
    # The edges of pixels: rows 10 to 49, columns 20 to 79.
    layer.add_rectangles(np.array([[9.5, 19.5], [9.5, 79.5], [49.5, 79.5], [49.5, 19.5]]))
    bar.set_button.click()
    assert Project.open(folder).entry("r").region == "20,10,60,40"
    assert bar.label.text() == "60×40 px at 20, 10"
    assert region_layer(viewer) is None
    bar.draw_button.click()  # what is saved is shown, and saving it again changes nothing
    assert len(region_layer(viewer).data) == 1  # type: ignore[union-attr]
    bar.set_button.click()
    assert Project.open(folder).entry("r").region == "20,10,60,40"
    bar.whole_button.click()
    assert Project.open(folder).entry("r").region == ""


def test_what_leaves_the_frame_is_cut_and_what_lies_outside_is_refused(
    opened: tuple[Any, RegionBar, list[str], Path],
) -> None:
    viewer, bar, told, folder = opened
    entry = Project.open(folder).entry("r")
    bar.set_button.click()
    assert "No region is drawn" in told[-1] and "Draw" in told[-1]
    bar.draw_button.click()
    layer = region_layer(viewer)
    assert layer is not None
    bar.set_button.click()
    assert "No region is drawn" in told[-1]
    layer.add_rectangles(np.array([[-50, -50], [-50, -9], [-9, -9], [-9, -50]]))
    bar.set_button.click()
    assert "no pixel of the frame" in told[-1]
    assert Project.open(folder).entry("r").region == ""
    far, n = entry.width + 30, len(told)
    layer.add_rectangles(np.array([[-20, 29.5], [-20, far], [39.5, far], [39.5, 29.5]]))
    bar.set_button.click()
    assert Project.open(folder).entry("r").region == f"30,0,{entry.width - 30},40"
    assert len(told) == n  # nothing went wrong
