"""The timeline's arithmetic: which frames a pixel column shows, and what lies in them; no Qt.

A view of ``width`` pixel columns shows the frames from ``start`` to ``stop``, which need not be
whole. Everything that is drawn is asked for by column, for all rows at once, so that a redraw costs
the same whether a recording holds ten bouts or a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np

WIDEST_FRAME = 48
"""Pixels that one frame is wide at the closest zoom."""


@dataclass(frozen=True)
class View:
    """Which frames ``width`` pixel columns show.

    Where a column holds several frames, column ``c`` shows those from ``first(c)`` up to
    ``first(c + 1)``: every frame lies in exactly one column. Where a frame is wider than a column,
    column ``c`` shows frame ``first(c)``.

    Attributes
    ----------
    start, stop
        Frames at the left edge of the first column and the right edge of the last one.
    width
        Pixel columns, at least 1.
    n_frames
        Frames of the recording, at least 1; the view lies within 0 and this.
    """

    start: float
    stop: float
    width: int
    n_frames: int

    @classmethod
    def whole(cls, width: int, n_frames: int) -> View:
        """All frames of a recording."""
        return cls(0.0, float(max(n_frames, 1)), max(int(width), 1), max(int(n_frames), 1))

    @property
    def scale(self) -> float:
        """Frames per pixel column."""
        return (self.stop - self.start) / self.width

    @property
    def frames(self) -> float:
        """Frames that are shown, in part or in whole."""
        return self.stop - self.start

    def frame_at(self, x: float) -> int:
        """The first frame that the column at ``x`` shows; the nearest one outside of the view."""
        column = min(max(int(np.floor(x)), 0), self.width - 1)
        frame = int(np.floor(self.start + column * self.scale))
        return min(max(frame, 0), self.n_frames - 1)

    def edge_at(self, x: float) -> int:
        """The boundary between two frames that is nearest to ``x``, within the recording."""
        return min(max(round(self.start + x * self.scale), 0), self.n_frames)

    @overload
    def x_of(self, edge: float) -> float: ...

    @overload
    def x_of(self, edge: np.ndarray) -> np.ndarray: ...

    def x_of(self, edge: float | np.ndarray) -> float | np.ndarray:
        """Where the left edge of a frame lies, in pixels from the left; not bounded."""
        return (edge - self.start) / self.scale

    def width_of(self, frames: float) -> float:
        """How many pixels wide so many frames are."""
        return frames / self.scale

    def shown(self, frame: int) -> bool:
        """Whether a frame lies wholly or partly in the view."""
        return self.start - 1 < frame < self.stop

    def resized(self, width: int) -> View:
        """The same frames in another number of columns, as far as the closest zoom allows."""
        return replace(self, width=max(int(width), 1))._within(self.start, self.frames)

    def zoomed(self, factor: float, x: float) -> View:
        """Closer by ``factor`` (above 1) or further out; what lies at ``x`` stays there."""
        frames = self.frames / factor
        frames = min(max(frames, self._fewest()), float(self.n_frames))
        fixed = self.start + x * self.scale
        return self._within(fixed - x * frames / self.width, frames)

    def panned(self, frames: float) -> View:
        """Later by so many frames, as far as the recording goes."""
        return self._within(self.start + frames, self.frames)

    def fitted(self, start: float, stop: float, margin: float = 0.05) -> View:
        """A view of the frames ``start`` to ``stop`` with a share of ``margin`` on either side."""
        frames = max((stop - start) * (1 + 2 * margin), self._fewest())
        return self._within((start + stop - frames) / 2, frames)

    def revealing(self, frame: int, share: float = 0.5) -> View:
        """This view if it shows the frame; else moved so that it lies at ``share`` of the width."""
        if self.shown(frame):
            return self
        return self._within(frame - share * self.frames, self.frames)

    def _fewest(self) -> float:
        return min(max(self.width / WIDEST_FRAME, 1.0), float(self.n_frames))

    def _within(self, start: float, frames: float) -> View:
        frames = min(max(frames, self._fewest()), float(self.n_frames))
        start = min(max(start, 0.0), self.n_frames - frames)
        return replace(self, start=start, stop=start + frames)

    def columns(self) -> Columns:
        """The frames of each column."""
        first = np.floor(self.start + np.arange(self.width + 1) * self.scale).astype(np.int64)
        np.clip(first, 0, self.n_frames, out=first)
        if self.scale >= 1:
            first[-1] = min(int(np.ceil(self.stop)), self.n_frames)
            return Columns(first, first, None)
        last = max(int(first[-2]), 0)
        cells = np.arange(first[0], last + 2)
        return Columns(first, cells, first[:-1] - first[0])


@dataclass(frozen=True, eq=False)
class Columns:
    """The frames of each pixel column of a view.

    Attributes
    ----------
    first
        int64 ``[width + 1]``: the first frame of each column, and where the last one ends.
    edges
        int64 ``[cells + 1]``: boundaries of the cells for which values are worked out: columns, or
        frames where these are wider.
    cell
        The cell of each column, or None where they are the same.
    """

    first: np.ndarray
    edges: np.ndarray
    cell: np.ndarray | None

    @property
    def lengths(self) -> np.ndarray:
        """Frames of each cell, at least 1."""
        return np.maximum(np.diff(self.edges), 1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Values of cells, along the last axis, as values of columns."""
        return values if self.cell is None else np.take(values, self.cell, axis=-1)

    def column_of(self, edges: np.ndarray) -> np.ndarray:
        """The column in which each frame begins to be shown; 0 before the view, width after it."""
        columns = self.first[:-1]
        if self.cell is None:
            found = np.searchsorted(columns, edges, side="right") - 1
            found[np.asarray(edges) >= self.first[-1]] = len(columns)
        else:
            found = np.searchsorted(columns, edges, side="left")
        return np.clip(found, 0, len(columns))


