"""A small legend of the timeline: how labels, predictions and unobserved frames look."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_ethoprism.timeline_data import Row, TimelineData
from napari_ethoprism.timeline_model import Bouts, Ranges, View
from napari_ethoprism.timeline_paint import colour, image_of, small, theme_of
from napari_ethoprism.timeline_raster import Lane, Options, draw

_LABELS = ("manual", "automated", "curated")
_TIPS = (
    "Solid: labelled by a person",
    "Striped: labelled by a program",
    "With an edge on top: predicted or imported, then accepted by a person",
    "Hatched ground: nobody has looked for the behaviour here",
    "Below the labels: the probe's probability as shade, its decided bouts as a solid line",
)


class Legend(QWidget):
    """Samples that are drawn as the timeline draws its rows."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._predicted = False
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.setToolTip("\n".join(_TIPS))

    def show_predictions(self, predicted: bool) -> None:
        """Show the sample of predicted bouts, or not."""
        if predicted != self._predicted:
            self._predicted = predicted
            self.updateGeometry()
            self.update()

    def _entries(self) -> list[str]:
        return [*_LABELS, *(["predicted"] if self._predicted else []), "not observed"]

    def sizeHint(self) -> QSize:
        self.setFont(self.font())
        metrics = self.fontMetrics()
        swatch, gap = self._swatch(), metrics.horizontalAdvance("0")
        width = sum(metrics.horizontalAdvance(text) for text in self._entries())
        return QSize(width + len(self._entries()) * (swatch + 3 * gap), metrics.height() + 4)

    def minimumSizeHint(self) -> QSize:
        return QSize(0, self.sizeHint().height())

    def _swatch(self) -> int:
        return self.fontMetrics().horizontalAdvance("000")

    def paintEvent(self, a0: Any) -> None:
        theme, ratio = theme_of(self), self.devicePixelRatioF()
        painter = QPainter(self)
        painter.setFont(small(self.font()))
        metrics = painter.fontMetrics()
        swatch, gap = self._swatch(), metrics.horizontalAdvance("0")
        high = metrics.height() - 2
        x = float(self.width())
        for text in reversed(self._entries()):
            x -= metrics.horizontalAdvance(text)
            painter.setPen(colour(theme.tint(0.7)))
            box = QRectF(x, 0, metrics.horizontalAdvance(text) + 2, self.height())
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, text)
            x -= swatch + gap * 0.6
            width, height = round(swatch * ratio), round(high * ratio)
            line = max(round(ratio), 1)
            lane = Lane(0, 0, height + line)
            pixels = draw(
                _sample(text),
                View.whole(width, 10).columns(),
                [lane],
                height,
                theme,
                Options(shade=text != "predicted", line=line),
                predicted=text == "predicted",
            )
            painter.drawImage(QPointF(x, (self.height() - high) / 2), image_of(pixels, ratio))
            x -= gap * 1.8
        painter.end()


def _sample(text: str) -> TimelineData:
    """A recording of ten frames that shows what ``text`` names."""
    n = 10
    zero, none = np.zeros(1, np.int64), Ranges.none(n)
    whole = Ranges(zero, zero, zero + n, n)
    empty = np.zeros(0, np.int64)
    return TimelineData(
        n,
        (Row("", "", "#56B4E9"),),
        Bouts(empty, empty, empty, empty, empty),
        tuple(whole if text == name else none for name in _LABELS),
        none if text == "not observed" else whole,
        whole if text == "predicted" else none,
        whole if text == "predicted" else none,
    )
