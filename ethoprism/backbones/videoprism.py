"""The VideoPrism backbones: released weights behind the two functions that extraction calls.

The encoder is written in Flax NNX rather than in Flax Linen, as the official one is. An NNX module
is a plain object that holds its parameters: it splits once into a static graph and a tree of
arrays and merges again inside any traced function. So the weights are arguments of the compiled
functions, not constants baked into them; the same module goes to ``jax.make_jaxpr`` and from there
to other runtimes, to ``jax.export`` for devices this machine does not have, and to optax for
pre-training; and one half of the encoder can be called without the other, which Linen's
``apply`` allows only by naming methods in strings.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, UInt8

from ethoprism.backbones.devices import divided, everywhere
from ethoprism.backbones.encoder import BASE, LARGE, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.engine import (
    Compiled,
    Engine,
    Function,
    JaxEngine,
    check_precision,
    engine_stamp,
)
from ethoprism.backbones.releases import find_weights
from ethoprism.backbones.spec import BackboneCard, Features, Kept, Positions
from ethoprism.backbones.weights import (
    ENCODER_NAMES,
    Layout,
    fill_state,
    read_parameters,
    state_layout,
)

ParameterSource = Callable[[Layout], Iterable[tuple[str, ArrayLike]]]
"""Gives the parameters of a layout by their released names, in the order of the names."""


class VideoPrismBackbone:
    """A frozen VideoPrism encoder in two steps; implements `spec.Backbone`.

    Both steps return float32, are compiled once per shape, and take the weights as arguments. A
    row's values depend on that row alone and on the shape of the batch, never on the other rows.

    Parameters
    ----------
    config
        The shape of the encoder.
    state
        Its parameters, in the dtype of the arithmetic.
    card
        What identifies it.

    It computes with JAX, on all local devices, unless `with_engine` gives it another engine.
    """

    def __init__(self, config: EncoderConfig, state: nnx.State, card: BackboneCard):
        self._card = card
        graph, _ = _abstract(config, card.precision)
        encoder = nnx.merge(graph, state)
        encoder.separate()
        self._graph, separated = nnx.split(encoder)
        self._state = everywhere(separated)
        self._elsewhere: Compiled | None = None

    @property
    def card(self) -> BackboneCard:
        """What identifies the backbone."""
        return self._card

    def with_engine(self, engine: Engine) -> VideoPrismBackbone:
        """This backbone on another engine; parameters and card are the same."""
        other = copy.copy(self)
        weights = self._card.weights_sha256
        other._elsewhere = None if engine.name == "jax" else Compiled(engine, weights)
        return other

    def engine_stamp(self) -> dict[str, str]:
        """What computes: engine, version, device and precision."""
        engine = JaxEngine() if self._elsewhere is None else self._elsewhere.engine
        return engine_stamp(engine, self._card.precision)

    def to_device(
        self, frames: UInt8[np.ndarray, "n size size 3"]
    ) -> UInt8[Array | np.ndarray, "n size size 3"]:
        """Frames where `spatial` wants them: shared out over the devices."""
        return frames if self._elsewhere else divided(frames)

    def spatial(
        self, frames: UInt8[Array | np.ndarray, "n size size 3"], *, shared: bool = False
    ) -> Features:
        """Tokens of single frames, row by row, and with ``shared`` what is projected from them.

        Parameters
        ----------
        frames
            RGB of 0 to 255 at the card's input size; scaling to [0, 1] is done here.
        shared
            Whether each frame will be in several windows.

        Returns
        -------
        ``tokens [n, tokens, width]``, or with ``shared`` a dictionary of these and of ``projected``
        (see `VideoPrismEncoder.shared_projections`).
        """
        size = self._card.input_size
        if frames.shape[1:] != (size, size, 3):
            raise ValueError(f"expected frames of ({size}, {size}, 3), got {frames.shape[1:]}")
        graph, precision = self._graph, self._card.precision

        def function(state: nnx.State, frames: Array) -> Features:
            return spatial_tokens(graph, precision, state, frames, shared)

        return self._compute(("spatial", shared), function, self._state, frames)

    def temporal(
        self,
        features: Features,
        padding: Bool[Array | np.ndarray, "windows frames"],
        kept: Kept | None = None,
        positions: Positions | None = None,
    ) -> Float[Array | np.ndarray, "windows kept tokens width"]:
        """Tokens of whole windows from the features of their frames.

        Parameters
        ----------
        features
            Results of `spatial`; what stands in padded frames does not matter.
        padding
            True for frames that hold nothing. No other frame looks at them; the tokens returned
            in their place mean nothing.
        kept, positions
            The frames and the patches whose tokens are wanted, by default all.
        """
        graph, precision = self._graph, self._card.precision

        def function(state: nnx.State, features: Features, padding: Array) -> Array:
            return temporal_tokens(graph, precision, state, features, padding, kept)

        if positions is not None:
            # Picked before, so that regions of one size share what is compiled; and some engines
            # have no operation for it.
            features = _picked(features, jnp.asarray(positions))
        return self._compute(("temporal", kept), function, self._state, features, padding)

    def _compute(self, key: Hashable, function: Function, state: nnx.State, *inputs: Any) -> Any:
        """``function(state, *inputs)`` on the engine; ``key`` names what is compiled into it."""
        if self._elsewhere is not None:
            return self._elsewhere(key, function, state, *inputs)
        return function(state, *jax.tree.map(divided, inputs))


@partial(jax.jit, static_argnums=(0, 1, 4))
def spatial_tokens(
    graph: nnx.GraphDef[VideoPrismEncoder],
    precision: str,
    state: nnx.State,
    frames: UInt8[Array, "n size size 3"],
    shared: bool = False,
) -> Features:
    """The compiled function behind `VideoPrismBackbone.spatial`."""
    pixels = frames.astype(jnp.float32) / 255.0
    with jax.default_matmul_precision(_matmul_precision(precision)):
        encoder = nnx.merge(graph, state)
        tokens = encoder.spatial(pixels)
        if not shared:
            return tokens
        return {"tokens": tokens, "projected": encoder.shared_projections(tokens)}


@jax.jit
def _picked(features: Features, positions: Int[Array, " kept"]) -> Features:
    return jax.tree.map(lambda x: x[:, :, positions], features)


@partial(jax.jit, static_argnums=(0, 1, 5))
def temporal_tokens(
    graph: nnx.GraphDef[VideoPrismEncoder],
    precision: str,
    state: nnx.State,
    features: Features,
    padding: Bool[Array, "windows frames"],
    kept: Kept | None = None,
) -> Float[Array, "windows kept tokens width"]:
    """The compiled function behind `VideoPrismBackbone.temporal`."""
    # What was never filled may hold NaN, which even a weight of zero would let through.
    features = jax.tree.map(lambda x: jnp.where(padding[:, :, None, None], 0.0, x), features)
    tokens = features["tokens"] if isinstance(features, dict) else features
    shared = features["projected"] if isinstance(features, dict) else None
    with jax.default_matmul_precision(_matmul_precision(precision)):
        encoder = nnx.merge(graph, state)
        return encoder.temporal(tokens, padding, kept, shared)


def build_backbone(
    name: str,
    config: EncoderConfig,
    parameters: ParameterSource,
    *,
    trained: bool,
    precision: str = "float32",
    note: str = "",
) -> VideoPrismBackbone:
    """A backbone with parameters from anywhere.

    Parameters
    ----------
    name
        Its name on the card.
    config
        The shape of the encoder.
    parameters
        Gives the parameters for the encoder's layout.
    trained
        Whether they were learned.
    precision
        ``float32``, or ``bfloat16`` for the operands of products; sums and all between the
        products are float32. On GPUs and TPUs ``float32`` means full float32 products, not the
        faster TF32 or bfloat16 passes that are their default: tokens shall not depend on the
        device they were computed on.
    note
        What a reader of the card should know.
    """
    check_precision(precision, name)
    _, abstract = _abstract(config, precision)
    source = parameters(state_layout(abstract, ENCODER_NAMES))
    state, sha256 = fill_state(abstract, ENCODER_NAMES, source)
    state = narrowed(state, precision)
    card = BackboneCard(
        name=name,
        weights_sha256=sha256,
        frames=config.frames,
        input_size=config.input_size,
        grid=config.grid,
        width=config.width,
        precision=precision,
        trained=trained,
        note=note,
    )
    return VideoPrismBackbone(config, state, card)


def videoprism_base(
    weights: str | None = None, *, precision: str = "float32"
) -> VideoPrismBackbone:
    """VideoPrism-Base: windows of 16 frames at 288 px, 16 × 16 tokens of 768 features a frame.

    Parameters
    ----------
    weights
        Path of a checkpoint; by default the release is downloaded once and kept.
    precision
        See `build_backbone`.
    """
    return _released("videoprism-base", BASE, weights, precision)


def videoprism_large(
    weights: str | None = None, *, precision: str = "float32"
) -> VideoPrismBackbone:
    """VideoPrism-Large: windows of 8 frames at 288 px, 16 × 16 tokens of 1024 features a frame.

    The parameters are those of `videoprism_base`.
    """
    return _released("videoprism-large", LARGE, weights, precision)


def _released(
    name: str, config: EncoderConfig, weights: str | None, precision: str
) -> VideoPrismBackbone:
    found = find_weights(name, weights)
    return build_backbone(
        name,
        config,
        lambda layout: read_parameters(found.path, layout),
        trained=True,
        precision=precision,
        note=found.note,
    )


def _abstract(
    config: EncoderConfig, precision: str
) -> tuple[nnx.GraphDef[VideoPrismEncoder], nnx.State]:
    """The encoder's graph and the shapes of its parameters, without allocating them."""
    operands = None if precision == "float32" else precision
    encoder = nnx.eval_shape(lambda: VideoPrismEncoder(config, rngs=nnx.Rngs(0), operands=operands))
    graph, state = nnx.split(encoder)
    return graph, state


def narrowed(state: nnx.State, precision: str) -> nnx.State:
    """Parameters with the factors of products in a precision; norms, biases, positions as given."""

    def cast(path: tuple[object, ...], parameter: Array) -> Array:
        is_factor = any(getattr(part, "key", part) in ("w", "kernel") for part in path)
        return parameter.astype(precision) if is_factor else parameter

    return jax.tree_util.tree_map_with_path(cast, state)


def _matmul_precision(precision: str) -> str:
    return "highest" if precision == "float32" else "default"
