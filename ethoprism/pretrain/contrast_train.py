"""Training of stage 1: poolers and a text encoder, with or without the video encoder below them."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Generator, Mapping, Sequence
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

from ethoprism.backbones.text import l2_normalised
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import VideoTextConfig, VideoTextEncoder
from ethoprism.backbones.weights import named_parameters, video_text_names, write_safetensors
from ethoprism.pretrain.checkpoint import (
    HEAD,
    State,
    append_metrics,
    cut_metrics,
    read_checkpoint,
    write_checkpoint,
)
from ethoprism.pretrain.contrast import (
    DROPPED,
    alternating,
    contrastive_loss,
    linear_decay,
    retrieved,
    twins,
)
from ethoprism.pretrain.contrast_data import Captioned, keep_tokens, seen_again
from ethoprism.pretrain.contrast_wording import reduced, worded
from ethoprism.pretrain.masking import visible_patches as draw_visible
from ethoprism.pretrain.student import (
    Parameters,
    encode,
    encode_patches,
    layers_of,
    stack,
    visible_patches,
)
from ethoprism.progress import LearningProgress, Progress

VISION = "params/vision_encoder/"
_AUXILIARY = "params/auxiliary_encoder/transformers_stack/x_layers/"
_LONGEST = 28
"""Pieces of a caption that are read."""
_CHECKED_AT_ONCE = 16


@dataclass(frozen=True)
class Contrast:
    """How stage 1 is trained; the rate falls linearly after the warm-up.

    Attributes
    ----------
    decay
        Weight decay of kernels and embeddings; norms, biases and positions do not decay.
    frozen
        Whether the video encoder stays as it is, so that its features are what they were. As in
        arXiv 2111.07991 texts are then brought to the clips, and not the other way about.
    views
        Of each clip whose tokens are kept, where the encoder is frozen.
    frames
        Of each clip whose tokens are used, drawn at random; 0 is all. Each token has seen all
        frames, so half of them say nearly as much at a third of the cost.
    check_every
        Steps between two looks at the clips that were held out.
    seed
        Of everything that is drawn.
    """

    steps: int
    batch: int = 64
    rate: float = 1e-3
    warmup: int = 50
    decay: float = 0.02
    frozen: bool = True
    views: int = 1
    frames: int = 4
    check_every: int = 200
    seed: int = 0


def train_contrastive(
    config: VideoTextConfig,
    data: Sequence[Captioned],
    tokenizer: Tokenizer,
    plan: Contrast,
    folder: Path,
    *,
    encoder: Mapping[str, np.ndarray],
    dtype: str = "bfloat16",
    keep_every: float = 120.0,
    made_by: str = "",
) -> Generator[Progress]:
    """Trains, from the checkpoint in ``folder`` where there is one; resumes exactly.

    Writes ``checkpoint.safetensors``, ``metrics.csv``, ``held_out.csv`` and, at the end,
    ``model.safetensors``: the whole model with released names in float16.

    Parameters
    ----------
    data
        Data sets take turns.
    encoder
        Parameters of the video encoder to start from, by released name.
    made_by
        What the file is to say of how it came to be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = _Model(config, plan.seed, dtype)
    below = {VISION + k.removeprefix("params/"): jnp.asarray(v) for k, v in encoder.items()}
    parameters = model.begin | {HEAD + "temperature": jnp.asarray(np.float32(np.log(10.0)))}
    kept: list[list[np.ndarray]] = []
    if plan.frozen:
        for number, one in enumerate(data):
            own = folder / "tokens" / f"{number:02d}"
            views, seed = plan.views, plan.seed
            task = keep_tokens(
                encoder, config.encoder, one.stores, own, views=views, seed=seed, dtype=dtype
            )
            kept.append((yield from task))
    else:
        parameters |= below
    supply = _Supply(config, data, kept, tokenizer, plan)
    transform = _optimiser(plan)
    begin = State(0, 0, parameters, parameters, transform.init(parameters))
    path = folder / "checkpoint.safetensors"
    now = read_checkpoint(path, begin, lambda _: transform) if path.is_file() else begin
    cut_metrics(folder / "metrics.csv", {"text": now.step})
    _cut(folder / "held_out.csv", now.step)
    update, kept_at = _compiled(model, transform), time.monotonic()
    for step in range(now.step, plan.steps):
        began = time.monotonic()
        parameters, moments, loss = update(now.parameters, now.moments, supply.batch(step))
        now = State(0, step + 1, parameters, parameters, moments)
        speed = plan.batch / (time.monotonic() - began)
        row = {"phase": "text", "step": step, "loss": float(loss), "clips_per_s": speed}
        append_metrics(folder / "metrics.csv", row)
        last = step + 1 == plan.steps
        if last or (step + 1) % plan.check_every == 0:
            found = held_out(model, below | now.parameters, supply)
            _append(folder / "held_out.csv", {"step": step + 1} | found)
        if last or time.monotonic() - kept_at > keep_every:
            write_checkpoint(path, now)
            kept_at = time.monotonic()
        yield LearningProgress(step + 1, plan.steps, "clips and captions", loss=float(loss))
    whole = below | {k: v for k, v in now.parameters.items() if not k.startswith(HEAD)}
    arrays = {k: np.asarray(v) for k, v in whole.items()}
    write_safetensors(folder / "model.safetensors", arrays, half=True, made_by=made_by)


