"""From tables and predictions to what the timeline draws; no Qt.

Tables are turned into arrays once for each version of them. Probabilities are reduced to a pyramid
of largest and mean values, so that a view of a million frames costs as little as one of a thousand.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from ethoprism.annotation import PRESENT, SOURCES, runs
from ethoprism.ethogram import Ethogram
from ethoprism.postprocess import Chain
from ethoprism.prediction import Decision, Prediction, decide
from ethoprism.progress import Progress
from napari_ethoprism.timeline_model import Bouts, Columns, Ranges

_UNKNOWN_COLOUR = "#8A8A8A"
_CHUNK = 1 << 16
_FACTOR = 4


@dataclass(frozen=True)
class Row:
    """One row: a behaviour of a subject."""

    behaviour: str
    subject: str
    colour: str = _UNKNOWN_COLOUR
    key: str = ""
    kind: str = "state"
    definition: str = ""


def timeline_rows(
    ethogram: Ethogram, subjects: Sequence[str], others: Iterable[str] = ()
) -> tuple[Row, ...]:
    """A row for each behaviour of each subject; labels of ``others`` that the ethogram lacks last.

    They are shown rather than hidden: labels may be older than the ethogram.
    """
    known = [(b.name, b.colour, b.key, b.kind, b.definition) for b in ethogram.behaviours]
    unknown = [(name, _UNKNOWN_COLOUR, "", "state", "") for name in others if name not in ethogram]
    return tuple(
        Row(name, subject, colour, key, kind, definition)
        for subject in subjects
        for name, colour, key, kind, definition in (*known, *unknown)
    )


@dataclass(frozen=True, eq=False)
class Coded:
    """A table of bouts or observed spans as arrays, with names as numbers.

    Attributes
    ----------
    ids, starts, stops, sources
        As in the table; ``sources`` is the index into `SOURCES`, 0 for observed spans.
    subject, behaviour
        Indices into ``subjects`` and ``behaviours``.
    """

    ids: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    sources: np.ndarray
    subject: np.ndarray
    behaviour: np.ndarray
    subjects: tuple[str, ...]
    behaviours: tuple[str, ...]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Coded:
        """The arrays of a table as `ethoprism.annotation.bout_table` or `span_table` makes it."""
        subject, subjects = pd.factorize(table["subject"].to_numpy(object))
        behaviour, behaviours = pd.factorize(table["behaviour"].to_numpy(object))
        sources = np.zeros(len(table), np.int8)
        if "source" in table.columns:
            code, names = pd.factorize(table["source"].to_numpy(object))
            known = [SOURCES.index(n) if n in SOURCES else 0 for n in names]
            sources = np.array([*known, 0], np.int8)[code]
        return cls(
            table.index.to_numpy(np.int64),
            table["start_frame"].to_numpy(np.int64),
            table["stop_frame"].to_numpy(np.int64),
            sources,
            subject,
            behaviour,
            tuple(map(str, subjects)),
            tuple(map(str, behaviours)),
        )

    def rows(self, places: dict[tuple[str, str], int]) -> np.ndarray:
        """The row of each entry, by subject and behaviour; −1 where it is not shown."""
        lookup = np.array(
            [[places.get((s, b), -1) for b in self.behaviours] for s in self.subjects], np.int64
        ).reshape(len(self.subjects), len(self.behaviours))
        return lookup[self.subject, self.behaviour] if len(self.ids) else np.zeros(0, np.int64)


class Shade:
    """Probabilities of one prediction, ready to be drawn at any zoom.

    Until `build` has run, a view is sampled at one frame of each cell.
    """

    def __init__(self, prediction: Prediction) -> None:
        self._probability = prediction.probability
        self._covered = prediction.covered
        self._levels: list[tuple[int, np.ndarray, np.ndarray]] = []

    @property
    def ready(self) -> bool:
        """Whether peaks are known at every zoom."""
        return bool(self._levels)

    def build(self) -> Generator[Progress, None, None]:
        """Make the pyramid; about 50 bytes for each frame of a prediction of 30 behaviours."""
        n, behaviours = self._probability.shape
        base = np.zeros((behaviours, n), np.uint8)
        for start in range(0, n, _CHUNK):
            base[:, start : start + _CHUNK] = self._quantised(slice(start, start + _CHUNK)).T
            yield Progress(min(start + _CHUNK, n), n, "frames")
        levels = [(1, base, base.astype(np.uint16))]
        while levels[-1][1].shape[1] > 64:
            block, peak, mean = levels[-1]
            padding = ((0, 0), (0, -peak.shape[1] % _FACTOR))
            peak = np.pad(peak, padding).reshape(behaviours, -1, _FACTOR).max(axis=2)
            mean = np.pad(mean, padding, mode="edge").reshape(behaviours, -1, _FACTOR)
            mean = (mean.sum(axis=2, dtype=np.uint16) // _FACTOR).astype(np.uint16)
            levels.append((block * _FACTOR, peak, mean))
            yield Progress(n, n, "frames")
        self._levels = levels

    def values(self, columns: Columns, behaviours: np.ndarray) -> np.ndarray:
        """uint8 ``[behaviours, cells]``: halfway between the mean and the peak of each cell.

        A peak of one frame is seen at any zoom, and a frequent behaviour does not look permanent.
        """
        edges = columns.edges
        if not self._levels:
            middle = np.minimum((edges[:-1] + edges[1:]) // 2, len(self._covered) - 1)
            return self._quantised(middle)[:, behaviours].T
        most = max(float(edges[-1] - edges[0]) / max(len(edges) - 1, 1), 1.0)
        block, peak, mean = next(lv for lv in reversed(self._levels) if lv[0] <= most)
        if len(edges) - 1 == edges[-1] - edges[0]:  # a frame for each cell
            return peak[behaviours, edges[0] : edges[-1]]
        first = edges[0] // block
        last = min(max(-(-int(edges[-1]) // block), int(first) + 1), peak.shape[1])
        begin = np.minimum(edges[:-1] // block, last - 1) - first
        part = np.s_[behaviours, first:last]
        peaks = np.maximum.reduceat(peak[part], begin, axis=1).astype(np.uint16)
        sums = np.add.reduceat(mean[part], begin, axis=1, dtype=np.uint16)
        count = np.maximum(np.diff(np.append(begin, last - first)), 1)
        return ((peaks + sums // count.astype(np.uint16)) // 2).astype(np.uint8)

    def _quantised(self, frames: slice | np.ndarray) -> np.ndarray:
        values = np.fmin(np.fmax(self._probability[frames], 0), 1)  # NaN becomes 0
        shade = (values * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        shade[~self._covered[frames]] = 0
        return shade


Settings = tuple[Any, ...]
"""All of a decision that a behaviour's bouts depend on; to be compared only."""


