"""Training in phases, resumable exactly: what comes depends on the seed and the step alone."""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

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
    read_checkpoint,
    write_checkpoint,
    write_student,
)
from ethoprism.pretrain.distil import Phase, losses, new_heads
from ethoprism.pretrain.student import Parameters
from ethoprism.progress import LearningProgress

AVERAGE = 0.995
"""How much of the running mean of the parameters stays at each step."""
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
) -> Generator[LearningProgress]:
    """Trains, from the checkpoint in ``folder`` where there is one.

    Writes ``checkpoint.safetensors`` (all that a resume needs), ``metrics.csv`` and
    ``student.safetensors`` (the running mean of the student, as it is used).

    Parameters
    ----------
    start
        The encoder's first parameters, by released name.
    dtype
        What operands of products are rounded to; parameters and sums are float32.
    keep_every
        Seconds between checkpoints.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = begin(config, start, supply, phases)
    checkpoint = folder / "checkpoint.safetensors"
    if checkpoint.is_file():
        state = read_checkpoint(checkpoint, state, lambda n: optimiser(phases[n]))
    total, kept_at = sum(phase.steps for phase in phases), time.monotonic()
    done = sum(phase.steps for phase in phases[: state.phase]) + state.step
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
            began = time.monotonic()
            batch = supply.batch(step, phase.batch, phase.kept, single=phase.single)
            arrays = on_device(batch, supply.seed, step)
            parameters, average, moments, parts = update(
                state.parameters, state.average, state.moments, arrays
            )
            state = State(number, step + 1, parameters, average, moments)
            parts = {k: float(v) for k, v in parts.items()}  # waits for the step
            seconds = time.monotonic() - began
            done += 1
            row = {"phase": phase.name, "step": step, **parts, "clips_per_s": phase.batch / seconds}
            append_metrics(folder / "metrics.csv", row)
            if time.monotonic() - kept_at > keep_every or step + 1 == phase.steps:
                write_checkpoint(checkpoint, state)
                write_student(folder / "student.safetensors", state)
                kept_at = time.monotonic()
            note = f"{phase.name}, {row['clips_per_s']:.0f} clips a second"
            yield LearningProgress(done, total, note, loss=parts["loss"], scores=parts)


def compiled_step(config: EncoderConfig, phase: Phase, seen_frames: tuple[int, ...], dtype: str):
    """One step: new parameters, their running mean, the optimiser's moments, the loss's parts."""
    transform = optimiser(phase)

    @partial(jax.jit, donate_argnums=(2,))
    def step(parameters, average, moments, batch):
        gradient, parts = jax.grad(losses, has_aux=True)(
            parameters, config, phase, seen_frames, batch, dtype
        )
        updates, moments = transform.update(gradient, moments, parameters)
        parameters = optax.apply_updates(parameters, updates)
        average = jax.tree.map(lambda a, p: AVERAGE * a + (1 - AVERAGE) * p, average, parameters)
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


def _decays(parameters: Parameters) -> dict[str, bool]:
    return {k: k.endswith(("/kernel", "/w")) for k in parameters}
