"""LearningCurve: loss and held-out F1 of a training as it goes on, and the scores at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import QEvent
from qtpy.QtGui import QColor, QPalette
from qtpy.QtWidgets import QTreeWidgetItem, QVBoxLayout, QWidget

from ethoprism.progress import LearningProgress
from napari_ethoprism.looks import heading, plain
from napari_ethoprism.probe_widgets import Table, align_numbers, swatch

_COLUMNS = ("Behaviour", "F1", "Precision", "Recall", "Frames", "Bouts")


class LearningCurve(QWidget):
    """Two plots over the training's steps, and a row of scores for each behaviour.

    Attributes
    ----------
    points
        The measurements that are drawn, in order.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.points: list[LearningProgress] = []
        self._colours: dict[str, str] = {}
        self._view: Any = pg.GraphicsLayoutWidget()
        self._view.ci.setContentsMargins(0, 4, 6, 0)
        self._view.ci.layout.setSpacing(2)
        self._titles: list[tuple[Any, Any]] = []
        self._f1 = self._plot(0, "F1 on held-out data")
        self._f1.setYRange(0, 1, padding=0.02)
        self._f1.getAxis("left").setTicks([[(0, "0"), (0.5, "0.5"), (1, "1")], []])
        self._loss = self._plot(1, "training loss")
        self._loss.setXLink(self._f1)
        self._f1.getAxis("bottom").setStyle(showValues=False)
        self._view.ci.layout.setRowStretchFactor(0, 3)
        self._view.ci.layout.setRowStretchFactor(1, 2)
        height = self.fontMetrics().height()
        self._view.setFixedHeight(15 * height)
        self._lines: dict[str, Any] = {}
        self._loss_line = self._loss.plot()
        self.title = heading("Scores on held-out data")
        self.note = plain()
        self.table = Table(_COLUMNS, rows=12)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self._view, self.title, self.note, self.table):
            layout.addWidget(widget)
        self._paint()
        self._show()

    def clear(self, colours: Mapping[str, str]) -> None:
        """Begin anew; ``colours`` are the ethogram's."""
        self.points.clear()
        self._colours = dict(colours)
        for line in self._lines.values():
            self._f1.removeItem(line)
        self._lines.clear()
        self._loss_line.setData([], [])
        self.table.clear()
        self.note.setText("")
        self._show()

    def add(self, step: LearningProgress) -> None:
        """Draw one more measurement; a repeated step starts a new curve."""
        if self.points and step.done <= self.points[-1].done:
            self.clear(self._colours)
        self.points.append(step)
        x = [p.done for p in self.points]
        self._loss_line.setData(x, [p.loss for p in self.points])
        for name in step.scores:
            if name not in self._lines:
                pen = pg.mkPen(self._colours.get(name, "#999999"), width=2)
                self._lines[name] = self._f1.plot(pen=pen, connect="finite")
            self._lines[name].setData(x, [p.scores.get(name, math.nan) for p in self.points])
        self._f1.setXRange(0, max(step.total, 1), padding=0.01)
        self._fill({name: {"f1": value} for name, value in step.scores.items()})
        self.note.setText("Validation data, while it learns.")
        self._show()

    def show_scores(self, metrics: Mapping[str, Any], colours: Mapping[str, str]) -> None:
        """Show the scores of a trained probe, as its card has them."""
        self._colours = dict(colours)
        part = "test" if metrics.get("test") else "validation"
        told = {
            "test": "Test data: not seen in training, and not used to choose thresholds.",
            "validation": "Validation data: it chose the thresholds, so scores are optimistic.",
        }
        scores = metrics.get(part) or {}
        chance = [name for name, row in scores.items() if _no_better(row)]
        warning = f" No better than chance: {', '.join(chance)}." if chance else ""
        self._fill(scores)
        self.note.setText(told[part] + warning if scores else "")
        self._show()

    def _fill(self, scores: Mapping[str, Mapping[str, Any]]) -> None:
        names = [n for n in self._colours if n in scores]
        names += [n for n in scores if n not in names]
        self.table.clear()
        for name in names:
            row = scores[name]
            cells = [_number(row.get(c)) for c in ("f1", "precision", "recall")]
            cells += [_count(row.get(c)) for c in ("present", "bouts")]
            item = QTreeWidgetItem([name, *cells])
            item.setIcon(0, swatch(self._colours.get(name, "#999999"), self.table))
            for column in range(len(_COLUMNS)):
                item.setToolTip(column, _explained(name, row))
            align_numbers(item, len(_COLUMNS))
            self.table.addTopLevelItem(item)
        self.table.fit()

    def _show(self) -> None:
        rows = self.table.topLevelItemCount() > 0
        self._view.setVisible(bool(self.points))
        for widget in (self.title, self.table):
            widget.setVisible(rows)
        self.note.setVisible(rows and bool(self.note.text()))

    def _plot(self, row: int, label: str) -> Any:
        plot = self._view.addPlot(row=row, col=0)
        plot.setMouseEnabled(x=False, y=False)
        plot.hideButtons()
        plot.setMenuEnabled(False)
        title = pg.TextItem(label, anchor=(1, 0))
        title.setParentItem(plot.getViewBox())
        self._titles.append((plot, title))
        plot.getViewBox().sigResized.connect(self._place_titles)
        left = plot.getAxis("left")
        left.enableAutoSIPrefix(False)
        left.setWidth(round(3.5 * self.fontMetrics().averageCharWidth() + 14))
        for side in ("left", "bottom"):
            plot.getAxis(side).setStyle(tickLength=4, maxTickLevel=0)
        return plot

    def _place_titles(self) -> None:
        for plot, title in self._titles:
            title.setPos(plot.getViewBox().width(), 0)

    def changeEvent(self, a0: Any) -> None:
        """Follow the theme."""
        super().changeEvent(a0)
        if a0.type() in (QEvent.Type.PaletteChange, QEvent.Type.StyleChange):
            self._paint()

    def _paint(self) -> None:
        ink = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        faint = QColor(ink)
        faint.setAlpha(90)
        self._view.setBackground(None)
        for plot in (self._f1, self._loss):
            for side in ("left", "bottom"):
                axis = plot.getAxis(side)
                axis.setPen(pg.mkPen(faint))
                axis.setTextPen(pg.mkPen(ink))
                axis.setTickFont(self.font())
        for _, title in self._titles:
            title.setColor(ink)
            title.setFont(self.font())
        self._loss_line.setPen(pg.mkPen(ink, width=1.5))


def _number(value: Any) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _count(value: Any) -> str:
    return "" if value is None else f"{int(value):,}"


def _no_better(row: Mapping[str, Any]) -> bool:
    """Whether the lower end of the interval, or F1 without one, is not above chance."""
    f1, chance = row.get("f1_low", row.get("f1")), row.get("chance_f1")
    return f1 is not None and chance is not None and f1 <= chance


def _explained(name: str, row: Mapping[str, Any]) -> str:
    lines = [name]
    if row.get("f1_low") is not None and row.get("f1_high") is not None:
        lines.append(f"F1: 95 % interval {row['f1_low']:.2f}–{row['f1_high']:.2f}")
    if row.get("chance_f1") is not None:
        lines.append(f"F1 by chance: {_number(row['chance_f1'])}")
    if row.get("average_precision") is not None:
        lines.append(f"Average precision: {_number(row['average_precision'])}")
    return "\n".join(lines)
