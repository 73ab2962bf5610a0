"""Attentive pooling of tokens, and the classifier that VideoPrism is probed with.

Source: arXiv 2402.13217, section 4.1 (frozen features, attention-pooling head); the numbers were
compared with the official classifier (``tests/golden/videoprism``).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ethoprism.backbones.layers import (
    MASKED_LOGIT,
    HeadProjection,
    LayerNorm,
    Linear,
    MergeProjection,
    per_dim_scale,
)


class AttentionPooler(nnx.Module):
    """One vector per row of tokens: what a learned query finds among them, then normed.

    The query is scaled per dimension; there is no logit cap, no residual and no feed-forward.

    Parameters
    ----------
    width
        Features of a token and of the result.
    heads
        Number of attention heads.
    hidden
        Features of all heads together: ``width`` in the classifier (the default), ``4 * width`` in
        the video–text models.
    rngs
        Source of the initial parameters.
    """

    def __init__(self, width: int, heads: int, *, hidden: int | None = None, rngs: nnx.Rngs):
        hidden = width if hidden is None else hidden
        if hidden % heads:
            raise ValueError(f"expected a width that {heads} heads divide, got {hidden} features")
        size = hidden // heads
        self.learned_query = nnx.Param(rngs.params.normal((1, width)))
        self.query = HeadProjection(width, heads, size, rngs=rngs)
        self.key = HeadProjection(width, heads, size, rngs=rngs)
        self.value = HeadProjection(width, heads, size, rngs=rngs)
        self.scale = nnx.Param(jnp.zeros((size,)))
        self.post = MergeProjection(width, heads, size, rngs=rngs)
        self.norm = LayerNorm(width)

    def __call__(
        self,
        tokens: Float[Array, "batch tokens width"],
        paddings: Bool[Array, "batch tokens"] | None = None,
    ) -> Float[Array, "batch width"]:
        """Pooled tokens.

        Parameters
        ----------
        tokens
            Tokens in any order: the pooler knows no positions.
        paddings
            True for tokens to leave out. A row without any token left is pooled evenly, so the
            result stays finite; it means nothing.
        """
        learned = self.learned_query[...].astype(tokens.dtype)
        query = per_dim_scale(self.query(learned[None]), self.scale[...])[0, 0]
        # One query asks all tokens, so the key projection is applied to the query and the value
        # projection to the average: the same numbers with two products of the size of the tokens
        # in place of two that are `hidden` times as large.
        asked = jnp.einsum("dnh,nh->nd", self.key.w[...].astype(tokens.dtype), query)
        offset = (self.key.b[...].astype(tokens.dtype) * query).sum(axis=-1)
        logits = (
            jnp.einsum("btd,nd->bnt", tokens, asked, preferred_element_type=jnp.float32)
            + offset.astype(jnp.float32)[None, :, None]
        )
        if paddings is not None:
            logits = jnp.where(paddings[:, None, :], jnp.float32(MASKED_LOGIT), logits)
        weights = jax.nn.softmax(logits, axis=-1).astype(tokens.dtype)
        average = jnp.einsum(
            "bnt,btd->bnd", weights, tokens, preferred_element_type=jnp.float32
        ).astype(tokens.dtype)
        mixed = jnp.einsum("bnd,dnh->bnh", average, self.value.w[...].astype(tokens.dtype))
        mixed = mixed + self.value.b[...].astype(tokens.dtype)
        return self.norm(self.post(mixed[:, None]))[:, 0, :]


class AttentivePoolingHead(nnx.Module):
    """Logits of classes from tokens: attentive pooling and one linear layer.

    Parameters
    ----------
    width
        Features of a token.
    classes
        Number of logits.
    heads
        Heads of the pooler.
    rngs
        Source of the initial parameters.
    """

    def __init__(self, width: int, classes: int, *, heads: int, rngs: nnx.Rngs):
        self.pooler = AttentionPooler(width, heads, rngs=rngs)
        self.projection = Linear(width, classes, rngs=rngs)

    def __call__(
        self,
        tokens: Float[Array, "batch tokens width"],
        paddings: Bool[Array, "batch tokens"] | None = None,
    ) -> Float[Array, "batch classes"]:
        """Logits; ``paddings`` is true for tokens to leave out (see `AttentionPooler`)."""
        return self.projection(self.pooler(tokens, paddings))
