"""JobsPanel: what runs and waits, how far it is, how long it takes, and a way to stop it."""

from __future__ import annotations

import time

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QGridLayout, QProgressBar, QVBoxLayout, QWidget

from napari_ethoprism.jobs import Job, State
from napari_ethoprism.looks import flat_button, plain, tight
from napari_ethoprism.session import Session

_SHOWN_AFTER_S = 0.7
"""A job that is done sooner is not shown, so that nothing flickers."""
_STEPS = 1000


def duration(seconds: float) -> str:
    """A time that is left, as people say it: ``8 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class JobRow(QWidget):
    """One job: what it does, a bar, the time left, and a button that stops it."""

    def __init__(self, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = job
        self.title = plain(job.title)
        self.left = plain(wrap=False, faint=True)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, _STEPS)
        self.bar.setFixedHeight(max(self.fontMetrics().height() // 3, 4))
        self.stop = flat_button("✕", "Stop; what is finished is kept")
        self.stop.clicked.connect(self._stop)
        grid = tight(QGridLayout(self), self)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.title, 0, 0)
        grid.addWidget(self.left, 0, 1)
        grid.addWidget(self.stop, 0, 2, 2, 1)
        grid.addWidget(self.bar, 1, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        self.refresh()

    def refresh(self) -> None:
        """Show where the job stands."""
        job, step = self.job, self.job.progress
        note = f" – {step.note}" if step is not None and step.note else ""
        self.title.setText(job.title + note)
        self.stop.setEnabled(not job.cancelling)
        if job.state is State.WAITING:
            self.left.setText("stopping…" if job.cancelling else "waiting")
            self.bar.setRange(0, _STEPS)
            self.bar.setValue(0)
            return
        if step is None or step.total <= 0:
            self.bar.setRange(0, 0)
        else:
            self.bar.setRange(0, _STEPS)
            self.bar.setValue(round(_STEPS * min(step.done / step.total, 1.0)))
        left = job.seconds_left
        if job.cancelling:
            self.left.setText("stopping…")
        else:
            self.left.setText("" if left is None else f"{duration(left)} left")

    def _stop(self) -> None:
        self.job.cancel()
        self.refresh()


class JobsPanel(QWidget):
    """The jobs of a session that take longer than a moment."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._jobs = session.jobs
        self._rows: dict[Job, JobRow] = {}
        column = tight(QVBoxLayout(self), self)
        self._column = column
        self._timer = QTimer(self)
        self._timer.setInterval(250)
        self._timer.timeout.connect(self.refresh)
        self._jobs.changed.connect(self._changed)
        self.hide()

    @property
    def rows(self) -> list[JobRow]:
        """What is shown, in the order in which it was started."""
        return list(self._rows.values())

    def refresh(self) -> None:
        """Show the jobs as they stand."""
        active, now = self._jobs.active, time.monotonic()
        for job in [job for job in self._rows if job not in active]:
            row = self._rows.pop(job)
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        busy = {job.lane for job in self._rows}
        for job in active:
            long = job.started is not None and now - job.started > _SHOWN_AFTER_S
            if job not in self._rows and (long or job.lane in busy):
                self._rows[job] = JobRow(job, self)
                self._column.addWidget(self._rows[job])
                busy.add(job.lane)
        for row in self._rows.values():
            row.refresh()
        self.setVisible(bool(self._rows))
        if not active:
            self._timer.stop()

    def _changed(self, job: Job) -> None:
        if not job.active:
            self.refresh()
        elif not self._timer.isActive():
            self._timer.start()
