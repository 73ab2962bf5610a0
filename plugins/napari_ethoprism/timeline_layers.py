"""The pictures that the timeline keeps: rows, labels of rows, ruler, and where it is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QImage, QPainter

from napari_ethoprism.timeline_paint import (
    colour,
    image_of,
    paint_headings,
    paint_labels,
    paint_ruler,
    selected_runs,
    small,
)
from napari_ethoprism.timeline_raster import draw
from napari_ethoprism.timeline_ruler import frame_ticks, second_ticks, seconds_text

if TYPE_CHECKING:
    from napari_ethoprism.timeline_canvas import TimelineCanvas


class Layers:
    """The layers of one canvas, each made when it is painted and missing.

    Attributes
    ----------
    renders
        How often the rows were worked out.
    """

    def __init__(self, canvas: TimelineCanvas) -> None:
        self._canvas = canvas
        self.renders = 0
        self._images: dict[str, QImage] = {}
        self._pixels = np.zeros((1, 1), np.uint32)
        """The memory of the layer of rows."""
        self._selected: np.ndarray | None = None

    def drop(self, *names: str) -> None:
        """Forget layers: ``rows``, ``labels``, ``ruler``, ``selection``; all if none is named."""
        for name in names or ("rows", "labels", "ruler", "selection"):
            self._images.pop(name, None)
            if name == "selection":
                self._selected = None

    def paint(self, painter: QPainter) -> None:
        """Rows, their labels, headings, and the ruler."""
        canvas, top = self._canvas, self._canvas.ruler_height
        left, height = canvas.gutter.width, canvas.height() - top
        if "rows" not in self._images:
            pixels = self._rows()
            self._images["rows"] = image_of(pixels, canvas.devicePixelRatioF())
            self._pixels = pixels
            self.renders += 1
        for name, make in (("labels", self._labels), ("ruler", self._ruler)):
            if name not in self._images:
                self._images[name] = make()
        painter.drawImage(QPointF(left, top), self._images["rows"])
        painter.drawImage(QPointF(0, top), self._images["labels"])
        first = top - canvas.offset
        paint_headings(painter, canvas.layout_of_rows, canvas.theme, first, canvas.rect(), top)
        painter.drawImage(QPointF(0, 0), self._images["ruler"])
        if canvas.feed.message:
            self.paint_message(painter, QRectF(left, top, canvas.width() - left, height))

    def _rows(self) -> np.ndarray:
        """The rows as pixels."""
        canvas = self._canvas
        ratio = canvas.devicePixelRatioF()
        height = max(round((canvas.height() - canvas.ruler_height) * ratio), 1)
        lanes = [canvas.lane(row) for row in canvas.rows_in_sight()]
        return draw(canvas.data, canvas.view.columns(), lanes, height, canvas.theme, canvas.options)

    def _labels(self) -> QImage:
        canvas = self._canvas
        height = max(canvas.height() - canvas.ruler_height, 1)
        image = self._blank(canvas.gutter.width, height)
        painter = self._painter(image)
        session = canvas.feed.session
        chosen = session.behaviour, session.subject
        rows, layout = canvas.data.rows, canvas.layout_of_rows
        paint_labels(
            painter,
            rows,
            layout,
            canvas.gutter,
            canvas.theme,
            canvas.offset,
            height,
            chosen,
        )
        painter.end()
        return image

    def _ruler(self) -> QImage:
        canvas = self._canvas
        image = self._blank(canvas.width(), canvas.ruler_height)
        painter = self._painter(image)
        painter.setFont(small(canvas.font()))
        ratio, metrics = canvas.devicePixelRatioF(), painter.fontMetrics()
        room = metrics.horizontalAdvance("0") * 3 + 8
        least = (metrics.horizontalAdvance(f"{canvas.view.n_frames:,}") + room) * ratio
        lines = [("frame", frame_ticks(canvas.view, least), ratio)]
        recording = canvas.feed.session.recording
        times = np.zeros(1) if recording is None else recording.frame_times
        least = (metrics.horizontalAdvance(seconds_text(float(times[-1]), 0.01)) + room) * ratio
        lines.append(("time", second_ticks(canvas.view, times, least), ratio))
        left = canvas.gutter.width
        paint_ruler(
            painter,
            canvas.width(),
            canvas.ruler_height,
            left,
            canvas.theme,
            lines,
        )
        painter.end()
        return image

    def _blank(self, width: int, height: int) -> QImage:
        canvas = self._canvas
        ratio = canvas.devicePixelRatioF()
        image = QImage(QSize(width, height) * ratio, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        image.fill(colour(canvas.theme.background))
        return image

    def _painter(self, image: QImage) -> QPainter:
        canvas = self._canvas
        painter = QPainter(image)
        painter.setFont(canvas.font())
        painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
        return painter

    def paint_selection(self, painter: QPainter) -> None:
        """The selected frames of this recording, in the rows of whom they concern."""
        canvas = self._canvas
        selection = canvas.feed.session.selection
        if selection is None:
            return
        if self._selected is None:
            here = [
                (s.start, s.stop) for s in selection.spans if s.recording == canvas.feed.recording
            ]
            self._selected = selected_runs(here, canvas.view)
        ratio, rows = canvas.devicePixelRatioF(), canvas.data.rows
        subject, top, height = selection.subject, canvas.ruler_height, canvas.height()
        parts = [(top, height)]
        if subject and any(row.subject == subject for row in rows):
            of = [i for i, row in enumerate(rows) if row.subject == subject]
            bottom = canvas.row_top(of[-1]) + canvas.layout_of_rows.row_height
            parts = [(max(canvas.row_top(of[0]), top), bottom)]
        edge = colour(canvas.theme.accent, 200)
        for first, last in self._selected.tolist():
            x, width = canvas.gutter.width + first / ratio, (last - first) / ratio
            painter.fillRect(QRectF(x, top - 4, width, 4), colour(canvas.theme.accent))
            for upper, lower in parts:
                rect = QRectF(x, upper, width, lower - upper)
                painter.fillRect(rect, colour(canvas.theme.accent, 46))
                if width > 4:
                    painter.fillRect(QRectF(x, upper, 1, lower - upper), edge)
                    right = QRectF(x + width - 1, upper, 1, lower - upper)
                    painter.fillRect(right, edge)

    def paint_message(self, painter: QPainter, rect: QRectF) -> None:
        """What to do where nothing can be shown."""
        canvas = self._canvas
        painter.setPen(colour(canvas.theme.tint(0.6)))
        painter.drawText(
            rect, Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap, canvas.feed.message
        )
