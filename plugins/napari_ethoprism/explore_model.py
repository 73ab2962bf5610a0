"""Explorer: the map that is shown and what is selected on it; no widgets.

It runs the library's functions as jobs and keeps the session's selection in step.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from psygnal import Signal

from ethoprism import mapping
from ethoprism.explore.cluster import Clusters, ClusterSettings
from ethoprism.explore.maps import Map
from ethoprism.mapping import MapPlan
from ethoprism.project import Project
from napari_ethoprism import explore_run as run
from napari_ethoprism.jobs import Job
from napari_ethoprism.links import Links
from napari_ethoprism.session import Selection, Session, Span

LANE = "map"
ORIGIN = "map"


class Explorer:
    """See the module.

    Parameters
    ----------
    session
        Whose project is mapped. The map of the project that was made last is opened with it.
    """

    map_changed = Signal(bool)
    """Another map or other coordinates; true if the same points have moved."""
    clustered = Signal()
    """The same map with other clusters."""
    chosen_changed = Signal()
    busy_changed = Signal()
    """A job has started, progressed or ended."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.map: Map | None = None
        self.cluster_settings = ClusterSettings()
        self.chosen: np.ndarray | None = None
        """int64: indices of the selected moments, ascending; None if nothing is selected."""
        self.job: Job | None = None
        self.times: np.ndarray | None = None
        """float64: seconds of the middle frame of each moment, once they are read."""
        self._folder: Path | None = None
        self._links = links = Links()
        links.add(session.events.project, self._project_changed)
        links.add(session.events.selection, self._selection_changed)
        links.add(session.jobs.changed, self._job_changed)
        self._project_changed()

    def close(self) -> None:
        """Stop listening, and ask the job to stop."""
        self._links.cut()
        if self.job is not None:
            self.job.cancel()

    # --- making maps ---

    @property
    def busy(self) -> bool:
        """Whether a map is being made or clustered."""
        return self.job is not None and self.job.active

    def make(self, plan: MapPlan, method: str = "UMAP") -> None:
        """Make a map; principal components are shown first, and UMAP when it is there."""
        project = self.session.project
        if project is None or self.busy:
            return
        settings = self.cluster_settings
        self._run(
            f"Map {plan.name}",
            lambda: run.build(project, plan, settings),
            partial(self._built, project, method),
        )

    def cancel(self) -> None:
        """Stop what runs; the map that is shown stays."""
        if self.job is not None:
            self.job.cancel()
            self.busy_changed.emit()

    def open(self, name: str) -> None:
        """Show a map that was saved."""
        project = self.session.project
        if project is not None:
            self._run(
                f"Open map {name}",
                lambda: mapping.open_map(project, name),
                partial(self._opened, project),
            )

    def cluster(self, settings: ClusterSettings) -> None:
        """Cluster the map anew."""
        self.cluster_settings = settings
        project, found = self.session.project, self.map
        if project is None or found is None:
            return
        if found.clusters is not None and found.clusters.settings == settings:
            return
        self._run(
            "Find clusters",
            lambda: mapping.add_clusters(found, settings).clusters,
            partial(self._clustered, project, found),
        )

    def _run(self, title: str, task: Any, done: Any) -> None:
        self.job = self.session.jobs.start(
            title,
            task,
            lane=LANE,
            on_done=done,
        )
        self.busy_changed.emit()

    def _job_changed(self, job: Job) -> None:
        if job is self.job:
            self.busy_changed.emit()

    def _is(self, project: Project) -> bool:
        """Whether a job's project is still the one that is open."""
        now = self.session.project
        return now is not None and now.folder == project.folder

    def _built(self, project: Project, method: str, found: Map) -> None:
        if self._is(project):
            self._set(found)
            if method == "UMAP":
                settings = self.cluster_settings
                self._run(
                    f"UMAP of {found.name}",
                    lambda: run.lay_out(project, found, settings),
                    partial(self._laid_out, project, found),
                )
        self.busy_changed.emit()

    def _opened(self, project: Project, found: Map) -> None:
        if self._is(project):
            if found.clusters is not None:
                self.cluster_settings = found.clusters.settings
            self._set(found)
        self.busy_changed.emit()

    def _laid_out(self, project: Project, before: Map, found: Map) -> None:
        if self._is(project) and self.map is not None and self.map.moments is before.moments:
            hdbscan = self.cluster_settings.method == "hdbscan"
            clusters = found.clusters if hdbscan else self.map.clusters
            self.map = replace(found, clusters=clusters)
            self.map_changed.emit(True)
            self._save(project)
        self.busy_changed.emit()

    def _clustered(self, project: Project, before: Map, clusters: Clusters) -> None:
        if self._is(project) and self.map is not None and self.map.moments is before.moments:
            self.map = replace(self.map, clusters=clusters)
            self.clustered.emit()
            self._save(project)
        self.busy_changed.emit()

    def _save(self, project: Project) -> None:
        found = self.map
        if found is not None:
            self._run(f"Save map {found.name}", lambda: mapping.save(project, found), self._saved)

    def _saved(self, _: Any) -> None:
        self.busy_changed.emit()

    def _set(self, found: Map | None) -> None:
        self.map, self.chosen, self.times = found, None, None
        self.map_changed.emit(False)
        self._selection_changed()
        project = self.session.project
        if found is not None and project is not None:
            self.session.jobs.start(
                "Read the times of the map's moments",
                lambda: run.times(project, found.moments),
                lane="map times",
                on_done=partial(self._timed, found),
                on_error=lambda _: None,  # a video that is gone is told where it is shown
            )

    def _timed(self, found: Map, times: np.ndarray) -> None:
        if self.map is not None and self.map.moments is found.moments:
            self.times = times

    def _project_changed(self) -> None:
        project = self.session.project
        if self.map is not None and (project is None or self._folder != project.folder):
            self._set(None)
        self._folder = None if project is None else project.folder
        if project is not None and self.map is None and not self.busy:
            name = run.newest_map(project)
            if name:
                self.open(name)

    # --- selection ---

    def choose(self, indices: np.ndarray, mode: str = "set") -> None:
        """Select moments, on the map and in the session; ``mode`` is set, add or remove."""
        found = self.map
        if found is None:
            return
        if self.chosen is not None and mode == "add":
            indices = np.union1d(self.chosen, indices)
        elif mode == "remove":
            indices = np.setdiff1d(self.chosen if self.chosen is not None else [], indices)
        indices = np.unique(np.asarray(indices, np.int64))
        indices, subject = run.of_one_subject(found.moments, indices, self.session.subject)
        self._show_chosen(indices if len(indices) else None)
        spans = tuple(Span(s.unit.recording, s.start, s.stop) for s in found.moments.spans(indices))
        spans = tuple(sorted(spans))
        self.session.selection = Selection(spans, ORIGIN, subject) if spans else None

    def _selection_changed(self) -> None:
        selection, found = self.session.selection, self.map
        if found is None or (selection is not None and selection.origin == ORIGIN):
            return
        if selection is None:
            self._show_chosen(None)
            return
        parts = [
            found.moments.within(s.recording, s.start, s.stop, selection.subject)
            for s in selection.spans
        ]
        indices = np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)
        self._show_chosen(indices if len(indices) else None)

    def _show_chosen(self, indices: np.ndarray | None) -> None:
        before = self.chosen
        self.chosen = indices
        same = indices is before or (
            indices is not None and before is not None and np.array_equal(indices, before)
        )
        if not same:
            self.chosen_changed.emit()

    # --- moments ---

    def at_playhead(self) -> tuple[int, ...]:
        """Moments of the frame that is shown; of the focal subject, if it has any there."""
        entry, frame, found = self.session.entry, self.session.frame, self.map
        if entry is None or frame is None or found is None:
            return ()
        moments, subject = found.moments, self.session.subject
        here = moments.at_recording(entry.id, frame)
        focal = [i for i in here if moments.units[moments.unit[i]].subject == subject]
        return tuple(focal or here)

    def seek(self, index: int) -> None:
        """Show a moment in the viewer; its subject becomes the focal one."""
        found = self.map
        if found is not None:
            unit = found.moments.units[found.moments.unit[index]]
            if unit.subject and unit.subject != self.session.subject:
                self.session.subject = unit.subject
            self.session.seek(int(found.moments.middle[index]), unit.recording)

    def query(self) -> np.ndarray:
        """The moments that "find more like this" asks for: the selection, or the playhead's."""
        if self.chosen is not None:
            return self.chosen
        return np.array(self.at_playhead()[:1], np.int64)
