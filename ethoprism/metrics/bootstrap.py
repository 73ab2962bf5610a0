"""Intervals by drawing recordings, or blocks of them, again."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, Num

LEVEL = 0.95
N_RESAMPLES = 1000


def draw(n_units: int, n_resamples: int, seed: int) -> Int[np.ndarray, "resamples units"]:
    """How often each unit is in each resample: ``n_units`` draws with replacement."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n_resamples)


def resample(
    sums: Mapping[str, Num[np.ndarray, "units *rest"]],
    weights: Num[np.ndarray, "resamples units"],
) -> dict[str, Float[np.ndarray, "resamples *rest"]]:
    """Every unit's sums added up, with each unit as often as it was drawn."""
    drawn = weights.astype(np.float64)
    return {
        name: np.tensordot(drawn, values.astype(np.float64), 1) for name, values in sums.items()
    }


def interval(
    values: Float[np.ndarray, "resamples *rest"], level: float = LEVEL
) -> tuple[Float[np.ndarray, "*rest"], Float[np.ndarray, "*rest"]]:
    """Lower and upper end of the percentile interval.

    Resamples in which a value is not defined are left out. Where that is half of them or more,
    there is no interval: NaN.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if not len(values):
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    defined = np.isfinite(values)
    enough = defined.sum(axis=0) * 2 > len(values)
    kept = np.where(enough, values, 0.0)  # numpy warns of a column that is NaN throughout
    tail = (1 - level) / 2
    low, high = np.nanquantile(kept, [tail, 1 - tail], axis=0)
    return np.where(enough, low, np.nan), np.where(enough, high, np.nan)
