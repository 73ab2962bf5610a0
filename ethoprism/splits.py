"""Splits by what must stay together, and folds of them.

A group is what may not be torn apart: a recording, a session, an animal, or what a pattern finds in
the recordings' names. Each group lies in one part, so nothing of it that was learnt from is tested
on. There is no split by frames: see `refuse_frames`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Int8

from ethoprism.errors import InputError
from ethoprism.evaluate import Part, Segment, best_assignment, present_counts, split_blocks

SPLITS = ("auto", "recordings", "blocks", "animals", "sessions", "pattern")
States = Mapping[str, Int8[np.ndarray, "rows behaviours"]]
Groups = Mapping[str, str]
N_BLOCKS = 10


def refuse_frames() -> None:
    """Raise the error that says why frames are not split one by one."""
    raise InputError(
        "Frames cannot be split one by one: the scores would be of no worth",
        expected="recordings, animals, sessions, a pattern on names, or blocks with a gap",
        found="a split by frames: almost every test frame has a neighbour that was trained on, "
        "so a probe is right by remembering pictures, and fails on the next recording",
        remedy="Use --split recordings, or --split blocks if there is one recording.",
    )


def groups_by_pattern(recordings: Sequence[str], pattern: str) -> dict[str, str]:
    """What a regular expression finds in each name: its first group, or all that it matches.

    Raises
    ------
    InputError
        If it is no regular expression, or finds nothing in a name.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise InputError(
            f"{pattern!r} is no regular expression",
            found=str(error),
            remedy="For example --split-pattern '^(mouse[0-9]+)_' for mouse3_day1 and so on.",
        ) from error
    found = {name: compiled.search(name) for name in recordings}
    missed = [name for name, match in found.items() if match is None]
    if missed:
        raise InputError(
            f"The pattern {pattern!r} finds nothing in {', '.join(map(repr, missed))}",
            expected="a pattern that finds in every name what must stay together",
        )
    return {name: match[match.re.groups and 1] for name, match in found.items() if match}


def groups_by_shared(members: Mapping[str, Collection[str]], what: str) -> dict[str, str]:
    """Recordings that share a member, directly or by way of others, in one group.

    Two animals in one picture are seen together, so whoever shares a recording with either stays
    with both.

    Parameters
    ----------
    members
        The animals in each recording, or whatever else it has.
    what
        The word for them, for the error.

    Raises
    ------
    InputError
        If a recording has none.
    """
    lacking = [name for name, found in members.items() if not found]
    if lacking:
        raise InputError(
            f"Nothing says which {what} {', '.join(map(repr, lacking))} shows",
            expected=f"{what} named in every recording's labels or tracks",
            remedy="Name them, or say what must stay together with --split-pattern.",
        )
    group: dict[str, str] = {}  # of each member
    for found in members.values():
        joined = {group.get(member, member) for member in found}
        label = min(joined)
        for member, mine in list(group.items()):
            if mine in joined:
                group[member] = label
        group.update(dict.fromkeys(found, label))
    return {name: group[min(found)] for name, found in members.items()}


def split_groups(
    states: States,
    groups: Groups,
    *,
    test: Sequence[str] = (),
    test_fraction: float = 0.0,
    validation_fraction: float = 0.2,
    seed: int = 0,
) -> list[Segment]:
    """Whole groups of recordings as parts.

    Parameters
    ----------
    states
        Known states of each recording's rows, by id.
    groups
        The group of each recording.
    test
        Recordings that are neither trained on nor tuned on. The rest of their groups is left out of
        the split entirely.
    test_fraction, validation_fraction
        Shares of the groups to test on, and to stop the training and to set thresholds with.
    seed
        Decides among assignments that serve as well.

    Raises
    ------
    InputError
        If there are too few groups.
    """
    held_out = {groups[name] for name in test}
    counts = _counts(states, groups, held_out)
    n_test = max(1, round(test_fraction * len(counts))) if test_fraction else 0
    n_validation = max(1, round(validation_fraction * len(counts)))
    _require(len(counts), n_test + n_validation + 1, test)
    sizes: dict[Part, int] = {
        "train": len(counts) - n_test - n_validation,
        "validation": n_validation,
        "test": n_test,
    }
    chosen = best_assignment(list(counts.values()), sizes, seed)
    return _segments(states, groups, dict(zip(counts, chosen, strict=True)), test)


