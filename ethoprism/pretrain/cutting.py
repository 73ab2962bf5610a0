"""Clips of recordings, of a project's or of video files, and of data sets that render them.

Where, how large, how turned, how fast and in what light a clip is cut is drawn at random, so that
an encoder trained on the clips depends on none of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ethoprism.backbones.preprocess import preprocess
from ethoprism.crops import CropPath
from ethoprism.errors import InputError
from ethoprism.frame_source import FrameSource
from ethoprism.pretrain.clips import FRAMES, SIZE, Clip
from ethoprism.pretrain.flow import opencv
from ethoprism.project import Project
from ethoprism.recording import open_frames, open_recording
from ethoprism.subjects import crop_path, units

_USUAL_RATE = 25.0  # frames a second where a recording states none


@dataclass(frozen=True)
class Cutting:
    """How clips are cut from recordings at random.

    Attributes
    ----------
    frames, size
        Of a clip; ``size`` in pixels.
    slowest
        Least frames a second of a clip; a time step is drawn between this and the recording's
        own rate, evenly in the logarithm.
    smallest
        Smallest side of a crop in pixels of the recording, before it is resized.
    moving
        Share of the crops that are laid where something moves.
    turned
        Share of the crops that are turned by any angle; animals seen from above lie in all
        directions.
    followed
        Share of the clips that follow an animal, where tracks are given.
    per_span
        Clips that are cut from one span of frames, so that it is decoded once.
    """

    frames: int = FRAMES
    size: int = SIZE
    slowest: float = 5.0
    smallest: int = 72
    moving: float = 0.75
    turned: float = 0.6
    followed: float = 0.5
    per_span: int = 4


def recording_clips(
    source: FrameSource,
    name: str,
    rate: float,
    *,
    seed: int,
    cutting: Cutting | None = None,
    paths: Sequence[CropPath] = (),
) -> Iterator[Clip]:
    """Clips of one recording without end: random spans, steps, places, sizes, turns and light.

    Parameters
    ----------
    source
        The frames.
    name
        What the clips are said to be from.
    rate
        Frames a second.
    seed
        Everything that is random follows from it.
    cutting
        How they are cut.
    paths
        Crops that follow animals, see `Cutting.followed`.

    Raises
    ------
    InputError
        If the recording is shorter than a clip, or OpenCV is not installed.
    """
    how = cutting or Cutting()
    n_frames, height, width = len(source), *source.shape[1:3]
    if n_frames < how.frames or min(height, width) < 16:
        raise InputError(
            f"No clip can be cut from {name}",
            expected=f"{how.frames} frames or more of 16 px or more",
            found=f"{n_frames} frames of {height} × {width} px",
        )
    rng = np.random.default_rng(seed)
    longest = max(1, min(int(rate / how.slowest), (n_frames - 1) // (how.frames - 1)))
    while True:
        step = int(np.exp(rng.uniform(0, np.log(longest + 0.999))))
        start = int(rng.integers(n_frames - (how.frames - 1) * step))
        numbers = start + step * np.arange(how.frames)
        block = [source[int(i)] for i in numbers]
        energy = _motion_energy(block)
        for _ in range(how.per_span):
            followed = _along(rng, paths, numbers) if rng.random() < how.followed else None
            if followed is not None:
                side, centres = followed
            else:
                side, centre = _place(rng, energy, height, width, how)
                centres = np.repeat(centre[None], how.frames, axis=0)
            angle = float(rng.uniform(-180, 180)) if rng.random() < how.turned else 0.0
            cut = [_cut(f, c, side, angle, how.size) for f, c in zip(block, centres, strict=True)]
            yield Clip(degraded(np.stack(cut), rng), name)


def _along(
    rng: np.random.Generator, paths: Sequence[CropPath], numbers: np.ndarray
) -> tuple[float, np.ndarray] | None:
    """Side and centres ``(frames, 2)``, x and y, of a crop that follows one of the animals."""
    if not len(paths):
        return None
    path = paths[int(rng.integers(len(paths)))]
    if not path.valid[numbers].all():
        return None
    side = float(path.size[0] * np.exp(rng.uniform(-0.5, 0.5)))
    middle = path.top_left[numbers] + np.array(path.size) / 2
    return side, middle[:, ::-1] + rng.normal(0, 0.06 * side, 2)


def _motion_energy(block: Sequence[np.ndarray]) -> Float[np.ndarray, "rows columns"]:
    """Where a span moves: largest grey difference of neighbours, in cells of 1/32 of the frame."""
    cv2 = opencv()
    small = [cv2.resize(f, (32, 32), interpolation=cv2.INTER_AREA).mean(axis=2) for f in block]
    energy = np.abs(np.diff(np.stack(small), axis=0)).max(axis=0)
    return np.maximum(energy - np.median(energy), 0.0) ** 1.5 + 1e-6


def _place(
    rng: np.random.Generator, energy: np.ndarray, height: int, width: int, how: Cutting
) -> tuple[float, np.ndarray]:
    """Side of a crop and its centre, x and y."""
    short = min(height, width)
    side = float(np.exp(rng.uniform(np.log(min(how.smallest, short)), np.log(short))))
    if rng.random() < how.moving:
        cell = int(rng.choice(energy.size, p=(energy / energy.sum()).ravel()))
        row, column = divmod(cell, energy.shape[1])
        centre = np.array([(column + rng.random()) * width, (row + rng.random()) * height]) / 32
        centre += rng.normal(0, 0.15 * side, 2)
    else:
        centre = rng.random(2) * (width, height)
    half = side / 2
    low, high = np.full(2, half), np.maximum(half, np.array([width, height]) - half)
    return side, np.clip(centre, low, high)


def _cut(
    frame: np.ndarray, centre: np.ndarray, side: float, angle: float, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A square of ``side`` px around a centre, turned by degrees, resized to ``size`` px."""
    cv2 = opencv()
    whole = max(round(side), 1)
    middle = np.asarray(centre, np.float64)
    if angle == 0.0:  # onto whole pixels, which are then taken as they are
        middle = np.round(middle - whole / 2) + whole / 2
    matrix = cv2.getRotationMatrix2D((float(middle[0]), float(middle[1])), angle, 1.0)
    matrix[:, 2] += whole / 2 - middle
    square = cv2.warpAffine(
        frame, matrix, (whole, whole), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    # The filter of extraction: what an encoder learns from is as sharp as what it will be shown.
    return preprocess(square, size)


def degraded(
    frames: UInt8[np.ndarray, "n height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "n height width 3"]:
    """The clip as another camera might have taken it: light, contrast, colour, blur, noise, JPEG.

    The same for all of its frames, but for the noise.
    """
    cv2 = opencv()
    x = frames.astype(np.float32)
    if rng.random() < 0.25:
        x = np.repeat(x.mean(axis=-1, keepdims=True), 3, axis=-1)
    if rng.random() < 0.1:
        x = 255.0 - x
    x = 255.0 * (x / 255.0) ** float(np.exp(rng.uniform(-0.5, 0.5)))
    gain, shift = float(rng.uniform(0.55, 1.25)), float(rng.uniform(-30, 30))
    tint = rng.uniform(0.9, 1.1, 3) if rng.random() < 0.5 else np.ones(3)
    x = (x - x.mean()) * gain * tint.astype(np.float32) + x.mean() + shift
    if rng.random() < 0.35:
        sigma = float(rng.uniform(0.4, 1.3))
        x = np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in x])
    if rng.random() < 0.5:
        noise = float(np.exp(rng.uniform(np.log(0.5), np.log(9.0))))
        x = x + rng.standard_normal(x.shape, dtype=np.float32) * noise
    result = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), int(rng.integers(25, 80))]
        result = np.stack(
            [cv2.imdecode(cv2.imencode(".jpg", f, quality)[1], cv2.IMREAD_COLOR) for f in result]
        )
    return result


