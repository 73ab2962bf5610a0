"""Moments: spans and moments are each other's inverse, and means are means."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.explore.moments import Moments, moment_means, tile
from ethoprism.subjects import Unit

UNITS = (Unit("a"), Unit("b", "x"), Unit("b", "y"))
layouts = st.tuples(
    st.lists(st.integers(1, 60), min_size=3, max_size=3), st.integers(1, 9), st.integers(1, 3)
)


def some(layout: tuple[list[int], int, int], keep: list[bool]) -> Moments:
    moments = tile(UNITS, layout[0], layout[1], layout[2])
    return moments.take(np.resize(np.array(keep), len(moments)))


@given(layout=layouts)
def test_tiles_hold_every_frame_once(layout: tuple[list[int], int, int]) -> None:
    moments = tile(UNITS, layout[0], layout[1], layout[2])
    for u, n in enumerate(layout[0]):
        here = moments.unit == u
        frames = [
            frame
            for a, b in zip(moments.start[here], moments.stop[here], strict=True)
            for frame in range(a, b)
        ]
        assert frames == list(range(n))


@given(layout=layouts, keep=st.lists(st.booleans(), min_size=1, max_size=7), data=st.data())
def test_spans_hold_exactly_the_frames_of_the_moments(
    layout: tuple[list[int], int, int], keep: list[bool], data: st.DataObject
) -> None:
    moments = some(layout, keep)
    chosen = data.draw(st.lists(st.integers(0, max(len(moments) - 1, 0)), max_size=30))
    chosen = chosen if len(moments) else []
    spans = moments.spans(np.array(chosen, np.int64))
    expected = {
        (int(moments.unit[i]), f) for i in chosen for f in range(moments.start[i], moments.stop[i])
    }
    found = [(UNITS.index(s.unit), f) for s in spans for f in range(s.start, s.stop)]
    assert len(found) == len(set(found)) and set(found) == expected
    for one, other in itertools.pairwise(spans):  # no two of them touch
        assert one.unit != other.unit or one.stop < other.start
    back = [
        i
        for s in spans
        for i in moments.within(s.unit.recording, s.start, s.stop, s.unit.subject).tolist()
    ]
    assert sorted(back) == sorted(set(chosen))


@given(layout=layouts, keep=st.lists(st.booleans(), min_size=1, max_size=7))
def test_every_frame_finds_its_moment(layout: tuple[list[int], int, int], keep: list[bool]) -> None:
    moments = some(layout, keep)
    for u, unit in enumerate(UNITS):
        for frame in range(layout[0][u] + 3):
            hits = np.flatnonzero(
                (moments.unit == u) & (moments.start <= frame) & (frame < moments.stop)
            )
            assert moments.at(unit, frame) == (int(hits[0]) if len(hits) else None)
    assert moments.at(Unit("z"), 0) is None
    assert len(moments.at_recording("b", 0)) <= 2


def test_a_span_within_one_moment_finds_it_and_subjects_are_told_apart() -> None:
    moments = tile(UNITS, [20, 20, 20], 10)
    assert moments.within("b", 1, 2).tolist() == [2, 4]
    assert moments.within("b", 1, 2, "y").tolist() == [4]
    assert moments.within("a", 0, 20).tolist() == [0, 1]
    assert moments.within("z", 0, 20).tolist() == []


@given(n=st.integers(1, 40), hop=st.integers(1, 9), seed=st.integers(0, 99))
def test_means_are_of_the_known_frames(n: int, hop: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    moments = tile((Unit("a"), Unit("b")), [5, n], hop)
    values, known = rng.random((n, 2)).astype(np.float32), rng.random((n, 2)) < 0.6
    found = moment_means(moments, 1, values, known)
    here = moments.unit == 1
    for row, a, b in zip(found, moments.start[here], moments.stop[here], strict=True):
        for column in range(2):
            inside = values[a:b, column][known[a:b, column]]
            expected = inside.mean() if len(inside) else np.nan
            np.testing.assert_allclose(row[column], expected, rtol=1e-5)
