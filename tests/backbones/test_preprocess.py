"""Frames reach the encoder as the official notebooks resize them: Pillow's Lanczos, no crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ethoprism.backbones import lanczos
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


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 200), st.integers(2, 200), st.integers(2, 60))
def test_the_compiled_resize_gives_pillows_pixels(height: int, width: int, size: int):
    kernel = lanczos._kernel(height, width, size)
    assert kernel is not None, "numba does not run here, or Pillow sums otherwise"
    frame = _frame(height, width)
    np.testing.assert_array_equal(kernel(frame), lanczos.with_pillow(frame, size))
    # Full contrast overshoots 0 and 255, where sums are cut.
    sharp = np.where(frame > 127, 255, 0).astype(np.uint8)
    np.testing.assert_array_equal(kernel(sharp), lanczos.with_pillow(sharp, size))


def test_a_resize_that_differs_from_pillows_is_not_used(monkeypatch: pytest.MonkeyPatch):
    weights = lanczos._weights

    def otherwise(n: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first, count, values = weights(n, size)
        return first, count, values + (values > 0).astype(np.int32) * 2000

    monkeypatch.setattr(lanczos, "_weights", otherwise)
    lanczos._kernel.cache_clear()
    try:
        assert lanczos._kernel(61, 61, 18) is None
        frame = _frame(61, 61)
        np.testing.assert_array_equal(preprocess(frame, 18), lanczos.with_pillow(frame, 18))
    finally:
        lanczos._kernel.cache_clear()


def test_without_a_compiler_pillow_resizes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lanczos, "_compiled", lambda: None)
    lanczos._kernel.cache_clear()
    try:
        frame = _frame(50, 70)
        np.testing.assert_array_equal(preprocess(frame, 18), lanczos.with_pillow(frame, 18))
    finally:
        lanczos._kernel.cache_clear()
