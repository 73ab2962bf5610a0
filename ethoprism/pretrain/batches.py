"""Batches of clips with their targets: each is a function of the seed and the step alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from ethoprism.errors import InputError
from ethoprism.pretrain.clips import ClipStore
from ethoprism.pretrain.masking import visible_patches


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips, which of their patches are seen, and what is to be said of these.

    Attributes
    ----------
    frames
        RGB; the patches of all frames, or of the one frame of each clip that is used.
    visible
        Numbers of the patches that are seen.
    teacher
        Components of the teacher's tokens of the frames that it saw.
    motion
        Raw motion of each patch: u, v, magnitude, change; empty for single frames.
    """

    frames: UInt8[np.ndarray, "clips frames size size 3"]
    visible: Int[np.ndarray, "clips kept"]
    teacher: Float[np.ndarray, "clips seen tokens components"]
    motion: Float[np.ndarray, "clips frames tokens 4"]


class Supply:
    """Batches from several stores, each clip once before any comes again.

    Parameters
    ----------
    stores
        Clips with ``teacher.npy`` beside them.
    grid
        Patches a side.
    seed
        Of the order, the flips and the masks.
    """

    def __init__(self, stores: Sequence[ClipStore], grid: int, seed: int):
        self.stores = list(stores)
        self.grid = grid
        self.seed = seed
        self.teacher = [_targets(store) for store in stores]
        about = json.loads((stores[0].folder / "teacher.json").read_text())
        self.seen_frames = tuple(about["frames"])
        self.components = self.teacher[0].shape[-1]
        self._start = np.cumsum([0, *map(len, stores)])

    def __len__(self) -> int:
        return int(self._start[-1])

    def batch(self, step: int, size: int, kept: int, *, single: bool) -> Batch:
        """The batch of a step.

        Parameters
        ----------
        step
            Counted from 0 within a phase.
        size
            Clips.
        kept
            Patches that are seen.
        single
            Whether one frame of each clip is given instead of all of them.
        """
        rng = np.random.default_rng([self.seed, int(single), step])
        picked = self._picked(step, size, single)
        parts = [self._clip(int(number), single, rng) for number in picked]
        frames, teacher, motion = (np.stack(part) for part in zip(*parts, strict=True))
        return Batch(frames, visible_patches(rng, size, self.grid, kept), teacher, motion)

    def _picked(self, step: int, size: int, single: bool) -> np.ndarray:
        epochs, places = np.divmod(np.arange(step * size, (step + 1) * size), len(self))
        orders = {
            epoch: np.random.default_rng([self.seed, 7, int(single), epoch]).permutation(len(self))
            for epoch in map(int, np.unique(epochs))
        }
        return np.asarray([orders[int(e)][p] for e, p in zip(epochs, places, strict=True)])

    def _clip(self, number: int, single: bool, rng: np.random.Generator):
        which = int(np.searchsorted(self._start, number, side="right")) - 1
        index = number - int(self._start[which])
        store, grid = self.stores[which], self.grid
        cut, told = slice(None), slice(None)
        if single:
            one = int(rng.integers(len(self.seen_frames)))
            at = self.seen_frames[one]
            cut, told = slice(at, at + 1), slice(one, one + 1)
        frames = np.asarray(store.clips[index, cut])
        motion = np.asarray(store.flow[index, cut], np.float32)
        teacher = np.asarray(self.teacher[which][index, told], np.float32)
        maps = teacher.reshape(len(teacher), grid, grid, -1)
        frames, maps, motion = flipped(frames, maps, motion, rng)
        patches = grid * grid
        return frames, maps.reshape(len(maps), patches, -1), motion.reshape(-1, patches, 4)


def flipped(
    frames: np.ndarray, maps: np.ndarray, motion: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same clip mirrored or turned by quarters, its maps and its motion with it.

    Axes 1 and 2 are rows and columns; of the motion, channels 0 and 1 are to the right and down.
    """
    left_right, up_down, transposed = rng.random(3) < 0.5
    motion = motion.copy()
    if left_right:
        frames, maps, motion = (a[:, :, ::-1] for a in (frames, maps, motion))
        motion = motion * np.array([-1, 1, 1, 1], np.float32)
    if up_down:
        frames, maps, motion = (a[:, ::-1] for a in (frames, maps, motion))
        motion = motion * np.array([1, -1, 1, 1], np.float32)
    if transposed:
        frames, maps, motion = (a.swapaxes(1, 2) for a in (frames, maps, motion))
        motion = motion[..., [1, 0, 2, 3]]
    return frames, maps, motion


def _targets(store: ClipStore) -> np.ndarray:
    path = store.folder / "teacher.npy"
    if not path.is_file():
        raise InputError(
            f"The clips of {store.folder} have no teacher's targets",
            remedy="Compute them with targets.add_targets",
        )
    return np.load(path, mmap_mode="r", allow_pickle=False)
