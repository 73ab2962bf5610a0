"""Training of stage 1: a video encoder, its poolers and a text encoder, on captioned clips."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.text import TextConfig, l2_normalised
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import VideoTextConfig, VideoTextEncoder
from ethoprism.backbones.weights import named_parameters, video_text_names, write_safetensors
from ethoprism.errors import InputError
from ethoprism.pretrain.checkpoint import (
    HEAD,
    State,
    append_metrics,
    read_checkpoint,
    write_checkpoint,
)
from ethoprism.pretrain.clips import ClipStore
from ethoprism.pretrain.contrast import (
    DECAY,
    DROPPED,
    alternating,
    contrastive_loss,
    linear_decay,
    twins,
)
from ethoprism.pretrain.masking import visible_patches as draw_visible
from ethoprism.pretrain.student import Parameters, encode_patches, visible_patches
from ethoprism.progress import LearningProgress

_VISION = "params/vision_encoder/"
_LONGEST = 24
"""Pieces of a caption that are read."""


@dataclass(frozen=True)
class Contrast:
    """How stage 1 is trained; the rate falls linearly after the warm-up."""

    steps: int
    batch: int = 64
    rate: float = 5e-4
    warmup: int = 50
    seed: int = 0


def nano_text_config(vocabulary: int) -> VideoTextConfig:
    """The shape of ``prism-nano-lvt``: PrismNano and a text encoder as small."""
    return VideoTextConfig(NANO, TextConfig(192, 4, 6, 768, vocabulary=vocabulary), 2)


def train_contrastive(
    config: VideoTextConfig,
    stores: Sequence[ClipStore],
    tokenizer: Tokenizer,
    plan: Contrast,
    folder: Path,
    *,
    encoder: Mapping[str, np.ndarray] | None = None,
    dtype: str = "bfloat16",
    keep_every: float = 120.0,
) -> Generator[LearningProgress]:
    """Trains, from the checkpoint in ``folder`` where there is one; resumes exactly.

    Writes ``checkpoint.safetensors``, ``metrics.csv`` and, at the end, ``model.safetensors`` with
    released names in float16.

    Parameters
    ----------
    stores
        Captioned clips; each store is a data set.
    encoder
        Parameters of the video encoder to start from, by released name; by default random ones.

    Raises
    ------
    InputError
        If clips have no captions.
    """
    if any(not caption for store in stores for caption in store.captions):
        raise InputError("Stage 1 needs a caption for every clip", found="clips without")
    folder.mkdir(parents=True, exist_ok=True)
    graph, state = nnx.split(VideoTextEncoder(config, rngs=nnx.Rngs(plan.seed)))
    parameters = {k: jnp.asarray(v) for k, v in named_parameters(state, _names(config)).items()}
    for name, values in (encoder or {}).items():
        parameters[_VISION + name.removeprefix("params/")] = jnp.asarray(values)
    parameters[HEAD + "temperature"] = jnp.asarray(np.float32(np.log(10.0)))
    transform = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(linear_decay(plan.rate, plan.warmup, plan.steps), weight_decay=DECAY),
    )
    begin = State(0, 0, parameters, parameters, transform.init(parameters))
    path = folder / "checkpoint.safetensors"
    now = read_checkpoint(path, begin, lambda _: transform) if path.is_file() else begin
    update, kept_at = _compiled(config, graph, state, transform, dtype), time.monotonic()
    for step in range(now.step, plan.steps):
        began = time.monotonic()
        batch = _batch(stores, tokenizer, config, plan, step)
        parameters, moments, loss = update(now.parameters, now.moments, batch)
        now = State(0, step + 1, parameters, parameters, moments)
        speed = plan.batch / (time.monotonic() - began)
        row = {"phase": "text", "step": step, "loss": float(loss), "clips_per_s": speed}
        append_metrics(folder / "metrics.csv", row)
        if time.monotonic() - kept_at > keep_every or step + 1 == plan.steps:
            write_checkpoint(path, now)
            kept_at = time.monotonic()
        yield LearningProgress(step + 1, plan.steps, "clips and captions", loss=float(loss))
    kept = {k: np.asarray(v) for k, v in now.parameters.items() if not k.startswith(HEAD)}
    write_safetensors(folder / "model.safetensors", kept, half=True)


def embed(
    parameters: Parameters,
    config: VideoTextConfig,
    graph: nnx.GraphDef[VideoTextEncoder],
    abstract: nnx.State,
    batch: Mapping[str, Array],
    dtype: str,
) -> tuple[Array, Array]:
    """Embeddings of length 1 of a batch's clips, from their visible patches, and its texts."""
    names = _names(config)
    flat = dict(nnx.to_flat_state(abstract))
    filled = {path: flat[path].replace(parameters[name]) for name, path in names.items()}
    model = nnx.merge(graph, nnx.from_flat_state(filled))
    own = {
        "params/" + k.removeprefix(_VISION): v
        for k, v in parameters.items()
        if k.startswith(_VISION)
    }
    visible = batch["visible"]
    pixels = visible_patches(batch["frames"], config.encoder, visible).astype(jnp.float32) / 255.0
    tokens = encode_patches(own, config.encoder, pixels, visible, dtype=dtype)
    clips, frames, kept, width = tokens.shape
    pooled, _ = model.pooled(tokens.reshape(clips, frames * kept, width), frames)
    words = model.text(batch["ids"], batch["ended"])[:, -1]
    return l2_normalised(pooled), l2_normalised(words)


def _compiled(
    config: VideoTextConfig,
    graph: nnx.GraphDef[VideoTextEncoder],
    abstract: nnx.State,
    transform: optax.GradientTransformation,
    dtype: str,
) -> Any:
    def loss(parameters: Parameters, batch: dict[str, Array]) -> Array:
        clips, words = embed(parameters, config, graph, abstract, batch, dtype)
        return contrastive_loss(clips, words, parameters[HEAD + "temperature"], batch["twins"])

    @partial(jax.jit, donate_argnums=(1,))
    def step(parameters: Parameters, moments: optax.OptState, batch: dict[str, Array]):
        value, gradient = jax.value_and_grad(loss)(parameters, batch)
        updates, moments = transform.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, value

    return step


def _batch(
    stores: Sequence[ClipStore],
    tokenizer: Tokenizer,
    config: VideoTextConfig,
    plan: Contrast,
    step: int,
) -> dict[str, Array]:
    which, picked = alternating([len(s) for s in stores], plan.batch, step, plan.seed)
    store, rng = stores[which], np.random.default_rng([plan.seed, 5, step])
    captions = [store.captions[i] for i in picked]
    ids, ended = tokenizer(captions, length=_LONGEST)
    grid = config.encoder.grid
    kept = round(grid * grid * (1 - DROPPED))
    return {
        "frames": jnp.asarray(np.stack([store.clips[i] for i in picked])),
        "visible": jnp.asarray(draw_visible(rng, len(picked), grid, kept)),
        "ids": jnp.asarray(ids),
        "ended": jnp.asarray(ended),
        "twins": jnp.asarray(twins(captions)),
    }


def _names(config: VideoTextConfig) -> Any:
    return video_text_names(config.text.norm)
