"""Whole trainings: of `prism-nano` from nothing, and of a student for a project's recordings."""

from __future__ import annotations

import itertools
import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ethoprism.backbones.encoder import NANO, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.nano import untrained_parameters
from ethoprism.backbones.spec import Backbone
from ethoprism.backbones.weights import (
    ENCODER_NAMES,
    Layout,
    fingerprint,
    read_parameters,
    state_layout,
)
from ethoprism.errors import InputError
from ethoprism.files import write_json
from ethoprism.pretrain.batches import Supply
from ethoprism.pretrain.clips import Clip, ClipStore, write_clips
from ethoprism.pretrain.cutting import dataset_clips, file_clips, project_clips
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.plot import plot_metrics
from ethoprism.pretrain.targets import add_targets
from ethoprism.pretrain.train import train
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import content_key
from ethoprism.safety import read_json

STUDENTS: Mapping[str, EncoderConfig] = {"prism-nano": NANO}

FRAMES_FIRST = Phase("frames", 2000, 64, 32, single=True, schedule="constant")
THEN_CLIPS = Phase("clips", 2500, 16, 22, rate=3e-4)
"""Two to three hours of two quiet cores, together."""

PAPER = (Phase("clips", 20_000, 64, 22, rate=5e-4, last_rate=1e-5, warmup=500, form="decoded"),)
"""Stage 2 as the paper has it, but for its size; meant for GPUs."""


@dataclass(frozen=True)
class Recipe:
    """What a training is made of.

    Attributes
    ----------
    phases
        See `distil.Phase`.
    clips
        Of each data set and of all recordings together.
    seed
        Of everything that is drawn.
    """

    phases: tuple[Phase, ...] = (FRAMES_FIRST, THEN_CLIPS)
    clips: int = 6000
    seed: int = 0

    def shortened(self, factor: float) -> Recipe:
        """The same with fewer steps and clips, for a trial of minutes."""
        if not 0 < factor <= 1:
            raise InputError("A recipe is shortened", expected="0 to 1", found=str(factor))
        phases = tuple(
            replace(
                phase,
                steps=max(2, round(phase.steps * factor)),
                warmup=max(1, round(phase.warmup * factor)),
            )
            for phase in self.phases
        )
        return replace(self, phases=phases, clips=max(32, round(self.clips * factor)))


def layout_of(config: EncoderConfig) -> Layout:
    """Released names and shapes of an encoder's parameters."""
    encoder = nnx.eval_shape(lambda: VideoPrismEncoder(config, rngs=nnx.Rngs(0)))
    return state_layout(nnx.split(encoder)[1], ENCODER_NAMES)


def student_parameters(name: str, weights: Path | None = None) -> dict[str, np.ndarray]:
    """What a student starts from: a checkpoint, or the untrained parameters.

    Raises
    ------
    InputError
        There is no such student.
    """
    if name not in STUDENTS:
        raise InputError(f"No student is called {name!r}", expected=f"one of {', '.join(STUDENTS)}")
    layout = layout_of(STUDENTS[name])
    if weights is None:
        return dict(untrained_parameters(layout))
    return dict(read_parameters(weights, layout))


def distil_stores(
    stores: Sequence[ClipStore],
    teacher: Backbone,
    recipe: Recipe,
    folder: Path,
    *,
    student: str = "prism-nano",
    weights: Path | None = None,
) -> Generator[Progress, None, Path]:
    """A student from stores of clips; returns the file of its weights.

    Work that was interrupted goes on where it stopped, in the same folder.
    """
    config = STUDENTS.get(student, NANO)
    start = student_parameters(student, weights)
    yield from add_targets(teacher, stores, grid=config.grid)
    supply = Supply(stores, config.grid, recipe.seed)
    yield from train(config, supply, recipe.phases, start, folder)
    plot_metrics(folder / "metrics.csv", folder / "metrics.png")
    return folder / "student.safetensors"


def distil_project(
    project: Project,
    teacher: Backbone,
    recipe: Recipe,
    folder: Path,
    *,
    student: str,
    weights: Path | None = None,
) -> Generator[Progress, None, Path]:
    """A student that learns from a teacher on a project's own recordings.

    Parameters
    ----------
    project
        Its recordings give the clips; where it has tracks, some clips follow animals.
    folder
        Clips, checkpoint and result are kept here.
    weights
        What the student starts from; by default untrained parameters.
    """
    count = len(project.recording_ids)
    if not count:
        raise InputError("The project has no recordings", remedy="Run: ethoprism add PROJECT VIDEO")
    about = {"recordings": sorted(entry.content_key for entry in project.entries)}
    claim(folder, recipe, teacher, student_parameters(student, weights), about)
    each = -(-recipe.clips // count)
    store = yield from _stored(
        folder / "clips", project_clips(project, each, seed=recipe.seed), each * count
    )
    return (
        yield from distil_stores([store], teacher, recipe, folder, student=student, weights=weights)
    )


def train_from_scratch(
    dataset: str, files: Sequence[Path], teacher: Backbone, recipe: Recipe, folder: Path
) -> Generator[Progress, None, Path]:
    """`prism-nano` from untrained parameters, on a data set's clips and on video files.

    Parameters
    ----------
    dataset
        A registered data set that renders clips.
    files
        Recordings. Whatever the result will be tested on must not be among them.
    """
    about = {"dataset": dataset, "recordings": sorted(map(content_key, files))}
    claim(folder, recipe, teacher, student_parameters("prism-nano"), about)
    rendered = itertools.islice(dataset_clips(dataset, seed=recipe.seed), recipe.clips)
    stores = [(yield from _stored(folder / "clips-rendered", rendered, recipe.clips))]
    if files:
        each = -(-recipe.clips // len(files))
        cut = file_clips(files, each, seed=recipe.seed)
        stores.append((yield from _stored(folder / "clips-recorded", cut, each * len(files))))
    return (yield from distil_stores(stores, teacher, recipe, folder))


def claim(
    folder: Path,
    recipe: Recipe,
    teacher: Backbone,
    start: Mapping[str, np.ndarray],
    material: Mapping[str, Any],
) -> None:
    """Have a folder say what is made in it, before anything is.

    Clips and checkpoints of another training would fit this one by their shapes.

    Raises
    ------
    InputError
        If the folder holds another training, or one that does not say what it is.
    """
    teacher_is = (teacher.card.name, teacher.card.weights_sha256)
    said = {**material, "recipe": asdict(recipe), "teacher": teacher_is}
    about = json.loads(json.dumps({**said, "student": fingerprint(start)}))
    file = folder / "training.json"
    found = read_json(file) if file.is_file() else None
    if found is None and folder.is_dir() and any(folder.iterdir()):
        other = "files, and none that says of what training"
    elif found is None or found == about:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(file, about)
        return
    else:
        other = "another: " + ", ".join(k for k in about if found.get(k) != about[k]) + " differ"
    raise InputError(
        f"The folder {folder} is not of this training",
        expected="an empty folder, or one in which the same training was begun",
        found=other,
        remedy="Choose another with --folder. Nothing was changed.",
    )


def _stored(folder: Path, clips: Iterator[Clip], n: int) -> Generator[Progress, None, ClipStore]:
    """The store in the folder, made if it is not there."""
    if folder.is_dir():
        return ClipStore.open(folder)
    return (yield from write_clips(folder, clips, n))
