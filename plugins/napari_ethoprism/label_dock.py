"""LabelDock: the ethogram, and labelling by keys and by buttons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QFrame, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from ethoprism.errors import EthoPrismError
from napari_ethoprism.actions import Action
from napari_ethoprism.cheat_sheet import CheatSheet
from napari_ethoprism.ethogram_editor import EthogramEditor
from napari_ethoprism.label_actions import BEHAVIOUR, behaviour_actions, label_actions
from napari_ethoprism.label_commands import LabelCommands
from napari_ethoprism.label_ethogram import EthogramEdits
from napari_ethoprism.label_rows import BehaviourRows
from napari_ethoprism.label_saved import SavedPanel
from napari_ethoprism.label_summary import now, summaries
from napari_ethoprism.label_tools import ToolPanel
from napari_ethoprism.label_who import WhoPanel
from napari_ethoprism.labels import Labels
from napari_ethoprism.looks import flat_button, plain, spacing, tight
from napari_ethoprism.session import Session

_TOTALS_MS = 120
"""Counts and times follow an edit after so long, and edits in quick succession once."""

_NO_PROJECT = (
    "To label, open a project in the dock EthoPrism, or start one there with the recording that is "
    "shown.\n\n"
    "Then give each behaviour a key. The key starts a bout at the frame shown, and ends it; with "
    "frames selected, it labels them."
)
_NO_BEHAVIOURS = "Add the behaviours that you look for, each with a key of its own."


class LabelDock(QWidget):
    """Behaviours, subject, annotator, commands, and what is saved.

    Parameters
    ----------
    session
        The session whose labels are made here.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._labels: Labels | None = None
        self.commands = LabelCommands(session)
        self.ethogram = EthogramEdits(session)
        self.editor: EthogramEditor | None = None
        self.sheet: CheatSheet | None = None
        self._names: list[str] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_TOTALS_MS)
        self._timer.timeout.connect(self.render_rows)
        self._build()
        self._register()
        for event, slot in self._listens():
            event.connect(slot)
        self._labels_changed()

    def closeEvent(self, a0: QCloseEvent | None) -> None:
        """End what runs, and stop listening."""
        self.detach()
        super().closeEvent(a0)

    def detach(self) -> None:
        """End what runs, save it, and stop listening; a second time does nothing."""
        if self._labels is not None:
            self._labels.changed.disconnect(self._edited, missing_ok=True)
            self._labels = None
        self._timer.stop()
        self.commands.close()
        for event, slot in self._listens():
            event.disconnect(slot, missing_ok=True)
        for panel in (self.who, self.saved):
            panel.detach()
        for dialog in (self.sheet, self.editor):
            if dialog is not None:
                dialog.close()
                dialog.deleteLater()
        if self.sheet is not None:
            self.sheet.let_go()
        self.sheet = self.editor = None
        self._session.actions.unregister(*self._names)
        self._names = []

    def render_rows(self) -> None:
        """Show the ethogram, with counts of the recording that is shown."""
        session = self._session
        project = session.project
        self._stack.setCurrentIndex(0 if project is None else 1)
        if project is None:
            return
        self.rows.show_rows(summaries(session))
        self.rows.choose(session.behaviour)
        self.hint.setVisible(not project.ethogram.behaviours)
        self.rows.updateGeometry()
        chosen = session.behaviour in project.ethogram
        for button in (self.edit_button, self.remove_button, self.up_button, self.down_button):
            button.setEnabled(chosen)
        self.render_now()

    def render_now(self) -> None:
        """Show what is labelled and predicted at the frame, and what runs."""
        session, project = self._session, self._session.project
        state = now(session)
        self.rows.show_now(state, session.running, session.subject)
        self.tools.render_tools()
        if project is None:
            return
        if session.entry is None or session.frame is None:
            self.moment.setText("No frame of the project is shown.")
            return
        text = f"Labelled: {state.text(project.ethogram.names)}"
        if state.probability:
            likely = [f"{n} {p:.2f}" for n, p in state.probability.items() if p >= 0.5]
            text += f"\nPredicted: {', '.join(likely) or 'nothing likely'}"
        self.moment.setText(text)

    def edit_behaviour(self, name: str = "") -> None:
        """Open the editor of a behaviour, or of a new one."""
        if self._session.project is None:
            return
        if self.editor is not None:
            self.editor.close()
        self.editor = EthogramEditor(self._session, self.ethogram, name, self)
        self.editor.open()

    def show_keys(self) -> None:
        """Show the cheat sheet, or hide it."""
        if self.sheet is None:
            self.sheet = CheatSheet(self._session, self)
        self.sheet.setVisible(not self.sheet.isVisible())
        if self.sheet.isVisible():
            self.sheet.raise_()

    def _listens(self) -> tuple[tuple[Any, Any], ...]:
        events = self._session.events
        return (
            (events.labels, self._labels_changed),
            (events.project, self._ethogram_changed),
            (events.moment, self._moved),
            (events.subject, self.render_rows),
            (events.behaviour, self.render_rows),
            (events.predictions, self.render_now),
            (events.running, self.render_now),
            (events.erasing, self.render_now),
            (events.selection, self.tools.render_tools),
            (self._session.keymap.changed, self.render_rows),
        )

    def _labels_changed(self) -> None:
        if self._labels is not None:
            self._labels.changed.disconnect(self._edited, missing_ok=True)
        self._labels = self._session.labels
        if self._labels is not None:
            self._labels.changed.connect(self._edited)
        self._ethogram_changed()

    def _ethogram_changed(self) -> None:
        """Behaviours' keys follow the ethogram."""
        actions = self._session.actions
        former = [name for name in self._names if name.startswith(BEHAVIOUR)]
        actions.unregister(*former)
        new = list(behaviour_actions(self._session, self.commands))
        self._names = [n for n in self._names if n not in former] + [a.name for a in new]
        actions.register(*new)
        self.render_rows()

    def _edited(self, recordings: frozenset[str]) -> None:
        entry = self._session.entry
        if entry is not None and entry.id in recordings:
            self.render_now()
            self._timer.start()

    def _moved(self, new: Any, old: Any) -> None:
        same = new is not None and old is not None and new.recording is old.recording
        if same:
            self.render_now()
        else:
            self.render_rows()

    def _register(self) -> None:
        made = [
            *label_actions(self._session, self.commands, self.who.step),
            Action("show_keys", "Show or hide the keys", "Help", "?", self.show_keys),
        ]
        self._names = [action.name for action in made]
        self._session.actions.register(*made)

    def _build(self) -> None:
        self.rows = BehaviourRows()
        self.rows.chosen.connect(self._choose)
        self.rows.edited.connect(self.edit_behaviour)
        self.who = WhoPanel(self._session)
        self.tools = ToolPanel(self._session)
        self.saved = SavedPanel(self._session)
        self.hint, self.moment = plain(_NO_BEHAVIOURS), plain()
        self._stack = QStackedWidget()
        empty = plain(_NO_PROJECT)
        empty.setAlignment(Qt.AlignmentFlag.AlignTop)
        page = QWidget()
        column = tight(QVBoxLayout(page), self)
        column.addWidget(self.who)
        column.addWidget(self.rows, 100)
        column.addWidget(self.hint)
        column.addLayout(self._row_buttons())
        column.addWidget(self.moment)
        column.addWidget(_line())
        column.addWidget(self.tools)
        column.addWidget(_line())
        column.addWidget(self.saved)
        column.addStretch(1)
        self._stack.addWidget(empty)
        self._stack.addWidget(page)
        tight(QVBoxLayout(self), self, margin=True).addWidget(self._stack)

    def _row_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(max(spacing(self) // 2, 2))
        self.add_button = flat_button("+ Behaviour", "Add a behaviour")
        self.add_button.clicked.connect(lambda: self.edit_behaviour())
        tip = "Name, key, colour, kind, group and definition of the chosen behaviour"
        self.edit_button = flat_button("Edit…", tip)
        self.edit_button.clicked.connect(lambda: self.edit_behaviour(self.rows.current()))
        self.remove_button = flat_button("−", "Take the chosen behaviour out of the ethogram")
        self.remove_button.clicked.connect(lambda: self._on_chosen(self.ethogram.remove))
        self.up_button = flat_button("↑", "Show the chosen behaviour further up")
        self.up_button.clicked.connect(lambda: self._on_chosen(self.ethogram.move, -1))
        self.down_button = flat_button("↓", "Show the chosen behaviour further down")
        self.down_button.clicked.connect(lambda: self._on_chosen(self.ethogram.move, 1))
        self.keys_button = flat_button("Keys ?", "Show all keys, and change them (?)")
        self.keys_button.clicked.connect(self.show_keys)
        chosen = (self.edit_button, self.remove_button, self.up_button, self.down_button)
        for button in (self.add_button, *chosen):
            row.addWidget(button)
        row.addStretch(1)
        row.addWidget(self.keys_button)
        for button in (self.add_button, *chosen, self.keys_button):
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        return row

    def _on_chosen(self, what: Callable[..., None], *arguments: int) -> None:
        try:
            what(self.rows.current(), *arguments)
        except EthoPrismError as error:
            self._session.notify(error)

    def _choose(self, name: str) -> None:
        project = self._session.project
        if project is not None and name in project.ethogram:
            self._session.behaviour = name


def _line() -> QFrame:
    line = QFrame()
    line.setFixedHeight(1)
    line.setStyleSheet("background: rgba(128, 128, 128, 90)")
    return line
