"""MapModel: a map's points as pixels, colours and selections; arithmetic without Qt.

A picture is made of counts and mean colours per pixel, so that its cost grows with the points but
hardly, and what lies under a thousand points is not the last one drawn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

BACKGROUND_ALPHA = 0.16
"""How much of its colour a point keeps that is not selected while others are."""

MOST_DISCS = 20_000
"""More points than these, in view, are drawn as cells of a grid, which takes the same time."""


@dataclass(frozen=True)
class View:
    """Which part of the map a widget of ``width`` × ``height`` pixels shows.

    The map's y points upwards, the widget's downwards. ``scale`` is pixels per unit of the map,
    the same along both axes.
    """

    x: float
    y: float
    scale: float
    width: int
    height: int

    @classmethod
    def around(cls, points: np.ndarray, width: int, height: int, margin: float = 0.06) -> View:
        """The view that shows all points, with a margin as a part of the widget's size."""
        low, high = points.min(axis=0), points.max(axis=0)
        room = 1 - 2 * margin
        spread = np.maximum(high - low, 1e-6)
        scale = min(width * room / spread[0], height * room / spread[1])
        x, y = (low + high) / 2
        return cls(float(x), float(y), float(max(scale, 1e-9)), max(width, 1), max(height, 1))

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Map to widget: ``[n, 2]`` of the dtype of the points."""
        return np.stack(_pixels(self, points[:, 0], points[:, 1]), axis=1)

    def to_map(self, px: float, py: float) -> tuple[float, float]:
        """Widget to map."""
        return (
            self.x + (px - self.width / 2) / self.scale,
            self.y - (py - self.height / 2) / self.scale,
        )

    def zoomed(self, factor: float, px: float, py: float) -> View:
        """Zoomed by ``factor`` about a pixel, which keeps its place on the map."""
        x, y = self.to_map(px, py)
        scale = self.scale * factor
        return replace(
            self,
            scale=scale,
            x=x - (px - self.width / 2) / scale,
            y=y + (py - self.height / 2) / scale,
        )

    def moved(self, dx: float, dy: float) -> View:
        """Dragged by some pixels."""
        return replace(self, x=self.x - dx / self.scale, y=self.y + dy / self.scale)

    def resized(self, width: int, height: int) -> View:
        """The same middle and scale in a widget of another size."""
        factor = min(width / self.width, height / self.height)
        return replace(
            self, width=max(width, 1), height=max(height, 1), scale=self.scale * max(factor, 1e-6)
        )


def _pixels(view: View, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows, of the dtype of the points; near the middle nothing is lost to rounding."""
    kind = x.dtype.type
    column, row = x - kind(view.x), y - kind(view.y)
    column *= kind(view.scale)
    row *= kind(-view.scale)
    column += kind(view.width / 2)
    row += kind(view.height / 2)
    return column, row


@dataclass(frozen=True, eq=False)
class Density:
    """Points per cell of a picture of ``rows`` × ``columns`` cells; empty cells are left out.

    Attributes
    ----------
    at
        Number of each cell that holds points, ascending: row · columns + column.
    count
        float32 ``[cells]``: weight of the points in each.
    colour
        float32 ``[cells, 3]``: their mean colour, 0 to 1.
    rows, columns
        Of the picture.
    cell
        Side of a cell in pixels of the view.
    """

    at: np.ndarray
    count: np.ndarray
    colour: np.ndarray
    rows: int
    columns: int
    cell: int = 1


