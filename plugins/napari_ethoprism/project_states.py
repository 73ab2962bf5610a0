"""ProjectStates: the states of a project's recordings, read in a worker and kept in step."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QObject, QTimer

from ethoprism.overview import RecordingState, overview
from ethoprism.project import Project
from napari_ethoprism.jobs import Job
from napari_ethoprism.session import Session

_CHANGING_LANES = ("compute", "project")


class ProjectStates(QObject):
    """What the project holds of each recording.

    The videos are checked when the project is opened. Afterwards what edits and jobs may have
    changed is read again, at most once in half a second.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._states: dict[str, RecordingState] = {}
        self._stale: set[str] = set()
        self._check = True
        self._job: Job | None = None
        self._labels: Any = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(500)
        self._timer.timeout.connect(self._read)
        session.events.project.connect(self._project_changed)
        session.events.labels.connect(self._labels_changed)
        session.jobs.changed.connect(self._job_changed)
        self._labels_changed(session.labels, None)
        self._project_changed(session.project, None)

    def __iter__(self):
        return iter(tuple(self._states.values()))

    def __contains__(self, recording: object) -> bool:
        return recording in self._states

    def __getitem__(self, recording: str) -> RecordingState:
        return self._states[recording]

    def refresh(self, recordings: Iterable[str] = (), *, check: bool = False) -> None:
        """Read recordings again, all by default; with ``check`` look at their videos too."""
        project = self._session.project
        if project is None:
            return
        self._stale |= set(recordings or project.recording_ids)
        self._check |= check
        if not self._timer.isActive():
            self._timer.start()

    def _project_changed(self, new: Project | None, old: Project | None) -> None:
        if new is None or old is None or new.folder != old.folder:
            self._states = {}
            self._stale.clear()
            self._check = True
            self.changed.emit()
        if new is not None:
            self._stale |= set(new.recording_ids)
            self._timer.stop()
            self._read()

    def _labels_changed(self, new: Any, old: Any) -> None:
        if self._labels is not None:
            self._labels.changed.disconnect(self._edited)
        self._labels = new
        if new is not None:
            new.changed.connect(self._edited)

    def _edited(self, recordings: frozenset[str]) -> None:
        self.refresh(recordings)

    def _job_changed(self, job: Job) -> None:
        if not job.active and job.lane in _CHANGING_LANES:
            self.refresh()

    def _read(self) -> None:
        project = self._session.project
        if self._job is not None and self._job.active:
            self._timer.start()
            return
        if project is None:
            return
        names = [name for name in project.recording_ids if name in self._stale]
        check, self._check = self._check, False
        self._stale.clear()
        if not names:
            self._states = {n: s for n, s in self._states.items() if n in project.recording_ids}
            self.changed.emit()
            return
        # A changed video is noticed only where it is looked at, so a problem is looked at again.
        check |= any(name not in self._states or self._states[name].problem for name in names)
        self._job = self._session.jobs.start(
            "Read the project",
            lambda: overview(project, names, check=check),
            lane="overview",
            on_done=partial(self._take, project),
        )

    def _take(self, project: Project, found: tuple[RecordingState, ...]) -> None:
        now = self._session.project
        if now is None or now.folder != project.folder:
            return
        for state in found:
            self._states[state.entry.id] = state
        ids = now.recording_ids
        self._states = {name: self._states[name] for name in ids if name in self._states}
        self.changed.emit()
