"""SavedPanel: whether the labels are on the disk, undo and redo, and the newest edits."""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import ClassVar

from qtpy.QtCore import Qt, Signal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QColor, QPainter
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from ethoprism.store import Edit
from napari_ethoprism.label_tools import ElidedButton
from napari_ethoprism.labels import Labels, SaveState
from napari_ethoprism.looks import Tone, flat_button, plain, spacing, tone
from napari_ethoprism.session import Session

_LINES = 5


class SavedPanel(QWidget):
    """What of the labels is saved, and the way back.

    Parameters
    ----------
    session
        Whose labels.
    """

    _state = Signal()
    """Passes on what the writer's thread tells."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._labels: Labels | None = None
        self.light = _Light(self)
        self.saved = plain(wrap=False)
        self.more = flat_button("▸", "Show the newest edits")
        self.more.setCheckable(True)
        self.undo_button = self._button("undo")
        self.redo_button = self._button("redo")
        self.problem = plain()
        self.history = QWidget()
        self._grid = QGridLayout(self.history)
        self._grid.setContentsMargins(self.light.width() + spacing(self), 0, 0, 0)
        self._grid.setVerticalSpacing(1)
        self._grid.setColumnStretch(1, 1)
        self._lines: list[tuple[QLabel, QLabel]] = []
        for row in range(_LINES):
            pair = (plain(wrap=False, faint=True), plain(wrap=False))
            self._lines.append(pair)
            for column, label in enumerate(pair):
                self._grid.addWidget(label, row, column)
            pair[1].setMinimumWidth(1)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(spacing(self))
        for widget in (self.light, self.saved, self.more):
            head.addWidget(widget)
        head.addStretch(1)
        ways = QHBoxLayout()
        ways.setContentsMargins(0, 0, 0, 0)
        ways.setSpacing(max(spacing(self) // 2, 3))
        ways.addWidget(self.undo_button, 2)
        ways.addWidget(self.redo_button, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(spacing(self) // 2)
        column.addLayout(head)
        column.addLayout(ways)
        column.addWidget(self.problem)
        column.addWidget(self.history)
        self.history.setVisible(False)
        self.more.toggled.connect(self._unfold)
        self._state.connect(self.render_state)
        session.events.labels.connect(self._watch)
        session.keymap.changed.connect(self._tips)
        self._watch()

    def detach(self) -> None:
        """Stop listening."""
        self._session.events.labels.disconnect(self._watch, missing_ok=True)
        self._session.keymap.changed.disconnect(self._tips, missing_ok=True)
        self._forget()

    def render_state(self) -> None:
        """Show what is saved, and what undo would take back."""
        labels = self._session.labels
        if labels is None:
            self._say(SaveState(), "Labels are saved as they are made.", "")
            return
        labels.settle()
        state = labels.state
        if not labels.writable:
            self._say(state, "Read only", next(iter(labels.notes), ""), "warning")
        elif state.problem:
            self._say(state, "Not saved", state.problem, "error")
        else:
            self._say(state, state.text, "  ".join(labels.notes), "warning")
        for n, edit in enumerate(reversed(labels.history[-_LINES:])):
            _show_edit(self._lines[n], edit)
        for pair in self._lines[min(len(labels.history), _LINES) :]:
            _show_edit(pair, None)
        self._tips()

    def _say(self, state: SaveState, text: str, problem: str, kind: Tone = "info") -> None:
        self.saved.setText(text)
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        if problem:
            self.problem.setStyleSheet(f"color: {tone(self, kind).name()}")
        labels = self._session.labels
        if labels is None:
            self.light.show_tone("")
        elif state.problem:
            self.light.show_tone("error")
        elif not labels.writable:
            self.light.show_tone("warning")
        else:
            self.light.show_tone("saving" if state.waiting else "saved")
        self._tips()

    def _tips(self) -> None:
        labels = self._session.labels
        pairs = (
            (self.undo_button, "undo", "Undo", None if labels is None else labels.next_undo),
            (self.redo_button, "redo", "Redo", None if labels is None else labels.next_redo),
        )
        for button, name, verb, edit in pairs:
            key = self._session.keymap.key(name)
            what = f"{verb}: {edit.description}" if edit else verb
            button.say(what)
            button.setToolTip(f"<qt>{escape(what)}{f' ({key})' if key else ''}</qt>")
            button.setEnabled(edit is not None and labels is not None and labels.writable)

    def _button(self, name: str) -> ElidedButton:
        button = ElidedButton()
        button.setAutoRepeat(True)
        button.clicked.connect(lambda: self._session.actions.trigger(name))
        return button

    def _unfold(self, opened: bool) -> None:
        self.more.setText("▾" if opened else "▸")
        self.history.setVisible(opened)

    def _watch(self) -> None:
        self._forget()
        self._labels = self._session.labels
        if self._labels is not None:
            self._labels.state_changed.connect(self._state.emit)
            self._labels.refused.connect(self._session.notify)
        self.render_state()

    def _forget(self) -> None:
        if self._labels is not None:
            self._labels.state_changed.disconnect(self._state.emit, missing_ok=True)
            self._labels.refused.disconnect(self._session.notify, missing_ok=True)
        self._labels = None


class _Light(QWidget):
    """A small disc: green is saved, hollow is saving, amber and red are not."""

    COLOURS: ClassVar = {
        "saved": "#2e9e5b",
        "saving": "#2e9e5b",
        "warning": "#d08a00",
        "error": "#d33b30",
    }

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        side = parent.fontMetrics().height()
        self.setFixedSize(side, side)
        self.tone = ""

    def show_tone(self, tone: str) -> None:
        self.tone = tone
        self.update()

    def paintEvent(self, a0: object) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = QColor(self.COLOURS.get(self.tone, "#888888"))
        inset = self.width() // 4
        place = self.rect().adjusted(inset, inset, -inset, -inset)
        pen = painter.pen()
        pen.setColor(colour)
        pen.setWidthF(1.6)
        painter.setPen(pen)
        painter.setBrush(
            colour if self.tone in ("saved", "warning", "error") else Qt.BrushStyle.NoBrush
        )
        painter.drawEllipse(place)


def _show_edit(pair: tuple[QLabel, QLabel], edit: Edit | None) -> None:
    time, text = pair
    if edit is None:
        time.setText("")
        text.setText("")
        return
    clock = datetime.fromisoformat(edit.time).astimezone()
    time.setText(f"{clock:%H:%M:%S}")
    text.setText(edit.description)
    text.setToolTip(f"Edit {edit.id} by {edit.author}" + (", undone" if edit.undone else ""))
    font = text.font()
    font.setStrikeOut(edit.undone)
    text.setFont(font)
