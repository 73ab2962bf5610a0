"""Hysteresis, short bouts and gaps, and the likeliest sequence, each against a plain version."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import mask_of, runs
from ethoprism.postprocess import Chain, hysteresis, runs_by_column, smooth, viterbi

FRAMES = 40
LENGTHS = st.lists(st.integers(0, 7), min_size=3, max_size=3)


def _smooth_one(present: np.ndarray, covered: np.ndarray, bout: int, gap: int) -> np.ndarray:
    """Gap by gap, then bout by bout."""
    result = present & covered
    for start, stop in runs(~result & covered):
        inside = start > 0 and stop < len(result) and result[start - 1] and result[stop]
        if inside and stop - start < gap:
            result[start:stop] = True
    for start, stop in runs(result):
        if stop - start < bout:
            result[start:stop] = False
    return result


@given(arrays(bool, (FRAMES, 3)), arrays(bool, FRAMES), LENGTHS, LENGTHS)
def test_smoothing_is_that_of_one_column_after_another(
    present: np.ndarray, covered: np.ndarray, bouts: list[int], gaps: list[int]
):
    found = smooth(present, covered, bouts, gaps)
    for column in range(3):
        expected = _smooth_one(present[:, column], covered, bouts[column], gaps[column])
        np.testing.assert_array_equal(found[:, column], expected)


@given(arrays(bool, (FRAMES, 2)), arrays(bool, (FRAMES, 2)), arrays(bool, FRAMES))
def test_hysteresis_keeps_the_runs_that_reach_the_threshold(
    high: np.ndarray, rest: np.ndarray, covered: np.ndarray
):
    low = high | rest
    found = hysteresis(high, low, covered)
    for column in range(2):
        expected = np.zeros(FRAMES, bool)
        for start, stop in runs(low[:, column] & covered):
            expected[start:stop] = high[start:stop, column].any()
        np.testing.assert_array_equal(found[:, column], expected)


@given(arrays(bool, st.tuples(st.integers(0, 20), st.integers(0, 4))))
def test_runs_of_columns_are_all_that_is_true(mask: np.ndarray):
    starts, stops, columns = runs_by_column(mask)
    for column in range(mask.shape[1]):
        mine = np.stack([starts, stops], axis=1)[columns == column]
        np.testing.assert_array_equal(mine, runs(mask[:, column]))
        np.testing.assert_array_equal(mask_of(mine, len(mask)), mask[:, column])


def _value(path: tuple[int, ...], scores: np.ndarray, moves: np.ndarray, first: np.ndarray):
    total = first[path[0]] + sum(scores[i, s] for i, s in enumerate(path))
    return total + sum(moves[a, b] for a, b in pairwise(path))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 7), st.integers(2, 3), st.integers(0, 10**6))
def test_no_sequence_is_better_than_viterbis(n: int, k: int, seed: int):
    rng = np.random.default_rng(seed)
    scores, moves, first = (rng.normal(size=s) for s in ((n, k), (k, k), (k,)))
    found = viterbi(scores, moves, first)
    best = max(_value(path, scores, moves, first) for path in product(range(k), repeat=n))
    assert _value(tuple(found.tolist()), scores, moves, first) == pytest.approx(best)


def test_long_sequences_are_decoded_as_row_by_row():
    rng = np.random.default_rng(0)
    scores, moves, first = (rng.normal(size=s) for s in ((1003, 4), (4, 4), (4,)))
    best, came = first + scores[0], []
    for row in scores[1:]:
        through = best[:, None] + moves
        came.append(through.argmax(axis=0))
        best = through.max(axis=0) + row
    path = [int(best.argmax())]
    for source in reversed(came):
        path.append(int(source[path[-1]]))
    np.testing.assert_array_equal(viterbi(scores, moves, first), path[::-1])


def _chain(step: int = 1) -> Chain:
    states = np.repeat([0, 1, 0, 2, 1, 0], 30)
    return Chain.learn(("a", "b"), [states], step)


def test_a_chain_bridges_a_doubtful_frame_and_keeps_its_place_in_gaps():
    p = np.full((60, 2), 0.05, np.float32)
    p[10:40, 0] = 0.9
    p[25, 0] = 0.2
    covered = np.ones(60, bool)
    covered[30:33] = False
    state = _chain().decode(p, covered, np.full(2, 0.5, np.float32))
    expected = np.zeros(60, int)
    expected[10:40] = 1
    expected[30:33] = 0
    np.testing.assert_array_equal(state, expected)


def test_a_chain_decodes_sampled_frames_and_repeats_them():
    rows = np.random.default_rng(1).dirichlet([1, 1, 1], 20).astype(np.float32)[:, 1:]
    ok, half = np.ones(20, bool), np.full(2, 0.5, np.float32)
    expected = _chain().decode(rows, ok, half)
    nearest = np.minimum((np.arange(60) + 1) // 3, 19)
    found = _chain(3).decode(rows[nearest], np.ones(60, bool), half)
    np.testing.assert_array_equal(found, expected[nearest])


def test_a_chain_is_the_same_behind_json_and_refuses_what_is_none():
    chain = _chain(2)
    assert Chain.from_dict(chain.to_dict()) == chain
    for change in ({"prior": [1.0, 0.0, 0.0]}, {"step": 0}, {"transition": [[1.0]]}):
        with pytest.raises(ValueError, match="chain"):
            Chain.from_dict({**chain.to_dict(), **change})
