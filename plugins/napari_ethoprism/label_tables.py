"""Tables: bouts and observed spans by recording, kept in step with edits without reading anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ethoprism.annotation import BOUT_COLUMNS, SPAN_COLUMNS, bout_table, span_table
from ethoprism.errors import LabelError
from ethoprism.store import Edit

_FEW = 64
"""Up to so many places a table is put together from slices, which copies least."""

Read = Callable[[str, str], pd.DataFrame]


class Tables:
    """The tables of one store that were asked for so far.

    Parameters
    ----------
    read
        Reads a table of a recording: ``("bouts", "r")``.
    shown
        Whether rows of an annotator are shown.
    """

    def __init__(self, read: Read, shown: Callable[[str], bool]) -> None:
        self._read, self._shown = read, shown
        self._tables: dict[str, dict[str, pd.DataFrame]] = {"bouts": {}, "spans": {}}

    def get(self, table: str, recording: str) -> pd.DataFrame:
        """A table, in the order of first frame and id."""
        if recording not in self._tables[table]:
            self._tables[table][recording] = self._read(table, recording)
        return self._tables[table][recording]

    def forget(self) -> frozenset[str]:
        """Read everything anew when it is asked for; returns the recordings that were known."""
        known = frozenset(name for tables in self._tables.values() for name in tables)
        for tables in self._tables.values():
            tables.clear()
        return known

    def require(self, table: str, ids: Sequence[int], recordings: Iterable[str]) -> None:
        """Read tables until all ids are known; a `LabelError` names those that do not exist."""
        missing = set(ids)
        for frame in self._tables[table].values():
            missing -= set(frame.index[frame.index.isin(list(missing))]) if missing else set()
        for recording in recordings:
            if not missing:
                return
            if recording not in self._tables[table]:
                missing -= set(self.get(table, recording).index)
        if missing:
            raise LabelError(
                f"No such rows in the {table}",
                expected="ids of rows that exist",
                found=", ".join(map(str, sorted(missing)[:20])),
            )

    def exchange(
        self, gone: dict[str, tuple[int, ...]], come: dict[str, pd.DataFrame | None]
    ) -> frozenset[str]:
        """Take rows out by id and put others in; returns the recordings that were touched.

        Rows of recordings whose tables were not asked for are left to the store.
        """
        touched: set[str] = set()
        for table, tables in self._tables.items():
            new = come[table]
            fresh = {} if new is None else dict(tuple(new.groupby("recording", sort=False)))
            touched.update(map(str, fresh))
            left = set(gone[table])
            for recording, frame in tables.items():
                at = np.flatnonzero(frame.index.isin(list(left))) if left else np.empty(0, int)
                if len(at):
                    touched.add(recording)
                    left.difference_update(frame.index[at])
                if len(at) or recording in fresh:
                    tables[recording] = updated(frame, at, fresh.get(recording))
        return frozenset(touched)

    def take_up(self, edit: Edit) -> frozenset[str]:
        """Follow what the store did, as `undo` and `redo` tell it."""
        gone, come = {}, {}
        names: set[str] = set()
        for table, columns in (("bouts", BOUT_COLUMNS), ("spans", SPAN_COLUMNS)):
            removed, added = edit.removed.get(table, []), edit.added.get(table, [])
            names.update(row["recording"] for row in (*removed, *added))
            gone[table] = tuple(row["id"] for row in removed)
            come[table] = _frame([r for r in added if self._shown(r["annotator"])], columns)
        self.exchange(gone, come)
        return frozenset(names)


def updated(frame: pd.DataFrame, gone: np.ndarray, new: pd.DataFrame | None) -> pd.DataFrame:
    """A table without the rows at some places and with new ones, in order of first frame and id."""
    new = frame.iloc[:0] if new is None else new.iloc[np.lexsort((new.index, new["start_frame"]))]
    starts, ids = frame["start_frame"].to_numpy(), frame.index.to_numpy()
    places = np.searchsorted(starts, new["start_frame"].to_numpy(), side="left")
    for n, (start, i) in enumerate(zip(new["start_frame"], new.index, strict=True)):
        while places[n] < len(starts) and starts[places[n]] == start and ids[places[n]] < i:
            places[n] += 1
    if len(gone) + len(new) > _FEW:
        joined = pd.concat([frame.iloc[np.delete(np.arange(len(frame)), gone)], new])
        order = np.lexsort((joined.index, joined["start_frame"]))
        return joined.iloc[order]
    pieces: list[pd.DataFrame] = []
    at = 0
    steps = sorted([(int(p), 0, n) for n, p in enumerate(places)] + [(int(g), 1, -1) for g in gone])
    for place, _, n in steps:
        pieces.append(frame.iloc[at:place])
        if n >= 0:
            pieces.append(new.iloc[n : n + 1])
        at = place if n >= 0 else place + 1
    pieces.append(frame.iloc[at:])
    pieces = [piece for piece in pieces if len(piece)]
    return pd.concat(pieces) if pieces else frame.iloc[:0]


def _frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame | None:
    if not rows:
        return None
    made = bout_table if columns is BOUT_COLUMNS else span_table
    frame = made([{name: row[name] for name in columns} for row in rows])
    frame.index = pd.Index([row["id"] for row in rows], name="id", dtype="int64")
    return frame
