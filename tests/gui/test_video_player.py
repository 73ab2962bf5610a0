"""Playing at true times and every frame, and the bar that steps, jumps and tells how it goes."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy")
pytestmark = pytest.mark.gui

from qtpy.QtCore import QEvent  # noqa: E402

from ethoprism import workflow  # noqa: E402
from ethoprism.annotation import bout_table, span_table  # noqa: E402
from ethoprism.ethogram import Ethogram  # noqa: E402
from ethoprism.project import Project, Settings  # noqa: E402
from ethoprism.recording import Recording  # noqa: E402
from ethoprism_datasets.arena_files import write_recording  # noqa: E402
from napari_ethoprism.player import Player  # noqa: E402
from napari_ethoprism.session import Moment, Notice, Playback, Session  # noqa: E402
from napari_ethoprism.transport import TransportBar, stepped  # noqa: E402

# An irregular clock: short intervals, two equal times, a pause.
TIMES = np.cumsum([0.0, 10, 10, 0, 40, 5, 5, 5, 60, 20, 10, 10, 10, 30, 10, 10, 10, 10]) / 1000
N = len(TIMES)


def recording(times: np.ndarray = TIMES) -> Recording:
    return Recording("r", Path("r.mp4"), len(times), 48, 64, times.astype(np.float64), "0" * 64)


class Frames:
    """Frames of which some are there."""

    def __init__(self) -> None:
        self.there: set[int] | None = None
        self.problems: dict[int, str] = {}

    def prepare(self, n: int) -> bool:
        return self.there is None or n in self.there

    def problem(self, n: int) -> str:
        return self.problems.get(n, "")


class Screen:
    """A session whose viewer shows what is sought, and the wall times at which it did."""

    def __init__(self) -> None:
        self.session = Session()
        self.player = Player(self.session)
        self.seen: list[tuple[float, int]] = []
        self.notices: list[Notice] = []
        self.frames = Frames()
        self.session.frames = self.frames
        self.session.sought.connect(self.show)
        self.session.noticed.connect(self.notices.append)
        self.session.moment = Moment(recording(), 0)

    def show(self, name: str, frame: int) -> None:
        moment = self.session.moment
        assert moment is not None
        self.seen.append((time.perf_counter(), frame))
        self.session.moment = Moment(moment.recording, frame)

    @property
    def numbers(self) -> list[int]:
        return [n for _, n in self.seen]


@pytest.fixture
def screen(qapp: Any) -> Iterator[Screen]:
    made = Screen()
    yield made
    made.player.close()
    made.session.jobs.close()


@pytest.fixture
def bar(screen: Screen, qtbot: Any) -> Iterator[TransportBar]:
    made = TransportBar(screen.session)
    qtbot.addWidget(made)
    yield made
    made.close_bar()


def play(screen: Screen, qtbot: Any) -> float:
    """Play to the end; the wall time at which it began."""
    began = time.perf_counter()
    screen.session.playing = True
    qtbot.waitUntil(lambda: not screen.session.playing, timeout=20_000)
    return began


@pytest.mark.parametrize("speed", [0.5, 2.0])
def test_no_frame_is_shown_before_its_time_and_left_out_ones_are_counted(
    screen: Screen, qtbot: Any, speed: float
) -> None:
    screen.session.speed = speed
    began = play(screen, qtbot)
    assert screen.numbers == sorted({*screen.numbers}) and screen.numbers[-1] == N - 1
    for at, n in screen.seen:
        assert at - began >= TIMES[n] / speed - 1e-3
    assert screen.session.playback.dropped == N - 1 - len(screen.seen)
    assert 0 < screen.session.playback.speed < speed * 1.5


def test_every_frame_is_shown_once_if_that_is_chosen(screen: Screen, qtbot: Any) -> None:
    screen.session.every_frame = True
    screen.session.speed = 8.0
    began = play(screen, qtbot)
    assert screen.numbers == list(range(1, N))
    assert screen.session.playback.dropped == 0
    assert screen.seen[-1][0] - began >= TIMES[-1] / 8 - 1e-3


def test_a_frame_that_is_not_decoded_is_waited_for(screen: Screen, qtbot: Any) -> None:
    screen.frames.there = {1, 2, 3, 4, 5}
    screen.session.every_frame = True
    screen.session.playing = True
    qtbot.waitUntil(lambda: screen.numbers == [1, 2, 3, 4, 5])
    with pytest.raises(qtbot.TimeoutError):
        qtbot.waitUntil(lambda: len(screen.seen) > 5, timeout=150)
    screen.frames.there = None
    qtbot.waitUntil(lambda: not screen.session.playing)
    assert screen.numbers == list(range(1, N))


def test_moving_elsewhere_goes_on_from_there(screen: Screen, qtbot: Any) -> None:
    screen.session.speed = 0.1
    screen.session.playing = True
    screen.session.seek(N - 4)
    screen.session.speed = 1.0
    qtbot.waitUntil(lambda: not screen.session.playing)
    assert min(screen.numbers) == N - 4 and screen.numbers[-1] == N - 1


def test_playing_stops_with_the_recording_and_begins_anew_at_its_end(
    screen: Screen, qtbot: Any
) -> None:
    screen.session.moment = Moment(recording(), N - 1)
    play(screen, qtbot)
    assert screen.numbers[0] == 0 and screen.numbers[-1] == N - 1
    screen.session.moment = Moment(recording(TIMES * 100), 0)
    screen.session.playing = True
    screen.session.moment = Moment(recording(), 3)
    assert not screen.session.playing
    screen.session.moment = None
    screen.session.playing = True
    assert not screen.session.playing


def test_the_bar_registers_what_it_can_do(screen: Screen, bar: TransportBar) -> None:
    actions = screen.session.actions
    keys = {action.name: action.key for action in actions if action.group == "Video"}
    assert keys == {
        "play": "Space",
        "step_forward": "Right",
        "step_back": "Left",
        "step_forward_10": "Shift+Right",
        "step_back_10": "Shift+Left",
        "next_bout": "Ctrl+Right",
        "previous_bout": "Ctrl+Left",
        "faster": "]",
        "slower": "[",
        "first_frame": "Home",
        "last_frame": "End",
    }
    steps = ["step_forward", "step_forward_10", "step_forward_10", "step_back", "first_frame"]
    found = []
    for name in (*steps, "step_back", "last_frame", "step_back_10"):
        assert actions.trigger(name)
        found.append(screen.session.frame)
    assert found == [1, 11, N - 1, N - 2, 0, 0, N - 1, N - 11]
    assert "(Space)" in bar._buttons["play"].toolTip()
    screen.session.moment = None
    assert not actions.trigger("play") and not bar.isEnabled()
    bar.close_bar()
    assert not [action for action in actions if action.group == "Video"]


def test_a_bar_that_is_gone_hears_nothing(screen: Screen, qapp: Any) -> None:
    bar = TransportBar(screen.session)
    bar.deleteLater()
    del bar
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    assert not list(screen.session.actions)
    screen.session.seek(3)
    screen.session.speed = 2.0


def test_stepping_pauses_and_the_play_button_shows_what_it_would_do(
    screen: Screen, bar: TransportBar
) -> None:
    screen.session.speed = 0.1
    bar._buttons["play"].click()
    assert screen.session.playing and bar._buttons["play"].symbol == "pause"
    bar._buttons["step_forward"].click()
    assert not screen.session.playing and bar._buttons["play"].symbol == "play"


def test_speed_goes_through_the_usual_ones(screen: Screen, bar: TransportBar) -> None:
    found = []
    for name in ("faster", "faster", "slower", "slower", "slower"):
        screen.session.actions.trigger(name)
        found.append(screen.session.speed)
    assert found == [1.5, 2.0, 1.5, 1.0, 0.75]
    bar.speed_box.setValue(3.3)
    assert screen.session.speed == 3.3
    screen.session.speed = 0.25
    assert bar.speed_box.value() == 0.25
    assert (stepped(8.0, 1), stepped(0.1, -1), stepped(3.3, 1), stepped(3.3, -1)) == (8, 0.1, 4, 3)
    bar.mode_box.setCurrentIndex(1)
    assert screen.session.every_frame


def test_a_moment_is_typed(screen: Screen, bar: TransportBar, qtbot: Any) -> None:
    for text, frame in (("7", 7), ("0.03s", 2), ("0:00.06", 4), ("999", N - 1)):
        bar.goto.setText(text)
        qtbot.keyClick(bar.goto, "\r")
        assert screen.session.frame == frame and bar.goto.text() == str(frame)
    bar.goto.setText("soon")
    qtbot.keyClick(bar.goto, "\r")
    assert screen.session.frame == N - 1 and screen.notices[-1].kind == "error"


def test_the_bar_tells_how_it_goes(screen: Screen, bar: TransportBar) -> None:
    session = screen.session
    session.seek(9)
    assert bar.position.text().split() == ["/", str(N - 1), "0:00.155", "/", "0:00.255"]
    session.decoding = 9
    assert bar.state.text() == "decoding frame 9 …"
    session.decoding = None
    assert bar.state.text() == ""
    screen.frames.problems[10] = "Frame 10 is damaged."
    session.seek(10)
    assert bar.state.text() == "damaged: Frame 10 is damaged."
    session.seek(11)
    session.playback = Playback(3, 0.9)
    assert bar.state.text() == "3 dropped"


def test_bouts_are_gone_through_by_what_is_chosen(
    screen: Screen, bar: TransportBar, tmp_path: Path
) -> None:
    video = write_recording(tmp_path / "videos", "r", 3, n_frames=60).video
    project = Project.create(tmp_path / "p", Settings(), Ethogram().with_names(["walk", "groom"]))
    project, _, _ = workflow.add_recording(project, video)
    rows = [
        {"recording": "r", "behaviour": name, "start_frame": at, "stop_frame": at + 4}
        for name, at in (("walk", 5), ("groom", 20), ("walk", 40))
    ]
    session = screen.session
    session.open_project(project)
    assert session.labels is not None
    session.labels.apply(add_bouts=bout_table(rows), add_spans=span_table([]), description="test")
    session.moment = Moment(project.recording("r"), 0)
    found = []
    for name in ("next_bout", "next_bout", "next_bout", "next_bout", "previous_bout"):
        session.actions.trigger(name)
        found.append(session.frame)
    assert found == [5, 20, 40, 40, 20]
    assert "no bout after" in screen.notices[-1].text
    session.behaviour = "walk"
    session.actions.trigger("previous_bout")
    assert session.frame == 5
    session.close()
