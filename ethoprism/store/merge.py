"""Merging two copies of a store that were edited apart.

Rows have the same ``uid`` in both copies. A row that one side changed or removed, and the other
left as it was, follows the first. Where both did something to it, or both drew bouts over the same
frames with different edges, that is a conflict, and it is shown. The values that a side's history
knows of a row tell what it left as it was.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from ethoprism.store.annotations import AnnotationStore, Edit
from ethoprism.store.operations import Row, Rows
from ethoprism.store.schema import COLUMNS, LABELS

Take = Literal["ours", "theirs", "both"]

_Value = tuple[object, ...]

_WHOSE = ("recording", "subject", "target", "behaviour", "annotator")


@dataclass(frozen=True)
class Conflict:
    """Something on which the two copies do not agree.

    Attributes
    ----------
    table
        ``bouts`` or ``spans``.
    reason
        What both did, in words.
    ours, theirs
        The rows of each side; empty where that side removed it.
    """

    table: str
    reason: str
    ours: tuple[Row, ...]
    theirs: tuple[Row, ...]


@dataclass(frozen=True)
class MergePlan:
    """What a merge would do.

    Attributes
    ----------
    removed, added
        Rows that the merge exchanges without any conflict; a changed row is in both.
    conflicts
        To be decided by the user.
    unknown
        Number of their rows by recording that ours does not have; they are left out.
    same
        Number of rows that both added alike.
    withheld
        Number of rows that ours removed and theirs still has, unchanged; they stay removed.
    """

    removed: Rows
    added: Rows
    conflicts: tuple[Conflict, ...]
    unknown: dict[str, int]
    same: int
    withheld: int

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.conflicts or any(self.removed.values()) or any(self.added.values()))

    def table(self) -> pd.DataFrame:
        """The merge in numbers, a line for each recording."""
        counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_COUNTS, 0))
        for table in LABELS:
            gone = {row["uid"] for row in self.removed[table]}
            come = {row["uid"] for row in self.added[table]}
            for row in self.added[table]:
                kind = "changed" if row["uid"] in gone else "added"
                counts[row["recording"]][kind] += 1
            for row in self.removed[table]:
                counts[row["recording"]]["removed"] += row["uid"] not in come
        for conflict in self.conflicts:
            counts[(*conflict.ours, *conflict.theirs)[0]["recording"]]["conflicts"] += 1
        return pd.DataFrame(
            [{"recording": name, **counts[name]} for name in sorted(counts)],
            columns=pd.Index(["recording", *_COUNTS]),
        )

    def conflict_table(self) -> pd.DataFrame:
        """The conflicts, a line each."""
        lines = []
        for conflict in self.conflicts:
            row = (*conflict.ours, *conflict.theirs)[0]
            lines.append(
                {
                    **{name: row.get(name, "") for name in _WHOSE if name != "target"},
                    "ours": "; ".join(map(_frames, conflict.ours)) or "removed",
                    "theirs": "; ".join(map(_frames, conflict.theirs)) or "removed",
                    "why": conflict.reason,
                }
            )
        return pd.DataFrame(lines)

    def decided(self, take: Take) -> tuple[Rows, Rows]:
        """The rows to remove and to add, with every conflict decided one way.

        ``both`` keeps ours and adds theirs as rows of their own.
        """
        removed = {table: list(rows) for table, rows in self.removed.items()}
        added = {table: list(rows) for table, rows in self.added.items()}
        for conflict in self.conflicts:
            if take == "theirs":
                gone = {row["uid"] for row in removed[conflict.table]}
                removed[conflict.table] += [r for r in conflict.ours if r["uid"] not in gone]
            if take != "ours":
                ours = {row["uid"]: row for row in conflict.ours}
                come = {row["uid"] for row in added[conflict.table]}
                for row in conflict.theirs:
                    clash = row["uid"] in ours
                    if clash and take == "both":
                        row = {**row, "uid": _other_uid(row), "id": None}
                    elif clash:
                        row = {**row, "id": ours[row["uid"]]["id"]}
                    else:
                        row = {**row, "id": None}
                    if row["uid"] not in come:
                        added[conflict.table].append(row)
                        come.add(row["uid"])
        return removed, added


_COUNTS = ("added", "changed", "removed", "conflicts")


def plan_merge(
    ours: AnnotationStore, theirs: AnnotationStore, recordings: Mapping[str, str]
) -> MergePlan:
    """What bringing their edits into our store would do; nothing is written.

    Parameters
    ----------
    recordings
        Our ids of recordings by theirs. Rows of other recordings are counted and left out.
    """
    removed: Rows = {"bouts": [], "spans": []}
    added: Rows = {"bouts": [], "spans": []}
    conflicts: list[Conflict] = []
    unknown: dict[str, int] = defaultdict(int)
    same = withheld = 0
    we_know, they_know = _versions(ours, {}), _versions(theirs, recordings)
    for table in LABELS:
        left = {row["uid"]: row for row in ours.rows(table)}
        right: dict[str, Row] = {}
        for row in theirs.rows(table):
            if row["recording"] in recordings:
                right[row["uid"]] = {**row, "recording": recordings[row["recording"]]}
            else:
                unknown[row["recording"]] += 1
        fresh = []
        for uid in dict.fromkeys((*left, *right)):
            mine, other = left.get(uid), right.get(uid)
            outcome = _outcome(table, mine, other, we_know[table, uid], they_know[table, uid])
            if outcome == "fresh" and other:
                fresh.append(other)
            elif outcome == "withheld":
                withheld += 1
            elif outcome in ("theirs", "removed") and mine:
                removed[table].append(mine)
                added[table] += [{**other, "id": mine["id"]}] if other else []
            elif outcome and not (other and _other_uid(other) in left):
                pair = ((mine,) if mine else (), (other,) if other else ())
                conflicts.append(Conflict(table, outcome, *pair))
        gone = {row["uid"] for row in removed[table]}
        own = [
            row
            for uid, row in left.items()
            if uid not in gone and _value(row, table) not in they_know[table, uid]
        ]
        known = {_content(row, table) for row in own}
        candidates = [{**row, "id": None} for row in fresh if _content(row, table) not in known]
        same += len(fresh) - len(candidates)
        if table == "bouts":
            candidates, overlaps = _overlaps(own, candidates)
            conflicts += overlaps
        added[table] += candidates
    return MergePlan(removed, added, tuple(conflicts), dict(unknown), same, withheld)


def _outcome(
    table: str, mine: Row | None, other: Row | None, we_know: set[_Value], they_know: set[_Value]
) -> str:
    """What becomes of one row: nothing (empty), a step by name, or the reason of a conflict."""
    if mine is None and other is not None:
        if not we_know:
            return "fresh"
        return "withheld" if _value(other, table) in we_know else "we removed it, they changed it"
    if mine is not None and other is None:
        if not they_know:
            return ""
        return "removed" if _value(mine, table) in they_know else "they removed it, we changed it"
    if mine is None or other is None:
        return ""
    value, theirs = _value(mine, table), _value(other, table)
    if value == theirs:
        return ""
    behind, ahead = value in they_know, theirs in we_know
    if behind != ahead:
        return "theirs" if behind else ""
    return "both changed it"


def merge(
    ours: AnnotationStore,
    plan: MergePlan,
    take: Take = "ours",
    *,
    description: str,
    author: str = "",
) -> Edit | None:
    """Do a merge as one edit, which can be undone; ``None`` if there is nothing to do."""
    removed, added = plan.decided(take)
    if not any((*removed.values(), *added.values())):
        return None
    return ours.exchange(removed, added, description=description, author=author)


def _versions(
    store: AnnotationStore, recordings: Mapping[str, str]
) -> defaultdict[tuple[str, str], set[_Value]]:
    """Every value that a store's history and tables know of each row, by table and uid."""
    versions: defaultdict[tuple[str, str], set[_Value]] = defaultdict(set)
    sides: list[Rows] = [{table: store.rows(table) for table in LABELS}]
    for edit in store.rows("edits"):
        sides += [json.loads(edit["removed"]), json.loads(edit["added"])]
    for side in sides:
        for table, rows in side.items():
            for row in rows:
                name = recordings.get(row["recording"], row["recording"])
                versions[table, row["uid"]].add(_value({**row, "recording": name}, table))
    return versions


