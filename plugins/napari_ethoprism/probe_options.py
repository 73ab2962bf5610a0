"""TrainingOptions: what few people change about a training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLineEdit, QSpinBox, QWidget

_SPLITS = (
    ("Automatic", "auto"),
    ("Whole recordings", "recordings"),
    ("Animals", "animals"),
    ("Sessions", "sessions"),
    ("By a pattern in their names", "pattern"),
    ("Blocks of one recording", "blocks"),
)
_LOSSES = (
    ("Count as often as they occur", "cross-entropy"),
    ("Weigh as much as common ones", "balanced"),
    ("Hard frames weigh more (focal)", "focal"),
)


class TrainingOptions(QWidget):
    """A form whose `values` go into a `TrainingPlan`; the defaults are the command line's."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.split, self.loss, self.subject = _box(_SPLITS), _box(_LOSSES), QComboBox()
        self.split.setToolTip(
            "What stays together when labels are shared out; never frame by frame, because "
            "neighbouring frames are alike and scores would be too good"
        )
        self.pattern = QLineEdit()
        self.pattern.setPlaceholderText(r"for example mouse\d+")
        self.pattern.setToolTip(
            "A regular expression: recordings in which it finds the same stay together"
        )
        self.loss.setToolTip("How behaviours with few frames count")
        self.subject.setToolTip("Whose behaviour is learnt")
        self.folds, self.ensemble = _spin(0, 20), _spin(1, 16)
        self.folds.setSpecialValueText("none")
        self.folds.setToolTip("Train so many probes on parts first, to score every labelled frame")
        self.ensemble.setToolTip("Networks whose probabilities are averaged: slower, steadier")
        self.context, self.seed = _spin(-1, 512), _spin(0, 2**31 - 1)
        self.context.setValue(-1)
        self.context.setSpecialValueText("automatic")
        self.context.setToolTip("Rows of tokens on either side of a frame that the probe sees")
        self.motion = QCheckBox("Join tokens with their change")
        self.motion.setChecked(True)
        self.seed.setToolTip("The same seed on the same machine gives the same probe")
        form = QFormLayout(self)
        form.setContentsMargins(12, 0, 0, 0)
        form.setSpacing(4)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Keep together", self.split)
        form.addRow("Pattern", self.pattern)
        form.addRow("Rare behaviours", self.loss)
        form.addRow("Subject", self.subject)
        form.addRow("Cross-validation", self.folds)
        form.addRow("Networks", self.ensemble)
        form.addRow("Context", self.context)
        form.addRow("Motion", self.motion)
        form.addRow("Seed", self.seed)
        self._form = form
        self.split.currentIndexChanged.connect(self._split_changed)
        self.show_subjects(())
        self._split_changed()

    def show_subjects(self, names: Sequence[str]) -> None:
        """Offer the subjects that labels name."""
        chosen = self.subject.currentData()
        self.subject.clear()
        self.subject.addItem("anybody", "")
        for name in names:
            self.subject.addItem(name, name)
        self.subject.setCurrentIndex(max(self.subject.findData(chosen), 0))

    def values(self) -> dict[str, Any]:
        """Keyword arguments of a `TrainingPlan`."""
        context, split = self.context.value(), self.split.currentData()
        return {
            "split": split,
            "pattern": self.pattern.text() if split == "pattern" else "",
            "loss": self.loss.currentData(),
            "subject": self.subject.currentData(),
            "folds": self.folds.value(),
            "ensemble": self.ensemble.value(),
            "context": None if context < 0 else context,
            "motion": self.motion.isChecked(),
            "seed": self.seed.value(),
        }

    def _split_changed(self) -> None:
        shown = self.split.currentData() == "pattern"
        self._form.setRowVisible(self.pattern, shown)


def _box(choices: Sequence[tuple[str, str]]) -> QComboBox:
    box = QComboBox()
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(8)
    for title, value in choices:
        box.addItem(title, value)
    return box


def _spin(low: int, high: int) -> QSpinBox:
    spin = QSpinBox()
    spin.setRange(low, high)
    return spin
