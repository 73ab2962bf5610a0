"""More like this: planted duplicates are found, neighbours in time are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from explore_stores import random_map
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.explore.moments import tile
from ethoprism.explore.similar import MOST_QUERIES, find_similar
from ethoprism.subjects import Unit


def test_planted_duplicates_come_first_in_their_order() -> None:
    found = random_map()
    vectors = found.vectors.copy()
    planted = [30, 60, 120, 150]
    for rank, i in enumerate(planted):
        vectors[i] = vectors[5] + 0.01 * rank
    matches = find_similar(vectors, found.moments, np.array([5]), 10, zone=8)
    assert [m.moment for m in matches[:4]] == planted
    assert matches[0].likeness == pytest.approx(1.0) and matches[0].distance == 0.0
    distances = [m.distance for m in matches]
    assert distances == sorted(distances) and len(matches) == 10
    np.testing.assert_allclose(
        distances[4], np.linalg.norm(vectors[matches[4].moment] - vectors[5]), rtol=1e-5
    )


@given(
    seed=st.integers(0, 30),
    zone=st.integers(0, 60),
    query=st.lists(st.integers(0, 174), min_size=1, max_size=12),
)
def test_results_keep_away_from_the_query_and_from_each_other(
    seed: int, zone: int, query: list[int]
) -> None:
    found = random_map(seed=seed)
    m = found.moments
    matches = find_similar(found.vectors, m, np.array(query), 30, zone=zone)
    taken = [(int(m.unit[i]), int(m.start[i]), int(m.stop[i])) for i in query]
    for match in matches:
        u, a, b = (int(x[match.moment]) for x in (m.unit, m.start, m.stop))
        for other, start, stop in taken:
            assert u != other or a >= stop + zone or b <= start - zone
        taken.append((u, a, b))
        nearest = np.linalg.norm(found.vectors[query] - found.vectors[match.moment], axis=1).min()
        assert match.distance == pytest.approx(float(nearest), rel=1e-4)


def test_subjects_of_one_recording_share_the_zone() -> None:
    moments = tile([Unit("a", "x"), Unit("a", "y"), Unit("b", "x")], [40, 40, 40], 4)
    vectors = np.zeros((30, 2), np.float32)
    matches = find_similar(vectors, moments, np.array([2]), 30, zone=0)
    assert 12 not in [m.moment for m in matches] and 22 in [m.moment for m in matches]


def test_unlike_is_below_zero_and_nothing_asked_is_an_error() -> None:
    found = random_map()
    vectors = found.vectors.copy()
    vectors[7] += 100
    matches = find_similar(vectors, found.moments, np.array([7]), 3)
    assert all(m.likeness < 0 for m in matches)
    with pytest.raises(InputError, match="no moment"):
        find_similar(vectors, found.moments, np.empty(0, np.int64))


def test_large_queries_are_thinned_out_and_none_of_them_comes_back() -> None:
    found = replace(random_map((4000,)), name="large")
    query = np.arange(0, 1000, 2)
    assert len(query) > MOST_QUERIES
    matches = find_similar(found.vectors, found.moments, query, 40)
    assert not {m.moment for m in matches} & set(query.tolist())
