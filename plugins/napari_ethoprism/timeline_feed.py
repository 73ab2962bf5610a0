"""What the timeline draws, kept in step with the session; no Qt.

Tables are read once for each edit. Predictions are shown as shade at once; the pyramid that makes
them exact and their decided bouts are worked out by jobs, one behaviour at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from psygnal import Signal

from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import EthoPrismError
from ethoprism.ethogram import Ethogram
from napari_ethoprism.labels import Labels
from napari_ethoprism.links import Links
from napari_ethoprism.session import Session, ShownPrediction
from napari_ethoprism.timeline_data import (
    Coded,
    TimelineData,
    labelled,
    timeline_rows,
)
from napari_ethoprism.timeline_predictions import TimelinePredictions


class TimelineFeed:
    """Turns the session's labels and predictions into `TimelineData`.

    Attributes
    ----------
    data
        What to draw, or None without a recording.
    recording
        The project's id of the recording that is shown, or empty if the project does not know it.
    subjects
        Subjects of the recording that have labels, predictions, or the focus.
    """

    changed = Signal()
    """There is other data to draw."""
    moved = Signal(object)
    """The viewer shows another frame, or none."""
    selected = Signal()
    """Other frames are selected."""
    chosen = Signal()
    """Another behaviour or subject is chosen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.data: TimelineData | None = None
        self.recording = ""
        self.subjects: tuple[str, ...] = ()
        self._subject: str | None = None
        self._only_used = False
        self._labels: Labels | None = None
        self._folder: Any = None
        self._tables: tuple[Any, Any] = (None, None)
        self._coded = (Coded.of(bout_table()), Coded.of(span_table()))
        self._shown = TimelinePredictions(session, self._refresh)
        self._current: Any = None
        events = session.events
        self._links = links = Links()
        links.add(events.moment, self._moment_changed)
        links.add(events.project, self._project_changed)
        links.add(events.labels, self._labels_changed)
        links.add(events.predictions, self._predictions_changed)
        links.add(events.subject, self._subject_changed)
        links.add(events.behaviour, self._behaviour_changed)
        links.add(events.selection, self._selection_changed)
        self._folder = session.project.folder if session.project is not None else None
        self._follow_labels(session.labels)
        self._predictions_changed(session.predictions)

    def close(self) -> None:
        """Listen no more, and stop what is worked out."""
        self._links.cut()
        self._follow_labels(None)
        self._shown.follow(())
        self.data = None

    @property
    def writable(self) -> bool:
        """Whether the labels of the recording that is shown can be changed."""
        return bool(self.recording) and self._labels is not None and self._labels.writable

    @property
    def message(self) -> str:
        """What to do where nothing can be shown; empty where there are rows."""
        session = self.session
        if session.recording is None:
            return "Open a recording or a project to see its timeline"
        if session.project is None:
            return "Open a project to label this recording"
        if not self.recording:
            return "Add this recording to the project to label it"
        if not session.project.ethogram.behaviours and not (self.data and self.data.rows):
            return "Add a behaviour in the dock Labels to begin"
        if self.data is not None and not self.data.rows:
            return "No behaviour has labels or predictions here; show all rows to see the others"
        return ""

    def show_subject(self, subject: str | None) -> None:
        """Show the rows of one subject, or of all with None."""
        if subject != self._subject:
            self._subject = subject
            self.rebuild()

    def show_only_used(self, only: bool) -> None:
        """Show only behaviours that have labels or predictions in this recording."""
        if only != self._only_used:
            self._only_used = only
            self.rebuild()

    def rebuild(self) -> None:
        """Work out anew what is drawn."""
        recording, project = self.session.recording, self.session.project
        self._current = recording
        entry = None if recording is None else self.session.entry
        self.recording = "" if entry is None else entry.id
        if recording is None:
            self.data, self.subjects = None, ()
        elif project is None or entry is None:
            self.data, self.subjects = TimelineData(recording.n_frames), ()
        else:
            bouts, spans = self._read()
            predictions = self._predictions()
            self.subjects = self._known_subjects(bouts, spans, predictions)
            rows = self._rows(project.ethogram, bouts, spans, predictions)
            shown = labelled(recording.n_frames, rows, bouts, spans)
            data = TimelineData(recording.n_frames, rows, *shown)
            self.data = self._shown.placed(data, predictions)
        self.changed.emit()

    def _read(self) -> tuple[Coded, Coded]:
        """The labels of the recording as arrays; made anew only where the tables are new ones."""
        labels = self._labels
        try:
            bouts = labels.bouts(self.recording) if labels else bout_table()
            spans = labels.spans(self.recording) if labels else span_table()
        except EthoPrismError as error:
            self.session.notify(error)
            bouts, spans = bout_table(), span_table()
        if self._tables[0] is not bouts:
            self._coded = (Coded.of(bouts), self._coded[1])
        if self._tables[1] is not spans:
            self._coded = (self._coded[0], Coded.of(spans))
        self._tables = (bouts, spans)
        return self._coded

    def _predictions(self) -> list[ShownPrediction]:
        """Predictions of the recording that is shown, of as many frames as it has."""
        recording = self.session.recording
        n_frames = -1 if recording is None else recording.n_frames
        shown = [p for p in self.session.predictions if p.recording == self.recording]
        return [p for p in shown if len(p.prediction.covered) == n_frames]

    def _known_subjects(
        self, bouts: Coded, spans: Coded, predictions: Sequence[ShownPrediction]
    ) -> tuple[str, ...]:
        named = {*bouts.subjects, *spans.subjects, *(p.prediction.subject for p in predictions)}
        if self.session.subject:
            named.add(self.session.subject)
        return tuple(sorted(named)) or ("",)

    def _rows(
        self,
        ethogram: Ethogram,
        bouts: Coded,
        spans: Coded,
        predictions: Sequence[ShownPrediction],
    ) -> tuple[Any, ...]:
        subjects = self.subjects
        if self._subject is not None and self._subject in subjects:
            subjects = (self._subject,)
        others = dict.fromkeys(bouts.behaviours)
        others |= dict.fromkeys(name for p in predictions for name in p.prediction.behaviours)
        rows = timeline_rows(ethogram, subjects, others)
        if not self._only_used:
            return rows
        used = {
            (p.prediction.subject, name) for p in predictions for name in p.prediction.behaviours
        }
        pairs = np.unique(np.stack([bouts.subject, bouts.behaviour]), axis=1)
        used |= {(bouts.subjects[s], bouts.behaviours[b]) for s, b in pairs.T}
        return tuple(row for row in rows if (row.subject, row.behaviour) in used)

    def _moment_changed(self, moment: Any) -> None:
        recording = None if moment is None else moment.recording
        if recording is not self._current:
            self.rebuild()
        self.moved.emit(None if moment is None else moment.frame)

    def _project_changed(self, project: Any) -> None:
        folder = None if project is None else project.folder
        if folder != self._folder:
            # Another project: its labels are announced next, and the former ones are closed.
            self._folder = folder
            self._follow_labels(None)
        self.rebuild()

    def _labels_changed(self, labels: Labels | None) -> None:
        self._follow_labels(labels)
        self.rebuild()

    def _follow_labels(self, labels: Labels | None) -> None:
        if self._labels is not None:
            self._labels.changed.disconnect(self._edited)
        self._labels = labels
        if labels is not None:
            labels.changed.connect(self._edited)

    def _edited(self, recordings: frozenset[str]) -> None:
        if self.recording in recordings:
            self.rebuild()

    def _subject_changed(self, subject: str) -> None:
        if subject not in self.subjects:
            self.rebuild()
        self.chosen.emit()

    def _behaviour_changed(self) -> None:
        self.chosen.emit()

    def _selection_changed(self) -> None:
        self.selected.emit()

    def _predictions_changed(self, predictions: Sequence[ShownPrediction]) -> None:
        self._shown.follow(predictions)
        self.rebuild()

    def _refresh(self) -> None:
        """More of the predictions is ready."""
        if self.data is not None:
            self.data = self._shown.placed(self.data, self._predictions())
            self.changed.emit()
