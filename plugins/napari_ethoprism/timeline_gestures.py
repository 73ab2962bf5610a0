"""What dragging on the timeline does: seek, pan, select a span, resize a bout.

Each gesture follows the pointer, shows what it would do, and does it once, at its end. It can be
cancelled until then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism.edits import move_edges
from ethoprism.errors import EthoPrismError
from napari_ethoprism.session import Selection, Session, Span
from napari_ethoprism.timeline_data import TimelineData
from napari_ethoprism.timeline_feed import TimelineFeed
from napari_ethoprism.timeline_model import Hit, View, resized, snapped

SNAP = 7.0
"""Pixels within which an edge snaps."""


@dataclass(frozen=True)
class Preview:
    """A range that a gesture would make: in a row for a bout, in none for a selection."""

    start: int
    stop: int
    row: int | None = None
    bout: int | None = None


class Gesture:
    """One drag, from its press to its release; positions are pixels of the view."""

    preview: Preview | None = None

    def move(self, view: View, x: float, *, free: bool) -> View:
        """Follow the pointer; ``free`` switches snapping off. The view to show is returned."""
        return view

    def finish(self) -> None:
        """Do what was shown."""


class Scrub(Gesture):
    """Seeks along with the pointer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: int | None = None

    def move(self, view: View, x: float, *, free: bool) -> View:
        frame = view.frame_at(x)
        if frame != self._last:
            self._last = frame
            self._session.seek(frame)
        return view


class Pan(Gesture):
    """Moves the view with the pointer."""

    def __init__(self, x: float) -> None:
        self._x = x

    def move(self, view: View, x: float, *, free: bool) -> View:
        view = view.panned((self._x - x) * view.scale)
        self._x = x
        return view


class SelectSpan(Gesture):
    """Selects the frames between the press and the pointer; a press alone seeks."""

    def __init__(
        self, feed: TimelineFeed, view: View, x: float, row: int | None, least: float
    ) -> None:
        self._feed, self._row, self._least = feed, row, least
        self._pressed = x
        self._frame = view.frame_at(x)
        self._edge = _snap(feed, view, view.edge_at(x), row)

    def move(self, view: View, x: float, *, free: bool) -> View:
        if self.preview is None and abs(x - self._pressed) < self._least:
            return view
        begin, edge = self._edge, view.edge_at(x)
        if free:
            begin = min(self._frame, edge)
        else:
            edge = _snap(self._feed, view, edge, self._row)
        if edge == begin:
            begin, edge = self._frame, self._frame + 1
        self.preview = Preview(min(begin, edge), max(begin, edge))
        return view

    def finish(self) -> None:
        session = self._feed.session
        if self.preview is None:
            session.seek(self._frame)
            return
        data = self._feed.data
        row = None if self._row is None or data is None else data.rows[self._row]
        span = Span(self._feed.recording, self.preview.start, self.preview.stop)
        session.selection = Selection((span,), "timeline", row.subject if row else "")


class Resize(Gesture):
    """Moves an edge of a bout; one edit at the end."""

    def __init__(self, feed: TimelineFeed, data: TimelineData, found: Hit) -> None:
        self._feed, self._data, self._hit = feed, data, found
        bouts = data.bouts
        self._id = int(bouts.ids[found.bout])
        self._row = int(bouts.rows[found.bout])
        self._range = int(bouts.starts[found.bout]), int(bouts.stops[found.bout])

    def move(self, view: View, x: float, *, free: bool) -> View:
        to = view.edge_at(x)
        if not free:
            to = _snap(self._feed, view, to, self._row, leave=self._range)
        start, stop = resized(*self._range, self._hit.edge, to, self._data.n_frames)
        self.preview = Preview(start, stop, self._row, self._hit.bout)
        return view

    def finish(self) -> None:
        session, recording = self._feed.session, self._feed.recording
        labels, project = session.labels, session.project
        if self.preview is None or labels is None or project is None:
            return
        start, stop = self.preview.start, self.preview.stop
        if (start, stop) == self._range:
            return
        try:
            labelled = labels.labelled(project, recording)
            labels.commit(move_edges(labelled, self._id, start=start, stop=stop))
        except EthoPrismError as error:
            session.notify(error)


def _snap(
    feed: TimelineFeed,
    view: View,
    edge: int,
    row: int | None,
    leave: tuple[int, ...] = (),
) -> int:
    """Snap to the playhead, the recording's ends, and bouts of the row."""
    data, frame = feed.data, feed.session.frame
    candidates = [np.array([0, view.n_frames])]
    if frame is not None:
        candidates.append(np.array([frame, frame + 1]))
    if data is not None and row is not None:
        part = data.bouts.in_row(row)
        candidates += [data.bouts.starts[part], data.bouts.stops[part]]
        candidates.append(data.decided.edges(row))
    every = np.concatenate(candidates)
    return snapped(edge, every[~np.isin(every, leave)], view, SNAP)