@dataclass(frozen=True, eq=False)
class Cloud:
    """Coloured points, laid out in memory so that they are drawn fast.

    Attributes
    ----------
    x, y
        float32 ``[n]``, in units of the map.
    paint
        float64 ``[4, n]``: the weight of each point in its cell, and its colour times this weight.
    """

    x: np.ndarray
    y: np.ndarray
    paint: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, colours: np.ndarray, chosen: np.ndarray | None = None) -> Cloud:
        """Points ``[n, 2]`` with colours ``[n, 3]`` from 0 to 1.

        Where some are ``chosen`` (bool ``[n]``), the others are faint.
        """
        weight = np.ones(len(points))
        if chosen is not None:
            weight[~chosen] = BACKGROUND_ALPHA
        paint = np.concatenate([weight[None], colours.T * weight])
        x, y = np.ascontiguousarray(points.T, np.float32)
        return cls(x, y, paint)

    def places(self, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixel columns and rows (float32), and which of the points the view shows."""
        column, row = _pixels(view, self.x, self.y)
        inside = (column >= 0) & (column < view.width)
        inside &= row >= 0
        inside &= row < view.height
        return column, row, inside


def aggregate(view: View, cloud: Cloud, cell: int = 1) -> Density:
    """Count the points in each cell of ``cell`` × ``cell`` pixels and average their colours.

    Points outside of the view count nowhere.
    """
    column, row, inside = cloud.places(view)
    return _binned(view, cloud.paint, column, row, inside, cell)


def _binned(
    view: View,
    paint: np.ndarray,
    column: np.ndarray,
    row: np.ndarray,
    inside: np.ndarray,
    cell: int,
) -> Density:
    columns, rows = -(-view.width // cell), -(-view.height // cell)
    size = columns * rows
    if cell > 1:
        column, row = column * np.float32(1 / cell), row * np.float32(1 / cell)
    # What lies outside goes to a bin of its own, which is cheaper than to take the rest out.
    at = np.where(inside, row, 0).astype(np.int32) * np.int32(columns)
    at += np.where(inside, column, 0).astype(np.int32)
    at[~inside] = size
    at = at.astype(np.intp)
    count = np.bincount(at, paint[0], size + 1)[:size]
    filled = np.flatnonzero(count)
    count = count[filled]
    totals = [np.bincount(at, part, size + 1)[filled] for part in paint[1:]]
    colour = np.stack(totals, axis=1) / count[:, None]
    return Density(filled, count.astype(np.float32), colour.astype(np.float32), rows, columns, cell)


def spread(density: Density, radius: float) -> Density:
    """Soft discs of ``radius`` cells in place of single cells, so that lone points can be seen."""
    reach = int(np.ceil(radius))
    rows, columns = density.rows, density.columns
    count = density.count[:, None]
    values = np.concatenate([count, density.colour * count], axis=1)
    wide = columns + 2 * reach
    out = np.zeros(((rows + 2 * reach) * wide, 4), np.float32)
    touched = np.zeros(len(out), bool)
    at = (density.at // columns + reach) * wide + density.at % columns + reach
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            part = np.float32(np.clip(radius + 0.5 - np.hypot(dx, dy), 0, 1))
            if part > 0:
                # Each cell has a target of its own, so that none is added to twice at once.
                there = at + (dy * wide + dx)
                out[there] += values * part
                touched[there] = True
    touched = touched.reshape(-1, wide)[reach : reach + rows, reach : reach + columns].ravel()
    cells = np.flatnonzero(touched)
    found = out[(cells // columns + reach) * wide + cells % columns + reach]
    return Density(cells, found[:, 0], found[:, 1:] / found[:, :1], rows, columns, density.cell)


def shade(density: Density, *, lone: float = 0.8) -> np.ndarray:
    """The picture of a density: uint8 RGBA ``[rows, columns, 4]``, not premultiplied.

    A single point has the opacity ``lone``; more points come nearer to full opacity, by the
    logarithm of their number.
    """
    picture = np.zeros((density.rows * density.columns, 4), np.uint8)
    alpha = np.minimum(density.count, 1) * np.float32(lone)
    many = density.count > 1
    alpha[many] = np.minimum(lone + 0.08 * np.log2(density.count[many]), 1)
    painted = np.concatenate([np.clip(density.colour, 0, 1), alpha[:, None]], axis=1)
    picture[density.at] = (painted * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return picture.reshape(density.rows, density.columns, 4)


def render(view: View, cloud: Cloud, *, pixel_ratio: float = 1.0) -> tuple[np.ndarray, int]:
    """The picture of a map: uint8 RGBA, and the side of its pixels in pixels of the view.

    Up to `MOST_DISCS` points that the view shows are drawn as discs, more as cells.

    Parameters
    ----------
    view
        In physical pixels.
    pixel_ratio
        Physical pixels per logical one: points are as large on every display.
    """
    column, row, inside = cloud.places(view)
    shown = int(np.count_nonzero(inside))
    if shown > MOST_DISCS:
        cell = max(1, round(2 * pixel_ratio))
        return shade(_binned(view, cloud.paint, column, row, inside, cell)), cell
    paint, column, row = cloud.paint[:, inside], column[inside], row[inside]
    density = _binned(view, paint, column, row, np.ones(shown, bool), 1)
    return shade(spread(density, pixel_ratio * point_radius(shown, view, pixel_ratio))), 1


def point_radius(shown: int, view: View, pixel_ratio: float = 1.0) -> float:
    """Radius of a point in logical pixels, where the view shows so many."""
    room = view.width * view.height / pixel_ratio**2 / max(shown, 1)
    return float(np.clip(0.19 * room**0.5, 1.0, 4.5))


def in_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Which points lie within a polygon, by the even-odd rule: bool ``[n]``.

    The polygon ``[k, 2]`` closes itself; with fewer than three corners it holds nothing. Points
    are sorted by height first, so that each edge looks only at those that it passes.
    """
    inside = np.zeros(len(points), bool)
    if len(polygon) < 3:
        return inside
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
    near = near[np.argsort(points[near, 1], kind="stable")]
    x, y = points[near, 0].astype(np.float64), points[near, 1].astype(np.float64)
    found = np.zeros(len(near), bool)
    corners = polygon.astype(np.float64)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        a, b = np.searchsorted(y, [min(y0, y1), max(y0, y1)])
        found[a:b] ^= x[a:b] < x0 + (y[a:b] - y0) * ((x1 - x0) / (y1 - y0))
    inside[near] = found
    return inside


def nearest(view: View, points: np.ndarray, px: float, py: float, reach: float) -> int | None:
    """The point nearest to a pixel, or None if none lies within ``reach`` pixels.

    All points are looked at, which takes a millisecond for 300,000 of them; a search tree would
    first have to be built.
    """
    if not len(points):
        return None
    x, y = view.to_map(px, py)
    away = np.square(points[:, 0] - points.dtype.type(x))
    away += np.square(points[:, 1] - points.dtype.type(y))
    i = int(away.argmin())
    return i if away[i] <= (reach / view.scale) ** 2 else None


def mixed_colours(
    share: np.ndarray, palette: np.ndarray, nothing: np.ndarray, unknown: np.ndarray
) -> np.ndarray:
    """Colours of moments by the behaviours in them: float32 ``[n, 3]``.

    Behaviours that hold at once are mixed, and the rarer ones count more: of "walk" and "groom"
    one wants to see the one that is not everywhere.

    Parameters
    ----------
    share
        float32 ``[n, behaviours]``: share of each moment in which each behaviour holds; NaN where
        nobody looked.
    palette
        float32 ``[behaviours, 3]``.
    nothing, unknown
        float32 ``[3]``: colours of moments that hold none of them, and that nobody looked at.
    """
    known = np.isfinite(share)
    present = np.where(known & (share >= 0.5), share, 0).astype(np.float32)
    frequency = present.mean(axis=0) if len(present) else np.ones(share.shape[1])
    weight = present / np.maximum(frequency, 1e-6)
    total = weight.sum(axis=1, keepdims=True)
    colours = np.where(
        known.any(axis=1, keepdims=True), nothing.astype(np.float32), unknown.astype(np.float32)
    )
    some = total[:, 0] > 0
    colours[some] = (weight[some] / total[some]) @ palette.astype(np.float32)
    return colours.astype(np.float32)


def ramp_colours(values: np.ndarray, stops: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Colours of values from 0 to 1 along a ramp ``[k, 3]``; ``unknown`` where they are NaN."""
    place = np.linspace(0, 1, len(stops))
    known = np.isfinite(values)
    clipped = np.clip(np.where(known, values, 0), 0, 1)
    columns = [np.interp(clipped, place, stops[:, channel]) for channel in range(3)]
    return np.where(known[:, None], np.stack(columns, axis=1), unknown).astype(np.float32)
