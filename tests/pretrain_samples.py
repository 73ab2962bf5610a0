"""A tiny student, teacher and store of clips for tests of training."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ethoprism.backbones.encoder import EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.weights import ENCODER_NAMES, named_parameters
from ethoprism.pretrain.clips import Clip, ClipStore, write_clips

TINY = EncoderConfig(6, (4, 4, 4), 32, 1, 1, 4, 64, input_size=24)


class PatchTeacher:
    """Says the mean colour of each of 4 × 4 patches, and of its change to the window's mean."""

    card = BackboneCard("patch-teacher", "0" * 64, 4, 24, 4, 6, "float32", True)

    def spatial(self, frames):
        cells = np.asarray(frames, np.float32).reshape(len(frames), 4, 6, 4, 6, 3)
        mean = cells.mean(axis=(2, 4)).reshape(len(frames), 16, 3) / 255
        return jnp.asarray(np.concatenate([mean, mean**2], axis=-1))

    def temporal(self, tokens, padding):
        return jnp.asarray(tokens) - jnp.asarray(tokens).mean(axis=1, keepdims=True)


def parameters(seed: int = 0) -> dict[str, np.ndarray]:
    """Random parameters of the tiny student, none of them at its initial value."""
    encoder = VideoPrismEncoder(TINY, rngs=nnx.Rngs(seed))
    rng = np.random.default_rng(seed)
    named = named_parameters(nnx.split(encoder)[1], ENCODER_NAMES)
    return {k: v + 0.05 * rng.standard_normal(v.shape).astype(np.float32) for k, v in named.items()}


def store(folder: Path, n: int = 12, seed: int = 0) -> ClipStore:
    """Clips of a bright square that moves right on a dark ground, or left, with a caption."""
    return finished(write_clips(folder, _clips(n, seed), n, patch=6))


def finished(task: Generator[Any, None, Any]) -> Any:
    """What a task returns at its end."""
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


def _clips(n: int, seed: int):
    rng = np.random.default_rng(seed)
    for number in range(n):
        frames = rng.integers(0, 40, (4, 24, 24, 3)).astype(np.uint8)
        row, right = int(rng.integers(0, 18)), number % 2 == 0
        for t in range(4):
            at = 3 * t if right else 15 - 3 * t
            frames[t, row : row + 6, at : at + 6] = 200
        yield Clip(frames, "square", f"a square moves {'right' if right else 'left'} in row {row}")
