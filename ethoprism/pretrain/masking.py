"""Which patches of a clip the student sees: tubes and blocks, the same in every frame.

Source: BEVT (arXiv 2112.01529), as VideoPrism uses it (arXiv 2402.13217, section 3.2): some clips
lose single tubes, others blocks of them. The number that stays is fixed, so shapes are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

MASKED = 0.65


def visible_patches(
    rng: np.random.Generator, clips: int, grid: int, kept: int
) -> Int[np.ndarray, "clips kept"]:
    """Numbers of the patches that stay, ascending; half of the clips lose blocks, half tubes."""
    patches = np.arange(grid * grid)
    if kept == grid * grid:
        return np.broadcast_to(patches, (clips, kept)).astype(np.int32)
    chosen = np.empty((clips, kept), np.int32)
    for row in chosen:
        if rng.random() < 0.5:
            row[:] = np.sort(rng.permutation(patches)[:kept])
        else:
            row[:] = np.flatnonzero(~_blocks(rng, grid, grid * grid - kept))
    return chosen


def _blocks(rng: np.random.Generator, grid: int, masked: int) -> np.ndarray:
    """A mask of exactly ``masked`` patches, grown from rectangles."""
    mask = np.zeros((grid, grid), bool)
    while (missing := masked - int(mask.sum())) > 0:
        area = rng.integers(max(2, masked // 8), max(3, masked // 2) + 1)
        height = int(np.clip(np.round(np.sqrt(area * np.exp(rng.uniform(-1, 1)))), 1, grid))
        width = int(np.clip(np.round(area / height), 1, grid))
        top, left = rng.integers(0, grid - height + 1), rng.integers(0, grid - width + 1)
        block = np.zeros_like(mask)
        block[top : top + height, left : left + width] = True
        new = np.flatnonzero((block & ~mask).ravel())
        mask.ravel()[new[:missing]] = True
    return mask.ravel()
