"""Colourist: what the points of the map are coloured by, kept in step with labels and predictions.

No widgets.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from psygnal import Signal

from ethoprism.errors import EthoPrismError
from ethoprism.explore.maps import Map
from napari_ethoprism import explore_run as run
from napari_ethoprism.explore_colours import (
    Colouring,
    by_behaviour,
    by_cluster,
    by_confidence,
    by_recording,
    by_time,
    plain,
)
from napari_ethoprism.explore_model import Explorer
from napari_ethoprism.jobs import Job

MODES = ("Cluster", "Label", "Prediction", "Confidence", "Recording", "Time")
_READ = ("Label", "Prediction", "Confidence")


class Colourist:
    """See the module.

    Parameters
    ----------
    explorer
        Whose map is coloured.
    """

    changed = Signal()
    """The colours, or why there are none."""

    def __init__(self, explorer: Explorer) -> None:
        self.session, self._explorer = explorer.session, explorer
        self.mode = MODES[0]
        self._shares: run.Shares | None = None
        self._labelled: run.LabelShares | None = None
        self._job: Job | None = None
        self._stale = False
        self._labels: Any = None
        events = self.session.events
        self._links = (
            (explorer.map_changed, self.refresh),
            (explorer.clustered, self.refresh),
            (events.probe, self._probe_changed),
            (events.predictions, self._probe_changed),
            (events.labels, self._labels_opened),
            (events.project, self._labels_changed),
        )
        for signal, slot in self._links:
            signal.connect(slot)
        self._labels_opened()

    def close(self) -> None:
        """Stop listening, and ask the job to stop."""
        for signal, slot in self._links:
            signal.disconnect(slot)
        self._follow(None)
        if self._job is not None:
            self._job.cancel()

    @property
    def busy(self) -> bool:
        """Whether labels or predictions are being read."""
        return self._job is not None and self._job.active

    @property
    def missing(self) -> str:
        """Why there are no colours of the kind that is chosen, or empty."""
        return self._shares.missing if self._shares and self._shares.mode == self.mode else ""

    def colour_by(self, mode: str) -> None:
        """Colour the points by another of `MODES`."""
        self.mode = mode
        self.refresh()

    def colouring(self, dark: bool) -> Colouring:
        """The colours of the points, and the legend."""
        found, shares = self._explorer.map, self._shares
        if found is None:
            return plain(0, dark)
        whole = {"Cluster": by_cluster, "Recording": by_recording, "Time": by_time}
        if self.mode in whole:
            return whole[self.mode](found, dark)
        n = len(found.moments)
        if shares is None or shares.mode != self.mode or len(shares.values) != n:
            return plain(n, dark)
        if self.mode == "Confidence":
            return by_confidence(shares.values, dark)
        unknown = "not observed" if self.mode == "Label" else "no prediction"
        return by_behaviour(shares.values, shares.names, shares.colours, dark, unknown)

    def refresh(self) -> None:
        """Colour the points anew; labels and predictions are read in the background."""
        self.changed.emit()
        project, found = self.session.project, self._explorer.map
        if project is None or found is None or self.mode not in _READ:
            return
        if self.busy:
            self._stale = True
            return
        self._stale = False
        mode, probe, moments = self.mode, self.session.probe, found.moments
        if mode == "Label":
            labels = self.session.labels
            if labels is None:
                return
            names = {unit.recording for unit in moments.units}
            tables = {name: (labels.bouts(name), labels.spans(name)) for name in names}
            if self._labelled is None or self._labelled.moments is not moments:
                self._labelled = run.LabelShares(project, moments)
            task = partial(self._labelled, project, tables)
        else:
            task = partial(run.predicted_shares, project, moments, mode, probe)
        self._job = self.session.jobs.start(
            f"Colour the map by {mode.lower()}",
            task,
            lane="map colours",
            on_done=partial(self._read, found),
            on_error=self._failed,
        )

    def _read(self, found: Map, shares: run.Shares) -> None:
        now = self._explorer.map
        if now is not None and now.moments is found.moments and shares.mode == self.mode:
            self._shares = shares
            self.changed.emit()
        if self._stale:
            self.refresh()

    def _failed(self, error: EthoPrismError) -> None:
        if self._stale:
            self.refresh()

    def _probe_changed(self) -> None:
        if self.mode in ("Prediction", "Confidence"):
            self.refresh()

    def _labels_opened(self) -> None:
        self._follow(self.session.labels)
        self._labels_changed()

    def _follow(self, labels: Any) -> None:
        if self._labels is not None:
            self._labels.changed.disconnect(self._labels_changed)
        self._labels = labels
        if labels is not None:
            labels.changed.connect(self._labels_changed)

    def _labels_changed(self) -> None:
        if self.mode == "Label":
            self.refresh()
