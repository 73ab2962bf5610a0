"""LabelCommands: keys and buttons into edits of the labels; no Qt.

Joins the session, the pure `KeyMachine` and the pure edits of the library. Every command is an
action of the session, so that a key, a button and the cheat sheet do the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ethoprism import edits
from ethoprism.edit_rows import Change, Labelled, rows_in
from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from ethoprism.ranges import Frames
from ethoprism.store import Edit
from napari_ethoprism.label_ethogram import EthogramEdits
from napari_ethoprism.label_keys import Intent, KeyMachine, Place, Run, by_recording
from napari_ethoprism.label_running import read_runs, running_path, write_runs
from napari_ethoprism.label_targets import nearest_bout, ranges_of
from napari_ethoprism.labels import Labels
from napari_ethoprism.links import Links
from napari_ethoprism.session import Session

_EVERY_S = 1.0
"""Runs are put on the disk at least this often while they grow."""


class LabelCommands:
    """What can be done to the labels of the session.

    Parameters
    ----------
    session
        The session. Its ``running`` is set here, and here alone.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._machine = KeyMachine()
        self._written: tuple[float, tuple[Run, ...]] = (0.0, ())
        self._labels: Labels | None = None
        self._project: Project | None = None
        events = session.events
        self._links = links = Links()
        links.add(events.moment, self._moved)
        links.add(events.labels, self._labels_changed)
        links.add(events.project, self._project_changed)
        links.add(session.labels_closing, self.end_all)
        self._labels_changed()

    @property
    def mode(self) -> str:
        """``label`` or ``erase``: what a behaviour's key does."""
        return self._machine.mode

    @property
    def can_edit(self) -> bool:
        """Whether there are labels that may be changed."""
        labels = self._session.labels
        return labels is not None and labels.writable

    @property
    def can_label(self) -> bool:
        """Whether a key has something to label: a frame of the project, or a selection."""
        return self.can_edit and (self._place() is not None or bool(self._selected()))

    def close(self) -> None:
        """End what runs, save it and stop listening."""
        self.end_all()
        self._links.cut()

    def press(self, name: str) -> None:
        """A behaviour's key or row: start, end, or label the selection."""
        project = self._session.project
        if project is None or name not in project.ethogram or not self._may():
            return
        self._session.behaviour = name
        place = self._place()
        if place is None:
            self._session.notify("No frame of the project's recordings is shown.", "warning")
            return
        self._do(self._machine.press(project.ethogram[name], project.ethogram, place))

    def toggle_erase(self) -> None:
        """Let behaviours' keys erase, or label again."""
        self._machine.mode = "label" if self._machine.mode == "erase" else "erase"
        self._show()

    def toggle_observe(self) -> None:
        """Count all that is played from here as observed for every behaviour, or stop that."""
        place = self._place()
        if place is not None and place.recording and self._may():
            self._do(self._machine.observe(place))

    def end_all(self) -> None:
        """End all that runs at the frame that is shown, and save it."""
        self._do(self._machine.end_all())

    def cancel(self) -> None:
        """Leave the mode of erasing; if it is off, drop what runs without labelling it."""
        if self._machine.mode == "erase" and not self._machine.runs:
            self._machine.mode = "label"
        dropped = self._machine.cancel()
        if dropped:
            names = ", ".join(run.behaviour or "observing" for run in dropped)
            self._session.notify(f"Dropped without labelling: {names}.")
        self._show()

    def delete(self) -> None:
        """Erase the selection's labels; without a selection, the bouts at the playhead."""
        self._erase_or_clear(edits.erase, lambda table, ids: edits.remove_bouts(table, ids))

    def clear(self) -> None:
        """Make the selection unobserved; without a selection, the frames of the bouts here."""

        def clear_bouts(table: Labelled, ids: list[int]) -> Change:
            rows = table.bouts.loc[ids]
            frames = list(zip(rows["start_frame"], rows["stop_frame"], strict=True))
            names = tuple(dict.fromkeys(rows["behaviour"]))
            return edits.clear(table, frames, names, str(rows["subject"].iloc[0]))

        self._erase_or_clear(edits.clear, clear_bouts)

    def mark_observed(self) -> None:
        """The selection was looked at for every behaviour."""
        names = self._ethogram_names()
        self._on_selection(
            lambda table, frames, subject: edits.mark_observed(table, frames, names, subject)
        )

    def mark_unobserved(self) -> None:
        """Nobody looked at the selection; bouts stay."""
        self._on_selection(
            lambda table, frames, subject: edits.mark_unobserved(table, frames, (), subject)
        )

    def split(self) -> None:
        """Divide the bouts at the playhead there."""

        def change(table: Labelled, place: Place) -> Change:
            here = self._at(table, place.frame, place.subject)
            names = tuple(dict.fromkeys(row["behaviour"] for _, row in here))
            return edits.split(table, place.frame, names, place.subject) if names else Change()

        self._here(change, "No bout begins before this frame and goes on in it.")

    def merge(self) -> None:
        """Join the chosen behaviour's bouts in the selection, or the one here and the next."""
        name = self._session.behaviour
        if not name:
            self._session.notify("Choose the behaviour whose bouts are to be joined.", "warning")
            return
        if self._selected():
            self._on_selection(
                lambda table, frames, subject: edits.combined(
                    edits.merge(table, whole, name, subject) for whole in frames
                )
            )
            return

        def change(table: Labelled, place: Place) -> Change:
            rows = ranges_of(table, name, place.subject)
            at = [i for i, (start, _) in enumerate(rows) if start <= place.frame][-1:]
            pair = rows[at[0] : at[0] + 2] if at else rows[:2]
            whole = (pair[0][0], pair[-1][1]) if pair else (place.frame, place.frame)
            return edits.merge(table, whole, name, place.subject)

        self._here(change, f"There is no next bout of {name!r} to join.")

    def begin_here(self) -> None:
        """Let the bout here, or the next one, begin at this frame."""
        self._nudge("start")

    def end_here(self) -> None:
        """Let the bout here, or the one before, end with this frame."""
        self._nudge("stop")

    def undo(self) -> None:
        """Take the newest edit back."""
        self._flip(lambda labels: labels.undo(), "There is nothing to undo.")

    def redo(self) -> None:
        """Do the edit that was undone last again."""
        self._flip(lambda labels: labels.redo(), "There is nothing to redo.")

    def _flip(self, operation: Callable[[Labels], Edit | None], nothing: str) -> None:
        labels = self._session.labels
        if labels is None or not self._may():
            return
        try:
            edit = operation(labels)
            if edit is None:
                self._session.notify(nothing)
            else:
                EthogramEdits(self._session).follow(edit)
        except EthoPrismError as error:
            self._session.notify(error)

    def _nudge(self, edge: str) -> None:
        def change(table: Labelled, place: Place) -> Change:
            for behaviour in (self._session.behaviour, ""):
                bout = nearest_bout(table, place, behaviour, edge)
                if bout is not None:
                    to = {"start": place.frame} if edge == "start" else {"stop": place.frame + 1}
                    return edits.move_edges(table, bout, **to)
            return Change()

        side = "after" if edge == "start" else "before"
        self._here(change, f"There is no bout here or {side} this frame.")

    def _erase_or_clear(
        self, on_span: Callable[..., Change], on_bouts: Callable[[Labelled, list[int]], Change]
    ) -> None:
        if self._selected():
            self._on_selection(lambda table, frames, subject: on_span(table, frames, (), subject))
            return

        def change(table: Labelled, place: Place) -> Change:
            ids = [i for i, _ in self._at(table, place.frame, place.subject)]
            return on_bouts(table, ids) if ids else Change()

        self._here(change, "No bout is at this frame.")

    def _at(self, table: Labelled, frame: int, subject: str) -> list[tuple[int, dict]]:
        """Bouts at a frame that may be changed: the chosen behaviour's, or else all."""
        rows = [
            (i, row)
            for i, row in rows_in(table.bouts, [(frame, frame + 1)])
            if row["subject"] == subject and table.may_change(row["annotator"])
        ]
        chosen = [(i, row) for i, row in rows if row["behaviour"] == self._session.behaviour]
        return chosen or rows

    def _on_selection(self, change: Callable[[Labelled, list[Frames], str], Change]) -> None:
        selected = self._selected()
        if not self._may():
            return
        if not selected:
            self._session.notify("Select frames first, on the timeline or on the map.")
            return
        subject = self._subject()
        self._commit(
            (recording, lambda table, f=frames: change(table, list(f), subject))
            for recording, frames in selected
        )

    def _here(self, change: Callable[[Labelled, Place], Change], nothing: str) -> None:
        place = self._place()
        if place is None or not place.recording or not self._may():
            return
        if not self._commit([(place.recording, lambda table: change(table, place))]):
            self._session.notify(nothing)

    def _do(self, intents: Iterable[Intent]) -> None:
        for intent in intents:
            self._commit(
                (recording, lambda table, i=intent, f=frames: _change(table, i, f))
                for recording, frames in intent.frames
            )
        self._show()

    def _commit(self, parts: Iterable[tuple[str, Callable[[Labelled], Change]]]) -> bool:
        """Several recordings' changes as one edit; whether it was made or failed with a notice."""
        labels, project = self._labels, self._project
        if labels is None or project is None:
            return False
        try:
            changes = [make(labels.labelled(project, name)) for name, make in parts]
            change = edits.combined(changes)
            edit = labels.commit(change)
        except EthoPrismError as error:
            self._session.notify(error)
            return True
        if change.left:
            names = ", ".join(change.left)
            self._session.notify(f"Labels of {names} lie here too; they were left as they are.")
        return edit is not None

    def _may(self) -> bool:
        """Whether the labels can be changed; says why not."""
        labels = self._session.labels
        if labels is None:
            self._session.notify("Open a project to label.", "warning")
            return False
        if not labels.writable:
            reason = next(iter(labels.notes), "The labels are open for reading only.")
            self._session.notify(reason, "warning")
        return labels.writable

    def _place(self) -> Place | None:
        entry, frame = self._session.entry, self._session.frame
        selected = self._selected()
        if entry is None or frame is None:
            # A selection needs no picture.
            return Place("", 0, self._subject(), False, selected) if selected else None
        return Place(entry.id, frame, self._subject(), self._session.playing, selected)

    def _selected(self) -> tuple[tuple[str, tuple[Frames, ...]], ...]:
        selection = self._session.selection
        if selection is None or self._session.playing:
            return ()
        return by_recording((s.recording, s.start, s.stop) for s in selection.spans)

    def _subject(self) -> str:
        selection = self._session.selection
        mine = "" if selection is None or self._session.playing else selection.subject
        return mine or self._session.subject

    def _ethogram_names(self) -> tuple[str, ...]:
        return () if self._session.project is None else self._session.project.ethogram.names

    def _moved(self) -> None:
        if not self._machine.runs:
            return
        place = self._place()
        if place is None or not place.recording:
            self.end_all()  # the viewer shows something else
        else:
            self._do(self._machine.moved(place))

    def _project_changed(self) -> None:
        """The ethogram of the same project was edited, or recordings were added."""
        project, mine = self._session.project, self._project
        if project is not None and mine is not None and project.folder == mine.folder:
            self._project = project
            if self._labels is not None:
                self._labels.follow(project)

    def _labels_changed(self) -> None:
        """Other labels: what ran in the former ones was saved by `close` or is on the disk."""
        self._machine.cancel()
        self._labels, self._project = self._session.labels, self._session.project
        self._show(save=False)
        if self._labels is None or self._project is None or not self._labels.writable:
            return
        path = running_path(self._project)
        left = read_runs(path, self._project)
        if left:
            found = [
                Intent(run.kind, run.behaviour, run.subject, ((run.recording, (run.frames,)),))
                for run in left
            ]
            self._written = (0.0, left)
            self._do(found)
            names = ", ".join(run.behaviour or "observed frames" for run in left)
            self._session.notify(
                f"The program ended while {names} was being labelled. It was labelled up to the "
                "last frame that was seen. Undo takes it back.",
                "warning",
            )
        elif path.exists():
            self._labels.later(partial(_write, self._labels, path, ()))

    def _show(self, *, save: bool = True) -> None:
        self._session.running = self._machine.runs
        self._session.erasing = self._machine.mode == "erase"
        if save:
            self._keep(self._machine.runs)

    def _keep(self, runs: tuple[Run, ...]) -> None:
        """Put the runs on the disk where they changed, or grew for a while."""
        labels, project = self._labels, self._project
        when, former = self._written
        moment = time.monotonic()
        grew = [replace(r, last=0) for r in runs] == [replace(r, last=0) for r in former]
        if labels is None or project is None or runs == former:
            return
        if grew and moment - when < _EVERY_S:
            return
        self._written = (moment, runs)
        labels.later(partial(_write, labels, running_path(project), runs))


def _write(labels: Labels, path: Path, runs: tuple[Run, ...]) -> None:
    """In the writer's thread. What could not be saved stays for the next start."""
    if not labels.state.problem:
        write_runs(path, runs)


def _change(table: Labelled, intent: Intent, frames: tuple[Frames, ...]) -> Change:
    name, subject = intent.behaviour, intent.subject
    if intent.kind == "label":
        return edits.label(table, frames, name, subject)
    if intent.kind == "point":
        return edits.mark_points(table, [start for start, _ in frames], name, subject)
    if intent.kind == "erase":
        return edits.erase(table, frames, [name], subject)
    return edits.mark_observed(table, frames, table.ethogram.names, subject)
