"""MapCanvas: the points of a map, which can be hovered, clicked, lassoed, dragged and zoomed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt, QVariantAnimation
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_ethoprism.looks import is_dark
from napari_ethoprism.map_model import Cloud, View, in_polygon, nearest, render

_REACH = 10.0  # logical pixels from the pointer to a point
_MOVED = 4.0  # a press that moves no further is a click
_TURN_MS = 450


class MapCanvas(QWidget):
    """Draws a map and says what the pointer does on it; it knows points by their numbers only.

    Drag with the left button draws a lasso (with Shift it adds, with Ctrl it takes away), with the
    right or middle one it moves the map; the wheel zooms; a double click shows all.

    Signals
    -------
    hovered(index)
        The point under the pointer, or −1.
    clicked(index)
        A point was clicked.
    lassoed(indices, mode)
        int64 indices within the lasso; mode is ``set``, ``add`` or ``remove``.
    """

    hovered = QtSignal(int)
    clicked = QtSignal(int)
    lassoed = QtSignal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        self.setMinimumSize(160, 160)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        self.message = ""
        self._points = np.empty((0, 2), np.float32)
        self._colours = np.empty((0, 3), np.float32)
        self._chosen: np.ndarray | None = None
        self._cloud: Cloud | None = None
        self._view = View(0.0, 0.0, 1.0, 1, 1)
        self._fitted = True
        self._image: tuple[QImage, Any] | None = None
        self._marks: tuple[int, ...] = ()
        self._hover = -1
        self._card: tuple[QImage | None, tuple[str, ...]] | None = None
        self._pressed: QPointF | None = None
        self._dragged: QPointF | None = None
        self._lasso: list[QPointF] = []
        self._turn = QVariantAnimation(self)
        self._turn.setStartValue(0.0)
        self._turn.setEndValue(1.0)
        self._turn.setDuration(_TURN_MS)
        self._turn.valueChanged.connect(self._turned)
        self._from = self._to = self._points

    def set_points(
        self, points: np.ndarray, colours: np.ndarray, *, animated: bool = False
    ) -> None:
        """Show points ``[n, 2]`` with colours ``[n, 3]``; as many as before can move there."""
        points = _normalised(points)
        animated = animated and len(points) == len(self._points) and self.isVisible()
        self._turn.stop()
        self._from, self._to = self._points, points
        if len(points) != len(self._points):
            self._chosen, self._marks = None, ()
            self._fitted = True
        self._set_hover(-1)
        self._colours = np.asarray(colours, np.float32)
        if animated:
            self._set_cloud(self._from)
            self._turn.start()
        else:
            self._set_cloud(points)

    def set_colours(self, colours: np.ndarray) -> None:
        """Other colours for the same points."""
        self._colours = np.asarray(colours, np.float32)
        self._set_cloud(self._points)

    def set_chosen(self, chosen: np.ndarray | None) -> None:
        """Which points are selected (bool ``[n]``); None for no selection."""
        self._chosen = chosen
        self._set_cloud(self._points)

    def set_marks(self, marks: tuple[int, ...]) -> None:
        """Points at which the playhead stands."""
        if marks != self._marks:
            self._marks = marks
            self.update()

    def set_card(self, image: QImage | None, lines: tuple[str, ...]) -> None:
        """What is shown beside the point under the pointer: its thumbnail and some lines."""
        self._card = (image, lines) if lines else None
        self.update()

    def fit(self) -> None:
        """Show all points."""
        self._fitted = True
        self._refit()
        self._redraw()

    @property
    def hover(self) -> int:
        """The point under the pointer, or −1."""
        return self._hover

    @property
    def view(self) -> View:
        """What is shown, in physical pixels."""
        return self._view

    def place(self, index: int) -> QPointF:
        """Where a point is drawn, in the widget's coordinates."""
        x, y = self._view.to_pixels(self._points[index : index + 1])[0].tolist()
        return QPointF(x, y) / self.devicePixelRatioF()

    def picture(self) -> np.ndarray:
        """The map as it is drawn now: uint8 RGBA."""
        cloud = self._cloud or Cloud.of(self._points, self._colours)
        return render(self._view, cloud, pixel_ratio=self.devicePixelRatioF())[0]

    def _set_cloud(self, points: np.ndarray) -> None:
        self._points = points
        fits = len(self._colours) == len(points)
        self._cloud = (
            Cloud.of(points, self._colours, self._chosen) if fits and len(points) else None
        )
        if self._fitted:
            self._refit()
        self._redraw()

    def _turned(self, value: float) -> None:
        value = value * value * (3 - 2 * value)
        self._points = (self._from + (self._to - self._from) * np.float32(value)).astype(np.float32)
        if self._cloud is not None:
            x, y = np.ascontiguousarray(self._points.T)
            self._cloud = replace(self._cloud, x=x, y=y)
        self._redraw()

    def _refit(self) -> None:
        size = self._physical()
        if len(self._to):
            self._view = View.around(self._to, *size)
        else:
            self._view = replace(self._view, width=size[0], height=size[1])

    def _physical(self) -> tuple[int, int]:
        ratio = self.devicePixelRatioF()
        return max(round(self.width() * ratio), 1), max(round(self.height() * ratio), 1)

    def _redraw(self) -> None:
        self._image = None
        self.update()

    def _set_hover(self, index: int) -> None:
        if index != self._hover:
            self._hover, self._card = index, None
            self.hovered.emit(index)
            self.update()

    def resizeEvent(self, a0: Any) -> None:
        if self._fitted:
            self._refit()
        else:
            self._view = self._view.resized(*self._physical())
        self._redraw()

    def changeEvent(self, a0: Any) -> None:
        if a0.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self.update()
        super().changeEvent(a0)

    def leaveEvent(self, a0: Any) -> None:
        self._set_hover(-1)

    def wheelEvent(self, a0: Any) -> None:
        ratio, at = self.devicePixelRatioF(), a0.position()
        factor = 1.0015 ** a0.angleDelta().y()
        scale = View.around(self._to, *self._physical()).scale if len(self._to) else 1.0
        factor = min(max(factor, 0.25 * scale / self._view.scale), 500 * scale / self._view.scale)
        self._view = self._view.zoomed(factor, at.x() * ratio, at.y() * ratio)
        self._fitted = False
        self._redraw()
        a0.accept()

    def mousePressEvent(self, a0: Any) -> None:
        at = a0.position()
        if a0.button() == Qt.MouseButton.LeftButton:
            self._pressed, self._lasso = at, [at]
        else:
            self._dragged = at
        a0.accept()

    def mouseMoveEvent(self, a0: Any) -> None:
        at = a0.position()
        if self._dragged is not None:
            ratio, moved = self.devicePixelRatioF(), at - self._dragged
            self._dragged = at
            self._view = self._view.moved(moved.x() * ratio, moved.y() * ratio)
            self._fitted = False
            self._redraw()
        elif self._pressed is not None:
            step = at - self._lasso[-1]
            if abs(step.x()) + abs(step.y()) >= _MOVED:
                self._lasso.append(at)
                self._set_hover(-1)
                self.update()
        else:
            found = self._nearest(at)
            self._set_hover(-1 if found is None else found)

    def mouseReleaseEvent(self, a0: Any) -> None:
        self._dragged = None
        lasso, self._lasso = self._lasso, []
        pressed, self._pressed = self._pressed, None
        if pressed is None or a0.button() != Qt.MouseButton.LeftButton:
            return
        self.update()
        if len(lasso) < 3:
            found = self._nearest(a0.position())
            if found is not None:
                self.clicked.emit(found)
            return
        ratio = self.devicePixelRatioF()
        corners = [self._view.to_map(p.x() * ratio, p.y() * ratio) for p in lasso]
        inside = np.flatnonzero(in_polygon(self._points, np.array(corners)))
        held = a0.modifiers()
        mode = "add" if held & Qt.KeyboardModifier.ShiftModifier else "set"
        mode = "remove" if held & Qt.KeyboardModifier.ControlModifier else mode
        self.lassoed.emit(inside, mode)

    def mouseDoubleClickEvent(self, a0: Any) -> None:
        self._pressed, self._lasso = None, []
        self.fit()

    def _nearest(self, at: QPointF) -> int | None:
        if not len(self._points) or self._turn.state() == QVariantAnimation.State.Running:
            return None
        ratio = self.devicePixelRatioF()
        x, y, reach = at.x() * ratio, at.y() * ratio, _REACH * ratio
        return nearest(self._view, self._points, x, y, reach)

    def paintEvent(self, a0: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(self.rect(), self.ground())
        if self._cloud is None:
            self._paint_message(painter)
        else:
            if self._image is None:
                picture, cell = render(
                    self._view, self._cloud, pixel_ratio=self.devicePixelRatioF()
                )
                rows, columns = picture.shape[:2]
                pixels, form = picture.tobytes(), QImage.Format.Format_RGBA8888
                image = QImage(pixels, columns, rows, 4 * columns, form)
                side = cell / self.devicePixelRatioF()
                # The image does not own its pixels: they are kept beside it.
                self._image = image, (pixels, QRectF(0, 0, columns * side, rows * side))
            image, (_, area) = self._image
            painter.drawImage(area, image)
            self._paint_marks(painter)
            self._paint_lasso(painter)
            self._paint_card(painter)
        painter.end()

    def ground(self) -> QColor:
        """The colour behind the points."""
        window = self.palette().color(QPalette.ColorRole.Window)
        return window.darker(135) if is_dark(self) else window.lighter(106)

    def _ink(self, alpha: float = 1.0) -> QColor:
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        ink.setAlphaF(alpha)
        return ink

    def _paint_message(self, painter: QPainter) -> None:
        painter.setPen(self._ink(0.6))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        edge = 2 * self.fontMetrics().height()
        painter.drawText(self.rect().adjusted(edge, edge, -edge, -edge), int(flags), self.message)

    def _paint_marks(self, painter: QPainter) -> None:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if 0 <= self._hover < len(self._points):
            painter.setPen(QPen(self._ink(0.9), 1.5))
            painter.drawEllipse(self.place(self._hover), 6.0, 6.0)
        for mark in self._marks:
            at = self.place(mark)
            painter.setPen(QPen(self.ground(), 5.0))
            painter.drawEllipse(at, 8.0, 8.0)
            painter.setPen(QPen(self._ink(), 2.0))
            painter.drawEllipse(at, 8.0, 8.0)
            for dx, dy in ((0, -1), (0, 1), (-1, 0), (1, 0)):
                way = QPointF(dx, dy)
                painter.drawLine(at + way * 8.0, at + way * 13.0)

    def _paint_lasso(self, painter: QPainter) -> None:
        if len(self._lasso) < 2:
            return
        painter.setPen(QPen(self._ink(0.9), 1.5, Qt.PenStyle.DashLine))
        painter.setBrush(self._ink(0.08))
        painter.drawPolygon(QPolygonF(self._lasso))

    def _paint_card(self, painter: QPainter) -> None:
        if self._card is None or not 0 <= self._hover < len(self._points):
            return
        image, lines = self._card
        metrics, pad = self.fontMetrics(), 6
        picture = (0, 0) if image is None else (image.width(), image.height())
        ratio = max(self.devicePixelRatioF(), 1.0)
        shown = QRectF(0, 0, picture[0] / ratio, picture[1] / ratio)
        width = max(shown.width(), *(metrics.horizontalAdvance(t) for t in lines)) + 2 * pad
        height = shown.height() + len(lines) * metrics.lineSpacing() + 2 * pad + 3
        at = self.place(self._hover)
        x = at.x() + 16 if at.x() + 16 + width < self.width() else at.x() - 16 - width
        y = min(max(at.y() - height / 2, 4), self.height() - height - 4)
        frame = QRectF(max(x, 2), y, width, height)
        ground = QColor(self.palette().color(QPalette.ColorRole.Window))
        painter.setPen(QPen(self._ink(0.35), 1))
        painter.setBrush(ground)
        painter.drawRoundedRect(frame, 5, 5)
        if image is not None:
            painter.drawImage(shown.translated(frame.left() + pad, frame.top() + pad), image)
        painter.setPen(self._ink())
        top = frame.top() + pad + shown.height() + 3
        for line in lines:
            box = QRectF(frame.left() + pad, top, width - 2 * pad, metrics.lineSpacing())
            painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft), line)
            top += metrics.lineSpacing()


def _normalised(points: np.ndarray) -> np.ndarray:
    """Points within −1 to 1, in their proportions, so that a map can turn into another one."""
    points = np.asarray(points, np.float32)
    if not len(points):
        return points.reshape(0, 2)
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-9)
