"""What a probe is trained to make small: cross-entropy, class-balanced or focal.

Behaviours are independent (sigmoid), except inside an exclusive group, where a softmax runs over
its members and "none of them", whose logit is 0. So every behaviour outside groups has two
outcomes, absent and present, and every group one more than it has members.
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED

LOSSES = ("cross-entropy", "balanced", "focal")
_PADDED_TO = 2048
FOCUS = 2.0
"""Exponent of the focal loss, as in its source."""
Groups = tuple[tuple[int, ...], ...]
Weights = tuple[Float[Array, "..."], ...]
"""Of each outcome: ``[singles, 2]`` for absent and present, then ``[members + 1]`` per group."""


def loss(
    logits: Float[Array, "batch behaviours"],
    states: Int[Array, "batch behaviours"],
    groups: Groups,
    weights: Weights | None = None,
    focus: float = 0.0,
) -> Float[Array, ""]:
    """Mean cross-entropy over what is known; unobserved states weigh nothing.

    In an exclusive group the known outcome is its one present member, or "none" where all members
    are known to be absent; anything else is not known.

    Parameters
    ----------
    logits, states, groups
        Columns are behaviours; ``groups`` are from `ethoprism.probe.model.group_columns`.
    weights
        Of each outcome (see `outcome_weights`); 1 by default.
    focus
        Each term is multiplied by (1 − p)^focus, where p is the probability of what is true.
        Source: Lin, Goyal, Girshick, He, Dollár, Focal Loss for Dense Object Detection, ICCV 2017.
    """
    single = single_columns(logits.shape[1], groups)
    total, count = jnp.zeros(()), jnp.zeros(())
    if len(single):
        known = states[:, single] != UNOBSERVED
        present = states[:, single] == PRESENT
        each = optax.sigmoid_binary_cross_entropy(logits[:, single], present.astype(jnp.float32))
        each = _focussed(each, focus)
        if weights is not None:
            each = each * jnp.where(present, weights[0][:, 1], weights[0][:, 0])
        total += jnp.sum(each * known)
        count += known.sum()
    for place, columns in enumerate(groups):
        outcome = group_outcome(states[:, np.array(columns)])
        each = optax.softmax_cross_entropy_with_integer_labels(
            with_none(logits, columns), jnp.maximum(outcome, 0)
        )
        each = _focussed(each, focus)
        if weights is not None:
            each = each * weights[place + 1][jnp.maximum(outcome, 0)]
        total += jnp.sum(each * (outcome >= 0))
        count += (outcome >= 0).sum()
    return total / jnp.maximum(count, 1)


def padded(
    logits: Float[np.ndarray, "rows behaviours"], states: Int[np.ndarray, "rows behaviours"]
) -> tuple[Float[np.ndarray, "more behaviours"], Int[np.ndarray, "more behaviours"]]:
    """With unobserved rows added, to a number of rows that other data has as well.

    They weigh nothing, and what was compiled for one number of rows serves many.
    """
    lacking = -len(logits) % _PADDED_TO
    more = ((0, lacking), (0, 0))
    return np.pad(logits, more), np.pad(states, more, constant_values=UNOBSERVED)


def outcome_weights(states: Int[np.ndarray, "rows behaviours"], groups: Groups) -> Weights:
    """Weights in inverse proportion to how often each outcome occurs.

    The weights of what occurs sum to the number of known rows, so the loss keeps its size. An
    outcome that never occurs has weight 0.
    """
    single = single_columns(states.shape[1], groups)
    counts = [
        np.stack([(states[:, single] == value).sum(axis=0) for value in (ABSENT, PRESENT)], axis=1)
    ]
    for columns in groups:
        outcome = np.asarray(group_outcome(jnp.asarray(states[:, np.array(columns)])))
        counts.append(np.bincount(outcome[outcome >= 0], minlength=len(columns) + 1))
    return tuple(jnp.asarray(_inverse(c.astype(np.float64)), jnp.float32) for c in counts)


def _inverse(counts: np.ndarray) -> np.ndarray:
    occurs = counts > 0
    total, kinds = counts.sum(axis=-1, keepdims=True), occurs.sum(axis=-1, keepdims=True)
    return np.where(occurs, total / np.maximum(counts * kinds, 1), 0.0)


def _focussed(entropy: Array, focus: float) -> Array:
    if not focus:
        return entropy
    # exp(−cross-entropy) is the probability of what is true.
    return entropy * jnp.maximum(1 - jnp.exp(-entropy), 1e-6) ** focus


def single_columns(n_behaviours: int, groups: Groups) -> Int[np.ndarray, " n"]:
    """Columns that are in no group."""
    grouped = {column for columns in groups for column in columns}
    return np.array([c for c in range(n_behaviours) if c not in grouped], dtype=np.int32)


def group_outcome(states: Int[Array, "batch members"]) -> Int[Array, " batch"]:
    """0 for none, 1 to the number of members for the present one, −1 for not known."""
    present = states == PRESENT
    n_present = present.sum(axis=1)
    all_known = (states != UNOBSERVED).all(axis=1)
    none = jnp.where(all_known & (n_present == 0), 0, -1)
    return jnp.where(n_present == 1, 1 + jnp.argmax(present, axis=1), none)


def with_none(
    logits: Float[Array, "batch behaviours"], columns: tuple[int, ...]
) -> Float[Array, "batch outcomes"]:
    """Logits of a group's outcomes: 0 for none, then its members'."""
    members = logits[:, np.array(columns)]
    return jnp.concatenate([jnp.zeros_like(members[:, :1]), members], axis=1)
