"""The parts that VideoPrism's transformers are made of, exact to the released models.

Every module takes a ``stack`` of leading axes for its parameters: ``()`` for a single layer,
``(12,)`` for twelve layers kept together, which is the layout of the released ``x_layers``.

`project`, `gelu`, `softmax` and `layer_norm` are compiled functions of their own so that their
names stand in the jaxpr, where `openvino_graph` finds them; XLA writes them out again.

Source: arXiv 2402.13217, section 3 and appendix A; the numbers were compared with the official
implementation (``tests/golden/videoprism``).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

NORM_EPSILON = 1e-6
MASKED_LOGIT = -0.7 * float(jnp.finfo(jnp.float32).max)
"""What masked logits are replaced with: finite, so a row that is masked whole becomes uniform."""

INVERSE_SOFTPLUS_OF_ZERO = 1.442695041
"""1 / ln 2 with the digits of the released models; it makes the per-dimension scale start at 1."""

Stack = tuple[int, ...]

ALL = slice(None)

Projected = tuple[Array, Array, Array]
"""Queries, keys and values ``[batch, tokens, heads, size]``, biases included."""

NormPolicy = Literal["pre", "primer_hybrid"]
"""``pre`` norms what goes into attention and feed-forward, ``primer_hybrid`` what comes out too."""


@partial(jax.jit, static_argnums=(3, 4, 5))
def project(
    x: Array,
    w: Array,
    b: Array,
    x_axes: tuple[int, ...],
    w_axes: tuple[int, ...],
    operands: str | None = None,
) -> Array:
    """``x`` times ``w`` over the given axes, plus ``b``: summed in float32, in ``x``'s dtype.

    Both are brought to the dtype ``operands``, by default that of ``x``. The accumulator is asked
    for explicitly because a plain bfloat16 product is slower than float32 on CPUs, while bfloat16
    operands with a float32 sum are two to four times faster.
    """
    dtype = operands or x.dtype
    product = lax.dot_general(
        x.astype(dtype),
        w.astype(dtype),
        ((x_axes, w_axes), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return (product + b.astype(jnp.float32)).astype(x.dtype)


def multiply_in(module: nnx.Module, operands: str) -> None:
    """Sets the dtype of the operands of all products in a module.

    Activations keep the dtype of what came in. With float32 activations and bfloat16 operands the
    error is half that of activations that are rounded as well, and as fast.
    """
    for _, part in nnx.iter_modules(module):
        if isinstance(part, Linear | HeadProjection | MergeProjection | SelfAttention):
            part.operands = operands


@jax.jit
def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """``x`` weighted by the normal distribution function: the exact GELU, not its tanh likeness."""
    return jax.nn.gelu(x, approximate=False)


@jax.jit
def softmax(logits: Float[Array, "..."]) -> Float[Array, "..."]:
    """Shares of one along the last axis."""
    return jax.nn.softmax(logits, axis=-1)


@jax.jit
def layer_norm(
    x: Float[Array, "*tokens width"], scale: Float[Array, "width"], bias: Float[Array, "width"]
) -> Float[Array, "*tokens width"]:
    """The arithmetic of `LayerNorm`."""
    # Statistics of bfloat16 activations are taken in float32: 8 bits can't hold a variance.
    wide = x.astype(jnp.float32)
    centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    normed = centred * lax.rsqrt(variance + NORM_EPSILON)
    scale, bias = scale.astype(jnp.float32), bias.astype(jnp.float32)
    return (normed * (1.0 + scale) + bias).astype(x.dtype)


def attend(
    query: Float[Array, "batch heads targets features"],
    key: Float[Array, "batch heads sources features"],
    value: Float[Array, "batch heads sources features"],
    masked: Bool[Array, "#batch 1 #targets sources"] | None = None,
    logit_cap: float = 0.0,
) -> Float[Array, "batch heads targets features"]:
    """Values averaged with the softmax of capped query–key products, computed in float32.

    The axes are in the order batch, head, token, feature: XLA's products on CPUs are three times
    faster on it than on batch, token, head, feature.

    Parameters
    ----------
    query, key, value
        Projections of the tokens; the query has been scaled already.
    masked
        True where a target must not look at a source.
    logit_cap
        Logits ``l`` become ``cap * tanh(l / cap)`` before they are masked; 0 leaves them alone.
    """
    per_row = ((0, 1), (0, 1))
    logits = lax.dot_general(
        query, key, (((3,), (3,)), per_row), preferred_element_type=jnp.float32
    )
    if logit_cap > 0:
        logits = logit_cap * jnp.tanh(logits / logit_cap)
    if masked is not None:
        logits = jnp.where(masked, jnp.float32(MASKED_LOGIT), logits)
    weights = softmax(logits).astype(value.dtype)
    mixed = lax.dot_general(
        weights, value, (((3,), (2,)), per_row), preferred_element_type=jnp.float32
    )
    return mixed.astype(value.dtype)


class LayerNorm(nnx.Module):
    """Features brought to mean 0 and variance 1, then times ``1 + scale`` plus ``bias``."""

    def __init__(self, width: int, *, stack: Stack = ()):
        self.scale = nnx.Param(jnp.zeros((*stack, width)))
        self.bias = nnx.Param(jnp.zeros((*stack, width)))

    def __call__(self, x: Float[Array, "*tokens width"]) -> Float[Array, "*tokens width"]:
        return layer_norm(x, self.scale[...], self.bias[...])


class Linear(nnx.Module):
    """``x @ kernel + bias``."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, stack: Stack = ()):
        self.kernel = nnx.Param(_fan_in_normal(rngs, (*stack, inputs, outputs), inputs))
        self.bias = nnx.Param(jnp.zeros((*stack, outputs)))
        self.operands: str | None = None

    def __call__(self, x: Float[Array, "*tokens inputs"]) -> Float[Array, "*tokens outputs"]:
        axes = ((x.ndim - 1,), (0,))
        return project(x, self.kernel[...], self.bias[...], *axes, self.operands)


