"""Training of a probe on cached tokens: seconds, seeded, stopped on held-out data."""

from __future__ import annotations

import platform as python_platform
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED, runs
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import PARTS, Segment, best_threshold, frame_scores
from ethoprism.prediction import Decision, Prediction, decide
from ethoprism.probe.batches import LabelledTokens, Samples, load_samples
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import (
    ProbeNetwork,
    ProbeShape,
    group_columns,
    loss,
    probabilities,
    row_offsets,
)
from ethoprism.probe.predict import parameters_of, row_logits
from ethoprism.progress import Progress

_STATISTICS_ROWS = 4096


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a probe learns.

    Attributes
    ----------
    steps
        Steps at most.
    batch
        Frames per step.
    learning_rate
        Peak of AdamW's rate, after a linear warm-up and before a cosine decay.
    weight_decay
        AdamW's decay.
    dropout
        Share of the pooled features that each step leaves out, as in the paper.
    check_every, patience
        The validation loss is taken every so many steps; training stops after so many checks
        without a better one, and the best parameters are kept.
    """

    steps: int = 600
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.5
    check_every: int = 25
    patience: int = 6


def train(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    ethogram: Ethogram,
    behaviours: Sequence[str],
    *,
    name: str,
    subject: str = "",
    context: int | None = None,
    motion: bool = True,
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Probe]:
    """Train a probe; the generator's result is the `Probe`, with its metrics.

    Parameters
    ----------
    data
        Recordings with complete tokens of one key, and the states of their rows.
    segments
        The split, from `ethoprism.evaluate`.
    ethogram, behaviours
        The ethogram, and the columns of the states.
    name, subject
        Go to the card.
    context
        Rows pooled on either side of a frame; half a window by default.
    motion
        See `ethoprism.probe.model.ProbeShape`.
    schedule
        How long and how fast.
    seed
        Of parameters, batches and whatever else is drawn. The same seed on the same machine gives
        the same probe.

    Raises
    ------
    LabelError
        If a behaviour is never present or never absent in the training part.
    """
    schedule = schedule or Schedule()
    key = data[0].store.key
    context = max(key.length // 2, 1) if context is None else context
    shape = ProbeShape(key.width, len(behaviours), context, motion)
    yield Progress(0, schedule.steps, "reading tokens")
    samples = {part: load_samples(data, segments, part, context, seed=seed) for part in PARTS}
    _require_cases(samples["train"], behaviours)
    groups = group_columns(behaviours, ethogram.exclusive)
    network = ProbeNetwork(shape, rngs=nnx.Rngs(seed))
    _standardise(network, samples["train"], seed)
    log = yield from _fit(network, samples, groups, schedule, seed)
    decision = _choose_decision(network, samples, behaviours, ethogram, groups)  # in rows
    metrics = {
        part: _part_metrics(network, samples[part], behaviours, decision, groups) for part in PARTS
    }
    parts = partial(load_samples, segments=segments, context=context, seed=seed)
    by_subject = {
        name: {
            part: _part_metrics(network, parts(mine, part=part), behaviours, decision, groups)
            for part in PARTS
            if part != "train"
        }
        for name, mine in _by_subject(data).items()
    }
    return Probe(
        name=name,
        behaviours=tuple(behaviours),
        ethogram=ethogram,
        subject=subject,
        key=key,
        shape=shape,
        decision=replace(
            decision, min_bout={n: rows * key.step for n, rows in decision.min_bout.items()}
        ),
        parameters=parameters_of(network),
        training={
            "seed": seed,
            "schedule": asdict(schedule),
            "log": log,
            "segments": [asdict(segment) for segment in segments],
            "recordings": list(dict.fromkeys(item.recording for item in data)),
            "metrics_by_subject": by_subject,
            "share_of_rows_in_memory": {part: samples[part].kept for part in PARTS},
            "parameters": int(sum(p.size for p in parameters_of(network).values())),
            "versions": versions(),
        },
        metrics=metrics,
    )


def _by_subject(data: Sequence[LabelledTokens]) -> dict[str, list[LabelledTokens]]:
    names = dict.fromkeys(item.subject for item in data if item.subject)
    return {name: [item for item in data if item.subject == name] for name in names}


def versions() -> dict[str, str]:
    """Versions of what computes, for cards."""
    packages = ("ethoprism", "jax", "flax", "optax", "numpy")
    found = {name: version(name) for name in packages}
    return {**found, "python": python_platform.python_version(), "device": jax.default_backend()}


def _require_cases(samples: Samples, behaviours: Sequence[str]) -> None:
    for value, word in ((PRESENT, "present"), (ABSENT, "absent")):
        lacking = [
            name
            for column, name in enumerate(behaviours)
            if not (samples.states[:, column] == value).any()
        ]
        if lacking:
            raise LabelError(
                f"The training part has no frame in which {', '.join(lacking)} is {word}",
                expected="frames of both kinds for every behaviour",
                remedy="Leave it out with --behaviours, or label more. Frames count as absent only "
                "where somebody observed them: mark observed spans, or import bouts with "
                "--observed whole.",
            )


def _standardise(network: ProbeNetwork, samples: Samples, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = samples.centres
    if len(centres) > _STATISTICS_ROWS:
        centres = rng.choice(centres, _STATISTICS_ROWS, replace=False)
    count, total, squares = 0, 0.0, 0.0
    for rows in np.array_split(np.sort(centres), -(-len(centres) // 256)):
        pair = rows[:, None] + np.array([-1, 0])
        x = network.features(jnp.asarray(samples.tokens[pair]), jnp.asarray(samples.valid[pair]))
        x = np.asarray(x, np.float64).reshape(-1, x.shape[-1])
        count += len(x)
        total += x.sum(axis=0)
        squares += np.square(x).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    # A feature that never changes must not be blown up by dividing by next to nothing.
    floor = 1e-3 * float(np.mean(deviation)) + 1e-6
    network.standardise.mean[...] = jnp.asarray(mean, jnp.float32)
    network.standardise.deviation[...] = jnp.asarray(np.maximum(deviation, floor), jnp.float32)


def _fit(
    network: ProbeNetwork,
    samples: dict[Any, Samples],
    groups: tuple[tuple[int, ...], ...],
    schedule: Schedule,
    seed: int,
) -> Generator[Progress, None, list[dict[str, float]]]:
    """Fit in place; yields progress, returns the losses by step."""
    train_part, validation = samples["train"], samples["validation"]
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.learning_rate, schedule.steps // 20, schedule.steps
    )
    optimizer = optax.adamw(rate, weight_decay=schedule.weight_decay)
    graph, params, fixed = nnx.split(network, nnx.Param, ...)
    state = optimizer.init(params)
    offsets = jnp.asarray(row_offsets(network.shape))
    tokens, valid = jnp.asarray(train_part.tokens), jnp.asarray(train_part.valid)
    step = partial(_step, graph, optimizer, groups, schedule.dropout)
    key = jax.random.key(seed)
    rng = np.random.default_rng(seed)
    log: list[dict[str, float]] = []
    best, best_params, waited = np.inf, params, 0
    for index in range(schedule.steps):
        chosen = rng.integers(len(train_part.centres), size=schedule.batch)
        rows = jnp.asarray(train_part.centres[chosen])[:, None] + offsets
        states = jnp.asarray(train_part.states[chosen])
        noise = jax.random.fold_in(key, index)
        params, state, value = step(params, fixed, state, tokens, valid, rows, states, noise)
        if (index + 1) % schedule.check_every == 0 or index + 1 == schedule.steps:
            nnx.update(network, params)
            held_out = _held_out_loss(network, validation, groups)
            log.append({"step": index + 1, "train": float(value), "validation": held_out})
            yield Progress(index + 1, schedule.steps, f"validation loss {held_out:.3f}")
            if held_out < best:
                best, best_params, waited = held_out, params, 0
            else:
                waited += 1
                if waited >= schedule.patience:
                    break
    nnx.update(network, best_params)
    return log


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _step(
    graph: Any,
    optimizer: optax.GradientTransformation,
    groups: tuple[tuple[int, ...], ...],
    dropout: float,
    params: Any,
    fixed: Any,
    state: Any,
    tokens: Array,
    valid: Array,
    rows: Array,
    states: Array,
    noise: Array,
) -> tuple[Any, Any, Array]:
    def objective(params: Any) -> Array:
        network = nnx.merge(graph, params, fixed)
        logits = network(tokens[rows], valid[rows], dropout=dropout, key=noise)
        return loss(logits, states, groups)

    value, gradient = jax.value_and_grad(objective)(params)
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value


def _held_out_loss(
    network: ProbeNetwork, samples: Samples, groups: tuple[tuple[int, ...], ...]
) -> float:
    logits = _logits(network, samples)
    return float(loss(jnp.asarray(logits), jnp.asarray(samples.states), groups))


def _logits(network: ProbeNetwork, samples: Samples) -> np.ndarray:
    if not len(samples.centres):
        return np.zeros((0, network.shape.behaviours), np.float32)
    return row_logits(
        network, jnp.asarray(samples.tokens), jnp.asarray(samples.valid), samples.centres
    )


def _probability(
    network: ProbeNetwork, samples: Samples, groups: tuple[tuple[int, ...], ...]
) -> np.ndarray:
    return np.asarray(probabilities(jnp.asarray(_logits(network, samples)), groups))


def _choose_decision(
    network: ProbeNetwork,
    samples: dict[Any, Samples],
    behaviours: Sequence[str],
    ethogram: Ethogram,
    groups: tuple[tuple[int, ...], ...],
) -> Decision:
    """Thresholds with the best F1 on the validation part; smoothing from the training bouts."""
    validation = samples["validation"]
    probability = _probability(network, validation, groups)
    thresholds, min_bout = {}, {}
    for column, name in enumerate(behaviours):
        known = validation.states[:, column] != UNOBSERVED
        truth = validation.states[known, column] == PRESENT
        thresholds[name] = best_threshold(truth, probability[known, column])
        min_bout[name] = _shortest_bout(samples["train"].states[:, column])
    present = set(behaviours)
    exclusive = tuple(tuple(n for n in group if n in present) for group in ethogram.exclusive)
    return Decision(thresholds, min_bout, tuple(g for g in exclusive if len(g) > 1))


def _shortest_bout(states: np.ndarray) -> int:
    """Half the 10th percentile of the bouts' lengths: shorter than almost any that was seen."""
    lengths = np.diff(runs(states == PRESENT), axis=1)
    return max(1, int(np.percentile(lengths, 10) / 2)) if len(lengths) else 1


def _part_metrics(
    network: ProbeNetwork,
    samples: Samples,
    behaviours: Sequence[str],
    decision: Decision,
    groups: tuple[tuple[int, ...], ...],
) -> dict[str, Any]:
    """Scores of one part's labelled rows; smoothing does not cross from one piece to the next."""
    if not len(samples.centres):
        return {}
    n = len(samples.tokens)
    probability = np.zeros((n, len(behaviours)), np.float32)
    probability[samples.centres] = _probability(network, samples, groups)
    covered = np.zeros(n, dtype=bool)
    covered[samples.centres] = True
    states = np.full((n, len(behaviours)), UNOBSERVED, np.int8)
    states[samples.centres] = samples.states
    prediction = Prediction("", "", tuple(behaviours), probability, covered, "", "", "")
    table = frame_scores(states, decide(prediction, decision), probability, behaviours)
    return {str(name): dict(row) for name, row in table.to_dict("index").items()}
