"""The state of a training on disk, and its table: what is resumed is the same to the last bit."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ethoprism.backbones.weights import write_safetensors
from ethoprism.errors import WeightsError
from ethoprism.files import replacing
from ethoprism.pretrain.student import Parameters

HEAD = "head/"
"""Prefix of the parameters that are thrown away after training."""

METRICS: tuple[str, ...] = ("phase", "step", "loss", "token", "pooled", "motion", "clips_per_s")
"""Columns of ``metrics.csv``."""


@dataclass(frozen=True)
class State:
    """All that the next step depends on."""

    phase: int
    step: int
    parameters: Parameters
    average: Parameters
    moments: optax.OptState


def write_checkpoint(path: Path, state: State) -> None:
    """Everything a resume needs, float32 and integers to the last bit."""
    moments = jax.tree.leaves(state.moments)
    arrays = {f"parameters/{k}": np.asarray(v) for k, v in state.parameters.items()}
    arrays |= {f"average/{k}": np.asarray(v) for k, v in state.average.items()}
    arrays |= {f"moments/{i}": np.asarray(v) for i, v in enumerate(moments)}
    arrays["at"] = np.asarray([state.phase, state.step])
    temporary = path.with_name(path.name + ".partial")
    save_file(arrays, temporary)
    temporary.replace(path)


def read_checkpoint(
    path: Path, like: State, transform: Callable[[int], optax.GradientTransformation]
) -> State:
    """The state that `write_checkpoint` wrote.

    Parameters
    ----------
    like
        Has parameters of the same names.
    transform
        The optimiser of a phase.

    Raises
    ------
    WeightsError
        The file is damaged, or of another training.
    """
    try:
        arrays = load_file(path)
        number, step = (int(x) for x in arrays["at"])

        def part(name: str) -> Parameters:
            return {k: jnp.asarray(arrays[f"{name}/{k}"]) for k in like.parameters}

        parameters = part("parameters")
        structure = jax.tree.structure(transform(number).init(parameters))
        leaves = [jnp.asarray(arrays[f"moments/{i}"]) for i in range(structure.num_leaves)]
        moments = jax.tree.unflatten(structure, leaves)
        return State(number, step, parameters, part("average"), moments)
    except (OSError, KeyError, IndexError, ValueError, SafetensorError) as error:
        raise WeightsError(
            f"The training cannot go on from {path}",
            found=str(error),
            remedy="Start it in another folder.",
        ) from error


def write_student(path: Path, state: State, made_by: str = "") -> None:
    """The running mean of the student's parameters, float16, under their released names.

    ``made_by`` says in the file what they were made of and by how many steps.
    """
    student = {k: np.asarray(v) for k, v in state.average.items() if not k.startswith(HEAD)}
    write_safetensors(path, student, half=True, made_by=made_by)


def append_metrics(path: Path, row: Mapping[str, str | float]) -> None:
    """One more line of a training's table."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, METRICS, restval="")
        if new:
            writer.writeheader()
        writer.writerow(row)


def cut_metrics(path: Path, done: Mapping[str, int]) -> None:
    """Takes the lines of steps that will be done again out of a training's table.

    A training that was killed has lines younger than its checkpoint, the last perhaps half written.

    Parameters
    ----------
    path
        The table; nothing happens if it is not there.
    done
        Steps that are done of each phase.
    """
    if not path.is_file():
        return
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = {}
    for row in rows:
        whole = row.keys() == set(METRICS) and None not in row.values()
        if whole and int(row["step"]) < done.get(row["phase"], 0):
            kept[row["phase"], row["step"]] = row
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, METRICS)
        writer.writeheader()
        writer.writerows(kept.values())
