"""DecisionPanel: sliders from probability to bouts, with their effect on what is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ethoprism.errors import EthoPrismError
from ethoprism.prediction import Decision
from napari_ethoprism.decision_row import DecisionRow
from napari_ethoprism.jobs import Job
from napari_ethoprism.links import Links
from napari_ethoprism.looks import plain
from napari_ethoprism.probe_effects import (
    Counted,
    count,
    threshold_at,
    with_low,
    with_min_bout,
    with_min_gap,
    with_threshold,
)
from napari_ethoprism.probe_widgets import Remark
from napari_ethoprism.session import Session

_APPLY_AFTER_MS = 30


class DecisionPanel(QWidget):
    """Thresholds and shortest bouts of the probe that is shown.

    Signals
    -------
    saved(name)
        The decision of a probe was written, so that exports use it.
    """

    saved = QtSignal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._probe: Any = None
        self._decision: Decision | None = None
        self._held_out: tuple[Any, ...] | None = None
        self.rows: dict[str, DecisionRow] = {}
        self._effect_job: Job | None = None
        self._again = False
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_APPLY_AFTER_MS)
        self._timer.timeout.connect(self._apply)
        self._build()
        self.links = Links()
        self.links.add(session.events.predictions, self._predictions_changed)
        self._render()

    @property
    def decision(self) -> Decision | None:
        """What the sliders say."""
        return self._decision

    def show_probe(self, probe: Any, colours: Mapping[str, str]) -> None:
        """Take over a probe, or None; its decision is the one that exports use."""
        same = probe is not None and self._probe is not None and probe.digest == self._probe.digest
        self._probe = probe
        if not same or self._decision is None:
            self._held_out = None
            self._decision = None if probe is None else probe.decision
            self._make_rows(colours)
        self._predictions_changed()

    def reset(self) -> None:
        """Go back to what was learnt from the validation data."""
        if self._probe is not None:
            self._decision = _learnt(self._probe)
            self._set_rows()
            self._apply()

    def save(self) -> None:
        """Write the decision, so that exports use it, here and on the command line."""
        project, decision, probe = self._session.project, self._decision, self._probe
        if project is None or decision is None or probe is None:
            return
        self._apply()
        self._session.jobs.start(
            f"Save thresholds of {probe.name}",
            partial(_save, project.probe_folder(probe.name), decision),
            lane="predictions",
            on_done=lambda _: self._was_saved(decision),
            on_error=self._tell,
        )

    def _build(self) -> None:
        self.empty = plain("Train a probe, or choose one above.")
        self.more = QCheckBox("Hysteresis and gaps")
        self.more.setToolTip("Show for each behaviour how far bouts go on, and which gaps close")
        self.ends = QWidget()
        ends = QHBoxLayout(self.ends)
        self._columns = (
            self.fontMetrics().horizontalAdvance("Goes on at"),
            self.fontMetrics().horizontalAdvance("000 fr · 0.00 s"),
        )
        ends.setContentsMargins(self._columns[0] + 8, 0, 0, 0)
        ends.addWidget(plain("◂ rather miss", wrap=False))
        ends.addStretch(1)
        ends.addWidget(plain("rather over-call ▸", wrap=False))
        self.remark = Remark()
        self.reset_button, self.save_button = QPushButton("Reset"), QPushButton("Save")
        self.reset_button.setToolTip("Back to the values that were learnt on validation data")
        self.save_button.setToolTip(
            "Keep these values: exports use them, here and with 'ethoprism export'"
        )
        buttons = QHBoxLayout()
        buttons.addWidget(self.reset_button)
        buttons.addWidget(self.save_button)
        self._list = QVBoxLayout()
        self._list.setSpacing(2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addWidget(self.empty)
        layout.addWidget(self.ends)
        layout.addLayout(self._list)
        layout.addWidget(self.more)
        layout.addWidget(self.remark)
        layout.addLayout(buttons)
        layout.addStretch(1)
        self.more.toggled.connect(self._show_more)
        self.reset_button.clicked.connect(self.reset)
        self.save_button.clicked.connect(self.save)

    def _make_rows(self, colours: Mapping[str, str]) -> None:
        for row in self.rows.values():
            row.setParent(None)
            row.deleteLater()
        self.rows.clear()
        for name in () if self._probe is None else self._probe.behaviours:
            row = DecisionRow(name, colours.get(name, "#999999"), self._columns)
            for slider, change in (
                (row.threshold, lambda d, n, v: with_threshold(d, n, threshold_at(v))),
                (row.min_bout, with_min_bout),
                (row.low, lambda d, n, v: with_low(d, n, threshold_at(v))),
                (row.min_gap, with_min_gap),
            ):
                slider.valueChanged.connect(partial(self._moved, name, change))
            row.show_more(self.more.isChecked())
            row.show_effect(None)
            self._list.addWidget(row)
            self.rows[name] = row
        self._set_rows()

    def _show_more(self, more: bool) -> None:
        for row in self.rows.values():
            row.show_more(more)

    def _set_rows(self) -> None:
        if self._decision is not None:
            seconds = self._seconds_per_frame()
            for row in self.rows.values():
                row.set(self._decision, seconds)
        self._render()

    def _moved(
        self, name: str, change: Callable[[Decision, str, int], Decision], value: int
    ) -> None:
        if self._decision is not None:
            self._changed(change(self._decision, name, value))

    def _changed(self, decision: Decision) -> None:
        self._decision = decision
        seconds = self._seconds_per_frame()
        for row in self.rows.values():
            row.set(decision, seconds)
        self._render()
        self._timer.start()

    def _apply(self) -> None:
        """Show the bouts of the decision, and count them."""
        self._timer.stop()
        decision, shown = self._decision, self._session.predictions
        if decision is None or self._probe is None or not shown:
            return
        if shown[0].probe == self._probe.name and any(s.decision != decision for s in shown):
            self._session.predictions = tuple(replace(s, decision=decision) for s in shown)

    def _predictions_changed(self) -> None:
        shown = self._session.predictions
        mine = bool(shown) and self._probe is not None and self._probe.name == shown[0].probe
        theirs = shown[0].decision if mine else None
        # While a slider moves, what is shown lags behind it.
        if theirs not in (None, self._decision) and not self._timer.isActive():
            self._decision = theirs
            self._set_rows()
        if not mine:
            for row in self.rows.values():
                row.show_effect(None)
        self._render()
        self._count()

    def _count(self) -> None:
        if self._effect_job is not None:
            self._again = True
            return
        shown, project, probe = self._session.predictions, self._session.project, self._probe
        if not shown or project is None or probe is None or shown[0].probe != probe.name:
            return
        self._again = False
        self._effect_job = self._session.jobs.start(
            "Count predicted bouts",
            partial(
                count,
                [s.prediction for s in shown],
                shown[0].decision,
                probe,
                project.probe_folder(probe.name),
                self._held_out,
            ),
            lane="effect",
            on_done=partial(self._counted, probe.digest),
            on_error=self._not_counted,
        )

    def _counted(self, digest: str, found: Counted) -> None:
        self._effect_job = None
        if self._probe is not None and self._probe.digest == digest:
            self._held_out = found.held_out
            for name, row in self.rows.items():
                row.show_effect(found.effects.get(name))
        if self._again:
            self._count()

    def _not_counted(self, error: EthoPrismError) -> None:
        self._effect_job = None
        self._tell(error)

    def _was_saved(self, decision: Decision) -> None:
        if self._probe is not None:
            learnt = _learnt(self._probe)
            own = None if decision == learnt else learnt
            self._probe = replace(self._probe, decision=decision, learnt=own)
            self.saved.emit(self._probe.name)
        self._render()

    def _tell(self, error: EthoPrismError) -> None:
        self.remark.say(str(error), "error")

    def _seconds_per_frame(self) -> float:
        recording = self._session.recording
        if recording is None or recording.n_frames < 2:
            return float("nan")
        return float(np.median(np.diff(recording.frame_times)))

    def _render(self) -> None:
        there = self._probe is not None
        self.empty.setVisible(not there)
        for widget in (self.ends, self.more, self.reset_button, self.save_button):
            widget.setVisible(there)
        changed = there and self._decision != self._probe.decision
        self.save_button.setEnabled(bool(changed))
        self.reset_button.setEnabled(there and self._decision != _learnt(self._probe))
        said = ["Changed and not saved: exports use the former values."] if changed else []
        if self._decision is not None and there:
            said += [chain_remark(chain.behaviours) for chain in self._decision.chains]
        self.remark.say(" ".join(said))


def chain_remark(behaviours: Sequence[str]) -> str:
    """Why a frame of an exclusive group may be called below its threshold."""
    return (
        f"{', '.join(behaviours)}: decided together, as the likeliest sequence. So a frame may be "
        "called below its threshold, or not be called above it."
    )


def _learnt(probe: Any) -> Decision:
    return probe.decision if probe.learnt is None else probe.learnt


def _save(folder: Any, decision: Decision) -> None:
    from ethoprism.probe.checkpoint import forget_decision, load_probe, save_decision

    if load_probe(folder, own=False).decision == decision:
        forget_decision(folder)
    else:
        save_decision(folder, decision)
