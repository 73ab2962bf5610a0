"""Whole trainings: of `prism-nano` from nothing, and of a student for a project's recordings."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from ethoprism.backbones.encoder import NANO, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.nano import untrained_parameters
from ethoprism.backbones.pico import PICO
from ethoprism.backbones.spec import Backbone, BackboneCard
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
from ethoprism.pretrain.clips import Clip, ClipStore, write_stores
from ethoprism.pretrain.cutting import dataset_clips, file_clips, project_clips
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.plot import plot_metrics
from ethoprism.pretrain.targets import add_targets, kept_basis
from ethoprism.pretrain.train import train
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import content_key
from ethoprism.safety import read_json

STUDENTS: Mapping[str, EncoderConfig] = {"prism-nano": NANO, "prism-pico": PICO}

FRAMES_FIRST = Phase("frames", 2500, 64, 32, single=True, last_rate=2e-5)
THEN_CLIPS = Phase("clips", 1300, 16, 22, rate=3e-4)
"""About half an hour of two quiet cores, together; making the clips takes as long."""

_PER_STORE = 300
"""Clips in one store: what an interruption of their making costs."""
_MOST_SOURCES = 12

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

    Work that was interrupted goes on where it stopped, in the same folder. The file says what the
    student was made of (`weights.read_made_by`).
    """
    start = student_parameters(student, weights)
    config = STUDENTS[student]
    folder.mkdir(parents=True, exist_ok=True)
    basis = yield from kept_basis(folder / "basis.npz", teacher, stores, config.grid)
    yield from add_targets(teacher, stores, grid=config.grid, basis=basis)
    supply = Supply(stores, config.grid, recipe.seed)
    made_by = history(stores, teacher.card, recipe, weights)
    yield from train(config, supply, recipe.phases, start, folder, made_by=made_by)
    plot_metrics(folder / "metrics.csv", folder / "metrics.png")
    return folder / "student.safetensors"


def history(
    stores: Sequence[ClipStore], teacher: BackboneCard, recipe: Recipe, weights: Path | None
) -> str:
    """What a student is made of, in words; how many steps it took is added by `train`."""
    counts: dict[str, int] = {}
    for store in stores:
        for source in store.sources:
            counts[source] = counts.get(source, 0) + 1
    named = [f"{n} of {source}" for source, n in list(counts.items())[:_MOST_SOURCES]]
    if len(counts) > _MOST_SOURCES:
        named.append(f"and more of {len(counts) - _MOST_SOURCES} others")
    begin = "from untrained parameters" if weights is None else f"from {weights.name}"
    return (
        f"distilled by EthoPrism {version('ethoprism')} from {teacher.label}"
        f" ({teacher.weights_sha256[:12]}), beginning {begin}, seed {recipe.seed}, on"
        f" {sum(counts.values())} clips: {', '.join(named)}"
    )


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
    names = project.recording_ids
    if not names:
        raise InputError("The project has no recordings", remedy="Run: ethoprism add PROJECT VIDEO")
    about = {"recordings": sorted(entry.content_key for entry in project.entries)}
    claim(folder, recipe, teacher, student_parameters(student, weights), about)
    each, stores = -(-recipe.clips // len(names)), []
    for number, name in enumerate(names):

        def stream(seed: int, name: str = name) -> Iterator[Clip]:
            return project_clips(project, _PER_STORE, seed=seed, recordings=[name])

        own = folder / "clips" / f"{number:04d}"
        stores += yield from _stores(own, stream, each, recipe.seed + 1000 * number)
    return (
        yield from distil_stores(stores, teacher, recipe, folder, student=student, weights=weights)
    )


def train_nano(
    dataset: str,
    files: Sequence[Path],
    teacher: Backbone,
    recipe: Recipe,
    folder: Path,
    *,
    weights: Path | None = None,
) -> Generator[Progress, None, Path]:
    """`prism-nano`, on a data set's clips and on video files.

    Parameters
    ----------
    dataset
        A registered data set that renders clips.
    files
        Recordings. Whatever the result will be tested on must not be among them.
    weights
        What it starts from; by default untrained parameters.
    """
    about = {"dataset": dataset, "recordings": sorted(map(content_key, files))}
    claim(folder, recipe, teacher, student_parameters("prism-nano", weights), about)

    def rendered(seed: int) -> Iterator[Clip]:
        return dataset_clips(dataset, seed=seed)

    stores = yield from _stores(folder / "rendered", rendered, recipe.clips, recipe.seed)
    each = -(-recipe.clips // max(len(files), 1))
    for number, path in enumerate(files):

        def stream(seed: int, path: Path = path) -> Iterator[Clip]:
            return file_clips([path], _PER_STORE, seed=seed)

        own = folder / "recorded" / f"{number:04d}"
        stores += yield from _stores(own, stream, each, recipe.seed + 1000 * number)
    return (yield from distil_stores(stores, teacher, recipe, folder, weights=weights))


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
    card = teacher.card
    teacher_is = (card.name, card.weights_sha256, card.precision)
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


def _stores(
    folder: Path, stream: Callable[[int], Iterator[Clip]], n: int, seed: int
) -> Generator[Progress, None, list[ClipStore]]:
    """Stores of at least ``n`` clips together, each made if it is not there."""
    return (yield from write_stores(folder, stream, n, seed=seed, per_store=min(n, _PER_STORE)))
