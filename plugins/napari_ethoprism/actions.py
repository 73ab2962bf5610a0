"""Actions: what keys and buttons can do, by name; no Qt.

Docks register what they can do. The key filter, the cheat sheet and the buttons all go through
here, so that a key, once remapped, is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from psygnal import Signal


def always() -> bool:
    """True: the action can always be used."""
    return True


@dataclass(frozen=True)
class Action:
    """One thing that a user can do.

    Attributes
    ----------
    name
        Stable identifier, as stored in a key map: ``play``, ``step_forward``.
    title
        What it does, as the cheat sheet says it: "Play or pause".
    group
        Heading of the cheat sheet: "Video", "Labels", "Review", "Map".
    key
        The default key in Qt's portable text ("Space", "Shift+Right", "Ctrl+Z"), or empty.
    run
        Does it.
    enabled
        Whether it can be done now. Of actions that share a key, the enabled one that was
        registered last is run.
    """

    name: str
    title: str
    group: str
    key: str
    run: Callable[[], object]
    enabled: Callable[[], bool] = always


class Actions:
    """The actions of one workbench, in the order in which they were registered."""

    changed = Signal()

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}

    def register(self, *actions: Action) -> None:
        """Add actions; one of the same name is replaced."""
        for action in actions:
            self._actions.pop(action.name, None)
            self._actions[action.name] = action
        self.changed.emit()

    def unregister(self, *names: str) -> None:
        """Take actions away; unknown names are passed over."""
        for name in names:
            self._actions.pop(name, None)
        self.changed.emit()

    def __iter__(self) -> Iterator[Action]:
        return iter(tuple(self._actions.values()))

    def __getitem__(self, name: str) -> Action:
        return self._actions[name]

    def __contains__(self, name: object) -> bool:
        return name in self._actions

    def trigger(self, name: str) -> bool:
        """Run an action if it is known and enabled; whether it was run."""
        action = self._actions.get(name)
        if action is None or not action.enabled():
            return False
        action.run()
        return True
