"""Edit: one edit as the history lists it, with the rows that it exchanged."""

from __future__ import annotations

from dataclasses import dataclass, field

from ethoprism.store.operations import Rows


@dataclass(frozen=True)
class Edit:
    """One edit as the history lists it.

    ``removed`` and ``added`` are the rows that this operation took away and put in, with their ids,
    by table; the history leaves them empty.
    """

    id: int
    time: str
    author: str
    description: str
    undone: bool
    removed: Rows = field(default_factory=dict, compare=False, repr=False)
    added: Rows = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class NewIds:
    """Ids for the rows of an edit, in the order of its tables, and for the edit itself."""

    bouts: tuple[int, ...]
    spans: tuple[int, ...]
    edit: int
