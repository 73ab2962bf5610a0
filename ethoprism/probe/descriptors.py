"""Descriptors of a row: what its tokens are like, without anything that is learnt.

Of each feature: its mean, deviation and largest value over the row's tokens, and the mean and
largest absolute change of a token since the row before.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float16, Float32

STILL_PARTS = 3
PARTS = 5
_ROWS = 256


def describe(
    tokens: Float16[np.ndarray, "rows tokens width"],
    valid: Bool[np.ndarray, " rows"],
    *,
    motion: bool = True,
) -> Float32[np.ndarray, "rows features"]:
    """Descriptors ``[rows, PARTS · width]``, or ``[rows, STILL_PARTS · width]`` without motion.

    Parameters
    ----------
    tokens, valid
        Consecutive rows. The change is 0 where one of the two rows is not valid, and for the first.
    motion
        Whether the change is described.
    """
    n, n_tokens, width = tokens.shape
    result = np.zeros((n, (PARTS if motion else STILL_PARTS) * width), np.float32)
    for start in range(0, n, _ROWS):
        stop = min(start + _ROWS, n)
        first = max(start - 1, 0)
        x = tokens[first:stop].astype(np.float32)
        own = x[start - first :]
        mean = own.mean(axis=1)
        off = own - mean[:, None]
        parts = [mean, np.sqrt(np.einsum("rtd,rtd->rd", off, off) / n_tokens), own.max(axis=1)]
        if motion:
            change = np.zeros_like(own)
            change[1 if first == start else 0 :] = np.abs(np.diff(x, axis=0))
            both = valid[start:stop] & np.concatenate(([False], valid))[start:stop]
            change[~both] = 0
            parts += [change.mean(axis=1), change.max(axis=1)]
        result[start:stop] = np.concatenate(parts, axis=1)
    return result
