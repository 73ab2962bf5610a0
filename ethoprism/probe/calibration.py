"""Calibration: probabilities that are as high as the behaviours are frequent.

Each behaviour's logit is scaled and shifted so that the cross-entropy on held-out data is least.
The scale is the temperature of Guo et al., the shift makes up for a loss that weighs rare
behaviours more. Members of an exclusive group are scaled inside their softmax, so they sum to at
most 1 afterwards as before. The scale is positive, so no behaviour's frames change their order.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int8

from ethoprism.annotation import ABSENT, PRESENT
from ethoprism.probe.losses import Groups, loss, padded
from ethoprism.probe.model import probabilities

FEWEST_FRAMES = 20
"""Held-out frames with and without a behaviour below which it is not calibrated."""
_PULL = 1e-3
_MOST = 3.0


@dataclass(frozen=True, eq=False)
class Calibration:
    """``scale`` and ``offset`` of each behaviour's logit, float32 ``[behaviours]``."""

    scale: Float32[np.ndarray, " behaviours"]
    offset: Float32[np.ndarray, " behaviours"]

    @classmethod
    def none(cls, n_behaviours: int) -> Calibration:
        """Logits as they are."""
        return cls(np.ones(n_behaviours, np.float32), np.zeros(n_behaviours, np.float32))

    def probability(
        self, logits: Float[np.ndarray, "rows behaviours"], groups: Groups
    ) -> Float32[np.ndarray, "rows behaviours"]:
        """Calibrated probabilities; members of a group sum to at most 1."""
        return probabilities((logits * self.scale + self.offset).astype(np.float32), groups)


def fit_calibration(
    logits: Float[np.ndarray, "rows behaviours"],
    states: Int8[np.ndarray, "rows behaviours"],
    groups: Groups,
) -> Calibration:
    """The calibration with the least cross-entropy on held-out rows.

    A weak pull towards no change keeps few rows from being believed too much. Behaviours with fewer
    than `FEWEST_FRAMES` rows of either kind are left as they are.

    Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017
    (temperature); Platt, 1999 (scale and offset).
    """
    from scipy.optimize import minimize

    n = logits.shape[1]
    enough = ((states == PRESENT).sum(axis=0) >= FEWEST_FRAMES) & (
        (states == ABSENT).sum(axis=0) >= FEWEST_FRAMES
    )
    if not enough.any():
        return Calibration.none(n)
    z, known = padded(logits, states)

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        change = flat.reshape(2, n).astype(np.float32)
        value, gradient = _objective(change, z, known, enough, groups)
        return float(value), np.asarray(gradient, np.float64).ravel()

    bounds = [(-_MOST, _MOST)] * n + [(-3 * _MOST, 3 * _MOST)] * n
    found = minimize(evaluate, np.zeros(2 * n), jac=True, method="L-BFGS-B", bounds=bounds)
    log_scale, offset = np.where(enough, found.x.reshape(2, n), 0.0)
    return Calibration(np.exp(log_scale).astype(np.float32), offset.astype(np.float32))


@partial(jax.jit, static_argnums=4)
@jax.value_and_grad
def _objective(change: Array, logits: Array, states: Array, free: Array, groups: Groups) -> Array:
    log_scale, offset = jnp.where(free, change, 0.0)
    pull = _PULL * jnp.sum(jnp.square(change))
    return loss(logits * jnp.exp(log_scale) + offset, states, groups) + pull
