"""The map's arithmetic: counts are kept, views invert, lassos hold what lies in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Outline

from napari_ethoprism.map_model import (
    MOST_DISCS,
    Cloud,
    View,
    aggregate,
    in_polygon,
    mixed_colours,
    nearest,
    ramp_colours,
    render,
    shade,
    spread,
)

numbers = st.floats(-50, 50, width=32)
points_of = st.integers(1, 80).flatmap(lambda n: arrays(np.float32, (n, 2), elements=numbers))
views = st.builds(
    View, numbers, numbers, st.floats(0.1, 40), st.integers(1, 120), st.integers(1, 90)
)


@given(points=points_of, view=views, cell=st.integers(1, 5))
def test_every_point_in_view_counts_once(points: np.ndarray, view: View, cell: int) -> None:
    colours = np.full((len(points), 3), 0.5, np.float32)
    density = aggregate(view, Cloud.of(points, colours), cell)
    place = view.to_pixels(points)
    inside = ((place >= 0) & (place < [view.width, view.height])).all(axis=1)
    assert density.count.sum() == inside.sum()
    np.testing.assert_allclose(density.colour, 0.5)
    expected = np.floor(place[inside] / np.float32(cell)).astype(int)
    cells = np.unique(expected[:, 1] * density.columns + expected[:, 0])
    np.testing.assert_array_equal(density.at, cells)


@given(points=points_of, seed=st.integers(0, 9))
def test_colours_are_means(points: np.ndarray, seed: int) -> None:
    colours = np.random.default_rng(seed).random((len(points), 3)).astype(np.float32)
    view = View(0, 0, 0.1, 20, 20)  # everything within a few pixels
    density = aggregate(view, Cloud.of(points, colours))
    total = (density.colour * density.count[:, None]).sum(axis=0)
    np.testing.assert_allclose(total, colours.sum(axis=0), rtol=1e-4)


@given(view=views, px=st.floats(-200, 200), py=st.floats(-200, 200), factor=st.floats(0.2, 5))
def test_pixels_and_points_invert_and_zooming_keeps_its_place(
    view: View, px: float, py: float, factor: float
) -> None:
    at = view.to_map(px, py)
    back = view.to_pixels(np.array([at], np.float64))[0]
    np.testing.assert_allclose(back, [px, py], atol=0.02 * max(1, view.scale / 10))
    np.testing.assert_allclose(view.zoomed(factor, px, py).to_map(px, py), at, rtol=1e-6, atol=1e-6)
    moved = view.moved(7, -3)
    np.testing.assert_allclose(moved.to_map(px + 7, py - 3), at, rtol=1e-6, atol=1e-6)


@given(points=points_of, width=st.integers(20, 300), height=st.integers(20, 300))
def test_the_whole_map_fits(points: np.ndarray, width: int, height: int) -> None:
    place = View.around(points, width, height).to_pixels(points)
    assert (place >= -0.5).all() and (place <= np.array([width, height]) + 0.5).all()


@given(
    points=points_of,
    polygon=st.integers(0, 12).flatmap(lambda k: arrays(np.float32, (k, 2), elements=numbers)),
)
def test_a_lasso_holds_what_matplotlib_finds_in_it(points: np.ndarray, polygon: np.ndarray) -> None:
    found = in_polygon(points, polygon)
    if len(polygon) < 3:
        assert not found.any()
        return
    # On an edge, the two may differ, and so where a polygon crosses itself: it is cut in two there,
    # one counts crossings and the other windings. So the crossings are counted one by one.
    expected = np.array([_crossings(x, y, polygon) % 2 == 1 for x, y in points.tolist()])
    np.testing.assert_array_equal(found, expected)


@given(points=points_of, seed=st.integers(0, 99), corners=st.integers(3, 20))
def test_a_star_without_crossings_is_what_matplotlib_says(
    points: np.ndarray, seed: int, corners: int
) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    star = rng.uniform(5, 60, corners)[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    outline = Outline(np.vstack([star, star[:1]]), closed=True)
    clear = outline.contains_points(points, radius=1e-6) == outline.contains_points(
        points, radius=-1e-6
    )
    found = in_polygon(points, star)
    np.testing.assert_array_equal(found[clear], outline.contains_points(points)[clear])


def _crossings(x: float, y: float, polygon: np.ndarray) -> int:
    count = 0
    corners = polygon.tolist()
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) * ((x1 - x0) / (y1 - y0)):
            count += 1
    return count


@given(points=points_of, view=views, px=st.floats(0, 90), py=st.floats(0, 90))
def test_the_nearest_point_is_the_nearest(
    points: np.ndarray, view: View, px: float, py: float
) -> None:
    found = nearest(view, points.astype(np.float64), px, py, 10)
    away = np.hypot(*(view.to_pixels(points.astype(np.float64)) - [px, py]).T)
    if found is None:
        assert away.min() > 9.99
    else:
        assert away[found] <= away.min() + 0.01 and away[found] < 10.01


def test_discs_grow_and_lie_around_their_points() -> None:
    view = View(0, 0, 1, 21, 21)
    cloud = Cloud.of(np.zeros((1, 2), np.float32), np.ones((1, 3), np.float32))
    areas = []
    for radius in (1.0, 2.0, 4.0):
        disc = spread(aggregate(view, cloud), radius)
        rows, columns = disc.at // disc.columns, disc.at % disc.columns
        assert np.hypot(rows - 10, columns - 10).max() < radius + 0.5
        areas.append(float(disc.count.sum()))
    np.testing.assert_allclose(areas, [np.pi * (r + 0.1) ** 2 for r in (1, 2, 4)], rtol=0.2)


def test_lone_points_show_and_crowds_show_more() -> None:
    view = View(0, 0, 10, 40, 40)
    points = np.array([[-1.0, 0.0]] + [[1.0, 0.0]] * 200, np.float32)
    picture = shade(aggregate(view, Cloud.of(points, np.ones((201, 3), np.float32))))
    alphas = np.sort(picture[..., 3][picture[..., 3] > 0])
    assert len(alphas) == 2 and 150 < alphas[0] < alphas[1] == 255


@pytest.mark.parametrize("n", [300, MOST_DISCS + 1000])
def test_what_is_not_chosen_is_faint(n: int) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
    points[: n // 2, 0] -= 3
    chosen = np.arange(n) >= n // 2
    view = View.around(points, 300, 200)
    colours = np.ones((n, 3), np.float32)
    whole, cell = render(view, Cloud.of(points, colours))
    part, _ = render(view, Cloud.of(points, colours, chosen))
    half = whole.shape[1] // 2
    assert whole.shape[:2] == (200 // cell, 300 // cell) and whole[..., 3].max() > 150
    assert part[:, half + 5 :, 3].max() > 150
    assert 0 < part[:, : half - 5, 3].sum() < 0.6 * whole[:, : half - 5, 3].sum()


def test_rare_behaviours_show_through_common_ones() -> None:
    palette = np.eye(3, dtype=np.float32)[:2]
    share = np.zeros((100, 2), np.float32)
    share[:, 0] = 1
    share[0, 1] = 1
    share[1] = 0
    share[2] = np.nan
    grey, none = np.full(3, 0.5, np.float32), np.full(3, 0.1, np.float32)
    colours = mixed_colours(share, palette, grey, none)
    np.testing.assert_allclose(colours[5], [1, 0, 0])
    assert colours[0, 1] > 0.95
    np.testing.assert_allclose(colours[1], grey)
    np.testing.assert_allclose(colours[2], none)
    assert mixed_colours(np.empty((4, 0), np.float32), palette[:0], grey, none).shape == (4, 3)


def test_ramps_go_from_end_to_end_and_know_what_they_do_not_know() -> None:
    stops = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    unknown = np.array([0.2, 0.3, 0.4], np.float32)
    found = ramp_colours(np.array([0.0, 0.5, 1.0, 2.0, np.nan]), stops, unknown)
    np.testing.assert_allclose(found[:4, 0], [0, 0.5, 1, 1])
    np.testing.assert_allclose(found[4], unknown)
