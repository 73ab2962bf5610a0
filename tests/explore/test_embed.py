"""Coordinates: scikit-learn's components, the same for a seed, and a UMAP that can be left."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from ethoprism.errors import EthoPrismError, InputError
from ethoprism.explore import embed
from ethoprism.explore.embed import UmapSettings, principal_components, umap_coordinates
from ethoprism.progress import Progress


def result(task: Generator[Progress, None, Any]) -> Any:
    try:
        while True:
            next(task)
    except StopIteration as stop:
        return stop.value


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    mixed = rng.standard_normal((300, 8)) @ rng.standard_normal((8, 12)) + rng.random(12) * 50
    return np.hstack([mixed, np.full((300, 1), 7.0)]).astype(np.float32)  # and a constant one


def test_components_are_those_of_scikit_learn(vectors: np.ndarray) -> None:
    found = result(principal_components(vectors, 5))
    pca = PCA(5, svd_solver="full")
    expected = pca.fit_transform(StandardScaler().fit_transform(vectors[:, :12]))
    signs = np.sign((expected * found.coordinates).sum(axis=0))
    np.testing.assert_allclose(found.coordinates, expected * signs, atol=2e-3)
    np.testing.assert_allclose(found.explained, pca.explained_variance_ratio_, rtol=1e-4)


def test_a_seed_gives_the_same_map_and_a_mirrored_input_the_same_signs(vectors: np.ndarray) -> None:
    once = result(principal_components(vectors, 4, sample=100, seed=5))
    again = result(principal_components(vectors, 4, sample=100, seed=5))
    np.testing.assert_array_equal(once.coordinates, again.coordinates)
    other = result(principal_components(vectors, 4, sample=100, seed=6))
    assert not np.array_equal(once.coordinates, other.coordinates)


def test_pieces_do_not_matter(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = result(principal_components(vectors, 4)).coordinates
    monkeypatch.setattr(embed, "_CHUNK", 7)
    np.testing.assert_allclose(
        result(principal_components(vectors, 4)).coordinates, whole, atol=1e-4
    )


def test_few_moments_are_refused() -> None:
    with pytest.raises(InputError, match="three moments"):
        result(principal_components(np.zeros((2, 4), np.float32)))
    found = result(principal_components(np.eye(3, 4, dtype=np.float32), 50))
    assert found.coordinates.shape == (3, 3)


def test_umap_tells_groups_apart_and_places_the_rest_beside_their_like(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # so few points take less time than compiling
    rng = np.random.default_rng(1)
    group = np.repeat([0, 1], 60)
    vectors = (rng.standard_normal((120, 5)) + 30 * group[:, None]).astype(np.float32)
    task = umap_coordinates(vectors, UmapSettings(neighbours=8, epochs=60), most_fitted=80)
    notes = []
    while True:
        try:
            notes.append(next(task).note)
        except StopIteration as stop:
            layout = stop.value
            break
    assert layout.shape == (120, 2) and layout.dtype == np.float32 and np.isfinite(layout).all()
    middles = np.stack([layout[group == g].mean(axis=0) for g in (0, 1)])
    nearest = np.linalg.norm(layout[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest == group).all()
    assert "laying out" in notes and notes[-1] == "placing the other moments"


def test_closing_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    popen = subprocess.Popen

    def noted(*args: Any, **kwargs: Any) -> Any:
        started.append(popen(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", noted)
    task = umap_coordinates(np.zeros((50, 3), np.float32), UmapSettings())
    next(task)
    assert started[0].poll() is None
    task.close()
    assert started[0].returncode is not None and started[0].stdout.closed


def test_what_fails_in_the_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "_PROCESS", "ethoprism.explore.no_such_module")
    with pytest.raises(EthoPrismError, match="No module named"):
        result(umap_coordinates(np.zeros((50, 3), np.float32), UmapSettings()))