class _Model:
    """What stage 1 computes, as functions of parameters under their released names.

    Parameters
    ----------
    config
        The shape of the model.
    seed
        Of the parameters that all above the video encoder begins with.
    dtype
        What operands of the large products are rounded to.
    """

    def __init__(self, config: VideoTextConfig, seed: int, dtype: str):
        self.config, self.dtype = config, dtype
        names = video_text_names(config.text.norm)
        module = VideoTextEncoder(config, rngs=nnx.Rngs(seed))
        state = nnx.split(module)[1]
        self.begin = {
            k: jnp.asarray(v)
            for k, v in named_parameters(state, names).items()
            if not k.startswith(VISION)
        }
        self._parts: dict[str, tuple[Any, nnx.State, dict[str, tuple[str, ...]]]] = {}
        for part in ("pooler", "text"):
            graph, own = nnx.split(getattr(module, part))
            within = {k: path[1:] for k, path in names.items() if path[0] == part}
            self._parts[part] = (graph, own, within)
        # Compiled once, however often clips that were held out are looked at.
        self.embed_clips, self.embed_texts = jax.jit(self.clips), jax.jit(self.texts)
        self.encode_clips = jax.jit(partial(self.tokens, visible=None))

    def _part(self, part: str, parameters: Parameters) -> Any:
        graph, abstract, names = self._parts[part]
        flat = dict(nnx.to_flat_state(abstract))
        filled: Any = {path: flat[path].replace(parameters[name]) for name, path in names.items()}
        return nnx.merge(graph, nnx.from_flat_state(filled))

    def clips(self, parameters: Parameters, tokens: Array) -> Array:
        """Embeddings of length 1 from the encoder's tokens ``[clips, frames, patches, width]``."""
        clips, frames, patches, width = tokens.shape
        flat = tokens.astype(jnp.float32).reshape(clips, frames * patches, width)
        mixed = stack(layers_of(parameters, _AUXILIARY), flat, self.config.encoder, self.dtype)
        return l2_normalised(self._part("pooler", parameters)(mixed))

    def texts(self, parameters: Parameters, ids: Array, ended: Array) -> Array:
        """Embeddings of length 1 of texts."""
        return l2_normalised(self._part("text", parameters)(ids, ended)[:, -1])

    def tokens(self, parameters: Parameters, frames: Array, visible: Array | None) -> Array:
        """The video encoder's tokens of visible patches; frames are in [0, 1]."""
        own = _encoder_of(parameters)
        if visible is None:
            return encode(own, self.config.encoder, frames, dtype=self.dtype)
        pixels = visible_patches(frames, self.config.encoder, visible)
        return encode_patches(own, self.config.encoder, pixels, visible, dtype=self.dtype)


class _Supply:
    """Batches of clips, or of tokens kept of them, with captions; a function of the step alone."""

    def __init__(
        self,
        config: VideoTextConfig,
        data: Sequence[Captioned],
        kept: Sequence[Sequence[np.ndarray]],
        tokenizer: Tokenizer,
        plan: Contrast,
    ):
        self.data, self.kept, self.tokenizer, self.plan = data, kept, tokenizer, plan
        self.grid, self.length = config.encoder.grid, data[0].stores[0].clips.shape[1]

    def batch(self, step: int) -> dict[str, Array]:
        plan = self.plan
        which, picked = alternating([len(d) for d in self.data], plan.batch, step, plan.seed)
        rng = np.random.default_rng([plan.seed, 5, step])
        said, meant = worded(rng, [self.data[which].captions[i] for i in picked])
        ids, ended = self.tokenizer(said, length=_LONGEST)
        patches = round(self.grid**2 * (1 - DROPPED))
        visible = draw_visible(rng, len(picked), self.grid, patches)
        arrays: dict[str, np.ndarray] = {"ids": ids, "ended": ended, "twins": twins(meant)}
        length = self.length if plan.frames == 0 else plan.frames
        frames = np.sort(rng.permutation(self.length)[:length])
        if self.kept:
            views = self.data[which].gather(self.kept[which], picked)
            chosen = rng.integers(plan.views, size=len(picked))
            arrays["tokens"] = np.stack(
                [v[c][np.ix_(frames, p)] for v, c, p in zip(views, chosen, visible, strict=True)]
            )
        else:
            clips = self.data[which].frames(picked)
            arrays["frames"] = np.stack([seen_again(rng, clip) for clip in clips])
            arrays |= {"visible": visible, "which": frames}
        return {name: jnp.asarray(values) for name, values in arrays.items()}


