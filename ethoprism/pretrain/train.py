"""Training in phases, resumable exactly: what comes depends on the seed and the step alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.pretrain.batches import Batch, Supply
from ethoprism.pretrain.checkpoint import (
    State,
    append_metrics,
    cut_metrics,
    read_checkpoint,
    write_checkpoint,
    write_student,
)
from ethoprism.pretrain.distil import Phase, losses, new_heads
from ethoprism.pretrain.student import Parameters
from ethoprism.progress import LearningProgress

AVERAGE = 0.995
"""How much of the running mean of the parameters stays at each step, at most.

Early steps keep less, see `_stays`: the first parameters would make up a fourth of the result of a
training of 270 steps, and the mean of two distant sets of parameters is worth less than either.
"""
_DECAY = 0.05

Tree = TypeVar("Tree")


def begin(
    config: EncoderConfig,
    parameters: Mapping[str, np.ndarray],
    supply: Supply,
    phases: Sequence[Phase],
) -> State:
    """The state before the first step, from an encoder's parameters under released names."""
    student = {k: jnp.asarray(v) for k, v in parameters.items()}
    decoders = any(phase.form == "decoded" for phase in phases)
    everything = student | new_heads(supply.seed, config, supply.components, decoders=decoders)
    return State(0, 0, everything, everything, optimiser(phases[0]).init(everything))


def optimiser(phase: Phase) -> optax.GradientTransformation:
    """AdamW with the phase's rates; norms, biases and positions do not decay."""
    if phase.schedule == "constant":
        rate = optax.linear_schedule(0.0, phase.rate, phase.warmup)
    else:
        rate = optax.warmup_cosine_decay_schedule(
            0.0, phase.rate, phase.warmup, max(phase.steps, phase.warmup + 1), phase.last_rate
        )
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(rate, b1=0.9, b2=0.98, weight_decay=_DECAY, mask=_decays),
    )


