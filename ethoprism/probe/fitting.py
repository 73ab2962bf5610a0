"""Fitting of one network to training rows, stopped on validation rows.

Networks with random parameters learn by steps of AdamW on a few short stretches of rows each. The
linear head, whose loss has one minimum, is fitted to all rows at once from strong to weak
regularisation. Either way the parameters with the least validation loss are kept.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int8, Shaped

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.evaluate import best_threshold
from ethoprism.probe.batches import TAIL, Samples
from ethoprism.probe.heads import LinearHead
from ethoprism.probe.losses import FOCUS, LOSSES, Groups, Weights, loss, outcome_weights, padded
from ethoprism.probe.model import ProbeNetwork, probabilities
from ethoprism.progress import LearningProgress

_STATISTICS_ROWS = 4096
ROWS = 256
"""Rows whose logits are computed at once."""
_STRETCH = TAIL
_MOST_LINEAR_VALUES = 2**29
_PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
_ITERATIONS, _EVALUATIONS = 15, 20
_LINEAR_PATIENCE = 2


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a probe learns.

    Attributes
    ----------
    steps
        Steps at most.
    batch
        Frames per step, in stretches of neighbours.
    learning_rate
        Peak of AdamW's rate, after a linear warm-up and before a cosine decay.
    weight_decay
        AdamW's decay.
    dropout
        Share of the pooled features that each step leaves out, as in the paper.
    check_every, patience
        The validation loss is taken every so many steps; training stops after so many checks
        without a better one, and the best parameters are kept.
    loss
        One of `ethoprism.probe.losses.LOSSES`.
    """

    steps: int = 400
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.5
    check_every: int = 20
    patience: int = 4
    loss: str = "cross-entropy"

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"there is no loss {self.loss!r}")


@dataclass(frozen=True)
class Task:
    """What a network is fitted to."""

    train: Samples
    validation: Samples
    behaviours: tuple[str, ...]
    groups: Groups
    schedule: Schedule
    seed: int


Log = list[dict[str, Any]]


def fit(network: ProbeNetwork, task: Task) -> Generator[LearningProgress, None, Log]:
    """Fit in place; yields progress, returns the losses at every check."""
    standardise(network, task.train, task.seed)
    if isinstance(network.head, LinearHead):
        return (yield from _fit_linear(network, network.head, task))
    return (yield from _fit_by_steps(network, task))


def row_logits(network: ProbeNetwork, samples: Samples) -> np.ndarray:
    """Logits ``[rows, behaviours]`` of all rows in memory; 0 near the ends of the array."""
    n, context = len(samples.valid), network.shape.context
    logits = np.zeros((n, network.shape.behaviours), np.float32)
    logits_of = RowLogits(network)
    for start in range(0, n - 2 * context - 1, ROWS):
        rows = slice(start, start + ROWS + 2 * context + 1)
        found = logits_of(samples.inputs[rows], samples.valid[rows])
        logits[start + context + 1 : start + context + 1 + len(found)] = found
    return logits


class RowLogits:
    """The logits of a network as it is now, for rows that come piece by piece."""

    def __init__(self, network: ProbeNetwork):
        self._around = 2 * network.shape.context + 1
        # Taken apart once: it takes longer than the linear head's logits do.
        self._graph, self._state = nnx.split(network)

    def __call__(self, inputs: Shaped[np.ndarray, "rows *rest"], valid: np.ndarray) -> np.ndarray:
        """Logits of consecutive rows but the first ``context + 1`` and the last ``context``.

        At most `ROWS` of them, and always computed in an array of that size, so that nothing is
        compiled twice.
        """
        lacking = ROWS + self._around - len(valid)
        if lacking:
            inputs = np.concatenate([inputs, np.zeros((lacking, *inputs.shape[1:]), inputs.dtype)])
        known = np.concatenate([valid, np.zeros(lacking, dtype=bool)])
        found = _logits(self._graph, self._state, jnp.asarray(inputs[None]), known[None])
        return np.asarray(found)[0, : len(known) - lacking - self._around]


@partial(jax.jit, static_argnums=0)
def _logits(graph: Any, state: Any, inputs: Array, valid: Array) -> Array:
    return nnx.merge(graph, state)(inputs, valid)


