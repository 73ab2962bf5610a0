"""DecisionRow: the sliders of one behaviour, and what they come to."""

from __future__ import annotations

import math

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from ethoprism.prediction import Decision
from napari_ethoprism.looks import heading, plain
from napari_ethoprism.probe_effects import STEPS, Effect, decoded, gap_of, low_of, position_of
from napari_ethoprism.probe_widgets import swatch


class DecisionRow(QWidget):
    """One behaviour: its name and effect, threshold and shortest bout, and more where asked for.

    Attributes
    ----------
    threshold, min_bout, low, min_gap
        The sliders.
    effect
        Tells of bouts and time.
    """

    def __init__(self, name: str, colour: str, columns: tuple[int, int]) -> None:
        super().__init__()
        self.name = name
        self.effect, self.scores = plain(wrap=False), plain(faint=True)
        self.scores.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.effect.setToolTip("In the recording that is shown: bouts, and share of its time")
        self.scores.setToolTip(
            "With these settings, on labelled frames that the training did not learn from.\n"
            "Precision: how many of the frames that are called are right.\n"
            "Recall: how many of the frames of the behaviour are called."
        )
        self.threshold, self.min_bout = _slider(0, STEPS), _slider(1, 100)
        self.low, self.min_gap = _slider(0, STEPS), _slider(0, 100)
        lines = (
            ("Threshold", self.threshold, "From 'rather miss' to 'rather over-call'"),
            ("Min. bout", self.min_bout, "Bouts shorter than this are dropped"),
            ("Goes on at", self.low, "A bout that began goes on down to this probability"),
            ("Min. gap", self.min_gap, "Gaps in a bout that are shorter than this are filled"),
        )
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnMinimumWidth(0, columns[0])
        grid.setColumnMinimumWidth(2, columns[1])
        grid.setColumnStretch(1, 1)
        self._values: list[QLabel] = []
        self._more: list[QWidget] = []
        for line, (title, slider, tip) in enumerate(lines):
            label, value = plain(title, wrap=False), plain(wrap=False)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            slider.setToolTip(f"{name}. {tip}")
            for column, widget in enumerate((label, slider, value)):
                grid.addWidget(widget, line, column)
                if line > 1:
                    self._more.append(widget)
            self._values.append(value)
        head, icon = QHBoxLayout(), QLabel()
        side = self.fontMetrics().ascent()
        icon.setPixmap(swatch(colour, self).pixmap(QSize(side, side)))
        head.setSpacing(6)
        head.addWidget(icon)
        head.addWidget(heading(name))
        head.addStretch(1)
        head.addWidget(self.effect)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self.scores)
        layout.addLayout(grid)
        self.show_more(False)

    def show_more(self, more: bool) -> None:
        """Show hysteresis and gaps too, or not."""
        for widget in self._more:
            widget.setVisible(more)

    def set(self, decision: Decision, seconds: float) -> None:
        """Place the sliders without telling anybody, and say the values."""
        min_bout, gap = decision.min_bout[self.name], gap_of(decision, self.name)
        longest = max(4 * max(min_bout, gap), 25, round(2 / seconds) if seconds > 0 else 0)
        for slider, value, most in (
            (self.threshold, position_of(decision.thresholds[self.name]), STEPS),
            (self.low, position_of(low_of(decision, self.name)), STEPS),
            (self.min_bout, min_bout, longest),
            (self.min_gap, gap, longest),
        ):
            slider.blockSignals(True)
            slider.setMaximum(max(slider.maximum(), most))
            slider.setValue(value)
            slider.blockSignals(False)
        apart = decoded(decision, self.name)
        self.low.setEnabled(not apart)
        grouped = any(self.name in group for group in decision.exclusive)
        self.min_gap.setEnabled(not apart and not grouped)
        self.say(decision, seconds)

    def say(self, decision: Decision, seconds: float) -> None:
        """Write the values beside the sliders."""
        texts = (
            f"{decision.thresholds[self.name]:.3f}",
            _length(decision.min_bout[self.name], seconds),
            f"{low_of(decision, self.name):.3f}",
            _length(gap_of(decision, self.name), seconds),
        )
        for label, content in zip(self._values, texts, strict=True):
            label.setText(content)

    def show_effect(self, effect: Effect | None) -> None:
        """Say what is called, or nothing where that is not known."""
        if effect is None:
            self.effect.setText("")
            self.scores.setVisible(False)
            return
        bouts = "1 bout" if effect.bouts == 1 else f"{effect.bouts:,} bouts"
        self.effect.setText(f"{bouts} · {100 * effect.share:.1f} % of time")
        known = math.isfinite(effect.recall)
        self.scores.setVisible(known)
        if known:
            self.scores.setText(
                f"held out: precision {effect.precision:.2f}, recall {effect.recall:.2f}"
            )


def _length(frames: int, seconds: float) -> str:
    return f"{frames} fr" + (f" · {frames * seconds:.2f} s" if seconds > 0 else "")


def _slider(low: int, high: int) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(low, high)
    return slider
