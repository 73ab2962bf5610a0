"""The labels' actions: every command by name, title and default key; no Qt."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from napari_ethoprism.actions import Action
from napari_ethoprism.keymap import portable_key
from napari_ethoprism.label_commands import LabelCommands
from napari_ethoprism.session import Session

GROUP = "Labels"
BEHAVIOURS = "Behaviours"
BEHAVIOUR = "behaviour:"
"""Before a behaviour's name, the name of its action. Its key is the ethogram's."""


def label_actions(
    session: Session, commands: LabelCommands, step_subject: Callable[[int], None]
) -> list[Action]:
    """The actions that do not depend on the ethogram.

    Parameters
    ----------
    session, commands
        What they act on.
    step_subject
        Chooses the next subject (1) or the one before (-1).
    """
    rows: list[tuple[str, str, str, Callable[[], object], Callable[[], bool]]] = [
        ("end_runs", "End what runs, and save it", "Return", commands.end_all, _runs(session)),
        ("cancel_runs", "Drop what runs; leave erasing", "Escape", commands.cancel, _busy(session)),
        (
            "erase_mode",
            "Behaviours' keys erase, or label again",
            "E",
            commands.toggle_erase,
            _can(commands),
        ),
        (
            "delete",
            "Erase labels of the selection, or the bout here",
            "Delete",
            commands.delete,
            _can(commands),
        ),
        (
            "clear",
            "Make the selection, or the bout here, unobserved",
            "Shift+Delete",
            commands.clear,
            _can(commands),
        ),
        (
            "observe_selection",
            "The selection was observed",
            "O",
            commands.mark_observed,
            _can(commands),
        ),
        (
            "unobserve_selection",
            "The selection was not observed",
            "Shift+O",
            commands.mark_unobserved,
            _can(commands),
        ),
        (
            "observe_playing",
            "All that is played counts as observed",
            "Ctrl+O",
            commands.toggle_observe,
            _can(commands),
        ),
        ("split", "Split the bout at this frame", "S", commands.split, _can(commands)),
        (
            "merge",
            "Join the bout with the next, or those selected",
            "M",
            commands.merge,
            _can(commands),
        ),
        ("begin_here", "The bout begins here", ",", commands.begin_here, _can(commands)),
        ("end_here", "The bout ends here", ".", commands.end_here, _can(commands)),
        ("next_subject", "Next subject", "Tab", lambda: step_subject(1), _can(commands)),
        (
            "previous_subject",
            "Previous subject",
            "Shift+Tab",
            lambda: step_subject(-1),
            _can(commands),
        ),
        ("undo", "Undo", "Ctrl+Z", commands.undo, _can(commands)),
        ("redo", "Redo", "Ctrl+Shift+Z", commands.redo, _can(commands)),
    ]
    return [
        Action(name, title, GROUP, key, run, enabled) for name, title, key, run, enabled in rows
    ]


def behaviour_actions(session: Session, commands: LabelCommands) -> Iterator[Action]:
    """One action a behaviour of the ethogram, with the ethogram's key."""
    project = session.project
    if project is None:
        return
    keys = [behaviour.key for behaviour in project.ethogram.behaviours]
    for behaviour in project.ethogram.behaviours:

        def press(name: str = behaviour.name) -> None:
            commands.press(name)

        yield Action(
            BEHAVIOUR + behaviour.name,
            behaviour.name,
            BEHAVIOURS,
            portable_key(behaviour.key, keys),
            press,
            lambda: session.labels is not None,
        )


def _can(commands: LabelCommands) -> Callable[[], bool]:
    return lambda: commands.can_edit


def _runs(session: Session) -> Callable[[], bool]:
    return lambda: bool(session.running)


def _busy(session: Session) -> Callable[[], bool]:
    return lambda: bool(session.running) or session.erasing
