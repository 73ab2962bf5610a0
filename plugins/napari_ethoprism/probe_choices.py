"""ChoiceTables: which behaviours and recordings a probe is trained on, and what is held out."""

from __future__ import annotations

from collections.abc import Iterator

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import QTreeWidgetItem, QVBoxLayout, QWidget

from napari_ethoprism.probe_survey import Survey
from napari_ethoprism.probe_widgets import Table, align_numbers, swatch

_CHECKED, _UNCHECKED = Qt.CheckState.Checked, Qt.CheckState.Unchecked
_HELD_OUT = 3


class ChoiceTables(QWidget):
    """Two tables with check boxes. What the user took away stays away when the survey is renewed.

    Signals
    -------
    changed
        The choice or the survey has changed.

    Attributes
    ----------
    survey
        What is shown.
    left_out
        Behaviours that the user does not want.
    """

    changed = QtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.survey = Survey()
        self.left_out: set[str] = set()
        self._unused: set[str] = set()
        self._held_out: set[str] = set()
        self.behaviours = Table(("Behaviour", "Bouts", "Present", "Absent"))
        self.recordings = Table(("Recording", "Bouts", "Observed", "Hold out"))
        self.behaviours.setToolTip(
            "Frames in which each behaviour was labelled, and in which somebody looked for it and "
            "did not see it. Both kinds are needed."
        )
        self.recordings.setToolTip(
            "Recordings to learn from. Held out: not learnt from, and scored at the end.\n"
            "Where none is held out, recordings are shared out so that every part has each "
            "behaviour; one recording alone is split into blocks with gaps."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.behaviours)
        layout.addWidget(self.recordings)
        self.behaviours.itemChanged.connect(self._behaviour_changed)
        self.recordings.itemChanged.connect(self._recording_changed)

    def show_survey(self, survey: Survey) -> None:
        """Fill the tables anew."""
        self.survey = survey
        for table in (self.behaviours, self.recordings):
            table.blockSignals(True)
            table.clear()
        for row in survey.behaviours:
            item = QTreeWidgetItem([row.name, f"{row.bouts:,}", *_frames(row.present, row.absent)])
            item.setIcon(0, swatch(row.colour, self.behaviours))
            _finish(item, row.problem or row.remark, bool(row.problem), row.name in self.left_out)
            self.behaviours.addTopLevelItem(item)
        for recording in survey.recordings:
            item = QTreeWidgetItem(
                [recording.id, f"{recording.bouts:,}", *_frames(recording.observed), ""]
            )
            problem = recording.problem
            _finish(item, problem, bool(problem), recording.id in self._unused)
            if not problem:
                held = recording.id in self._held_out
                item.setCheckState(_HELD_OUT, _CHECKED if held else _UNCHECKED)
            self.recordings.addTopLevelItem(item)
        for table in (self.behaviours, self.recordings):
            table.blockSignals(False)
            table.fit()
        self.changed.emit()

    @property
    def chosen_behaviours(self) -> tuple[str, ...]:
        """Behaviours that can be learnt and are checked."""
        return tuple(i.text(0) for i in _items(self.behaviours) if i.checkState(0) == _CHECKED)

    @property
    def chosen_recordings(self) -> tuple[str, ...]:
        """Recordings to train on."""
        return tuple(
            i.text(0)
            for i in _items(self.recordings)
            if i.checkState(0) == _CHECKED and i.checkState(_HELD_OUT) != _CHECKED
        )

    @property
    def held_out(self) -> tuple[str, ...]:
        """Recordings that are held out."""
        return tuple(
            i.text(0)
            for i in _items(self.recordings)
            if i.checkState(0) == _CHECKED and i.checkState(_HELD_OUT) == _CHECKED
        )

    def choice(self) -> dict[str, tuple[str, ...]]:
        """``behaviours``, ``recordings`` and ``test`` as a `TrainingPlan` takes them.

        Where everything is chosen, they are empty, as on the command line.
        """
        behaviours, recordings = self.chosen_behaviours, self.chosen_recordings
        learnable = [b.name for b in self.survey.behaviours if not b.problem]
        labelled = [r.id for r in self.survey.recordings if r.observed]
        everything = set(recordings) | set(self.held_out) == set(labelled)
        return {
            "behaviours": () if len(behaviours) == len(learnable) else behaviours,
            "recordings": () if everything else recordings,
            "test": self.held_out,
        }

    def _behaviour_changed(self, item: QTreeWidgetItem) -> None:
        _keep(self.left_out, item.text(0), item.checkState(0) == _UNCHECKED)
        self.changed.emit()

    def _recording_changed(self, item: QTreeWidgetItem) -> None:
        _keep(self._unused, item.text(0), item.checkState(0) == _UNCHECKED)
        _keep(self._held_out, item.text(0), item.checkState(_HELD_OUT) == _CHECKED)
        self.changed.emit()


def _items(table: Table) -> Iterator[QTreeWidgetItem]:
    for row in range(table.topLevelItemCount()):
        item = table.topLevelItem(row)
        if item is not None and not item.isDisabled():
            yield item


def _finish(item: QTreeWidgetItem, remark: str, disabled: bool, unchecked: bool) -> None:
    align_numbers(item, item.columnCount())
    name = item.text(0)
    item.setToolTip(0, f"{name}: {remark}" if remark else name)
    if disabled:
        item.setText(item.columnCount() - 1, "")
        item.setDisabled(True)
    else:
        item.setCheckState(0, _UNCHECKED if unchecked else _CHECKED)


def _keep(names: set[str], name: str, there: bool) -> None:
    (names.add if there else names.discard)(name)


def _frames(*counts: int) -> list[str]:
    return [f"{n:,}" for n in counts]
