"""A glimpse is the frame itself, or nothing."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from video_samples import LONG, SAMPLES, SHORT, Sample, damage, packet_table, write

from ethoprism.decoding import FrameStream
from ethoprism.glimpse import Glimpse
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader, RgbConverter

N = 90
H264 = [s for s in SAMPLES if s.codec == "libx264"]
OTHERS = [s for s in SAMPLES if s.name in ("hevc.mp4", "vp9.webm", "ffv1.mkv")]


def always() -> bool:
    return True


@pytest.mark.parametrize("sample", H264, ids=lambda s: s.name)
def test_a_glimpse_is_the_same_frame_bit_for_bit(tmp_path: Path, sample: Sample) -> None:
    recording, _ = open_recording(write(tmp_path, sample, N))
    assert recording.index is not None
    glimpse = Glimpse(recording.path, recording.index)
    to_rgb = RgbConverter(recording.index.turns)
    rng = random.Random(6)
    numbers = [0, N - 1, *rng.sample(range(N), 25), 30, 31, 32]
    seen = 0
    try:
        with FrameReader(recording) as reader:
            for n in numbers:
                frame = glimpse.get(n, always)
                if frame is not None:
                    seen += 1
                    np.testing.assert_array_equal(to_rgb(frame), reader[n])
    finally:
        glimpse.close()
    # Where the container's word is not enough, a glimpse may be refused; mostly it is not.
    assert seen >= len(numbers) // 2 or "refresh" in sample.name or "open" in sample.name


@pytest.mark.parametrize("sample", OTHERS, ids=lambda s: s.name)
def test_other_codecs_have_no_glimpses(tmp_path: Path, sample: Sample) -> None:
    recording, _ = open_recording(write(tmp_path, sample, 40))
    assert recording.index is not None
    glimpse = Glimpse(recording.path, recording.index)
    assert glimpse.get(30, always) is None and glimpse.get(0, always) is None
    glimpse.close()


def test_a_glimpse_that_is_not_wanted_any_more_is_given_up(tmp_path: Path) -> None:
    recording, _ = open_recording(write(tmp_path, Sample("l.mp4", "libx264", options=LONG), N))
    assert recording.index is not None
    glimpse = Glimpse(recording.path, recording.index)
    asked: list[int] = []
    assert glimpse.get(80, lambda: len(asked) < 5 and not asked.append(1)) is None
    assert len(asked) == 5
    frame = glimpse.get(80, always)
    glimpse.close()
    with FrameReader(recording) as reader:
        assert frame is not None
        np.testing.assert_array_equal(RgbConverter()(frame), reader[80])


def test_damage_that_is_met_gives_none(tmp_path: Path) -> None:
    whole = write(tmp_path, Sample("w.mp4", "libx264", options={"g": "45", "bf": "0"}), N)
    _, position, size, _ = packet_table(whole)[20]
    path = damage(whole, position + 16, size - 16, "damaged.mp4")
    recording, _ = open_recording(path, accept_damaged=True)
    assert recording.index is not None
    glimpse = Glimpse(path, recording.index)
    stream = FrameStream(path, recording.index)
    for n in (10, 20, 30, 44, 45, 80):
        frame, exact = glimpse.get(n, always), stream.get(n)
        # No picture here is without others that lean on it, so all damage is met.
        assert frame is None or exact is not None
    assert glimpse.get(10, always) is not None and glimpse.get(80, always) is not None
    glimpse.close()
    stream.close()


def test_a_reader_gives_glimpses_only_where_the_way_is_long(tmp_path: Path) -> None:
    sample = Sample("l.mp4", "libx264", options={**SHORT, "g": "90"})
    recording, _ = open_recording(write(tmp_path, sample, N))
    with FrameReader(recording) as reader:
        assert reader.glimpse(8, always) is None
        assert reader.glimpse(70, always) is not None
        reader.decode_to(60, lambda n, frame: None)
        assert reader.glimpse(70, always) is None  # nearly there
        assert reader.glimpse(50, always) is not None  # it would have to begin anew
