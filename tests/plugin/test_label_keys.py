"""What a behaviour's key means at a frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.ethogram import Behaviour, Ethogram
from napari_ethoprism.label_keys import Intent, KeyMachine, Place, by_recording

ETHOGRAM = Ethogram(
    (
        Behaviour("walk"),
        Behaviour("rest"),
        Behaviour("groom"),
        Behaviour("touch", kind="point"),
    ),
    (("walk", "rest"),),
)


def _at(frame: int, **more) -> Place:
    return Place("r", frame, **more)


def _press(machine: KeyMachine, name: str, place: Place) -> list[Intent]:
    return machine.press(ETHOGRAM[name], ETHOGRAM, place)


def _frames(intents: list[Intent]) -> list[tuple[str, str, int, int]]:
    return [
        (i.kind, i.behaviour, start, stop)
        for i in intents
        for _, ranges in i.frames
        for start, stop in ranges
    ]


def test_a_key_starts_a_bout_and_ends_it_with_the_frames_seen():
    machine = KeyMachine()
    assert _press(machine, "groom", _at(10)) == []
    assert machine.moved(_at(20)) == []
    assert machine.runs[0].frames == (10, 21)
    assert _frames(_press(machine, "groom", _at(20))) == [("label", "groom", 10, 21)]
    assert machine.runs == ()


def test_a_bout_may_be_drawn_backwards_and_of_one_frame():
    machine = KeyMachine()
    _press(machine, "groom", _at(30))
    machine.moved(_at(25))
    assert _frames(_press(machine, "groom", _at(25))) == [("label", "groom", 25, 31)]
    _press(machine, "groom", _at(7))
    assert _frames(_press(machine, "groom", _at(7))) == [("label", "groom", 7, 8)]


def test_another_member_of_the_group_ends_the_one_that_runs_before_the_frame():
    machine = KeyMachine()
    _press(machine, "walk", _at(10))
    _press(machine, "groom", _at(12))
    machine.moved(_at(20))
    assert _frames(_press(machine, "rest", _at(20))) == [("label", "walk", 10, 20)]
    assert [run.behaviour for run in machine.runs] == ["groom", "rest"]
    machine.moved(_at(23))
    assert _frames(machine.end_all()) == [("label", "groom", 12, 24), ("label", "rest", 20, 24)]


def test_subjects_run_side_by_side():
    machine = KeyMachine()
    _press(machine, "walk", _at(10, subject="a"))
    assert _press(machine, "rest", _at(12, subject="b")) == []
    machine.moved(_at(15, subject="b"))
    assert [run.frames for run in machine.runs] == [(10, 16), (12, 16)]
    (intent,) = _press(machine, "walk", _at(15, subject="a"))
    assert (intent.subject, intent.frames) == ("a", (("r", ((10, 16),)),))


def test_another_recording_ends_and_saves_what_runs():
    machine = KeyMachine()
    _press(machine, "walk", _at(10))
    machine.moved(_at(18))
    (intent,) = machine.moved(Place("other", 3))
    assert intent.frames == (("r", ((10, 19),)),)
    assert machine.runs == ()


def test_points_mark_one_frame_and_the_first_of_each_selected_span():
    machine = KeyMachine()
    assert _frames(_press(machine, "touch", _at(5, playing=True))) == [("point", "touch", 5, 6)]
    selected = by_recording([("r", 10, 20), ("q", 0, 4), ("r", 15, 30), ("r", 50, 51)])
    assert selected == (("r", ((10, 30), (50, 51))), ("q", ((0, 4),)))
    (intent,) = _press(machine, "touch", _at(5, selected=selected))
    assert intent.frames == (("r", ((10, 11), (50, 51))), ("q", ((0, 1),)))


def test_a_selection_is_labelled_while_the_video_stands_still_alone():
    machine = KeyMachine()
    selected = by_recording([("r", 10, 20), ("q", 0, 4)])
    (intent,) = _press(machine, "walk", _at(5, selected=selected))
    assert (intent.kind, intent.frames) == ("label", selected)
    assert machine.runs == ()
    assert _press(machine, "walk", _at(5, selected=selected, playing=True)) == []
    assert len(machine.runs) == 1


def test_erasing_runs_as_labelling_does():
    machine = KeyMachine()
    machine.mode = "erase"
    _press(machine, "walk", _at(10))
    machine.moved(_at(12))
    assert _frames(_press(machine, "walk", _at(12))) == [("erase", "walk", 10, 13)]
    assert _frames(_press(machine, "touch", _at(4))) == [("erase", "touch", 4, 5)]


def test_cancelling_labels_nothing():
    machine = KeyMachine()
    _press(machine, "walk", _at(10))
    (dropped,) = machine.cancel()
    assert dropped.behaviour == "walk"
    assert machine.end_all() == []


def test_observing_counts_what_is_played_and_not_what_is_jumped_over():
    machine = KeyMachine()
    machine.observe(_at(0, playing=True))
    done = [i for frame in (2, 4, 9, 12) for i in machine.moved(_at(frame, playing=True))]
    assert done == []
    (jump,) = machine.moved(_at(500, playing=True))
    assert jump.frames == (("r", ((0, 13),)),)
    machine.moved(_at(501))  # a step
    (back,) = machine.moved(_at(490))  # a click on the timeline
    assert back.frames == (("r", ((500, 502),)),)
    assert _frames(machine.observe(_at(490))) == [("observe", "", 490, 491)]
    assert machine.runs == ()


@given(st.lists(st.tuples(st.sampled_from(["groom", "touch"]), st.integers(0, 6)), max_size=25))
def test_playing_forwards_labels_each_frame_as_a_watcher_saw_it(steps):
    """Against a model that keeps, for each frame, whether the behaviour was switched on."""
    machine, frame, on = KeyMachine(), 0, False
    seen, labelled = np.zeros(200, bool), np.zeros(200, bool)
    points: list[int] = []

    def take(intents: list[Intent]) -> None:
        for kind, _, start, stop in _frames(intents):
            if kind == "point":
                points.append(start)
            else:
                labelled[start:stop] = True

    pressed: list[int] = []
    for name, forward in steps:
        if name == "groom":
            on = not on
            seen[frame] = True
        else:
            pressed.append(frame)
        take(_press(machine, name, _at(frame, playing=True)))
        for _ in range(forward):
            frame += 1
            seen[frame] |= on
            take(machine.moved(_at(frame, playing=True)))
    take(machine.end_all())
    np.testing.assert_array_equal(labelled, seen)
    assert points == pressed


@given(st.lists(st.tuples(st.sampled_from(["walk", "rest"]), st.integers(1, 6)), max_size=25))
def test_an_exclusive_group_never_labels_a_frame_twice_while_keys_alternate(steps):
    machine, frame = KeyMachine(), 0
    counts = np.zeros(200, int)
    last = ""
    for name, forward in steps:
        if name == last:
            continue  # the same key again ends the bout, and another may begin at its last frame
        last = name
        for _, _, start, stop in _frames(_press(machine, name, _at(frame, playing=True))):
            counts[start:stop] += 1
        frame += forward
        machine.moved(_at(frame, playing=True))
    for _, _, start, stop in _frames(machine.end_all()):
        counts[start:stop] += 1
    assert (counts[: frame + 1] == 1).all() or not steps
