"""Legend: what the colours of the map mean, in lines that wrap; a click on one selects it."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QColor, QLinearGradient, QPainter, QPalette
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_ethoprism.explore_colours import Colouring, Entry

_MOST_ROWS = 5


class Legend(QWidget):
    """Swatches with names, or a ramp.

    Signals
    -------
    clicked(entry, mode)
        An `Entry` that stands for moments; mode is ``set`` or, with Shift, ``add``.
    """

    clicked = QtSignal(object, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMouseTracking(True)
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._colouring: Colouring | None = None
        self._shown: list[tuple[QRectF, Entry]] = []
        self._pointed: Entry | None = None
        self._left_out = 0

    def show_colouring(self, colouring: Colouring | None) -> None:
        """Another legend."""
        self._colouring, self._pointed = colouring, None
        self._lay_out(self.width())
        self.updateGeometry()
        self.update()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What the legend lists."""
        return () if self._colouring is None else self._colouring.entries

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, a0: int) -> int:
        return self._lay_out(a0)

    def sizeHint(self) -> QSize:
        return QSize(200, self._lay_out(max(self.width(), 200)))

    def minimumSizeHint(self) -> QSize:
        return QSize(80, self._row())

    def _row(self) -> int:
        return self.fontMetrics().height() + 4

    def _lay_out(self, width: int) -> int:
        """Place the entries in rows; the height that they need."""
        self._shown, self._left_out = [], 0
        if self._colouring is None or (not self.entries and not self._colouring.ramp):
            return 0
        row, metrics = self._row(), self.fontMetrics()
        x, y = 0.0, 0.0
        for number, entry in enumerate(self.entries):
            wide = row + metrics.horizontalAdvance(_text(entry)) + row / 2
            if x and x + wide > width:
                x, y = 0.0, y + row
                if y >= _MOST_ROWS * row:
                    self._left_out = len(self.entries) - number
                    y -= row
                    break
            self._shown.append((QRectF(x, y, min(wide, width), row), entry))
            x += wide
        return int(y + row)

    def resizeEvent(self, a0: Any) -> None:
        height = self._lay_out(self.width())
        if height != self.height():
            self.updateGeometry()

    def paintEvent(self, a0: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        if self._colouring is not None and self._colouring.ramp:
            self._paint_ramp(painter, ink)
        for place, entry in self._shown:
            empty = entry.members is not None and not len(entry.members)
            swatch = place.height() * 0.52
            box = QRectF(place.left() + 3, place.center().y() - swatch / 2, swatch, swatch)
            if entry is self._pointed and not empty:
                glow = QColor(ink)
                glow.setAlphaF(0.12)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(glow)
                painter.drawRoundedRect(place.adjusted(0, 1, -4, -1), 3, 3)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(entry.colour))
            painter.drawRoundedRect(box, 2, 2)
            tone = QColor(ink)
            tone.setAlphaF(0.45 if empty else 1.0)
            painter.setPen(tone)
            text = place.adjusted(swatch + 9, 0, 0, 0)
            flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(text, int(flags), _text(entry))
        painter.end()

    def _paint_ramp(self, painter: QPainter, ink: QColor) -> None:
        colouring, metrics, row = self._colouring, self.fontMetrics(), self._row()
        if colouring is None:
            return
        low, high = colouring.ends
        left = metrics.horizontalAdvance(low) + 10
        right = metrics.horizontalAdvance(high) + 10
        bar = QRectF(left, row * 0.25, max(min(self.width() - left - right, 220), 10), row * 0.5)
        gradient = QLinearGradient(bar.topLeft(), bar.topRight())
        for i, colour in enumerate(colouring.ramp):
            gradient.setColorAt(i / (len(colouring.ramp) - 1), QColor(colour))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, 2, 2)
        painter.setPen(ink)
        flags = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(QRectF(4, 0, left, row), flags, low)
        painter.drawText(QRectF(bar.right() + 6, 0, right, row), flags, high)

    def _at(self, place: QPointF) -> Entry | None:
        return next((entry for box, entry in self._shown if box.contains(place)), None)

    def mouseMoveEvent(self, a0: Any) -> None:
        entry = self._at(a0.position())
        if entry is not self._pointed:
            self._pointed = entry
            self.update()
            if entry is not None and entry.members is not None:
                share = f"{len(entry.members):,} moments. Click to select them, Shift to add them."
                QToolTip.showText(self.mapToGlobal(a0.position().toPoint()), share, self)

    def leaveEvent(self, a0: Any) -> None:
        self._pointed = None
        self.update()

    def mousePressEvent(self, a0: Any) -> None:
        entry = self._at(a0.position())
        if entry is not None and entry.members is not None and len(entry.members):
            shift = a0.modifiers() & Qt.KeyboardModifier.ShiftModifier
            self.clicked.emit(entry, "add" if shift else "set")


def _text(entry: Entry) -> str:
    if entry.members is None:
        return entry.name
    return f"{entry.name}  {_short(len(entry.members))}"


def _short(n: int) -> str:
    """A count in four characters or so: 950, 12k, 1.2M."""
    if n < 10_000:
        return f"{n}"
    return f"{n / 1000:.0f}k" if n < 1_000_000 else f"{n / 1e6:.1f}M"
