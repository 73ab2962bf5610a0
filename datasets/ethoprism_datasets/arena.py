"""The simulated arena: two mice seen from above, with the truth of every frame.

A plan (`arena_plan`) moves two bodies (`arena_motion`), whose parts (`arena_anatomy`) are drawn
(`arena_scene`, `arena_render`) as an `Appearance` says. The labels are read off the movement
(`arena_labels`), and `arena_files` writes recordings. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from ethoprism.errors import InputError
from ethoprism.progress import Progress
from ethoprism_datasets.arena_appearance import Appearance
from ethoprism_datasets.arena_cuts import cuts
from ethoprism_datasets.arena_files import RecordingFiles, recording_steps, write_recording
from ethoprism_datasets.arena_labels import BEHAVIOURS, DEFINITIONS, SUBJECTS
from ethoprism_datasets.arena_random import shots
from ethoprism_datasets.arena_render import render
from ethoprism_datasets.arena_truth import ArenaTruth, simulate
from ethoprism_datasets.spec import Dataset, Shot

__all__ = [
    "ARENA",
    "BEHAVIOURS",
    "DEFINITIONS",
    "SUBJECTS",
    "Appearance",
    "ArenaTruth",
    "RecordingFiles",
    "make",
    "recording_steps",
    "render",
    "simulate",
    "write_recording",
]


def make(
    out_dir: Path,
    *,
    recordings: int = 4,
    seconds: float = 60.0,
    seed: int = 0,
    appearance: Appearance | None = None,
    vary: bool = False,
) -> Generator[Progress, None, None]:
    """Write ``arena_00`` and so on into a folder, yielding progress in frames.

    Recordings that are there already, made from the same numbers, are left as they are.

    Parameters
    ----------
    out_dir
        Folder; made where it is missing.
    recordings
        How many.
    seconds
        Length of each.
    seed
        Of the whole set. The recordings of sets with different seeds have nothing in common.
    appearance
        How all of them look; the default where it is not given.
    vary
        Draw another appearance for each recording, of the size and rate of ``appearance``.

    Raises
    ------
    InputError
        If a number is out of range, or the folder holds other recordings of these names.
    """
    if recordings < 1 or seconds <= 0 or seed < 0:
        raise InputError(
            "The arena cannot make this set",
            expected="one recording or more, of more than 0 seconds, from a seed of 0 or more",
            found=f"{recordings} recordings of {seconds:g} s, seed {seed}",
        )
    look = appearance or Appearance()
    n_frames = max(1, round(seconds * look.frame_rate))
    for number in range(recordings):
        own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        own_look = _varied(look, own_seed) if vary else look
        steps = recording_steps(
            out_dir, f"arena_{number:02d}", own_seed, n_frames=n_frames, appearance=own_look
        )
        for step in steps:
            done = number * n_frames + step.done
            yield Progress(done, recordings * n_frames, step.note)


def _varied(look: Appearance, seed: int) -> Appearance:
    rng = np.random.default_rng([seed, 4])
    fixed = {"height": look.height, "width": look.width, "frame_rate": look.frame_rate}
    return Appearance.random(rng, **fixed)


def clips(seed: int) -> Iterator[Shot]:
    """Captioned clips without end, for pre-training: scripted animals of many forms, and mice.

    Two of three are of `arena_random`, one is cut from the arena. Needs OpenCV.
    """
    scripted, cut = shots(seed), cuts(seed)
    while True:
        yield next(scripted)
        yield next(cut)
        yield next(scripted)


ARENA = Dataset(
    name="arena",
    description="Simulated recordings of two mice in an arena, with the truth of every frame",
    licence="CC0-1.0",
    make=make,
    clips=clips,
)
