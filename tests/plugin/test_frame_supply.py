"""Frames decoded in a thread of their own: the newest wish wins, and memory is bounded."""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_samples import LONG, SHORT, Sample, write

from ethoprism.errors import VideoError
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader
from napari_ethoprism.frame_supply import FrameSupply, Passed, Picture, open_decoder

SHAPE = (1000, 10, 10, 3)
FRAME_BYTES = 300
GROUP = 50


class Steps:
    """A decoder whose frames show their number; each one decoded takes a permit, if any are set."""

    def __init__(self, *, held: bool = False) -> None:
        self.permits = threading.Semaphore(0) if held else None
        self.log: list[int] = []
        self.asked: list[int] = []
        self.reached: queue.Queue[int] = queue.Queue()
        self.threads: set[str] = set()
        self.damaged: set[int] = set()
        self.glimpses: dict[int, np.ndarray] = {}
        self.closed = False
        self._next = 0

    def decode_to(self, n: int, passed: Passed) -> None:
        self.asked.append(n)
        base = n - n % GROUP
        if not base <= self._next <= n:
            self._next = base
        while True:
            number = self._next
            self.reached.put(number)
            if self.permits is not None:
                assert self.permits.acquire(timeout=20)
            self.log.append(number)
            self.threads.add(threading.current_thread().name)
            self._next += 1
            frame = np.full(SHAPE[1:], number % 251, np.uint8)
            passed(number, None if number in self.damaged else frame)
            if number == n:
                return

    def glimpse(self, n: int, wanted: Callable[[], bool]) -> Any:
        return self.glimpses.get(n) if wanted() else None

    def converter(self) -> Callable[[Any], np.ndarray]:
        return np.asarray

    def why(self, n: int) -> str:
        return f"frame {n} is damaged"

    def close(self) -> None:
        self.closed = True

    def wait_for(self, n: int) -> None:
        while self.reached.get(timeout=20) != n:
            pass


@pytest.fixture
def supplies() -> Iterator[Callable[..., tuple[FrameSupply, Steps, queue.Queue[int]]]]:
    made: list[tuple[FrameSupply, Steps]] = []

    def make(*, held: bool = False, frames: int = 400) -> tuple[FrameSupply, Steps, Any]:
        decoder, arrived = Steps(held=held), queue.Queue()
        supply = FrameSupply(lambda: decoder, SHAPE, arrived.put, frames * FRAME_BYTES)
        made.append((supply, decoder))
        return supply, decoder, arrived

    yield make
    for supply, decoder in made:
        if decoder.permits is not None:
            decoder.permits.release(100_000)
        supply.close()


def fetch(supply: FrameSupply, n: int) -> Picture:
    supply.want(n)
    picture = supply.picture(n, 20)
    assert picture is not None
    return picture


def test_a_frame_that_is_wanted_arrives(supplies: Any) -> None:
    supply, decoder, arrived = supplies()
    assert supply.picture(70) is None and decoder.log == []
    picture = fetch(supply, 70)
    assert (picture.rgb == 70).all() and picture.problem == ""
    assert arrived.get(timeout=20) == 70
    assert decoder.threads == {"ethoprism frames"}


def test_the_newest_wish_wins_and_what_was_decoded_on_the_way_is_kept(supplies: Any) -> None:
    supply, decoder, arrived = supplies(held=True)
    supply.want(140)
    decoder.wait_for(100)
    decoder.permits.release(5)
    decoder.wait_for(105)
    for n in (700, 800, 340):
        supply.want(n)
    decoder.permits.release(1)
    decoder.wait_for(300)
    # 140 was given up behind frame 105; neither 700 nor 800 was begun.
    assert decoder.log == [100, 101, 102, 103, 104, 105]
    assert decoder.asked == [140, 340]
    assert all(supply.has(n) for n in range(100, 106)) and not supply.has(140)
    decoder.permits.release(41)
    assert arrived.get(timeout=20) == 340 and arrived.empty()


def test_a_wish_further_on_in_the_group_goes_on_where_decoding_was(supplies: Any) -> None:
    supply, decoder, arrived = supplies(held=True)
    supply.want(20)
    decoder.wait_for(0)
    decoder.permits.release(10)
    decoder.wait_for(10)
    supply.want(30)
    decoder.permits.release(21)
    assert arrived.get(timeout=20) == 30
    assert decoder.log[:31] == list(range(31))


def test_frames_ahead_are_decoded_in_the_direction_of_movement(supplies: Any) -> None:
    supply, _, _ = supplies()
    fetch(supply, 310)
    fetch(supply, 311)
    assert supply.settle(20)
    assert all(supply.has(n) for n in range(300, 311 + 50))
    supply, _, _ = supplies()
    fetch(supply, 500)
    fetch(supply, 499)
    assert supply.settle(20)
    assert all(supply.has(n) for n in range(499 - 50, 500))


