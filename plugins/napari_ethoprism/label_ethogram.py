"""Edits of the ethogram from the workbench, in step with the labels; no Qt.

The ethogram lies in the project's manifest and the labels in their store. So a new name is first
written beside the old one, then the labels are renamed as one edit, then the old name goes. A kill
in between leaves both names and every label.
"""

from __future__ import annotations

from dataclasses import replace

from ethoprism import edits
from ethoprism.errors import LabelError, ProjectError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.project import Project
from ethoprism.store import Edit
from napari_ethoprism.labels import Labels
from napari_ethoprism.session import Session


class EthogramEdits:
    """What can be done to the ethogram of the session's project.

    Every method raises an `EthoPrismError` that says what to do, and then nothing has changed.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, behaviour: Behaviour, excludes: str = "") -> None:
        """Add a behaviour at the end, in the exclusive group of another one or in none."""
        ethogram = self._project().ethogram
        made = Ethogram((*ethogram.behaviours, behaviour), ethogram.exclusive)
        self._session.change_ethogram(made.excluding(behaviour.name, excludes))
        self._session.behaviour = behaviour.name

    def change(self, name: str, behaviour: Behaviour, excludes: str = "") -> None:
        """Give a behaviour another name, colour, key, kind, definition or group.

        Its labels are renamed with it, everybody's, as one edit that can be undone.
        """
        project = self._project()
        changed = project.ethogram.replacing(name, behaviour).excluding(behaviour.name, excludes)
        if behaviour.name != name:
            self._require_all_labels(name)
        if behaviour.name != name and self.count(name):
            self._rename(project, name, behaviour, changed)
        else:
            self._session.change_ethogram(changed)
        if self._session.behaviour == name:
            self._session.behaviour = behaviour.name

    def remove(self, name: str) -> None:
        """Take a behaviour that nobody labelled out of the ethogram."""
        project = self._project()
        self._require_all_labels(name)
        if count := self.count(name):
            raise LabelError(
                f"{name!r} has labels, and stays in the ethogram",
                found=f"{count} bouts and observed spans",
                remedy="Rename it, or erase its labels first.",
            )
        self._session.change_ethogram(project.ethogram.without(name))
        if self._session.behaviour == name:
            self._session.behaviour = ""

    def move(self, name: str, by: int) -> None:
        """Show a behaviour further down, or up."""
        self._session.change_ethogram(self._project().ethogram.moved(name, by))

    def count(self, name: str) -> int:
        """Number of bouts and observed spans of a behaviour in all recordings."""
        labels, project = self._session.labels, self._project()
        if labels is None:
            return 0
        tables = [t for r in project.recording_ids for t in (labels.bouts(r), labels.spans(r))]
        return sum(int((table["behaviour"] == name).sum()) for table in tables)

    def follow(self, edit: Edit) -> None:
        """After an undo or a redo: keep the names of the labels in the ethogram.

        If the edit renamed a behaviour, the ethogram's behaviour takes that name too.
        """
        project = self._session.project
        if project is None:
            return
        gone, come = (_names(side) for side in (edit.removed, edit.added))
        new = [name for name in come if name not in project.ethogram]
        if not new:
            return
        ethogram = project.ethogram
        if len(gone) == len(come) == 1 and gone[0] in ethogram and not self.count(gone[0]):
            old = ethogram[gone[0]]
            self._session.change_ethogram(ethogram.replacing(old.name, _named(old, new[0])))
            if self._session.behaviour == old.name:
                self._session.behaviour = new[0]
        else:
            self._session.change_ethogram(ethogram.with_names(new))

    def _rename(self, project: Project, name: str, behaviour: Behaviour, changed: Ethogram) -> None:
        labels = self._session.labels
        if labels is None or not labels.writable:
            raise ProjectError(
                f"{name!r} has labels, which are open for reading only",
                remedy="Rename it once the labels can be written. Nothing was changed.",
            )
        session = self._session
        both = changed.replacing(behaviour.name, _named(behaviour, behaviour.name, key=""))
        both = Ethogram((*both.behaviours, _named(project.ethogram[name], name)), both.exclusive)
        session.change_ethogram(both)
        tables = [(labels.bouts(r), labels.spans(r)) for r in project.recording_ids]
        renames = [edits.rename_behaviour(*pair, name, behaviour.name) for pair in tables]
        text = f"Renamed {name!r} to {behaviour.name!r}"
        labels.commit(edits.combined(renames, text))
        labels.wait()
        if labels.state.problem:
            session.change_ethogram(project.ethogram)
            raise LabelError(f"{name!r} could not be renamed", found=labels.state.problem)
        session.change_ethogram(changed)
        if any((project.folder / "probes").glob("*/card.json")):
            session.notify(
                f"Probes that were trained before still say {name!r}. Train again to have them say "
                f"{behaviour.name!r}."
            )

    def _require_all_labels(self, name: str) -> None:
        """Raise an error where labels of a behaviour may be hidden: they could not follow it."""
        labels = self._session.labels
        if labels is None or labels.blind:
            raise LabelError(
                f"{name!r} may have labels that are hidden from you",
                remedy="Switch blind labelling off first. Nothing was changed.",
            )

    def _project(self) -> Project:
        project = self._session.project
        if project is None:
            raise ProjectError("No project is open", remedy="Open or make one first.")
        return project


def unknown_names(project: Project, labels: Labels, recording: str) -> tuple[str, ...]:
    """Behaviours that a recording's labels name and the ethogram lacks."""
    tables = (labels.bouts(recording), labels.spans(recording))
    names = sorted({str(name) for table in tables for name in table["behaviour"].unique()})
    return tuple(name for name in names if name not in project.ethogram)


def _names(side: dict[str, list[dict]]) -> list[str]:
    return list(dict.fromkeys(row["behaviour"] for rows in side.values() for row in rows))


def _named(behaviour: Behaviour, name: str, key: str | None = None) -> Behaviour:
    return replace(behaviour, name=name, key=behaviour.key if key is None else key)
