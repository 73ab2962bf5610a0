"""Stage 2: a student that sees a part of a clip learns what a teacher says of it, and what moves.

Two forms:

- ``direct``: of every visible patch a linear head tells the teacher's token, and one on their mean
  tells the teacher's mean. It spares the decoders' time.
- ``decoded``, that of the paper: decoders tell of every patch, seen or not (`decoders.py`).

In both, a linear head on the visible tokens of clips tells how each patch moves.

Source: arXiv 2402.13217, section 3.2, for masks, cosine losses and weights; the motion targets
are this project's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.pretrain.decoders import decode_global, decode_tokens, new_decoders
from ethoprism.pretrain.products import linear
from ethoprism.pretrain.student import Parameters, encode_patches, visible_patches

_MOTION_SCALE = (0.1, 0.1, 0.1, 0.02)
"""Where motion stops being linear: patches a frame for u, v, magnitude; grey levels of 1."""


@dataclass(frozen=True)
class Phase:
    """A part of a training: what is seen, how much of it, and at which rate.

    Attributes
    ----------
    name
        In the log; ``frames`` and ``clips`` by custom.
    steps, batch
        How many batches, of how many clips.
    kept
        Patches of 64 that are seen.
    single
        Whether one frame of each clip is seen, by the spatial layers alone.
    rate, last_rate
        Learning rate after the warm-up and at the end.
    schedule
        ``cosine`` falls from the one to the other; ``constant`` stays.
    warmup
        Steps.
    motion, teacher
        Weights of the motion targets, and of what the teacher says.
    form
        See the module.
    """

    name: str
    steps: int
    batch: int
    kept: int
    single: bool = False
    rate: float = 5e-4
    last_rate: float = 1e-5
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 50
    motion: float = 1.0
    teacher: float = 1.0
    form: Literal["direct", "decoded"] = "direct"


def new_heads(
    seed: int, config: EncoderConfig, components: int, *, decoders: bool = False
) -> Parameters:
    """Heads that have learnt nothing yet; with the decoders, if any phase uses them."""
    width = config.width
    rng = np.random.default_rng([seed, 11])

    def kernel(outputs: int) -> Array:
        return jnp.asarray(rng.standard_normal((width, outputs)) * width**-0.5, jnp.float32)

    further = new_decoders(seed, config, components) if decoders else {}
    return further | {
        "head/token/kernel": kernel(components),
        "head/token/bias": jnp.zeros(components),
        "head/pooled/kernel": kernel(components),
        "head/pooled/bias": jnp.zeros(components),
        "head/motion/kernel": 0.1 * kernel(4),
        "head/motion/bias": jnp.zeros(4),
    }


def losses(
    parameters: Parameters,
    config: EncoderConfig,
    phase: Phase,
    seen_frames: tuple[int, ...],
    batch: dict[str, Array],
    dtype: str,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The loss of a batch, and its parts.

    Parameters
    ----------
    parameters
        Of the student, and of the heads under ``head/``.
    seen_frames
        Frames of a clip that the teacher saw.
    batch
        ``frames``, ``visible``, ``teacher``, ``motion`` as in `batches.Batch`; ``gain`` and
        ``offset`` of each clip's colours; ``order``, a shuffle of all patches of each clip.
    dtype
        What operands of products are rounded to.
    """
    visible = batch["visible"]
    pixels = visible_patches(batch["frames"], config, visible)
    pixels = coloured(pixels, batch["gain"], batch["offset"])
    tokens = encode_patches(
        parameters, config, pixels, visible, dtype=dtype, temporal=not phase.single
    )
    seen = tuple(seen_frames)
    teacher = batch["teacher"]
    if phase.form == "decoded":
        said = decode_tokens(parameters, config, tokens, visible, batch["order"], dtype)
        token = _cosine_distance(said if phase.single else said[:, jnp.asarray(seen)], teacher)
        pooled = _cosine_distance(
            decode_global(parameters, config, tokens, dtype), teacher.mean(axis=(1, 2))
        )
    else:
        told = tokens if phase.single else tokens[:, jnp.asarray(seen)]
        wanted = jnp.take_along_axis(teacher, visible[:, None, :, None], axis=2)
        token = _cosine_distance(_head(parameters, "token", told, dtype), wanted)
        pooled = _cosine_distance(
            _head(parameters, "pooled", told.mean(axis=2), dtype), teacher.mean(axis=2)
        )
    total, parts = phase.teacher * (token + pooled), {"token": token, "pooled": pooled}
    if not phase.single:
        motion = jnp.arcsinh(batch["motion"] / jnp.asarray(_MOTION_SCALE))
        motion = jnp.take_along_axis(motion, visible[:, None, :, None], axis=2)
        difference = _head(parameters, "motion", tokens, dtype) - motion
        parts["motion"] = jnp.mean(jnp.sqrt(1.0 + jnp.square(difference)) - 1.0)
        total = total + phase.motion * parts["motion"]
    return total, {"loss": total, **parts}


def coloured(patches: Array, gain: Array, offset: Array) -> Array:
    """Bytes as floats around mid-grey, times a gain per colour, plus an offset."""
    shape = patches.shape
    pixels = patches.reshape(*shape[:3], -1, 3).astype(jnp.float32) / 255.0
    return ((pixels - 0.5) * gain + (0.5 + offset)).reshape(shape)


def _head(parameters: Parameters, name: str, x: Array, dtype: str) -> Array:
    return linear(x, parameters[f"head/{name}/kernel"], parameters[f"head/{name}/bias"], dtype)


def _cosine_distance(a: Array, b: Array) -> Array:
    """1 minus the mean cosine over the last axis."""
    product = jnp.sum(a * b, axis=-1)
    lengths = jnp.sqrt(jnp.sum(a * a, axis=-1) * jnp.sum(b * b, axis=-1) + 1e-6)
    return 1.0 - jnp.mean(product / lengths)
