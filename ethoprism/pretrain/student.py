"""The student: VideoPrism's encoder of which only visible patches are computed.

It is a function of the parameters under their released names, so what is trained is what is
written. With all patches visible it computes what `backbones.encoder.VideoPrismEncoder` does.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.backbones.layers import NORM_EPSILON, image_to_patches
from ethoprism.pretrain.products import linear

Parameters = dict[str, Array]

SPATIAL = "params/spatial_encoder/transformers_stack/x_layers/"
TEMPORAL = "params/temporal_encoder/transformers_stack/x_layers/"


def encode(
    parameters: Parameters,
    config: EncoderConfig,
    video: Float[Array, "clips frames height width 3"],
    visible: Int[Array, "clips kept"] | None = None,
    *,
    dtype: str = "float32",
    temporal: bool = True,
) -> Float[Array, "clips frames kept features"]:
    """Tokens of the visible patches, which are the same in all frames of a clip (tubes).

    Parameters
    ----------
    parameters
        Released name → value.
    config
        The shape of the encoder; frames are of its input size.
    video
        RGB in [0, 1].
    visible
        Patch numbers, row by row; None is all.
    dtype
        What operands of products are rounded to.
    temporal
        False stops after the spatial stack.
    """
    patches = visible_patches(video, config, visible)
    return encode_patches(parameters, config, patches, visible, dtype=dtype, temporal=temporal)


def visible_patches(
    video: Array, config: EncoderConfig, visible: Int[Array, "clips kept"] | None
) -> Array:
    """Pixels of the visible patches, in the dtype of the video: ``[clips, frames, kept, pixels]``.

    Bytes are best cut before they become floats.
    """
    clips, frames = video.shape[:2]
    patches = image_to_patches(video.reshape(-1, *video.shape[2:]), config.patch_size)
    patches = patches.reshape(clips, frames, *patches.shape[1:])
    if visible is None:
        return patches
    return jnp.take_along_axis(patches, visible[:, None, :, None], axis=2)


def encode_patches(
    parameters: Parameters,
    config: EncoderConfig,
    patches: Float[Array, "clips frames kept pixels"],
    visible: Int[Array, "clips kept"] | None,
    *,
    dtype: str = "float32",
    temporal: bool = True,
) -> Float[Array, "clips frames kept features"]:
    """`encode`, from pixels that `visible_patches` gave."""
    clips, frames = patches.shape[:2]
    position = parameters["params/spatial_pos_emb/emb_var"]
    if visible is None:
        position = jnp.broadcast_to(position, (clips, *position.shape))
    else:
        position = position[visible]
    tokens = linear(
        patches,
        parameters["params/patch_projection/linear/kernel"],
        parameters["params/patch_projection/linear/bias"],
        dtype,
    )
    tokens = tokens + position[:, None]
    kept = tokens.shape[2]
    tokens = tokens.reshape(clips * frames, kept, config.width)
    tokens = stack(layers_of(parameters, SPATIAL), tokens, config, dtype)
    tokens = norm(
        tokens, parameters["params/spatial_ln/scale"], parameters["params/spatial_ln/bias"]
    )
    tokens = tokens.reshape(clips, frames, kept, config.width)
    if not temporal:
        return tokens
    rows = tokens.transpose(0, 2, 1, 3).reshape(clips * kept, frames, config.width)
    rows = rows + parameters["params/temporal_pos_emb/emb_var"][:frames]
    rows = stack(layers_of(parameters, TEMPORAL), rows, config, dtype)
    rows = norm(rows, parameters["params/temporal_ln/scale"], parameters["params/temporal_ln/bias"])
    return rows.reshape(clips, kept, frames, config.width).transpose(0, 2, 1, 3)


def layers_of(parameters: Parameters, prefix: str) -> dict[str, Array]:
    """A stack's parameters, each with its leading layer axis, by the names within a layer."""
    return {k.removeprefix(prefix): v for k, v in parameters.items() if k.startswith(prefix)}


def stack(
    layers: Mapping[str, Array],
    x: Float[Array, "rows tokens width"],
    config: EncoderConfig,
    dtype: str,
) -> Float[Array, "rows tokens width"]:
    """A stack of layers applied in turn."""

    def apply(x: Array, one: dict[str, Array]) -> tuple[Array, None]:
        return layer(one, x, config, dtype), None

    depth = next(iter(layers.values())).shape[0]
    for index in range(depth):
        x, _ = apply(x, {k: v[index] for k, v in layers.items()})
    return x


def layer(
    one: Mapping[str, Array],
    x: Float[Array, "rows tokens width"],
    config: EncoderConfig,
    dtype: str,
) -> Float[Array, "rows tokens width"]:
    """Attention and feed-forward, each added to what came in."""
    width, heads = config.width, config.heads
    size = width // heads
    inner = norm(x, one["layer_norm/scale"], one["layer_norm/bias"])
    names = ("query", "key", "value")
    scale = size**-0.5
    kernel = jnp.concatenate(
        [one[f"self_attention/{n}/w"].reshape(width, width) for n in names], axis=1
    )
    bias = jnp.concatenate([one[f"self_attention/{n}/b"].reshape(width) for n in names])
    mixed = linear(inner, kernel, bias, dtype)
    rows, tokens = x.shape[:2]
    query, key, value = mixed.reshape(rows, tokens, 3, heads, size).transpose(2, 0, 3, 1, 4)
    mixed = attention(query * scale, key, value, config.logit_cap)
    mixed = mixed.transpose(0, 2, 1, 3).reshape(rows, tokens, width)
    post = one["self_attention/post/w"].reshape(width, width).T
    x = x + linear(mixed, post, one["self_attention/post/b"], dtype)
    inner = norm(x, one["ff_layer/layer_norm/scale"], one["ff_layer/layer_norm/bias"])
    return x + feed_forward(one, inner, dtype)


def feed_forward(one: Mapping[str, Array], x: Array, dtype: str) -> Array:
    """Two products with a GELU between them."""
    first, second = "ff_layer/ffn_layer1/linear/", "ff_layer/ffn_layer2/linear/"
    hidden = linear(x, one[first + "kernel"], one[first + "bias"], dtype)
    hidden = jax.nn.gelu(hidden, approximate=False)
    return linear(hidden, one[second + "kernel"], one[second + "bias"], dtype)


def attention(query: Array, key: Array, value: Array, cap: float) -> Array:
    """Capped attention; axes batch, head, token, feature."""
    per_row = ((0, 1), (0, 1))
    logits = lax.dot_general(query, key, (((3,), (3,)), per_row))
    weights = jax.nn.softmax(cap * jnp.tanh(logits / cap), axis=-1)
    return lax.dot_general(weights, value, (((3,), (2,)), per_row))


def norm(x: Array, scale: Array, bias: Array) -> Array:
    """Features of mean 0 and variance 1, times ``1 + scale``, plus ``bias``."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
    return centred * lax.rsqrt(variance + NORM_EPSILON) * (1.0 + scale) + bias
