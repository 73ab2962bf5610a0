"""Small widgets that the panels of the probe dock share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHeaderView,
    QLabel,
    QSizePolicy,
    QToolButton,
    QTreeWidget,
    QVBoxLayout,
    QWidget,
)

_BARS = {"info": "#56B4E9", "warning": "#E69F00", "error": "#D55E00"}
"""Colours of Okabe and Ito that are seen on light and on dark."""


class Remark(QLabel):
    """A sentence with a bar of colour at its left; hidden while it says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.setVisible(False)

    def say(self, content: str, kind: Literal["info", "warning", "error"] = "info") -> None:
        """Show a text, or with an empty one nothing."""
        self.setText(content)
        self.setStyleSheet(
            f"QLabel {{ border: none; border-left: 3px solid {_BARS[kind]}; padding-left: 6px; }}"
        )
        self.setVisible(bool(content))


class Fold(QWidget):
    """A section that opens and closes."""

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setStyleSheet("QToolButton { border: none; padding: 0; }")
        self._content = content
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.button)
        layout.addWidget(content)
        self.button.toggled.connect(self._toggled)
        self._toggled(False)

    def _toggled(self, opened: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if opened else Qt.ArrowType.RightArrow)
        self._content.setVisible(opened)


class Table(QTreeWidget):
    """A flat table: the first column takes what width is left, the others hold numbers."""

    def __init__(self, headers: Sequence[str], *, rows: int = 6) -> None:
        super().__init__()
        self._rows = rows
        self.setHeaderLabels(list(headers))
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header: Any = self.header()
        names: Any = self.headerItem()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column in range(1, len(headers)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
            names.setTextAlignment(column, right)
        self.fit()

    def fit(self) -> None:
        """Take the height of the rows, up to the most that were asked for."""
        shown = max(min(self.topLevelItemCount(), self._rows), 1)
        row = self.sizeHintForRow(0)
        if row <= 0:
            row = self.fontMetrics().height() + 6
        header: Any = self.header()
        height = header.sizeHint().height() + shown * row + 4
        self.setFixedHeight(height)


def align_numbers(item: object, columns: int) -> None:
    """Set the cells of a row, but the first, flush right."""
    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
    for column in range(1, columns):
        item.setTextAlignment(column, right)  # type: ignore[attr-defined]


def swatch(colour: str, widget: QWidget) -> QIcon:
    """A rounded square of a behaviour's colour, sharp on the widget's screen."""
    side, ratio = max(widget.fontMetrics().ascent(), 8), widget.devicePixelRatioF()
    picture = QPixmap(QSize(round(side * ratio), round(side * ratio)))
    picture.setDevicePixelRatio(ratio)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawRoundedRect(1, 1, side - 2, side - 2, 2, 2)
    painter.end()
    return QIcon(picture)
