"""TrainingPanel: what to train on, Train, the curve while it learns, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from ethoprism.progress import LearningProgress, Progress
from napari_ethoprism import probe_run
from napari_ethoprism.actions import Action
from napari_ethoprism.jobs import Job
from napari_ethoprism.learning_curve import LearningCurve
from napari_ethoprism.links import Links
from napari_ethoprism.looks import plain
from napari_ethoprism.probe_choices import ChoiceTables
from napari_ethoprism.probe_options import TrainingOptions
from napari_ethoprism.probe_run import Predicted, Trained
from napari_ethoprism.probe_survey import Survey, survey
from napari_ethoprism.probe_widgets import Fold, Remark
from napari_ethoprism.session import Session

_SURVEY_AFTER_MS = 600
"""Labels are surveyed when they have not changed for so long."""


class TrainingPanel(QWidget):
    """Chooses what to train on and trains, in the background.

    Signals
    -------
    trained(probe)
        A probe was trained and saved.
    predicted(probe, recording, predictions)
        A recording was predicted by it, and the predictions saved.
    surveyed
        `survey` is new.

    Attributes
    ----------
    started
        When the last training began, in UTC; edits after that are not in the probe.
    """

    trained = QtSignal(object)
    predicted = QtSignal(object, str, object)
    surveyed = QtSignal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.started: datetime | None = None
        self._job: Job | None = None
        self._survey_job: Job | None = None
        self._stale = True
        self._probe: Any = None
        self._agreed: set[str] = set()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SURVEY_AFTER_MS)
        self._timer.timeout.connect(self._survey)
        self._build()
        session.actions.register(
            Action("train_probe", "Train the probe", "Probe", "Ctrl+T", self.train, self.can_train)
        )
        links = Links()
        links.add(session.events.project, self._project_changed)
        links.add(session.events.labels, self._labels_replaced)
        links.add(session.jobs.changed, self._job_changed)
        links.at_end(partial(session.actions.unregister, "train_probe"))
        self.links, self._watched = links, None
        self._labels_replaced()
        self._render()

    @property
    def survey(self) -> Survey:
        """What there is to train on, as it was found last."""
        return self.choices.survey

    @property
    def busy(self) -> bool:
        """Whether it trains or predicts."""
        return self._job is not None

    def can_train(self) -> bool:
        """Whether Train would do something now."""
        return self.train_button.isEnabled()

    def train(self) -> None:
        """Train, or ask first where a probe of that name would be replaced."""
        project, name = self._session.project, self.name.text().strip()
        if project is None or not self.can_train():
            return
        try:
            when = probe_run.trained_at(project, name)
        except EthoPrismError as error:  # no name for a folder
            self.remark.say(str(error), "error")
            return
        if when is not None and name not in self._agreed:
            self._other = probe_run.free_name(project, name)
            self.replace_button.setText(f"Replace {name!r}")
            self.keep_button.setText(f"Train as {self._other!r}")
            self.remark.say(
                f"There is a probe {name!r}, trained {when.astimezone():%d %b %Y %H:%M}. Training "
                "replaces it, with its thresholds and predictions.",
                "warning",
            )
            self.question.setVisible(True)
            return
        self._start(name)

    def retrain(self, name: str) -> None:
        """Train a probe again under its name; whoever asks for this has agreed to replace it."""
        self.name.setText(name)
        self._agreed.add(name)
        self.train()

    def cancel(self) -> None:
        """Stop; while it still learns, nothing of the new probe is saved."""
        if self._job is not None:
            self._job.cancel()
            self._render()

    def refresh(self) -> None:
        """Survey labels and tokens again, soon, or when the panel is next seen."""
        self._stale = True
        if self.isVisible():
            self._timer.start()

    def showEvent(self, a0: Any) -> None:
        """Survey what has changed while the panel was hidden."""
        super().showEvent(a0)
        if self._stale:
            self._survey()

    def _build(self) -> None:
        self.name = QLineEdit("probe")
        self.name.setToolTip("The probe's name: the folder under probes/ in the project")
        self.head = QComboBox()
        for title, head, tip in (
            # The first is the default, as of the command line.
            (
                "Temporal",
                "temporal",
                "Looks at what comes before and after; best on most behaviours",
            ),
            ("Linear", "linear", "Fastest; for few labels"),
            ("Attentive", "attentive", "Looks at places of the picture, as in VideoPrism's paper"),
        ):
            self.head.addItem(title, head)
            self.head.setItemData(self.head.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self.head.setToolTip("How the probe reads the tokens")
        self.choices = ChoiceTables()
        self.options = TrainingOptions()
        self.train_button = QPushButton("Train")
        self.train_button.setToolTip("Train on the labels, then predict (Ctrl+T)")
        self.cancel_button = QPushButton("Cancel")
        self.replace_button, self.keep_button = QPushButton(), QPushButton()
        self.question = QWidget()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.status = plain(wrap=False)
        self.remark = Remark()
        self.curve = LearningCurve()
        top, buttons = QHBoxLayout(), QHBoxLayout()
        top.addWidget(plain("Probe", wrap=False))
        top.addWidget(self.name, 1)
        top.addWidget(self.head)
        buttons.addWidget(self.train_button, 1)
        buttons.addWidget(self.cancel_button)
        asked = QHBoxLayout(self.question)
        asked.setContentsMargins(0, 0, 0, 0)
        asked.addWidget(self.replace_button)
        asked.addWidget(self.keep_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addWidget(self.choices)
        layout.addWidget(Fold("More", self.options))
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addWidget(self.status)
        layout.addWidget(self.remark)
        layout.addWidget(self.question)
        layout.addWidget(self.curve)
        layout.addStretch(1)
        self.train_button.clicked.connect(lambda: self._session.actions.trigger("train_probe"))
        self.cancel_button.clicked.connect(self.cancel)
        self.replace_button.clicked.connect(lambda: self._start(self.name.text().strip()))
        self.keep_button.clicked.connect(lambda: self._start(self._other))
        self.name.textChanged.connect(self._choice_changed)
        self.choices.changed.connect(self._choice_changed)

    def _start(self, name: str) -> None:
        project = self._session.project
        if project is None or self.busy:
            return
        self.name.setText(name)
        self._agreed.add(name)
        self.question.setVisible(False)
        self.remark.say("")
        self._probe, self._n_predicted = None, 0
        self.started = datetime.now(UTC)
        self.curve.clear({b.name: b.colour for b in project.ethogram.behaviours})
        options = {
            "name": name,
            "head": self.head.currentData(),
            **self.choices.choice(),
            **self.options.values(),
        }
        entry, rest = self._session.entry, self.survey.with_tokens
        order = sorted(rest, key=lambda r: entry is None or r != entry.id)
        self._job = self._session.jobs.start(
            f"Train {name}",
            probe_run.when_saved(
                self._session.labels,
                partial(probe_run.train_and_predict, project, options, order),
            ),
            on_progress=self._progressed,
            on_done=self._say_done,
            on_error=lambda error: self.remark.say(str(error), "error"),
        )
        self._render()

    def _progressed(self, step: Progress) -> None:
        if isinstance(step, LearningProgress):
            self.curve.add(step)
        elif isinstance(step, Trained):
            self._probe = step.probe
            self.trained.emit(step.probe)
        elif isinstance(step, Predicted):
            self._n_predicted += 1
            self.predicted.emit(self._probe, step.recording, step.predictions)
        self.bar.setRange(0, max(step.total, 1))
        self.bar.setValue(step.done)
        what = step.note if self._probe is not None else f"training, {step.note}"
        left = None if self._job is None else self._job.seconds_left
        self.status.setText(what + ("" if left is None or left < 2 else f" · {left:.0f} s left"))

    def _job_changed(self, job: Job) -> None:
        if job.active:
            return
        if job is not self._job:
            if job.lane == "compute":  # tokens may have come
                self.refresh()
            return
        self._job = None
        if job.cancelling and job.error is None and self._probe is None:
            self.remark.say("Cancelled. No probe was saved; one that was there is unchanged.")
        elif job.cancelling and job.error is None:
            self.remark.say(
                f"Cancelled. The probe is kept; recordings predicted: {self._n_predicted}."
            )
        self._render()

    def _say_done(self, probe: Any) -> None:
        project = self._session.project
        names = () if project is None else project.ethogram.names
        asked = set(names) - self.choices.left_out
        left_out = [name for name in names if name in asked and name not in probe.behaviours]
        if left_out:
            self.remark.say(f"Not learnt, for want of labels: {', '.join(left_out)}.")

    def _project_changed(self) -> None:
        self._agreed.clear()
        self.question.setVisible(False)
        self.remark.say("")
        self.refresh()
        self._render()

    def _labels_replaced(self) -> None:
        if self._watched is not None:
            self._watched.disconnect(self._labels_changed, missing_ok=True)
        labels = self._session.labels
        self._watched = None if labels is None else labels.changed
        if self._watched is not None:
            self.links.add(self._watched, self._labels_changed)
        self.refresh()

    def _labels_changed(self) -> None:
        self.refresh()

    def _survey(self) -> None:
        project = self._session.project
        self._stale = False
        if self._survey_job is not None:
            self._survey_job.cancel()
            self._survey_job = None
        if project is None:
            self._surveyed(Survey())
            return
        self._survey_job = self._session.jobs.start(
            "Look up labels and tokens",
            probe_run.when_saved(self._session.labels, partial(survey, project)),
            lane="survey",
            on_done=self._surveyed,
            on_error=lambda error: self.remark.say(str(error), "error"),
        )

    def _surveyed(self, found: Survey) -> None:
        self._survey_job = None
        self.choices.show_survey(found)
        self.options.show_subjects(found.subjects)
        self.surveyed.emit()

    def _choice_changed(self) -> None:
        self.question.setVisible(False)
        self._render()

    def _render(self) -> None:
        busy, job = self.busy, self._job
        project = self._session.project
        problem = "Open a project." if project is None else ""
        if project is not None and not self._stale:
            problem = self.survey.problem(
                self.choices.chosen_behaviours, self.choices.chosen_recordings
            )
        if not busy and (problem or self._lack):
            self.remark.say(problem, "warning")
        self._lack = problem
        self.train_button.setEnabled(not busy and not problem and bool(self.name.text().strip()))
        self.cancel_button.setVisible(busy)
        self.cancel_button.setEnabled(job is not None and not job.cancelling)
        self.bar.setVisible(busy)
        self.status.setVisible(busy)
        if busy and job is not None and job.progress is None:
            self.bar.setRange(0, 0)
            self.status.setText("waiting for other work" if job.started is None else "starting")
        self.question.setVisible(self.question.isVisible() and not busy)

    _lack = ""
    _other = ""
    _n_predicted = 0
