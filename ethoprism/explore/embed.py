"""Coordinates: principal components at once, and UMAP in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from ethoprism.errors import EthoPrismError, InputError
from ethoprism.progress import Progress

COMPONENTS = 50
"""Principal components that are kept of each vector: what distances are taken of."""

MOST_FITTED = 50_000
"""Larger maps are fitted on so many moments; the others join their nearest ones."""

_SAMPLE = 20_000  # moments that the components are fitted on
_CHUNK = 4096
_POLL_S = 0.1
_PLACED_BY = 5
_PROCESS = "ethoprism.explore.umap_process"


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of standardised vectors.

    Attributes
    ----------
    coordinates
        float32 ``[moments, components]``.
    explained
        float64 ``[components]``: share of the variance of each.
    """

    coordinates: Float32[np.ndarray, "moments components"]
    explained: Float64[np.ndarray, " components"]


def principal_components(
    vectors: Float32[np.ndarray, "moments features"],
    components: int = COMPONENTS,
    *,
    sample: int = _SAMPLE,
    seed: int = 0,
) -> Generator[Progress, None, Components]:
    """Standardise vectors and rotate them to their principal components.

    Every feature is brought to mean 0 and standard deviation 1 over all moments. The axes are
    fitted on a random sample. Of each axis the largest loading is positive, so that a map is not
    mirrored from one run to the next.

    Parameters
    ----------
    vectors
        Finite; read in pieces, so that it may be a file mapped into memory.
    components
        At most; fewer where there are fewer moments or features.
    sample
        Moments to fit the axes on.
    seed
        Of the sample and of the randomised decomposition.
    """
    from sklearn.decomposition import PCA

    n, features = vectors.shape
    if n < 3:
        raise InputError(
            "A map needs at least three moments",
            found=str(n),
            remedy="Take more recordings, or fewer frames for each moment (--hop).",
        )
    pieces = [slice(a, min(a + _CHUNK, n)) for a in range(0, n, _CHUNK)]
    total = 3 * n
    mean, square = np.zeros(features), np.zeros(features)
    for piece in pieces:
        mean += vectors[piece].sum(axis=0, dtype=np.float64) / n
        yield Progress(piece.stop, total, "mean")
    for piece in pieces:
        square += np.square(vectors[piece] - mean).sum(axis=0) / n
        yield Progress(n + piece.stop, total, "spread")
    scale = np.sqrt(square)
    scale[scale < 1e-6 * max(float(scale.max()), 1e-30)] = np.inf  # what is constant tells nothing
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(n, sample, replace=False)) if n > sample else np.arange(n)
    fitted = ((vectors[chosen] - mean) / scale).astype(np.float32)
    k = min(components, len(chosen), features)
    pca = PCA(k, random_state=seed).fit(fitted)
    axes = np.asarray(pca.components_)
    largest = axes[np.arange(k), np.abs(axes).argmax(axis=1)]
    axes = axes * np.where(largest < 0, -1, 1)[:, None]
    coordinates = np.empty((n, k), np.float32)
    for piece in pieces:
        standard = (vectors[piece] - mean) / scale - pca.mean_
        coordinates[piece] = standard.astype(np.float32) @ axes.T.astype(np.float32)
        yield Progress(2 * n + piece.stop, total, "components")
    return Components(coordinates, np.asarray(pca.explained_variance_ratio_, np.float64))


@dataclass(frozen=True)
class UmapSettings:
    """How UMAP draws (McInnes, Healy and Melville 2018, arXiv:1802.03426).

    Attributes
    ----------
    neighbours
        Moments that each one is held close to; more show the whole rather than detail.
    min_dist
        How close points may lie on the map.
    epochs
        Rounds of the layout; UMAP's own choice if None.
    seed
        Of everything that is drawn.
    """

    neighbours: int = 30
    min_dist: float = 0.1
    epochs: int | None = None
    seed: int = 0


def umap_coordinates(
    components: Float32[np.ndarray, "moments components"],
    settings: UmapSettings,
    *,
    most_fitted: int = MOST_FITTED,
) -> Generator[Progress, None, Float32[np.ndarray, "moments 2"]]:
    """UMAP of vectors, beginning at their first two principal components.

    UMAP is one long call of compiled code that cannot be interrupted, and that would hold up the
    GUI's thread. So it runs in a process of its own: closing this generator ends that process at
    once. The first progress takes some 20 seconds, while UMAP is being compiled.

    Of more than ``most_fitted`` moments, a random sample is laid out, and each other one is put at
    the mean of the five nearest of these, weighted by closeness.

    Raises
    ------
    EthoPrismError
        If the process fails.
    """
    n = len(components)
    rng = np.random.default_rng(settings.seed)
    fits = np.sort(rng.choice(n, most_fitted, replace=False)) if n > most_fitted else np.arange(n)
    layout = yield from _in_process(np.ascontiguousarray(components[fits]), settings)
    if len(fits) == n:
        return layout
    return (yield from _place(components, fits, layout))


def _place(
    components: np.ndarray, fits: np.ndarray, layout: np.ndarray
) -> Generator[Progress, None, np.ndarray]:
    """Coordinates of all moments, given those of the fitted ones."""
    from sklearn.neighbors import NearestNeighbors

    out = np.empty((len(components), 2), np.float32)
    out[fits] = layout
    rest = np.setdiff1d(np.arange(len(components)), fits, assume_unique=True)
    search = NearestNeighbors(n_neighbors=_PLACED_BY, algorithm="brute").fit(components[fits])
    for a in range(0, len(rest), _CHUNK):
        piece = rest[a : a + _CHUNK]
        distance, index = search.kneighbors(components[piece])
        weight = 1 / (distance + 1e-6 * (distance.mean() + 1e-12))
        weight /= weight.sum(axis=1, keepdims=True)
        out[piece] = np.einsum("nk,nkd->nd", weight, layout[index])
        yield Progress(min(a + _CHUNK, len(rest)), len(rest), "placing the other moments")
    return out


def _in_process(
    vectors: np.ndarray, settings: UmapSettings
) -> Generator[Progress, None, np.ndarray]:
    with tempfile.TemporaryDirectory(prefix="ethoprism-umap-") as name:
        folder = Path(name)
        np.save(folder / "in.npy", vectors, allow_pickle=False)
        (folder / "settings.json").write_text(json.dumps(vars(settings)))
        command = [sys.executable, "-m", _PROCESS, str(folder)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(  # noqa: S603 (our own module)
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
        )
        lines: list[str] = []
        reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
        reader.start()
        try:
            while process.poll() is None:
                yield _reported(lines)
                reader.join(_POLL_S)
            reader.join()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            reader.join()
            if process.stdout is not None:
                process.stdout.close()
        out = folder / "out.npy"
        if process.returncode or not out.is_file():
            raise EthoPrismError(
                "UMAP could not lay out the moments",
                found=" ".join(lines[-3:])[-500:] or f"exit code {process.returncode}",
                remedy="The map of principal components is there. Other settings may help.",
            )
        layout = np.load(out, allow_pickle=False)
    return layout.astype(np.float32)


def _read(process: subprocess.Popen[bytes], lines: list[str]) -> None:
    if process.stdout is not None:
        lines.extend(line.decode(errors="replace").strip() for line in process.stdout)


def _reported(lines: list[str]) -> Progress:
    """Progress as the newest line of the process states it."""
    for line in reversed(lines):
        found = re.fullmatch(r"progress (\d+) (\d+) (.*)", line)
        if found:
            return Progress(int(found[1]), int(found[2]), found[3])
    return Progress(0, 1, "starting UMAP")
