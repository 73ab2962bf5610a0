"""One vector for each moment of a token store: what is there, and how it changes."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from jaxtyping import Float16, Float32

from ethoprism.errors import InputError
from ethoprism.progress import Progress
from ethoprism.tokens import TokenStore

PARTS = ("mean", "std", "max", "change")
"""What a vector holds of each feature, one after the other."""

LEAST_SPAN = 5
"""A vector looks at this many sampled frames at least, so that there is some change to see."""

_ROWS = 512  # that are read at a time
_GATHERED = 8 << 20  # numbers that are averaged at a time


def n_moments(n_rows: int, hop: int) -> int:
    """Moments of a store with ``n_rows`` rows."""
    return -(-n_rows // hop)


def default_span(hop: int) -> int:
    """Sampled frames that a vector looks at, where a moment stands for ``hop`` of them."""
    return max(hop, LEAST_SPAN)


def moment_vectors(
    store: TokenStore, hop: int, span: int, out: Float32[np.ndarray, "moments features"]
) -> Generator[Progress, None, None]:
    """Fill ``out`` with the vectors of a store's moments, reading it once, piece by piece.

    Moment ``k`` stands for the rows ``k·hop`` to ``(k+1)·hop``. Its vector looks at ``span`` rows
    around the middle of these, or at the nearest ones where the store ends. It holds of each
    feature the mean and the standard deviation over places and times, the mean over time of the
    largest value in space, and the mean of the absolute change from one row to the next.

    Parameters
    ----------
    store
        Tokens; all of its blocks must be done.
    hop, span
        Rows; at least 1.
    out
        ``[n_moments(store.n_rows, hop), 4 · features]``; it may be a file mapped into memory. NaN
        where a moment has no valid row.

    Yields
    ------
    Progress in rows.
    """
    if hop < 1 or span < 1:
        raise InputError("A moment has at least one frame", found=f"hop {hop}, span {span}")
    total, n = store.n_rows, n_moments(store.n_rows, hop)
    per_read = max(1, _ROWS // hop)
    for first in range(0, n, per_read):
        last = min(first + per_read, n)
        starts = _starts(np.arange(first, last), hop, span, total)
        low, high = max(int(starts[0]) - 1, 0), min(int(starts[-1]) + span, total)
        rows = _row_statistics(store.tokens(low, high), store.valid(low, high))
        out[first:last] = _pooled(rows, starts - low, span)
        yield Progress(min(last * hop, total), total)


def _starts(moments: np.ndarray, hop: int, span: int, n_rows: int) -> np.ndarray:
    """First of the rows that each moment's vector looks at; they end within the store."""
    return np.clip(moments * hop + (hop - span) // 2, 0, max(n_rows - span, 0))


def _row_statistics(
    tokens: Float16[np.ndarray, "rows y x features"], valid: np.ndarray
) -> tuple[Float32[np.ndarray, "rows 4 features"], np.ndarray]:
    """Of each row: mean, mean square, maximum, mean absolute change; and which of these count."""
    n, features = len(tokens), tokens.shape[-1]
    places = tokens.reshape(n, -1, features).astype(np.float32)
    rows = np.zeros((n, 4, features), np.float32)
    rows[:, 0] = places.mean(axis=1)
    rows[:, 1] = np.square(places).mean(axis=1)
    rows[:, 2] = places.max(axis=1)
    rows[1:, 3] = np.abs(np.diff(places, axis=0)).mean(axis=1)
    pairs = np.concatenate([[False], valid[1:] & valid[:-1]])
    return rows, np.stack([valid, valid, valid, pairs], axis=1)


def _pooled(
    statistics: tuple[np.ndarray, np.ndarray], starts: np.ndarray, span: int
) -> Float32[np.ndarray, "moments features"]:
    """Vectors of windows of ``span`` rows, given the statistics of the rows."""
    rows, counts = statistics
    features = rows.shape[2]
    out = np.empty((len(starts), 4 * features), np.float32)
    per_part = max(1, _GATHERED // (span * 4 * features))
    for a in range(0, len(starts), per_part):
        at = starts[a : a + per_part, None] + np.arange(span)
        inside = at < len(rows)  # a store may be shorter than a window
        at = np.minimum(at, len(rows) - 1)
        weight = counts[at] & inside[:, :, None]  # [moments, span, 4]
        weight[:, 0, 3] = False  # the change into a window is none within it
        total = np.einsum("mspf,msp->mpf", rows[at], weight.astype(np.float32))
        number = weight.sum(axis=1)[:, :, None]
        mean = total / np.maximum(number, 1)
        std = np.sqrt(np.maximum(mean[:, 1] - mean[:, 0] ** 2, 0))
        vectors = np.concatenate([mean[:, 0], std, mean[:, 2], mean[:, 3]], axis=1)
        vectors[number[:, 0, 0] == 0] = np.nan
        out[a : a + per_part] = vectors
    return out
