"""From a viewer's layers and sliders to the recording and frame that are shown, and back; no Qt.

napari hands plugins proxies of the viewer and its layers, so layers are compared with ``==``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image

from ethoprism.project import Project
from napari_ethoprism._reader import recording_layer
from napari_ethoprism._video_array import VideoArray
from napari_ethoprism.session import Moment

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def is_recording(layer: Layer) -> bool:
    """Whether a layer shows a recording."""
    return isinstance(layer.data, VideoArray)


def current_layer(viewer: ViewerModel) -> Layer | None:
    """The visible layer of a recording that is looked at: the active one, or else the topmost."""
    shown = [layer for layer in viewer.layers if is_recording(layer) and layer.visible]
    active = [layer for layer in shown if layer == viewer.layers.selection.active]
    return (active or shown or [None])[-1]


def picture_problem(viewer: ViewerModel) -> str:
    """Why the frame that is looked at cannot be shown; empty where it can."""
    layer, moment = current_layer(viewer), current_moment(viewer)
    if layer is None or moment is None or moment.frame is None:
        return ""
    video: VideoArray = layer.data
    return video.problem(moment.frame)


def current_moment(viewer: ViewerModel) -> Moment | None:
    """The recording and frame that are looked at, or None if no recording is open."""
    layer = current_layer(viewer)
    if layer is None:
        return None
    recording = layer.metadata["recording"]
    # The same step as napari's own slicing: world to data, rounded to the nearest.
    frame = int(np.round(layer.world_to_data(viewer.dims.point)[0]))
    return Moment(recording, frame if 0 <= frame < recording.n_frames else None)


def show_recording(viewer: ViewerModel, project: Project, name: str) -> None:
    """Show a project's recording alone, at the frame of the slider or else at its first.

    Raises
    ------
    EthoPrismError
        If the video is gone or is not the one that was added.
    """
    key = project.entry(name).content_key
    layers = [layer for layer in viewer.layers if is_recording(layer)]
    found = [layer for layer in layers if layer.metadata["recording"].content_key == key]
    layer = found[-1] if found else _add(viewer, project, name)
    for other in layers:
        other.visible = other == layer
    layer.visible = True
    viewer.layers.selection.active = layer
    moment = current_moment(viewer)
    if moment is not None and moment.frame is None:  # the slider stands behind a shorter recording
        point = list(viewer.dims.point)
        point[-3:] = layer.data_to_world((0, 0, 0))
        viewer.dims.set_point(range(viewer.dims.ndim), point)


def _add(viewer: ViewerModel, project: Project, name: str) -> Layer:
    data, options, _ = recording_layer(project.recording(name), project.folder)
    layer: Layer = viewer.add_layer(Image(cast(Any, data), **options))
    return layer