def fold_groups(
    states: States, groups: Groups, k: int, *, test: Sequence[str] = (), seed: int = 0
) -> list[list[Segment]]:
    """``k`` splits in which each group is tested on once, tuned on in others (nested).

    Recordings in ``test`` and their groups take no part.
    """
    folds = _folds(states, groups, k, test, seed, least=3)
    splits = []
    for mine in folds:
        rest = {name: rows for name, rows in states.items() if groups[name] not in mine}
        rest = {n: r for n, r in rest.items() if groups[n] not in {groups[t] for t in test}}
        inner = split_groups(rest, groups, seed=seed)
        tested = [Segment(n, 0, len(r), "test") for n, r in states.items() if groups[n] in mine]
        splits.append(inner + tested)
    return splits


def member_groups(
    states: States, groups: Groups, k: int, *, test: Sequence[str] = (), seed: int = 0
) -> list[list[Segment]]:
    """``k`` splits with the same test part, in which each other group is tuned on once."""
    folds = _folds(states, groups, k, test, seed, least=2)
    every = {group for fold in folds for group in fold}
    splits = []
    for mine in folds:
        parts: dict[str, Part] = {g: "validation" if g in mine else "train" for g in every}
        splits.append(_segments(states, groups, parts, test))
    return splits


def fold_blocks(
    recording: str,
    states: Int8[np.ndarray, "rows behaviours"],
    k: int,
    *,
    gap: int,
    seed: int = 0,
) -> list[list[Segment]]:
    """``k`` splits of one recording in which each block is tested on once, tuned on in others."""
    n_blocks, folds = _block_folds(k)
    return [
        split_blocks(recording, states, gap=gap, n_blocks=n_blocks, test_blocks=mine, seed=seed)
        for mine in folds
    ]


def member_blocks(
    recording: str,
    states: Int8[np.ndarray, "rows behaviours"],
    k: int,
    *,
    gap: int,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> list[list[Segment]]:
    """``k`` splits of one recording with the same test blocks, each other block tuned on once."""
    usual = split_blocks(recording, states, gap=gap, test_fraction=test_fraction, seed=seed)
    edges = np.linspace(0, len(states), N_BLOCKS + 1).astype(int)
    middles = (edges[1:] + edges[:-1]) // 2
    tested = [
        i
        for i, middle in enumerate(middles)
        if any(s.start <= middle < s.stop for s in usual if s.part == "test")
    ]
    rest = [i for i in range(N_BLOCKS) if i not in tested]
    _require_folds(k, len(rest), 2)
    return [
        split_blocks(
            recording,
            states,
            gap=gap,
            test_blocks=tested,
            validation_blocks=[int(i) for i in mine],
            seed=seed,
        )
        for mine in np.array_split(rest, k)
    ]


def _block_folds(k: int) -> tuple[int, list[list[int]]]:
    if k < 2:
        _require_folds(k, k, 2)
    n_blocks = max(N_BLOCKS, 2 * k)
    return n_blocks, [[int(i) for i in part] for part in np.array_split(range(n_blocks), k)]


def _folds(
    states: States, groups: Groups, k: int, test: Sequence[str], seed: int, least: int
) -> list[set[str]]:
    """Groups of each fold, with every behaviour shared out evenly."""
    counts = _counts(states, groups, {groups[name] for name in test})
    _require_folds(k, len(counts), least)
    sizes = {i: len(part) for i, part in enumerate(np.array_split(range(len(counts)), k))}
    chosen = best_assignment(list(counts.values()), sizes, seed)
    return [{g for g, c in zip(counts, chosen, strict=True) if c == i} for i in range(k)]


def _counts(states: States, groups: Groups, without: Collection[str]) -> dict[str, np.ndarray]:
    """Frames of each behaviour in each group."""
    counts: dict[str, np.ndarray] = {}
    for name, rows in states.items():
        if groups[name] not in without:
            counts[groups[name]] = counts.get(groups[name], 0) + present_counts(rows)
    return counts


def _segments(
    states: States, groups: Groups, parts: Mapping[str, Part], test: Sequence[str]
) -> list[Segment]:
    segments = []
    for name, rows in states.items():
        part: Part | None = "test" if name in test else parts.get(groups[name])
        if part is not None:
            segments.append(Segment(name, 0, len(rows), part))
    return segments


def _require(found: int, least: int, test: Sequence[str]) -> None:
    if found < least:
        held_out = ", besides those held out for the test" if test else ""
        raise InputError(
            "A split needs more recordings that do not belong together",
            expected=f"at least {least} with labels{held_out}; those of one animal or session count"
            " as one in a split by animals or sessions",
            found=str(found),
            remedy="Label another recording, or split one into blocks with --split blocks.",
        )


def _require_folds(k: int, found: int, least: int) -> None:
    if k < 2 or found < max(k, least):
        raise InputError(
            f"There cannot be {k} folds",
            expected=f"at least 2 folds, and at least {max(k, least)} recordings or groups with "
            "labels, since each fold is left out as a whole",
            found=str(found),
            remedy="Use fewer folds, or label another recording.",
        )
