"""Where the timeline's rows lie from top to bottom; no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_ethoprism.timeline_data import Row

LOWEST, HIGHEST = 9, 64
"""Pixels that a row is high at least and at most."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Tops of rows and of the headings of subjects, in logical pixels from the first one.

    Attributes
    ----------
    tops
        int64 ``[rows]``.
    headings
        Subject and top of each heading; empty where there is one subject without a name.
    row_height, heading_height, height
        Of one row, of one heading, and of all.
    """

    tops: np.ndarray
    headings: tuple[tuple[str, int], ...]
    row_height: int
    heading_height: int
    height: int

    @classmethod
    def of(cls, rows: Sequence[Row], row_height: int, heading_height: int) -> Layout:
        """Rows one below the other, with a heading where another subject begins."""
        subjects = list(dict.fromkeys(row.subject for row in rows))
        named = subjects not in ([], [""])
        tops, headings, y, last = [], [], 0, None
        for row in rows:
            if named and row.subject != last:
                headings.append((row.subject, y))
                y += heading_height
            last = row.subject
            tops.append(y)
            y += row_height
        return cls(np.array(tops, np.int64), tuple(headings), row_height, heading_height, y)

    @classmethod
    def height_for(cls, rows: Sequence[Row], room: int, heading_height: int, text: int) -> int:
        """The height of a row at which all fit into ``room``, within what reads well."""
        named = {row.subject for row in rows} - {""}
        room -= heading_height * len({row.subject for row in rows}) if named else 0
        return min(max(room // max(len(rows), 1), text), round(text * 1.7))

    def row_at(self, y: float) -> int | None:
        """The row at ``y`` pixels, or None beside the rows."""
        i = int(np.searchsorted(self.tops, y, side="right")) - 1
        return i if i >= 0 and y < self.tops[i] + self.row_height else None

    def between(self, top: float, bottom: float) -> range:
        """The rows that lie at least partly between ``top`` and ``bottom``."""
        first = int(np.searchsorted(self.tops + self.row_height, top, side="right"))
        last = int(np.searchsorted(self.tops, bottom, side="left"))
        return range(first, max(last, first))
