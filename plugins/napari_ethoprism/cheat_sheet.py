"""CheatSheet: every key by group, in a window that does not stop the work; a click changes one."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from napari_ethoprism.actions import Action
from napari_ethoprism.key_filter import key_text
from napari_ethoprism.keymap import is_behaviour
from napari_ethoprism.looks import heading, plain, spacing, tone
from napari_ethoprism.session import Session

_FIRST = ("Behaviours", "Labels", "Video", "Review", "Map")


class CheatSheet(QWidget):
    """The actions and their keys. A click on a key waits for another one.

    Parameters
    ----------
    session
        Whose actions.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent, Qt.WindowType.Tool)
        self._session = session
        self.setWindowTitle("Keys")
        self.buttons: dict[str, QToolButton] = {}
        self._asked = ""
        self.remark = plain(
            "Click on a key to change it. A behaviour's key is part of the ethogram."
        )
        self.reset_button = QPushButton("Default keys")
        self.reset_button.setToolTip("Give all actions their default keys again")
        self.reset_button.clicked.connect(self._reset)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QScrollArea.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        foot = QHBoxLayout()
        foot.addWidget(self.remark, 1)
        foot.addWidget(self.reset_button)
        column = QVBoxLayout(self)
        gap = 2 * spacing(self)
        column.setContentsMargins(gap, gap, gap, gap)
        column.setSpacing(gap)
        column.addWidget(self._area, 1)
        column.addLayout(foot)
        session.actions.changed.connect(self._stale)
        session.keymap.changed.connect(self._stale)
        self.destroyed.connect(self._detach)
        self.render_keys()
        width, height = self.fontMetrics().averageCharWidth(), self.fontMetrics().height()
        self.resize(175 * width, 40 * height)

    def showEvent(self, a0: object) -> None:
        self.render_keys()
        super().showEvent(a0)  # type: ignore[arg-type]

    def render_keys(self) -> None:
        """Show all actions, in two columns of groups."""
        self.buttons.clear()
        self._asked = ""
        groups: dict[str, list[Action]] = {name: [] for name in _FIRST}
        for action in self._session.actions:
            groups.setdefault(action.group, []).append(action)
        groups = {name: actions for name, actions in groups.items() if actions}
        content = QWidget()
        columns = QHBoxLayout(content)
        columns.setContentsMargins(0, 0, spacing(self), 0)
        columns.setSpacing(6 * spacing(self))
        sides = (QVBoxLayout(), QVBoxLayout())
        heights = [0, 0]
        for side in sides:
            side.setSpacing(2 * spacing(self))
            columns.addLayout(side, 1)
        for name, actions in groups.items():
            at = heights.index(min(heights))
            heights[at] += len(actions) + 2
            sides[at].addLayout(self._group(name, actions))
        for side in sides:
            side.addStretch(1)
        self._area.setWidget(content)

    def let_go(self) -> None:
        """Stop listening, and drop the buttons, which hold on to this window."""
        self._detach()
        self.buttons.clear()
        self._area.setWidget(QWidget())

    def ask(self, name: str) -> None:
        """Wait for another key of an action."""
        self.render_keys()
        self._asked = name
        button = self.buttons[name]
        button.setText("press a key")
        self._say("Press the new key. Backspace for none, Escape to leave it.")
        self.activateWindow()
        self.setFocus()

    def keyPressEvent(self, a0: QKeyEvent | None) -> None:
        if a0 is None:
            return
        key = key_text(a0)
        if not self._asked:
            if key in ("Escape", "?"):
                self.close()
            return
        if not key:
            return
        name, self._asked = self._asked, ""
        if key != "Escape":
            self._set(name, "" if key == "Backspace" else key)
        self.render_keys()

    def _set(self, name: str, key: str) -> None:
        try:
            conflicts = self._session.keymap.set_key(name, key)
        except EthoPrismError as error:
            self._say(str(error), warn=True)
            return
        self._say(" ".join(c.text for c in conflicts) or "Saved.", warn=bool(conflicts))

    def _reset(self) -> None:
        try:
            self._session.keymap.reset()
        except EthoPrismError as error:
            self._say(str(error), warn=True)
        self.render_keys()

    def _say(self, text: str, warn: bool = False) -> None:
        self.remark.setText(text)
        self.remark.setStyleSheet(f"color: {tone(self, 'warning').name()}" if warn else "")

    def _group(self, name: str, actions: list[Action]) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(spacing(self) // 2)
        column.addWidget(heading(name))
        grid = QGridLayout()
        grid.setHorizontalSpacing(2 * spacing(self))
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        beaten = {conflict.loses.name for conflict in self._session.keymap.conflicts()}
        for row, action in enumerate(actions):
            grid.addWidget(self._key(action, action.name in beaten), row, 0)
            title: QLabel = plain(action.title, wrap=False)
            title.setMinimumWidth(1)
            grid.addWidget(title, row, 1)
        column.addLayout(grid)
        return column

    def _key(self, action: Action, beaten: bool) -> QToolButton:
        button = QToolButton()
        key = self._session.keymap.key(action.name)
        button.setText(key or "–")
        button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        button.setMinimumWidth(self.fontMetrics().horizontalAdvance("Ctrl+Shift+Right") + 8)
        through = "text-decoration: line-through;" if beaten else ""
        button.setStyleSheet(
            f"QToolButton {{ border: 1px solid rgba(128, 128, 128, 130); border-radius: 3px; "
            f"padding: 1px 4px; {through} }} QToolButton:hover:enabled "
            "{ background: rgba(128, 128, 128, 70); }"
        )
        if beaten:
            button.setToolTip("Something else has this key; click to give it another")
        else:
            button.setToolTip("Click to change it")
        if is_behaviour(action):
            button.setToolTip("Double-click the behaviour to change its key")
        else:
            button.clicked.connect(lambda _=False, n=action.name: self.ask(n))
        self.buttons[action.name] = button
        return button

    def _stale(self) -> None:
        if self.isVisible() and not self._asked:
            self.render_keys()

    def _detach(self) -> None:
        self._session.actions.changed.disconnect(self._stale, missing_ok=True)
        self._session.keymap.changed.disconnect(self._stale, missing_ok=True)
