"""Edits against a model that knows frames one by one, and what they leave alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethoprism import edits
from ethoprism.annotation import (
    ABSENT,
    BOUT_COLUMNS,
    PRESENT,
    UNOBSERVED,
    bout_table,
    frame_states,
    span_table,
)
from ethoprism.edit_rows import Change, Labelled, Row
from ethoprism.errors import LabelError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.store import AnnotationStore

N = 40
NAMES = ("walk", "rest", "groom", "jump")
ETHOGRAM = Ethogram(
    tuple(Behaviour(n, kind="point" if n == "jump" else "state") for n in NAMES),
    (("walk", "rest"),),
)
SUBJECTS = ("", "a")

ranges = st.tuples(st.integers(0, N - 1), st.integers(1, 12)).map(
    lambda p: (p[0], min(p[0] + p[1], N))
)
few = settings(max_examples=40)  # each builds tables
some_ranges = st.lists(ranges, min_size=1, max_size=4)
names = st.sampled_from(NAMES)


Rows = list[dict[str, Any]]


def _row(**more: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    parts = st.fixed_dictionaries(
        {
            "subject": st.sampled_from(SUBJECTS),
            "behaviour": names,
            "annotator": st.sampled_from(["", "anna", "bob"]),
            **more,
        }
    )
    return st.tuples(parts, ranges).map(
        lambda p: {"recording": "r", **p[0], "start_frame": p[1][0], "stop_frame": p[1][1]}
    )


def tables() -> st.SearchStrategy[tuple[Rows, Rows]]:
    """Bouts and spans of several people, that overlap as real ones do and worse."""
    bout = _row(
        source=st.sampled_from(["manual", "automated", "curated"]),
        modifiers=st.sampled_from(["", "fast"]),
        comment=st.sampled_from(["", "seen twice"]),
    )
    return st.tuples(st.lists(bout, max_size=8), st.lists(_row(), max_size=6))


def _indexed(table: pd.DataFrame) -> pd.DataFrame:
    table.index = pd.Index(range(10, 10 + len(table)), dtype="int64")
    return table


def _labelled(made: tuple[Any, Any], annotator: str = "") -> Labelled:
    bouts, spans = made
    return Labelled(
        "r", _indexed(bout_table(bouts)), _indexed(span_table(spans)), ETHOGRAM, annotator, N
    )


def _done(labels: Labelled, change: Change) -> Labelled:
    """The labels after a change, as the store would make them."""
    bouts = labels.bouts.drop(index=list(change.remove_bouts))
    spans = labels.spans.drop(index=list(change.remove_spans))
    arguments = change.arguments()
    tables = [(bouts, arguments["add_bouts"]), (spans, arguments["add_spans"])]
    joined = [
        table if more is None else pd.concat([table, more.set_axis(range(1000, 1000 + len(more)))])
        for table, more in tables
    ]
    joined = [t.assign(annotator=t["annotator"].replace("", labels.annotator)) for t in joined]
    return Labelled("r", *joined, ETHOGRAM, labels.annotator, N)


def _states(labels: Labelled, subject: str, who: Sequence[str] | None = None) -> np.ndarray:
    bouts, spans = labels.bouts, labels.spans
    if who is not None:
        bouts, spans = (t.loc[t["annotator"].isin(list(who))] for t in (bouts, spans))
    return frame_states(bouts, spans, NAMES, N, subject)


def _mask(frames: Sequence[tuple[int, int]]) -> np.ndarray:
    mask = np.zeros(N, dtype=bool)
    for start, stop in frames:
        mask[start:stop] = True
    return mask


@few
@given(tables(), some_ranges, st.sampled_from(["walk", "rest", "groom"]))
def test_label_makes_present_cuts_rivals_and_touches_nothing_else(made, frames, behaviour):
    before = _labelled(made)
    after = _done(before, edits.label(before, frames, behaviour, "a"))
    expected, inside = _states(before, "a"), _mask(frames)
    for rival in before.group(behaviour):
        expected[inside, NAMES.index(rival)] = ABSENT
    expected[inside, NAMES.index(behaviour)] = PRESENT
    np.testing.assert_array_equal(_states(after, "a"), expected)
    np.testing.assert_array_equal(_states(after, ""), _states(before, ""))


@few
@given(tables(), some_ranges, st.sampled_from(["walk", "rest", "groom"]))
def test_labelling_twice_changes_nothing_more(made, frames, behaviour):
    before = _labelled(made, "anna")
    once = _done(before, edits.label(before, frames, behaviour, "a"))
    assert not edits.label(once, frames, behaviour, "a")


@few
@given(tables(), some_ranges, st.lists(names, max_size=2, unique=True))
def test_erase_makes_absent_and_clear_makes_unobserved(made, frames, behaviours):
    before, inside = _labelled(made), _mask(frames)
    columns = [NAMES.index(n) for n in behaviours or NAMES]

    erased = _states(_done(before, edits.erase(before, frames, behaviours, "a")), "a")
    expected = _states(before, "a")
    for column in columns:
        there = inside if behaviours else inside & (expected[:, column] == PRESENT)
        expected[there, column] = ABSENT
    np.testing.assert_array_equal(erased, expected)

    cleared = _states(_done(before, edits.clear(before, frames, behaviours, "a")), "a")
    expected = _states(before, "a")
    for column in columns:
        expected[inside, column] = UNOBSERVED
    np.testing.assert_array_equal(cleared, expected)


@few
@given(tables(), some_ranges, st.lists(names, min_size=1, max_size=3, unique=True))
def test_observed_spans_never_change_what_is_present(made, frames, behaviours):
    before, inside = _labelled(made), _mask(frames)
    columns = [NAMES.index(n) for n in behaviours]
    states = _states(before, "a")
    absent = np.zeros_like(states, dtype=bool)
    for column in columns:
        absent[inside, column] = True

    marked = _done(before, edits.mark_observed(before, frames, behaviours, "a"))
    expected = np.where(absent & (states != PRESENT), ABSENT, states)
    np.testing.assert_array_equal(_states(marked, "a"), expected)

    taken = _done(marked, edits.mark_unobserved(marked, frames, behaviours, "a"))
    expected = np.where(absent & (states != PRESENT), UNOBSERVED, states)
    np.testing.assert_array_equal(_states(taken, "a"), expected)


@few
@given(tables(), st.integers(0, N), st.lists(names, max_size=2, unique=True))
def test_split_changes_no_state_and_keeps_every_column(made, frame, behaviours):
    before = _labelled(made)
    change = edits.split(before, frame, behaviours, "a")
    after = _done(before, change)
    np.testing.assert_array_equal(_states(after, "a"), _states(before, "a"))
    assert len(change.add_bouts) == 2 * len(change.remove_bouts)
    for row in change.add_bouts:
        assert frame in (row["start_frame"], row["stop_frame"])
    kept = [c for c in BOUT_COLUMNS if c not in ("start_frame", "stop_frame", "modified")]
    gone = before.bouts.loc[list(change.remove_bouts), kept].to_dict("records")
    assert [{c: row[c] for c in kept} for row in change.add_bouts] == [
        row for row in gone for _ in (0, 1)
    ]


@few
@given(tables(), ranges, st.sampled_from(["walk", "rest", "groom"]))
def test_merge_fills_gaps_only_between_bouts_that_agree(made, frames, behaviour):
    before = _labelled(made)
    change = edits.merge(before, frames, behaviour, "a")
    after = _done(before, change)
    states, merged = _states(before, "a"), _states(after, "a")
    column = NAMES.index(behaviour)
    assert (merged[states[:, column] == PRESENT, column] == PRESENT).all()
    filled = (merged[:, column] == PRESENT) & (states[:, column] != PRESENT)
    for rival in before.rivals(behaviour):
        assert (merged[filled, NAMES.index(rival)] == ABSENT).all()
    np.testing.assert_array_equal(merged[~filled], states[~filled])
    joined = [r for r in change.add_bouts if r["behaviour"] == behaviour]
    assert len(joined) <= 1


@few
@given(tables(), st.data())
def test_moving_an_edge_keeps_the_bout_and_says_absent_where_it_leaves(made, data):
    before = _labelled(made)
    if not len(before.bouts):
        return
    bout = data.draw(st.sampled_from(list(before.bouts.index)))
    row = before.bouts.loc[bout]
    start = data.draw(st.integers(0, N - 1))
    stop = data.draw(st.integers(start + 1, N))
    change = edits.move_edges(before, bout, start=start, stop=stop)
    after = _done(before, change)
    subject, behaviour = row["subject"], row["behaviour"]
    states, moved = _states(before, subject), _states(after, subject)
    column = NAMES.index(behaviour)
    assert (moved[start:stop, column] == PRESENT).all()
    old = _mask([(row["start_frame"], row["stop_frame"])])
    grown, left = _mask([(start, stop)]) & ~old, old & ~_mask([(start, stop)])
    assert (moved[left, column] != UNOBSERVED).all()
    for rival in before.rivals(behaviour):
        assert (moved[grown, NAMES.index(rival)] == ABSENT).all()
    np.testing.assert_array_equal(moved[~grown & ~left], states[~grown & ~left])
    if change:
        assert any(
            r["modifiers"] == row["modifiers"] and row["comment"] in r["comment"]
            for r in change.add_bouts
            if r["behaviour"] == behaviour
        )


@few
@given(tables(), some_ranges, st.sampled_from(["label", "erase", "clear", "unobserve"]))
def test_a_named_annotator_never_changes_what_another_signed(made, frames, command):
    before = _labelled(made, "anna")
    do: dict[str, Callable[[], Change]] = {
        "label": lambda: edits.label(before, frames, "walk", "a"),
        "erase": lambda: edits.erase(before, frames, (), "a"),
        "clear": lambda: edits.clear(before, frames, (), "a"),
        "unobserve": lambda: edits.mark_unobserved(before, frames, (), "a"),
    }
    change = do[command]()
    for table, ids, rows in (
        (before.bouts, change.remove_bouts, change.add_bouts),
        (before.spans, change.remove_spans, change.add_spans),
    ):
        assert not (table.loc[list(ids), "annotator"] == "bob").any()
        assert all(row["annotator"] != "bob" for row in rows)
    after = _done(before, change)
    np.testing.assert_array_equal(_states(after, "a", ["bob"]), _states(before, "a", ["bob"]))
    if command == "erase":
        mine = before.bouts["subject"] == "a"
        inside = _mask(frames)
        under = [
            inside[r["start_frame"] : r["stop_frame"]].any()
            for _, r in before.bouts.loc[mine & (before.bouts["annotator"] == "bob")].iterrows()
        ]
        assert change.left == (("bob",) if any(under) else ())


@few
@given(tables(), some_ranges, st.lists(st.integers(0, N - 1), max_size=4))
def test_pieces_keep_what_other_programs_wrote(made, frames, points):
    before = _labelled(made)
    for change in (
        edits.erase(before, frames, (), "a"),
        edits.clear(before, frames, (), "a"),
        edits.label(before, frames, "walk", "a"),
        edits.mark_points(before, points, "jump", "a"),
    ):
        pieces = {(r["modifiers"], r["comment"], r["annotator"]) for r in change.add_bouts}
        known = {
            (r["modifiers"], r["comment"], r["annotator"]) for r in before.bouts.to_dict("records")
        }
        assert pieces <= known | {("", "", ""), ("", "seen twice", "")}


def test_merged_bouts_join_what_touches_and_keep_comments():
    frames = [(2, 6, ""), (9, 12, "left paw"), (20, 22, "")]
    rows: Rows = [
        {"recording": "r", "behaviour": "groom", "start_frame": start, "stop_frame": stop}
        | {"comment": comment}
        for start, stop, comment in frames
    ]
    bouts = _indexed(bout_table(rows))
    change = edits.label(_labelled((bouts, span_table())), [(6, 10)], "groom")
    assert change.remove_bouts == (10, 11)
    (row,) = change.add_bouts
    assert (row["start_frame"], row["stop_frame"], row["comment"]) == (2, 12, "left paw")
    (span,) = change.add_spans
    assert (span["behaviour"], span["start_frame"], span["stop_frame"]) == ("groom", 6, 10)
    assert change.description == "Labelled 'groom' from frame 6 to 10"


def test_modifiers_stay_with_their_frames_and_automated_bouts_give_way():
    row: Row = {"recording": "r", "behaviour": "groom", "start_frame": 0, "stop_frame": 10}
    bouts = _indexed(
        bout_table(
            [
                {**row, "modifiers": "fast"},
                {**row, "start_frame": 20, "stop_frame": 30, "source": "automated"},
            ]
        )
    )
    change = edits.label(_labelled((bouts, span_table())), [(5, 25)], "groom")
    assert change.remove_bouts == (11,)
    made = {(r["start_frame"], r["stop_frame"], r["source"]) for r in change.add_bouts}
    assert made == {(10, 25, "manual"), (25, 30, "automated")}


def test_points_are_one_frame_and_not_doubled():
    before = _labelled((bout_table(), span_table()))
    change = edits.mark_points(before, [7, 3, 7, N], "jump", "a")
    assert [(r["start_frame"], r["stop_frame"]) for r in change.add_bouts] == [(3, 4), (7, 8)]
    after = _done(before, change)
    assert not edits.mark_points(after, [3, 7], "jump", "a")


def test_whole_bouts_go_and_what_is_anothers_is_refused():
    rows = [
        {"recording": "r", "behaviour": "walk", "start_frame": 0, "stop_frame": 9},
        {"recording": "r", "behaviour": "rest", "start_frame": 9, "stop_frame": 12}
        | {"annotator": "bob"},
    ]
    made = (_indexed(bout_table(rows)), span_table())
    after = _done(_labelled(made), edits.remove_bouts(_labelled(made), [10, 11]))
    assert not len(after.bouts)
    assert (_states(after, "")[:9, 0] == ABSENT).all()
    with pytest.raises(LabelError, match="bob's label"):
        edits.remove_bouts(_labelled(made, "anna"), [11])
    with pytest.raises(LabelError, match="bob's label"):
        edits.move_edges(_labelled(made, "anna"), 11, stop=20)
    with pytest.raises(LabelError, match="at least one frame"):
        edits.move_edges(_labelled(made), 10, start=9)
    with pytest.raises(LabelError, match="not there any more"):
        edits.move_edges(_labelled(made), 99, start=9)


def test_predictions_are_accepted_as_curated_and_rejected_as_absent():
    before = _labelled((bout_table(), span_table()), "anna")
    accepted = edits.accept_bout(before, (4, 9), "walk", "a")
    (row,) = accepted.add_bouts
    assert (row["source"], row["annotator"]) == ("curated", "anna")
    after = _done(before, accepted)
    rejected = _done(after, edits.reject_bout(after, (6, 20), "walk", "a"))
    states = _states(rejected, "a")[:, 0]
    assert (states[4:6] == PRESENT).all() and (states[6:20] == ABSENT).all()
    assert (states[20:] == UNOBSERVED).all()


@settings(max_examples=10)
@given(tables(), st.lists(st.tuples(st.sampled_from(["label", "erase", "clear"]), ranges)))
def test_undoing_restores_exactly(tmp_path_factory: Any, made, steps):
    folder: Path = tmp_path_factory.mktemp("store")
    with AnnotationStore(folder / "a.sqlite", {"r": N}) as store:
        if len(made[0]) or len(made[1]):
            start = _labelled(made)
            store.add(start.bouts, start.spans, description="to begin with")
        seen = [(store.bouts("r"), store.spans("r"))]
        for command, frames in steps:
            labels = Labelled("r", *seen[-1], ETHOGRAM, "", N)
            change = (
                edits.label(labels, [frames], "walk", "a")
                if command == "label"
                else getattr(edits, command)(labels, [frames], (), "a")
            )
            if change:
                store.apply(**change.arguments())
                seen.append((store.bouts("r"), store.spans("r")))
        for bouts, spans in reversed(seen[:-1]):
            store.undo()
            pd.testing.assert_frame_equal(store.bouts("r"), bouts)
            pd.testing.assert_frame_equal(store.spans("r"), spans)


def test_renaming_takes_all_labels_along():
    rows = [
        {"recording": "r", "behaviour": n, "start_frame": 0, "stop_frame": 9, "comment": n}
        for n in ("walk", "rest")
    ]
    bouts = _indexed(bout_table(rows))
    spans = _indexed(span_table([{k: v for k, v in r.items() if k != "comment"} for r in rows]))
    change = edits.rename_behaviour(bouts, spans, "walk", "stroll")
    assert (change.remove_bouts, change.remove_spans) == ((10,), (10,))
    assert [(r["behaviour"], r["comment"]) for r in change.add_bouts] == [("stroll", "walk")]
    assert [r["behaviour"] for r in change.add_spans] == ["stroll"]
