"""What the explore dock's jobs do, each one function of the library or two; no Qt."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ethoprism import mapping
from ethoprism.errors import EthoPrismError
from ethoprism.explore.cluster import ClusterSettings
from ethoprism.explore.embed import UmapSettings
from ethoprism.explore.maps import Map
from ethoprism.explore.moments import Moments
from ethoprism.mapping import MapPlan
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.workflow import probe_from


@dataclass(frozen=True, eq=False)
class Shares:
    """What behaviours hold in each moment.

    Attributes
    ----------
    mode
        ``Label``, ``Prediction`` or ``Confidence``.
    values
        float32 ``[moments, behaviours]``: at least 0.5 where one holds, NaN where it is not known;
        for ``Confidence`` float32 ``[moments]``.
    names, colours
        Of the behaviours.
    missing
        Why there is nothing, or empty.
    """

    mode: str
    values: np.ndarray
    names: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    missing: str = ""


def build(
    project: Project, plan: MapPlan, clusters: ClusterSettings
) -> Generator[Progress, None, Map]:
    """A map of principal components with clusters, saved."""
    key = mapping.project_tokens(project)
    found = yield from mapping.build_map(project, key, plan)
    clusters = replace(clusters, n=min(clusters.n, len(found.moments)), seed=plan.seed)
    yield Progress(0, 1, "finding clusters")
    found = mapping.add_clusters(found, clusters)
    mapping.save(project, found)
    return found


def lay_out(
    project: Project, found: Map, clusters: ClusterSettings
) -> Generator[Progress, None, Map]:
    """The map with UMAP's coordinates; clusters that follow the map are found anew."""
    found = yield from mapping.add_umap(found, UmapSettings(seed=found.seed))
    if clusters.method == "hdbscan":
        found = mapping.add_clusters(found, clusters)
    return found


def newest_map(project: Project) -> str:
    """The map of the project that was saved last, or empty."""
    folder = project.folder / "maps"
    names = mapping.saved_maps(project)
    return max(names, key=lambda n: (folder / n / "card.json").stat().st_mtime_ns, default="")


def times(project: Project, moments: Moments) -> np.ndarray:
    """Seconds of the middle frame of each moment: float64 ``[moments]``."""
    out = np.empty(len(moments))
    for u, unit in enumerate(moments.units):
        here = slice(*moments.bounds[u : u + 2].tolist())
        out[here] = project.frame_times(unit.recording)[moments.middle[here]]
    return out


Tables = Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]
"""Bouts and observed spans of each recording."""


class LabelShares:
    """Which behaviours are labelled in the moments of one map; made by one job at a time.

    What was computed for a unit is kept as long as its recording's tables are the same objects,
    so that an edit of one recording costs no more than that recording.
    """

    def __init__(self, project: Project, moments: Moments) -> None:
        self.moments = moments
        self._project = project
        self._kept: dict[int, tuple[Any, np.ndarray]] = {}

    def __call__(self, project: Project, tables: Tables) -> Shares:
        """The shares, with the ethogram as it is in ``project``."""
        if project.ethogram.names != self._project.ethogram.names:
            self._kept.clear()
        self._project = project
        ethogram, rows = project.ethogram, []
        for u, unit in enumerate(self.moments.units):
            bouts, spans = tables[unit.recording]
            kept = self._kept.get(u)
            if kept is None or kept[0][0] is not bouts or kept[0][1] is not spans:
                found = mapping.unit_moment_labels(
                    project, self.moments, u, ethogram.names, (bouts, spans)
                )
                kept = self._kept[u] = ((bouts, spans), found)
            rows.append(kept[1])
        values = np.concatenate(rows)
        colours = tuple(b.colour for b in ethogram.behaviours)
        missing = "" if np.isfinite(values).any() else "No moment of the map is labelled yet."
        return Shares("Label", values, ethogram.names, colours, missing)


def predicted_shares(project: Project, moments: Moments, mode: str, probe: str) -> Shares:
    """What a probe predicts of the moments; ``mode`` is ``Prediction`` or ``Confidence``."""
    try:
        if not probe:
            raise EthoPrismError("No probe is chosen yet")
        names, probability = mapping.moment_predictions(project, moments, probe)
    except EthoPrismError as error:
        shape = (len(moments), 0) if mode == "Prediction" else (len(moments),)
        return Shares(mode, np.full(shape, np.nan, np.float32), missing=str(error))
    thresholds = probe_from(project, probe).decision.thresholds
    at = np.array([thresholds[name] for name in names], np.float32)
    if mode == "Confidence":
        return Shares(mode, confidence(probability, at))
    known = project.ethogram.with_names(names)
    present = np.where(probability >= at, np.maximum(probability, 0.5), 0)
    values = np.where(np.isfinite(probability), present, np.nan).astype(np.float32)
    return Shares(mode, values, names, tuple(known[name].colour for name in names))


def confidence(probability: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How far each moment's least certain behaviour is from its threshold: float32 ``[moments]``.

    0 at the threshold, 1 at a probability of 0 or 1; NaN where there is no prediction.
    """
    room = np.where(probability >= thresholds, 1 - thresholds, thresholds)
    return (
        (np.abs(probability - thresholds) / np.maximum(room, 1e-6)).min(axis=1).astype(np.float32)
    )


def of_one_subject(moments: Moments, indices: np.ndarray, focal: str) -> tuple[np.ndarray, str]:
    """Those of some moments that are of one subject, and its name; all where there are none.

    Labels are given to one subject at a time. It is the focal one if any of the moments is of it,
    otherwise the one that most of them are of.
    """
    subjects = [unit.subject for unit in moments.units]
    if not len(indices) or not any(subjects):
        return indices, ""
    names = sorted(set(subjects))
    number = np.array([names.index(s) for s in subjects])[moments.unit[indices]]
    counts = np.bincount(number, minlength=len(names))
    best = names.index(focal) if focal in names and counts[names.index(focal)] else counts.argmax()
    return indices[number == best], names[int(best)]
