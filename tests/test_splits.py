"""Splits by groups: nothing that belongs together is torn apart, and every fold is tested once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.splits import (
    fold_blocks,
    fold_groups,
    groups_by_pattern,
    groups_by_shared,
    member_blocks,
    member_groups,
    refuse_frames,
    split_groups,
)


def _states(names: list[str], rows: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: (rng.random((rows, 2)) < 0.3).astype(np.int8) for name in names}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=6, max_size=12), st.integers(0, 9))
def test_a_group_is_in_one_part(labels: list[int], seed: int):
    labels = [0, 1, 2, *labels]
    names = [f"r{i}" for i in range(len(labels))]
    groups = dict(zip(names, map(str, labels), strict=True))
    segments = split_groups(_states(names), groups, test_fraction=0.2, seed=seed)
    assert sorted(s.recording for s in segments) == sorted(names)
    assert {s.part for s in segments} == {"train", "validation", "test"}
    parts = {(groups[s.recording], s.part) for s in segments}
    assert len(parts) == len(set(labels))


def test_the_group_of_a_held_out_recording_is_not_trained_on():
    states = _states(["a1", "a2", "b1", "c1"])
    groups = {name: name[0] for name in states}
    segments = split_groups(states, groups, test=("a1",))
    assert {s.recording: s.part for s in segments}["a1"] == "test"
    assert "a2" not in {s.recording for s in segments}
    with pytest.raises(InputError, match="more recordings"):
        split_groups(states, groups, test=("a1", "b1"))


@pytest.mark.parametrize("k", [2, 3, 4])
def test_each_group_is_tested_once_and_tuned_on_in_other_folds_only(k: int):
    states = _states([f"{g}{i}" for g in "abcd" for i in range(2)])
    groups = {name: name[0] for name in states}
    tested: list[str] = []
    for split in fold_groups(states, groups, k):
        mine = {s.recording for s in split if s.part == "test"}
        tested += sorted(mine)
        assert {s.part for s in split} == {"train", "validation", "test"}
        by_group = {(groups[s.recording], s.part) for s in split}
        assert len(by_group) == 4
    assert sorted(tested) == sorted(states)
    with pytest.raises(InputError, match="cannot be 5 folds"):
        fold_groups(states, groups, 5)


def test_networks_of_an_ensemble_share_the_test_and_take_turns_in_validation():
    states = _states(list("abcdef"))
    groups = {name: name for name in states}
    splits = member_groups(states, groups, 3, test=("f",))
    validated: list[str] = []
    for split in splits:
        assert [s.recording for s in split if s.part == "test"] == ["f"]
        validated += [s.recording for s in split if s.part == "validation"]
    assert sorted(validated) == list("abcde")


def test_folds_of_blocks_are_a_gap_apart_and_cover_the_recording():
    states = _states(["r"], 1000)["r"]
    tested = np.zeros(1000, int)
    for split in fold_blocks("r", states, 5, gap=9):
        for a in split:
            if a.part == "test":
                tested[a.start : a.stop] += 1
            for b in split:
                if a.part != b.part:
                    assert b.start - a.stop >= 9 or a.start - b.stop >= 9
    assert tested.max() == 1
    assert (tested == 0).sum() <= 4 * 9
    members = member_blocks("r", states, 4, gap=9)
    tests = [[(s.start, s.stop) for s in split if s.part == "test"] for split in members]
    assert all(
        len(found) and {a // 100 for a, _ in found} == {a // 100 for a, _ in tests[0]}
        for found in tests
    )


def test_a_pattern_finds_what_stays_together():
    names = ["mouse1_day1", "mouse1_day2", "mouse2_day1"]
    assert groups_by_pattern(names, "^(mouse[0-9]+)_") == dict(
        zip(names, ["mouse1", "mouse1", "mouse2"], strict=True)
    )
    assert groups_by_pattern(names, "day.")[names[1]] == "day2"
    with pytest.raises(InputError, match="finds nothing in 'mouse2_day1'"):
        groups_by_pattern(names, "mouse1")
    with pytest.raises(InputError, match="no regular expression"):
        groups_by_pattern(names, "(")


def test_recordings_that_share_an_animal_by_way_of_others_stay_together():
    found = groups_by_shared(
        {"r1": {"a", "b"}, "r2": {"c"}, "r3": {"b", "d"}, "r4": {"d"}, "r5": {"e"}}, "animals"
    )
    assert found["r1"] == found["r3"] == found["r4"]
    assert len({found["r1"], found["r2"], found["r5"]}) == 3
    with pytest.raises(InputError, match=r"which animals 'r2' shows.*--split-pattern"):
        groups_by_shared({"r1": {"a"}, "r2": set()}, "animals")


def test_a_split_by_frames_is_refused_with_the_reason():
    with pytest.raises(InputError, match=r"neighbour that was trained on.*--split recordings"):
        refuse_frames()
