"""What the pointer does on the timeline: gestures, hovering, the wheel, and tooltips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint, QRect, QRectF, Qt
from qtpy.QtGui import QPainter, QPen
from qtpy.QtWidgets import QApplication, QToolTip

from napari_ethoprism.session import Selection, Span
from napari_ethoprism.timeline_gestures import Gesture, Pan, Resize, Scrub, SelectSpan
from napari_ethoprism.timeline_model import Hit, hit
from napari_ethoprism.timeline_paint import colour
from napari_ethoprism.timeline_raster import Theme, mixed
from napari_ethoprism.timeline_tips import bout_tip, frame_tip, row_tip

if TYPE_CHECKING:
    from napari_ethoprism.timeline_canvas import TimelineCanvas

_REACH = 4.0
_PULL = 0.25
_STEP = 1.25
"""How much closer one notch of the wheel brings the view."""


class Pointer:
    """The pointer over one canvas.

    Attributes
    ----------
    gesture
        The drag that is under way, or None.
    """

    def __init__(self, canvas: TimelineCanvas) -> None:
        self._canvas = canvas
        self.gesture: Gesture | None = None
        self._hover: tuple[int, Hit] | None = None
        self._doubled = False

    def press(self, event: Any) -> None:
        """Begin a gesture."""
        canvas, at = self._canvas, event.position()
        if canvas.feed.session.recording is None:
            return
        x = canvas.view_x(at.x())
        row = canvas.row_at(at.y())
        button, held = event.button(), event.modifiers()
        panning = button == Qt.MouseButton.LeftButton and held & Qt.KeyboardModifier.ShiftModifier
        if button == Qt.MouseButton.MiddleButton or panning:
            self.gesture = Pan(x)
        elif button != Qt.MouseButton.LeftButton:
            return
        elif x < 0:
            self._choose(row)
            return
        else:
            self.gesture = self._begin(x, at.y(), row, bool(held & _CONTROL))
            self._follow(event)

    def _begin(self, x: float, y: float, row: int | None, control: bool) -> Gesture:
        canvas = self._canvas
        feed, session = canvas.feed, canvas.feed.session
        on_ruler = y < canvas.ruler_height
        if not feed.recording or (on_ruler and not control):
            return Scrub(session)
        found = self._edge_at(x, y, row)
        if found is not None and not control:
            return Resize(feed, canvas.data, found)
        least = QApplication.startDragDistance() / 2 * canvas.devicePixelRatioF()
        return SelectSpan(feed, canvas.view, x, row, least)

    def move(self, event: Any) -> None:
        """Follow the pointer, or say what lies under it."""
        if self.gesture is not None:
            self._follow(event)
        else:
            self._look(event.position().x(), event.position().y())

    def _follow(self, event: Any) -> None:
        canvas, gesture = self._canvas, self.gesture
        if gesture is None:
            return
        before = gesture.preview
        free = bool(event.modifiers() & Qt.KeyboardModifier.AltModifier)
        x = canvas.view_x(event.position().x())
        beyond = min(x, 0.0) + max(x - canvas.view.width, 0.0)
        if beyond and not isinstance(gesture, Pan):
            # Beyond an edge of the view it comes along, a little with each movement.
            canvas.show_view(canvas.view.panned(beyond * canvas.view.scale * _PULL))
        canvas.show_view(gesture.move(canvas.view, x, free=free))
        if gesture.preview != before:
            canvas.update()

    def release(self, event: Any) -> None:
        """Do what the gesture showed."""
        gesture, self.gesture = self.gesture, None
        if gesture is not None:
            gesture.finish()
            self._canvas.update()
            self._look(event.position().x(), event.position().y())

    def cancel(self) -> bool:
        """Give the gesture up; whether there was one."""
        gesture, self.gesture = self.gesture, None
        self._canvas.update()
        return gesture is not None

    def data_changed(self) -> None:
        """Bouts have other places now: forget those that were held."""
        self._hover = None
        if isinstance(self.gesture, Resize):
            self.cancel()

    def double_click(self, event: Any) -> None:
        """Select the bout or the predicted bout under the pointer, and its behaviour."""
        canvas, at = self._canvas, event.position()
        row, x = canvas.row_at(at.y()), canvas.view_x(at.x())
        if row is None or x < 0 or event.button() != Qt.MouseButton.LeftButton:
            return
        data, session = canvas.data, canvas.feed.session
        found = hit(data.bouts, row, x, canvas.view, _REACH)
        if found is not None:
            span = int(data.bouts.starts[found.bout]), int(data.bouts.stops[found.bout])
        else:
            span = data.decided.at(row, canvas.view.frame_at(x))
        if span is None:
            return
        session.behaviour = data.rows[row].behaviour
        whose = data.rows[row].subject
        session.selection = Selection((Span(canvas.feed.recording, *span),), "timeline", whose)

    def wheel(self, event: Any) -> None:
        """Zoom at the pointer; with Shift or sideways pan; with Ctrl row height; labels scroll."""
        canvas, at = self._canvas, event.position()
        turn, held = event.angleDelta(), event.modifiers()
        notches = turn.y() / 120
        x = canvas.view_x(at.x())
        if held & Qt.KeyboardModifier.ControlModifier:
            height = canvas.layout_of_rows.row_height
            canvas.set_row_height(height + round(notches * 2))
        elif held & Qt.KeyboardModifier.ShiftModifier or abs(turn.x()) > abs(turn.y()):
            notches = (turn.x() or turn.y()) / 120
            canvas.show_view(canvas.view.panned(-notches * canvas.view.frames * 0.1))
        elif x < 0 or held & Qt.KeyboardModifier.AltModifier:
            canvas.scroll_by(-round(notches * 3 * canvas.layout_of_rows.row_height))
        elif notches:
            canvas.show_view(canvas.view.zoomed(_STEP**notches, x))
        event.accept()

    def leave(self) -> None:
        """The pointer lies elsewhere."""
        if self._hover is not None:
            self._hover = None
            self._canvas.update()

    def tell(self, event: Any) -> None:
        """Show the tooltip of what lies under the pointer."""
        canvas, at = self._canvas, event.pos()
        text, x, row = "", canvas.view_x(at.x()), canvas.row_at(at.y())
        if canvas.feed.session.recording is None or self.gesture is not None:
            pass
        elif x < 0:
            text = row_tip(canvas.data, row) if row is not None else ""
        elif row is None:
            text = frame_tip(canvas.feed, canvas.view.frame_at(x))
        else:
            found = hit(canvas.data.bouts, row, x, canvas.view, _REACH)
            text = bout_tip(canvas.feed, row, found, canvas.view.frame_at(x))
        QToolTip.showText(
            event.globalPos(), text, canvas, QRect(at - QPoint(2, 2), at + QPoint(2, 2))
        )

    def paint(self, painter: QPainter, theme: Theme) -> None:
        """What is hovered, and what the gesture would do."""
        canvas = self._canvas
        shown = None if self.gesture is None else self.gesture.preview
        if shown is not None and shown.row is None:
            left, right = canvas.x_of(shown.start), canvas.x_of(shown.stop)
            rect = QRectF(left, 0, max(right - left, 1), canvas.height())
            painter.fillRect(rect, colour(theme.accent, 70))
        elif shown is not None and shown.row is not None and shown.bout is not None:
            bouts = canvas.data.bouts
            old = int(bouts.starts[shown.bout]), int(bouts.stops[shown.bout])
            tone = theme.shown(canvas.data.rows[shown.row].colour)
            painter.fillRect(self._rect(shown.row, *old), colour(theme.lane))
            painter.fillRect(self._rect(shown.row, shown.start, shown.stop), colour(tone))
            self._outline(painter, theme, shown.row, shown.start, shown.stop)
        elif self._hover is not None:
            row, found = self._hover
            bouts = canvas.data.bouts
            ends = int(bouts.starts[found.bout]), int(bouts.stops[found.bout])
            self._outline(painter, theme, row, *ends)

    def _outline(self, painter: QPainter, theme: Theme, row: int, start: int, stop: int) -> None:
        painter.setPen(QPen(colour(mixed(theme.background, theme.text, 0.95)), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(self._rect(row, start, stop).adjusted(0.5, 0.5, -0.5, -0.5))

    def _rect(self, row: int, start: int, stop: int) -> QRectF:
        canvas = self._canvas
        top, bottom = canvas.bout_band(row)
        # Far beyond the edges of the widget a painter loses precision.
        left = max(canvas.x_of(start), -10.0)
        right = min(canvas.x_of(stop), canvas.width() + 10.0)
        return QRectF(left, top, max(right - left, 2), bottom - top)

    def _edge_at(self, x: float, y: float, row: int | None) -> Hit | None:
        """The edge that a press would move."""
        canvas = self._canvas
        if row is None or not canvas.feed.writable:
            return None
        top, bottom = canvas.bout_band(row)
        if not top - 1 <= y <= bottom + 1 or canvas.data.rows[row].kind == "point":
            return None
        reach = _REACH * canvas.devicePixelRatioF()
        found = hit(canvas.data.bouts, row, x, canvas.view, reach)
        return found if found is not None and found.edge else None

    def _look(self, x: float, y: float) -> None:
        canvas = self._canvas
        row, place = canvas.row_at(y), canvas.view_x(x)
        found = None
        if row is not None and place >= 0:
            found = hit(canvas.data.bouts, row, place, canvas.view, _REACH)
        edge = self._edge_at(place, y, row) if place >= 0 else None
        shape = Qt.CursorShape.SplitHCursor if edge is not None else Qt.CursorShape.ArrowCursor
        if canvas.cursor().shape() != shape:
            canvas.setCursor(shape)
        hover = None if row is None or found is None else (row, found)
        if hover != self._hover:
            self._hover = hover
            canvas.update()

    def _choose(self, row: int | None) -> None:
        """A click on a row's label chooses its behaviour and subject."""
        if row is not None:
            session, chosen = self._canvas.feed.session, self._canvas.data.rows[row]
            session.behaviour = chosen.behaviour
            session.subject = chosen.subject


_CONTROL = Qt.KeyboardModifier.ControlModifier
