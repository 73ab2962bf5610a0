"""Predictions as the timeline shows them: shade at once, then peaks and decided bouts by jobs.

A prediction is known by its object: a threshold that moves brings the same one with another
decision, and only what that concerns is worked out anew. No Qt.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ethoprism.annotation import runs
from ethoprism.prediction import Decision, Prediction
from ethoprism.progress import Progress
from napari_ethoprism.jobs import Job
from napari_ethoprism.session import Session, ShownPrediction
from napari_ethoprism.timeline_data import (
    Settings,
    Shade,
    ShadedRows,
    TimelineData,
    decided_ranges,
    decision_settings,
    in_rows,
)

LANE = "timeline"
_DECIDE = "Decide bouts for the timeline"


class _Shown:
    """A prediction, its pyramid, and the bouts that were decided so far."""

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction
        self.shade = Shade(prediction)
        self.covered = runs(prediction.covered)
        self.decided: dict[str, tuple[Settings, np.ndarray]] = {}
        self.jobs: list[Job] = []

    def stale(self, decision: Decision) -> list[str]:
        """Behaviours whose decided bouts are unknown or belong to another decision."""
        wanted = decision_settings(self.prediction, decision)
        known = {name: settings for name, (settings, _) in self.decided.items()}
        return [name for name, settings in wanted.items() if known.get(name) != settings]

    def cancel(self) -> None:
        """Stop what is worked out for it."""
        for job in self.jobs:
            job.cancel()


class TimelinePredictions:
    """What was worked out of the session's predictions.

    Parameters
    ----------
    session
        Its jobs do the work, in a lane of their own.
    ready
        Called when more was worked out.
    """

    def __init__(self, session: Session, ready: Callable[[], None]) -> None:
        self._session, self._ready = session, ready
        self._shown: dict[int, _Shown] = {}

    def follow(self, predictions: Sequence[ShownPrediction]) -> None:
        """Work out what is new of these, and forget all others."""
        kept = {id(p.prediction): p for p in predictions}
        for gone in set(self._shown) - set(kept):
            self._shown.pop(gone).cancel()
        for key, shown in kept.items():
            if key not in self._shown:
                own = self._shown[key] = _Shown(shown.prediction)
                self._start(own, "Prepare the timeline", own.shade.build, lambda _: None)
            self._decide(self._shown[key])

    def placed(self, data: TimelineData, predictions: Sequence[ShownPrediction]) -> TimelineData:
        """The data with shades, decided bouts and covered frames in its rows."""
        places = {(row.subject, row.behaviour): i for i, row in enumerate(data.rows)}
        shaded, decided, covered = [], [], []
        for shown in predictions:
            own = self._shown[id(shown.prediction)]
            subject, names = shown.prediction.subject, shown.prediction.behaviours
            pairs = [
                (places[subject, name], column)
                for column, name in enumerate(names)
                if (subject, name) in places
            ]
            rows = np.array([row for row, _ in pairs], np.int64)
            columns = np.array([column for _, column in pairs], np.int64)
            shaded.append(
                ShadedRows(shown.prediction, own.shade, shown.probe, shown.trained, rows, columns)
            )
            decided += [
                (row, own.decided[names[column]][1])
                for row, column in pairs
                if names[column] in own.decided
            ]
            covered += [(row, own.covered) for row, _ in pairs]
        return replace(
            data,
            shaded=tuple(shaded),
            decided=in_rows(decided, data.n_frames),
            covered=in_rows(covered, data.n_frames),
        )

    def _decide(self, own: _Shown) -> None:
        """Decide what is not decided yet; while that runs, later changes wait for its end."""
        if any(job.active and job.title == _DECIDE for job in own.jobs):
            return
        shown = next((p for p in self._session.predictions if p.prediction is own.prediction), None)
        names = [] if shown is None else own.stale(shown.decision)
        if shown is None or not names:
            return
        decision = shown.decision
        settings = decision_settings(own.prediction, decision)

        def work() -> Generator[Progress, None, dict[str, np.ndarray]]:
            return decided_ranges(own.prediction, decision, names)

        def done(found: dict[str, np.ndarray]) -> None:
            own.decided |= {name: (settings[name], ranges) for name, ranges in found.items()}
            self._decide(own)

        self._start(own, _DECIDE, work, done)

    def _start(
        self, own: _Shown, title: str, task: Callable[[], Any], done: Callable[[Any], None]
    ) -> None:
        def finished(result: Any) -> None:
            if self._shown.get(id(own.prediction)) is own:
                done(result)
                self._ready()

        own.jobs = [job for job in own.jobs if job.active]
        own.jobs.append(self._session.jobs.start(title, task, lane=LANE, on_done=finished))