class Ranges:
    """Half-open ranges of frames in rows, joined where they touch or overlap.

    The rows lie one after the other on one axis, ``n_frames + 1`` apart. So the number of frames up
    to any place, in any rows at once, is one binary search and one sum that was made beforehand.

    Parameters
    ----------
    rows, starts, stops
        The row, the first frame and the frame after the last one of each range, in any order.
    n_frames
        Frames of the recording; ranges are cut to it, and empty ones are left out.
    """

    def __init__(
        self, rows: np.ndarray, starts: np.ndarray, stops: np.ndarray, n_frames: int
    ) -> None:
        self.n_frames = int(n_frames)
        self._period = self.n_frames + 1
        starts = np.clip(np.asarray(starts, np.int64), 0, n_frames)
        stops = np.clip(np.asarray(stops, np.int64), 0, n_frames)
        kept = stops > starts
        base = np.asarray(rows, np.int64)[kept] * self._period
        begin, end = base + starts[kept], base + stops[kept]
        order = np.argsort(begin, kind="stable")
        begin, end = begin[order], np.maximum.accumulate(end[order])
        new = np.ones(len(begin), bool)
        new[1:] = begin[1:] > end[:-1]
        self._begin = begin[new]
        self._end = end[np.append(np.flatnonzero(new)[1:] - 1, len(end) - 1)] if len(end) else end
        lengths = self._end - self._begin
        # Frames of earlier ranges, less where this one begins: added to a place within the range it
        # gives the frames up to there.
        self._offset = np.cumsum(lengths) - lengths - self._begin
        if len(end) == 0 or end[-1] < np.iinfo(np.int32).max - self._period:
            self._narrow()

    @classmethod
    def none(cls, n_frames: int) -> Ranges:
        """No ranges."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, empty, n_frames)

    def __len__(self) -> int:
        return len(self._begin)

    def _narrow(self) -> None:
        """Halve the memory that a search runs through, which makes it faster."""
        self._begin, self._end = self._begin.astype(np.int32), self._end.astype(np.int32)
        self._offset = self._offset.astype(np.int32)

    def filled(self, rows: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """Frames that lie in ranges, ``[rows, cells]``, between one edge and the next."""
        if not len(self._begin):
            return np.zeros((len(rows), len(edges) - 1), np.int32)
        base = np.asarray(rows, np.int64)[:, None] * self._period
        # Places beyond the last range are as good as its end, and fit the narrow type.
        places = np.minimum(base + edges, int(self._end[-1])).astype(self._begin.dtype)
        last = self._last_before(base, edges)
        before = last < 0
        np.maximum(last, 0, out=last)
        count = np.minimum(places, self._end[last])
        count += self._offset[last]
        count[before] = 0
        return np.diff(count, axis=1)

    def _last_before(self, base: np.ndarray, edges: np.ndarray) -> np.ndarray:
        """The last range that begins at or before each edge, ``[rows, edges]``; −1 for none.

        Each range in view is put where it begins, and these are summed up. That is faster than a
        search for every edge, and as fast as can be where few ranges are in view.
        """
        first, last = np.searchsorted(self._begin, base + edges[[0, -1]], side="right").T
        count = last - first
        row = np.repeat(np.arange(len(base)), count)
        which = np.arange(len(row)) + np.repeat(first - np.cumsum(count) + count, count)
        begin = self._begin[which] - base[row, 0]
        at = _first_not_below(edges, begin)
        cells = len(edges)
        steps = np.bincount(row * cells + at, minlength=len(base) * cells)
        return np.cumsum(steps.reshape(-1, cells), axis=1) + (first - 1)[:, None]

    def at(self, row: int, frame: int) -> tuple[int, int] | None:
        """The range of a row that holds a frame, or None."""
        place = row * self._period + frame
        i = int(np.searchsorted(self._begin, place, side="right")) - 1
        if i < 0 or place >= self._end[i]:
            return None
        base = row * self._period
        return int(self._begin[i] - base), int(self._end[i] - base)

    def edges(self, row: int) -> np.ndarray:
        """Where the ranges of a row begin and end, in order."""
        base = row * self._period
        first, last = np.searchsorted(self._begin, (base, base + self._period))
        both = np.stack([self._begin[first:last], self._end[first:last]], axis=1)
        return both.ravel() - base


def _first_not_below(edges: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The first of ``edges`` that is not below each value; the values lie between first and last.

    Edges are nearly even, so a guess is at most one off; where it is not, they are searched.
    """
    pace = (len(edges) - 1) / max(int(edges[-1] - edges[0]), 1)
    at = np.clip(np.ceil((values - edges[0]) * pace), 1, len(edges) - 1).astype(np.int64)
    at += edges[at] < values
    np.minimum(at, len(edges) - 1, out=at)
    at -= edges[at - 1] >= values
    right = (edges[at] >= values) & ((at == 0) | (edges[np.maximum(at - 1, 0)] < values))
    return at if right.all() else np.searchsorted(edges, values)