class HeadProjection(nnx.Module):
    """Tokens projected to the queries, keys or values of every head."""

    def __init__(self, width: int, heads: int, size: int, *, rngs: nnx.Rngs, stack: Stack = ()):
        self.w = nnx.Param(_fan_in_normal(rngs, (*stack, width, heads, size), width))
        self.b = nnx.Param(jnp.zeros((*stack, heads, size)))
        self.operands: str | None = None

    def __call__(
        self, x: Float[Array, "batch tokens width"]
    ) -> Float[Array, "batch tokens heads size"]:
        return project(x, self.w[...], self.b[...], (2,), (0,), self.operands)


class MergeProjection(nnx.Module):
    """The heads' outputs projected back to tokens; the weight has its output axis first."""

    def __init__(self, width: int, heads: int, size: int, *, rngs: nnx.Rngs, stack: Stack = ()):
        self.w = nnx.Param(_fan_in_normal(rngs, (*stack, width, heads, size), heads * size))
        self.b = nnx.Param(jnp.zeros((*stack, width)))
        self.operands: str | None = None

    def __call__(
        self, x: Float[Array, "batch tokens heads size"]
    ) -> Float[Array, "batch tokens width"]:
        return project(x, self.w[...], self.b[...], (2, 3), (1, 2), self.operands)


class SelfAttention(nnx.Module):
    """Capped multi-head attention of tokens among themselves."""

    def __init__(
        self, width: int, heads: int, logit_cap: float, *, rngs: nnx.Rngs, stack: Stack = ()
    ):
        size = width // heads
        self.query = HeadProjection(width, heads, size, rngs=rngs, stack=stack)
        self.key = HeadProjection(width, heads, size, rngs=rngs, stack=stack)
        self.value = HeadProjection(width, heads, size, rngs=rngs, stack=stack)
        self.post = MergeProjection(width, heads, size, rngs=rngs, stack=stack)
        self.logit_cap = logit_cap
        self.operands: str | None = None

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        masked: Bool[Array, "#batch 1 #targets tokens"] | None = None,
        targets: slice = ALL,
    ) -> Float[Array, "batch targets width"]:
        """What the targets find among all tokens."""
        return self.mixed(self.query(x[:, targets]), self.key(x), self.value(x), masked)

    def mixed(
        self,
        query: Float[Array, "batch targets heads size"],
        key: Float[Array, "batch tokens heads size"],
        value: Float[Array, "batch tokens heads size"],
        masked: Bool[Array, "#batch 1 #targets tokens"] | None = None,
    ) -> Float[Array, "batch targets width"]:
        """The attention itself, from projections that include their biases."""
        query = query * (query.shape[-1] ** -0.5)
        dtype = query.dtype
        operands = self.operands or dtype
        query, key, value = (heads_first(x.astype(operands)) for x in (query, key, value))
        found = attend(query, key, value, masked, self.logit_cap)
        return self.post(heads_first(found).astype(dtype))


