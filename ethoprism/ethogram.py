"""Behaviour and Ethogram: what can be seen, and which of it excludes what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ethoprism.errors import LabelError

RESERVED_NAMES = frozenset({"recording", "subject", "frame", "time_s", "covered", "label"})
"""Columns of the per-frame CSV; a behaviour of that name could not be told from them."""

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/), told apart with any colour vision.
PALETTE = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999")

DEFAULT_KEYS = "1234567890"


@dataclass(frozen=True)
class Behaviour:
    """One behaviour of an ethogram.

    Attributes
    ----------
    name
        As it appears in files; not empty, without ``|``, line breaks or outer blanks.
    definition
        How an observer recognises it.
    key
        The keyboard key that labels it, or empty.
    colour
        ``#RRGGBB``.
    kind
        ``state`` has a duration; ``point`` is an event one frame long.
    """

    name: str
    definition: str = ""
    key: str = ""
    colour: str = PALETTE[0]
    kind: Literal["state", "point"] = "state"

    def __post_init__(self) -> None:
        problem = _name_problem(self.name)
        if problem:
            raise LabelError(
                f"{self.name!r} cannot be a behaviour's name",
                expected="a name without '|', line breaks or blanks at its ends that is no "
                f"column of the per-frame CSV ({', '.join(sorted(RESERVED_NAMES))})",
                found=problem,
            )
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", self.colour):
            raise LabelError(
                f"The colour of {self.name!r} cannot be read",
                expected="#RRGGBB",
                found=repr(self.colour),
            )
        if self.kind not in ("state", "point"):
            raise LabelError(
                f"The kind of {self.name!r} is unknown",
                expected="'state' or 'point'",
                found=repr(self.kind),
            )


@dataclass(frozen=True)
class Ethogram:
    """The behaviours of a project, in the order in which they are shown.

    Several may hold at once, unless ``exclusive`` names a group of which one at most holds.
    """

    behaviours: tuple[Behaviour, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        names = self.names
        _refuse_repeats("name", names)
        _refuse_repeats("key", [b.key for b in self.behaviours if b.key])
        clash = {f"p_{name}" for name in names} & set(names)
        if clash:
            raise LabelError(
                "Two behaviours would share a column of the per-frame CSV",
                expected="no behaviour called 'p_' and another one's name",
                found=", ".join(sorted(clash)),
                remedy="Rename one of them.",
            )
        members = [name for group in self.exclusive for name in group]
        _refuse_repeats("member of the exclusive groups", members)
        unknown = set(members) - set(names)
        if unknown:
            raise LabelError(
                "An exclusive group names a behaviour that the ethogram lacks",
                expected=", ".join(names) or "behaviours defined first",
                found=", ".join(sorted(unknown)),
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the behaviours, in order."""
        return tuple(b.name for b in self.behaviours)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Behaviour:
        for behaviour in self.behaviours:
            if behaviour.name == name:
                return behaviour
        raise KeyError(name)

    def with_names(self, names: Iterable[str]) -> Ethogram:
        """This ethogram, with the names that it lacks appended.

        They get the next colour of the palette, and the first of the keys 1 to 9 and 0 that is
        free, so that they can be labelled at once.
        """
        added = list(self.behaviours)
        for name in names:
            if name not in {b.name for b in added}:
                taken = {b.key for b in added}
                key = next((key for key in DEFAULT_KEYS if key not in taken), "")
                colour = PALETTE[len(added) % len(PALETTE)]
                added.append(Behaviour(name, key=key, colour=colour))
        return replace(self, behaviours=tuple(added))

    def with_exclusive(self, group: Iterable[str]) -> Ethogram:
        """This ethogram with one more exclusive group."""
        return replace(self, exclusive=(*self.exclusive, tuple(group)))

    def replacing(self, name: str, behaviour: Behaviour) -> Ethogram:
        """This ethogram with one behaviour in the place of another; groups follow its name."""
        self._require(name)
        behaviours = tuple(behaviour if b.name == name else b for b in self.behaviours)
        groups = (tuple(behaviour.name if n == name else n for n in g) for g in self.exclusive)
        return Ethogram(behaviours, tuple(groups))

    def without(self, name: str) -> Ethogram:
        """This ethogram without a behaviour; a group that one member is left of ends."""
        self._require(name)
        behaviours = tuple(b for b in self.behaviours if b.name != name)
        return Ethogram(behaviours, _groups_without(self.exclusive, name))

    def moved(self, name: str, by: int) -> Ethogram:
        """This ethogram with a behaviour further down, or with a negative number further up."""
        self._require(name)
        rest = [b for b in self.behaviours if b.name != name]
        place = min(max(self.names.index(name) + by, 0), len(rest))
        rest.insert(place, self[name])
        return replace(self, behaviours=tuple(rest))

    def excluding(self, name: str, other: str) -> Ethogram:
        """This ethogram with a behaviour in another one's exclusive group, or in none if empty."""
        self._require(name)
        if other and any(name in group and other in group for group in self.exclusive):
            return self
        groups = list(_groups_without(self.exclusive, name))
        if other:
            self._require(other)
            for i, group in enumerate(groups):
                if other in group:
                    groups[i] = (*group, name)
                    return replace(self, exclusive=tuple(groups))
            groups.append((other, name))
        return replace(self, exclusive=tuple(groups))

    def _require(self, name: str) -> None:
        if name not in self:
            raise LabelError(
                f"The ethogram has no behaviour {name!r}", expected=", ".join(self.names)
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and dictionaries, as written to ``ethoprism.toml`` and to cards."""
        return {
            "behaviours": [asdict(b) for b in self.behaviours],
            "exclusive": [list(group) for group in self.exclusive],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ethogram:
        """The ethogram that `to_dict` described.

        Raises
        ------
        LabelError
            If a field is unknown or has the wrong form.
        """
        known = set(Behaviour.__dataclass_fields__)
        behaviours = []
        rows, members = data.get("behaviours", []), data.get("exclusive", [])
        if not _all_of(rows, Mapping) or not _all_of(members, list):
            raise LabelError(
                "The ethogram cannot be read",
                expected="a list of behaviours, and a list of lists of their names",
                found=repr((rows, members))[:200],
            )
        for row in rows:
            row = dict(row)
            unknown = set(row) - known
            if unknown or not all(isinstance(v, str) for v in row.values()) or "name" not in row:
                raise LabelError(
                    "A behaviour of the ethogram cannot be read",
                    expected=f"text for {', '.join(sorted(known))}",
                    found=repr(row),
                )
            behaviours.append(Behaviour(**{k: str(v) for k, v in row.items()}))  # type: ignore[arg-type]
        groups = tuple(tuple(str(n) for n in group) for group in members)
        return cls(tuple(behaviours), groups)


def _groups_without(groups: tuple[tuple[str, ...], ...], name: str) -> tuple[tuple[str, ...], ...]:
    left = (tuple(n for n in group if n != name) for group in groups)
    return tuple(group for group in left if len(group) > 1)


def _all_of(values: object, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _name_problem(name: str) -> str:
    if not name or name != name.strip():
        return "an empty name or blanks at its ends"
    if re.search(r"[|\x00-\x1f\x7f-\x9f\ud800-\udfff]", name):
        return "a character that separates labels in files"
    if name.lower() in RESERVED_NAMES:
        return "a name that the per-frame CSV uses itself"
    return ""


def _refuse_repeats(what: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise LabelError(
                f"The ethogram uses one {what} twice",
                expected=f"every {what} once",
                found=repr(value),
            )
        seen.add(value)
