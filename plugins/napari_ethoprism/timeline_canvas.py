"""The timeline's canvas: rows, ruler, labels, selection and playhead of one recording.

To time a full redraw without a screen: make a `Session` whose ``moment`` is a `Recording`, then
``canvas = TimelineCanvas(TimelineFeed(session))``; ``canvas.resize(1600, 700)``; give it
`TimelineData` with ``canvas.feed.data = data`` and ``canvas.feed.changed.emit()``; and call
`TimelineCanvas.redraw`, which works all rows out anew and paints every layer into a picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QEvent, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QScrollBar, QSizePolicy, QWidget

from napari_ethoprism.timeline_data import TimelineData
from napari_ethoprism.timeline_feed import TimelineFeed
from napari_ethoprism.timeline_layers import Layers
from napari_ethoprism.timeline_layout import HIGHEST, LOWEST, Layout
from napari_ethoprism.timeline_model import View
from napari_ethoprism.timeline_paint import (
    Gutter,
    colour,
    paint_playhead,
    theme_of,
)
from napari_ethoprism.timeline_pointer import Pointer
from napari_ethoprism.timeline_raster import Lane, Options, bands

_NOTHING = TimelineData(1)


class TimelineCanvas(QWidget):
    """Draws what a feed gives and turns the pointer into seeks, selections and edits.

    Layers are kept: rows, ruler and labels are painted again only where they changed, so that a
    playhead that moves costs two narrow strips.

    Attributes
    ----------
    view
        The frames that are shown, in pixels of the screen.
    layers
        What is painted and kept.
    theme
        The colours that it is drawn in.
    """

    view_changed = Signal()
    """Other frames are shown, or more or fewer of them."""

    def __init__(self, feed: TimelineFeed, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.feed = feed
        self.view = View.whole(1, 1)
        self.offset = 0
        self._recording: Any = None
        self._frame = feed.session.frame
        self._row_height: int | None = None
        self._options = Options()
        self.theme = theme_of(self)
        self._ratio = 0.0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.layers = Layers(self)
        self.pointer = Pointer(self)
        self._bar = QScrollBar(Qt.Orientation.Vertical, self)
        self._bar.valueChanged.connect(self._scrolled)
        self._bar.hide()
        feed.changed.connect(self._data_changed)
        feed.moved.connect(self._moved)
        feed.selected.connect(self._selection_changed)
        feed.chosen.connect(self._chosen_changed)
        self._data_changed()

    # What is shown, and where

    @property
    def data(self) -> TimelineData:
        """What is drawn; empty without a recording."""
        return self.feed.data or _NOTHING

    @property
    def options(self) -> Options:
        """What is drawn of predictions."""
        return self._options

    def set_options(self, *, shade: bool, decided: bool) -> None:
        """Show or hide the probabilities and the decided bouts of predictions."""
        self._options = replace(self._options, shade=shade, decided=decided)
        self._invalidate("rows")

    def show_view(self, view: View) -> None:
        """Show other frames."""
        if view != self.view:
            self.view = view
            self._invalidate("rows", "ruler", "selection")
            self.view_changed.emit()

    def set_row_height(self, height: int | None) -> None:
        """Make rows so many pixels high; None for a height that suits their number."""
        self._row_height = None if height is None else min(max(height, LOWEST), HIGHEST)
        self._arrange()

    def x_of(self, edge: float) -> float:
        """Where the left edge of a frame lies in the widget."""
        return self.gutter.width + self.view.x_of(edge) / self.devicePixelRatioF()

    def view_x(self, x: float) -> float:
        """A place in the widget as pixels of the view."""
        return (x - self.gutter.width) * self.devicePixelRatioF()

    def row_at(self, y: float) -> int | None:
        """The row that lies at ``y`` in the widget."""
        if y < self.ruler_height:
            return None
        return self.layout_of_rows.row_at(y - self.ruler_height + self.offset)

    def row_top(self, row: int) -> int:
        """Where a row begins in the widget."""
        return int(self.layout_of_rows.tops[row]) + self.ruler_height - self.offset

    def redraw(self) -> None:
        """Work everything out anew and paint it into a picture, at once and without a screen."""
        self.layers.drop()
        ratio = self.devicePixelRatioF()
        picture = QImage(self.size() * ratio, QImage.Format.Format_RGB32)
        picture.setDevicePixelRatio(ratio)
        painter = QPainter(picture)
        self._paint(painter)
        painter.end()

    def sizeHint(self) -> QSize:
        return QSize(900, 260)

    def minimumSizeHint(self) -> QSize:
        return QSize(240, self.ruler_height + 3 * LOWEST)

    # What changes it

    def _data_changed(self) -> None:
        recording = self.feed.session.recording
        if recording is not self._recording:
            self._recording = recording
            self.pointer.cancel()
            self.view = View.whole(self.view.width, self.data.n_frames)
            self._frame = self.feed.session.frame
        self.pointer.data_changed()
        self._arrange()

    def _arrange(self) -> None:
        """Work out where everything lies."""
        metrics = self.fontMetrics()
        rows, text = self.data.rows, metrics.height() + 2
        self.ruler_height = 2 * (metrics.height() + 1) + 2
        self.gutter = Gutter.of(rows, metrics, self.width())
        room = max(self.height() - self.ruler_height, 1)
        height = self._row_height or Layout.height_for(rows, room, text, text)
        self.layout_of_rows = Layout.of(rows, height, text)
        over = self.layout_of_rows.height > room
        bar = self._bar.sizeHint().width() if over else 0
        self._bar.setVisible(over)
        self._bar.setGeometry(self.width() - bar, self.ruler_height, bar, room)
        self._bar.setRange(0, max(self.layout_of_rows.height - room, 0))
        self._bar.setPageStep(room)
        self._bar.setSingleStep(height)
        ratio = self._ratio = self.devicePixelRatioF()
        self._options = replace(self._options, line=max(round(ratio), 1))
        width = max(round((self.width() - self.gutter.width - bar) * ratio), 1)
        view = self.view.resized(width)
        changed, self.view = view != self.view, view
        self._invalidate("rows", "ruler", "labels", "selection")
        if changed:
            self.view_changed.emit()

    def _scrolled(self, value: int) -> None:
        self.offset = value
        self._invalidate("rows", "labels")

    def scroll_by(self, pixels: int) -> None:
        """Scroll the rows."""
        self._bar.setValue(self._bar.value() + pixels)

    def _invalidate(self, *layers: str) -> None:
        self.layers.drop(*layers)
        self.update()

    def _moved(self, frame: int | None) -> None:
        before, self._frame = self._frame, frame
        if frame == before:
            return
        if frame is not None and not self.view.shown(frame) and self.pointer.gesture is None:
            self.show_view(self.view.revealing(frame, 0.1 if self.feed.session.playing else 0.5))
        for place in (before, frame):
            if place is not None:
                x, width = self.x_of(place), self._frame_width()
                self.update(QRect(int(x) - 8, 0, int(width) + 17, self.height()))

    def _frame_width(self) -> float:
        return self.view.width_of(1) / self.devicePixelRatioF()

    def _selection_changed(self) -> None:
        self._invalidate("selection")

    def _chosen_changed(self) -> None:
        self._invalidate("labels")

    def resizeEvent(self, a0: Any) -> None:
        self._arrange()

    def changeEvent(self, a0: Any) -> None:
        kinds = (QEvent.Type.PaletteChange, QEvent.Type.StyleChange, QEvent.Type.FontChange)
        if a0.type() in kinds:
            self._arrange()
        super().changeEvent(a0)

    # Painting

    def paintEvent(self, a0: Any) -> None:
        painter = QPainter(self)
        self._paint(painter)
        painter.end()

    def _paint(self, painter: QPainter) -> None:
        theme = theme_of(self)
        if theme != self.theme:
            self.theme = theme
            self.layers.drop()
        if self.devicePixelRatioF() != self._ratio:
            self._arrange()
        if self._recording is None:
            painter.fillRect(self.rect(), colour(theme.background))
            self.layers.paint_message(painter, QRectF(self.rect()))
            return
        self.layers.paint(painter)
        left, top = self.gutter.width, self.ruler_height
        shown = QRectF(left, 0, self.view.width / self._ratio, self.height())
        painter.setClipRect(shown)
        self.layers.paint_selection(painter)
        self.pointer.paint(painter, theme)
        if self._frame is not None and self.view.shown(self._frame):
            painter.setClipRect(shown.adjusted(-6, 0, 6, 0))
            x = max(self.x_of(self._frame), left - 1.0)
            paint_playhead(painter, x, self._frame_width(), top, self.height())

    def rows_in_sight(self) -> range:
        """The rows that are not scrolled away."""
        room = self.height() - self.ruler_height
        return self.layout_of_rows.between(self.offset, self.offset + room)

    def lane(self, row: int) -> Lane:
        """Where a row lies below the ruler, in pixels of the screen."""
        ratio = self.devicePixelRatioF()
        top = self.layout_of_rows.tops[row] - self.offset
        ends = round(top * ratio), round((top + self.layout_of_rows.row_height) * ratio)
        return Lane(row, ends[0], ends[1] - ends[0])

    def bout_band(self, row: int) -> tuple[float, float]:
        """Top and bottom of a row's bouts in the widget."""
        ratio = self.devicePixelRatioF()
        top, bottom, _, _ = bands(self.lane(row), self._options, bool(self.data.shaded))
        return self.ruler_height + top / ratio, self.ruler_height + bottom / ratio

    # The pointer

    def mousePressEvent(self, a0: Any) -> None:
        self.pointer.press(a0)

    def mouseMoveEvent(self, a0: Any) -> None:
        self.pointer.move(a0)

    def mouseReleaseEvent(self, a0: Any) -> None:
        self.pointer.release(a0)

    def mouseDoubleClickEvent(self, a0: Any) -> None:
        self.pointer.double_click(a0)

    def wheelEvent(self, a0: Any) -> None:
        self.pointer.wheel(a0)

    def leaveEvent(self, a0: Any) -> None:
        self.pointer.leave()

    def keyPressEvent(self, a0: Any) -> None:
        if a0.key() == Qt.Key.Key_Escape and self.pointer.cancel():
            return
        super().keyPressEvent(a0)

    def event(self, a0: Any) -> bool:
        if a0.type() == QEvent.Type.ToolTip:
            self.pointer.tell(a0)
            return True
        return super().event(a0)
