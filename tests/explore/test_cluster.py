"""Clusters: planted groups are found again, the same for a seed; exemplars are typical."""

from __future__ import annotations

import numpy as np
import pytest
from explore_stores import random_map
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from ethoprism.errors import InputError
from ethoprism.explore import cluster as module
from ethoprism.explore.cluster import METHODS, ClusterSettings, Method, cluster, exemplars
from ethoprism.explore.moments import tile
from ethoprism.subjects import Unit

GROUPS = np.repeat([0, 1, 2], [40, 60, 50])


@pytest.fixture(scope="module")
def planted() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0, 0, 0], [20, 0, 0, 5], [0, 20, 5, 0]])
    return (centres[GROUPS] + rng.standard_normal((150, 4))).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sampled", [False, True])
def test_planted_groups_are_found_the_largest_first(
    planted: np.ndarray, method: Method, sampled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sampled:
        monkeypatch.setattr(module, "_MOST_FITTED", 90)
        monkeypatch.setattr(module, "_SMALL", 10)
    settings = ClusterSettings(method, 3, seed=1)
    found = cluster(planted, np.ascontiguousarray(planted[:, :2]), settings)
    kept = found.labels >= 0
    assert found.n == 3 and kept.mean() > 0.9
    assert adjusted_rand_score(GROUPS[kept], found.labels[kept]) > 0.95
    assert found.sizes.tolist() == sorted(found.sizes.tolist(), reverse=True)
    assert found.sizes.sum() == kept.sum()
    again = cluster(planted, np.ascontiguousarray(planted[:, :2]), settings)
    np.testing.assert_array_equal(found.labels, again.labels)


def test_scattered_points_are_noise(planted: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    lone = rng.uniform(-300, 300, (12, 2))
    points = np.concatenate([planted[:, :2], lone]).astype(np.float32)
    vectors = np.concatenate([planted, np.zeros((12, 4))]).astype(np.float32)
    found = cluster(vectors, points, ClusterSettings("hdbscan"))
    assert (found.labels[150:] == -1).all() and found.n == 3
    few = cluster(vectors[:3], points[:3], ClusterSettings("hdbscan"))
    assert few.n == 0 and (few.labels == -1).all()


def test_impossible_wishes_are_refused(planted: np.ndarray) -> None:
    for settings in (ClusterSettings(n=151), ClusterSettings(n=0)):
        with pytest.raises(InputError):
            cluster(planted, np.ascontiguousarray(planted[:, :2]), settings)


@given(seed=st.integers(0, 50), count=st.integers(1, 12), size=st.integers(1, 60))
def test_exemplars_are_members_each_once(seed: int, count: int, size: int) -> None:
    found = random_map(seed=seed)
    rng = np.random.default_rng(seed)
    members = np.sort(rng.choice(len(found.moments), size, replace=False))
    chosen = exemplars(found.vectors, found.moments, members, count)
    assert len(chosen) == min(count, size) == len(set(chosen.tolist()))
    assert set(chosen.tolist()) <= set(members.tolist())


def test_exemplars_come_from_all_recordings_and_do_not_lie_side_by_side() -> None:
    moments = tile([Unit("a"), Unit("b")], [40, 40], 4)
    vectors = np.zeros((20, 2), np.float32)
    vectors[:, 0] = np.r_[np.arange(10) * 0.01, 1.3 + np.arange(10) * 0.01]
    chosen = exemplars(vectors, moments, np.arange(20), 6)
    assert (moments.unit[chosen] == 0).sum() == 3
    assert all(abs(i - j) > 1 for i in chosen for j in chosen if i != j and (i < 10) == (j < 10))
    nearest = np.square(vectors - vectors.mean(axis=0)).sum(axis=1).argmin()
    assert chosen[0] == nearest
