"""The probe's network and its loss.

The paper's head (arXiv 2402.13217, section 4.1): a learned query attends to all tokens in a window
of rows around a frame, and a linear layer gives one logit per behaviour. Before it, each token is
joined with its absolute change since the row before and standardised. The change carries motion
through poolings and backbones that were not trained for it, and the standardisation brings out the
small differences between frames of a static scene; neither has parameters that are learnt.

Behaviours are independent (sigmoid), except inside an exclusive group, where a softmax runs over
its members and "none of them", whose logit is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Shaped

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.backbones.heads import AttentivePoolingHead

_HEAD_SIZE = 64


@dataclass(frozen=True)
class ProbeShape:
    """What fixes a probe's parameters.

    Attributes
    ----------
    width
        Features of a token in the store.
    behaviours
        Number of logits.
    context
        Rows on either side of a frame whose tokens are pooled.
    motion
        Whether each token is joined with its absolute change since the row before.
    """

    width: int
    behaviours: int
    context: int
    motion: bool = True

    @property
    def features(self) -> int:
        """Features that enter the pooler."""
        return 2 * self.width if self.motion else self.width

    @property
    def heads(self) -> int:
        """Attention heads: of 64 features each, as the paper's, where that divides the width."""
        return max(1, self.features // _HEAD_SIZE) if self.features % _HEAD_SIZE == 0 else 1


class Standardise(nnx.Module):
    """Features minus the mean, over the deviation, of the training rows. Not trained."""

    def __init__(self, features: int):
        self.mean = nnx.Variable(jnp.zeros((features,)))
        self.deviation = nnx.Variable(jnp.ones((features,)))

    def __call__(self, x: Float[Array, "*rows features"]) -> Float[Array, "*rows features"]:
        return (x - self.mean[...]) / self.deviation[...]


class ProbeNetwork(nnx.Module):
    """Logits of the behaviours at one frame from the tokens around it."""

    def __init__(self, shape: ProbeShape, *, rngs: nnx.Rngs):
        self.shape = shape
        self.standardise = Standardise(shape.features)
        self.head = AttentivePoolingHead(
            shape.features, shape.behaviours, heads=shape.heads, rngs=rngs
        )

    def features(
        self,
        tokens: Shaped[Array, "batch rows tokens width"],
        valid: Bool[Array, "batch rows"],
    ) -> Float[Array, "batch rows-1 tokens features"]:
        """Tokens of rows 1 to the last with their change since the row before, not standardised.

        The change is 0 where one of the two rows is not valid.
        """
        x = tokens.astype(jnp.float32)
        if not self.shape.motion:
            return x[:, 1:]
        both = (valid[:, 1:] & valid[:, :-1])[:, :, None, None]
        change = jnp.where(both, jnp.abs(x[:, 1:] - x[:, :-1]), 0.0)
        return jnp.concatenate([x[:, 1:], change], axis=-1)

    def __call__(
        self,
        tokens: Shaped[Array, "batch rows tokens width"],
        valid: Bool[Array, "batch rows"],
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch behaviours"]:
        """Logits at the middle of the rows.

        Parameters
        ----------
        tokens
            ``2 * context + 2`` rows: the pooled ones, preceded by one for its change.
        valid
            False for rows outside the recording or without a frame; they are left out.
        dropout, key
            In training: share of the pooled features that are set to 0, drawn with the key.
        """
        x = self.standardise(self.features(tokens, valid))
        batch, rows, n, features = x.shape
        padding = jnp.repeat(~valid[:, 1:], n, axis=1)
        pooled = self.head.pooler(x.reshape(batch, rows * n, features), padding)
        if key is not None:
            kept = jax.random.bernoulli(key, 1 - dropout, pooled.shape)
            pooled = jnp.where(kept, pooled / (1 - dropout), 0.0)
        return self.head.projection(pooled)


def row_offsets(shape: ProbeShape) -> Int[np.ndarray, " rows"]:
    """Rows, relative to a frame's own, that `ProbeNetwork` takes."""
    return np.arange(-shape.context - 1, shape.context + 1)


def group_columns(
    behaviours: Sequence[str], exclusive: Sequence[Sequence[str]]
) -> tuple[tuple[int, ...], ...]:
    """Columns of each exclusive group, in the order of ``behaviours``; single ones left out."""
    groups = [
        tuple(i for i, name in enumerate(behaviours) if name in set(group)) for group in exclusive
    ]
    return tuple(columns for columns in groups if len(columns) > 1)


def loss(
    logits: Float[Array, "batch behaviours"],
    states: Int[Array, "batch behaviours"],
    groups: tuple[tuple[int, ...], ...],
) -> Float[Array, ""]:
    """Mean cross-entropy over what is known; unobserved states weigh nothing.

    In an exclusive group the known outcome is its one present member, or "none" where all members
    are known to be absent; anything else is not known.
    """
    grouped = {column for columns in groups for column in columns}
    single = np.array([c for c in range(logits.shape[1]) if c not in grouped], dtype=np.int32)
    total = jnp.zeros(())
    count = jnp.zeros(())
    if len(single):
        known = states[:, single] != UNOBSERVED
        targets = (states[:, single] == PRESENT).astype(jnp.float32)
        each = optax.sigmoid_binary_cross_entropy(logits[:, single], targets)
        total += jnp.sum(each * known)
        count += known.sum()
    for columns in groups:
        outcome = group_outcome(states[:, np.array(columns)])
        with_none = _with_none(logits, columns)
        each = optax.softmax_cross_entropy_with_integer_labels(with_none, jnp.maximum(outcome, 0))
        total += jnp.sum(each * (outcome >= 0))
        count += (outcome >= 0).sum()
    return total / jnp.maximum(count, 1)


def group_outcome(states: Int[Array, "batch members"]) -> Int[Array, " batch"]:
    """0 for none, 1 to the number of members for the present one, −1 for not known."""
    present = states == PRESENT
    n_present = present.sum(axis=1)
    all_known = (states != UNOBSERVED).all(axis=1)
    none = jnp.where(all_known & (n_present == 0), 0, -1)
    return jnp.where(n_present == 1, 1 + jnp.argmax(present, axis=1), none)


def probabilities(
    logits: Float[Array, "batch behaviours"], groups: tuple[tuple[int, ...], ...]
) -> Float[Array, "batch behaviours"]:
    """Probability of each behaviour; members of an exclusive group sum to at most 1."""
    result = jax.nn.sigmoid(logits)
    for columns in groups:
        members = jax.nn.softmax(_with_none(logits, columns), axis=1)[:, 1:]
        result = result.at[:, np.array(columns)].set(members)
    return result


def _with_none(logits: Array, columns: tuple[int, ...]) -> Array:
    members = logits[:, np.array(columns)]
    return jnp.concatenate([jnp.zeros_like(members[:, :1]), members], axis=1)
