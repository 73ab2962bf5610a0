"""Clusters of moments, and the moments that stand for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from ethoprism.errors import InputError
from ethoprism.explore.moments import Moments

Method = Literal["kmeans", "gmm", "hdbscan"]
METHODS: tuple[Method, ...] = ("kmeans", "gmm", "hdbscan")
NOISE = -1

_MOST_FITTED = 50_000
_SMALL = 20_000  # up to here, k-means looks at all moments in every round
_CHUNK = 4096


@dataclass(frozen=True)
class ClusterSettings:
    """How moments are clustered.

    Attributes
    ----------
    method
        ``kmeans``, ``gmm`` (Gaussian mixture) or ``hdbscan``, which finds how many there are and
        leaves out what lies in none.
    n
        Number of clusters, for the first two.
    min_size
        Least moments in a cluster, for HDBSCAN; 0 for a sixtieth of the moments, at least 10.
    seed
        Of everything that is drawn.
    """

    method: Method = "kmeans"
    n: int = 8
    min_size: int = 0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Clusters:
    """A cluster for each moment; the largest cluster is number 0.

    Attributes
    ----------
    labels
        int32 ``[moments]``; −1 for moments that lie in none.
    n
        Number of clusters.
    settings
        How they were found.
    """

    labels: Int32[np.ndarray, " moments"]
    n: int
    settings: ClusterSettings

    @property
    def sizes(self) -> Int64[np.ndarray, " clusters"]:
        """Moments in each cluster."""
        return np.bincount(self.labels[self.labels >= 0], minlength=self.n).astype(np.int64)


def cluster(
    vectors: Float32[np.ndarray, "moments components"],
    coordinates: Float32[np.ndarray, "moments 2"],
    settings: ClusterSettings,
) -> Clusters:
    """Find clusters: k-means and the Gaussian mixture of the vectors, HDBSCAN of the map.

    HDBSCAN (Campello et al. 2013) finds where points lie densely. In many dimensions hardly
    anything does, so it looks at the map's coordinates. Mixture and HDBSCAN are fitted on a random
    sample where there are more than 50,000 moments; a moment outside of it joins the component that
    explains it best, or the cluster of the nearest moment of the sample.

    Raises
    ------
    InputError
        If there are fewer moments than clusters.
    """
    n = len(vectors)
    if settings.method not in METHODS:
        raise InputError(
            "Moments cannot be clustered like that",
            expected=f"one of {', '.join(METHODS)}",
            found=repr(settings.method),
        )
    if settings.method != "hdbscan" and not 1 <= settings.n <= n:
        raise InputError(
            "There cannot be that many clusters",
            expected=f"1 to {n}, the number of moments",
            found=str(settings.n),
        )
    rng = np.random.default_rng(settings.seed)
    fits = np.sort(rng.choice(n, _MOST_FITTED, replace=False)) if n > _MOST_FITTED else np.arange(n)
    if settings.method == "kmeans":
        labels = _kmeans(vectors, settings)
    elif settings.method == "gmm":
        labels = _mixture(vectors, fits, settings)
    else:
        labels = _hdbscan(coordinates, fits, settings)
    labels, count = _by_size(labels)
    return Clusters(labels, count, settings)


def exemplars(
    vectors: Float32[np.ndarray, "moments components"],
    moments: Moments,
    members: Int64[np.ndarray, " members"],
    count: int = 8,
) -> Int64[np.ndarray, " exemplars"]:
    """Moments that stand for a cluster: the nearest to its centre, from as many units as can be.

    Units take turns, in the order of their nearest moments. Within a unit, no two exemplars lie
    next to each other as long as others are left.

    Parameters
    ----------
    vectors, moments
        Of the whole map.
    members
        Indices of the cluster's moments.
    count
        Exemplars at most.
    """
    if not len(members):
        return np.empty(0, np.int64)
    centre = vectors[members].mean(axis=0, dtype=np.float64)
    distance = np.square(vectors[members] - centre).sum(axis=1)
    ranked = members[np.argsort(distance, kind="stable")]
    queues: dict[int, list[int]] = {}
    for i in ranked[: 50 * count].tolist():
        queues.setdefault(int(moments.unit[i]), []).append(i)
    chosen: list[int] = []
    same = moments.unit
    for apart in (True, False):
        waiting = {unit: [i for i in queue if i not in chosen] for unit, queue in queues.items()}
        while len(chosen) < count and any(waiting.values()):
            for queue in waiting.values():
                while queue and len(chosen) < count:
                    i = queue.pop(0)
                    beside = any(abs(i - j) == 1 and same[i] == same[j] for j in chosen)
                    if not (apart and beside):
                        chosen.append(i)
                        break
    return np.array(chosen, np.int64)


def _kmeans(vectors: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    from sklearn.cluster import KMeans, MiniBatchKMeans

    repeated: dict[str, Any] = {"n_init": 4, "random_state": settings.seed}
    if len(vectors) <= _SMALL:
        model = KMeans(settings.n, **repeated)
    else:
        model = MiniBatchKMeans(settings.n, batch_size=4096, max_iter=50, **repeated)
    return model.fit_predict(vectors)


def _mixture(vectors: np.ndarray, fits: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    # Twenty dimensions hold most of the variance; more would leave too few moments for each width.
    space = vectors[:, :20].astype(np.float64)
    space = space / max(float(space.std()), 1e-12)
    model = GaussianMixture(
        settings.n, covariance_type="diag", reg_covar=1e-4, random_state=settings.seed
    )
    with warnings.catch_warnings():  # a mixture that still moves a little is good enough here
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(space[fits])
    return model.predict(space)


def _hdbscan(coordinates: np.ndarray, fits: np.ndarray, settings: ClusterSettings) -> np.ndarray:
    from scipy.spatial import KDTree
    from sklearn.cluster import HDBSCAN

    least = settings.min_size or max(10, len(fits) // 60)
    if len(fits) < max(least, 2):
        return np.full(len(coordinates), NOISE)
    options: dict[str, Any] = {"min_samples": min(5, least), "copy": True}
    model = HDBSCAN(min_cluster_size=max(least, 2), **options)
    found = model.fit_predict(coordinates[fits].astype(np.float64))
    if len(fits) == len(coordinates):
        return found
    return found[KDTree(coordinates[fits]).query(coordinates)[1]]


def _by_size(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Numbers from 0 for the largest on, without gaps; noise stays −1."""
    numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
    order = numbers[np.argsort(-counts, kind="stable")]
    table = np.full(int(labels.max(initial=0)) + 2, NOISE, np.int32)  # its last one is for noise
    table[order] = np.arange(len(order), dtype=np.int32)
    return table[labels], len(order)


def median_distance(vectors: Float[np.ndarray, "moments components"], seed: int = 0) -> float:
    """Median Euclidean distance of two moments drawn at random: how unlike moments usually are."""
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, len(vectors), (2, 4000))
    pairs = pairs[:, pairs[0] != pairs[1]]
    apart = np.linalg.norm(vectors[pairs[0]] - vectors[pairs[1]], axis=1)
    return float(np.median(apart)) if len(apart) else 0.0