class FeedForward(nnx.Module):
    """Two layers with a GELU (or ReLU) between them; padded tokens get zeros from both."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        *,
        rngs: nnx.Rngs,
        stack: Stack = (),
        relu: bool = False,
    ):
        self.activation = jax.nn.relu if relu else gelu
        self.expand = Linear(width, mlp_width, rngs=rngs, stack=stack)
        self.reduce = Linear(mlp_width, width, rngs=rngs, stack=stack)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        paddings: Bool[Array, "batch tokens"] | None = None,
    ) -> Float[Array, "batch tokens width"]:
        hidden = _zero_where(paddings, self.activation(self.expand(x)))
        return _zero_where(paddings, self.reduce(hidden))


class TransformerLayer(nnx.Module):
    """Normed attention and feed-forward, each added to what came in.

    Parameters
    ----------
    norm
        What is normed; see `NormPolicy`.
    relu
        Whether the feed-forward uses ReLU, as the text encoders do, in place of GELU.
    causal
        Whether a token looks at none that comes after it.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        logit_cap: float,
        *,
        rngs: nnx.Rngs,
        stack: Stack = (),
        norm: NormPolicy = "pre",
        relu: bool = False,
        causal: bool = False,
    ):
        self.attention_norm = LayerNorm(width, stack=stack)
        self.attention = SelfAttention(width, heads, logit_cap, rngs=rngs, stack=stack)
        self.feed_forward_norm = LayerNorm(width, stack=stack)
        self.feed_forward = FeedForward(width, mlp_width, rngs=rngs, stack=stack, relu=relu)
        self.causal = causal
        self.norms_results = norm == "primer_hybrid"
        if self.norms_results:
            self.attention_post_norm = LayerNorm(width, stack=stack)
            self.feed_forward_post_norm = LayerNorm(width, stack=stack)

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        paddings: Bool[Array, "batch tokens"] | None = None,
        targets: slice = ALL,
        projected: Projected | None = None,
    ) -> Float[Array, "batch targets width"]:
        """The tokens after the layer.

        Parameters
        ----------
        x, paddings
            Tokens, and which of them hold nothing.
        targets
            The tokens that are wanted. The others are looked at, and no more.
        projected
            Queries, keys and values of all tokens, where they are known already.
        """
        masked = padding_mask(paddings)
        if self.causal:
            later = ~jnp.tri(x.shape[1], dtype=bool)[None, None, targets]
            # The released text encoders mask padded targets, too, as their video encoders do not.
            ended = False if paddings is None else paddings[:, None, targets, None]
            masked = later if masked is None else masked | later | ended
        if projected is None:
            mixed = self.attention(self.attention_norm(x), masked, targets)
        else:
            query, key, value = projected
            mixed = self.attention.mixed(query[:, targets], key, value, masked)
        if self.norms_results:
            mixed = self.attention_post_norm(mixed)
        x = x[:, targets] + mixed
        paddings = None if paddings is None else paddings[:, targets]
        changed = self.feed_forward(self.feed_forward_norm(x), paddings)
        if self.norms_results:
            changed = self.feed_forward_post_norm(changed)
        return x + changed


