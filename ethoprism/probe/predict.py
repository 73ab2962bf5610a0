"""Predictions of a probe, streamed over a token store in constant memory."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Shaped

from ethoprism.errors import ProjectError
from ethoprism.prediction import Prediction
from ethoprism.probe.batches import read_rows
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import (
    ProbeNetwork,
    ProbeShape,
    group_columns,
    probabilities,
    row_offsets,
)
from ethoprism.progress import Progress
from ethoprism.recording import Recording
from ethoprism.tokens import TokenStore
from ethoprism.windows import WindowGrid

_ROWS = 512
BATCH = 64


def build(shape: ProbeShape, parameters: dict[str, np.ndarray] | None = None) -> ProbeNetwork:
    """The network, with parameters by path; a `ProjectError` if they do not fit it."""
    network = nnx.eval_shape(lambda: ProbeNetwork(shape, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(network)
    flat = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}
    parameters = parameters or {}
    expected = {name: tuple(leaf.get_value().shape) for name, leaf in flat.items()}
    found = {name: tuple(value.shape) for name, value in parameters.items()}
    if expected != found:
        differing = sorted(set(expected.items()) ^ set(found.items()))
        raise ProjectError(
            "The probe's parameters do not fit its network",
            found=", ".join(f"{name} {shape}" for name, shape in differing),
            remedy="Train it again.",
        )
    filled = [
        (path, leaf.replace(jnp.asarray(parameters[".".join(map(str, path))])))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def parameters_of(network: ProbeNetwork) -> dict[str, np.ndarray]:
    """Parameters and standardisation of a network, by path."""
    return {
        ".".join(map(str, path)): np.asarray(leaf.get_value())
        for path, leaf in nnx.to_flat_state(nnx.state(network))
    }


def predict(
    probe: Probe, recording: Recording, store: TokenStore, subject: str = ""
) -> Generator[Progress, None, Prediction]:
    """Probabilities of every frame of a recording; the generator's result is a `Prediction`.

    Frames between sampled ones take the nearest sampled frame's probabilities. ``subject`` is whose
    behaviour the tokens show, where they are one subject's.

    Raises
    ------
    ProjectError
        If the tokens were made with another key than the probe's, or are not complete.
    """
    require_key(probe, store)
    grid = WindowGrid(recording.n_frames, probe.key.length, probe.key.hop, probe.key.step)
    network = build(probe.shape, dict(probe.parameters))
    groups = group_columns(probe.behaviours, probe.decision.exclusive)
    logits = np.zeros((store.n_rows, probe.shape.behaviours), np.float32)
    context = probe.shape.context
    for start in range(0, store.n_rows, _ROWS):
        yield Progress(start, store.n_rows, recording.id)
        stop = min(start + _ROWS, store.n_rows)
        first = start - context - 1
        # Always the same number of rows, so that nothing is compiled twice.
        tokens, valid = read_rows(store, first, first + _ROWS + 2 * context + 1)
        centres = np.arange(start, stop) - first
        logits[start:stop] = row_logits(network, jnp.asarray(tokens), jnp.asarray(valid), centres)
    yield Progress(store.n_rows, store.n_rows, recording.id)
    rows = grid.sampled_of(np.arange(recording.n_frames))
    probability = np.asarray(probabilities(jnp.asarray(logits), groups))
    return Prediction(
        recording=recording.id,
        subject=subject or probe.subject,
        behaviours=probe.behaviours,
        probability=probability[rows],
        covered=store.valid()[rows],
        probe=probe.digest,
        backbone=probe.key.label,
        content_key=recording.content_key,
    )


def require_key(probe: Probe, store: TokenStore) -> None:
    """Raise a `ProjectError` unless the store is complete and of the probe's key."""
    if store.key != probe.key:
        mine, its = probe.key.to_dict(), store.key.to_dict()
        differing = [name for name in mine if mine[name] != its[name]]
        raise ProjectError(
            f"The tokens of {store.path.stem!r} are not those that {probe.name!r} was trained on",
            expected=", ".join(f"{name} {mine[name]}" for name in differing),
            found=", ".join(f"{name} {its[name]}" for name in differing),
            remedy="Extract the tokens with the probe's backbone, or train another probe.",
        )
    store.require_complete()


def row_logits(
    network: ProbeNetwork,
    tokens: Shaped[Array, "rows tokens width"],
    valid: Bool[Array, " rows"],
    centres: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "n behaviours"]:
    """Logits at the given rows, in batches of one shape."""
    offsets = jnp.asarray(row_offsets(network.shape))
    graph, state = nnx.split(network)
    padded = np.zeros(-(-len(centres) // BATCH) * BATCH, np.int64)
    padded[: len(centres)] = centres
    # Padding repeats a real row, so that no row outside is read.
    padded[len(centres) :] = centres[0] if len(centres) else 0
    parts = [
        np.asarray(_logits(graph, state, tokens, valid, jnp.asarray(batch), offsets))
        for batch in padded.reshape(-1, BATCH)
    ]
    if not parts:
        return np.zeros((0, network.shape.behaviours), np.float32)
    return np.concatenate(parts)[: len(centres)]


@partial(jax.jit, static_argnums=0)
def _logits(
    graph: nnx.GraphDef[ProbeNetwork],
    state: nnx.State,
    tokens: Array,
    valid: Array,
    centres: Array,
    offsets: Array,
) -> Array:
    rows = centres[:, None] + offsets
    return nnx.merge(graph, state)(tokens[rows], valid[rows])
