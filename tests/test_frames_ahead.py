"""Frames come in aligned batches, are seen alike everywhere, and leave no thread behind."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ethoprism.backbones.preprocess import preprocess
from ethoprism.frames_ahead import FramesAhead
from ethoprism.recording import Recording, open_recording
from ethoprism.video import FrameReader
from ethoprism.windows import WindowGrid
from ethoprism_datasets.arena import write_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    files = write_recording(tmp_path_factory.mktemp("ahead"), "r", 5, n_frames=40)
    return open_recording(files.video)[0]


def _decoders() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "decoder"]


def test_batches_are_aligned_to_the_recording(recording: Recording):
    grid = WindowGrid(recording.n_frames, 8, 4, 3)
    with FramesAhead(recording, grid, 24, 4, None) as ahead:
        chunks = list(ahead.chunks(1, 4))
    assert [chunk for chunk, _, _ in chunks] == [1, 2, 3]
    with FrameReader(recording) as reader:
        for chunk, frames, valid in chunks:
            rows = [row for row in range(4 * chunk, 4 * chunk + 4) if row < grid.n_sampled]
            assert valid.tolist() == [True] * len(rows)
            for i, row in enumerate(rows):
                np.testing.assert_array_equal(frames[i], preprocess(reader[3 * row], 24))
            assert not frames[len(rows) :].any()
    assert not _decoders()


def test_batches_travel_to_the_device_in_the_thread(recording: Recording):
    threads = set()

    def to_device(frames: np.ndarray) -> tuple[str, int]:
        threads.add(threading.current_thread().name)
        return "sent", len(frames)

    grid = WindowGrid(recording.n_frames, 8, 4)
    with FramesAhead(recording, grid, 16, 8, None, to_device) as ahead:
        assert [sent for _, sent, _ in ahead.chunks(0, 5)] == [("sent", 8)] * 5
    assert threads == {"decoder"}


def test_leaving_early_ends_the_thread(recording: Recording):
    grid = WindowGrid(recording.n_frames, 8, 4)
    with FramesAhead(recording, grid, 16, 1, None) as ahead:
        next(ahead.chunks(0, 40))
        assert _decoders()
    assert not _decoders()


def test_what_fails_in_the_thread_is_raised(recording: Recording):
    def broken(frames: np.ndarray) -> np.ndarray:
        raise MemoryError("of the device")

    grid = WindowGrid(recording.n_frames, 8, 4)
    with (
        FramesAhead(recording, grid, 16, 8, None, broken) as ahead,
        pytest.raises(MemoryError, match="of the device"),
    ):
        list(ahead.chunks(0, 5))
    assert not _decoders()
