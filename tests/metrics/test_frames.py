"""Frame scores equal scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, f1_score, precision_score, recall_score

from ethoprism.metrics import frames

pairs = st.integers(1, 40).flatmap(
    lambda n: st.tuples(arrays(bool, n), arrays(bool, n))  # truth, called
)


@given(pairs)
def test_precision_recall_and_f1_are_scikit_learns(pair: tuple[np.ndarray, np.ndarray]):
    truth, called = pair
    hits, present, n_called = (np.array(x.sum()) for x in (truth & called, truth, called))
    nan: Any = {"zero_division": np.nan}
    ours = frames.precision(hits, n_called), frames.recall(hits, present)
    assert np.allclose(
        ours,
        [precision_score(truth, called, **nan), recall_score(truth, called, **nan)],
        equal_nan=True,
    )
    f1 = frames.f1(hits, present, n_called)
    if truth.any():
        assert np.isclose(f1, f1_score(truth, called))
    else:
        assert np.isnan(f1)


scores = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(bool, n),
        arrays(np.float32, n, elements=st.sampled_from([0, 0.25, 0.5, 0.75, 1, 0.1, 0.9])),
    )
)


@given(scores)
def test_average_precision_is_scikit_learns_with_ties(pair: tuple[np.ndarray, np.ndarray]):
    truth, probability = pair
    ours = frames.average_precision(truth, probability)
    if truth.any():
        assert ours == pytest.approx(average_precision_score(truth, probability))
    else:
        assert np.isnan(ours)


@settings(max_examples=50)
@given(scores, st.integers(0, 99))
def test_a_unit_that_is_drawn_twice_counts_twice(pair: tuple[np.ndarray, np.ndarray], seed: int):
    truth, probability = pair
    rng = np.random.default_rng(seed)
    unit = rng.integers(0, 3, len(truth))
    weights = rng.integers(0, 3, (4, 3))
    ranks = frames.Ranks.of(
        [truth[unit == u] for u in range(3)], [probability[unit == u] for u in range(3)]
    )
    for row, value in zip(weights, ranks.average_precision(weights), strict=True):
        again = np.repeat(np.arange(len(truth)), row[unit])
        if truth[again].any():
            assert value == pytest.approx(average_precision_score(truth[again], probability[again]))
        else:
            assert np.isnan(value)


def test_mean_average_precision_leaves_out_background_and_what_is_undefined():
    values = np.array([0.5, 0.9, np.nan, 0.7])
    names = ["groom", "Background", "rear", "sniff"]
    assert frames.mean_average_precision(values, names) == pytest.approx(0.6)
    assert np.isnan(frames.mean_average_precision(values[2:3], ["rear"]))


def test_a_frame_is_scored_where_both_sides_know_it():
    truth = np.array([[1, -1], [0, 0]], np.int8)
    called = np.array([[-1, 1], [1, 0]], np.int8)
    assert np.array_equal(frames.scored(truth, called), [[False, False], [True, True]])


@given(scores)
def test_what_is_below_every_true_frame_changes_nothing(pair: tuple[np.ndarray, np.ndarray]):
    truth, probability = pair
    assume(truth.any())
    longer = np.append(truth, False), np.append(probability, np.float32(-1))
    assert frames.average_precision(*longer) == frames.average_precision(truth, probability)
