"""KeyFilter: keys pressed anywhere in the viewer's window become actions of the session.

It looks at each key before napari does. Keys that an action has are taken, so that napari's own
shortcuts on them do not run as well; all others go on as ever. Keys typed into a text are left
alone.
"""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QEvent, QKeyCombination, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDockWidget,
    QKeySequenceEdit,
    QLineEdit,
    QPlainTextEdit,
    QTextEdit,
    QWidget,
)

from napari_ethoprism.keymap import keymap_path
from napari_ethoprism.session import Session

_KINDS = frozenset({QEvent.Type.ShortcutOverride, QEvent.Type.KeyPress})
_REPEATING = frozenset(
    {"step_forward", "step_back", "step_forward_10", "step_back_10", "next_bout", "previous_bout"}
    | {"undo", "redo"}
)
_KEYS_ALONE = frozenset(
    {
        Qt.Key.Key_Control,
        Qt.Key.Key_Shift,
        Qt.Key.Key_Alt,
        Qt.Key.Key_AltGr,
        Qt.Key.Key_Meta,
        Qt.Key.Key_unknown,
    }
)
_IGNORED = Qt.KeyboardModifier.KeypadModifier | Qt.KeyboardModifier.GroupSwitchModifier


class KeyFilter(QObject):
    """An event filter on a window and all that is in it.

    Parameters
    ----------
    session
        Whose actions are run.
    window
        The window whose keys are looked at.
    path
        The user's own keys; by default in their configuration folder.
    """

    def __init__(self, session: Session, window: QWidget, path: Path | None = None) -> None:
        super().__init__(window)
        self.keymap = session.keymap
        self.keymap.use_file(path or keymap_path())
        if self.keymap.problem:
            session.notify(self.keymap.problem, "warning")
        self._window: QWidget | None = window
        application = QApplication.instance()
        if application is not None:
            application.installEventFilter(self)

    def close(self) -> None:
        """Look at no more keys."""
        application = QApplication.instance()
        if application is not None and self._window is not None:
            application.removeEventFilter(self)
        self._window = None

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        """Take the keys that have an action, before napari's shortcuts see them."""
        if a1 is None or a1.type() not in _KINDS or self._window is None:
            return False
        if not isinstance(a1, QKeyEvent) or not isinstance(a0, QWidget) or not self._is_mine(a0):
            return False
        key = key_text(a1)
        actions = [action for action in self.keymap.find(key) if action.enabled()] if key else []
        if not actions:
            return False
        if a1.type() == QEvent.Type.ShortcutOverride:
            a1.accept()  # so that it comes as a key, not as a shortcut of a menu
            return True
        if not a1.isAutoRepeat() or actions[0].name in _REPEATING:
            actions[0].run()
        return True

    def _is_mine(self, widget: QWidget) -> bool:
        """Whether a key of a widget is for the actions: of this window, and no text's."""
        top = widget.window()
        floating = isinstance(top, QDockWidget) and top.parentWidget() is self._window
        if top is not self._window and not floating:
            return False
        return not _is_typed(widget) and QApplication.activePopupWidget() is None


def key_text(event: QKeyEvent) -> str:
    """The key of an event as Qt's portable text; empty for a modifier alone."""
    if event.key() in _KEYS_ALONE or event.key() == 0:
        return ""
    key = event.key()
    modifiers = event.modifiers() & ~_IGNORED
    if key == Qt.Key.Key_Backtab:
        key, modifiers = Qt.Key.Key_Tab, modifiers | Qt.KeyboardModifier.ShiftModifier
    if key == Qt.Key.Key_Enter:
        key = Qt.Key.Key_Return
    text = event.text()
    is_sign = len(text) == 1 and text.isprintable() and not (text.isalpha() or text.isspace())
    if is_sign and modifiers == Qt.KeyboardModifier.ShiftModifier:
        modifiers = Qt.KeyboardModifier.NoModifier  # "?" is a key of its own on any keyboard
    try:
        combination = QKeyCombination(modifiers, Qt.Key(key))
    except ValueError:  # a key that Qt has no name for
        return ""
    return QKeySequence(combination).toString(QKeySequence.SequenceFormat.PortableText)


def _is_typed(widget: QWidget) -> bool:
    """Whether a key goes into a text."""
    if isinstance(widget, QComboBox):
        return widget.isEditable()
    if isinstance(widget, QLineEdit | QTextEdit | QPlainTextEdit):
        return not widget.isReadOnly()
    return isinstance(widget, QAbstractSpinBox | QKeySequenceEdit)
