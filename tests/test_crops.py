"""Crops: a region, a path that follows without lag, and pixels beyond the border."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.crops import (
    Crop,
    CropPath,
    Focus,
    Region,
    crop_size,
    cut,
    follow_path,
    patches_across,
    too_small,
)
from ethoprism.errors import InputError

PIXELS = st.integers(0, 5000)


@given(PIXELS, PIXELS, st.integers(1, 5000), st.integers(1, 5000))
def test_a_region_is_written_and_read(left: int, top: int, width: int, height: int):
    region = Region(left, top, width, height)
    assert Region.parse(region.text) == region
    assert region.check_inside(top + height, left + width) == region
    with pytest.raises(InputError, match="within the frame"):
        region.check_inside(top + height - 1, left + width)


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "a,0,1,1", "0,0,0,5", "-1,0,5,5", "²,0,1,1"]
)
def test_what_is_no_region_is_refused(text: str):
    with pytest.raises(InputError):
        Region.parse(text)


@given(
    st.one_of(
        st.sampled_from([Crop(), Crop("region"), Crop("focus")]),
        st.integers(2, 2**15).map(lambda px: Crop("subject", size_px=px)),
        st.integers(50, 10000).map(lambda m: Crop("subject", m / 100)),
    )
)
def test_a_crop_is_written_and_read(crop: Crop):
    assert Crop.parse(crop.text).text == crop.text


@pytest.mark.parametrize(
    "text",
    ["", "all", "subject 0 px", "subject 1 px", "subject 2", "region 5 px", "subject 0.1 lengths"],
)
def test_what_is_no_crop_is_refused(text: str):
    with pytest.raises(InputError, match="cannot be cut"):
        Crop.parse(text)


@given(st.integers(-40, 60), st.integers(-40, 60), st.integers(1, 50), st.integers(1, 50))
def test_a_cut_takes_the_nearest_pixel_outside(top: int, left: int, height: int, width: int):
    frame = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    padded = np.pad(frame, ((150, 150), (150, 150), (0, 0)), mode="edge")
    expected = padded[150 + top : 150 + top + height, 150 + left : 150 + left + width]
    np.testing.assert_array_equal(cut(frame, top, left, (height, width)), expected)


def test_steady_motion_is_followed_without_lag():
    times = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.06, 200))
    centres = np.stack([100 + 80 * times, 300 - 40 * times], axis=1)
    path = follow_path(centres, times, 50)
    middle = path.top_left[:, ::-1] + 25
    assert path.valid.all() and abs(middle - centres).max() <= 0.51  # whole pixels


def test_a_shaking_outline_does_not_shake_the_crop():
    rng = np.random.default_rng(2)
    times = np.arange(500) / 25
    way = np.stack([200 + 50 * np.sin(times / 2), 200 + 50 * np.cos(times / 3)], axis=1)
    path = follow_path(way + rng.normal(0, 4, way.shape), times, 64)
    error = path.top_left[:, ::-1] + 32 - way
    assert error.std() < 0.55 * 4


def test_short_gaps_are_bridged_and_long_ones_are_not_valid():
    times = np.arange(100) / 25
    centres = np.stack([np.arange(100.0), np.full(100, 50.0)], axis=1)
    seen = np.ones(100, bool)
    seen[10:15] = seen[40:60] = seen[95:] = False
    centres[~seen] = np.nan
    path = follow_path(centres, times, 20)
    expected = np.ones(100, bool)
    expected[40:60] = expected[95:] = False
    np.testing.assert_array_equal(path.valid, expected)
    assert abs(path.top_left[10:15, 1] - (np.arange(10, 15) - 10)).max() <= 1


def test_frames_behind_a_long_gap_do_not_pull_the_path():
    times = np.arange(60) / 25
    centres = np.stack([np.where(np.arange(60) < 25, 0.0, 1000.0), np.zeros(60)], axis=1)
    centres[25:35] = np.nan
    path = follow_path(centres, times, 10)
    assert set(path.top_left[path.valid, 1].tolist()) == {-5, 995}


def test_frames_of_equal_time_are_followed():
    times = np.repeat(np.arange(20.0), 2) / 25
    centres = np.stack([np.arange(40.0), np.zeros(40)], axis=1)
    path = follow_path(centres, times, 10)
    assert path.valid.all() and np.isfinite(path.top_left).all()


def test_digests_tell_paths_apart():
    a = CropPath.from_region(Region(1, 2, 30, 40), 10)
    same = CropPath((40, 30), np.tile(np.array([[2, 1]], np.int32), (10, 1)), np.ones(10, bool))
    gap = np.ones(10, bool)
    gap[3] = False
    others = [
        CropPath.from_region(Region(2, 1, 30, 40), 10),
        CropPath.from_region(Region(1, 2, 40, 30), 10),
        CropPath.from_region(Region(1, 2, 30, 40), 11),
        CropPath(a.size, a.top_left, gap),
    ]
    assert a.digest == same.digest
    assert len({a.digest, *(other.digest for other in others)}) == 5


def test_the_size_is_that_of_most_frames():
    lengths = np.array([50.0] * 90 + [400.0] * 5 + [np.nan] * 5)
    assert crop_size(lengths, 2.0) == 100
    with pytest.raises(InputError, match="--size"):
        crop_size(np.full(3, np.nan))


def test_an_animal_below_two_patches_is_too_small():
    # A fly of 93 px in a frame of 1024 px, on a grid of 8 patches: under one patch.
    assert patches_across(93.0, 1024, 8) == pytest.approx(0.727, abs=1e-3)
    assert too_small(93.0, (1024, 1024), 8) and not too_small(93.0, (186, 186), 8)


def test_a_dart_quicker_than_the_smoothing_does_not_leave_the_crop():
    times = np.arange(60) / 25
    x = np.interp(np.arange(60), [0, 30, 33, 59], [100.0, 100.0, 400.0, 400.0])
    path = follow_path(np.stack([x, np.full(60, 50.0)], axis=1), times, 80)
    assert path.valid.all()
    assert abs(path.top_left[:, 1] + 40 - x).max() <= 80 * 0.125 + 0.51  # whole pixels


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.sampled_from([(4, 2), (8, 4), (16, 4), (16, 16), (5, 1)]),
    st.data(),
)
def test_a_focus_shares_out_its_area(
    height: int, width: int, sides: tuple[int, int], data: st.DataObject
):
    grid, pooling = sides
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    region = Region(
        left, top, data.draw(st.integers(1, width - left)), data.draw(st.integers(1, height - top))
    )
    positions, shares = Focus(region, height, width).cells(grid, pooling)
    assert list(positions) == sorted(set(positions))
    assert positions[0] >= 0 and positions[-1] < grid**2
    assert shares.shape == (pooling**2, len(positions)) and (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    # A patch counts as much as the part of the region that lies in it.
    inside = np.zeros((height * grid, width * grid))
    inside[
        top * grid : (top + region.height) * grid, left * grid : (left + region.width) * grid
    ] = 1
    area = inside.reshape(grid, height, grid, width).mean(axis=(1, 3)).ravel()
    np.testing.assert_allclose(shares.mean(axis=0), (area / area.sum())[list(positions)], atol=1e-5)


def test_a_focus_on_the_whole_frame_is_a_frame():
    positions, shares = Focus(Region(0, 0, 64, 48), 48, 64).cells(4, 2)
    assert positions == tuple(range(16))
    first = np.zeros((4, 4), np.float32)
    first[:2, :2] = 0.25
    np.testing.assert_allclose(shares[0], first.ravel(), atol=1e-6)


def test_a_focus_is_known_by_its_region_and_frame():
    region = Region(1, 2, 3, 4)
    digests = {
        Focus(region, 48, 64).digest,
        Focus(region, 64, 48).digest,
        Focus(Region(1, 2, 4, 3), 48, 64).digest,
        CropPath.from_region(region, 5).digest,
    }
    assert len(digests) == 4
    with pytest.raises(InputError, match="within the frame"):
        Focus(region, 4, 64)
