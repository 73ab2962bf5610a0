"""VideoPrism's video–text models (LvT): videos, their frames, and texts as comparable vectors.

Source: arXiv 2402.13217, section 3.1 (contrastive stage) and the released models; the numbers were
compared with the official implementation (``tests/golden/videoprism``).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from ethoprism.backbones.encoder import BASE, GIANT, LARGE, TINY, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.heads import AttentionPooler
from ethoprism.backbones.layers import TransformerStack
from ethoprism.backbones.text import TextConfig, TextEncoder, l2_normalised


@dataclass(frozen=True)
class VideoTextConfig:
    """The shape of a video–text model."""

    encoder: EncoderConfig
    text: TextConfig
    auxiliary_layers: int = 2
    """Layers of joint attention over all tokens of a window, above the video encoder."""


LVT_BASE = VideoTextConfig(BASE, TextConfig(768, 12, 12, 3072))
LVT_LARGE = VideoTextConfig(LARGE, TextConfig(1024, 12, 16, 4096))
LVT_GIANT = VideoTextConfig(GIANT, TextConfig(1408, 16, 16, 6144, norm="primer_hybrid"))
"""Described in the paper; its weights were not released."""
LVT_TINY = VideoTextConfig(TINY, TextConfig(32, 2, 4, 128, vocabulary=1000), auxiliary_layers=1)
"""The configuration of the parity oracle, for tests."""


class WindowPooling(nnx.Module):
    """From the video encoder's tokens to one embedding a window and one a frame.

    Parameters
    ----------
    config
        The shape of the model.
    rngs
        Source of the initial parameters.
    unroll
        Whether the layers are written out instead of scanned; see `layers.TransformerStack`.
    """

    def __init__(self, config: VideoTextConfig, *, rngs: nnx.Rngs, unroll: bool = False):
        encoder = config.encoder
        self.auxiliary_stack = TransformerStack(
            config.auxiliary_layers,
            encoder.width,
            encoder.heads,
            encoder.mlp_width,
            encoder.logit_cap,
            rngs=rngs,
            unroll=unroll,
        )
        self.pooler = AttentionPooler(
            encoder.width, encoder.heads, hidden=4 * encoder.width, rngs=rngs
        )

    def pooled(
        self,
        tokens: Float[Array, "batch tokens width"],
        frames: int,
        paddings: Bool[Array, "batch frames"] | None = None,
    ) -> tuple[Float[Array, "batch width"], Float[Array, "batch frames width"]]:
        """Embeddings of windows and of their frames, not normalised.

        Parameters
        ----------
        tokens
            Of the video encoder, frame by frame.
        frames
            How many frames they are of.
        paddings
            True for frames that are left out: no token of another frame looks at theirs, and the
            window's embedding neither. The released models look at them; None is what they do.
        """
        batch, count, width = tokens.shape
        patches = count // frames
        if paddings is not None:
            paddings = jnp.repeat(paddings, patches, axis=1)
        mixed = self.auxiliary_stack(tokens, paddings)
        each = self.pooler(mixed.reshape(batch * frames, patches, width))
        return self.pooler(mixed, paddings), each.reshape(batch, frames, width)


class VideoTextEncoder(WindowPooling):
    """A video encoder and a text encoder whose embeddings lie in one space.

    Parameters
    ----------
    config
        The shape of the model.
    rngs
        Source of the initial parameters.
    unroll
        Whether the layers are written out instead of scanned; see `layers.TransformerStack`.
    """

    def __init__(self, config: VideoTextConfig, *, rngs: nnx.Rngs, unroll: bool = False):
        self.config = config
        self.encoder = VideoPrismEncoder(config.encoder, rngs=rngs, unroll=unroll)
        super().__init__(config, rngs=rngs, unroll=unroll)
        self.text = TextEncoder(config.text, rngs=rngs, unroll=unroll)

    def __call__(
        self,
        video: Float[Array, "batch frames height width 3"] | None = None,
        ids: Int[Array, "texts tokens"] | None = None,
        paddings: Bool[Array, "texts tokens"] | None = None,
        *,
        frame_paddings: Bool[Array, "batch frames"] | None = None,
        normalised: bool = True,
    ) -> tuple[Array | None, Array | None, dict[str, Array]]:
        """Embeddings of videos and of texts; either may be left out.

        Parameters
        ----------
        video
            RGB in [0, 1].
        ids, paddings
            Token ids, and where the texts have ended; both or neither.
        frame_paddings
            True for frames that hold nothing. As in the released models they are masked in the
            video encoder alone: auxiliary layers and pooler look at all tokens.
        normalised
            Whether embeddings have length 1.

        Returns
        -------
        video, text
            ``[batch, features]`` and ``[texts, features]``, None where they were left out.
        intermediates
            ``tokens`` of the video encoder ``[batch, tokens, features]``, and ``frame_embeddings``
            ``[batch, frames, features]``; ``text_features`` of all tokens, the class token last.
        """
        scaled = l2_normalised if normalised else _as_they_are
        video_embedding = text_embedding = None
        outputs: dict[str, Array] = {}
        if video is not None:
            tokens, _ = self.encoder(video, frame_paddings)
            pooled, frames = self.pooled(tokens, video.shape[1])
            video_embedding = scaled(pooled)
            outputs |= {"tokens": tokens, "frame_embeddings": scaled(frames)}
        if ids is not None and paddings is not None:
            features = self.text(ids, paddings)
            text_embedding = scaled(features[:, -1])
            outputs["text_features"] = features
        return video_embedding, text_embedding, outputs


def _as_they_are(x: Array) -> Array:
    return x