def train(
    config: EncoderConfig,
    supply: Supply,
    phases: Sequence[Phase],
    start: Mapping[str, np.ndarray],
    folder: Path,
    *,
    dtype: str = "bfloat16",
    keep_every: float = 120.0,
    made_by: str = "",
) -> Generator[LearningProgress]:
    """Trains, from the checkpoint in ``folder`` where there is one.

    Writes ``checkpoint.safetensors`` (all that a resume needs), ``metrics.csv`` and
    ``student.safetensors`` (the running mean of the student, as it is used). Closing the generator,
    or an interruption, keeps the last whole step.

    Parameters
    ----------
    start
        The encoder's first parameters, by released name.
    dtype
        What operands of products are rounded to; parameters and sums are float32.
    keep_every
        Seconds between checkpoints.
    made_by
        What is said in the student's file of its teacher and its clips; steps are added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = begin(config, start, supply, phases)
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.is_file():
        state = read_checkpoint(checkpoint, state, lambda n: optimiser(phases[n]))
    cut_metrics(folder / "metrics.csv", _steps_done(phases, state))
    total, kept_at = sum(phase.steps for phase in phases), time.monotonic()
    done = sum(phase.steps for phase in phases[: state.phase]) + state.step

    def keep(state: State) -> None:
        write_checkpoint(checkpoint, state)
        write_student(folder / "student.safetensors", state, _history(made_by, phases, state))

    for number in range(state.phase, len(phases)):
        phase = phases[number]
        if number != state.phase or state.step == 0:
            moments = optimiser(phase).init(state.parameters)
            state = State(number, 0, state.parameters, state.average, moments)
        state = replace(
            state,
            parameters=everywhere(state.parameters),
            average=everywhere(state.average),
            moments=everywhere(state.moments),
        )
        update = compiled_step(config, phase, supply.seen_frames, dtype)
        for step in range(state.step, phase.steps):
            try:
                began = time.monotonic()
                following, parts = _following(state, update, supply, phase, _stays(done))
                speed = phase.batch / (time.monotonic() - began)
                row = {"phase": phase.name, "step": step, **parts, "clips_per_s": speed}
                append_metrics(folder / "metrics.csv", row)
                state, done = following, done + 1
                if time.monotonic() - kept_at > keep_every or step + 1 == phase.steps:
                    keep(state)
                    kept_at = time.monotonic()
                note = f"steps; {phase.name}, {speed:.1f} clips a second"
                yield LearningProgress(done, total, note, loss=parts["loss"], scores=parts)
            except (GeneratorExit, KeyboardInterrupt):
                keep(state)
                raise


def _following(
    state: State, update: Callable[..., Any], supply: Supply, phase: Phase, stays: float
) -> tuple[State, dict[str, float]]:
    """The state after one more step, and the parts of its loss."""
    batch = supply.batch(state.step, phase.batch, phase.kept, single=phase.single)
    arrays = on_device(batch, supply.seed, state.step)
    parameters, average, moments, parts = update(
        state.parameters, state.average, state.moments, arrays, np.float32(stays)
    )
    losses_of = {k: float(v) for k, v in parts.items()}  # waits for the step
    return State(state.phase, state.step + 1, parameters, average, moments), losses_of


@lru_cache(maxsize=8)  # compiling takes longer than a short training
def compiled_step(config: EncoderConfig, phase: Phase, seen_frames: tuple[int, ...], dtype: str):
    """One step: new parameters, their running mean, the optimiser's moments, the loss's parts."""
    transform = optimiser(phase)

    # Nothing is donated: a step that is interrupted leaves the state before it whole.
    @jax.jit
    def step(parameters, average, moments, batch, stays=AVERAGE):
        gradient, parts = jax.grad(losses, has_aux=True)(
            parameters, config, phase, seen_frames, batch, dtype
        )
        updates, moments = transform.update(gradient, moments, parameters)
        parameters = optax.apply_updates(parameters, updates)
        average = jax.tree.map(lambda a, p: stays * a + (1 - stays) * p, average, parameters)
        return parameters, average, moments, parts

    return step


def on_device(batch: Batch, seed: int, step: int) -> dict[str, Array]:
    """A batch as the loss takes it, with random gains and offsets of each clip's colours."""
    rng = np.random.default_rng([seed, 3, step])
    clips = len(batch.frames)
    contrast = np.exp(rng.uniform(-0.5, 0.5, (clips, 1, 1, 1, 1)))
    tint = np.exp(rng.normal(0.0, 0.05, (clips, 1, 1, 1, 3)))
    offset = rng.normal(0.0, 0.1, (clips, 1, 1, 1, 1))
    places = batch.frames.shape[1] * batch.teacher.shape[2]
    arrays = {
        "order": rng.permuted(np.tile(np.arange(places, dtype=np.int32), (clips, 1)), axis=1),
        "frames": batch.frames,
        "visible": batch.visible,
        "teacher": batch.teacher,
        "motion": batch.motion,
        "gain": (contrast * tint).astype(np.float32),
        "offset": offset.astype(np.float32),
    }
    return {k: shared_out(v) for k, v in arrays.items()}


def shared_out(array: np.ndarray) -> Array:
    """An array with its clips divided among all devices, where their number divides the clips.

    Parameters are on all devices; so XLA adds up the devices' gradients.
    """
    devices = jax.devices()
    if len(devices) == 1 or len(array) % len(devices):
        return jnp.asarray(array)
    mesh = jax.sharding.Mesh(np.asarray(devices), ("clips",))
    where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("clips"))
    return jax.device_put(array, where)


def everywhere(tree: Tree) -> Tree:
    """Arrays copied to every device."""
    devices = jax.devices()
    if len(devices) == 1:
        return tree
    mesh = jax.sharding.Mesh(np.asarray(devices), ("clips",))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def _stays(done: int) -> float:
    """How much of the running mean stays after so many steps of the whole training."""
    return min(AVERAGE, (1 + done) / (10 + done))


def _steps_done(phases: Sequence[Phase], state: State) -> dict[str, int]:
    done = {phase.name: phase.steps for phase in phases[: state.phase]}
    return done | {phases[state.phase].name: state.step}


def _history(made_by: str, phases: Sequence[Phase], state: State) -> str:
    done = _steps_done(phases, state)
    steps = ", ".join(
        f"{p.name} {done.get(p.name, 0)} of {p.steps} steps of {p.batch} clips" for p in phases
    )
    return f"{made_by or 'trained'}; {steps}"


def _decays(parameters: Parameters) -> dict[str, bool]:
    return {k: k.endswith(("/kernel", "/w")) for k in parameters}
