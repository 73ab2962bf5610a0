"""What the project dock's widgets share in looks: spacing, plain labels, tones for both themes."""

from __future__ import annotations

from typing import Literal, TypeVar

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import (
    QFormLayout,
    QGraphicsOpacityEffect,
    QLabel,
    QLayout,
    QSizePolicy,
    QToolButton,
    QWidget,
)

Tone = Literal["info", "warning", "error"]
Layout = TypeVar("Layout", bound=QLayout)

_TONES = {  # on a dark and on a light ground; each has a contrast of 4.5 to 1 or more
    "info": ("#8ab4f8", "#1a5fb4"),
    "warning": ("#f0c24b", "#8a5a00"),
    "error": ("#ff8a80", "#b3261e"),
}


def is_dark(widget: QWidget) -> bool:
    """Whether a widget's theme has light text on a dark ground."""
    return widget.palette().color(QPalette.ColorRole.WindowText).lightness() > 127


def tone(widget: QWidget, kind: Tone) -> QColor:
    """The colour of a kind of notice, legible in the widget's theme."""
    return QColor(_TONES[kind][0 if is_dark(widget) else 1])


_FAINT = 0.72
"""Opacity of what is read second. The contrast stays above 4.5 to 1 in both themes."""


def spacing(widget: QWidget) -> int:
    """Half a line of text, so that gaps grow with the font."""
    return max(widget.fontMetrics().height() // 2, 4)


def tight(layout: Layout, widget: QWidget, margin: bool = False) -> Layout:
    """A layout without margins, or with even ones, and with even gaps."""
    gap = spacing(widget)
    edge = gap if margin else 0
    layout.setContentsMargins(edge, edge, edge, edge)
    layout.setSpacing(gap)
    return layout


def plain(text: str = "", *, wrap: bool = True, faint: bool = False) -> QLabel:
    """A label that never takes names and paths for markup, and that can be copied from."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(wrap)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    if wrap:
        label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    if faint:
        effect = QGraphicsOpacityEffect(label)
        effect.setOpacity(_FAINT)
        label.setGraphicsEffect(effect)
    return label


def heading(text: str = "") -> QLabel:
    """A label in bold."""
    label = plain(text, wrap=False)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label


def flat_button(text: str, tip: str) -> QToolButton:
    """A small button without a frame: a sign or a word."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAutoRaise(True)
    height = button.fontMetrics().height() + 6
    button.setMinimumSize(QSize(height, height))
    return button


def form(widget: QWidget) -> QFormLayout:
    """An empty form with even rows, whose names stand beside the first line of their texts."""
    made = QFormLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setVerticalSpacing(max(spacing(widget) // 2, 2))
    made.setHorizontalSpacing(2 * spacing(widget))
    made.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    made.setFormAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
    made.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return made
