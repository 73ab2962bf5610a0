"""What the label dock says of each behaviour: its labels, and its state at a frame; no Qt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ethoprism.annotation import bout_totals
from ethoprism.edit_rows import rows_in
from ethoprism.ethogram import Behaviour
from napari_ethoprism.keymap import KeyMap, portable_key
from napari_ethoprism.label_ethogram import unknown_names
from napari_ethoprism.session import Session


@dataclass(frozen=True)
class Summary:
    """One behaviour's row.

    Attributes
    ----------
    behaviour
        As the ethogram has it.
    key
        Its key as it is shown, or empty.
    group
        Number of its exclusive group, or -1.
    rivals
        The others of that group.
    bouts, seconds
        Its bouts of the subject in the recording that is shown, and how long they last.
    known
        Whether the ethogram has it.
    """

    behaviour: Behaviour
    key: str
    group: int
    rivals: tuple[str, ...]
    bouts: int
    seconds: float
    known: bool = True


@dataclass(frozen=True)
class Now:
    """What is labelled and predicted at the frame that is shown, by behaviour.

    ``present`` and ``observed`` are of the focal subject; ``probability`` is of the shown
    prediction of that subject.
    """

    present: frozenset[str] = frozenset()
    observed: frozenset[str] = frozenset()
    probability: Mapping[str, float] | None = None

    def text(self, names: tuple[str, ...]) -> str:
        """In words: what is present, and what nobody has looked for."""
        present = [name for name in names if name in self.present]
        unseen = [n for n in names if n not in self.present and n not in self.observed]
        if len(unseen) == len(names):
            return "not observed"
        text = ", ".join(present) or "none"
        return f"{text} (not observed: {', '.join(unseen)})" if unseen else text


def summaries(session: Session) -> list[Summary]:
    """The rows, in the ethogram's order; names that it lacks come last."""
    project, labels, entry = session.project, session.labels, session.entry
    if project is None:
        return []
    ethogram = project.ethogram
    totals: dict[str, tuple[int, float]] = {}
    unknown: tuple[str, ...] = ()
    if labels is not None and entry is not None and session.recording is not None:
        bouts = labels.bouts(entry.id)
        mine = bouts.loc[bouts["subject"] == session.subject]
        totals = bout_totals(mine, session.recording.frame_times)
        unknown = unknown_names(project, labels, entry.id)
    groups = {name: i for i, group in enumerate(ethogram.exclusive) for name in group}
    keys = [behaviour.key for behaviour in ethogram.behaviours]
    rows = []
    for behaviour in ethogram.behaviours:
        group = groups.get(behaviour.name, -1)
        members = ethogram.exclusive[group] if group >= 0 else ()
        rivals = tuple(n for n in members if n != behaviour.name)
        count, seconds = totals.get(behaviour.name, (0, 0.0))
        key = portable_key(behaviour.key, keys)
        rows.append(Summary(behaviour, key, group, rivals, count, seconds))
    for name in unknown:
        count, seconds = totals.get(name, (0, 0.0))
        rows.append(Summary(Behaviour(name, colour="#999999"), "", -1, (), count, seconds, False))
    return rows


def now(session: Session) -> Now:
    """What is known of the frame that is shown."""
    labels, entry, frame = session.labels, session.entry, session.frame
    if labels is None or entry is None or frame is None:
        return Now()
    here = [(frame, frame + 1)]
    present, observed = (
        frozenset(
            row["behaviour"] for _, row in rows_in(table, here) if row["subject"] == session.subject
        )
        for table in (labels.bouts(entry.id), labels.spans(entry.id))
    )
    for shown in session.predictions:
        prediction = shown.prediction
        mine = shown.recording == entry.id and prediction.subject in ("", session.subject)
        if mine and frame < len(prediction.covered) and prediction.covered[frame]:
            row = prediction.probability[frame]
            chances = dict(zip(prediction.behaviours, map(float, row), strict=True))
            return Now(present, observed, chances)
    return Now(present, observed)


def key_warning(session: Session, keymap: KeyMap, key: str, name: str) -> str:
    """What else a key does, if a behaviour is given it; empty if nothing."""
    if not key or session.project is None:
        return ""
    others = [b for b in session.project.ethogram.behaviours if b.name != name]
    text = portable_key(key, [b.key for b in others])
    for behaviour in others:
        if portable_key(behaviour.key, [key]) == text:
            return f"{text} is the key of {behaviour.name!r}."
    for action in keymap.find(text):
        if not action.name.startswith("behaviour:"):
            return f"{text} also does “{action.title}”. The behaviour goes first."
    return ""


def duration(seconds: float) -> str:
    """Seconds as they are read: 4.2 s, 3:07, 1:02:45."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"
