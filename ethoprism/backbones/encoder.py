"""VideoPrism's factorised video encoder: every frame in space, then every patch position in time.

Source: arXiv 2402.13217, section 3.2 and appendix A; the factorisation is model 2 of ViViT
(arXiv 2103.15691).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from ethoprism.backbones.layers import (
    LayerNorm,
    Linear,
    TransformerStack,
    image_to_patches,
    resize_positions,
)


@dataclass(frozen=True)
class EncoderConfig:
    """The shape of an encoder."""

    patch_size: int
    """Side of a patch, in pixels."""
    pos_emb_shape: tuple[int, int, int]
    """Frames, rows and columns that positional embeddings were learned for; others interpolate."""
    width: int
    """Features per token."""
    spatial_layers: int
    temporal_layers: int
    heads: int
    mlp_width: int
    input_size: int
    """Height and width of the frames, in pixels."""
    logit_cap: float = 50.0
    """Bound of the attention logits; 0 is none."""

    def __post_init__(self):
        if self.width % self.heads:
            raise ValueError(
                f"expected a width that {self.heads} heads divide, got {self.width} features"
            )
        if self.input_size % self.patch_size:
            raise ValueError(
                f"expected an input size in multiples of {self.patch_size} px, "
                f"got {self.input_size} px"
            )

    @property
    def frames(self) -> int:
        """Frames of a native window."""
        return self.pos_emb_shape[0]

    @property
    def grid(self) -> int:
        """Patches per side of a frame."""
        return self.input_size // self.patch_size


BASE = EncoderConfig(18, (16, 16, 16), 768, 12, 4, 12, 3072, input_size=288)
LARGE = EncoderConfig(18, (8, 16, 16), 1024, 24, 4, 16, 4096, input_size=288)
GIANT = EncoderConfig(18, (8, 16, 16), 1408, 40, 4, 16, 6144, input_size=288)
"""Described in the paper (table 5); its weights were not released."""
NANO = EncoderConfig(18, (8, 8, 8), 192, 8, 2, 6, 768, input_size=144)
TINY = EncoderConfig(6, (4, 4, 4), 32, 2, 2, 4, 128, input_size=24)
"""The configuration of the parity oracle, for tests."""


class VideoPrismEncoder(nnx.Module):
    """Tokens of a video, each frame's patches row by row.

    The computation is done in the dtype of the frames; parameters are cast to it where they are
    used. For bfloat16 cast both.

    Parameters
    ----------
    config
        The shape of the encoder.
    rngs
        Source of the initial parameters (fan-in scaled normal; norms and biases zero).
    unroll
        Whether the layers are written out instead of scanned; see `layers.TransformerStack`.
    """

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs, unroll: bool = False):
        frames, rows, columns = config.pos_emb_shape
        pixels = config.patch_size * config.patch_size * 3
        self.config = config
        self.patches = Linear(pixels, config.width, rngs=rngs)
        self.spatial_position = _position(rngs, rows * columns, config.width)
        self.spatial_stack = _stack(config, config.spatial_layers, rngs, unroll)
        self.spatial_norm = LayerNorm(config.width)
        self.temporal_position = _position(rngs, frames, config.width)
        self.temporal_stack = _stack(config, config.temporal_layers, rngs, unroll)
        self.temporal_norm = LayerNorm(config.width)

    def spatial(
        self,
        frames: Float[Array, "n height width 3"],
        paddings: Bool[Array, "n"] | None = None,
    ) -> Float[Array, "n tokens features"]:
        """Tokens of single frames, each frame for itself.

        Parameters
        ----------
        frames
            RGB in [0, 1]; height and width in multiples of the patch size.
        paddings
            True for frames that hold nothing. Their tokens mean nothing either way; they are
            masked here only because the released models do.
        """
        patch = self.config.patch_size
        rows, columns = frames.shape[1] // patch, frames.shape[2] // patch
        tokens = self.patches(image_to_patches(frames, patch))
        learned = self.spatial_position[...].reshape(*self.config.pos_emb_shape[1:], -1)
        position = resize_positions(learned, (rows, columns)).reshape(rows * columns, -1)
        tokens = tokens + position.astype(tokens.dtype)
        if paddings is not None:
            paddings = jnp.broadcast_to(paddings[:, None], tokens.shape[:2])
        return self.spatial_norm(self.spatial_stack(tokens, paddings))

    def temporal(
        self,
        tokens: Float[Array, "batch frames patches features"],
        paddings: Bool[Array, "batch frames"] | None = None,
    ) -> Float[Array, "batch frames patches features"]:
        """Tokens of whole windows from the spatial tokens of their frames.

        Parameters
        ----------
        tokens
            Results of `spatial`. Each patch position is treated alone, so any subset of the
            positions may be given.
        paddings
            True for frames that other frames must not look at.
        """
        batch, frames, patches, width = tokens.shape
        position = resize_positions(self.temporal_position[...], (frames,))
        rows = tokens.transpose(0, 2, 1, 3).reshape(batch * patches, frames, width)
        rows = rows + position.astype(rows.dtype)
        if paddings is not None:
            paddings = jnp.repeat(paddings, patches, axis=0)
        rows = self.temporal_norm(self.temporal_stack(rows, paddings))
        return rows.reshape(batch, patches, frames, width).transpose(0, 2, 1, 3)

    def __call__(
        self,
        video: Float[Array, "batch frames height width 3"],
        frame_paddings: Bool[Array, "batch frames"] | None = None,
    ) -> tuple[Float[Array, "batch tokens features"], dict[str, Array]]:
        """Embeddings of a video and what they were made from.

        Parameters
        ----------
        video
            RGB in [0, 1].
        frame_paddings
            True for frames that hold nothing.

        Returns
        -------
        embeddings
            Tokens in the order frame, row, column: they reshape to
            ``[batch, frames, rows, columns, features]``.
        intermediates
            ``spatial_features``, the result of the spatial stack in the same layout.
        """
        batch, frames = video.shape[:2]
        paddings = None if frame_paddings is None else frame_paddings.reshape(batch * frames)
        flat = self.spatial(video.reshape(batch * frames, *video.shape[2:]), paddings)
        features = flat.reshape(batch, frames, *flat.shape[1:])
        embeddings = self.temporal(features, frame_paddings)
        width = self.config.width
        return embeddings.reshape(batch, -1, width), {
            "spatial_features": features.reshape(batch, -1, width)
        }


def _stack(config: EncoderConfig, depth: int, rngs: nnx.Rngs, unroll: bool) -> TransformerStack:
    return TransformerStack(
        depth,
        config.width,
        config.heads,
        config.mlp_width,
        config.logit_cap,
        rngs=rngs,
        unroll=unroll,
    )


def _position(rngs: nnx.Rngs, count: int, width: int) -> nnx.Param:
    return nnx.Param(0.02 * rngs.params.normal((count, width)))
