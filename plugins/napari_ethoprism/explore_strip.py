"""ThumbnailStrip: moments side by side as pictures, which a click seeks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QEvent, QRectF, QSize, Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QColor, QImage, QPainter, QPalette, QPen
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QWidget

from napari_ethoprism.thumbnailer import Thumbnailer

SIDE = 92
"""Logical pixels of a picture's longer side."""


@dataclass(frozen=True)
class Picture:
    """A moment in a strip: its number on the map, where it is, and what is written below it."""

    index: int
    recording: str
    subject: str
    frame: int
    caption: str
    tip: str


class ThumbnailStrip(QScrollArea):
    """A row of thumbnails that scrolls sideways.

    Signals
    -------
    clicked(index)
        The picture of a moment was clicked.
    """

    clicked = QtSignal(int)

    def __init__(self, thumbnailer: Thumbnailer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(False)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.row = _Row(self, thumbnailer)
        self.setWidget(self.row)
        bar = self.horizontalScrollBar()
        self.setFixedHeight(self.row.sizeHint().height() + (bar.sizeHint().height() if bar else 12))
        if bar is not None:
            bar.setSingleStep(SIDE // 2)

    def show_pictures(self, pictures: Sequence[Picture]) -> None:
        """Other moments."""
        self.row.set_pictures(tuple(pictures))
        bar = self.horizontalScrollBar()
        if bar is not None:
            bar.setValue(0)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The moments that are shown."""
        return self.row.pictures

    def wheelEvent(self, a0: Any) -> None:
        bar = self.horizontalScrollBar()
        if bar is not None:
            delta = a0.angleDelta()
            bar.setValue(bar.value() - (delta.y() or delta.x()))
        a0.accept()


class _Row(QWidget):
    def __init__(self, strip: ThumbnailStrip, thumbnailer: Thumbnailer) -> None:
        super().__init__()
        self._strip, self._thumbnailer = strip, thumbnailer
        self.pictures: tuple[Picture, ...] = ()
        self._images: dict[tuple[str, str, int], QImage] = {}
        self._problems: dict[tuple[str, str, int], str] = {}
        self._asked: set[tuple[str, str, int]] = set()
        self._pointed = -1
        self.setMouseTracking(True)
        thumbnailer.ready.connect(self._ready)
        thumbnailer.failed.connect(self._failed)
        self.resize(self.sizeHint())

    def set_pictures(self, pictures: tuple[Picture, ...]) -> None:
        self.pictures, self._pointed = pictures, -1
        self._images.clear()
        self._problems.clear()
        self._asked.clear()
        self.resize(self.sizeHint())
        self.update()

    def sizeHint(self) -> QSize:
        height = SIDE + self.fontMetrics().lineSpacing() + 8
        return QSize(len(self.pictures) * (SIDE + 6) + 2, height)

    def box(self, number: int) -> QRectF:
        """Where a picture lies."""
        return QRectF(2 + number * (SIDE + 6), 2, SIDE, SIDE)

    def _ready(self, recording: str, subject: str, frame: int, image: QImage) -> None:
        name = (recording, subject, frame)
        if name in self._asked:
            self._images[name] = image
            self.update()

    def _failed(self, recording: str, subject: str, frame: int, text: str) -> None:
        if (recording, subject, frame) in self._asked:
            self._problems[recording, subject, frame] = text
            self.update()

    def paintEvent(self, a0: Any) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink = self.palette().color(QPalette.ColorRole.WindowText)
        shown = QRectF(a0.rect())
        numbers = [n for n in range(len(self.pictures)) if self.box(n).intersects(shown)]
        # The newest request is served first: asked from the right, they appear from the left.
        for n in reversed(numbers):
            self._ask(self.pictures[n])
        for n in numbers:
            self._paint_one(painter, n, ink)
        painter.end()

    def _ask(self, picture: Picture) -> None:
        name = (picture.recording, picture.subject, picture.frame)
        if name not in self._asked:
            self._asked.add(name)
            image = self._thumbnailer.request(*name)
            if image is not None:
                self._images[name] = image

    def _paint_one(self, painter: QPainter, n: int, ink: QColor) -> None:
        picture, box = self.pictures[n], self.box(n)
        name = (picture.recording, picture.subject, picture.frame)
        image = self._images.get(name)
        faint = QColor(ink)
        faint.setAlphaF(0.1)
        painter.fillRect(box, faint)
        if image is not None:
            scale = SIDE / max(image.width(), image.height())
            size = image.width() * scale, image.height() * scale
            place = QRectF(0, 0, *size)
            place.moveCenter(box.center())
            painter.drawImage(place, image)
        elif name in self._problems:
            painter.setPen(ink)
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(box, int(flags), "cannot be shown")
        if n == self._pointed:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(ink, 2))
            painter.drawRect(box)
        tone = QColor(ink)
        tone.setAlphaF(0.75)
        painter.setPen(tone)
        below = QRectF(box.left(), box.bottom() + 2, SIDE, self.fontMetrics().lineSpacing())
        text = self.fontMetrics().elidedText(picture.caption, Qt.TextElideMode.ElideMiddle, SIDE)
        painter.drawText(below, int(Qt.AlignmentFlag.AlignCenter), text)

    def _at(self, event: Any) -> int:
        n = int((event.position().x() - 2) // (SIDE + 6))
        return n if 0 <= n < len(self.pictures) else -1

    def mouseMoveEvent(self, a0: Any) -> None:
        n = self._at(a0)
        if n != self._pointed:
            self._pointed = n
            picture = self.pictures[n] if n >= 0 else None
            name = None
            if picture is not None:
                name = (picture.recording, picture.subject, picture.frame)
            tip = "" if picture is None else picture.tip
            self.setToolTip(self._problems.get(name, tip) if name else "")
            self.update()

    def leaveEvent(self, a0: QEvent | None) -> None:
        self._pointed = -1
        self.update()

    def mouseReleaseEvent(self, a0: Any) -> None:
        n = self._at(a0)
        if n >= 0 and a0.button() == Qt.MouseButton.LeftButton:
            self._strip.clicked.emit(self.pictures[n].index)