class TransformerStack(nnx.Module):
    """Layers applied in turn, their parameters kept together with a leading layer axis.

    Parameters
    ----------
    depth
        Number of layers.
    unroll
        False compiles one layer and scans it over the layer axis, which is smaller and a little
        faster in XLA. True writes the layers out, without scan or split, for converters that know
        neither (OpenVINO reads the jaxpr).
    norm, relu, causal
        See `TransformerLayer`.
    """

    def __init__(
        self,
        depth: int,
        width: int,
        heads: int,
        mlp_width: int,
        logit_cap: float,
        *,
        rngs: nnx.Rngs,
        unroll: bool = False,
        norm: NormPolicy = "pre",
        relu: bool = False,
        causal: bool = False,
    ):
        self.layers = TransformerLayer(
            width,
            heads,
            mlp_width,
            logit_cap,
            rngs=rngs,
            stack=(depth,),
            norm=norm,
            relu=relu,
            causal=causal,
        )
        self.depth = depth
        self.unroll = unroll

    def separate(self) -> None:
        """Keeps the parameters of each layer in arrays of their own, and writes the layers out.

        A layer that is sliced from the stack is copied in every call: of VideoPrism Base in
        bfloat16, a fifth of the time. What a frozen model is called with is separated once.
        """
        self.each = nnx.List([self.layer(index) for index in range(self.depth)])
        del self.layers

    def __call__(
        self,
        x: Float[Array, "batch tokens width"],
        paddings: Bool[Array, "batch tokens"] | None = None,
        targets: slice = ALL,
        projected: Projected | None = None,
    ) -> Float[Array, "batch targets width"]:
        """The tokens after all layers.

        Parameters
        ----------
        x, paddings
            Tokens, and which of them hold nothing.
        targets
            The tokens that are wanted; the last layer computes no others.
        projected
            Queries, keys and values of the first layer, where they are known already.
        """
        first = 0 if projected is None else 1
        last = self.depth if targets == ALL else max(self.depth - 1, first)
        if first:
            x = self.layer(0)(x, paddings, targets if self.depth == 1 else ALL, projected)
        x = self._between(x, paddings, first, last)
        return x if last == self.depth else self.layer(last)(x, paddings, targets)

    def layer(self, index: int) -> TransformerLayer:
        """One of the layers."""
        if self._separated:
            return self.each[index]
        graph, stacked = nnx.split(self.layers)
        one = jax.tree.map(lambda p: lax.index_in_dim(p, index, keepdims=False), stacked)
        return nnx.merge(graph, one)

    @property
    def _separated(self) -> bool:
        return hasattr(self, "each")

    def _between(self, x: Array, paddings: Array | None, first: int, last: int) -> Array:
        if self.unroll or self._separated:
            for index in range(first, last):
                x = self.layer(index)(x, paddings)
            return x
        graph, stacked = nnx.split(self.layers)

        def apply(x: Array, parameters: nnx.State) -> tuple[Array, None]:
            return nnx.merge(graph, parameters)(x, paddings), None

        if (first, last) != (0, self.depth):
            stacked = jax.tree.map(lambda p: lax.slice_in_dim(p, first, last), stacked)
        return lax.scan(apply, x, stacked)[0]


def heads_first(x: Array) -> Array:
    """Swaps the axes of tokens and heads: [B, T, N, H] ↔ [B, N, T, H]."""
    return lax.transpose(x, (0, 2, 1, 3))


def padding_mask(
    paddings: Bool[Array, "batch tokens"] | None,
) -> Bool[Array, "batch 1 1 tokens"] | None:
    """Where attention is masked: at padded sources, for every target.

    Padded targets look at the others as usual; what they find means nothing.
    """
    return None if paddings is None else paddings[:, None, None, :]


def per_dim_scale(
    x: Float[Array, "*tokens size"], scale: Float[Array, "size"]
) -> Float[Array, "*tokens size"]:
    """``x`` times softplus(scale) / (ln 2 · √size): 1/√size per feature, learned around that."""
    factor = (INVERSE_SOFTPLUS_OF_ZERO / math.sqrt(x.shape[-1])) * jax.nn.softplus(scale)
    return x * factor.astype(x.dtype)


def resize_positions(
    embedding: Float[Array, "*old width"], size: tuple[int, ...]
) -> Float[Array, "*new width"]:
    """Positional embeddings for a grid of ``size``, which has one axis or two.

    Where the size is another one than was learned they are interpolated as in the released
    models: bilinearly, with half-pixel centres, antialiased when the size shrinks.
    """
    if embedding.shape[:-1] == size:
        return embedding
    return jax.image.resize(embedding, (*size, embedding.shape[-1]), method="bilinear")


def image_to_patches(
    images: Shaped[Array, "n height width channels"], patch_size: int
) -> Shaped[Array, "n patches features"]:
    """Square patches, row by row; each flattened in the order row, column, channel."""
    n, height, width, channels = images.shape
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"expected height and width in multiples of {patch_size} px, got {height} × {width}"
        )
    rows, columns = height // patch_size, width // patch_size
    blocks = images.reshape(n, rows, patch_size, columns, patch_size, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
    return blocks.reshape(n, rows * columns, patch_size * patch_size * channels)


def _zero_where(paddings: Array | None, x: Array) -> Array:
    # Selecting, unlike multiplying by zero, also stops the NaN of an unfilled padding frame.
    return x if paddings is None else jnp.where(paddings[:, :, None], jnp.zeros((), x.dtype), x)


def _fan_in_normal(rngs: nnx.Rngs, shape: tuple[int, ...], fan: int) -> Array:
    # Written out because jax's initialisers guess the fan from two axes, and these have more.
    return jax.random.normal(rngs.params(), shape) * fan**-0.5
