"""Scores of frames: precision, recall, F1, average precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Int8, Num

from ethoprism.annotation import UNOBSERVED

Figures = Num[np.ndarray, "..."] | np.number | float | int
"""Numbers of any shape; numpy makes plain numbers of arrays without dimensions."""
BACKGROUND = ("background", "none", "other")
"""Names by which data sets call the absence of all behaviours; no behaviours themselves."""
_CHUNK_VALUES = 2**23


def scored(
    truth: Int8[np.ndarray, "frames behaviours"], called: Int8[np.ndarray, "frames behaviours"]
) -> Bool[np.ndarray, "frames behaviours"]:
    """Where both sides are known."""
    return (truth != UNOBSERVED) & (called != UNOBSERVED)


def ratio(above: Figures, below: Figures) -> Float[np.ndarray, "..."]:
    """``above / below``, NaN where ``below`` is 0."""
    above, below = np.broadcast_arrays(above, below)
    result = np.full(above.shape, np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result


def precision(hits: Figures, called: Figures) -> np.ndarray:
    """Share of what was called that is true. NaN where nothing was called."""
    return ratio(hits, called)


def recall(hits: Figures, present: Figures) -> np.ndarray:
    """Share of what is there that was called. NaN where nothing is there."""
    return ratio(hits, present)


def f1(hits: Figures, present: Figures, called: Figures) -> Float[np.ndarray, "..."]:
    """Harmonic mean of precision and recall, ``2·hits / (present + called)``.

    Source: van Rijsbergen, Information Retrieval, 2nd ed., 1979. NaN where nothing is there: what
    was called falsely shows in the precision and in the time budget.
    """
    return np.where(np.asarray(present) > 0, ratio(2.0 * hits, present + called), np.nan)


def average_precision(truth: Bool[np.ndarray, " n"], probability: Float[np.ndarray, " n"]) -> float:
    """Area under the steps of the precision-recall curve; NaN without a true frame.

    The sum over thresholds of precision times the gain in recall, without interpolation, as
    scikit-learn's ``average_precision_score`` has it. Chance level is the prevalence.
    """
    ranks = Ranks.of([truth], [probability])
    return float(ranks.average_precision(np.ones((1, 1)))[0])


def mean_average_precision(
    values: Float[np.ndarray, " behaviours"], behaviours: Sequence[str]
) -> float:
    """Mean of the average precisions that are defined, background excluded; NaN if none is.

    A behaviour is background if its name is one of `BACKGROUND`.
    """
    counted = [name.lower() not in BACKGROUND for name in behaviours]
    defined = values[np.array(counted, dtype=bool) & np.isfinite(values)]
    return float(defined.mean()) if len(defined) else float("nan")


class Ranks:
    """One behaviour's frames by probability, so that average precision is fast to draw again.

    Parameters
    ----------
    hits
        ``[units, values]``: true frames of each unit at or above each value.
    called
        ``[units, values]``: frames of each unit at or above each value.

    Values are the distinct probabilities of true frames, highest first. Between them precision
    falls without a gain in recall, so nothing else matters. With units weighted, both counts are
    products of matrices.
    """

    def __init__(self, hits: Int[np.ndarray, "units v"], called: Int[np.ndarray, "units v"]):
        self._hits = hits.astype(np.float64)
        self._called = called.astype(np.float64)

    @classmethod
    def of(cls, truth: Sequence[np.ndarray], probability: Sequence[np.ndarray]) -> Ranks:
        """From bool ``[n]`` and float ``[n]`` of each unit; scored frames only."""
        true = [p[t] for t, p in zip(truth, probability, strict=True)]
        values = np.unique(np.concatenate(true))[::-1] if true else np.zeros(0)
        return cls(_at_or_above(true, values), _at_or_above(probability, values))

    def average_precision(
        self, weights: Num[np.ndarray, "resamples units"]
    ) -> Float[np.ndarray, " resamples"]:
        """Average precision with unit *u* taken ``weights[:, u]`` times."""
        result = np.full(len(weights), np.nan)
        n_values = self._hits.shape[1]
        if not n_values:
            return result
        step = max(1, _CHUNK_VALUES // n_values)
        for start in range(0, len(weights), step):
            chunk = weights[start : start + step].astype(np.float64)
            hits, called = chunk @ self._hits, chunk @ self._called
            gains = np.diff(hits, axis=1, prepend=0.0)
            np.divide(hits, called, out=hits, where=called > 0)
            result[start : start + step] = ratio(
                np.einsum("rv,rv->r", gains, hits), gains.sum(axis=1)
            )
        return result


def _at_or_above(
    samples: Sequence[np.ndarray], values: np.ndarray
) -> Int[np.ndarray, "units values"]:
    """How many of each sample's numbers are at or above each value."""
    counts = [len(s) - np.searchsorted(np.sort(s), values, side="left") for s in samples]
    return np.array(counts, np.int64).reshape(len(samples), len(values))
