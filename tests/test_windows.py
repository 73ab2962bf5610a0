"""Window arithmetic, checked against the definition by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.windows import WindowGrid


@st.composite
def grids(draw: st.DrawFn) -> WindowGrid:
    length = draw(st.integers(1, 20))
    return WindowGrid(
        n_frames=draw(st.integers(1, 200)),
        length=length,
        hop=draw(st.integers(1, length)),
        step=draw(st.integers(1, 5)),
    )


@given(grids())
def test_each_sampled_frame_takes_its_tokens_from_its_most_central_window(grid: WindowGrid):
    for sampled in range(grid.n_sampled):
        distance = [
            abs(2 * sampled - (2 * k * grid.hop + grid.length - 1)) for k in range(grid.n_windows)
        ]
        assert grid.window_of(sampled) == int(np.argmin(distance))


@given(grids())
def test_kept_ranges_partition_the_sampled_frames(grid: WindowGrid):
    position = 0
    for window in range(grid.n_windows):
        first, last = grid.kept(window)
        assert first == position
        assert grid.start(window) <= first <= last <= grid.stop(window)
        assert all(grid.window_of(s) == window for s in range(first, last))
        position = last
    assert position == grid.n_sampled


@given(grids())
def test_no_window_is_superfluous(grid: WindowGrid):
    assert grid.start(grid.n_windows - 1) < grid.n_sampled
    if grid.n_windows > 1:
        assert grid.start(grid.n_windows - 2) + grid.length < grid.n_sampled


@given(grids())
def test_every_recording_frame_maps_to_its_nearest_sampled_frame(grid: WindowGrid):
    frames = np.arange(grid.n_frames)
    nearest = grid.sampled_of(frames)
    candidates = np.arange(grid.n_sampled) * grid.step
    expected = np.abs(frames[:, None] - candidates[None]).argmin(axis=1)
    assert np.array_equal(nearest, expected)


@pytest.mark.parametrize(
    ("kwargs", "name"),
    [
        ({"n_frames": 0, "length": 8, "hop": 4}, "n_frames"),
        ({"n_frames": 9, "length": 8, "hop": 9}, "hop"),
        ({"n_frames": 9, "length": 8, "hop": 0}, "hop"),
        ({"n_frames": 9, "length": 8, "hop": 4, "step": 0}, "step"),
    ],
)
def test_impossible_grids_are_refused_by_name(kwargs: dict[str, int], name: str):
    with pytest.raises(InputError, match=name):
        WindowGrid(**kwargs)
