"""The decoders of masked distillation, which are thrown away after training.

Token-wise: mask tokens fill the gaps, the whole sequence is shuffled, positions are added after
that, and a few layers tell the teacher's token of every place. A token's place in the sequence
says nothing then, so the student cannot copy its input through by position alone.
Global: the visible tokens, in no order and without positions, then attention pooling.

Source: arXiv 2402.13217, section 3.2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.pretrain.products import linear
from ethoprism.pretrain.student import Parameters, layers_of, stack

LAYERS = 4
TOKENS = "head/token_decoder/"
GLOBAL = "head/global_decoder/"


def new_decoders(seed: int, config: EncoderConfig, components: int) -> Parameters:
    """Parameters of both decoders under their names."""
    rng = np.random.default_rng([seed, 12])
    width, places = config.width, config.frames * config.grid**2

    def normal(*shape: int, fan: int) -> Array:
        return jnp.asarray(rng.standard_normal(shape) * fan**-0.5, jnp.float32)

    made: Parameters = {}
    for prefix in (TOKENS, GLOBAL):
        made |= {f"{prefix}layers/{k}": v for k, v in _new_layers(config, normal).items()}
        made[f"{prefix}out/kernel"] = normal(width, components, fan=width)
        made[f"{prefix}out/bias"] = jnp.zeros(components)
    made[f"{TOKENS}mask"] = 0.02 * normal(width, fan=1)
    made[f"{TOKENS}positions"] = 0.02 * normal(places, width, fan=1)
    made[f"{GLOBAL}query"] = normal(width, fan=width)
    return made


def _new_layers(config: EncoderConfig, normal) -> Parameters:
    width, heads, mlp = config.width, config.heads, config.mlp_width
    size = width // heads
    made: Parameters = {}
    for name in ("query", "key", "value", "post"):
        made[f"self_attention/{name}/w"] = normal(LAYERS, width, heads, size, fan=width)
        shape = (LAYERS, width) if name == "post" else (LAYERS, heads, size)
        made[f"self_attention/{name}/b"] = jnp.zeros(shape)
    for name in ("layer_norm", "ff_layer/layer_norm"):
        made[f"{name}/scale"] = jnp.zeros((LAYERS, width))
        made[f"{name}/bias"] = jnp.zeros((LAYERS, width))
    for name, inputs, outputs in (("ffn_layer1", width, mlp), ("ffn_layer2", mlp, width)):
        made[f"ff_layer/{name}/linear/kernel"] = normal(LAYERS, inputs, outputs, fan=inputs)
        made[f"ff_layer/{name}/linear/bias"] = jnp.zeros((LAYERS, outputs))
    return made


def decode_tokens(
    parameters: Parameters,
    config: EncoderConfig,
    tokens: Float[Array, "clips frames kept width"],
    visible: Int[Array, "clips kept"],
    order: Int[Array, "clips places"],
    dtype: str,
) -> Float[Array, "clips frames patches components"]:
    """What is said of every patch of every frame, seen or not.

    Parameters
    ----------
    order
        Of each clip: which patch of the sequence (frame by frame) comes at each place.
    """
    clips, frames, _, width = tokens.shape
    patches = config.grid**2
    mask = jnp.broadcast_to(parameters[TOKENS + "mask"], (clips, patches, frames, width))
    rows = jnp.arange(clips)[:, None]
    filled = mask.at[rows, visible].set(tokens.transpose(0, 2, 1, 3))
    sequence = filled.transpose(0, 2, 1, 3).reshape(clips, frames * patches, width)
    # The position belongs to the place after the shuffle; the patch's own comes with its target.
    shuffled = jnp.take_along_axis(sequence, order[:, :, None], axis=1)
    shuffled = shuffled + parameters[TOKENS + "positions"][: frames * patches]
    shuffled = stack(layers_of(parameters, TOKENS + "layers/"), shuffled, config, dtype)
    back = jnp.argsort(order, axis=1)
    restored = jnp.take_along_axis(shuffled, back[:, :, None], axis=1)
    told = linear(
        restored, parameters[TOKENS + "out/kernel"], parameters[TOKENS + "out/bias"], dtype
    )
    return told.reshape(clips, frames, patches, -1)


def decode_global(
    parameters: Parameters,
    config: EncoderConfig,
    tokens: Float[Array, "clips frames kept width"],
    dtype: str,
) -> Float[Array, "clips components"]:
    """What is said of the whole clip, from the visible tokens."""
    clips, _, _, width = tokens.shape
    sequence = tokens.reshape(clips, -1, width)
    sequence = stack(layers_of(parameters, GLOBAL + "layers/"), sequence, config, dtype)
    logits = sequence @ parameters[GLOBAL + "query"] * width**-0.5
    pooled = jnp.einsum("cs,csw->cw", jax.nn.softmax(logits, axis=-1), sequence)
    return linear(pooled, parameters[GLOBAL + "out/kernel"], parameters[GLOBAL + "out/bias"], dtype)
