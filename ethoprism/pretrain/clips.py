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
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ethoprism.errors import InputError
from ethoprism.files import write_json
from ethoprism.pretrain.flow import PATCH, patch_motion
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
        write_json(unfinished / "clips.json", about | {"sources": sources, "captions": captions})
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return ClipStore.open(folder)


def write_stores(
    folder: Path,
    stream: Callable[[int], Iterator[Clip]],
    n: int,
    *,
    seed: int,
    per_store: int = 300,
    made_of: dict[str, Any] | None = None,
) -> Generator[Progress, None, list[ClipStore]]:
    """Write stores ``000``, ``001`` and so on of ``per_store`` clips each, ``n`` clips or more.

    Store *i* is made from ``stream(seed + i)``. Stores that are there are left as they are, so a
    call that was interrupted goes on, and training can begin with what is finished.

    Raises
    ------
    InputError
        If a stream ends too early, or a folder of that name holds no clips.
    """
    count = -(-n // per_store)
    stores = []
    for i in range(count):
        own = folder / f"{i:03d}"
        if own.exists():
            stores.append(ClipStore.open(own))
            continue
        about = (made_of or {}) | {"seed": seed + i}
        task = write_clips(own, stream(seed + i), per_store, made_of=about)
        while True:
            try:
                step = next(task)
            except StopIteration as end:
                stores.append(end.value)
                break
            yield Progress(i * per_store + step.done, count * per_store, "clips")
    return stores


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


def mixed(streams: Sequence[Iterator[Clip]], weights: Sequence[float], seed: int) -> Iterator[Clip]:
    """Clips of several streams, each taken as often as its weight says, without end."""
    rng = np.random.default_rng(seed)
    shares = np.asarray(weights, np.float64)
    while True:
        yield next(streams[int(rng.choice(len(streams), p=shares / shares.sum()))])
