"""Edits of labels: from what somebody means to the rows that go and the rows that come.

Each function takes the bouts and the observed spans of one recording and returns a `Change`, which
`AnnotationStore.apply` makes durable as one edit. Nothing here writes.

Whose labels change: an annotator with a name changes their own labels and those that nobody
signed. Without a name, everybody's change, and the pieces keep their authors. `Change.left` names
those whose labels lie there and were left as they are.

What counts as observed: to label a state is to have looked. So the labelled frames are observed for
the behaviour and for the others of its exclusive group, which are cut away there. Pieces keep their
comments, modifiers, targets and sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pandas as pd

from ethoprism.edit_rows import Change, Draft, Labelled, Row
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.ranges import Frames, minus


def combined(changes: Iterable[Change], description: str = "") -> Change:
    """Several changes of different recordings as one edit."""
    found = list(changes)
    texts = dict.fromkeys(c.description for c in found if c)
    return Change(
        tuple(i for c in found for i in c.remove_bouts),
        tuple(i for c in found for i in c.remove_spans),
        tuple(r for c in found for r in c.add_bouts),
        tuple(r for c in found for r in c.add_spans),
        description or "; ".join(texts),
        tuple(dict.fromkeys(name for c in found for name in c.left)),
    )


def label(
    labels: Labelled,
    frames: Sequence[Frames],
    behaviour: str,
    subject: str = "",
    *,
    source: str = "manual",
) -> Change:
    """Say that a state is present in some ranges.

    Bouts of the same behaviour, subject, author and source that overlap or touch become one with
    it. Bouts that say more (a target, modifiers) or that another person made stay, and the new bout
    fills what they leave. Automated bouts give way. Other members of an exclusive group are cut
    away, and the ranges are observed for the group.
    """
    draft = Draft(labels, subject)
    wanted = draft.within(frames)
    cut = draft.trim(labels.rivals(behaviour), wanted)
    draft.put(behaviour, wanted, source)
    draft.observe(labels.group(behaviour), wanted)
    also = f" in place of {_named(tuple(cut))}" if cut else ""
    return draft.change(f"Labelled {behaviour!r}{_whose(subject)} {_place(wanted)}{also}")


def mark_points(
    labels: Labelled, frames: Sequence[int], behaviour: str, subject: str = ""
) -> Change:
    """Say that a point event happens at some frames; each is a bout of one frame.

    A frame that has the event already is left as it is.
    """
    draft = Draft(labels, subject)
    at = [(frame, frame + 1) for frame in sorted(set(frames))]
    wanted = [whole for whole in at if draft.within([whole])]
    draft.trim(labels.rivals(behaviour), wanted)
    there = {row["start_frame"] for _, row in draft.bouts([behaviour], wanted)}
    for start, stop in wanted:
        if start not in there:
            draft.add(behaviour, start, stop)
    draft.observe(labels.group(behaviour), wanted)
    return draft.change(f"Marked {behaviour!r}{_whose(subject)} {_place(wanted)}")


def erase(
    labels: Labelled, frames: Sequence[Frames], behaviours: Sequence[str] = (), subject: str = ""
) -> Change:
    """Say that behaviours are absent in some ranges; bouts are trimmed or split.

    The ranges count as observed for ``behaviours``. If none are named, all bouts there are cut, and
    what is cut away counts as observed, nothing else.
    """
    draft = Draft(labels, subject)
    wanted = draft.within(frames)
    cut = draft.trim(behaviours or None, wanted)
    for name in behaviours or cut:
        draft.observe([name], wanted if behaviours else cut[name])
    named = _named(tuple(behaviours or cut))
    return draft.change(f"Erased {named}{_whose(subject)} {_place(wanted)}")


def clear(
    labels: Labelled, frames: Sequence[Frames], behaviours: Sequence[str] = (), subject: str = ""
) -> Change:
    """Make ranges unobserved for some behaviours, or for all: bouts and observed spans go."""
    draft = Draft(labels, subject)
    wanted = draft.within(frames)
    draft.trim(behaviours or None, wanted)
    draft.unobserve(behaviours or None, wanted)
    return draft.change(f"Cleared {_named(behaviours)}{_whose(subject)} {_place(wanted)}")


def mark_observed(
    labels: Labelled, frames: Sequence[Frames], behaviours: Sequence[str], subject: str = ""
) -> Change:
    """Say that behaviours were looked for in some ranges: where no bout is, they are absent."""
    draft = Draft(labels, subject)
    wanted = draft.within(frames)
    draft.observe(behaviours, wanted)
    named = _named(behaviours, labels.ethogram)
    return draft.change(f"Observed for {named}{_whose(subject)} {_place(wanted)}")


def mark_unobserved(
    labels: Labelled, frames: Sequence[Frames], behaviours: Sequence[str] = (), subject: str = ""
) -> Change:
    """Take back that behaviours, or all, were looked for in some ranges; bouts stay."""
    draft = Draft(labels, subject)
    wanted = draft.within(frames)
    draft.unobserve(behaviours or None, wanted)
    named = _named(behaviours, labels.ethogram)
    return draft.change(f"Not observed for {named}{_whose(subject)} {_place(wanted)}")


def split(
    labels: Labelled, frame: int, behaviours: Sequence[str] = (), subject: str = ""
) -> Change:
    """Divide the bouts of some behaviours, or of all, that hold a frame and the one before it."""
    draft = Draft(labels, subject)
    names = []
    for i, row in draft.bouts(behaviours or None, [(frame, frame + 1)]):
        start, stop = row["start_frame"], row["stop_frame"]
        if start < frame:
            draft.replace(i, row, [(start, frame), (frame, stop)])
            names.append(row["behaviour"])
    named = _named(names) if names else "nothing"
    return draft.change(f"Split {named}{_whose(subject)} at frame {frame}")


def merge(labels: Labelled, frames: Frames, behaviour: str, subject: str = "") -> Change:
    """Join the bouts of a behaviour that lie in a range, or touch it, and fill the gaps.

    Those that differ from the first in target, modifiers or author stay. Without two that agree
    nothing changes. What a gap held of an exclusive group is cut away.
    """
    draft = Draft(labels, subject)
    found = draft.bouts([behaviour], [(frames[0] - 1, frames[1] + 1)])
    found.sort(key=lambda item: item[1]["start_frame"])
    kept = ("target", "modifiers", "annotator")
    found = [(i, r) for i, r in found if all(r[c] == found[0][1][c] for c in kept)]
    if len(found) < 2:
        return draft.change(f"Nothing to merge of {behaviour!r}{_whose(subject)}")
    rows = [row for _, row in found]
    there = [(row["start_frame"], row["stop_frame"]) for row in rows]
    whole = (there[0][0], max(stop for _, stop in there))
    gaps = minus([whole], there)
    for i, row in found:
        draft.replace(i, row, [])
    draft.trim(labels.rivals(behaviour), gaps)
    comment = "; ".join(dict.fromkeys(filter(None, (row["comment"] for row in rows))))
    columns = {name: rows[0][name] for name in kept}
    draft.add(behaviour, *whole, **columns, comment=comment, source=_source_of(rows))
    draft.observe(labels.group(behaviour), gaps)
    text = f"Merged {len(rows)} bouts of {behaviour!r}{_whose(subject)} {_place([whole])}"
    return draft.change(text)


def move_edges(
    labels: Labelled, bout: int, *, start: int | None = None, stop: int | None = None
) -> Change:
    """Give a bout another first frame or another end; it keeps its other columns.

    Frames that it leaves count as observed, so the behaviour is absent there. Where it grows, it
    takes up bouts of the same kind, and cuts away the rest of an exclusive group. An automated bout
    becomes a curated one.

    Raises
    ------
    LabelError
        If the bout is unknown or another annotator's, or nothing of it would be left.
    """
    row = _own_row(labels, bout)
    draft = Draft(labels, row["subject"])
    old = (row["start_frame"], row["stop_frame"])
    wanted = (old[0] if start is None else int(start), old[1] if stop is None else int(stop))
    inside = draft.within([wanted])
    if not inside:
        raise LabelError(
            "A bout needs at least one frame of its recording",
            found=f"{row['behaviour']!r} from frame {wanted[0]} to {wanted[1]}",
            remedy="Erase it if it is to go.",
        )
    (new,) = inside
    behaviour, grown, left = row["behaviour"], minus([new], [old]), minus([old], [new])
    if new == old:
        return draft.change(f"The bout of {behaviour!r} is there already")
    draft.replace(bout, row, [])
    draft.trim(labels.rivals(behaviour), grown)
    source = "curated" if row["source"] == "automated" else row["source"]
    draft.put(behaviour, [new], source, like=row, join=grown)
    draft.observe(labels.group(behaviour), grown)
    draft.observe([behaviour], left)
    text = f"Moved {behaviour!r}{_whose(row['subject'])} to frames {new[0]} to {new[1]}"
    return draft.change(text)


def remove_bouts(labels: Labelled, bouts: Sequence[int]) -> Change:
    """Take whole bouts away; their frames count as observed, so the behaviours are absent there.

    A `LabelError` if one is unknown or another annotator's.
    """
    rows = {i: _own_row(labels, i) for i in dict.fromkeys(bouts)}
    changes = []
    for subject in dict.fromkeys(row["subject"] for row in rows.values()):
        draft = Draft(labels, subject)
        for i, row in rows.items():
            if row["subject"] == subject:
                draft.replace(i, row, [])
                draft.observe([row["behaviour"]], [(row["start_frame"], row["stop_frame"])])
        changes.append(draft.change("Removed"))
    count = f"{len(rows)} bouts of " if len(rows) > 1 else ""
    named = _named([row["behaviour"] for row in rows.values()]) if rows else "nothing"
    return combined(changes, f"Removed {count}{named}")


def accept_bout(labels: Labelled, frames: Frames, behaviour: str, subject: str = "") -> Change:
    """Take up a predicted bout as a ``curated`` one; its frames count as observed."""
    change = label(labels, [frames], behaviour, subject, source="curated")
    text = f"Accepted {behaviour!r}{_whose(subject)} {_place([frames])}"
    return replace(change, description=text)


def reject_bout(labels: Labelled, frames: Frames, behaviour: str, subject: str = "") -> Change:
    """Say that a predicted bout is none: the behaviour is absent in its frames."""
    change = erase(labels, [frames], [behaviour], subject)
    text = f"Rejected {behaviour!r}{_whose(subject)} {_place([frames])}"
    return replace(change, description=text)


def rename_behaviour(bouts: pd.DataFrame, spans: pd.DataFrame, old: str, new: str) -> Change:
    """Give the labels of one behaviour another name, in the recordings whose tables are given."""
    gone, bare = bouts.loc[bouts["behaviour"] == old], spans.loc[spans["behaviour"] == old]
    return Change(
        tuple(int(i) for i in gone.index),
        tuple(int(i) for i in bare.index),
        tuple(_rows(gone.assign(behaviour=new))),
        tuple(_rows(bare.assign(behaviour=new))),
        f"Renamed {old!r} to {new!r}",
    )


def _rows(table: pd.DataFrame) -> list[Row]:
    return [{str(c): v for c, v in row.items()} for row in table.to_dict("records")]


def _source_of(rows: Sequence[Row]) -> str:
    """The source of bouts that become one: ``manual`` unless they agree on another."""
    sources = {row["source"] for row in rows}
    return sources.pop() if len(sources) == 1 else "manual"


def _place(frames: Sequence[Frames]) -> str:
    if not frames:
        return "nowhere"
    first, last = frames[0][0], frames[-1][1]
    if len(frames) > 1:
        return f"in {len(frames)} spans from frame {first} to {last}"
    return f"at frame {first}" if last == first + 1 else f"from frame {first} to {last}"


def _whose(subject: str) -> str:
    return f" of {subject}" if subject else ""


def _named(behaviours: Sequence[str], ethogram: Ethogram | None = None) -> str:
    names = list(dict.fromkeys(behaviours))
    if not names or (ethogram is not None and set(names) == set(ethogram.names)):
        return "all behaviours"
    return ", ".join(map(repr, names)) if len(names) < 4 else f"{len(names)} behaviours"


def _own_row(labels: Labelled, bout: int) -> Row:
    """The row of a bout that may be changed."""
    if bout not in labels.bouts.index:
        raise LabelError(
            "The bout is not there any more",
            found=f"number {bout} in {labels.recording}",
            remedy="Look at the labels again. Nothing was changed.",
        )
    row: Row = {str(c): v for c, v in labels.bouts.loc[[bout]].to_dict("records")[0].items()}
    if not labels.may_change(row["annotator"]):
        raise LabelError(
            f"{row['behaviour']!r} from frame {row['start_frame']} to {row['stop_frame']} is "
            f"{row['annotator']}'s label",
            expected=f"a label of {labels.annotator}",
            remedy=f"Label as {row['annotator']}, or without a name, to change it.",
        )
    return row
