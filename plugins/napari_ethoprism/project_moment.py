"""MomentPanel: the frame that is shown, its time, and what is known of it, in words."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from ethoprism.overview import states_at
from napari_ethoprism._labels import States, predicted_states
from napari_ethoprism.jobs import Job
from napari_ethoprism.looks import form, plain, tight, tone
from napari_ethoprism.session import Session, ShownPrediction

_NOTHING = "–"


class MomentPanel(QWidget):
    """Says where the viewer stands, and what people and probes say of that frame.

    Parameters
    ----------
    session
        Whose moment.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._predicted: tuple[States, ...] = ()
        self._job: Job | None = None
        self._labels: Any = None
        self.recording, self.frame, self.time = plain(), plain(), plain(wrap=False)
        self.labelled, self.predicted, self.problem = plain(), plain(), plain()
        where = tight(QHBoxLayout(), self)
        where.addWidget(self.frame, 1)
        where.addWidget(self.time)
        self._form = form(self)
        self._form.addRow(plain("Shown", wrap=False, faint=True), self.recording)
        self._form.addRow(plain("Frame", wrap=False, faint=True), where)
        self._form.addRow(plain("Labelled", wrap=False, faint=True), self.labelled)
        self._form.addRow(plain("Predicted", wrap=False, faint=True), self.predicted)
        column = tight(QVBoxLayout(self), self)
        column.addLayout(self._form)
        column.addWidget(self.problem)
        session.events.moment.connect(self._render)
        session.events.decoding.connect(self._render)
        session.events.predictions.connect(self._predictions_changed)
        session.events.labels.connect(self._labels_changed)
        session.events.project.connect(self._render)
        self._labels_changed(session.labels)
        self._predictions_changed(session.predictions)

    def _labels_changed(self, new: Any, *_: object) -> None:
        if self._labels is not None:
            self._labels.changed.disconnect(self._render)
        self._labels = new
        if new is not None:
            new.changed.connect(self._render)
        self._render()

    def _predictions_changed(self, new: tuple[ShownPrediction, ...], *_: object) -> None:
        if self._job is not None:
            self._job.cancel()
        self._job = None
        if new:
            self._job = self._session.jobs.start(
                "Read predictions",
                partial(predicted_states, new),
                lane="overview",
                on_done=partial(self._decided, new),
            )
        else:
            self._predicted = ()
        self._render()

    def _decided(self, shown: tuple[ShownPrediction, ...], made: tuple[States, ...]) -> None:
        if self._session.predictions is shown:
            self._predicted = made
            self._render()

    def _render(self, *_: object) -> None:
        session, moment = self._session, self._session.moment
        self.setVisible(moment is not None)
        labelled = predicted = _NOTHING
        frame = time = problem = ""
        if moment is not None and moment.frame is None:
            frame = "outside the recording"
        elif moment is not None and moment.frame is not None:
            frame = f"{moment.frame:,} of {moment.recording.n_frames:,}, counted from 0"
            time = f"{moment.time:.4f} s"
            labelled = self._labelled(moment.frame)
            said = [f"{s.at(moment.frame)} ({s.source})" for s in self._predicted]
            predicted = "\n".join(said) or _NOTHING
            if session.frames is not None and session.decoding is None:
                problem = session.frames.problem(moment.frame)
        self.recording.setText(moment.recording.id if moment else "No recording is open")
        self.frame.setText(frame)
        self.time.setText(time)
        self.labelled.setText(labelled)
        self.predicted.setText(predicted)
        self._form.setRowVisible(self.labelled, session.entry is not None)
        self._form.setRowVisible(self.predicted, bool(self._predicted))
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        if problem:
            self.problem.setStyleSheet(f"color: {tone(self, 'error').name()}")

    def _labelled(self, frame: int) -> str:
        entry, labels, project = self._session.entry, self._session.labels, self._session.project
        if entry is None or labels is None or project is None:
            return _NOTHING
        names = project.ethogram.names
        if not names:
            return "not observed"
        row = states_at(labels.bouts(entry.id), labels.spans(entry.id), names, frame)
        return States("labelled", names, row[None], "not observed").at(0)
