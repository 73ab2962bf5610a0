"""KeyMap: which key does what; the user's own keys over the actions' default ones; no Qt.

A behaviour's key is the ethogram's, which colleagues share. It goes before an action of the same
key. The user's own keys of actions are theirs, and lie in their configuration folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_config_path
from psygnal import Signal

from ethoprism.errors import InputError
from ethoprism.files import write_json
from napari_ethoprism.actions import Action, Actions

_BEHAVIOUR = "behaviour:"
_MOST_BYTES = 1 << 20
_MODIFIERS = ("Ctrl", "Meta", "Alt", "Shift")
FIXED = frozenset({"Ctrl+C", "Ctrl+V", "Ctrl+X", "Ctrl+A", "Ctrl+Q", "Alt+F4"})
"""Keys that stay with the system."""


def keymap_path() -> Path:
    """Where the user's own keys are kept."""
    return user_config_path("ethoprism", appauthor=False) / "keys.json"


def portable_key(key: str, others: Sequence[str] = ()) -> str:
    """A behaviour's key as Qt's portable text: ``w`` is ``W``.

    A capital is the plain key too, unless ``others`` use the small letter: then it needs Shift.
    """
    key = key.strip()
    if len(key) == 1 and key.isalpha():
        shifted = key.isupper() and key.lower() in others
        return f"Shift+{key}" if shifted else key.upper()
    return key


def normal_key(text: str) -> str:
    """A key's text with its modifiers in one order: ``shift+ctrl+z`` is ``Ctrl+Shift+Z``."""
    text = text.strip()
    head, plus, last = text.rpartition("+")
    if not last:  # the key is the plus sign itself
        head, last = head.rstrip("+"), "+"
    found = (
        {part.strip().capitalize() for part in head.split("+") if part.strip()} if plus else set()
    )
    unknown = found - set(_MODIFIERS)
    if unknown:
        raise InputError(
            f"{text!r} is no key", expected="a key with Ctrl, Alt, Meta or Shift before it"
        )
    name = last if len(last) == 1 else last[:1].upper() + last[1:]
    name = name.upper() if len(name) == 1 else name
    return "+".join([*(m for m in _MODIFIERS if m in found), name])


@dataclass(frozen=True)
class Conflict:
    """Two actions that share a key; ``wins`` names the one that is done."""

    key: str
    wins: Action
    loses: Action

    @property
    def text(self) -> str:
        """As a sentence."""
        return f"{self.key} does {self.wins.title!r}, so {self.loses.title!r} has no key now."


class KeyMap:
    """The keys of a workbench's actions.

    Parameters
    ----------
    actions
        What can be done, each with its default key.

    Attributes
    ----------
    problem
        Why the user's file could not be read, or empty.
    """

    changed = Signal()

    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._path: Path | None = None
        self._own: dict[str, str] = {}
        self.problem = ""

    def use_file(self, path: Path) -> None:
        """Read the user's own keys from a file, and keep changes there from now on."""
        self._path = path
        self._own = self._read()
        self.changed.emit()

    @property
    def own(self) -> Mapping[str, str]:
        """The keys that the user chose, by action; empty for none."""
        return dict(self._own)

    def key(self, name: str) -> str:
        """The key of an action, or empty."""
        if name in self._own:
            return self._own[name]
        return self._actions[name].key if name in self._actions else ""

    def find(self, key: str) -> list[Action]:
        """The actions of a key, in the order in which they are tried.

        A behaviour goes first; of the others the one that was registered last.
        """
        found = [action for action in self._actions if self.key(action.name) == key]
        found.reverse()
        return sorted(found, key=lambda action: not is_behaviour(action))

    def run(self, key: str) -> bool:
        """Do the first of a key's actions that can be done now; whether one was."""
        for action in self.find(key):
            if action.enabled():
                action.run()
                return True
        return False

    def conflicts(self) -> list[Conflict]:
        """Actions that their key does not reach: a behaviour has it, or another of their group.

        Actions of different groups may share a key, because they are enabled at different times.
        """
        found: list[Conflict] = []
        for key in dict.fromkeys(self.key(action.name) for action in self._actions):
            if not key:
                continue
            first, *rest = self.find(key)
            found.extend(
                Conflict(key, first, other)
                for other in rest
                if is_behaviour(first) or first.group == other.group
            )
        return found

    def set_key(self, name: str, key: str) -> list[Conflict]:
        """Give an action another key, or none; returns the conflicts that it is in now.

        Raises
        ------
        InputError
            If the action is a behaviour, or the key stays with the system.
        StorageError
            If the user's file cannot be written. The key holds for this run then.
        """
        if name.startswith(_BEHAVIOUR):
            raise InputError(
                "A behaviour's key belongs to the ethogram", remedy="Change it in the ethogram."
            )
        key = normal_key(key) if key else ""
        if key in FIXED:
            raise InputError(f"{key} stays with the system", remedy="Choose another key.")
        self._own[name] = key
        if name in self._actions and self._actions[name].key == key:
            del self._own[name]
        self.changed.emit()
        self._write()
        return [c for c in self.conflicts() if name in (c.wins.name, c.loses.name)]

    def reset(self, names: Iterable[str] = ()) -> None:
        """Back to the default keys, of some actions or of all."""
        for name in list(names) or list(self._own):
            self._own.pop(name, None)
        self.changed.emit()
        self._write()

    def _read(self) -> dict[str, str]:
        if self._path is None or not self._path.exists():
            return {}
        with suppress(OSError, ValueError):
            if self._path.stat().st_size <= _MOST_BYTES:
                data = json.loads(self._path.read_text(encoding="utf-8"))
                if isinstance(data, dict) and all(isinstance(v, str) for v in data.values()):
                    return {str(k): v for k, v in data.items()}
        self.problem = f"Your keys in {self._path} could not be read; the default ones hold."
        return {}

    def _write(self) -> None:
        if self._path is not None:
            write_json(self._path, self._own)
            self.problem = ""


def is_behaviour(action: Action) -> bool:
    """Whether an action is a behaviour's."""
    return action.name.startswith(_BEHAVIOUR)
