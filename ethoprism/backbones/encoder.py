"""VideoPrism's factorised video encoder: every frame in space, then every patch position in time.

Source: arXiv 2402.13217, section 3.2 and appendix A; the factorisation is model 2 of ViViT
(arXiv 2103.15691).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Bool, Float

from ethoprism.backbones.layers import (
    ALL,
    NORM_EPSILON,
    LayerNorm,
    Linear,
    Projected,
    TransformerStack,
    image_to_patches,
    multiply_in,
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

    Activations have the dtype of the frames, and so have the operands of products if no other
    dtype is given for these. Sums are float32.

    Parameters
    ----------
    config
        The shape of the encoder.
    rngs
        Source of the initial parameters (fan-in scaled normal; norms and biases zero).
    unroll
        Whether the layers are written out instead of scanned; see `layers.TransformerStack`.
    operands
        dtype of the operands of products; see `layers.multiply_in`.
    """

    def __init__(
        self,
        config: EncoderConfig,
        *,
        rngs: nnx.Rngs,
        unroll: bool = False,
        operands: str | None = None,
    ):
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
        if operands is not None:
            multiply_in(self, operands)

    def separate(self) -> None:
        """Makes calls faster, for parameters that stay; see `TransformerStack.separate`.

        What `shared_projections` multiplies with is computed once, too.
        """
        matrix, offset = self._shared_matrix()
        operands = self.temporal_stack.layer(0).attention.operands
        self.shared_matrix = nnx.Param(matrix.astype(operands or matrix.dtype))
        self.shared_offset = nnx.Param(offset)
        self.spatial_stack.separate()
        self.temporal_stack.separate()

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

    def shared_projections(
        self, tokens: Float[Array, "n tokens features"]
    ) -> Float[Array, "n tokens projected"]:
        """Of the first temporal layer's queries, keys and values, what depends on the frame alone.

        That layer projects norm(token + position). A norm is affine but for the mean and the
        deviation, so the projection is (A·token + A·position) / deviation + c with a matrix A that
        takes the mean off, too. A·token is the same in every window that the frame is in.

        Returns
        -------
        A·token in float32: queries, keys and values of all heads, one after the other.
        """
        matrix, _ = self._shared_matrix()
        return self._product(tokens, matrix)

    def temporal(
        self,
        tokens: Float[Array, "batch frames patches features"],
        paddings: Bool[Array, "batch frames"] | None = None,
        kept: tuple[int, int] | None = None,
        shared: Float[Array, "batch frames patches projected"] | None = None,
    ) -> Float[Array, "batch kept patches features"]:
        """Tokens of whole windows from the spatial tokens of their frames.

        Parameters
        ----------
        tokens
            Results of `spatial`. Each patch position is treated alone, so any subset of the
            positions may be given.
        paddings
            True for frames that other frames must not look at.
        kept
            Half-open range of the frames whose tokens are wanted, by default all. The last layer
            computes queries and feed-forward of these only; the results are the same.
        shared
            Results of `shared_projections`, if they are known.
        """
        batch, frames, patches, width = tokens.shape
        position = resize_positions(self.temporal_position[...], (frames,))
        rows = tokens.transpose(0, 2, 1, 3).reshape(batch * patches, frames, width)
        rows = rows + position.astype(rows.dtype)
        if paddings is not None:
            paddings = jnp.repeat(paddings, patches, axis=0)
        projected = None
        if shared is not None:
            shared = shared.transpose(0, 2, 1, 3).reshape(batch * patches, frames, 3 * width)
            projected = self._projected(rows, position, shared)
        targets = ALL if kept is None else slice(*kept)
        rows = self.temporal_norm(self.temporal_stack(rows, paddings, targets, projected))
        return rows.reshape(batch, patches, -1, width).transpose(0, 2, 1, 3)

    def _projected(self, rows: Array, position: Array, shared: Array) -> Projected:
        """Queries, keys and values of the first temporal layer from what frames share."""
        matrix, offset = self._shared_matrix()
        wide = rows.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axis=-1, keepdims=True)
        of_position = self._product(position, matrix)
        sums = (shared.astype(jnp.float32) + of_position) * lax.rsqrt(variance + NORM_EPSILON)
        heads = self.config.heads
        values = (sums + offset).astype(rows.dtype)
        values = values.reshape(*rows.shape[:2], 3, heads, rows.shape[-1] // heads)
        return values[:, :, 0], values[:, :, 1], values[:, :, 2]

    def _product(self, x: Array, matrix: Array) -> Array:
        operand = self.temporal_stack.layer(0).attention.operands or x.dtype
        return lax.dot_general(
            x.astype(operand),
            matrix.astype(operand),
            (((x.ndim - 1,), (0,)), ((), ())),
            preferred_element_type=jnp.float32,
        )

    def _shared_matrix(self) -> tuple[Array, Array]:
        """The matrix of `shared_projections`, and what is added after the deviation."""
        if hasattr(self, "shared_matrix"):
            return self.shared_matrix[...], self.shared_offset[...]
        layer = self.temporal_stack.layer(0)
        width = self.config.width
        parts = [getattr(layer.attention, name) for name in ("query", "key", "value")]
        w = jnp.concatenate([p.w[...].reshape(width, width) for p in parts], axis=1)
        b = jnp.concatenate([p.b[...].reshape(width) for p in parts])
        w, norm = w.astype(jnp.float32), layer.attention_norm
        scaled = (1.0 + norm.scale[...].astype(jnp.float32))[:, None] * w
        offset = (norm.bias[...].astype(jnp.float32)[:, None] * w).sum(axis=0)
        return scaled - scaled.mean(axis=0), offset + b.astype(jnp.float32)

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
