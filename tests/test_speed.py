"""Speeds are measured on what extraction does, and end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from toy_backbone import ToyBackbone

from ethoprism import speed
from ethoprism.extract import token_key
from ethoprism.recording import open_recording
from ethoprism_datasets.arena_files import write_recording


class Slow(ToyBackbone):
    """Takes a known time for each call in time."""

    def temporal(self, *arguments, **options):
        time.sleep(0.02)
        return super().temporal(*arguments, **options)


def test_the_encoder_is_timed_after_it_was_compiled() -> None:
    backbone = Slow()
    key = token_key(backbone.card, hop=3, pooling=2)
    found = speed.encoding(backbone, key, seconds=0.3)
    # Four windows a call, of three new frames each, take a fiftieth of a second or more.
    assert 0 < found.frames_per_second <= 4 * 3 / 0.02
    assert found.window_seconds == pytest.approx(3 / found.frames_per_second)
    assert found.first_seconds > 0.02


def test_decoding_is_timed_without_anything_else(tmp_path: Path) -> None:
    recording = open_recording(write_recording(tmp_path, "r", 3, n_frames=30).video)[0]
    assert speed.decoding(recording, seconds=0.2) > 1
    one = open_recording(write_recording(tmp_path, "one", 3, n_frames=1).video)[0]
    assert speed.decoding(one) != speed.decoding(one)  # NaN: there is nothing to time
