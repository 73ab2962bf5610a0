"""Splits share no frame between parts; scores agree with their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.errors import InputError
from ethoprism.evaluate import (
    Segment,
    best_threshold,
    chance_f1,
    frame_scores,
    split_blocks,
)
from ethoprism.splits import split_groups


def _states(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    bouts = np.repeat(rng.random((rows // 20 + 1, 2)) < 0.3, 20, axis=0)[:rows]
    return bouts.astype(np.int8)


@settings(max_examples=40, deadline=None)
@given(st.integers(200, 900), st.integers(0, 9), st.integers(0, 20))
def test_blocks_of_different_parts_are_a_gap_apart(rows: int, gap: int, seed: int):
    segments = split_blocks("r", _states(rows), gap=gap, seed=seed)
    assert {s.part for s in segments} == {"train", "validation", "test"}
    for a in segments:
        assert 0 <= a.start < a.stop <= rows
        for b in segments:
            if a.part != b.part:
                assert b.start - a.stop >= gap or a.start - b.stop >= gap


def test_every_behaviour_gets_into_every_part_where_blocks_allow():
    states = np.zeros((1000, 2), np.int8)
    states[::50, 0] = 1
    for block in (0, 3, 7):  # a rare behaviour, in three of ten blocks only
        states[block * 100 + 40 : block * 100 + 60, 1] = 1
    segments = split_blocks("r", states, gap=5)
    for part in ("train", "validation", "test"):
        rows = np.concatenate([states[s.start : s.stop] for s in segments if s.part == part])
        assert (rows == 1).any(axis=0).all()


def test_given_blocks_are_tested_once_each():
    states = _states(1000)
    tested = [
        s
        for fold in range(5)
        for s in split_blocks("r", states, gap=4, test_blocks=(2 * fold, 2 * fold + 1))
        if s.part == "test"
    ]
    assert len(tested) == 10
    assert len({s.start for s in tested}) == 10


def test_a_recording_too_short_for_its_gaps_is_refused():
    with pytest.raises(InputError, match="too short"):
        split_blocks("r", _states(200), gap=25)


def test_recordings_are_never_divided():
    states = {name: _states(100, i) for i, name in enumerate("abcde")}
    segments = split_groups(states, {name: name for name in states}, test=["e"], seed=3)
    assert sorted(s.recording for s in segments) == list("abcde")
    assert all((s.start, s.stop) == (0, 100) for s in segments)
    assert [s for s in segments if s.part == "test"] == [Segment("e", 0, 100, "test")]
    assert sum(s.part == "validation" for s in segments) == 1
    with pytest.raises(InputError, match="at least 2"):
        split_groups({"a": _states(10)}, {"a": "a"})


@given(
    arrays(bool, 50), arrays(bool, 50), arrays(np.float32, 50, elements=st.floats(0, 1, width=32))
)
def test_unknown_frames_do_not_count(truth: np.ndarray, called: np.ndarray, p: np.ndarray):
    known = np.arange(50) % 3 > 0
    states = np.where(known, truth, UNOBSERVED).astype(np.int8)[:, None]
    predicted = called.astype(np.int8)[:, None]
    row = frame_scores(states, predicted, p[:, None], ["x"]).to_dict("index")["x"]
    assert row["frames"] == known.sum()
    assert row["present"] == truth[known].sum()
    if truth[known].any():
        assert row["f1"] == pytest.approx(f1_score(truth[known], called[known]))
    else:
        assert np.isnan(row["f1"])


def test_chance_is_the_best_that_ignores_the_video():
    rng = np.random.default_rng(0)
    truth = rng.random(200_000) < 0.2
    guesses = [f1_score(truth, rng.random(len(truth)) < q) for q in (0.1, 0.5, 0.9, 1.0)]
    assert max(guesses) == pytest.approx(chance_f1(0.2), abs=0.005)
    assert guesses == sorted(guesses)


@given(arrays(bool, 30), arrays(np.float32, 30, elements=st.sampled_from([0.1, 0.2, 0.5, 0.9])))
def test_the_best_threshold_is_as_good_as_any(truth: np.ndarray, probability: np.ndarray):
    threshold = best_threshold(truth, probability)
    assert 0 < threshold < 1
    if truth.any() and not truth.all():
        mine = f1_score(truth, probability >= threshold)
        others = [f1_score(truth, probability >= t) for t in np.linspace(0.01, 0.99, 25)]
        assert mine >= max(others) - 1e-9


def test_scores_count_bouts():
    states = np.array([PRESENT, PRESENT, ABSENT, PRESENT, UNOBSERVED, PRESENT], np.int8)[:, None]
    table = frame_scores(states, np.ones((6, 1), np.int8), np.ones((6, 1), np.float32), ["x"])
    assert table.loc["x", "bouts"] == 3
