"""Calibration errors equal their definitions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve

from ethoprism.metrics.calibration import (
    adaptive_calibration_error,
    bin_sums,
    calibration_error,
)

samples = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(bool, n),
        arrays(np.float64, n, elements=st.floats(0, 1) | st.sampled_from([0.0, 0.2, 0.4, 1.0])),
    )
)


@given(samples, st.integers(1, 20))
def test_bins_are_those_of_scikit_learns_reliability_curve(
    sample: tuple[np.ndarray, np.ndarray], n_bins: int
):
    truth, probability = sample
    sums = bin_sums(truth, probability, n_bins)
    filled = sums[sums[:, 0] > 0]
    frequency, mean = calibration_curve(truth, probability, n_bins=n_bins, pos_label=True)
    assert np.allclose(filled[:, 1] / filled[:, 0], mean)
    assert np.allclose(filled[:, 2] / filled[:, 0], frequency)
    expected = np.average(np.abs(frequency - mean), weights=filled[:, 0])
    assert float(calibration_error(sums)) == pytest.approx(float(expected))


@given(samples, st.integers(1, 20))
def test_the_adaptive_error_is_that_of_parts_of_equal_size(
    sample: tuple[np.ndarray, np.ndarray], n_bins: int
):
    truth, probability = sample
    order = np.argsort(probability, kind="stable")
    n = len(order)
    sizes = {n // n_bins, -(-n // n_bins)}
    edges = [int(n * k / n_bins) for k in range(n_bins + 1)]
    if n < n_bins:
        edges, sizes = list(range(n + 1)), {1}
    total = 0.0
    for a, b in pairwise(edges):
        assert b - a in sizes
        part = order[a:b]
        total += abs(probability[part].mean() - truth[part].mean()) * len(part) / n
    assert adaptive_calibration_error(truth, probability, n_bins) == pytest.approx(total, abs=1e-9)


def test_a_probability_that_is_right_has_no_error_and_without_frames_there_is_none():
    truth = np.array([True, False, False, False])
    assert calibration_error(bin_sums(truth, np.full(4, 0.25))) == 0
    assert adaptive_calibration_error(truth, np.full(4, 0.25), 1) == 0
    nothing = np.zeros(0, bool), np.zeros(0)
    assert np.isnan(calibration_error(bin_sums(*nothing)))
    assert np.isnan(adaptive_calibration_error(*nothing))


def test_overconfidence_is_its_gap():
    truth = np.arange(100) < 60
    assert calibration_error(bin_sums(truth, np.full(100, 0.9))) == pytest.approx(0.3)
