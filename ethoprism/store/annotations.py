"""AnnotationStore: the labels of a project; every edit is one durable transaction.

The file is the one part of a project that cannot be rebuilt. Each edit is written together with
its inverse, so undo and redo survive a restart. It goes to the log and to the database, each of
which is on the disk before the edit returns; see `ethoprism.store.log` and
`ethoprism.store.recovery`.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ethoprism.annotation import (
    BOUT_COLUMNS,
    SOURCES,
    SPAN_COLUMNS,
    bout_table,
    check_frames,
    span_table,
)
from ethoprism.errors import LabelError, StorageError
from ethoprism.store.edit import Edit, NewIds
from ethoprism.store.lock import Holder, user_name
from ethoprism.store.operations import (
    Row,
    Rows,
    State,
    do_edit,
    do_flip,
    read_state,
    recordings_of,
    rows_where,
)
from ethoprism.store.recovery import RecoveryReport
from ethoprism.store.schema import new_uid, now
from ethoprism.store.session import Mode, Session
from ethoprism.store.snapshots import Snapshot, take_snapshot

_LABEL_COLUMNS = {"bouts": BOUT_COLUMNS, "spans": SPAN_COLUMNS}


class AnnotationStore:
    """The labels of one project.

    Parameters
    ----------
    path
        The SQLite file; made if it is absent and opened for writing.
    n_frames
        Frames of each recording by id; labels outside are refused.
    mirror
        Folder of the CSV mirrors, or ``None`` for no mirror.
    mode
        ``write`` takes the lock; ``read`` takes none and writes nothing; ``either`` writes if
        nobody else does and the disk lets it, and reads otherwise.
    annotator
        Who labels. Rows that name nobody are given this name, and so are edits. Without it, edits
        name the login of whoever runs the process.
    blind
        Show, undo and redo what this annotator made, and nothing else.

    Raises
    ------
    Locked
        In mode ``write``, if somebody else writes; it names them.
    ProjectError
        If the file is no annotation store, comes from a newer EthoPrism, or is damaged with nothing
        to recover it from.
    StorageError
        In mode ``write``, if the disk is full, read-only or gone.
    """

    def __init__(
        self,
        path: Path,
        n_frames: dict[str, int],
        mirror: Path | None = None,
        *,
        mode: Mode = "write",
        annotator: str = "",
        blind: bool = False,
    ):
        if blind and not annotator:
            raise LabelError("Blind labelling needs the name of the annotator")
        self.path = path
        self.n_frames = dict(n_frames)
        self.annotator, self.blind = annotator, blind
        self._session = Session(path, mirror, mode)
        self._db = self._session.db

    def close(self) -> None:
        """Close the file and give the lock back. Every edit was saved when it returned."""
        try:
            self.flush()
        finally:
            self._session.close()

    def __enter__(self) -> AnnotationStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def writable(self) -> bool:
        """Whether edits are possible."""
        return self._session.writable

    def require_writable(self) -> None:
        """Raise a `ProjectError` that names who writes, if edits are not possible."""
        self._session.require_writable()

    @property
    def holder(self) -> Holder | None:
        """Who has the store open for writing, where it was opened for reading because of that."""
        return self._session.holder

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was damaged and how it was recovered at this opening, if anything was."""
        return self._session.recovery

    @property
    def notes(self) -> tuple[str, ...]:
        """What else the user should know of this opening, one sentence each."""
        return self._session.notes

    @property
    def mirror_problem(self) -> str:
        """Why the CSV mirror is behind, or an empty string. No label is lost by that."""
        return self._session.mirror.problem

    def flush(self) -> None:
        """Write the CSV mirrors that are behind; they are anyway at closing."""
        with contextlib.suppress(sqlite3.ProgrammingError):  # closed already
            self._session.mirror.flush(self._db)

    def bouts(self, recording: str | None = None) -> pd.DataFrame:
        """The bouts of one recording or of all, with their ``id`` as index."""
        return self._read("bouts", recording)

    def spans(self, recording: str | None = None) -> pd.DataFrame:
        """The observed spans of one recording or of all, with their ``id`` as index."""
        return self._read("spans", recording)

    def add(
        self,
        bouts: pd.DataFrame | None = None,
        spans: pd.DataFrame | None = None,
        *,
        description: str,
        author: str = "",
    ) -> Edit:
        """Add bouts and observed spans as one edit; the edit that was saved is returned.

        Parameters
        ----------
        bouts, spans
            Tables as made by `ethoprism.annotation.bout_table` and `span_table`.
        description
            What the edit does, as the history will show it.

        Raises
        ------
        LabelError
            If a row lies outside its recording or names an unknown source. Nothing is saved then.
        """
        return self.apply(add_bouts=bouts, add_spans=spans, description=description, author=author)

    def remove(
        self,
        bout_ids: list[int] | None = None,
        span_ids: list[int] | None = None,
        *,
        description: str,
        author: str = "",
    ) -> Edit:
        """Remove rows by id as one edit; unknown ids are a `LabelError`."""
        return self.apply(bout_ids or (), span_ids or (), description=description, author=author)

    def apply(
        self,
        remove_bouts: Sequence[int] = (),
        remove_spans: Sequence[int] = (),
        add_bouts: pd.DataFrame | None = None,
        add_spans: pd.DataFrame | None = None,
        *,
        description: str,
        author: str = "",
        ids: NewIds | None = None,
    ) -> Edit:
        """Remove some rows and add others as one edit: a bout split, merged or moved.

        With ``ids`` the new rows and the edit have these; see `next_ids`.
        """
        removed = {
            "bouts": self._rows_by_id("bouts", remove_bouts),
            "spans": self._rows_by_id("spans", remove_spans),
        }
        added = {"bouts": self._new("bouts", add_bouts), "spans": self._new("spans", add_spans)}
        if ids is not None:
            for table, given in (("bouts", ids.bouts), ("spans", ids.spans)):
                for row, i in zip(added[table], given, strict=True):
                    row["id"] = i
        edit = None if ids is None else ids.edit
        return self._exchange(removed, added, description, author, edit)

    def next_ids(self) -> dict[str, int]:
        """The ids that the next row of ``bouts``, ``spans`` and ``edits`` will have.

        Who holds the lock may give rows ids from there on before they are saved.
        """
        used = dict(self._db.execute("SELECT name, seq FROM sqlite_sequence"))
        return {table: int(used.get(table, 0)) + 1 for table in ("bouts", "spans", "edits")}

    def change(self, bout_id: int, *, description: str, author: str = "", **values: Any) -> Edit:
        """Change some columns of a bout as one edit; the bout keeps its id."""
        (old,) = self._rows_by_id("bouts", [bout_id])
        kept = {name: old[name] for name in BOUT_COLUMNS}
        changed: dict[str, object] = {**kept, "modified": "", **values}
        (new,) = self._new("bouts", bout_table([changed]))
        new |= {"id": old["id"], "uid": old["uid"]}
        removed: Rows = {"bouts": [old], "spans": []}
        added: Rows = {"bouts": [new], "spans": []}
        return self.exchange(removed, added, description=description, author=author)

    def exchange(self, removed: Rows, added: Rows, *, description: str, author: str = "") -> Edit:
        """Exchange whole rows with their ``id`` and ``uid`` as one edit; for merging."""
        return self._exchange(removed, added, description, author)

    def _exchange(
        self, removed: Rows, added: Rows, description: str, author: str, number: int | None = None
    ) -> Edit:
        author = author or self.annotator or user_name()
        edit: Row = {
            **({} if number is None else {"id": number}),
            "uid": new_uid(),
            "time": now(),
            "author": author,
            "description": description,
            "removed": removed,
            "added": added,
        }
        scope = author if self.blind else None

        def work(state: State) -> tuple[State, Row, list[str]]:
            state = do_edit(self._db, state, edit, scope)
            entry = {"kind": "edit", "edit": edit, "scope": scope}
            return state, entry, recordings_of(removed, added)

        self._session.commit(work)
        return Edit(int(edit["id"]), edit["time"], author, description, False, removed, added)

    def undo(self) -> Edit | None:
        """Take back the newest edit that holds; ``None`` if there is none.

        Where labelling is blind, the newest of this annotator. A `LabelError` if somebody has
        changed its rows since.
        """
        return self._flip(undone=True)

    def redo(self) -> Edit | None:
        """Do the oldest edit of the undone ones again; ``None`` if there is none."""
        return self._flip(undone=False)

    def history(self) -> list[Edit]:
        """All edits, oldest first; where labelling is blind, this annotator's."""
        where, values = ("WHERE author = ?", (self.annotator,)) if self.blind else ("", ())
        rows = self._db.execute(
            f"SELECT id, time, author, description, undone FROM edits {where} "  # noqa: S608
            "ORDER BY id",
            values,
        )
        return [Edit(r[0], r[1], r[2], r[3], bool(r[4])) for r in rows]

    def rows(self, table: str) -> list[Row]:
        """All rows of ``bouts``, ``spans`` or ``edits`` with their names in all copies."""
        return rows_where(self._db, table)

    def snapshot(self) -> Snapshot:
        """Take a snapshot now; a `StorageError` if there is no room for it."""
        self._session.require_writable()
        try:
            return take_snapshot(self._db, self.path, read_state(self._db).n)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(
                "No snapshot of the labels could be made", found=str(error)
            ) from error

    def _flip(self, *, undone: bool) -> Edit | None:
        mine, values = ("AND author = ?", (self.annotator,)) if self.blind else ("", ())
        order = "DESC" if undone else "ASC"
        self._session.require_writable()
        row = self._db.execute(
            f"SELECT id FROM edits WHERE undone = ? {mine} ORDER BY id {order} LIMIT 1",  # noqa: S608
            (int(not undone), *values),
        ).fetchone()
        if row is None:
            return None
        (edit,) = rows_where(self._db, "edits", "WHERE id = ?", row)

        def work(state: State) -> tuple[State, Row, list[str]]:
            state = do_flip(self._db, state, edit, undone)
            entry = {"kind": "flip", "edit": edit["uid"], "undone": undone, "time": now()}
            sides = [json.loads(edit[side]) for side in ("removed", "added")]
            return state, entry, recordings_of(*sides)

        self._session.commit(work)
        old, new = (json.loads(edit[side]) for side in ("removed", "added"))
        removed, added = (new, old) if undone else (old, new)
        time, author, text = edit["time"], edit["author"], edit["description"]
        return Edit(edit["id"], time, author, text, undone, removed, added)

    def _read(self, table: str, recording: str | None) -> pd.DataFrame:
        conditions: dict[str, str] = {}
        if recording is not None:
            conditions["recording"] = recording
        if self.blind:
            conditions["annotator"] = self.annotator
        where = " AND ".join(f"{name} = ?" for name in conditions)
        rows = rows_where(
            self._db, table, f"WHERE {where}" if where else "", list(conditions.values())
        )
        names = _LABEL_COLUMNS[table]
        made = bout_table if table == "bouts" else span_table
        records: list[dict[str, object]] = [{name: row[name] for name in names} for row in rows]
        frame = made(records)
        frame.index = pd.Index([row["id"] for row in rows], name="id", dtype="int64")
        return frame

    def _rows_by_id(self, table: str, ids: Sequence[int]) -> list[Row]:
        found: dict[int, Row] = {}
        wanted = [int(i) for i in ids]
        for first in range(0, len(wanted), 500):
            some = wanted[first : first + 500]
            marks = ", ".join("?" * len(some))
            for row in rows_where(self._db, table, f"WHERE id IN ({marks})", some):
                if not self.blind or row["annotator"] == self.annotator:
                    found[row["id"]] = row
        missing = [i for i in wanted if i not in found]
        if missing:
            raise LabelError(
                f"No such rows in the {table}",
                expected="ids of rows that exist",
                found=", ".join(map(str, missing[:20])),
            )
        return [found[i] for i in dict.fromkeys(wanted)]

    def _new(self, table: str, frame: pd.DataFrame | None) -> list[Row]:
        """Rows of a table to be added, checked, with the time and the annotator filled in."""
        if frame is None or not len(frame):
            return []
        check_frames(frame, self.n_frames)
        moment = now()
        rows = []
        for record in frame[list(_LABEL_COLUMNS[table])].to_dict("records"):
            row = {str(k): v if isinstance(v, str) else int(v) for k, v in record.items()}
            row["modified"] = row["modified"] or moment
            row["annotator"] = row["annotator"] or self.annotator
            if self.blind and row["annotator"] != self.annotator:
                raise LabelError(
                    f"Blind labelling by {self.annotator!r} cannot add another's labels",
                    found=repr(row["annotator"]),
                )
            rows.append({"uid": new_uid(), **row})
        unknown = {row["source"] for row in rows} - set(SOURCES) if table == "bouts" else set()
        if unknown:
            raise LabelError(
                "A bout has an unknown source",
                expected=", ".join(SOURCES),
                found=", ".join(sorted(unknown)),
            )
        return rows
