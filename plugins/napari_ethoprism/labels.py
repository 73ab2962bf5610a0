"""Labels: the annotation store of the project that is open, read once and kept in step; no Qt."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from psygnal import Signal

from ethoprism import workflow
from ethoprism.project import Project
from ethoprism.store.annotations import Edit


class Labels:
    """What people labelled in one project, and the edits of it.

    Every edit is on the disk before the method returns; `changed` then names the recordings that
    it touched. Where somebody else writes, the labels are read-only and `problem` says who.

    Parameters
    ----------
    project
        The project; its store is opened for writing if nobody else writes.
    annotator
        Who labels; empty for the login.
    blind
        Show this annotator's labels alone.
    """

    changed = Signal(frozenset)

    def __init__(self, project: Project, *, annotator: str = "", blind: bool = False) -> None:
        self._store = workflow.open_annotations(project, annotator=annotator, blind=blind)
        self._bouts: dict[str, pd.DataFrame] = {}
        self._spans: dict[str, pd.DataFrame] = {}

    @property
    def writable(self) -> bool:
        """Whether edits are possible."""
        return self._store.writable

    def bouts(self, recording: str) -> pd.DataFrame:
        """The bouts of a recording with their ids as index; do not change the table."""
        if recording not in self._bouts:
            self._bouts[recording] = self._store.bouts(recording)
        return self._bouts[recording]

    def spans(self, recording: str) -> pd.DataFrame:
        """The observed spans of a recording with their ids as index; do not change the table."""
        if recording not in self._spans:
            self._spans[recording] = self._store.spans(recording)
        return self._spans[recording]

    def apply(
        self,
        remove_bouts: Sequence[int] = (),
        remove_spans: Sequence[int] = (),
        add_bouts: pd.DataFrame | None = None,
        add_spans: pd.DataFrame | None = None,
        *,
        description: str,
    ) -> Edit:
        """One edit; see `AnnotationStore.apply`."""
        edit = self._store.apply(
            remove_bouts, remove_spans, add_bouts, add_spans, description=description
        )
        self._reread()
        return edit

    def undo(self) -> Edit | None:
        """Take the newest edit back; None if there is none."""
        edit = self._store.undo()
        self._reread()
        return edit

    def redo(self) -> Edit | None:
        """Do the edit that was undone last again; None if there is none."""
        edit = self._store.redo()
        self._reread()
        return edit

    def close(self) -> None:
        """Close the store and give its lock back."""
        self._store.close()

    def _reread(self) -> None:
        touched = frozenset(self._bouts) | frozenset(self._spans)
        self._bouts.clear()
        self._spans.clear()
        self.changed.emit(touched)
