"""Short clips for training an encoder, cut from recordings or rendered, in a store on disk.

A store is a folder of plain arrays that are read where they lie, so training never waits for a
decoder and any batch is a function of its number:

```
clips.npy    uint8   [n, frames, size, size, 3]   RGB
flow.npy     float16 [n, frames, rows, columns, 4]  see `flow.CHANNELS`
clips.json   source and caption of each clip, and what the store is made of
```
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from ethoprism.crops import CropPath
from ethoprism.errors import InputError
from ethoprism.files import write_json
from ethoprism.frame_source import FrameSource
from ethoprism.pretrain.flow import PATCH, opencv, patch_motion
from ethoprism.progress import Progress

FRAMES = 8
SIZE = 144
FORMAT = 1
_FILES = ("clips.npy", "flow.npy", "clips.json")


@dataclass(frozen=True, eq=False)
class Clip:
    """One clip: uint8 ``(frames, size, size, 3)``, where it is from, and what it shows if known."""

    frames: UInt8[np.ndarray, "frames size size 3"]
    source: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class ClipStore:
    """Clips on disk, opened for reading.

    Attributes
    ----------
    folder
        Where they lie.
    clips, flow
        The arrays, mapped into memory.
    sources, captions
        Of each clip; a caption is empty where nothing is known.
    made_of
        What the store was made of, as it was given.
    """

    folder: Path
    clips: np.ndarray
    flow: np.ndarray
    sources: tuple[str, ...]
    captions: tuple[str, ...]
    made_of: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        """The number of clips."""
        return len(self.clips)

    @classmethod
    def open(cls, folder: Path) -> ClipStore:
        """The store in a folder.

        Raises
        ------
        InputError
            If it is no store of clips, or one of another format.
        """
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(f"{folder} holds no clips", found=f"{', '.join(missing)} missing")
        about = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
        clips, flow = (
            np.lib.format.open_memmap(folder / name, mode="r") for name in ("clips.npy", "flow.npy")
        )
        sources, captions = tuple(about["sources"]), tuple(about["captions"])
        if about["format"] != FORMAT or not (
            len(clips) == len(flow) == len(sources) == len(captions)
        ):
            raise InputError(
                f"The clips in {folder} cannot be read",
                expected=f"format {FORMAT}, as many clips as flows, sources and captions",
                found=f"format {about['format']}, {len(clips)}, {len(flow)}, {len(sources)} and"
                f" {len(captions)}",
                remedy="Make the clips again.",
            )
        return cls(folder, clips, flow, sources, captions, about["made_of"])


def write_clips(
    folder: Path,
    clips: Iterable[Clip],
    n: int,
    *,
    made_of: dict[str, Any] | None = None,
    patch: int = PATCH,
) -> Generator[Progress, None, ClipStore]:
    """Write a store of ``n`` clips, yielding progress; the folder appears when it is whole.

    Parameters
    ----------
    folder
        Where to; must not exist.
    clips
        At least ``n`` of them, all of one shape.
    n
        How many are taken.
    made_of
        Kept in ``clips.json``: what to say of the data in a card.
    patch
        Side of the patches over which the flow is averaged, in pixels.

    Raises
    ------
    InputError
        If the folder exists, or there are fewer clips.
    """
    if folder.exists():
        raise InputError(f"There is a folder {folder} already", remedy="Choose another name.")
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        sources, captions = yield from _fill(unfinished, clips, n, patch)
        about = {"format": FORMAT, "patch": patch, "made_of": made_of or {}}
        write_json(
            unfinished / "clips.json", about | {"sources": sources, "captions": captions}
        )
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return ClipStore.open(folder)


def _fill(
    folder: Path, clips: Iterable[Clip], n: int, patch: int
) -> Generator[Progress, None, tuple[list[str], list[str]]]:
    sources: list[str] = []
    captions: list[str] = []
    frames = flow = None
    for i, clip in zip(range(n), clips, strict=False):
        length, size = clip.frames.shape[:2]
        if frames is None or flow is None:
            frames = _array(folder / "clips.npy", (n, *clip.frames.shape), np.uint8)
            grid = size // patch
            flow = _array(folder / "flow.npy", (n, length, grid, grid, 4), np.float16)
        frames[i] = clip.frames
        flow[i] = patch_motion(clip.frames, patch)
        sources.append(clip.source)
        captions.append(clip.caption)
        yield Progress(i + 1, n, "clips")
    if len(sources) < n or frames is None or flow is None:
        raise InputError("There are too few clips", expected=str(n), found=str(len(sources)))
    frames.flush()
    flow.flush()
    return sources, captions


def _array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


# Clips of recordings


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
    per_span
        Clips that are cut from one span of frames, so that it is decoded once.
    """

    frames: int = FRAMES
    size: int = SIZE
    slowest: float = 5.0
    smallest: int = 72
    moving: float = 0.75
    turned: float = 0.6
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
        Crops that follow animals; half of the clips follow one of them where there are any.

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
            path = paths[int(rng.integers(len(paths)))] if len(paths) and rng.random() < 0.5 else None
            if path is not None and path.valid[numbers].all():
                corners = path.top_left[numbers] + np.array(path.size) / 2
                side = float(path.size[0] * np.exp(rng.uniform(-0.5, 0.5)))
                centres = corners[:, ::-1] + rng.normal(0, 0.06 * side, 2)
            else:
                side, centre = _place(rng, energy, height, width, how)
                centres = np.repeat(centre[None], how.frames, axis=0)
            angle = float(rng.uniform(-180, 180)) if rng.random() < how.turned else 0.0
            cut = [_cut(f, c, side, angle, how.size) for f, c in zip(block, centres, strict=True)]
            yield Clip(degraded(np.stack(cut), rng), name)


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
    scale = size / side
    if scale < 0.7:  # an affine map alone would alias
        shrunk = max(scale, 1e-3) * 1.4
        frame = cv2.resize(frame, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
        centre, scale = centre * shrunk, scale / shrunk
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, scale)
    matrix[:, 2] += size / 2 - centre
    return cv2.warpAffine(
        frame, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


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


def mixed(streams: Sequence[Iterator[Clip]], weights: Sequence[float], seed: int) -> Iterator[Clip]:
    """Clips of several streams, each taken as often as its weight says, without end."""
    rng = np.random.default_rng(seed)
    shares = np.asarray(weights, np.float64)
    while True:
        yield next(streams[int(rng.choice(len(streams), p=shares / shares.sum()))])


def file_clips(
    files: Sequence[Path], n: int, *, seed: int, cutting: Cutting | None = None
) -> Iterator[Clip]:
    """``n`` clips of each of several video files, file by file.

    Raises
    ------
    InputError
        If a file cannot be read, or is shorter than a clip.
    """
    from ethoprism.recording import open_frames, open_recording

    for number, path in enumerate(files):
        recording, report = open_recording(path)
        with closing(open_frames(recording)) as source:
            rate = report.mean_rate if np.isfinite(report.mean_rate) else 25.0
            stream = recording_clips(
                source, path.name, rate, seed=seed + 1000 * number, cutting=cutting
            )
            for _, clip in zip(range(n), stream, strict=False):
                yield clip
