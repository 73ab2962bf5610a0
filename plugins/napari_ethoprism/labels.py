"""Labels: the annotation store of the project that is open, and its tables in memory; no Qt.

An edit shows at once in the tables. A thread writes it to the disk, which may take longer than a
frame of the screen. `Labels.state` says what is saved: never more than what is on the disk.
"""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import Any

import pandas as pd
from psygnal import Signal

from ethoprism import workflow
from ethoprism.annotation import check_frames
from ethoprism.edit_rows import Change, Labelled
from ethoprism.errors import EthoPrismError, LabelError
from ethoprism.project import Project
from ethoprism.store import Edit, NewIds, RecoveryReport
from ethoprism.store.lock import user_name
from ethoprism.store.schema import COLUMNS, now
from napari_ethoprism.label_tables import Tables
from napari_ethoprism.label_writer import Writer


@dataclass(frozen=True)
class SaveState:
    """What of the labels is on the disk.

    Attributes
    ----------
    waiting
        Number of edits that are not there yet.
    edit, time
        The last edit that is, and when it was made (ISO 8601, UTC); None and empty before any.
    problem
        Why the last edit was refused, or empty.
    """

    waiting: int = 0
    edit: int | None = None
    time: str = ""
    problem: str = ""

    @property
    def text(self) -> str:
        """In a few words."""
        if self.waiting:
            return "Saving…" if self.waiting == 1 else f"Saving {self.waiting} edits…"
        if self.problem:
            return "Not saved"
        if self.edit is None:
            return "Nothing edited yet"
        clock = datetime.fromisoformat(self.time).astimezone()
        day = "" if clock.date() == datetime.now().astimezone().date() else f"{clock:%d %b} "
        return f"Saved {day}at {clock:%H:%M:%S} (edit {self.edit})"


