"""Moments that are typed and read, the frame that is due, and the bout that is next."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.annotation import bout_table
from ethoprism.errors import InputError
from napari_ethoprism.moments import Schedule, clock, next_bout, parse_moment

TIMES = np.arange(9000) / 25 + 0.04

# Intervals in milliseconds: none, short, and pauses.
INTERVALS = st.lists(st.sampled_from([0, 1, 4, 33, 40, 41, 900]), min_size=1, max_size=40)
SPEED = st.floats(0.1, 8.0)


def times_of(intervals: list[int], first: int) -> np.ndarray:
    return (np.cumsum([first, *intervals]) / 1000).astype(np.float64)


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ("0", 0),
        (" 1234 ", 1234),
        ("99999", 8999),
        ("12.5s", 312),
        ("12.5 S", 312),
        (".04s", 0),
        ("0:12.5", 312),
        ("1:02.5", 1562),
        ("0:01:02.5", 1562),
        ("0:00", 0),
        ("100:00", 8999),
        ("12.s", 299),
    ],
)
def test_what_is_typed_is_found(text: str, frame: int) -> None:
    assert parse_moment(text, TIMES) == frame


@pytest.mark.parametrize("text", ["", "x", "-3", "12.5", "1:2:3:4", "1:002", "s", "1e3", "١"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"12\.5s"):
        parse_moment(text, TIMES)


@given(st.integers(0, len(TIMES) - 1))
def test_a_time_that_is_read_leads_back_to_its_frame(frame: int) -> None:
    assert parse_moment(clock(float(TIMES[frame])), TIMES) == frame
    assert parse_moment(f"{TIMES[frame]:.3f}s", TIMES) == frame


@given(INTERVALS, st.integers(0, 100), st.floats(0, 3))
def test_of_a_time_the_nearest_frame_is_meant(
    intervals: list[int], first: int, seconds: float
) -> None:
    times = times_of(intervals, first)
    frame = parse_moment(f"{seconds:.6f}s", times)
    assert abs(times[frame] - seconds) <= np.abs(times - seconds).min() + 2e-6


def test_times_read_as_clocks_do() -> None:
    assert clock(0.0) == "0:00.000"
    assert clock(62.5) == "1:02.500"
    assert clock(59.9996) == "1:00.000"
    assert clock(3602.5) == "1:00:02.500"
    assert clock(-1.5) == "-0:01.500"


@given(INTERVALS, st.integers(0, 100), SPEED, st.floats(0, 40), st.data())
def test_the_frame_shown_is_the_last_one_that_is_due(
    intervals: list[int], first: int, speed: float, elapsed: float, data: st.DataObject
) -> None:
    times = times_of(intervals, first)
    start = data.draw(st.integers(0, len(times) - 1))
    schedule = Schedule(times, start, 1000.0, speed)
    now = 1000.0 + elapsed
    frame = schedule.frame_at(now)
    assert start <= frame < len(times)
    assert schedule.due(frame) <= now + 1e-9
    assert frame == len(times) - 1 or schedule.due(frame + 1) > now


@given(INTERVALS, SPEED, st.data())
def test_each_frame_is_shown_at_its_time_and_none_goes_back(
    intervals: list[int], speed: float, data: st.DataObject
) -> None:
    times = times_of(intervals, 0)
    schedule = Schedule(times, 0, 5.0, speed)
    for n in range(len(times)):
        # Of frames with one time, the last one is seen.
        assert times[schedule.frame_at(schedule.due(n))] == times[n]
    moments = sorted(data.draw(st.lists(st.floats(0, 50), max_size=20)))
    shown = [schedule.frame_at(5.0 + moment) for moment in moments]
    assert shown == sorted(shown)
    assert schedule.frame_at(4.0) == schedule.frame_at(5.0)


BOUTS = bout_table(
    [
        {
            "recording": "r",
            "subject": subject,
            "behaviour": name,
            "start_frame": at,
            "stop_frame": at + 5,
        }
        for subject, name, at in [
            ("a", "walk", 10),
            ("b", "walk", 10),
            ("a", "groom", 30),
            ("b", "walk", 50),
        ]
    ]
)


@pytest.mark.parametrize(
    ("frame", "forward", "subject", "behaviour", "found"),
    [
        (0, True, "", "", 10),
        (10, True, "", "", 30),
        (12, False, "", "", 10),
        (10, False, "", "", None),
        (60, True, "", "", None),
        (0, True, "b", "walk", 10),
        (10, True, "b", "walk", 50),
        (10, True, "a", "walk", None),
        (99, False, "a", "", 30),
        (99, False, "", "sleep", None),
    ],
)
def test_the_next_bout_is_that_of_whom_and_what_is_chosen(
    frame: int, forward: bool, subject: str, behaviour: str, found: int | None
) -> None:
    assert next_bout(BOUTS, frame, forward, subject, behaviour) == found
