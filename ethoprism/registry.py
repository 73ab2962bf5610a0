"""Look-up of backbones, data sets, readers and formats by entry point; the only way to extend.

What ships with EthoPrism registers through the same groups, so a third party's part ranks equal.
"""

from __future__ import annotations

import difflib
from importlib.metadata import entry_points
from typing import Any, Literal

from ethoprism.errors import InputError

Group = Literal["backbones", "datasets", "exchange", "readers"]


def names(group: Group) -> list[str]:
    """Names registered in a group, sorted."""
    return sorted({point.name for point in entry_points(group=f"ethoprism.{group}")})


def load(group: Group, name: str) -> Any:
    """The object registered under ``name``.

    Raises
    ------
    InputError
        If there is none; the message lists what there is.
    """
    found = list(entry_points(group=f"ethoprism.{group}", name=name))
    if not found:
        known = names(group)
        close = difflib.get_close_matches(name, known, n=1)
        raise InputError(
            f"No {group.rstrip('s')} is called {name!r}",
            expected=f"one of {', '.join(known)}",
            remedy=f"Did you mean {close[0]!r}?" if close else "",
        )
    return found[0].load()
