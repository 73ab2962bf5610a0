"""Frames reach the encoder as the official notebooks resize them: Pillow's Lanczos, no crop."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ethoprism.backbones.preprocess import preprocess


def _frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (100, 37), (20, 20), (1, 1)])
@pytest.mark.parametrize("size", [144, 288])
def test_equals_lanczos_of_pillow(shape: tuple[int, int], size: int):
    frame = _frame(*shape)
    before = frame.copy()
    found = preprocess(frame, size)
    expected = Image.fromarray(frame).resize((size, size), Image.Resampling.LANCZOS)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.asarray(expected))
    np.testing.assert_array_equal(frame, before)


def test_rows_stay_rows():
    frame = np.zeros((60, 90, 3), np.uint8)
    frame[:30, :, 0] = 255
    found = preprocess(frame, 18)
    assert found[:6, :, 0].min() > 200
    assert found[12:, :, 0].max() < 50
    assert not found[..., 1:].any()


def test_nothing_changes_at_the_same_size():
    frame = _frame(144, 144)
    found = preprocess(frame, 144)
    np.testing.assert_array_equal(found, frame)
    assert not np.shares_memory(found, frame)
    assert found.flags.writeable


def test_layout_in_memory_does_not_matter():
    frame = _frame(90, 120)
    expected = preprocess(frame, 36)
    np.testing.assert_array_equal(preprocess(np.asfortranarray(frame), 36), expected)
    mirrored = frame[:, ::-1].copy()[:, ::-1]
    np.testing.assert_array_equal(preprocess(mirrored, 36), expected)
    frame.flags.writeable = False
    np.testing.assert_array_equal(preprocess(frame, 36), expected)


def test_a_size_of_nothing():
    with pytest.raises(ValueError, match="at least 1 px"):
        preprocess(_frame(9, 9), 0)
