"""ProbeDock: train a probe, set its thresholds, and review what it calls."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from napari_ethoprism import probe_run
from napari_ethoprism.decision_panel import DecisionPanel
from napari_ethoprism.links import Links
from napari_ethoprism.looks import plain
from napari_ethoprism.probe_run import Saved
from napari_ethoprism.probe_survey import edits_since
from napari_ethoprism.probe_training import TrainingPanel
from napari_ethoprism.probe_widgets import Remark
from napari_ethoprism.review_panel import ReviewPanel
from napari_ethoprism.session import Session
from napari_ethoprism.shown import shown_predictions


class ProbeDock(QWidget):
    """The probe that is shown, and tabs for training, thresholds and review.

    Parameters
    ----------
    session
        Of the workbench.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._probe: Any = None
        self._trained_at: Any = None
        self._build()
        self._links = links = Links()
        links.add(session.events.project, self._project_changed)
        links.add(session.events.probe, self._probe_chosen)
        links.add(session.events.predictions, self._render)
        links.add(session.events.moment, self._moment_changed)
        self._project_changed()

    def closeEvent(self, a0: Any) -> None:
        """Closed with the workbench: stop listening, end threads, take the actions away."""
        panels = (self.training, self.decision, self.review)
        for links in (self._links, *(panel.links for panel in panels)):
            links.cut()
        super().closeEvent(a0)

    def _build(self) -> None:
        self.probes = QComboBox()
        self.probes.setToolTip("The probe whose predictions are shown")
        self.remark = Remark()
        self.training = TrainingPanel(self._session)
        self.decision = DecisionPanel(self._session)
        self.review = ReviewPanel(self._session)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        panels = {"Train": self.training, "Thresholds": self.decision, "Review": self.review}
        for title, panel in panels.items():
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setFrameShape(QFrame.Shape.NoFrame)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setWidget(panel)
            self.tabs.addTab(area, title)
        top = QHBoxLayout()
        top.addWidget(plain("Shown", wrap=False))
        top.addWidget(self.probes, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(self.remark)
        layout.addWidget(self.tabs, 1)
        self.probes.activated.connect(self._picked)
        self.training.trained.connect(self._trained)
        self.training.predicted.connect(self._predicted)
        self.training.surveyed.connect(self._render)
        self.review.retrain.connect(self._retrain)

    def _retrain(self) -> None:
        self.training.retrain(self._session.probe)
        self.tabs.setCurrentIndex(0)

    def _picked(self) -> None:
        self._session.probe = self.probes.currentData() or ""

    def _project_changed(self) -> None:
        self._list_probes()
        self._probe_chosen()

    def _list_probes(self) -> None:
        project = self._session.project
        names = () if project is None else probe_run.probe_names(project)
        self.probes.clear()
        for name in names:
            self.probes.addItem(name, name)
        if not names:
            self.probes.addItem("no probe yet", "")
        self.probes.setEnabled(bool(names))
        self.probes.setCurrentIndex(max(self.probes.findData(self._session.probe), 0))

    def _probe_chosen(self) -> None:
        """Read the card of the probe that was chosen."""
        project, name = self._session.project, self._session.probe
        self.probes.setCurrentIndex(max(self.probes.findData(name), 0))
        if self._probe is not None and self._probe.name != name:
            self._take(None)
        if project is None or not name:
            self._take(None)
            return
        self._session.jobs.start(
            f"Read probe {name}",
            partial(probe_run.read_saved, project, name),
            lane="predictions",
            on_done=self._read,
            on_error=self._unreadable,
        )

    def _read(self, saved: Saved) -> None:
        if saved.probe.name == self._session.probe:
            same = self._probe is not None and self._probe.digest == saved.probe.digest
            self._take(saved.probe, self._trained_at if same else saved.trained_at)
            if not self.training.busy:
                self.training.curve.show_scores(saved.probe.metrics, self._colours())

    def _unreadable(self, error: EthoPrismError) -> None:
        self.remark.say(str(error), "error")

    def _take(self, probe: Any, trained_at: Any = None) -> None:
        self._probe, self._trained_at = probe, trained_at
        self.decision.show_probe(probe, self._colours())
        self._render()

    def _trained(self, probe: Any) -> None:
        self._session.predictions = ()  # of the probe that this one replaced
        self._take(probe, self.training.started)
        self.training.curve.show_scores(probe.metrics, self._colours())
        self._session.probe = probe.name
        self.review.was_trained()
        self._list_probes()

    def _predicted(self, probe: Any, recording: str, predictions: Any) -> None:
        entry = self._session.entry
        if entry is not None and entry.id == recording:
            self._session.predictions = shown_predictions(probe, predictions)

    def _moment_changed(self, new: Any, old: Any) -> None:
        if (new and new.recording) is not (old and old.recording):
            self._render()

    def _colours(self) -> dict[str, str]:
        project = self._session.project
        return {} if project is None else {b.name: b.colour for b in project.ethogram.behaviours}

    def _render(self) -> None:
        parts, kind = [], "info"
        probe = self._probe
        if probe is not None and self._trained_at is not None:
            history = () if self._session.labels is None else self._session.labels.history
            edits = edits_since(history, self._trained_at)
            if edits:
                parts.append(
                    f"The probe is older than {edits:,} edit{'s' * (edits > 1)} of the labels: "
                    "train it again."
                )
                kind = "warning"
        if probe is not None and not probe.key.trained:
            parts.append(
                "The backbone's weights are random (untrained): these scores say little about "
                "behaviour."
            )
            kind = "warning"
        for shown in self._session.predictions:
            whose = f"{shown.prediction.subject}: " if shown.prediction.subject else ""
            parts += [f"{whose}{note}" for note in shown.prediction.notes]
            kind = "warning" if shown.prediction.notes else kind
        entry = self._session.entry
        if probe is not None and entry is not None and not self._session.predictions:
            parts.append(f"{entry.id!r} has no predictions of {probe.name!r}.")
        self.remark.say(" ".join(parts), kind)
