"""What the timeline draws besides its rows: ruler, labels of rows, selection, playhead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRect, QRectF, Qt
from qtpy.QtGui import (
    QColor,
    QFont,
    QFontMetrics,
    QImage,
    QPainter,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QWidget

from ethoprism.annotation import runs
from napari_ethoprism.timeline_data import Row
from napari_ethoprism.timeline_layout import Layout
from napari_ethoprism.timeline_model import Ranges, View
from napari_ethoprism.timeline_raster import Colour, Theme
from napari_ethoprism.timeline_ruler import Tick

PLAYHEAD: Colour = (255, 92, 77)
_ACCENT: Colour = (84, 148, 255)


def theme_of(widget: QWidget) -> Theme:
    """The theme that a widget is shown in."""
    palette = widget.palette()
    return Theme(
        _rgb(palette.color(QPalette.ColorRole.Window)),
        _rgb(palette.color(QPalette.ColorRole.WindowText)),
        _ACCENT,
    )


def small(font: QFont) -> QFont:
    """The font of the ruler and of keys."""
    made = QFont(font)
    if font.pointSizeF() > 0:
        made.setPointSizeF(font.pointSizeF() * 0.88)
    return made


def colour(rgb: Colour, alpha: int = 255) -> QColor:
    """A colour for Qt."""
    return QColor(*rgb, alpha)


def image_of(pixels: np.ndarray, ratio: float) -> QImage:
    """A picture of uint32 pixels ``[height, width]`` as Qt draws it.

    It is drawn from the array's memory, so the array has to live as long as the picture.
    """
    height, width = pixels.shape
    data: Any = pixels.data
    image = QImage(data, width, height, width * 4, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    return image


@dataclass(frozen=True)
class Gutter:
    """Measures of the labels beside the rows, in logical pixels."""

    width: int
    swatch: int
    margin: int

    @classmethod
    def of(cls, rows: Sequence[Row], metrics: QFontMetrics, room: int) -> Gutter:
        """As wide as the longest name needs, and at most a third of ``room``."""
        swatch, margin = max(metrics.height() - 6, 7), metrics.horizontalAdvance("0")
        name = max((metrics.horizontalAdvance(row.behaviour) for row in rows), default=0)
        key = max(
            (metrics.horizontalAdvance(row.key) + margin for row in rows if row.key), default=0
        )
        least = metrics.horizontalAdvance("frame") * 2
        width = max(swatch + name + key + 4 * margin, least)
        return cls(min(width, max(room // 3, least)), swatch, margin)


def paint_ruler(
    painter: QPainter,
    width: int,
    height: int,
    gutter: int,
    theme: Theme,
    lines: Sequence[tuple[str, Sequence[Tick], float]],
) -> None:
    """The ruler: a line of marks each for frames and seconds, as ``(title, ticks, ratio)``."""
    painter.fillRect(QRectF(0, 0, width, height), colour(theme.tint(0.03)))
    metrics = painter.fontMetrics()
    each = height / max(len(lines), 1)
    dim, text = colour(theme.tint(0.55)), colour(theme.tint(0.85))
    for i, (title, ticks, ratio) in enumerate(lines):
        base = i * each
        middle = base + (each + metrics.ascent() - metrics.descent()) / 2 - 0.5
        painter.setClipRect(QRectF(gutter, 0, width - gutter, height))
        for tick in ticks:
            x = gutter + round(tick.x) / ratio
            painter.setPen(QPen(colour(theme.tint(0.3)), 1))
            painter.drawLine(QPointF(x + 0.5, base + 3), QPointF(x + 0.5, base + each - 2))
            painter.setPen(text)
            painter.drawText(QPointF(x + 4, middle), tick.text)
        painter.setClipping(False)
        painter.setPen(dim)
        painter.drawText(
            QRectF(0, base, gutter - metrics.horizontalAdvance("0"), each),
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
            title,
        )
    painter.setPen(QPen(colour(theme.tint(0.22)), 1))
    painter.drawLine(QPointF(0, height - 0.5), QPointF(width, height - 0.5))


def paint_labels(
    painter: QPainter,
    rows: Sequence[Row],
    layout: Layout,
    gutter: Gutter,
    theme: Theme,
    scroll: int,
    height: int,
    chosen: tuple[str, str],
) -> None:
    """Swatch, name and key of each row, and the headings of subjects."""
    painter.fillRect(QRectF(0, 0, gutter.width, height), colour(theme.tint(0.03)))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    font = painter.font()
    room = min(layout.row_height, painter.fontMetrics().height())
    if painter.fontMetrics().height() > layout.row_height + 2:
        font.setPixelSize(max(layout.row_height - 3, 6))
    bold = QFont(font)
    bold.setBold(True)
    keys = small(font)
    for i in layout.between(scroll, scroll + height):
        row = rows[i]
        top = float(layout.tops[i] - scroll)
        rect = QRectF(0, top, gutter.width, layout.row_height)
        behaviour, subject = chosen
        is_chosen = row.behaviour == behaviour and subject in ("", row.subject)
        if is_chosen:
            painter.fillRect(rect.adjusted(0, 0, -1, -1), colour(theme.tint(0.14)))
            painter.fillRect(QRectF(0, top, 3, layout.row_height - 1), colour(theme.accent))
        _paint_swatch(painter, row, gutter, rect, theme, room)
        painter.setFont(bold if is_chosen else font)
        left = gutter.swatch + 2.0 * gutter.margin
        right = gutter.width - gutter.margin
        if row.key:
            right -= _paint_key(painter, row.key, keys, right, rect, theme) + gutter.margin / 2
        painter.setFont(bold if is_chosen else font)
        painter.setPen(colour(theme.text if is_chosen else theme.tint(0.9)))
        name = painter.fontMetrics().elidedText(
            row.behaviour, Qt.TextElideMode.ElideRight, int(right - left)
        )
        painter.drawText(QRectF(left, top, right - left, layout.row_height - 1), _LEFT, name)
    painter.setFont(font)
    painter.setPen(QPen(colour(theme.tint(0.22)), 1))
    painter.drawLine(QPointF(gutter.width - 0.5, 0), QPointF(gutter.width - 0.5, height))


def paint_headings(
    painter: QPainter, layout: Layout, theme: Theme, first: int, room: QRect, least: int
) -> None:
    """The names of subjects across the whole width; the first row lies at ``first``."""
    bold = small(painter.font())
    bold.setBold(True)
    painter.save()
    painter.setFont(bold)
    margin = painter.fontMetrics().horizontalAdvance("0")
    for subject, top in layout.headings:
        rect = QRectF(0, first + top, room.width(), layout.heading_height)
        if rect.bottom() < least or rect.top() > room.height():
            continue
        painter.fillRect(rect, colour(theme.tint(0.09)))
        painter.setPen(colour(theme.tint(0.75)))
        text = subject or "no subject named"
        painter.drawText(rect.adjusted(margin, 0, -margin, 0), _LEFT, text)
    painter.restore()


def selected_runs(spans: Sequence[tuple[int, int]], view: View) -> np.ndarray:
    """Columns that hold selected frames, as ranges ``[n, 2]``; however many spans there are."""
    both = np.array(spans, np.int64).reshape(-1, 2)
    ranges = Ranges(np.zeros(len(both), np.int64), both[:, 0], both[:, 1], view.n_frames)
    columns = view.columns()
    filled = ranges.filled(np.zeros(1, np.int64), columns.edges) > 0
    return runs(columns.spread(filled)[0])


def paint_playhead(painter: QPainter, x: float, width: float, ruler: int, height: int) -> None:
    """The playhead: a line at the left edge of its frame, a band where a frame is wide."""
    if width > 3:
        painter.fillRect(QRectF(x, ruler, width, height - ruler), colour(PLAYHEAD, 42))
    painter.fillRect(QRectF(x - 0.75, 0, 1.5, height), colour(PLAYHEAD))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour(PLAYHEAD))
    corners = [(-5.5, 0), (5.5, 0), (5.5, 5), (0, 11), (-5.5, 5)]
    painter.drawPolygon(QPolygonF([QPointF(x + dx, dy) for dx, dy in corners]))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)


_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter


def _paint_swatch(
    painter: QPainter, row: Row, gutter: Gutter, rect: QRectF, theme: Theme, room: int
) -> None:
    size = float(min(gutter.swatch, room - 2))
    left, top = gutter.margin + 0.0, rect.top() + (rect.height() - 1 - size) / 2
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour(theme.shown(row.colour)))
    if row.kind == "point":
        half = size / 2
        centre = QPointF(left + half, top + half)
        offsets = [(0, -half), (half, 0), (0, half), (-half, 0)]
        painter.drawPolygon(QPolygonF([centre + QPointF(dx, dy) for dx, dy in offsets]))
    else:
        painter.drawRoundedRect(QRectF(left, top, size, size), 2, 2)


def _paint_key(
    painter: QPainter, key: str, font: QFont, right: float, rect: QRectF, theme: Theme
) -> float:
    """A key cap whose right edge lies at ``right``; its width."""
    painter.setFont(font)
    metrics = painter.fontMetrics()
    high = min(metrics.height(), rect.height() - 3)
    wide = max(metrics.horizontalAdvance(key) + 6, high)
    cap = QRectF(right - wide, rect.top() + (rect.height() - 1 - high) / 2, wide, high)
    painter.setPen(QPen(colour(theme.tint(0.3)), 1))
    painter.setBrush(colour(theme.tint(0.1)))
    painter.drawRoundedRect(cap.adjusted(0.5, 0.5, -0.5, -0.5), 2.5, 2.5)
    painter.setPen(colour(theme.tint(0.75)))
    painter.drawText(cap, Qt.AlignmentFlag.AlignCenter, key)
    return wide


def _rgb(colour: QColor) -> Colour:
    return colour.red(), colour.green(), colour.blue()
