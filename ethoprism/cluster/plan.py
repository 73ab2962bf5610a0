"""Which blocks of the token stores make one task.

Blocks that follow each other share windows at their edges, and batches are aligned to the
recording, so a task encodes a little more than its blocks. Longer tasks waste less; shorter ones
share the work out more evenly and lose less with a worker. Arithmetic only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ethoprism.annotation import runs
from ethoprism.windows import WindowGrid

MOST_WASTE = 0.05
"""Frames that a task encodes beside its own, as a share of these, that are tolerated."""
TASKS_PER_WORKER = 4
"""Tasks are not made longer where fewer than these would be left for each worker."""


@dataclass(frozen=True)
class Task:
    """Blocks ``first`` to ``last`` (excluded) of the store of a unit, by the unit's number."""

    unit: int
    first: int
    last: int


def frames_encoded(grid: WindowGrid, frames: int, windows: int, row: int, stop: int) -> int:
    """Sampled frames that pass the spatial encoder for rows ``row`` to ``stop`` (excluded).

    Parameters
    ----------
    grid
        The windows over the recording.
    frames, windows
        Of a batch.
    row, stop
        Half-open range of sampled frames.
    """
    first = grid.window_of(row) // windows * windows
    last = min((grid.window_of(stop - 1) // windows + 1) * windows, grid.n_windows) - 1
    begin = grid.start(first) // frames * frames
    end = min(-(-grid.stop(last) // frames) * frames, -(-grid.n_sampled // frames) * frames)
    return end - begin


def waste(grid: WindowGrid, frames: int, windows: int, block_rows: int, blocks: int) -> float:
    """Frames that tasks of ``blocks`` blocks encode beside their own, as a share of these."""
    rows, encoded, n = blocks * block_rows, 0, 0
    for start in range(0, grid.n_sampled, rows):
        stop = min(start + rows, grid.n_sampled)
        encoded += frames_encoded(grid, frames, windows, start, stop)
        n += 1
        if n == 64:  # of a very long recording
            break
    seen = min(n * rows, grid.n_sampled)
    padded = -(-seen // frames) * frames  # one run over all of it would encode these
    return max(encoded - padded, 0) / padded


def blocks_per_task(
    grid: WindowGrid, frames: int, windows: int, block_rows: int, missing: int, workers: int
) -> int:
    """Blocks that make one task: few, unless their edges would cost too much.

    Parameters
    ----------
    grid, frames, windows, block_rows
        See `waste`.
    missing
        Blocks that are left to do, in all recordings.
    workers
        How many share them.
    """
    most = max(missing // (TASKS_PER_WORKER * max(workers, 1)), 1)
    for blocks in range(1, most):
        if waste(grid, frames, windows, block_rows, blocks) <= MOST_WASTE:
            return blocks
    return most


def tasks_of(unit: int, done: np.ndarray, blocks: int) -> Iterator[Task]:
    """Tasks that cover the blocks which are not done, each ``blocks`` long at most."""
    for start, stop in runs(~done):
        for first in range(int(start), int(stop), blocks):
            yield Task(unit, first, min(first + blocks, int(stop)))
