"""A backbone of a few lines, for tests of what happens around backbones."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

from ethoprism.backbones.spec import BackboneCard


class ToyBackbone:
    """Patch means through a fixed projection; in time, each token joined by its window's mean.

    A token depends on its frame, on its position in the window and on the window's real frames, so
    any mistake about windows, padding or order shows in the numbers.
    """

    def __init__(self, size: int = 16, grid: int = 4, frames: int = 6, width: int = 8):
        rng = np.random.default_rng(5)
        self._projection = jnp.asarray(rng.standard_normal((3, width)), jnp.float32)
        self.card = BackboneCard(
            "toy", "0" * 64, frames, size, grid, width, "float32", trained=False
        )

    def spatial(
        self, frames: UInt8[Array | np.ndarray, "n size size 3"], *, shared: bool = False
    ) -> Float[Array, "n tokens width"]:
        return _spatial(self._projection, jnp.asarray(frames), self.card.grid)

    def temporal(
        self,
        features: Float[Array, "windows frames tokens width"],
        padding: Bool[Array | np.ndarray, "windows frames"],
        kept: tuple[int, int] | None = None,
        positions: tuple[int, ...] | None = None,
    ) -> Float[Array, "windows kept tokens width"]:
        if positions is not None:
            features = features[:, :, jnp.asarray(positions)]
        tokens = _temporal(features, jnp.asarray(padding))
        return tokens if kept is None else tokens[:, kept[0] : kept[1]]


@partial(jax.jit, static_argnums=2)
def _spatial(projection: Array, frames: Array, grid: int) -> Array:
    n, size = frames.shape[:2]
    cell = size // grid
    x = frames.astype(jnp.float32) / 255
    x = x.reshape(n, grid, cell, grid, cell, 3).mean(axis=(2, 4)).reshape(n, grid * grid, 3)
    return x @ projection


@jax.jit
def _temporal(tokens: Array, padding: Array) -> Array:
    weight = 1.0 - padding.astype(jnp.float32)[:, :, None, None]
    mean = (tokens * weight).sum(axis=1, keepdims=True) / jnp.maximum(
        weight.sum(axis=1, keepdims=True), 1
    )
    position = jnp.arange(tokens.shape[1], dtype=jnp.float32)[None, :, None, None]
    return tokens + 0.5 * mean + 0.01 * position
