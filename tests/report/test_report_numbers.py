"""Figures that only the report shows, against slow and plain counterparts; escaping; axes."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ethoprism.metrics.summary import Pairing
from ethoprism.report import numbers
from ethoprism.report.markup import Html, h
from ethoprism.report.scales import Scale, clock, ticks, time_ticks

STATES = hnp.arrays(
    np.int8, st.tuples(st.integers(1, 30), st.integers(1, 3)), elements=st.integers(-1, 1)
)


@given(STATES)
def test_transitions_are_pairs_of_starts_in_observed_stretches(states):
    n = states.shape[1]
    expected = np.zeros((n, n), int)
    before = None
    for frame in range(len(states)):
        if (states[frame] == -1).any():
            before = None
            continue
        fresh = frame == 0 or (states[frame - 1] == -1).any()
        for column in range(n):
            if states[frame, column] == 1 and (fresh or states[frame - 1, column] != 1):
                if before is not None:
                    expected[before, column] += 1
                before = column
    assert (numbers.transitions(states) == expected).all()


@given(STATES)
def test_together_counts_frames_with_both(states):
    found = numbers.together(states)
    known = states[(states != -1).all(axis=1)]
    for i in range(states.shape[1]):
        for j in range(states.shape[1]):
            assert found[i, j] == ((known[:, i] == 1) & (known[:, j] == 1)).sum()


@given(st.integers(0, 50), st.data())
def test_confusion_counts_every_clear_frame_once(seed, data):
    rng = np.random.default_rng(seed)
    truth, called = (rng.integers(-1, 2, (40, 3)).astype(np.int8) for _ in range(2))
    columns = data.draw(st.sampled_from([[0, 1], [2, 0], [0, 1, 2]]))
    counts = numbers.confusion(truth, called, columns)
    outcome = [[*columns, None], [*columns, None]]
    expected = 0
    for a, b in zip(truth[:, columns], called[:, columns], strict=True):
        if (a != -1).all() and (b != -1).all() and (a == 1).sum() <= 1 and (b == 1).sum() <= 1:
            expected += 1
    assert counts.sum() == expected
    assert counts.shape == (len(outcome[0]), len(outcome[1]))


def test_bout_seconds_leaves_out_what_was_not_seen_whole():
    states = np.array([1, 1, 0, 1, 1, 0, -1, 1, 0, 1], np.int8)
    edges = np.arange(11) * 0.5
    assert numbers.bout_seconds(states, edges).tolist() == [1.0]


def test_shares_of_an_empty_row_are_not_defined():
    found = numbers.shares(np.array([[1, 3], [0, 0]]))
    assert found[0].tolist() == [0.25, 0.75]
    assert np.isnan(found[1]).all()


def test_the_worst_mistakes_are_found_with_their_frame():
    truth = np.zeros((50, 1), np.int8)
    truth[10:20] = 1
    p = np.full((50, 1), 0.05, np.float32)
    p[30:34] = [[0.6], [0.9], [0.6], [0.6]]
    called = (p > 0.5).astype(np.int8)
    times = np.arange(50) / 10
    pairing = Pairing("r", "", truth, called, p, times, np.full(50, 0.1))
    missed, false = numbers.worst_mistakes([pairing], ["a"], 3)
    assert (missed.start, missed.stop, missed.missed) == (10, 20, True)
    assert (false.start, false.stop, false.frame, false.missed) == (30, 34, 31, False)
    truth[:] = -1
    assert numbers.worst_mistakes([pairing], ["a"], 3) == []


class _Text(HTMLParser):
    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.data += data


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_text_comes_back_as_text(text):
    found = _Text(h("p", text, title=text))
    assert [tag for tag, _ in found.tags] == ["p"]
    assert found.data == text
    assert found.tags[0][1] == {"title": text}


def test_markup_is_not_escaped_twice_and_nothing_is_nothing():
    assert h("b", h("i", "&"), None, ["x", 1]) == "<b><i>&amp;</i>x1</b>"
    assert h("br", class_=None, hidden=True) == "<br hidden>"
    assert isinstance(h("b"), Html)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_lie_inside_in_order_and_are_few(low, span, most):
    found = ticks(low, low + span, most)
    assert 1 <= len(found) <= most
    assert found == sorted(found)
    slack = 1e-6 * (abs(low) + span)
    assert all(low - slack <= v <= low + span + slack for v in found)


@given(st.floats(0.01, 1e6))
def test_time_ticks_are_few_and_inside(stop):
    found = time_ticks(stop)
    assert 1 <= len(found) <= 9
    assert all(0 <= moment <= stop for moment, _ in found)


def test_clock_and_scale():
    assert [clock(s) for s in (5, 7.25, 65, 3725)] == ["5 s", "7.2 s", "1:05", "1:02:05"]
    scale = Scale(10, 20, 100, 200)
    assert scale(15) == pytest.approx(150)
    assert Scale(1, 1, 0, 10)(1) == 5