def test_a_glimpse_is_shown_at_once_and_confirmed(supplies: Any) -> None:
    supply, decoder, arrived = supplies(held=True)
    decoder.glimpses = {40: np.full(SHAPE[1:], 40, np.uint8), 290: np.zeros(SHAPE[1:], np.uint8)}
    decoder.damaged = {290}
    first = fetch(supply, 40)
    assert (first.rgb == 40).all() and decoder.log == []
    assert arrived.get(timeout=20) == 40
    decoder.permits.release(10_000)
    assert supply.settle(20)
    assert supply.picture(40) is first and arrived.empty()  # nothing has changed
    supply.want(290)
    assert supply.settle(20)
    assert arrived.get(timeout=20) == 290 == arrived.get(timeout=20)
    picture = supply.picture(290)
    assert picture is not None and picture.problem == "frame 290 is damaged"


def test_a_glimpse_that_was_not_confirmed_is_so_when_it_is_wanted_again(supplies: Any) -> None:
    supply, decoder, _ = supplies(held=True)
    decoder.glimpses = {40: np.full(SHAPE[1:], 40, np.uint8)}
    decoder.damaged = {40}
    assert fetch(supply, 40).problem == ""
    supply.want(200)
    decoder.permits.release(10_000)
    assert supply.settle(20)
    supply.want(40)
    assert supply.settle(20)
    assert supply.problem(40) == "frame 40 is damaged"


@pytest.mark.parametrize("frames", [2, 8, 40, 300])
def test_memory_stays_within_its_bound_and_the_thread_comes_to_rest(
    supplies: Any, frames: int
) -> None:
    supply, _, _ = supplies(frames=frames)
    rng, n = random.Random(frames), 0
    for _ in range(30):
        n = rng.randrange(SHAPE[0])
        assert (fetch(supply, n).rgb == n % 251).all()
        # Each of the two parts keeps the frame that is shown, whatever the bound.
        assert supply.nbytes <= max(frames, 2) * FRAME_BYTES
    assert supply.settle(20)
    assert supply.has(n)


def test_damaged_frames_are_black_with_the_reason(supplies: Any) -> None:
    supply, decoder, _ = supplies()
    decoder.damaged = {60, 61}
    picture = fetch(supply, 60)
    assert not picture.rgb.any() and picture.problem == "frame 60 is damaged"
    assert supply.problem(60) == "frame 60 is damaged"
    assert fetch(supply, 62).problem == "" and supply.problem(62) == ""


def test_a_decoder_that_fails_is_told_and_tried_again_at_the_next_frame() -> None:
    decoder, arrived = Steps(), queue.Queue()
    errors = [VideoError("The disk is away"), OSError("unforeseen")]

    def open_it() -> Steps:
        if errors:
            raise errors.pop(0)
        return decoder

    supply = FrameSupply(open_it, SHAPE, arrived.put, 100 * FRAME_BYTES)
    try:
        picture = fetch(supply, 5)
        assert not picture.rgb.any() and "The disk is away" in picture.problem
        assert arrived.get(timeout=20) == 5
        assert "unforeseen" in fetch(supply, 6).problem
        assert supply.problem(6) != ""
        assert (fetch(supply, 7).rgb == 7).all() and supply.problem(7) == ""
    finally:
        supply.close()
    assert decoder.closed


def test_closing_ends_the_thread_and_gives_up_what_it_does(supplies: Any) -> None:
    supply, decoder, arrived = supplies(held=True)
    supply.want(540)
    decoder.wait_for(500)
    closer = threading.Thread(target=supply.close)
    closer.start()
    decoder.permits.release(2)
    closer.join(20)
    assert not closer.is_alive() and decoder.closed and arrived.empty()
    assert len(decoder.log) <= 2 and supply.nbytes == 0
    supply.want(3)
    assert supply.picture(3, 0.05) is None


@pytest.mark.parametrize(
    "sample",
    [
        Sample("long.mp4", "libx264", options=LONG),
        Sample("short.mkv", "libx264", options=SHORT),
        Sample("open.mp4", "libx264", options={"x264-params": "open-gop=1:keyint=20:bframes=3"}),
        Sample("mjpeg.avi", "mjpeg", "yuvj420p"),
    ],
    ids=lambda sample: sample.name,
)
def test_frames_of_a_video_are_those_of_the_library_in_any_order(
    tmp_path: Path, sample: Sample
) -> None:
    recording, _ = open_recording(write(tmp_path, sample, 90))
    shape = (recording.n_frames, recording.height, recording.width, 3)
    rng = random.Random(4)
    supply = FrameSupply(lambda: open_decoder(recording), shape, lambda n: None, 2 << 20)
    try:
        with FrameReader(recording) as reader:
            for _ in range(60):
                n = rng.randrange(recording.n_frames)
                for wish in (rng.randrange(recording.n_frames), n):  # the first one is dropped
                    supply.want(wish)
                picture = supply.picture(n, 20)
                assert picture is not None and supply.nbytes <= 2 << 20
                np.testing.assert_array_equal(picture.rgb, reader[n])
    finally:
        supply.close()
