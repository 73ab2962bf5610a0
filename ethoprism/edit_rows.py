"""Rows of labels on their way to an edit: cut, joined and observed, one subject at a time.

`ethoprism.edits` says what an intention means; this module keeps account of the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ethoprism.annotation import BOUT_COLUMNS, SPAN_COLUMNS, bout_table, span_table
from ethoprism.ethogram import Ethogram
from ethoprism.ranges import Frames, meets, minus, overlap, union

Row = dict[str, Any]
_KEPT = {
    "bouts": tuple(c for c in BOUT_COLUMNS if c != "modified"),
    "spans": tuple(c for c in SPAN_COLUMNS if c != "modified"),
}


@dataclass(frozen=True, eq=False)
class Labelled:
    """The labels of one recording, and who is about to change them.

    Attributes
    ----------
    recording
        Its id.
    bouts, spans
        Its bouts and observed spans, with their ids as index.
    ethogram
        For the exclusive groups.
    annotator
        Who edits, or empty for nobody in particular.
    n_frames
        Ranges are cut to it; ``None`` takes them as they are.
    """

    recording: str
    bouts: pd.DataFrame
    spans: pd.DataFrame
    ethogram: Ethogram
    annotator: str = ""
    n_frames: int | None = None

    def group(self, behaviour: str) -> tuple[str, ...]:
        """The exclusive group of a behaviour, or the behaviour alone."""
        return next((g for g in self.ethogram.exclusive if behaviour in g), (behaviour,))

    def rivals(self, behaviour: str) -> tuple[str, ...]:
        """The others of its exclusive group."""
        return tuple(name for name in self.group(behaviour) if name != behaviour)

    def may_change(self, annotator: str) -> bool:
        """Whether a row of this annotator may be changed by who edits."""
        return not self.annotator or annotator in ("", self.annotator)


@dataclass(frozen=True)
class Change:
    """One edit: ids of rows that go, and rows that come.

    Attributes
    ----------
    remove_bouts, remove_spans
        Ids.
    add_bouts, add_spans
        Rows as `bout_table` and `span_table` take them.
    description
        As the history will show it.
    left
        Annotators whose labels were left as they are although the edit lies over them.
    """

    remove_bouts: tuple[int, ...] = ()
    remove_spans: tuple[int, ...] = ()
    add_bouts: tuple[Row, ...] = ()
    add_spans: tuple[Row, ...] = ()
    description: str = ""
    left: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.remove_bouts or self.remove_spans or self.add_bouts or self.add_spans)

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of `AnnotationStore.apply`."""
        return {
            "remove_bouts": self.remove_bouts,
            "remove_spans": self.remove_spans,
            "add_bouts": bout_table(list(self.add_bouts)) if self.add_bouts else None,
            "add_spans": span_table(list(self.add_spans)) if self.add_spans else None,
            "description": self.description,
        }