def file_clips(
    files: Sequence[Path], n: int, *, seed: int, cutting: Cutting | None = None
) -> Iterator[Clip]:
    """``n`` clips of each of several video files, file by file.

    Raises
    ------
    InputError
        If a file cannot be read, or is shorter than a clip.
    """
    for number, path in enumerate(files):
        recording, report = open_recording(path)
        with closing(open_frames(recording)) as source:
            rate = report.mean_rate if np.isfinite(report.mean_rate) else _USUAL_RATE
            own = seed + 1000 * number
            stream = recording_clips(source, path.name, rate, seed=own, cutting=cutting)
            yield from itertools.islice(stream, n)


def dataset_clips(name: str, *, seed: int) -> Iterator[Clip]:
    """The captioned clips of a registered data set, without end.

    Raises
    ------
    InputError
        If there is no such data set, or it has no clips.
    """
    from ethoprism import registry

    dataset = registry.load("datasets", name)
    if dataset.clips is None:
        raise InputError(f"The data set {name!r} has no clips to train on")
    opencv()
    for made in dataset.clips(seed):
        yield Clip(made.frames, name, made.caption)


def project_clips(
    project: Project,
    n: int,
    *,
    seed: int,
    cutting: Cutting | None = None,
    recordings: Sequence[str] = (),
) -> Iterator[Clip]:
    """``n`` clips of each recording of a project, or of those that are named.

    Some follow its subjects, if it has tracks.

    Raises
    ------
    InputError
        If a recording is shorter than a clip, or OpenCV is not installed.
    """
    for number, name in enumerate(recordings or project.recording_ids):
        recording = project.recording(name)
        length = (
            float(np.median(np.diff(recording.frame_times)))
            if len(recording.frame_times) > 1
            else 0.0
        )
        paths = _followed(project, name)
        with closing(open_frames(recording)) as source:
            stream = recording_clips(
                source,
                name,
                1.0 / length if length > 0 else _USUAL_RATE,
                seed=seed + 1000 * number,
                cutting=cutting,
                paths=paths,
            )
            yield from itertools.islice(stream, n)


def _followed(project: Project, name: str) -> list[CropPath]:
    if not project.tracks_path(name).is_file():
        return []
    crop = "subject 2 lengths"
    found = [crop_path(project, unit, crop) for unit in units(project, crop, [name])]
    return [path for path in found if path is not None]
