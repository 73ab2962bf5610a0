"""Views of one session: clocks that start apart and drift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.views import Clock, fit_clock, matching_frames

OFFSETS, DRIFTS = st.floats(-1000, 1000), st.floats(-0.01, 0.01)


@given(OFFSETS, DRIFTS, st.lists(st.integers(0, 10_000), min_size=2, max_size=8, unique=True))
def test_a_clock_is_found_from_moments(offset: float, drift: float, seconds: list[int]):
    times = np.array(seconds, float)
    clock, deviation = fit_clock(times, Clock(offset, drift).session(times))
    assert deviation < 1e-6
    assert clock.session(np.array([5000.0]))[0] == pytest.approx(
        Clock(offset, drift).session(np.array([5000.0]))[0], abs=1e-3
    )


def test_one_moment_gives_the_offset():
    clock, deviation = fit_clock(np.array([2.0]), np.array([5.5]))
    assert (clock.offset, clock.drift, deviation) == (3.5, 0.0, 0.0)


@given(OFFSETS, DRIFTS, st.floats(5, 120), st.floats(5, 120))
def test_frames_match_the_nearest_within_half_an_interval(
    offset: float, drift: float, rate: float, other_rate: float
):
    mine = np.arange(60) / rate
    theirs = Clock(offset / 1000, drift).session(np.arange(80) / other_rate)
    matched = matching_frames(mine, theirs)
    apart = abs(mine[:, None] - theirs[None, :])
    half = np.median(np.diff(theirs)) / 2
    for i, j in enumerate(matched.tolist()):
        if j >= 0:
            assert apart[i, j] <= apart[i].min() + 1e-12 and apart[i, j] <= half * 1.003
        else:
            assert apart[i].min() > half


def test_nothing_matches_in_a_gap_or_outside():
    theirs = np.array([0.0, 0.1, 0.2, 1.0, 1.1])
    mine = np.array([-0.2, 0.02, 0.16, 0.5, 1.04, 1.3])
    np.testing.assert_array_equal(matching_frames(mine, theirs), [-1, 0, 2, -1, 3, -1])
    np.testing.assert_array_equal(matching_frames(mine, theirs[:0]), [-1] * 6)


@pytest.mark.parametrize(
    ("offset", "drift"), [(float("nan"), 0.0), (0.0, 0.2), (0.0, float("nan"))]
)
def test_clocks_that_cannot_be_are_refused(offset: float, drift: float):
    with pytest.raises(InputError):
        Clock(offset, drift)