class Draft:
    """The rows of one subject of a recording as they become, before they are a `Change`."""

    def __init__(self, labels: Labelled, subject: str) -> None:
        self.labels, self.subject = labels, subject
        self._tables = {"bouts": labels.bouts, "spans": labels.spans}
        self._gone: dict[str, dict[int, Row]] = {"bouts": {}, "spans": {}}
        self._new: dict[str, dict[int, Row]] = {"bouts": {}, "spans": {}}
        self._next = -1
        self._left: dict[str, None] = {}

    def within(self, frames: Iterable[Frames]) -> list[Frames]:
        """Ranges in order that do not touch, inside the recording."""
        limit = self.labels.n_frames
        return union(
            (max(int(a), 0), int(b) if limit is None else min(int(b), limit)) for a, b in frames
        )

    def bouts(
        self, behaviours: Sequence[str] | None, frames: Sequence[Frames]
    ) -> list[tuple[int, Row]]:
        """Bouts that share a frame with a range and may be changed, with their ids."""
        return self._find("bouts", behaviours, frames)

    def replace(self, i: int, row: Row, ranges: Sequence[Frames]) -> None:
        """Put pieces of a bout in its place."""
        self._drop("bouts", i, row)
        for start, stop in ranges:
            self._put("bouts", {**row, "start_frame": start, "stop_frame": stop})

    def add(self, behaviour: str, start: int, stop: int, **columns: str) -> None:
        """Add a bout by who edits."""
        self._put(
            "bouts",
            dict.fromkeys(_KEPT["bouts"], "")
            | {"recording": self.labels.recording, "subject": self.subject, "source": "manual"}
            | {"annotator": self.labels.annotator, **columns}
            | {"behaviour": behaviour, "start_frame": start, "stop_frame": stop},
        )

    def trim(
        self, behaviours: Sequence[str] | None, frames: Sequence[Frames]
    ) -> dict[str, list[Frames]]:
        """Cut bouts away in the ranges; returns what was cut, by behaviour."""
        cut: dict[str, list[Frames]] = {}
        for i, row in self._find("bouts", behaviours, frames, note=True):
            whole = [_frames(row)]
            self.replace(i, row, minus(whole, frames))
            cut.setdefault(row["behaviour"], []).extend(overlap(whole, frames))
        return cut

    def put(
        self,
        behaviour: str,
        frames: Sequence[Frames],
        source: str,
        *,
        like: Row | None = None,
        join: Sequence[Frames] | None = None,
    ) -> None:
        """Let a state be present in ranges.

        Parameters
        ----------
        behaviour, frames, source
            What, where, and as which source.
        like
            A bout that is being moved; the new one keeps its columns.
        join
            Bouts of the same kind are taken up where they touch these; by default ``frames``.
        """
        base = {"target": "", "modifiers": "", "annotator": self.labels.annotator}
        if like is not None:
            base = {name: like[name] for name in base}
        base["source"] = source
        alike: list[tuple[int, Row]] = []
        others: list[Frames] = []
        for i, row in self.bouts([behaviour], _grown(frames if join is None else join)):
            if row["source"] == "automated" and source != "automated":
                self.replace(i, row, minus([_frames(row)], frames))
            elif all(row[name] in _signed(name, base[name]) for name in base):
                alike.append((i, row))
            else:
                others.append(_frames(row))
        missing = list(frames) if like is not None else minus(frames, others)
        for whole in union([*missing, *(_frames(row) for _, row in alike)]):
            inside = [(i, row) for i, row in alike if overlap([_frames(row)], [whole])]
            if not overlap([whole], missing):
                continue  # it touches, and nothing is to be added here
            if like is None and [_frames(row) for _, row in inside] == [whole]:
                continue  # it is there already
            for i, row in inside:
                self._drop("bouts", i, row)
            comments = [row["comment"] for _, row in inside]
            comments = [*([] if like is None else [like["comment"]]), *comments]
            comment = "; ".join(dict.fromkeys(filter(None, comments)))
            self.add(behaviour, *whole, **base, comment=comment)

    def observe(self, behaviours: Iterable[str], frames: Sequence[Frames]) -> None:
        """Let the ranges count as observed for each behaviour, in as few rows as possible."""
        for behaviour in dict.fromkeys(behaviours):
            rows = [
                (i, row)
                for i, row in self._find("spans", [behaviour], _grown(frames))
                if row["annotator"] in ("", self.labels.annotator)
            ]
            there = [_frames(row) for _, row in rows]
            if not minus(frames, there):
                continue
            for i, row in rows:
                self._drop("spans", i, row)
            for start, stop in union([*frames, *there]):
                self._put(
                    "spans",
                    {
                        "recording": self.labels.recording,
                        "subject": self.subject,
                        "behaviour": behaviour,
                        "start_frame": start,
                        "stop_frame": stop,
                        "annotator": self.labels.annotator,
                    },
                )

    def unobserve(self, behaviours: Sequence[str] | None, frames: Sequence[Frames]) -> None:
        """Take the ranges out of the observed spans."""
        for i, row in self._find("spans", behaviours, frames, note=True):
            self._drop("spans", i, row)
            for start, stop in minus([_frames(row)], frames):
                self._put("spans", {**row, "start_frame": start, "stop_frame": stop})

    def change(self, description: str) -> Change:
        """The change; rows that come back as they were are no part of it."""
        gone: dict[str, tuple[int, ...]] = {}
        new: dict[str, tuple[Row, ...]] = {}
        for table, kept in _KEPT.items():
            by_content: dict[tuple[Any, ...], list[int]] = {}
            for i, row in self._gone[table].items():
                by_content.setdefault(tuple(row[c] for c in kept), []).append(i)
            stay: set[int] = set()
            come = []
            for row in self._new[table].values():
                same = by_content.get(tuple(row[c] for c in kept))
                if same:
                    stay.add(same.pop())
                else:
                    come.append(row)
            gone[table] = tuple(sorted(set(self._gone[table]) - stay))
            new[table] = tuple(come)
        return Change(
            gone["bouts"], gone["spans"], new["bouts"], new["spans"], description, tuple(self._left)
        )

    def _drop(self, table: str, i: int, row: Row) -> None:
        if self._new[table].pop(i, None) is None:
            self._gone[table][i] = row

    def _put(self, table: str, row: Row) -> None:
        self._new[table][self._next] = {c: row[c] for c in _KEPT[table]}
        self._next -= 1

    def _find(
        self,
        table: str,
        behaviours: Sequence[str] | None,
        frames: Sequence[Frames],
        *,
        note: bool = False,
    ) -> list[tuple[int, Row]]:
        """Rows that may be changed; with ``note``, remember who made those that may not."""
        found: list[tuple[int, Row]] = []
        for i, row in rows_in(self._tables[table], frames):
            if i in self._gone[table] or row["subject"] != self.subject:
                continue
            if behaviours is not None and row["behaviour"] not in behaviours:
                continue
            if self.labels.may_change(row["annotator"]):
                found.append((i, row))
            elif note:
                self._left[row["annotator"]] = None
        for i, row in self._new[table].items():
            wanted = behaviours is None or row["behaviour"] in behaviours
            if wanted and overlap([_frames(row)], frames):
                found.append((i, row))
        return found


def rows_in(table: pd.DataFrame, frames: Sequence[Frames]) -> list[tuple[int, Row]]:
    """Rows of a table that share a frame with a range, with their ids."""
    if not len(table) or not frames:
        return []
    start = table["start_frame"].to_numpy()
    stop = table["stop_frame"].to_numpy()
    low, high = min(a for a, _ in frames), max(b for _, b in frames)
    near = np.flatnonzero((start < high) & (stop > low))
    near = near[meets(start[near], stop[near], frames)]
    if not len(near):
        return []
    records = table.iloc[near].to_dict("records")
    return [
        (int(i), {str(c): v for c, v in row.items()})
        for i, row in zip(table.index[near], records, strict=True)
    ]


def _signed(column: str, value: str) -> tuple[str, ...]:
    """Values that count as equal: a row that nobody signed is whoever's takes it up."""
    return ("", value) if column == "annotator" else (value,)


def _frames(row: Row) -> Frames:
    return int(row["start_frame"]), int(row["stop_frame"])


def _grown(frames: Iterable[Frames]) -> list[Frames]:
    """The ranges and a frame on either side: what touches them shares a frame with these."""
    return [(start - 1, stop + 1) for start, stop in frames]