def _overlaps(own: Sequence[Row], fresh: Sequence[Row]) -> tuple[list[Row], list[Conflict]]:
    """Their new bouts without those that overlap a new one of ours, and these as conflicts.

    Bouts that overlap each other, over whichever side, are one conflict.
    """
    groups: dict[tuple[str, ...], list[tuple[Row, bool]]] = defaultdict(list)
    for rows, theirs in ((own, False), (fresh, True)):
        for row in rows:
            groups[tuple(row[name] for name in _WHOSE)].append((row, theirs))
    free: list[Row] = []
    conflicts: list[Conflict] = []
    for members in groups.values():
        members.sort(key=lambda m: (m[0]["start_frame"], m[0]["stop_frame"]))
        cluster: list[tuple[Row, bool]] = []
        end = 0
        for member in [*members, None]:
            if member is None or member[0]["start_frame"] >= end:
                mine = tuple(row for row, theirs in cluster if not theirs)
                other = tuple(row for row, theirs in cluster if theirs)
                if mine and other:
                    reason = "both drew bouts over the same frames"
                    conflicts.append(Conflict("bouts", reason, mine, other))
                else:
                    free += other
                cluster, end = [], 0
            if member is not None:
                cluster.append(member)
                end = max(end, member[0]["stop_frame"])
    return free, conflicts


def _value(row: Row, table: str) -> _Value:
    """What a row says, without its number in one copy."""
    return tuple(row[name] for name in COLUMNS[table] if name not in ("id", "uid"))


def _content(row: Row, table: str) -> _Value:
    """What a row says, and not when it was saved."""
    return tuple(row[name] for name in COLUMNS[table] if name not in ("id", "uid", "modified"))


def _other_uid(row: Row) -> str:
    """A name for their version of a row beside ours; the same each time."""
    import hashlib

    text = json.dumps([row[name] for name in sorted(row) if name != "id"])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _frames(row: Row) -> str:
    return f"{row['start_frame']}-{row['stop_frame']}"
