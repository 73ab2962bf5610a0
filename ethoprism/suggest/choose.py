"""Which windows to label next: pure functions on arrays.

A window is worth its label where the probe is unsure of it, where it may show a behaviour of which
little is known, and where it looks unlike what is labelled. Before there is a probe, only the last
counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ethoprism.suggest.review import NEAR_RARE, RARE, UNCERTAIN, rarity

UNLIKE = "unlike what is labelled"
SPLIT = "the ensemble disagrees"
REASONS = (UNCERTAIN, SPLIT, RARE, NEAR_RARE, UNLIKE)
_MOST_CLUSTERS = 256
_WORTH = 0.2
"""Windows of less than this share of the highest value are not looked at."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """Windows in the order in which they should be labelled.

    Attributes
    ----------
    index
        Into the candidates.
    score
        Between 0 and 1, of the moment at which the window was chosen.
    reason
        One of `REASONS`: what counted most.
    behaviour
        Column of the behaviour that this holds of; −1 where it is of the window as a whole.
    """

    index: Int[np.ndarray, " chosen"]
    score: Float[np.ndarray, " chosen"]
    reason: tuple[str, ...]
    behaviour: Int[np.ndarray, " chosen"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of the candidates.

    Attributes
    ----------
    vectors
        Of the candidates, for distances (see `ethoprism.suggest.windows.flatten`).
    labelled
        Of what is labelled already, in the same space.
    unsure
        ``[candidates, behaviours]`` between 0 and 1: mean nearness to the decision. With no
        behaviours there is no probe yet.
    likely
        ``[candidates, behaviours]``: highest mean probability of a second or so in the window.
    split
        ``[candidates, behaviours]`` between 0 and 1: how much an ensemble's members differ; zeros
        without an ensemble.
    similarity
        ``[candidates, behaviours]`` between 0 and 1: nearness to known examples of it.
    known_bouts
        ``[behaviours]``: labelled bouts so far.
    """

    vectors: Float[np.ndarray, "candidates dim"]
    labelled: Float[np.ndarray, "labelled dim"]
    unsure: Float[np.ndarray, "candidates behaviours"]
    likely: Float[np.ndarray, "candidates behaviours"]
    split: Float[np.ndarray, "candidates behaviours"]
    similarity: Float[np.ndarray, "candidates behaviours"]
    known_bouts: Int[np.ndarray, " behaviours"]


def choose(evidence: Evidence, count: int, *, seed: int = 0) -> Chosen:
    """The ``count`` windows to label next, the best first.

    Without a probe: the windows, labelled ones among them, are put into as many clusters as will be
    labelled then. From clusters in which nothing is labelled, the largest first, the most central
    window is taken.

    With a probe: the better half of the windows, by what they say of each behaviour, is put into
    ``count`` clusters, and the most central of each is taken. Those with the highest values alone
    would be alike, and those farthest from all others would be odd ones.

    ``seed`` is that of the clusters.

    Sources: Hacohen, Dekel, Weinshall, Active Learning on a Budget: Opposite Strategies Suit High
    and Low Budgets, ICML 2022 (typical windows first); Zhdanov, Diverse Mini-batch Active Learning,
    2019 (clusters of informative ones).
    """
    terms = _terms(evidence)
    n = len(evidence.vectors)
    count = min(count, n)
    if not count:
        nothing = np.zeros(0, np.int64)
        return Chosen(nothing, np.zeros(0), (), nothing)
    value = np.concatenate(list(terms.values()), axis=1).sum(axis=1) if terms else np.zeros(n)
    if value.max() > 0:
        value = value / value.max()
        index = _spread(evidence.vectors, value, count, seed)
    else:
        index, value = _typical(evidence, count, seed)
    why = [_reason(terms, i) for i in index]
    return Chosen(
        np.array(index, np.int64),
        np.clip(value[index], 0, 1).astype(np.float64),
        tuple(reason for reason, _ in why),
        np.array([behaviour for _, behaviour in why], np.int64),
    )


