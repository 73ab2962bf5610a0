"""Motion of patches: known shifts are found, in patch widths, and missing OpenCV is said."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from ethoprism.errors import InputError
from ethoprism.pretrain.flow import CHANNELS, PATCH, patch_motion

U, V, MAGNITUDE, DIFFERENCE = range(len(CHANNELS))


def _texture(size: int = 144, seed: int = 0) -> np.ndarray:
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((size, size)), 2.0)
    return 128 + 60 * field / field.std()


def _clip(pictures: list[np.ndarray]) -> np.ndarray:
    grey = np.clip(np.stack(pictures), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


@pytest.mark.parametrize(("dx", "dy"), [(3.0, 0.0), (0.0, -2.0), (-1.5, 2.5)])
def test_a_moved_picture_moves_by_as_many_patch_widths(dx: float, dy: float):
    picture = _texture()
    clip = _clip([shift(picture, (i * dy, i * dx), mode="nearest") for i in range(4)])
    motion = patch_motion(clip)
    inner = motion[:3, 1:-1, 1:-1]
    assert motion.shape == (4, 8, 8, 4)
    assert np.median(inner[..., U]) == pytest.approx(dx / PATCH, abs=0.25 / PATCH)
    assert np.median(inner[..., V]) == pytest.approx(dy / PATCH, abs=0.25 / PATCH)
    expected = np.hypot(dx, dy) / PATCH
    assert np.median(inner[..., MAGNITUDE]) == pytest.approx(expected, abs=0.3 / PATCH)


def test_only_the_patch_that_changes_differs():
    still = np.full((72, 72), 100.0)
    lit = still.copy()
    lit[18:36, 36:54] = 151.0
    motion = patch_motion(_clip([still, lit]))
    assert motion[0, 1, 2, DIFFERENCE] == pytest.approx(51 / 255, abs=1e-4)
    others = motion[0, ..., DIFFERENCE].copy()
    others[1, 2] = 0
    assert others.max() == 0


def test_the_last_frame_repeats_what_leads_to_it_and_a_still_clip_has_no_motion():
    picture = _texture(72)
    moved = patch_motion(_clip([picture, shift(picture, (0, 1)), shift(picture, (0, 3))]))
    np.testing.assert_array_equal(moved[2], moved[1])
    still = patch_motion(_clip([picture] * 3))
    assert np.abs(still).max() < 1e-3


def test_a_faint_clip_has_the_motion_of_a_strong_one():
    picture = _texture()
    strong = [shift(picture, (0, 2 * i), mode="nearest") for i in range(3)]
    faint = [128 + 0.15 * (p - 128) for p in strong]
    one, other = (patch_motion(_clip(p))[:2, 1:-1, 1:-1, U] for p in (strong, faint))
    assert np.median(other) == pytest.approx(float(np.median(one)), abs=0.5 / PATCH)


@pytest.mark.parametrize("shape", [(1, 36, 36, 3), (2, 40, 36, 3), (2, 18, 18, 3)])
def test_frames_that_patches_do_not_divide_are_refused(shape: tuple[int, ...]):
    with pytest.raises(InputError, match="18 px"):
        patch_motion(np.zeros(shape, np.uint8))


def test_missing_opencv_names_the_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ethoprism.pretrain.flow.find_spec", lambda name: None)
    assert importlib.util.find_spec("cv2") is not None
    with pytest.raises(InputError, match=r"ethoprism\[pretrain\]"):
        patch_motion(np.zeros((2, 36, 36, 3), np.uint8))