def held_out(model: _Model, parameters: Parameters, supply: _Supply) -> dict[str, float]:
    """How often a clip that was never learnt from finds its own words among those of its kind.

    Shares of the clips of all data sets whose nearest sentence is their own, among the different
    sentences of the data set's clips that were held out: of whole captions, and of captions
    without colours; and what guessing would reach.
    """
    sums = {"whole": 0.0, "chance_whole": 0.0, "colourless": 0.0, "chance_colourless": 0.0}
    total = 0
    for number, one in enumerate(supply.data):
        rows = []
        for a in range(0, len(one.held_out), _CHECKED_AT_ONCE):
            picked = np.resize(one.held_out[a : a + _CHECKED_AT_ONCE], _CHECKED_AT_ONCE)
            if supply.kept:
                kept = one.gather(supply.kept[number], picked)
                tokens = jnp.asarray(np.stack([views[0] for views in kept]))
            else:
                clips = one.frames(picked).astype(np.float32) / 255.0
                tokens = model.encode_clips(parameters, jnp.asarray(clips))
            rows.append(np.asarray(model.embed_clips(parameters, tokens)))
        if not rows:
            continue
        clips = np.concatenate(rows)[: len(one.held_out)]
        total += len(clips)
        for degree in ("whole", "colourless"):
            captions = [reduced(one.captions[i], degree) for i in one.held_out]
            known = sorted(set(captions))
            texts = _embedded(known, supply.tokenizer, partial(model.embed_texts, parameters))
            own = np.asarray([known.index(caption) for caption in captions])
            sums[degree] += len(clips) * retrieved(clips, texts, own)
            sums[f"chance_{degree}"] += len(clips) / len(known)
    return {name: value / max(total, 1) for name, value in sums.items()}


def _embedded(
    texts: Sequence[str], tokenizer: Tokenizer, embed: Callable[..., Array]
) -> np.ndarray:
    rows = []
    for a in range(0, len(texts), 64):
        some = [texts[i % len(texts)] for i in range(a, a + 64)]
        rows.append(np.asarray(embed(*map(jnp.asarray, tokenizer(some, length=_LONGEST)))))
    return np.concatenate(rows)[: len(texts)]


def _compiled(model: _Model, transform: optax.GradientTransformation) -> Any:
    def loss(parameters: Parameters, batch: dict[str, Array]) -> Array:
        tokens = batch.get("tokens")
        if tokens is None:
            tokens = model.tokens(parameters, batch["frames"], batch["visible"])
            tokens = tokens[:, batch["which"]]
        clips = model.clips(parameters, tokens)
        words = model.texts(parameters, batch["ids"], batch["ended"])
        return contrastive_loss(clips, words, parameters[HEAD + "temperature"], batch["twins"])

    @partial(jax.jit, donate_argnums=(1,))
    def step(parameters: Parameters, moments: optax.OptState, batch: dict[str, Array]):
        value, gradient = jax.value_and_grad(loss)(parameters, batch)
        updates, moments = transform.update(gradient, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, value

    return step


def _optimiser(plan: Contrast) -> optax.GradientTransformation:
    rate = linear_decay(plan.rate, plan.warmup, plan.steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, b2=0.98, weight_decay=plan.decay, mask=_decays),
    )


def _decays(parameters: Parameters) -> dict[str, bool]:
    return {k: k.endswith(("/kernel", "/w", "token_emb/emb_var")) for k in parameters}


def _encoder_of(parameters: Parameters) -> Parameters:
    """The video encoder's parameters, named as by itself."""
    return {
        "params/" + k.removeprefix(VISION): v for k, v in parameters.items() if k.startswith(VISION)
    }


def _cut(path: Path, done: int) -> None:
    """Takes the lines of steps that will be done again out of a table."""
    if path.is_file():
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if int(row["step"]) <= done]
        path.unlink()
        for row in rows:
            _append(path, row)


def _append(path: Path, row: Mapping[str, Any]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)