@dataclass(frozen=True, eq=False)
class Bouts:
    """Bouts of one recording, as arrays of one length in order of row and start.

    Attributes
    ----------
    ids
        Their ids in the annotation store.
    rows, starts, stops
        Row of the timeline and half-open range of frames.
    sources
        Index into `ethoprism.annotation.SOURCES`.
    """

    ids: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    sources: np.ndarray

    @classmethod
    def ordered(
        cls,
        ids: np.ndarray,
        rows: np.ndarray,
        starts: np.ndarray,
        stops: np.ndarray,
        sources: np.ndarray,
    ) -> Bouts:
        """Bouts given in any order; those in rows below 0 are not shown and left out."""
        order = np.lexsort((starts, rows))
        order = order[rows[order] >= 0]
        return cls(ids[order], rows[order], starts[order], stops[order], sources[order])

    def __len__(self) -> int:
        return len(self.ids)

    def in_row(self, row: int) -> slice:
        """Where the bouts of a row lie."""
        first, last = np.searchsorted(self.rows, (row, row + 1))
        return slice(int(first), int(last))


@dataclass(frozen=True)
class Hit:
    """What lies under the pointer: a bout by its place in `Bouts`, and which part of it."""

    bout: int
    edge: str
    """``start``, ``stop``, or empty for the bout itself."""


def hit(bouts: Bouts, row: int, x: float, view: View, reach: float = 4.0) -> Hit | None:
    """The bout or the edge of one at ``x`` pixels in a row, or None.

    An edge is held within ``reach`` pixels of it. Of a bout that is too narrow for that, the middle
    third is the bout itself. Where two bouts share a boundary, the side of the pointer decides.
    A bout of less than a pixel can still be hit.
    """
    part = bouts.in_row(row)
    if part.start == part.stop:
        return None
    left = view.x_of(bouts.starts[part])
    right = np.maximum(view.x_of(bouts.stops[part]), left + 1)
    inner = np.minimum(reach, (right - left) / 3)
    # Within a bout the distance to its edge counts; outside of it, a little more than that.
    from_start = np.where(x >= left, x - left, (left - x) * 1.01 + 0.01)
    from_stop = np.where(x < right, right - x, (x - right) * 1.01 + 0.01)
    near_start = from_start <= np.where(x >= left, inner, reach)
    near_stop = from_stop <= np.where(x < right, inner, reach)
    distance = np.minimum(
        np.where(near_start, from_start, np.inf), np.where(near_stop, from_stop, np.inf)
    )
    nearest = int(np.argmin(distance))
    if np.isfinite(distance[nearest]):
        at_start = near_start[nearest] and (
            not near_stop[nearest] or from_start[nearest] <= from_stop[nearest]
        )
        return Hit(part.start + nearest, "start" if at_start else "stop")
    inside = np.flatnonzero((x >= left) & (x < right))
    if not len(inside):
        return None
    shortest = inside[np.argmin((right - left)[inside])]
    return Hit(part.start + int(shortest), "")


def snapped(edge: int, candidates: np.ndarray | Sequence[int], view: View, reach: float) -> int:
    """The candidate nearest to a frame boundary if it lies within ``reach`` pixels, or itself."""
    candidates = np.asarray(candidates, np.int64)
    if not len(candidates):
        return edge
    nearest = int(candidates[np.argmin(np.abs(candidates - edge))])
    return nearest if view.width_of(abs(nearest - edge)) <= reach else edge


def resized(start: int, stop: int, edge: str, to: int, n_frames: int) -> tuple[int, int]:
    """A range with one edge moved: at least one frame long, and within the recording."""
    if edge == "start":
        return min(max(to, 0), stop - 1), stop
    return start, max(min(to, n_frames), start + 1)