def standardise(network: ProbeNetwork, samples: Samples, seed: int) -> None:
    """Set the mean and deviation of the features to those of the training rows."""
    rng = np.random.default_rng(seed)
    rows = samples.centres
    if len(rows) > _STATISTICS_ROWS:
        rows = rng.choice(rows, _STATISTICS_ROWS, replace=False)
    count, total, squares = 0, 0.0, 0.0
    for some in np.array_split(np.sort(rows), -(-len(rows) // ROWS)):
        pair = some[:, None] + np.array([-1, 0])
        x = _features(network, samples.inputs[pair], samples.valid[pair])
        x = x.reshape(-1, x.shape[-1]).astype(np.float64)
        count += len(x)
        total += x.sum(axis=0)
        squares += np.square(x).sum(axis=0)
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    # A feature that never changes must not be blown up by dividing by next to nothing.
    floor = 1e-3 * float(np.mean(deviation)) + 1e-6
    network.standardise.mean[...] = jnp.asarray(mean, jnp.float32)
    network.standardise.deviation[...] = jnp.asarray(np.maximum(deviation, floor), jnp.float32)


def _features(network: ProbeNetwork, inputs: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """`ProbeNetwork.features` without a compilation for every number of rows."""
    x = inputs.astype(np.float32)
    if not network.shape.on_tokens or not network.shape.motion:
        return x[:, 1:]
    both = (valid[:, 1:] & valid[:, :-1])[:, :, None, None]
    change = np.where(both, np.abs(x[:, 1:] - x[:, :-1]), np.float32(0))
    return np.concatenate([x[:, 1:], change], axis=-1)


_loss = jax.jit(loss, static_argnums=2)
_loss_and_slope = jax.jit(jax.value_and_grad(loss), static_argnums=(2, 4))


class _Best:
    """The parameters with the least validation loss so far, and what was measured."""

    def __init__(self, task: Task):
        self.task = task
        self.loss = np.inf
        self.params: Any = None
        self.waited = 0
        self.log: Log = []

    def check(
        self, params: Any, logits: np.ndarray, step: int, total: int, train_loss: float
    ) -> LearningProgress:
        task, states = self.task, self.task.validation.states
        held_out = float(_loss(*padded(logits, states), task.groups))
        self.log.append({"step": step, "train": train_loss, "validation": held_out})
        if held_out < self.loss:
            self.loss, self.params, self.waited = held_out, params, 0
        else:
            self.waited += 1
        scores = held_out_f1(logits, states, task.behaviours, task.groups)
        return LearningProgress(step, total, f"validation loss {held_out:.3f}", train_loss, scores)


def held_out_f1(
    logits: np.ndarray,
    states: Int8[np.ndarray, "rows behaviours"],
    behaviours: Sequence[str],
    groups: Groups,
) -> dict[str, float]:
    """F1 by behaviour at the best threshold; NaN where the behaviour does not occur."""
    probability = probabilities(logits, groups)
    scores = {}
    for column, name in enumerate(behaviours):
        known = states[:, column] != UNOBSERVED
        truth, p = states[known, column] == PRESENT, probability[known, column]
        called = p >= best_threshold(truth, p)
        below = int(truth.sum() + called.sum())
        scores[name] = 2 * int((truth & called).sum()) / below if truth.any() else float("nan")
    return scores


def _kind(task: Task) -> tuple[Weights | None, float]:
    """Weights of the outcomes, and the exponent of the focal loss."""
    name = task.schedule.loss
    weights = outcome_weights(task.train.states, task.groups) if name == "balanced" else None
    return weights, FOCUS if name == "focal" else 0.0


def _fit_by_steps(network: ProbeNetwork, task: Task) -> Generator[LearningProgress, None, Log]:
    schedule, samples = task.schedule, task.train
    optimizer = _optimizer(schedule)
    graph, params, fixed = nnx.split(network, nnx.Param, ...)
    state = optimizer.init(params)
    weights, focus = _kind(task)
    step = partial(_step, graph, optimizer, task.groups, schedule.dropout, focus)
    key = jax.random.key(task.seed)
    draw = _Stretches(samples, network.shape.context, task.seed)
    best, losses = _Best(task), []
    for index in range(schedule.steps):
        inputs, valid, states = draw(max(1, schedule.batch // _STRETCH))
        noise = jax.random.fold_in(key, index)
        params, state, value = step(params, fixed, state, weights, inputs, valid, states, noise)
        losses.append(value)
        if (index + 1) % schedule.check_every == 0 or index + 1 == schedule.steps:
            nnx.update(network, params)
            logits = row_logits(network, task.validation)
            yield best.check(
                params, logits, index + 1, schedule.steps, float(np.mean(jax.device_get(losses)))
            )
            losses.clear()
            if best.waited >= schedule.patience:
                break
    nnx.update(network, best.params)
    return best.log


@lru_cache(maxsize=8)
def _optimizer(schedule: Schedule) -> optax.GradientTransformation:
    """The same object for the same schedule, so that the step is not compiled again."""
    rate = optax.warmup_cosine_decay_schedule(
        0.0, schedule.learning_rate, schedule.steps // 20, schedule.steps
    )
    return optax.adamw(rate, weight_decay=schedule.weight_decay)


class _Stretches:
    """Short stretches of rows around labelled ones, with the rows around them.

    Neighbouring windows share most of their rows, so a stretch costs little more than a window.
    """

    def __init__(self, samples: Samples, context: int, seed: int):
        self.samples, self.context = samples, context
        self.rng = np.random.default_rng(seed)
        self.centres = samples.centres
        self.piece = np.full(len(samples.valid), -1, np.int64)
        for index, place in enumerate(samples.places):
            self.piece[place.position : place.position + place.stop - place.start] = index

    def __call__(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        last = len(self.piece) - self.context - _STRETCH
        first = self.rng.choice(self.centres, n)
        start = np.clip(first - self.rng.integers(_STRETCH, size=n), self.context + 1, last)
        own = start[:, None] + np.arange(_STRETCH)
        # Rows of the next piece have other rows around them here than in their recording.
        mine = self.piece[own] == self.piece[first][:, None]
        states = np.where(mine[:, :, None], self.samples.states[own], UNOBSERVED)
        around = np.arange(-self.context - 1, _STRETCH + self.context)
        rows = start[:, None] + around
        return self.samples.inputs[rows], self.samples.valid[rows], states


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _step(
    graph: Any,
    optimizer: optax.GradientTransformation,
    groups: Groups,
    dropout: float,
    focus: float,
    params: Any,
    fixed: Any,
    state: Any,
    weights: Any,
    inputs: Array,
    valid: Array,
    states: Array,
    noise: Array,
) -> tuple[Any, Any, Array]:
    def objective(params: Any) -> Array:
        network = nnx.merge(graph, params, fixed)
        logits = network(inputs, valid, dropout=dropout, key=noise)
        n = logits.shape[-1]
        return loss(logits.reshape(-1, n), states.reshape(-1, n), groups, weights, focus)

    value, gradient = jax.value_and_grad(objective)(params)
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state, value


def _fit_linear(
    network: ProbeNetwork, head: LinearHead, task: Task
) -> Generator[LearningProgress, None, Log]:
    """Least penalised loss for weaker and weaker penalties, each from where the last one ended."""
    from scipy.optimize import minimize

    rows = _rows_that_fit(task.train, network.shape.inputs, task.seed)
    x = _linear_features(network, head, task.train, rows)
    x_held_out = _linear_features(network, head, task.validation, task.validation.centres)
    states = task.train.states[rows]
    n_features, n = x.shape[1], states.shape[1]
    weights, focus = _kind(task)

    def evaluate(flat: np.ndarray, penalty: float) -> tuple[float, np.ndarray]:
        w = flat.reshape(n_features + 1, n).astype(np.float32)
        logits, known = padded(x @ w[:-1] + w[-1], states)
        value, slope = _loss_and_slope(logits, known, task.groups, weights, focus)
        slope = np.asarray(slope)[: len(x)]
        gradient = np.concatenate([x.T @ slope + penalty / n * w[:-1], slope.sum(axis=0)[None]])
        size = float(np.square(w[:-1], dtype=np.float64).sum())
        return float(value) + penalty / (2 * n) * size, gradient.astype(np.float64).ravel()

    best, flat = _Best(task), np.zeros((n_features + 1) * n)
    for index, penalty in enumerate(_PENALTIES):
        found = minimize(
            evaluate,
            flat,
            (penalty,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _ITERATIONS, "maxfun": _EVALUATIONS},
        )
        flat = found.x
        w = flat.reshape(n_features + 1, n).astype(np.float32)
        logits = np.zeros((len(task.validation.valid), n), np.float32)
        logits[task.validation.centres] = x_held_out @ w[:-1] + w[-1]
        yield best.check(w, logits, index + 1, len(_PENALTIES), float(found.fun))
        if best.waited >= _LINEAR_PATIENCE:
            break
    head.kernel[...] = jnp.asarray(best.params[:-1])
    head.bias[...] = jnp.asarray(best.params[-1])
    return best.log


def _rows_that_fit(samples: Samples, n_features: int, seed: int) -> np.ndarray:
    rows = samples.centres
    most = max(1, _MOST_LINEAR_VALUES // n_features)
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _linear_features(
    network: ProbeNetwork, head: LinearHead, samples: Samples, rows: np.ndarray
) -> np.ndarray:
    """float32 ``[rows, features]``: what the linear layer sees of the given rows."""
    context = network.shape.context
    wanted = np.zeros(len(samples.valid), dtype=bool)
    wanted[rows] = True
    result = np.zeros((len(rows), network.shape.inputs), np.float32)
    graph, state = nnx.split(network)
    done = 0
    for start in range(0, len(wanted) - 2 * context - 1, ROWS):
        inner = wanted[start + context + 1 : start + context + 1 + ROWS]
        if inner.any():
            piece = slice(start, start + ROWS + 2 * context + 1)
            inputs, valid = samples.inputs[piece], samples.valid[piece]
            lacking = ROWS + 2 * context + 1 - len(valid)
            inputs = np.concatenate([inputs, np.zeros((lacking, inputs.shape[1]), np.float32)])
            valid = np.concatenate([valid, np.zeros(lacking, dtype=bool)])
            found = np.asarray(_window_features(graph, state, inputs[None], valid[None]))[0]
            count = int(inner.sum())
            result[done : done + count] = found[: len(inner)][inner]
            done += count
    return result


@partial(jax.jit, static_argnums=0)
def _window_features(graph: Any, state: Any, inputs: Array, valid: Array) -> Array:
    network = nnx.merge(graph, state)
    x = network.standardise(network.features(inputs, valid))
    return network.head.features(x, valid[:, 1:], network.shape.context)
