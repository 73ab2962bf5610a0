"""A recording's region, drawn in the viewer as a rectangle; no Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Shapes

from ethoprism.crops import Region
from ethoprism.errors import InputError

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

_MARK = "ethoprism region"


def region_layer(viewer: ViewerModel) -> Shapes | None:
    """The layer that regions are drawn in, if it is there."""
    for layer in viewer.layers:
        if isinstance(layer, Shapes) and layer.metadata.get(_MARK):
            return layer
    return None


def draw_region(viewer: ViewerModel, over: Layer, region: Region | None) -> Shapes:
    """Show a recording's region over its layer, and let another rectangle be drawn.

    The rectangle lies in rows and columns alone, so it is seen in every frame.
    """
    layer = region_layer(viewer)
    if layer is None:
        layer = Shapes(
            ndim=2,
            name="region",
            edge_color="#ffcc00",
            face_color="transparent",
            edge_width=2,
            metadata={_MARK: True},
        )
        viewer.add_layer(layer)
    layer.data = []
    layer.scale, layer.translate = over.scale[-2:], over.translate[-2:]
    if region is not None:
        top, left = region.top, region.left
        bottom, right = top + region.height, left + region.width
        # The middle of a pixel has whole coordinates, so its edges lie half a pixel before them.
        corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left]]) - 0.5
        layer.add_rectangles(corners)
    viewer.layers.selection.active = layer
    layer.mode = "add_rectangle"
    return layer


def drawn_region(layer: Shapes, height: int, width: int) -> Region:
    """The newest rectangle of the layer in whole pixels, as far as it lies within the frame.

    Raises
    ------
    InputError
        If nothing was drawn, or what was drawn lies outside the frame.
    """
    if not len(layer.data):
        raise InputError(
            "No region is drawn", remedy="Draw a rectangle in the layer 'region', then set it."
        )
    corners = np.asarray(layer.data[-1])[:, -2:] + 0.5
    top, left = np.clip(np.round(corners.min(axis=0)), 0, (height, width)).astype(int).tolist()
    bottom, right = np.clip(np.round(corners.max(axis=0)), 0, (height, width)).astype(int).tolist()
    if bottom <= top or right <= left:
        raise InputError(
            "The region that was drawn holds no pixel of the frame",
            expected=f"a rectangle within {width} × {height} px (width × height)",
        )
    return Region(left=left, top=top, width=right - left, height=bottom - top)
