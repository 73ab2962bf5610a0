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
from napari_ethoprism._widget import EthoPrismWidget  # noqa: E402


@pytest.fixture
def opened(make_napari_viewer: Callable[..., Any], tmp_path: Path) -> tuple[Any, Any, Path]:
    """A viewer with the dock, and a project of one recording open in it."""
    video = write_recording(tmp_path / "videos", "r", 3, n_frames=10).video
    folder = tmp_path / "project"
    project = Project.create(folder, Settings(), Ethogram().with_names(["walk"]))
    workflow.add_recording(project, video)
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    assert isinstance(widget, EthoPrismWidget)
    viewer.open(folder, plugin="ethoprism")
    return viewer, widget, folder


def test_a_rectangle_becomes_the_recordings_region(opened: tuple[Any, Any, Path]):
    viewer, widget, folder = opened
    assert widget.region_label.text() == "whole frame"
    widget.draw_button.click()
    layer = region_layer(viewer)
    assert layer is not None and layer.mode == "add_rectangle"
    # The edges of pixels: rows 10 to 49, columns 20 to 79.
    layer.add_rectangles(np.array([[9.5, 19.5], [9.5, 79.5], [49.5, 79.5], [49.5, 19.5]]))
    widget.region_button.click()
    assert Project.open(folder).entry("r").region == "20,10,60,40"
    assert widget.region_label.text() == "20,10,60,40"
    assert region_layer(viewer) is None
    widget.draw_button.click()  # what is saved is shown, and saving it again changes nothing
    assert len(region_layer(viewer).data) == 1  # type: ignore[union-attr]
    widget.region_button.click()
    assert Project.open(folder).entry("r").region == "20,10,60,40"
    widget.whole_button.click()
    assert Project.open(folder).entry("r").region == ""


def test_what_leaves_the_frame_is_cut_and_what_lies_outside_is_refused(
    opened: tuple[Any, Any, Path],
):
    viewer, widget, folder = opened
    entry = Project.open(folder).entry("r")
    widget.region_button.click()
    assert "Draw region" in widget.error_label.text()
    widget.draw_button.click()
    layer = region_layer(viewer)
    assert layer is not None
    widget.region_button.click()
    assert "No region is drawn" in widget.error_label.text()
    layer.add_rectangles(np.array([[-50, -50], [-50, -9], [-9, -9], [-9, -50]]))
    widget.region_button.click()
    assert "no pixel of the frame" in widget.error_label.text()
    assert Project.open(folder).entry("r").region == ""
    far = entry.width + 30
    layer.add_rectangles(np.array([[-20, 29.5], [-20, far], [39.5, far], [39.5, 29.5]]))
    widget.region_button.click()
    assert Project.open(folder).entry("r").region == f"30,0,{entry.width - 30},40"
    assert widget.error_label.text() == ""
