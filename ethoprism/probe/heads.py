"""The heads of a probe: from rows of tokens to logits of the rows' behaviours.

All take consecutive rows and give logits for those that have enough rows around them, so that what
depends on one row alone is computed once, however many windows hold the row.

attentive
    The paper's (arXiv 2402.13217, section 4.1): a learned query attends to all tokens of a window,
    a linear layer follows.
linear
    A linear layer on the mean descriptors of the rows in a window.
temporal
    Descriptors through residual convolutions along time, each dilated twice as far as the one
    before.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from ethoprism.backbones.heads import AttentivePoolingHead
from ethoprism.backbones.layers import MASKED_LOGIT, LayerNorm, Linear, per_dim_scale

HEADS = ("linear", "attentive", "temporal")
HIDDEN = 64
"""Features of the temporal head between its layers."""


class AttentiveHead(AttentivePoolingHead):
    """`AttentivePoolingHead` over windows of consecutive rows.

    A softmax over the tokens of a window is a softmax over rows of softmaxes over the tokens of a
    row. So each row is pooled once, and its keys and values enter every window that holds it.
    """

    def windows(
        self,
        x: Float[Array, "batch rows tokens features"],
        valid: Bool[Array, "batch rows"],
        context: int,
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch inner behaviours"]:
        """Logits of all rows that have ``context`` rows before and behind them.

        Parameters
        ----------
        x
            Standardised tokens.
        valid
            False for rows to leave out.
        dropout, key
            In training: share of the pooled features that are set to 0, drawn with the key.
        """
        score, values = self.rows(x)
        return self.mixed(score, values, valid, context, dropout=dropout, key=key)

    def rows(
        self, x: Float[Array, "batch rows tokens features"]
    ) -> tuple[Float[Array, "batch rows heads"], Float[Array, "batch rows heads size"]]:
        """What a window needs of each row: how strongly it answers the query, and its values."""
        pooler = self.pooler
        learned = pooler.learned_query[...]
        query = per_dim_scale(pooler.query(learned[None]), pooler.scale[...])[0, 0]
        asked = jnp.einsum("dnh,nh->dn", pooler.key.w[...], query)
        offset = (pooler.key.b[...] * query).sum(axis=-1)
        logits = jnp.einsum("brtd,dn->brtn", x, asked) + offset
        score = jax.nn.logsumexp(logits, axis=2)
        average = jnp.einsum("brtn,brtd->brnd", jnp.exp(logits - score[:, :, None]), x)
        # One product a head: as one product of all heads, XLA rearranges both sides, which takes
        # longer than the product itself.
        weights = jnp.moveaxis(pooler.value.w[...], 1, 0)
        values = jnp.stack([average[:, :, i] @ w for i, w in enumerate(weights)], axis=2)
        return score, values + pooler.value.b[...]

    def mixed(
        self,
        score: Float[Array, "batch rows heads"],
        values: Float[Array, "batch rows heads size"],
        valid: Bool[Array, "batch rows"],
        context: int,
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch inner behaviours"]:
        """Logits from what `rows` gives."""
        batch, rows = valid.shape
        around = np.arange(rows - 2 * context)[:, None] + np.arange(2 * context + 1)
        masked = jnp.where(valid[:, :, None], score, jnp.float32(MASKED_LOGIT))
        weights = jax.nn.softmax(masked[:, around], axis=2)
        mixed = jnp.einsum("bwon,bwonh->bwnh", weights, values[:, around])
        pooled = self.pooler.norm(self.pooler.post(mixed.reshape(-1, 1, *mixed.shape[2:])))
        pooled = _drop(pooled.reshape(batch, len(around), -1), dropout, key)
        return self.projection(pooled)


class LinearHead(nnx.Module):
    """Logistic regression on the mean descriptors of a window; starts at 0, so it has no seed."""

    def __init__(self, features: int, behaviours: int):
        self.kernel = nnx.Param(jnp.zeros((features, behaviours)))
        self.bias = nnx.Param(jnp.zeros((behaviours,)))

    def features(
        self, x: Float[Array, "batch rows features"], valid: Bool[Array, "batch rows"], context: int
    ) -> Float[Array, "batch inner features"]:
        """Mean descriptors over the valid rows of each window."""
        kept = jnp.where(valid[:, :, None], x, 0.0)
        total, count = _windowed_sum(kept, context), _windowed_sum(valid[:, :, None], context)
        return total / jnp.maximum(count, 1)

    def windows(
        self,
        x: Float[Array, "batch rows features"],
        valid: Bool[Array, "batch rows"],
        context: int,
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch inner behaviours"]:
        """Logits of all rows that have ``context`` rows before and behind them."""
        x = _drop(self.features(x, valid, context), dropout, key)
        return x @ self.kernel[...] + self.bias[...]


class TemporalHead(nnx.Module):
    """Residual dilated convolutions over three rows each, on projected descriptors.

    As in MS-TCN (Abu Farha, Gall, CVPR 2019, section 3.1), with a small width, layer norm, and
    nothing but the rows themselves around a recording's ends.
    """

    def __init__(self, features: int, behaviours: int, context: int, *, rngs: nnx.Rngs):
        self.inward = Linear(features, HIDDEN, rngs=rngs)
        self.dilations = dilations(context)
        self.mix = nnx.List([Linear(3 * HIDDEN, HIDDEN, rngs=rngs) for _ in self.dilations])
        self.norms = nnx.List([LayerNorm(HIDDEN) for _ in self.dilations])
        self.projection = Linear(HIDDEN, behaviours, rngs=rngs)

    def windows(
        self,
        x: Float[Array, "batch rows features"],
        valid: Bool[Array, "batch rows"],
        context: int,
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch inner behaviours"]:
        """Logits of all rows that have ``context`` rows before and behind them."""
        keys = [None] * 2 if key is None else list(jax.random.split(key))
        kept = valid[:, :, None]
        y = jnp.where(kept, self.inward(_drop(x, dropout / 2, keys[0])), 0.0)
        for far, mix, norm in zip(self.dilations, self.mix, self.norms, strict=True):
            n = y.shape[1] - 2 * far
            near = [norm(y)[:, start : start + n] for start in (0, far, 2 * far)]
            kept = kept[:, far : far + n]
            change = jax.nn.gelu(mix(jnp.concatenate(near, axis=-1)))
            y = jnp.where(kept, y[:, far : far + n] + change, 0.0)
        return self.projection(_drop(y, dropout, keys[1]))


def dilations(context: int) -> tuple[int, ...]:
    """1, 2, 4, ... as long as their sum is within ``context``; at least 1."""
    found = [1]
    while 2 * sum(found) + 1 <= context:
        found.append(2 * found[-1])
    return tuple(found)


def _windowed_sum(x: Array, context: int) -> Float[Array, "batch inner features"]:
    total = jnp.cumsum(x.astype(jnp.float32), axis=1)
    total = jnp.pad(total, ((0, 0), (1, 0), (0, 0)))
    width = 2 * context + 1
    return total[:, width:] - total[:, :-width]


def _drop(x: Array, dropout: float, key: Array | None) -> Array:
    if key is None or not dropout:
        return x
    kept = jax.random.bernoulli(key, 1 - dropout, x.shape)
    return jnp.where(kept, x / (1 - dropout), 0.0)
