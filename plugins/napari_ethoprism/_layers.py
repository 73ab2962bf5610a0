"""From a viewer's layers and sliders to the recording and frame that are shown, and back; no Qt.

napari hands plugins proxies of the viewer and its layers, so layers are compared with ``==``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from napari.layers import Image

from ethoprism.recording import Recording
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


def move_to(viewer: ViewerModel, layer: Layer, frame: int) -> None:
    """Show a frame of a recording's layer, the nearest one if it lies outside the recording."""
    frame = min(max(frame, 0), layer.metadata["recording"].n_frames - 1)
    axis = viewer.dims.ndim - layer.ndim
    # The middle of the picture: the other axes of the point are the viewer's own.
    world = layer.data_to_world((frame, *(size / 2 for size in layer.data.shape[1:3])))
    viewer.dims.set_point(axis, float(world[0]))


def show_layer(viewer: ViewerModel, content_key: str, frame: int) -> bool:
    """Show a recording that is in the viewer already, alone, at a frame; whether it is there."""
    layers = [layer for layer in viewer.layers if is_recording(layer)]
    found = [layer for layer in layers if layer.metadata["recording"].content_key == content_key]
    if not found:
        return False
    layer = found[-1]
    for other in layers:
        other.visible = other == layer
    layer.visible = True
    viewer.layers.selection.active = layer
    move_to(viewer, layer, frame)
    return True


def show_recording(
    viewer: ViewerModel, recording: Recording, project: Path | None, frame: int = 0
) -> None:
    """Add a recording to the viewer and show it alone, at a frame.

    Raises
    ------
    EthoPrismError
        If the video cannot be opened.
    """
    data, options, _ = recording_layer(recording, project)
    viewer.add_layer(Image(cast(Any, data), **options))
    show_layer(viewer, recording.content_key, frame)
