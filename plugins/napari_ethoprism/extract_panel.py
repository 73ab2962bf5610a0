"""ExtractPanel: what an extraction would take, said before it starts; then how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from ethoprism.batch import Extracted
from ethoprism.errors import EthoPrismError
from ethoprism.progress import Progress
from ethoprism.project import Project, Settings
from napari_ethoprism import extract_run
from napari_ethoprism.extract_run import Plan
from napari_ethoprism.jobs import Job, State
from napari_ethoprism.looks import flat_button, form, heading, plain, tight, tone
from napari_ethoprism.session import Session


class ExtractPanel(QFrame):
    """Measures, says what extraction would take, and runs it.

    Parameters
    ----------
    session
        Whose project and jobs.
    """

    progressed = Signal(str)
    """A recording's tokens have grown."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._recordings: tuple[str, ...] = ()
        self._plan: Plan | None = None
        self._backbone: tuple[Settings, Any] | None = None
        self.job: Job | None = None
        self._build()
        session.jobs.changed.connect(self._job_changed)
        session.events.project.connect(self._project_changed)
        self.hide()

    @property
    def facts(self) -> dict[str, str]:
        """What the panel says, by name."""
        return dict(self._facts)

    def prepare(self, recordings: Sequence[str] = (), *, download: bool = False) -> None:
        """Measure what extracting these recordings would take, all by default."""
        project = self._session.project
        if project is None or (self.job is not None and self.job.active):
            self.show()
            return
        self._recordings = tuple(recordings)
        n = len(recordings) or len(project.recording_ids)
        named = recordings[0] if len(recordings) == 1 else f"{n} recordings"
        self.title.setText(f"Extract tokens of {named}")
        self._say([])
        self.status.setText("Measuring how fast this computer is…")
        self.status.show()
        self._plan = None
        known = self._backbone
        backbone = known[1] if known is not None and known[0] == project.settings else None
        self.job = self._session.jobs.start(
            "Measure this computer",
            lambda: extract_run.make_plan(project, recordings, backbone, download=download),
            on_done=lambda plan: self._planned(project, plan),
            on_error=self._failed,
        )
        self._render()
        self.show()

    def start(self) -> None:
        """Extract what was planned; what is there already is kept."""
        project, plan = self._session.project, self._plan
        if project is None or plan is None:
            return
        if plan.estimate is None:
            self.prepare(self._recordings, download=True)
            return
        recordings = self._recordings
        self.job = self._session.jobs.start(
            self.title.text(),
            lambda: extract_run.run_plan(project, plan, recordings),
            on_progress=self._progressed,
            on_done=self._done,
            on_error=self._failed,
        )
        self._last = ""
        self.status.setText("Extracting. You can go on working; closing is safe.")
        self.status.show()
        self._render()

    def cancel(self) -> None:
        """Stop; what is finished is kept."""
        if self.job is not None:
            self.job.cancel()
        self._render()

    def _build(self) -> None:
        self._facts: list[tuple[str, str]] = []
        self._last = ""
        self.title = heading()
        self.close_button = flat_button("✕", "Close this panel; what runs goes on")
        self.form = form(self)
        self.status = plain()
        self.start_button = QPushButton("Extract")
        self.start_button.setToolTip("Goes on where it stopped; what is finished is kept")
        self.cancel_button = QPushButton("Stop")
        self.cancel_button.setToolTip("Stop; what is finished is kept")
        top = QHBoxLayout()
        top.addWidget(self.title, 1)
        top.addWidget(self.close_button)
        foot = QHBoxLayout()
        foot.addWidget(self.start_button)
        foot.addWidget(self.cancel_button)
        foot.addStretch(1)
        column = tight(QVBoxLayout(self), self)
        column.addLayout(top)
        column.addLayout(self.form)
        column.addWidget(self.status)
        column.addLayout(foot)
        self.close_button.clicked.connect(self.hide)
        self.start_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)

    def _planned(self, project: Project, plan: Plan) -> None:
        if plan.backbone is not None:
            self._backbone = (project.settings, plan.backbone)
        if self._session.project is None or self._session.project.folder != project.folder:
            self.hide()
            return
        self._plan = plan
        self.status.hide()
        self._say(extract_run.facts(project, plan))
        self._render()

    def _say(self, lines: Sequence[tuple[str, str, bool]]) -> None:
        while self.form.rowCount():
            self.form.removeRow(0)
        for name, text, warning in lines:
            label = plain(text)
            if warning:
                label.setStyleSheet(f"color: {tone(self, 'warning').name()}")
            self.form.addRow(plain(name, wrap=False, faint=True), label)
        self._facts = [(name, text) for name, text, _ in lines]

    def _progressed(self, step: Progress) -> None:
        recording = step.note.partition("@")[0]
        self.progressed.emit(recording)

    def _done(self, result: Extracted) -> None:
        self._session.notify(extract_run.outcome(result), "error" if result.failed else "info")
        self._plan = None
        self.hide()

    def _failed(self, error: EthoPrismError) -> None:
        self.status.setText(str(error))
        self.status.show()
        self._render()

    def _job_changed(self, job: Job) -> None:
        if job is not self.job or job.active:
            return
        if job.state is State.CANCELLED:
            self.status.setText("Stopped. What is finished is kept; Extract goes on from there.")
            self.status.show()
        self._render()

    def _project_changed(self, new: Project | None, old: Project | None) -> None:
        if old is None or new is None or new.folder != old.folder:
            self._plan = None
            self.hide()

    def _render(self) -> None:
        busy = self.job is not None and self.job.active
        plan = self._plan
        missing = plan is not None and plan.estimate is None
        self.start_button.setText("Download the weights" if missing else "Extract")
        left = plan is not None and (plan.estimate is None or plan.estimate.rows_left > 0)
        self.start_button.setVisible(not busy and left)
        self.cancel_button.setVisible(busy)
        self.cancel_button.setEnabled(self.job is not None and not self.job.cancelling)
