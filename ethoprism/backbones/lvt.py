"""The video–text backbones: tokens as any VideoPrism gives them, and embeddings to search by text.

Embeddings of windows, of frames and of texts have length 1 and lie in one space, so their products
are cosines. The released models have no temperature or bias that would make a probability of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int

from ethoprism.backbones.devices import everywhere
from ethoprism.backbones.engine import check_precision
from ethoprism.backbones.layers import multiply_in
from ethoprism.backbones.releases import find_tokenizer, find_weights
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.text import TextEncoder, l2_normalised
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import (
    LVT_BASE,
    LVT_LARGE,
    VideoTextConfig,
    VideoTextEncoder,
    WindowPooling,
)
from ethoprism.backbones.videoprism import (
    ParameterSource,
    VideoPrismBackbone,
    narrowed,
)
from ethoprism.backbones.weights import fill_state, read_parameters, state_layout, video_text_names
from ethoprism.errors import WeightsError

_TEXTS_AT_ONCE = 8
_LOGIT_BYTES = 1 << 30
"""Attention logits of the windows that a device embeds in one call; one window at least is."""


class VideoTextBackbone(VideoPrismBackbone):
    """A frozen video–text model; implements `spec.Backbone` and `spec.Embeds`.

    Parameters
    ----------
    config
        The shape of the model.
    state
        Its parameters as `VideoTextEncoder` has them; see `videoprism.narrowed`.
    card
        What identifies it.
    tokenizer
        Gives the tokenizer of its texts; called when the first text is embedded.
    """

    def __init__(
        self,
        config: VideoTextConfig,
        state: nnx.State,
        card: BackboneCard,
        tokenizer: Callable[[], Tokenizer],
    ):
        super().__init__(config.encoder, state["encoder"], card)
        self.config = config
        graph = _graph(lambda: WindowPooling(config, rngs=nnx.Rngs(0)), card.precision)
        parts = {name: state[name] for name in ("auxiliary_stack", "pooler")}
        pooling = nnx.merge(graph, nnx.State(parts))
        pooling.auxiliary_stack.separate()
        self._pooling_graph, separated = nnx.split(pooling)
        self._pooling = everywhere(separated)
        self._text_graph = _graph(
            lambda: TextEncoder(config.text, rngs=nnx.Rngs(0)), card.precision
        )
        self._text = state["text"]
        self._find_tokenizer = tokenizer
        self._tokenizer: Tokenizer | None = None

    def embed(
        self,
        tokens: Float[Array | np.ndarray, "windows frames tokens width"],
        padding: Bool[Array | np.ndarray, "windows frames"],
    ) -> tuple[
        Float[Array | np.ndarray, "windows frames features"],
        Float[Array | np.ndarray, "windows features"],
    ]:
        """Embeddings of frames and of windows, float32.

        Padded frames are left out, unlike in the released models, which look at whatever stands
        there; without padding there is no difference.

        Parameters
        ----------
        tokens
            Results of `temporal`, of all frames and patches of the windows.
        padding
            True for frames that hold nothing. They get zeros, and so does a window of them alone.
        """
        at_once = self._at_once(*tokens.shape[:3])
        graph, precision = self._pooling_graph, self.card.precision

        def function(state: nnx.State, tokens: Array, padding: Array) -> tuple[Array, Array]:
            return window_embeddings(graph, precision, state, tokens, padding)

        results = [
            self._compute(
                "embed", function, self._pooling, tokens[a : a + at_once], padding[a : a + at_once]
            )
            for a in range(0, len(tokens), at_once)
        ]
        if len(results) == 1:
            return results[0]
        frames, windows = zip(*results, strict=True)
        return jnp.concatenate(frames), jnp.concatenate(windows)

    def embed_text(
        self, texts: Sequence[str], tokenizer: Tokenizer | None = None
    ) -> Float32[np.ndarray, "texts features"]:
        """Embeddings of texts, row by row; a text is cut at 64 tokens.

        Parameters
        ----------
        texts
            In any form; see `tokenizer.canonical`.
        tokenizer
            In place of the backbone's own.

        Raises
        ------
        WeightsError
            If the tokenizer is absent, or has another vocabulary than the model.
        """
        tokenizer = self.check_tokenizer(tokenizer) if tokenizer else self.tokenizer
        ids, paddings = tokenizer(texts)
        rows = []
        for a in range(0, len(texts), _TEXTS_AT_ONCE):  # one shape, so it is compiled once
            some = (_filled(values[a : a + _TEXTS_AT_ONCE]) for values in (ids, paddings))
            embedded = text_embeddings(self._text_graph, self.card.precision, self._text, *some)
            rows.append(np.asarray(embedded)[: len(texts) - a])
        return np.concatenate(rows) if rows else np.empty((0, self.config.text.width), np.float32)

    @property
    def tokenizer(self) -> Tokenizer:
        """What makes token ids of texts; found and read when it is first needed."""
        if self._tokenizer is None:
            self._tokenizer = self.check_tokenizer(self._find_tokenizer())
        return self._tokenizer

    def check_tokenizer(self, tokenizer: Tokenizer) -> Tokenizer:
        """The tokenizer, or a `WeightsError` if its vocabulary is not the model's."""
        if tokenizer.vocabulary != self.config.text.vocabulary:
            raise WeightsError(
                f"The tokenizer does not belong to {self.card.name}",
                expected=f"{self.config.text.vocabulary} pieces",
                found=f"{tokenizer.vocabulary}",
                remedy="Pass the SentencePiece model that the weights were trained with as "
                "--tokenizer PATH",
            )
        return tokenizer

    def _at_once(self, windows: int, frames: int, tokens: int) -> int:
        """Windows in one call: a divisor of their number, so that there is one shape."""
        one = 4 * self.config.encoder.heads * (frames * tokens) ** 2
        most = min(max(1, _LOGIT_BYTES // one) * jax.local_device_count(), windows)
        return next(n for n in range(most, 0, -1) if windows % n == 0)


@partial(jax.jit, static_argnums=(0, 1))
def window_embeddings(
    graph: nnx.GraphDef[WindowPooling],
    precision: str,
    state: nnx.State,
    tokens: Float[Array, "windows frames tokens width"],
    padding: Bool[Array, "windows frames"],
) -> tuple[Float[Array, "windows frames width"], Float[Array, "windows width"]]:
    """The compiled function behind `VideoTextBackbone.embed`."""
    count, frames, patches, width = tokens.shape
    with jax.default_matmul_precision(_matmul_precision(precision)):
        filled = jnp.where(padding[:, :, None, None], 0.0, tokens)
        flat = filled.reshape(count, frames * patches, width)
        windows, each = nnx.merge(graph, state).pooled(flat, frames, padding)
    windows, each = l2_normalised(windows), l2_normalised(each)
    each = jnp.where(padding[:, :, None], 0.0, each)
    return each, jnp.where(padding.all(axis=1)[:, None], 0.0, windows)


@partial(jax.jit, static_argnums=(0, 1))
def text_embeddings(
    graph: nnx.GraphDef[TextEncoder],
    precision: str,
    state: nnx.State,
    ids: Int[Array | np.ndarray, "texts tokens"],
    paddings: Bool[Array | np.ndarray, "texts tokens"],
) -> Float[Array, "texts width"]:
    """The compiled function behind `VideoTextBackbone.embed_text`."""
    with jax.default_matmul_precision(_matmul_precision(precision)):
        features = nnx.merge(graph, state)(jnp.asarray(ids), jnp.asarray(paddings))
    return l2_normalised(features[:, -1])


def build_video_text_backbone(
    name: str,
    config: VideoTextConfig,
    parameters: ParameterSource,
    tokenizer: Callable[[], Tokenizer] | Path,
    *,
    trained: bool,
    precision: str = "float32",
    note: str = "",
) -> VideoTextBackbone:
    """A video–text backbone with parameters from anywhere.

    Parameters
    ----------
    name, parameters, trained, precision, note
        See `videoprism.build_backbone`.
    config
        The shape of the model.
    tokenizer
        The SentencePiece model of its texts, or what gives the tokenizer when it is needed.
    """
    check_precision(precision, name)
    names = video_text_names(config.text.norm)
    abstract = nnx.eval_shape(lambda: VideoTextEncoder(config, rngs=nnx.Rngs(0)))
    state = nnx.state(abstract)
    source = parameters(state_layout(state, names))
    state, sha256 = fill_state(state, names, source)
    state = narrowed(state, precision)
    card = BackboneCard(
        name=name,
        weights_sha256=sha256,
        frames=config.encoder.frames,
        input_size=config.encoder.input_size,
        grid=config.encoder.grid,
        width=config.encoder.width,
        precision=precision,
        trained=trained,
        note=note,
        embedding_width=config.encoder.width,
    )
    if isinstance(tokenizer, Path):
        tokenizer = partial(Tokenizer, tokenizer)
    return VideoTextBackbone(config, state, card, tokenizer)


def videoprism_lvt_base(
    weights: str | None = None, *, precision: str = "float32"
) -> VideoTextBackbone:
    """VideoPrism-LvT-Base: the windows and tokens of Base, embeddings of 768 features.

    Parameters
    ----------
    weights
        Path of a checkpoint; by default the release is downloaded once and kept. A SentencePiece
        model beside it, ``sentencepiece.model``, is used for texts; else that of the release.
    precision
        See `videoprism.build_backbone`.
    """
    return _released("videoprism-lvt-base", LVT_BASE, weights, precision)


def videoprism_lvt_large(
    weights: str | None = None, *, precision: str = "float32"
) -> VideoTextBackbone:
    """VideoPrism-LvT-Large: the windows and tokens of Large, embeddings of 1024 features.

    The parameters are those of `videoprism_lvt_base`.
    """
    return _released("videoprism-lvt-large", LVT_LARGE, weights, precision)


def _released(
    name: str, config: VideoTextConfig, weights: str | None, precision: str
) -> VideoTextBackbone:
    found = find_weights(name, weights)
    beside = found.path if weights is not None else None
    return build_video_text_backbone(
        name,
        config,
        lambda layout: read_parameters(found.path, layout),
        lambda: Tokenizer(find_tokenizer(beside=beside)),
        trained=True,
        precision=precision,
        note=found.note,
    )


def _graph(make: Callable[[], nnx.Module], precision: str) -> nnx.GraphDef:
    module = nnx.eval_shape(make)
    if precision != "float32":
        multiply_in(module, precision)
    return nnx.split(module)[0]


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows, repeated up to the number that is embedded at once."""
    return np.concatenate([rows, np.repeat(rows[:1], _TEXTS_AT_ONCE - len(rows), axis=0)])


def _matmul_precision(precision: str) -> str:
    return "highest" if precision == "float32" else "default"
