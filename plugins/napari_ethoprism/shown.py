"""PredictionLoader: what the chosen probe predicted of the recording that is shown; no Qt."""

from __future__ import annotations

from functools import partial
from typing import Any

from ethoprism.prediction import Decision, Prediction
from napari_ethoprism import probe_run
from napari_ethoprism.jobs import Job
from napari_ethoprism.links import Links
from napari_ethoprism.probe_run import Saved
from napari_ethoprism.session import Session, ShownPrediction


class PredictionLoader:
    """Keeps ``session.predictions`` in step with the project, the probe and the recording.

    Saved predictions are read in a worker thread. A recording that has none shows none; the probe
    dock says so. A decision that was changed and not saved goes on to the next recording.

    Parameters
    ----------
    session
        Whose predictions; where a project is opened, the probe that was trained last is chosen.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._job: Job | None = None
        self._place = self._now()
        self._decided: tuple[str, Decision] | None = None
        events = session.events
        self._links = links = Links()
        links.add(events.project, self._project_changed)
        links.add(events.moment, self._follow)
        links.add(events.probe, self._follow)
        links.add(events.predictions, self._remember)
        if session.project is not None:
            self._project_changed()

    def close(self) -> None:
        """Stop listening; what is being read is not shown any more."""
        self._links.cut()
        if self._job is not None:
            self._job.cancel()

    def _now(self) -> tuple[Any, str, str]:
        s = self._session
        entry = s.entry
        folder = None if s.project is None else s.project.folder
        return folder, s.probe, "" if entry is None else entry.id

    def _project_changed(self) -> None:
        project = self._session.project
        if project is not None and not self._session.probe:
            self._session.probe = next(iter(probe_run.probe_names(project)), "")
        self._follow()

    def _follow(self) -> None:
        place = self._now()
        if place == self._place:
            return
        self._place = place
        if self._job is not None:
            self._job.cancel()
            self._job = None
        shown = self._session.predictions
        if shown and (shown[0].probe, shown[0].recording) == place[1:]:
            return  # whoever trained the probe has shown them already
        self._session.predictions = ()
        project, (_, probe, recording) = self._session.project, place
        if project is None or not probe or not recording:
            return
        self._job = self._session.jobs.start(
            f"Read predictions of {recording}",
            partial(probe_run.read_saved, project, probe, recording),
            lane="predictions",
            on_done=partial(self._show, place),
        )

    def _show(self, place: tuple[Any, str, str], saved: Saved) -> None:
        shown = self._session.predictions
        newer = bool(shown) and (shown[0].probe, shown[0].recording) == place[1:]
        if place != self._now() or (newer and not saved.predictions):
            return
        if saved.problem:
            self._session.notify(saved.problem, "warning")
        self._session.predictions = shown_predictions(
            saved.probe, saved.predictions, self._decision_for(saved)
        )

    def _decision_for(self, saved: Saved) -> Decision:
        if self._decided is not None and self._decided[0] == saved.probe.digest:
            return self._decided[1]
        return saved.probe.decision

    def _remember(self) -> None:
        for item in self._session.predictions:
            self._decided = (item.prediction.probe, item.decision)


def shown_predictions(
    probe: Any, predictions: tuple[Prediction, ...], decision: Decision | None = None
) -> tuple[ShownPrediction, ...]:
    """Predictions of a probe as the session holds them; its own decision by default."""
    return tuple(
        ShownPrediction(
            item.recording,
            probe.name,
            item,
            probe.decision if decision is None else decision,
            probe.key.trained,
        )
        for item in predictions
    )