class Labels:
    """What people labelled in one project, and the edits of it.

    `changed` names the recordings that an edit touched. Where somebody else writes, the labels are
    read-only and `notes` says who.

    Parameters
    ----------
    project
        The project; its store is opened for writing if nobody else writes.
    annotator
        Who labels; empty for nobody in particular.
    blind
        Show this annotator's labels alone.
    """

    changed = Signal(frozenset)
    state_changed = Signal()
    """Emitted in the writer's thread too; whoever shows `state` passes it to their own."""
    refused = Signal(EthoPrismError)
    """An edit that had been shown could not be saved; the tables are as on the disk again."""

    def __init__(self, project: Project, *, annotator: str = "", blind: bool = False) -> None:
        self.annotator, self.blind = annotator, blind
        self._n_frames = project.n_frames
        self._writer = Writer("labels")
        try:
            self._store = self._writer.call(
                lambda: workflow.open_annotations(project, annotator=annotator, blind=blind)
            )
            self._history = self._writer.call(self._store.history)
            self._next = self._writer.call(self._store.next_ids)
        except BaseException:
            self._writer.close()
            raise
        self._tables = Tables(self._read, self._shown)
        self._refusal: EthoPrismError | None = None
        self._counting = Lock()
        last = max(self._history, key=lambda e: e.id, default=None)
        self.state = SaveState() if last is None else SaveState(0, last.id, last.time)
        atexit.register(self._close_quietly)

    @property
    def writable(self) -> bool:
        """Whether edits are possible."""
        return self._store.writable

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the opening and of the mirror, a sentence each."""
        recovery = () if self.recovery is None else self.recovery.sentences()
        mirror = self._store.mirror_problem
        return (*self._store.notes, *recovery, *((mirror,) if mirror else ()))

    @property
    def recovery(self) -> RecoveryReport | None:
        """What was damaged and recovered at the opening, if anything."""
        return self._store.recovery

    @property
    def history(self) -> tuple[Edit, ...]:
        """All edits, oldest first; where labelling is blind, this annotator's."""
        return tuple(self._history)

    @property
    def next_undo(self) -> Edit | None:
        """The edit that `undo` takes back."""
        return next((edit for edit in reversed(self._history) if not edit.undone), None)

    @property
    def next_redo(self) -> Edit | None:
        """The edit that `redo` does again."""
        last = None
        for edit in reversed(self._history):
            if not edit.undone:
                break
            last = edit
        return last or next((edit for edit in self._history if edit.undone), None)

    def bouts(self, recording: str) -> pd.DataFrame:
        """The bouts of a recording with their ids as index; do not change the table."""
        self.settle()
        return self._tables.get("bouts", recording)

    def spans(self, recording: str) -> pd.DataFrame:
        """The observed spans of a recording with their ids as index; do not change the table."""
        self.settle()
        return self._tables.get("spans", recording)

    def follow(self, project: Project) -> None:
        """Know the recordings of the project as it is now, after some were added."""
        self._n_frames = project.n_frames
        self._store.n_frames = dict(project.n_frames)

    def labelled(self, project: Project, recording: str) -> Labelled:
        """The labels of a recording, as the functions of `ethoprism.edits` take them."""
        bouts, spans = self.bouts(recording), self.spans(recording)
        limit = self._n_frames.get(recording)
        return Labelled(recording, bouts, spans, project.ethogram, self.annotator, limit)

    def commit(self, change: Change) -> Edit | None:
        """Make a change as one edit; None if there is nothing to change."""
        if not change:
            return None
        gone = {"bouts": change.remove_bouts, "spans": change.remove_spans}
        come = {"bouts": change.add_bouts, "spans": change.add_spans}
        return self._edit(gone, come, change.description)

    def apply(
        self,
        remove_bouts: Sequence[int] = (),
        remove_spans: Sequence[int] = (),
        add_bouts: pd.DataFrame | None = None,
        add_spans: pd.DataFrame | None = None,
        *,
        description: str,
    ) -> Edit:
        """One edit; see `AnnotationStore.apply`. It is shown at once, and `state` says when saved.

        Raises
        ------
        LabelError, ProjectError
            If the rows do not fit, or the labels are read-only. Nothing is changed then.
        """
        gone = {"bouts": tuple(remove_bouts), "spans": tuple(remove_spans)}
        come = {
            table: () if frame is None else frame.to_dict("records")
            for table, frame in (("bouts", add_bouts), ("spans", add_spans))
        }
        return self._edit(gone, come, description)

    def undo(self) -> Edit | None:
        """Take the newest edit back; None if there is none."""
        return self._flip(self._store.undo)

    def redo(self) -> Edit | None:
        """Do the edit that was undone last again; None if there is none."""
        return self._flip(self._store.redo)

    def later(self, task: Callable[[], None]) -> None:
        """Do a task in the writer's thread, after the edits so far. It must not raise."""
        self._writer.post(task)

    def wait(self) -> None:
        """Wait until every edit so far is on the disk or refused."""
        self._writer.call(lambda: None)
        self.settle()

    def settle(self) -> None:
        """If an edit was refused, show what is on the disk and tell with `refused`."""
        if self._refusal is None:
            return
        self._history = self._writer.call(self._store.history)
        self._next = self._writer.call(self._store.next_ids)
        error, self._refusal = self._refusal, None
        self.changed.emit(self._tables.forget())
        self.refused.emit(error)

    def close(self) -> None:
        """Save what waits, close the store and give its lock back; a second time does nothing.

        Raises
        ------
        EthoPrismError
            If an edit that nobody was told of could not be saved. All is closed all the same.
        """
        if self._writer.closed:
            return
        atexit.unregister(self._close_quietly)
        try:
            self._writer.call(self._store.close)
        finally:
            self._writer.close()
        if self._refusal is not None:
            raise self._refusal

    def _close_quietly(self) -> None:
        with contextlib.suppress(EthoPrismError):
            self.close()

    def _read(self, table: str, recording: str) -> pd.DataFrame:
        read = self._store.bouts if table == "bouts" else self._store.spans
        return self._writer.call(lambda: read(recording))

    def _shown(self, annotator: str) -> bool:
        return not self.blind or annotator == self.annotator

    def _edit(
        self,
        gone: dict[str, tuple[int, ...]],
        rows: Mapping[str, Sequence[Mapping[Any, Any]]],
        description: str,
    ) -> Edit:
        self.settle()
        if not self.writable:
            self._writer.call(self._store.require_writable)
        come = {table: self._filled(new, table) for table, new in rows.items()}
        for table, ids in gone.items():
            self._tables.require(table, ids, self._n_frames)
        ids = self._take_ids(come)
        touched = self._tables.exchange(gone, come)
        edit = Edit(ids.edit, now(), self.annotator or user_name(), description, False)
        self._note_edit(edit)
        self._tell(waiting=1)
        self._writer.post(lambda: self._save(edit, gone, come, ids))
        self.changed.emit(touched)
        return edit

    def _filled(self, rows: Sequence[Mapping[Any, Any]], table: str) -> pd.DataFrame | None:
        """New rows as the store will have them, but for their ids."""
        if not rows:
            return None
        moment, me = now(), self.annotator
        if self.blind and any(row["annotator"] not in ("", me) for row in rows):
            raise LabelError(f"Blind labelling by {me!r} cannot add another's labels")
        frame = pd.DataFrame(
            {c: [row.get(c, "") for row in rows] for c in COLUMNS[table] if c not in ("id", "uid")}
        )
        frame["annotator"] = [row["annotator"] or me for row in rows]
        frame["modified"] = [row.get("modified") or moment for row in rows]
        check_frames(frame, self._n_frames)
        return frame

    def _take_ids(self, come: dict[str, pd.DataFrame | None]) -> NewIds:
        given = {}
        for table, frame in come.items():
            first, count = self._next[table], 0 if frame is None else len(frame)
            given[table] = tuple(range(first, first + count))
            self._next[table] += count
            if frame is not None:
                frame.index = pd.Index(given[table], name="id", dtype="int64")
        self._next["edits"] += 1
        return NewIds(given["bouts"], given["spans"], self._next["edits"] - 1)

    def _save(
        self,
        edit: Edit,
        gone: dict[str, tuple[int, ...]],
        come: dict[str, pd.DataFrame | None],
        ids: NewIds,
    ) -> None:
        """In the writer's thread. Edits after a refused one were made of what is not there."""
        news: dict[str, Any] = {}
        if self._refusal is None:
            try:
                saved = self._store.apply(
                    gone["bouts"],
                    gone["spans"],
                    come["bouts"],
                    come["spans"],
                    description=edit.description,
                    ids=ids,
                )
                news = {"edit": saved.id, "time": saved.time, "problem": ""}
            except Exception as error:
                known = isinstance(error, EthoPrismError)
                self._refusal = error if known else LabelError(f"An edit failed: {error!r}")
                news = {"problem": str(self._refusal)}
        self._tell(waiting=-1, **news)

    def _tell(self, waiting: int = 0, **news: Any) -> None:
        with self._counting:
            self.state = replace(self.state, **news, waiting=self.state.waiting + waiting)
        self.state_changed.emit()

    def _note_edit(self, edit: Edit) -> None:
        mine = self.annotator if self.blind else None
        self._history = [
            e for e in self._history if not e.undone or (mine is not None and e.author != mine)
        ]
        self._history.append(edit)

    def _flip(self, operation: Callable[[], Edit | None]) -> Edit | None:
        self.settle()
        # Where an edit before it is refused, that one is gone already: take back no other one.
        edit = self._writer.call(lambda: operation() if self._refusal is None else None)
        self.settle()
        if edit is None:
            return None
        self._history = [
            replace(e, undone=edit.undone) if e.id == edit.id else e for e in self._history
        ]
        touched = self._tables.take_up(edit)
        self._tell(edit=edit.id, time=now(), problem="")
        self.changed.emit(touched)
        return edit
