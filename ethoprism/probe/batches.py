"""From token stores and known states to the rows that a probe learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Int, Int8

from ethoprism.annotation import UNOBSERVED, runs
from ethoprism.evaluate import Part, Segment
from ethoprism.tokens import TokenKey, TokenStore

MAX_BYTES = 4 * 2**30
"""Tokens that are held in memory for training; more are sampled down, and the card says so."""
_PIECE = 256


@dataclass(frozen=True, eq=False)
class LabelledTokens:
    """Tokens of a recording, or of one subject of it, and what is known of their rows.

    ``states`` is int8 ``[rows, behaviours]``: the states of the sampled frames. A split goes by
    recording, so all subjects of a recording are in the same part at the same time.
    """

    recording: str
    store: TokenStore
    states: Int8[np.ndarray, "rows behaviours"]
    subject: str = ""


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows in memory, and where the labelled ones among them are.

    Attributes
    ----------
    tokens
        float16 ``[rows, tokens, features]``: pieces of recordings one after another, each with
        enough rows around it for the context.
    valid
        Rows that hold an encoded frame.
    centres
        Indices into ``tokens`` of the labelled rows.
    states
        int8 ``[centres, behaviours]``.
    kept
        Share of the labelled rows that fitted into memory.
    """

    tokens: Float16[np.ndarray, "rows tokens features"]
    valid: Bool[np.ndarray, " rows"]
    centres: Int[np.ndarray, " centres"]
    states: Int8[np.ndarray, "centres behaviours"]
    kept: float


def receptive_rows(key: TokenKey, context: int) -> int:
    """Rows on either side of a row that its prediction depends on: context, change and window."""
    return context + 1 + key.length - 1


def split_gap(key: TokenKey, context: int) -> int:
    """Rows between two rows so that no frame enters the predictions of both."""
    return 2 * receptive_rows(key, context) + 1


def load_samples(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    part: Part,
    context: int,
    *,
    max_bytes: int = MAX_BYTES,
    seed: int = 0,
) -> Samples:
    """The labelled rows of one part of a split, with the rows around them.

    Parameters
    ----------
    data
        Recordings with tokens and states.
    segments, part
        The split, and which part of it to load.
    context
        Rows on either side that the probe looks at.
    max_bytes
        Bound of the memory for tokens; beyond it, random pieces of `_PIECE` rows are left out.
    seed
        Decides which.
    """
    pieces = [
        (item, start, stop)
        for item in data
        for segment in segments
        if segment.recording == item.recording and segment.part == part
        for start, stop in _labelled_runs(item, segment)
    ]
    pieces, kept = _within(pieces, context, max_bytes, seed)
    tokens, valid, centres, states = [], [], [], []
    position = 0
    for item, start, stop in pieces:
        block, ok = read_rows(item.store, start - context - 1, stop + context)
        centre = np.arange(start, stop)
        labelled = (item.states[start:stop] != UNOBSERVED).any(axis=1)
        labelled &= ok[centre - (start - context - 1)]
        tokens.append(block)
        valid.append(ok)
        centres.append(position + centre[labelled] - (start - context - 1))
        states.append(item.states[start:stop][labelled])
        position += len(block)
    n_behaviours = data[0].states.shape[1]
    _, y, x, width = data[0].store.shape
    return Samples(
        tokens=np.concatenate(tokens) if tokens else np.zeros((0, y * x, width), np.float16),
        valid=np.concatenate(valid) if valid else np.zeros(0, bool),
        centres=np.concatenate(centres) if centres else np.zeros(0, np.int64),
        states=np.concatenate(states) if states else np.zeros((0, n_behaviours), np.int8),
        kept=kept,
    )


def read_rows(
    store: TokenStore, start: int, stop: int
) -> tuple[Float16[np.ndarray, "rows tokens features"], Bool[np.ndarray, " rows"]]:
    """Rows ``start`` to ``stop`` (excluded), which may lie outside the store, and their validity.

    Rows that do not exist, or whose frame was not encoded, are zero and not valid.
    """
    inside = slice(max(start, 0), min(stop, store.n_rows))
    _, y, x, width = store.shape
    tokens = np.zeros((stop - start, y * x, width), np.float16)
    valid = np.zeros(stop - start, dtype=bool)
    if inside.start < inside.stop:
        target = slice(inside.start - start, inside.stop - start)
        valid[target] = store.valid(inside.start, inside.stop)
        read = store.tokens(inside.start, inside.stop).reshape(-1, y * x, width)
        tokens[target] = np.where(valid[target, None, None], read, 0)
    return tokens, valid


Piece = tuple[LabelledTokens, int, int]


def _labelled_runs(item: LabelledTokens, segment: Segment) -> list[tuple[int, int]]:
    """Ranges of a segment's rows that carry labels."""
    labelled = (item.states[segment.start : segment.stop] != UNOBSERVED).any(axis=1)
    return [(segment.start + int(a), segment.start + int(b)) for a, b in runs(labelled)]


def _within(
    pieces: list[Piece], context: int, max_bytes: int, seed: int
) -> tuple[list[Piece], float]:
    """The pieces, if they fit into ``max_bytes``; else random parts of them, and the share kept."""
    if not pieces:
        return pieces, 1.0
    _, y, x, width = pieces[0][0].store.shape

    def n_bytes(part: list[Piece]) -> np.ndarray:
        return np.array([b - a + 2 * context + 1 for _, a, b in part]) * (y * x * width * 2)

    if n_bytes(pieces).sum() <= max_bytes:
        return pieces, 1.0
    parts = [
        (item, cut, min(cut + _PIECE, stop))
        for item, start, stop in pieces
        for cut in range(start, stop, _PIECE)
    ]
    order = np.random.default_rng(seed).permutation(len(parts))
    fits = np.cumsum(n_bytes(parts)[order]) <= max_bytes
    chosen = [parts[i] for i in np.sort(order[fits])]
    rows = sum(stop - start for _, start, stop in chosen)
    return chosen, rows / sum(stop - start for _, start, stop in parts)
