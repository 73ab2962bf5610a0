"""ToolPanel: a button for every command of the labels that a key has."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QGridLayout, QPushButton, QSizePolicy, QWidget

from napari_ethoprism.looks import spacing
from napari_ethoprism.session import Session

_TOOLS = (
    (("begin_here", "Begin here"), ("end_here", "End here"), ("split", "Split")),
    (("merge", "Join"), ("delete", "Erase"), ("clear", "Unobserve")),
    (
        ("observe_selection", "Observed"),
        ("observe_playing", "While playing"),
        ("erase_mode", "Keys erase"),
    ),
)


class ElidedButton(QPushButton):
    """A button whose text is cut where there is no room for it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._text = ""
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumHeight(round(self.fontMetrics().height() * 1.75))

    def say(self, text: str) -> None:
        """Show a text."""
        if text != self._text:
            self._text = text
            self._elide()

    def resizeEvent(self, a0: QResizeEvent | None) -> None:
        super().resizeEvent(a0)
        self._elide()

    def _elide(self) -> None:
        room = self.width() - 2 * self.fontMetrics().averageCharWidth()
        right = Qt.TextElideMode.ElideRight
        self.setText(self.fontMetrics().elidedText(self._text, right, room).replace("&", "&&"))


class ToolPanel(QWidget):
    """The commands as a grid of buttons, each with its key; the tip says what it does.

    Parameters
    ----------
    session
        Whose actions.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(max(spacing(self) // 2, 3))
        self.buttons: dict[str, ElidedButton] = {}
        self._texts: dict[str, str] = {}
        for row, tools in enumerate(_TOOLS):
            for column, (name, text) in enumerate(tools):
                button = ElidedButton()
                button.setCheckable(name in ("erase_mode", "observe_playing"))
                button.clicked.connect(lambda _=False, n=name: self._run(n))
                self.buttons[name], self._texts[name] = button, text
                grid.addWidget(button, row, column)
                grid.setColumnStretch(column, 1)

    def render_tools(self) -> None:
        """Show which commands are possible, what is switched on, and the keys."""
        actions, keymap = self._session.actions, self._session.keymap
        for name, button in self.buttons.items():
            known = name in actions
            key = keymap.key(name)
            button.setEnabled(known and actions[name].enabled())
            button.say(f"{self._texts[name]}  {key}" if len(key) == 1 else self._texts[name])
            if known:
                button.setToolTip(actions[name].title + (f" ({key})" if key else ""))
        self.buttons["erase_mode"].setChecked(self._session.erasing)
        observing = any(run.kind == "observe" for run in self._session.running)
        self.buttons["observe_playing"].setChecked(observing)

    def _run(self, name: str) -> None:
        self._session.actions.trigger(name)
        self.render_tools()
