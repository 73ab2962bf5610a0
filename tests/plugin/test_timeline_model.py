"""The timeline's arithmetic against the plainest way to say the same."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from napari_ethoprism.timeline_model import Bouts, Hit, Ranges, View, hit, resized, snapped
from napari_ethoprism.timeline_ruler import (
    frame_step,
    frame_ticks,
    second_step,
    second_ticks,
    seconds_text,
)


@st.composite
def views(draw: st.DrawFn) -> View:
    """A view that was zoomed and panned."""
    n_frames = draw(st.integers(1, 1500))
    view = View.whole(draw(st.integers(1, 90)), n_frames)
    view = view.zoomed(draw(st.floats(1, 500)), draw(st.floats(0, view.width)))
    return view.panned(draw(st.floats(-n_frames, n_frames)))


@st.composite
def ranges(draw: st.DrawFn, n_frames: int, rows: int = 3) -> list[tuple[int, int, int]]:
    """Rows and half-open ranges, which may overlap and touch."""
    made = []
    for _ in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, n_frames - 1))
        made.append((draw(st.integers(0, rows - 1)), start, draw(st.integers(start + 1, n_frames))))
    return made


def _frames_of(view: View) -> list[set[int]]:
    """The frames of each column, worked out one by one."""
    scale = (view.stop - view.start) / view.width
    shown = []
    for column in range(view.width):
        first = int(np.floor(view.start + column * scale))
        after = int(np.floor(view.start + (column + 1) * scale))
        if scale < 1:
            after = first + 1
        elif column == view.width - 1:
            after = int(np.ceil(view.stop))
        shown.append({f for f in range(first, after) if f < view.n_frames})
    return shown


@given(views())
def test_each_column_shows_its_frames_and_every_frame_in_view_is_shown(view: View) -> None:
    columns = view.columns()
    cells = [set(range(a, b)) for a, b in zip(columns.edges[:-1], columns.edges[1:], strict=True)]
    index = np.arange(view.width) if columns.cell is None else columns.cell
    shown = [cells[i] for i in index]
    assert shown == _frames_of(view)
    together = set().union(*shown)
    inside = range(int(np.ceil(view.start)), int(np.floor(view.stop)))
    if view.scale >= 1:
        assert together >= set(inside)
        assert sum(map(len, shown)) == len(together)


@given(st.data())
def test_coverage_is_that_of_counting_frames_and_no_bout_vanishes(data: st.DataObject) -> None:
    view = data.draw(views())
    made = data.draw(ranges(view.n_frames))
    table = np.array(made, np.int64).reshape(-1, 3)
    found = Ranges(table[:, 0], table[:, 1], table[:, 2], view.n_frames)
    mask = np.zeros((3, view.n_frames), bool)
    for row, start, stop in made:
        mask[row, start:stop] = True
    columns = view.columns()
    filled = columns.spread(found.filled(np.arange(3), columns.edges))
    shown = [sorted(frames) for frames in _frames_of(view)]
    expected = [[mask[row, frames].sum() for frames in shown] for row in range(3)]
    np.testing.assert_array_equal(filled, expected)
    shown = set().union(*_frames_of(view))
    for row, start, stop in made:
        assert filled[row].any() or shown.isdisjoint(range(start, stop))


def test_one_frame_in_a_million_is_still_a_column() -> None:
    n = 1_000_000
    for frame in (0, 1, 499_999, 700_001, n - 1):
        one = np.array([frame])
        found = Ranges(np.array([7]), one, one + 1, n)
        columns = View.whole(1500, n).columns()
        filled = found.filled(np.arange(10), columns.edges)
        assert filled[7].sum() == 1 and filled.sum() == 1
        assert np.flatnonzero(filled[7])[0] == columns.column_of(one)[0]


def test_frames_beyond_the_range_of_32_bits_are_counted() -> None:
    n = 200_000_000
    starts = np.array([5, n - 10])
    found = Ranges(np.array([0, 29]), starts, starts + 10, n)
    filled = found.filled(np.arange(30), View.whole(100, n).columns().edges)
    assert filled.sum() == 20 and filled[0, 0] == 10 and filled[29, -1] == 10


@given(st.data())
def test_ranges_know_which_one_holds_a_frame_and_where_they_end(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 60))
    made = data.draw(ranges(n, rows=2))
    table = np.array(made, np.int64).reshape(-1, 3)
    found = Ranges(table[:, 0], table[:, 1], table[:, 2], n)
    for row in range(2):
        mask = np.zeros(n + 2, bool)
        for r, start, stop in made:
            if r == row:
                mask[start + 1 : stop + 1] = True
        edges = np.flatnonzero(np.diff(mask.astype(int)))
        np.testing.assert_array_equal(found.edges(row), edges)
        for frame in range(n):
            held = found.at(row, frame)
            assert (held is not None) == mask[frame + 1]
            if held is not None:
                start, stop = held
                assert start <= frame < stop and mask[start + 1 : stop + 1].all()
                assert not mask[start] and not mask[stop + 1]


@given(views(), st.data())
def test_a_frame_is_found_again_in_the_column_that_shows_it(
    view: View, data: st.DataObject
) -> None:
    shown = _frames_of(view)
    column = data.draw(st.integers(0, view.width - 1))
    assume(shown[column])
    frame = view.frame_at(column + data.draw(st.floats(0, 0.99)))
    assert frame == min(shown[column])
    back = int(view.columns().column_of(np.array([frame]))[0])
    assert frame in shown[back] and back <= column
    assert all(frame not in shown[c] for c in range(back))


@given(views(), st.floats(0, 1))
def test_edges_and_places_are_inverse(view: View, share: float) -> None:
    edge = round(view.start + share * (view.stop - view.start))
    x = view.x_of(edge)
    assert abs(view.start + x * view.scale - edge) < 1e-6
    if view.scale <= 1:
        assert view.edge_at(x) == min(max(edge, 0), view.n_frames)


@given(views(), st.floats(0.01, 100), st.floats(0, 1))
def test_zooming_keeps_what_lies_under_the_pointer(view: View, factor: float, share: float) -> None:
    x = share * view.width
    under = view.start + x * view.scale
    zoomed = view.zoomed(factor, x)
    assert 0 <= zoomed.start < zoomed.stop <= zoomed.n_frames + 1e-9
    assert zoomed.start + 1e-6 >= 0
    at_an_end = zoomed.start == 0 or zoomed.stop >= zoomed.n_frames - 1e-9
    assert at_an_end or abs(zoomed.start + x * zoomed.scale - under) < 1e-6 * view.n_frames
    assert zoomed.start - 1e-6 <= under <= zoomed.stop + 1e-6


@given(views(), st.floats(-6000, 6000))
def test_panning_keeps_the_zoom_and_stays_within_the_recording(view: View, frames: float) -> None:
    panned = view.panned(frames)
    assert panned.frames == pytest.approx(view.frames)
    assert panned.start >= 0 and panned.stop <= panned.n_frames + 1e-9


@given(views(), st.data())
def test_a_view_can_be_made_to_show_any_frame(view: View, data: st.DataObject) -> None:
    frame = data.draw(st.integers(0, view.n_frames - 1))
    moved = view.revealing(frame, 0.1)
    assert moved.shown(frame)
    assert moved == view or not view.shown(frame)
    start = data.draw(st.integers(0, view.n_frames - 1))
    stop = data.draw(st.integers(start + 1, view.n_frames))
    fitted = view.fitted(start, stop)
    assert fitted.start <= start + 1e-6 and fitted.stop >= stop - 1e-6


def _bouts(made: list[tuple[int, int, int]]) -> Bouts:
    rows, starts, stops = np.array(made, np.int64).reshape(-1, 3).T
    return Bouts.ordered(np.arange(len(made)) + 100, rows, starts, stops, np.zeros(len(made)))


@given(st.data())
def test_a_bout_is_hit_where_it_is_and_nowhere_far_from_it(data: st.DataObject) -> None:
    view = data.draw(views())
    bouts = _bouts(data.draw(ranges(view.n_frames)))
    row, x = data.draw(st.integers(0, 2)), data.draw(st.floats(0, view.width))
    found = hit(bouts, row, x, view, reach=4.0)
    part = bouts.in_row(row)
    left = (bouts.starts[part] - view.start) / view.scale
    right = np.maximum((bouts.stops[part] - view.start) / view.scale, left + 1)
    if found is None:
        assert not ((x >= left) & (x < right)).any()
        return
    assert bouts.rows[found.bout] == row
    i = found.bout - part.start
    assert left[i] - 4.0 <= x <= right[i] + 4.0
    if found.edge:
        assert abs(x - (left if found.edge == "start" else right)[i]) <= 4.0
    else:
        assert left[i] <= x < right[i]


def test_the_side_of_the_pointer_decides_between_bouts_that_touch() -> None:
    view = View.whole(400, 100)  # four pixels a frame
    bouts = _bouts([(0, 10, 30), (0, 30, 50)])
    assert hit(bouts, 0, 119, view) == Hit(0, "stop")
    assert hit(bouts, 0, 121, view) == Hit(1, "start")
    assert hit(bouts, 0, 80, view) == Hit(0, "")
    assert hit(bouts, 0, 37, view) == Hit(0, "start")
    assert hit(bouts, 0, 30, view) is None
    assert hit(bouts, 1, 80, view) is None


def test_a_narrow_bout_can_be_held_in_its_middle() -> None:
    view = View.whole(600, 100)
    bouts = _bouts([(0, 10, 11)])
    assert hit(bouts, 0, 63, view) == Hit(0, "")
    assert hit(bouts, 0, 61, view) == Hit(0, "start")
    assert hit(bouts, 0, 65.5, view) == Hit(0, "stop")


@given(st.integers(0, 99), st.data())
def test_a_resized_range_holds_a_frame_and_stays_in_the_recording(
    start: int, data: st.DataObject
) -> None:
    stop = data.draw(st.integers(start + 1, 100))
    edge = data.draw(st.sampled_from(["start", "stop"]))
    new = resized(start, stop, edge, data.draw(st.integers(-50, 150)), 100)
    assert 0 <= new[0] < new[1] <= 100
    assert new[1] == stop if edge == "start" else new[0] == start


def test_edges_snap_to_the_nearest_candidate_within_reach() -> None:
    view = View.whole(200, 100)
    assert snapped(50, [10, 53, 48], view, reach=5) == 48
    assert snapped(50, [10, 54], view, reach=5) == 50
    assert snapped(50, [], view, reach=5) == 50


# The ruler


@given(views(), st.floats(20, 200))
def test_frame_marks_lie_at_round_frames_in_order_and_apart(view: View, least: float) -> None:
    ticks = frame_ticks(view, least)
    assert all(a.x + least - 1e-6 <= b.x for a, b in pairwise(ticks))
    for tick in ticks:
        frame = int(tick.text.replace(",", ""))
        assert tick.x == pytest.approx(view.x_of(frame)) and 0 <= frame < view.n_frames
        assert -1e-6 <= tick.x <= view.width


@given(views(), st.data())
@example(View.whole(300, 4000), None)
def test_second_marks_lie_where_the_frame_times_say(view: View, data: st.DataObject | None) -> None:
    rng = np.random.default_rng(0 if data is None else data.draw(st.integers(0, 99)))
    steps = rng.choice([0.0, 0.01, 0.04, 0.2, 30.0], view.n_frames, p=[0.1, 0.3, 0.4, 0.19, 0.01])
    times = 5.0 + np.cumsum(steps)
    ticks = second_ticks(view, times, 60.0)
    assert len(ticks) <= view.width / 60 + 1
    assert all(a.x + 60 - 1e-6 <= b.x for a, b in pairwise(ticks))
    for tick in ticks:
        place = view.start + tick.x * view.scale
        frame = min(int(place + 1e-6), view.n_frames - 1)
        shown = _seconds(tick.text)
        after = times[frame + 1] if frame + 1 < view.n_frames else np.inf
        assert times[frame] - 2e-3 <= shown <= after + 2e-3


def test_even_times_give_even_marks() -> None:
    view = View.whole(1000, 3000)
    ticks = second_ticks(view, np.arange(3000) / 30, 90)
    assert [t.text for t in ticks] == ["0 s", *[f"{s} s" for s in range(10, 60, 10)], *_minute()]
    assert np.diff([t.x for t in ticks]) == pytest.approx(100)


def _minute() -> list[str]:
    return ["1:00", "1:10", "1:20", "1:30"]


def test_a_recording_of_one_frame_or_of_one_time_has_no_marks_of_time() -> None:
    assert second_ticks(View.whole(100, 1), np.array([3.0]), 50) == []
    assert second_ticks(View.whole(100, 5), np.full(5, 3.0), 50) == []
    assert [t.text for t in frame_ticks(View.whole(100, 1), 50)] == ["0"]


@pytest.mark.parametrize(
    ("seconds", "step", "text"),
    [
        (0.0, 1.0, "0 s"),
        (12.5, 0.5, "12.5 s"),
        (59.9996, 0.001, "1:00.000"),
        (62.0, 1.0, "1:02"),
        (3661.25, 0.01, "1:01:01.25"),
        (-0.0001, 0.01, "0.00 s"),
        (-2.5, 0.1, "-2.5 s"),
    ],
)
def test_seconds_are_written_as_people_write_them(seconds: float, step: float, text: str) -> None:
    assert seconds_text(seconds, step) == text


@given(st.floats(1e-3, 1e7))
def test_steps_are_round_and_not_too_small(least: float) -> None:
    step = frame_step(least)
    assert step >= least or least <= 1
    assert str(step).rstrip("0") in ("1", "2", "5") and (step == 1 or step < least * 2.5 + 1)
    assert second_step(least) >= min(least, 480 * 3600)


def _seconds(text: str) -> float:
    sign = -1 if text.startswith("-") else 1
    total = 0.0
    for part in text.strip("-").removesuffix(" s").split(":"):
        total = total * 60 + float(part)
    return sign * total