def _terms(evidence: Evidence) -> dict[str, np.ndarray]:
    """What a label would tell of each behaviour, ``[candidates, behaviours]`` by reason."""
    if not evidence.unsure.size:
        return {}
    rare = np.array([rarity(int(n)) for n in evidence.known_bouts])
    # So that a behaviour of which the probe is unsure everywhere does not drown the others.
    usual = np.maximum(evidence.unsure.mean(axis=0), 0.05)
    return {
        UNCERTAIN: evidence.unsure / usual,
        RARE: evidence.likely * rare,
        SPLIT: evidence.split,
        NEAR_RARE: evidence.similarity * rare,
    }


def _spread(vectors: np.ndarray, value: np.ndarray, count: int, seed: int) -> list[int]:
    """Windows of high value, of different kinds, the highest first."""
    order = np.argsort(-value, kind="stable")
    kept = order[: max(2 * count, len(value) // 2)]
    kept = kept[value[kept] >= _WORTH]
    centres, place = _clusters(vectors[kept], min(count, len(kept)), seed, value[kept])
    chosen = []
    for cluster in range(len(centres)):
        members = kept[place == cluster]
        if len(members):
            chosen.append(_central(vectors, members, centres[cluster]))
    taken = set(chosen)
    chosen += [i for i in order.tolist() if i not in taken][: count - len(chosen)]
    return sorted(chosen, key=lambda i: -value[i])


def _typical(evidence: Evidence, count: int, seed: int) -> tuple[list[int], np.ndarray]:
    """Windows that stand for kinds of which none is labelled; and each window's cluster's share."""
    n = len(evidence.vectors)
    both = np.concatenate([evidence.vectors, evidence.labelled])
    k = min(len(evidence.labelled) + count, len(both), _MOST_CLUSTERS)
    centres, place = _clusters(both, k, seed, np.ones(len(both)))
    own = place[:n]
    labelled, size = np.bincount(place[n:], minlength=k), np.bincount(own, minlength=k)
    far = np.minimum(nearest(centres, evidence.labelled), 1e12)
    chosen: list[int] = []
    for cluster in np.lexsort((-far, -size, labelled > 0)).tolist():
        members = np.flatnonzero(own == cluster)
        if len(members) and len(chosen) < count:
            chosen.append(_central(evidence.vectors, members, centres[cluster]))
    taken = set(chosen)
    chosen += [i for i in range(n) if i not in taken][: count - len(chosen)]
    return chosen, (size / n)[own]


def _central(vectors: np.ndarray, members: np.ndarray, centre: np.ndarray) -> int:
    """The member that is nearest to the centre."""
    return int(members[np.argmin(np.square(vectors[members] - centre).sum(axis=1))])


def _clusters(
    vectors: np.ndarray, k: int, seed: int, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Centres of k-means, and the cluster of each vector."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        # Where vectors are equal there are fewer clusters; the others stay empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = KMeans(k, n_init=2, random_state=seed)  # pyright: ignore[reportArgumentType]
        place = found.fit_predict(vectors.astype(np.float64), sample_weight=weights)
    return np.asarray(found.cluster_centers_, np.float32), np.asarray(place, np.int64)


def _reason(terms: dict[str, np.ndarray], chosen: int) -> tuple[str, int]:
    """The reason that counted most, and of which behaviour."""
    share = {name: float(values[chosen].max()) for name, values in terms.items()}
    best = max(share, key=lambda name: share[name], default="")
    if not best or share[best] <= 0:
        return UNLIKE, -1
    return best, int(np.argmax(terms[best][chosen]))


def nearest(
    vectors: Float[np.ndarray, "n dim"], others: Float[np.ndarray, "m dim"]
) -> Float[np.ndarray, " n"]:
    """Distance of each vector to the nearest of the others; infinite where there are none."""
    result = np.full(len(vectors), np.inf)
    for start in range(0, len(others), 256):
        part = others[start : start + 256].astype(np.float64)
        x = vectors.astype(np.float64)
        squares = (x**2).sum(1)[:, None] + (part**2).sum(1) - 2 * x @ part.T
        result = np.minimum(result, np.sqrt(np.maximum(squares, 0)).min(axis=1))
    return result
