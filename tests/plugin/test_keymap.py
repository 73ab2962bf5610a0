"""Which key does what."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ethoprism.errors import InputError, StorageError
from napari_ethoprism.actions import Action, Actions
from napari_ethoprism.keymap import KeyMap, normal_key, portable_key


def _actions(done: list[str], **enabled: bool) -> Actions:
    def action(name: str, group: str, key: str) -> Action:
        return Action(
            name,
            name.title(),
            group,
            key,
            lambda: done.append(name),
            lambda: enabled.get(name, True),
        )

    actions = Actions()
    actions.register(
        action("behaviour:walk", "Behaviours", "S"),
        action("split", "Labels", "S"),
        action("end", "Labels", "Return"),
        action("accept", "Review", "Return"),
        action("play", "Video", "Space"),
    )
    return actions


def test_a_behaviour_goes_first_and_the_loser_is_told():
    done: list[str] = []
    keymap = KeyMap(_actions(done))
    assert keymap.run("S") and done == ["behaviour:walk"]
    (conflict,) = keymap.conflicts()
    assert conflict.text == "S does 'Behaviour:Walk', so 'Split' has no key now."


def test_of_actions_that_share_a_key_the_last_that_can_be_done_is():
    done: list[str] = []
    assert KeyMap(_actions(done)).run("Return") and done == ["accept"]
    done.clear()
    assert KeyMap(_actions(done, accept=False)).run("Return") and done == ["end"]
    assert not KeyMap(_actions(done, accept=False, end=False)).run("Return")


def test_own_keys_are_kept_and_come_back(tmp_path: Path):
    path = tmp_path / "config" / "keys.json"
    done: list[str] = []
    keymap = KeyMap(_actions(done))
    keymap.use_file(path)
    heard: list[int] = []
    keymap.changed.connect(lambda: heard.append(1))
    assert keymap.set_key("split", "shift+ctrl+k") == []
    assert heard and json.loads(path.read_text()) == {"split": "Ctrl+Shift+K"}
    again = KeyMap(_actions(done))
    again.use_file(path)
    assert again.key("split") == "Ctrl+Shift+K"
    assert again.run("Ctrl+Shift+K") and done == ["split"]
    assert [c.loses.name for c in again.set_key("play", "Ctrl+Shift+K")] == []  # other groups
    again.set_key("split", "")
    assert again.key("split") == "" and not again.conflicts()
    again.set_key("split", "S")  # the default one again
    assert json.loads(path.read_text()) == {"play": "Ctrl+Shift+K"}
    again.reset()
    assert again.key("play") == "Space" and json.loads(path.read_text()) == {}


def test_what_cannot_be_a_key_is_refused(tmp_path: Path):
    keymap = KeyMap(_actions([]))
    for key in ("Ctrl+C", "Hyper+K"):
        with pytest.raises(InputError):
            keymap.set_key("split", key)
    with pytest.raises(InputError, match="ethogram"):
        keymap.set_key("behaviour:walk", "W")
    assert keymap.own == {}
    (tmp_path / "file").write_text("")
    keymap.use_file(tmp_path / "file" / "keys.json")
    with pytest.raises(StorageError):
        keymap.set_key("split", "K")
    assert keymap.key("split") == "K"  # for this run


@pytest.mark.parametrize("text", ["{", "[1]", '{"split": 3}', "\x00"])
def test_a_damaged_file_leaves_the_default_keys_and_is_told(tmp_path: Path, text: str):
    path = tmp_path / "keys.json"
    path.write_text(text)
    keymap = KeyMap(_actions([]))
    keymap.use_file(path)
    assert keymap.key("split") == "S" and "could not be read" in keymap.problem
    assert path.read_text() == text


def test_letters_of_the_ethogram_are_plain_keys_unless_both_cases_are_used():
    assert portable_key("w") == portable_key("W") == "W"
    assert (portable_key("w", ["w", "W"]), portable_key("W", ["w", "W"])) == ("W", "Shift+W")
    assert (portable_key("1"), portable_key("F2"), portable_key("")) == ("1", "F2", "")


def test_modifiers_have_one_order():
    assert normal_key("shift+ctrl+z") == "Ctrl+Shift+Z"
    assert (normal_key("+"), normal_key("Ctrl++"), normal_key("space")) == ("+", "Ctrl++", "Space")
