"""Bouts to frames and back; unobserved is never taken for absent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import (
    ABSENT,
    PRESENT,
    UNOBSERVED,
    bout_table,
    check_frames,
    frame_states,
    mask_of,
    runs,
    span_table,
)
from ethoprism.errors import LabelError


@given(arrays(bool, st.integers(0, 60)))
def test_runs_and_masks_are_inverse(mask: np.ndarray):
    assert np.array_equal(mask_of(runs(mask), len(mask)), mask)


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 10)), max_size=8))
def test_overlapping_ranges_cover_what_each_covers(ranges: list[tuple[int, int]]):
    table = np.array([(a, a + n) for a, n in ranges], dtype=np.int64).reshape(-1, 2)
    expected = np.zeros(40, bool)
    for start, stop in table:
        expected[start:stop] = True
    assert np.array_equal(mask_of(table, 40), expected)


def _bout(subject: str, behaviour: str, start: int, stop: int) -> dict[str, object]:
    return {
        "recording": "r",
        "subject": subject,
        "behaviour": behaviour,
        "start_frame": start,
        "stop_frame": stop,
    }


def test_frames_outside_bouts_are_absent_only_where_observed():
    bouts = bout_table([_bout("", "rest", 2, 4)])
    spans = span_table([_bout("", "rest", 0, 6)])
    states = frame_states(bouts, spans, ["rest", "walk"], 8)
    u, a, p = UNOBSERVED, ABSENT, PRESENT
    assert states[:, 0].tolist() == [a, a, p, p, a, a, u, u]
    # Nobody looked for walking, also not where resting was looked for.
    assert states[:, 1].tolist() == [u] * 8


def test_anybodys_behaviour_is_absent_only_if_every_subject_was_watched():
    bouts = bout_table([_bout("ann", "rest", 0, 2)])
    spans = span_table([_bout("ann", "rest", 0, 6), _bout("bob", "rest", 4, 8)])
    states = frame_states(bouts, spans, ["rest"], 8)[:, 0]
    u, a, p = UNOBSERVED, ABSENT, PRESENT
    assert states.tolist() == [p, p, u, u, a, a, u, u]
    assert frame_states(bouts, spans, ["rest"], 8, "bob")[:, 0].tolist() == [u] * 4 + [a] * 4


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (5, 5), (6, 4), (0, 11)])
def test_labels_outside_the_recording_are_refused_with_both_numbers(start: int, stop: int):
    table = bout_table([_bout("", "rest", start, stop)])
    with pytest.raises(LabelError, match=rf"0 to 10.*from frame {start} to {stop}"):
        check_frames(table, {"r": 10})


def test_labels_of_an_unknown_recording_are_refused():
    with pytest.raises(LabelError, match="lacks"):
        check_frames(bout_table([_bout("", "rest", 0, 1)]), {"other": 10})
