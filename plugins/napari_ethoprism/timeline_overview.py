"""The whole recording in one strip below the timeline: where labels lie, and what is in view."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_ethoprism.timeline_canvas import TimelineCanvas
from napari_ethoprism.timeline_model import View
from napari_ethoprism.timeline_paint import PLAYHEAD, colour, image_of, selected_runs
from napari_ethoprism.timeline_raster import Theme, bout_lines


class Overview(QWidget):
    """A strip as wide as the timeline's rows; dragging on it moves the view.

    Parameters
    ----------
    canvas
        The timeline of which it shows the whole.
    """

    def __init__(self, canvas: TimelineCanvas, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self._strip: tuple[Any, np.ndarray, QImage] | None = None
        self._held: float | None = None
        self._mark = -1
        self.setFixedHeight(max(round(self.fontMetrics().height() * 1.3), 14))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip("The whole recording: drag to move the view")
        canvas.view_changed.connect(self._again)
        canvas.feed.changed.connect(self._again)
        canvas.feed.selected.connect(self._again)
        canvas.feed.moved.connect(self._moved)

    def sizeHint(self) -> QSize:
        return QSize(300, self.minimumHeight())

    def _again(self) -> None:
        self.update()

    def _moved(self, frame: int | None) -> None:
        mark = -1 if frame is None else int(self._whole().x_of(frame))
        if mark != self._mark:
            self._mark = mark
            self.update()

    def _whole(self) -> View:
        ratio = self.devicePixelRatioF()
        width = self.width() - self._canvas.gutter.width
        return View.whole(round(width * ratio), self._canvas.data.n_frames)

    def paintEvent(self, a0: Any) -> None:
        canvas, theme, ratio = self._canvas, self._canvas.theme, self.devicePixelRatioF()
        painter = QPainter(self)
        painter.fillRect(self.rect(), colour(theme.tint(0.03)))
        if canvas.feed.session.recording is None:
            return
        left, high, whole = canvas.gutter.width, self.height(), self._whole()
        image = self._image(whole, theme)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        strip = QRectF(left, 3, whole.width / ratio, high - 5)
        painter.drawImage(strip, image, QRectF(image.rect()))
        selection = canvas.feed.session.selection
        if selection is not None:
            spans = [
                (s.start, s.stop) for s in selection.spans if s.recording == canvas.feed.recording
            ]
            for first, last in selected_runs(spans, whole).tolist():
                width = max((last - first) / ratio, 1)
                painter.fillRect(QRectF(left + first / ratio, 0, width, 3), colour(theme.accent))
        frame = canvas.feed.session.frame
        if frame is not None:
            painter.fillRect(
                QRectF(left + whole.x_of(frame) / ratio, 0, 1.5, high), colour(PLAYHEAD)
            )
        view = canvas.view
        if view.frames < view.n_frames:
            x = left + whole.x_of(view.start) / ratio
            width = max(whole.width_of(view.frames) / ratio, 5)
            painter.fillRect(QRectF(x, 0, width, high), colour(theme.text, 34))
            painter.setPen(QPen(colour(theme.text, 170), 1))
            painter.drawRect(QRectF(x + 0.5, 0.5, width - 1, high - 1))

    def _image(self, whole: View, theme: Theme) -> QImage:
        """A line for each row, made anew where the labels, the width or the theme changed."""
        data = self._canvas.data
        key = (data.bouts, data.observed, whole.width, theme, len(data.rows))
        if self._strip is None or not _same(self._strip[0], key):
            pixels = bout_lines(data, whole.columns(), theme)
            self._strip = key, pixels, image_of(pixels, 1.0)
        return self._strip[2]

    def mousePressEvent(self, a0: Any) -> None:
        if a0.button() == Qt.MouseButton.LeftButton:
            place = self._frame_at(a0)
            view = self._canvas.view
            inside = view.start <= place <= view.stop
            self._held = place - view.start if inside else view.frames / 2
            self.mouseMoveEvent(a0)

    def mouseMoveEvent(self, a0: Any) -> None:
        if self._held is not None:
            view = self._canvas.view
            self._canvas.show_view(view.panned(self._frame_at(a0) - self._held - view.start))

    def mouseReleaseEvent(self, a0: Any) -> None:
        self._held = None

    def wheelEvent(self, a0: Any) -> None:
        self._canvas.wheelEvent(a0)

    def _frame_at(self, event: Any) -> float:
        whole = self._whole()
        x = (event.position().x() - self._canvas.gutter.width) * self.devicePixelRatioF()
        return min(max(x, 0.0), whole.width) * whole.scale


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether tables are the very same, and the rest is equal."""
    return one[0] is other[0] and one[1] is other[1] and one[2:] == other[2:]
