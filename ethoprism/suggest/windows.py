"""Windows of unlabelled time, and what their tokens look like."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from jaxtyping import Bool, Float, Int

from ethoprism.annotation import runs
from ethoprism.progress import Progress
from ethoprism.tokens import TokenStore

_ROWS = 1024
_MOST_COMPONENTS = 24


def cut_windows(wanted: Bool[np.ndarray, " frames"], length: int) -> Int[np.ndarray, "windows 2"]:
    """The wanted frames cut into half-open windows of about ``length`` frames.

    Each run of wanted frames is cut into equal parts of at most ``length`` frames. Runs shorter
    than a quarter of ``length`` are left out: too little to label by themselves.
    """
    parts = [np.zeros((0, 2), np.int64)]
    for start, stop in runs(wanted).tolist():
        if 4 * (stop - start) >= length:
            edges = np.linspace(start, stop, -(-(stop - start) // length) + 1).astype(np.int64)
            parts.append(np.stack([edges[:-1], edges[1:]], axis=1))
    return np.concatenate(parts)


def row_vectors(store: TokenStore) -> Generator[Progress, None, np.ndarray]:
    """float32 ``[rows, 2 · width]``: each row's mean token, and how much its tokens change.

    The change is the mean over the grid of the absolute difference to the row before, 0 after a row
    that was not encoded. Rows that were not encoded are NaN. The generator's result is the array.
    """
    n_rows, y, x, width = store.shape
    vectors = np.full((n_rows, 2 * width), np.nan, np.float32)
    for start in range(0, n_rows, _ROWS):
        yield Progress(start, n_rows, "reading tokens")
        stop, before = min(start + _ROWS, n_rows), max(start - 1, 0)
        valid = store.valid(before, stop)
        tokens = store.tokens(before, stop).reshape(stop - before, y * x, width).astype(np.float32)
        tokens[~valid] = np.nan
        change = np.zeros((stop - before, width), np.float32)
        change[1:] = np.abs(np.diff(tokens, axis=0)).mean(axis=1)
        if before == 0 and len(change) > 1:
            change[0] = change[1]  # the first row has none before it
        after_a_gap = valid & ~np.isfinite(change[:, 0])
        change[after_a_gap] = 0.0
        skip = start - before
        vectors[start:stop, :width] = tokens[skip:].mean(axis=1)
        vectors[start:stop, width:] = change[skip:]
    return vectors


def window_means(
    rows: Float[np.ndarray, "rows features"], windows: Int[np.ndarray, "windows 2"], step: int
) -> Float[np.ndarray, "windows features"]:
    """Mean over each window's sampled frames, without those that are NaN; NaN where all are.

    Parameters
    ----------
    rows
        One row per sampled frame; a row is NaN throughout or not at all.
    windows
        Half-open ranges of frames.
    step
        Frames per row.
    """
    known = np.isfinite(rows[:, :1])
    filled = np.where(known, rows, 0.0).astype(np.float64)
    zero = np.zeros((1, rows.shape[1]))
    total = np.concatenate([zero, np.cumsum(filled, axis=0)])
    count = np.concatenate([zero[:, :1], np.cumsum(known, axis=0)])
    first = np.minimum(windows[:, 0] // step, len(rows) - 1)
    last = np.maximum(-(-windows[:, 1] // step), first + 1)
    with np.errstate(invalid="ignore"):
        means = (total[last] - total[first]) / (count[last] - count[first])
    return means.astype(np.float32)


def flatten(
    vectors: Float[np.ndarray, "n features"], components: int = _MOST_COMPONENTS
) -> Float[np.ndarray, "n components"]:
    """Standardised vectors on their principal components, for distances.

    Each feature counts the same; directions with little variance are left out. Rows that are not
    finite are zero, the centre.
    """
    known = np.isfinite(vectors).all(axis=1)
    result = np.zeros((len(vectors), min(components, *vectors.shape)), np.float32)
    if known.sum() < 2:
        return result
    x = vectors[known].astype(np.float64)
    x -= x.mean(axis=0)
    spread = x.std(axis=0)
    x /= np.maximum(spread, 1e-3 * float(spread.mean()) + 1e-12)
    _, axes = np.linalg.eigh(x.T @ x / len(x))
    result[known] = x @ axes[:, ::-1][:, : result.shape[1]]
    return result