def decision_settings(prediction: Prediction, decision: Decision) -> dict[str, Settings]:
    """What a decision says of each behaviour of a prediction."""
    groups = {name: group for group in decision.exclusive for name in group}
    return {
        name: (
            decision.thresholds[name],
            decision.min_bout[name],
            decision.low.get(name),
            decision.min_gap.get(name),
            groups.get(name, ()),
            # The members of a chain are decoded together: each threshold moves all of them.
            *(
                (chain, tuple(decision.thresholds[member] for member in chain.behaviours))
                for chain in _chains(decision, name)
            ),
        )
        for name in prediction.behaviours
    }


def decided_ranges(
    prediction: Prediction, decision: Decision, names: Sequence[str]
) -> Generator[Progress, None, dict[str, np.ndarray]]:
    """Decided bouts of some behaviours, int64 ``[bouts, 2]`` by name, as `decide` makes them.

    Behaviours are decided one at a time, each with its exclusive group or chain, so that a
    threshold that moves costs these and not all of them.
    """
    groups = {name: group for group in decision.exclusive for name in group}
    found: dict[str, np.ndarray] = {}
    for done, name in enumerate(names):
        yield Progress(done, len(names), name)
        chains = _chains(decision, name)
        together = {name, *groups.get(name, ()), *(n for c in chains for n in c.behaviours)}
        columns = [i for i, n in enumerate(prediction.behaviours) if n in together]
        part = replace(
            prediction,
            behaviours=tuple(prediction.behaviours[i] for i in columns),
            probability=np.ascontiguousarray(prediction.probability[:, columns]),
        )
        states = decide(part, replace(decision, chains=chains))
        found[name] = runs(states[:, part.behaviours.index(name)] == PRESENT)
    return found


def _chains(decision: Decision, name: str) -> tuple[Chain, ...]:
    return tuple(chain for chain in decision.chains if name in chain.behaviours)


@dataclass(frozen=True, eq=False)
class ShadedRows:
    """A prediction's place on the timeline.

    Attributes
    ----------
    rows, behaviours
        Rows of the timeline, and the prediction's column that belongs into each.
    """

    prediction: Prediction
    shade: Shade
    probe: str
    trained: bool
    rows: np.ndarray
    behaviours: np.ndarray


@dataclass(frozen=True, eq=False)
class TimelineData:
    """All that the timeline draws of one recording.

    Attributes
    ----------
    rows
        What each row is.
    bouts
        Labelled bouts, for finding the one under the pointer.
    sources
        Labelled frames by source, in the order of `SOURCES`.
    observed
        Where somebody looked for the row's behaviour.
    decided, covered
        Decided bouts of predictions, and where there were tokens, in the rows that have any.
    shaded
        Predictions.
    """

    n_frames: int
    rows: tuple[Row, ...] = ()
    bouts: Bouts = field(default_factory=lambda: _no_bouts())
    sources: tuple[Ranges, ...] = ()
    observed: Ranges = field(default_factory=lambda: Ranges.none(1))
    decided: Ranges = field(default_factory=lambda: Ranges.none(1))
    covered: Ranges = field(default_factory=lambda: Ranges.none(1))
    shaded: tuple[ShadedRows, ...] = ()


def labelled(
    n_frames: int, rows: tuple[Row, ...], bouts: Coded, spans: Coded
) -> tuple[Bouts, tuple[Ranges, ...], Ranges]:
    """Bouts, labelled frames by source, and observed frames, in the rows that are shown."""
    places = {(row.subject, row.behaviour): i for i, row in enumerate(rows)}
    shown = Bouts.ordered(bouts.ids, bouts.rows(places), bouts.starts, bouts.stops, bouts.sources)
    sources = []
    for code in range(len(SOURCES)):
        of = shown.sources == code
        sources.append(Ranges(shown.rows[of], shown.starts[of], shown.stops[of], n_frames))
    row = spans.rows(places)
    kept = row >= 0
    observed = Ranges(row[kept], spans.starts[kept], spans.stops[kept], n_frames)
    return shown, tuple(sources), observed


def in_rows(pairs: Iterable[tuple[int, np.ndarray]], n_frames: int) -> Ranges:
    """Ranges of several rows, from the row and its ranges ``[n, 2]``."""
    some = [(row, ranges) for row, ranges in pairs if len(ranges)]
    if not some:
        return Ranges.none(n_frames)
    rows = np.repeat([row for row, _ in some], [len(ranges) for _, ranges in some])
    both = np.concatenate([ranges for _, ranges in some])
    return Ranges(rows, both[:, 0], both[:, 1], n_frames)


def _no_bouts() -> Bouts:
    empty = np.zeros(0, np.int64)
    return Bouts(empty, empty, empty, empty, empty.astype(np.int8))
