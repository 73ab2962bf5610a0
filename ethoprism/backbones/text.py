"""VideoPrism's text encoder: token ids to one embedding, a causal transformer with a class token.

Source: arXiv 2402.13217, section 3.1 and appendix A; the numbers were compared with the official
implementation (``tests/golden/videoprism``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from ethoprism.backbones.layers import LayerNorm, NormPolicy, TransformerStack

LONGEST_WAVELENGTH = 10_000.0
NORM_EPSILON = 1e-12
"""Inside the root of the L2 norm, as in the released models."""


@dataclass(frozen=True)
class TextConfig:
    """The shape of a text encoder."""

    width: int
    """Features per token; those of the video embedding."""
    layers: int
    heads: int
    mlp_width: int
    vocabulary: int = 32_000
    norm: NormPolicy = "pre"
    logit_cap: float = 50.0
    """Bound of the attention logits; 0 is none."""


class TextEncoder(nnx.Module):
    """Features of a text's tokens and, last, of the class token that has seen them all.

    Parameters
    ----------
    config
        The shape of the encoder.
    rngs
        Source of the initial parameters.
    unroll
        Whether the layers are written out instead of scanned; see `layers.TransformerStack`.
    """

    def __init__(self, config: TextConfig, *, rngs: nnx.Rngs, unroll: bool = False):
        self.config = config
        width = config.width
        # Of unit length on average, once multiplied by the root of the width.
        scale = width**-0.5
        self.token_embedding = nnx.Param(scale * rngs.params.normal((config.vocabulary, width)))
        self.class_embedding = nnx.Param(scale * rngs.params.normal((1, 1, width)))
        self.stack = TransformerStack(
            config.layers,
            width,
            config.heads,
            config.mlp_width,
            config.logit_cap,
            rngs=rngs,
            unroll=unroll,
            norm=config.norm,
            relu=True,
            causal=True,
        )
        self.norm = LayerNorm(width)

    def __call__(
        self,
        ids: Int[Array, "texts tokens"],
        paddings: Bool[Array, "texts tokens"],
    ) -> Float[Array, "texts tokens_and_class width"]:
        """Features of the tokens, the class token's last; see `text_embedding`.

        Parameters
        ----------
        ids
            Ids of the vocabulary, such as those of `tokenizer.Tokenizer`.
        paddings
            True where the text has ended.
        """
        texts, tokens = ids.shape
        width = self.config.width
        embedded = self.token_embedding[...][ids] * math.sqrt(width)
        embedded = embedded + jnp.asarray(sinusoids(tokens, width), embedded.dtype)
        last = jnp.broadcast_to(self.class_embedding[...] * math.sqrt(width), (texts, 1, width))
        x = jnp.concatenate([embedded, last.astype(embedded.dtype)], axis=1)
        padded = jnp.concatenate([paddings, jnp.zeros((texts, 1), bool)], axis=1)
        return self.norm(self.stack(x, padded))


def sinusoids(length: int, width: int) -> Float[np.ndarray, "length width"]:
    """Positions as sines, then cosines, of ``width / 2`` wavelengths from 2π to 20000π tokens.

    Source: arXiv 1706.03762, section 3.5; here the exponent is i / (width / 2 − 1), so that both
    ends of the range are met, and sines and cosines are not interleaved.
    """
    half = width // 2
    exponents = np.arange(half, dtype=np.float64) / max(half - 1, 1)
    angles = np.arange(length)[:, None] * LONGEST_WAVELENGTH**-exponents
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def l2_normalised(x: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
    """Rows of length 1, so that their products are cosines."""
    square = jnp.sum(jnp.square(x), axis=-1, keepdims=True)
    return x / jnp.sqrt(square + NORM_EPSILON)
