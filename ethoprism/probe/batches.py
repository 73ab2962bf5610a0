"""From token stores and known states to the rows that a probe learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Int, Int8, Shaped

from ethoprism.annotation import UNOBSERVED, runs
from ethoprism.evaluate import Part, Segment
from ethoprism.probe.descriptors import describe
from ethoprism.probe.model import ProbeShape
from ethoprism.tokens import TokenKey, TokenStore

MAX_BYTES = 4 * 2**30
"""Tokens that are held in memory for training; more are sampled down, and the card says so."""
_PIECE = 256
TAIL = 8


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


@dataclass(frozen=True)
class Place:
    """Where labelled rows of a recording lie in memory.

    ``item`` counts the recordings; rows ``start`` to ``stop`` (excluded) of its store are at
    ``position`` and on.
    """

    item: int
    start: int
    stop: int
    position: int


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows in memory, and where the labelled ones among them are.

    Attributes
    ----------
    inputs
        ``[rows, tokens, features]`` float16 or descriptors ``[rows, features]`` float32: pieces of
        recordings one after another, each with enough rows around it for the context.
    valid
        Rows that hold an encoded frame.
    states
        int8 ``[rows, behaviours]``; unobserved in rows that are there for the context only.
    places
        The pieces.
    kept
        Share of the labelled rows that fitted into memory.
    """

    inputs: Shaped[np.ndarray, "rows *rest"]
    valid: Bool[np.ndarray, " rows"]
    states: Int8[np.ndarray, "rows behaviours"]
    places: tuple[Place, ...]
    kept: float

    @property
    def centres(self) -> Int[np.ndarray, " centres"]:
        """Indices of the labelled rows."""
        return np.flatnonzero((self.states != UNOBSERVED).any(axis=1))


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
    shape: ProbeShape,
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
    shape
        Says how many rows around a row the probe looks at, and what it sees of them.
    max_bytes
        Bound of the memory for the rows; beyond it, random pieces of `_PIECE` rows are left out.
    seed
        Decides which.
    """
    pieces = [
        (index, start, stop)
        for index, item in enumerate(data)
        for segment in segments
        if segment.recording == item.recording and segment.part == part
        for start, stop in _labelled_runs(item, segment, shape.context)
    ]
    _, y, x, width = data[0].store.shape
    row_bytes = y * x * width * 2 if shape.on_tokens else shape.inputs * 4
    context = shape.context
    pieces, kept = _within(pieces, context, max_bytes // row_bytes, seed)
    lengths = [stop - start + 2 * context + 1 for _, start, stop in pieces]
    rest = (y * x, width) if shape.on_tokens else (shape.inputs,)
    # Room behind the last piece, so that a stretch of rows can start at any labelled one.
    n, n_behaviours = sum(lengths) + TAIL, data[0].states.shape[1]
    inputs = np.zeros((n, *rest), np.float16 if shape.on_tokens else np.float32)
    valid = np.zeros(n, dtype=bool)
    states = np.full((n, n_behaviours), UNOBSERVED, np.int8)
    places, position = [], 0
    for (index, start, stop), length in zip(pieces, lengths, strict=True):
        item = data[index]
        here = slice(position, position + length)
        inputs[here], valid[here] = read_inputs(item.store, start - context - 1, length, shape)
        first = position + context + 1
        inner = slice(first, first + stop - start)
        states[inner] = np.where(valid[inner, None], item.states[start:stop], UNOBSERVED)
        places.append(Place(index, start, stop, first))
        position += length
    return Samples(inputs, valid, states, tuple(places), kept)


def read_inputs(
    store: TokenStore, start: int, length: int, shape: ProbeShape
) -> tuple[Shaped[np.ndarray, "rows *rest"], Bool[np.ndarray, " rows"]]:
    """What the probe sees of ``length`` rows from ``start`` on, and their validity."""
    tokens, valid = read_rows(store, start, start + length)
    if shape.on_tokens:
        return tokens, valid
    return describe(tokens, valid, motion=shape.motion), valid


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


Piece = tuple[int, int, int]
"""Index of the recording, first row, row after the last."""


def _labelled_runs(item: LabelledTokens, segment: Segment, context: int) -> list[tuple[int, int]]:
    """Ranges of a segment's rows that carry labels; those whose surroundings meet are one."""
    labelled = (item.states[segment.start : segment.stop] != UNOBSERVED).any(axis=1)
    found = runs(labelled)
    if not len(found):
        return []
    apart = found[1:, 0] - found[:-1, 1] > 2 * context + 1
    starts = found[np.concatenate(([True], apart)), 0]
    stops = found[np.concatenate((apart, [True])), 1]
    return [
        (segment.start + int(a), segment.start + int(b)) for a, b in zip(starts, stops, strict=True)
    ]


def _within(
    pieces: list[Piece], context: int, most_rows: int, seed: int
) -> tuple[list[Piece], float]:
    """The pieces, if they fit; else random parts of them, and the share kept."""

    def rows(part: list[Piece]) -> np.ndarray:
        return np.array([b - a + 2 * context + 1 for _, a, b in part], np.int64)

    if rows(pieces).sum() <= most_rows:
        return pieces, 1.0
    parts = [
        (item, cut, min(cut + _PIECE, stop))
        for item, start, stop in pieces
        for cut in range(start, stop, _PIECE)
    ]
    order = np.random.default_rng(seed).permutation(len(parts))
    fits = np.cumsum(rows(parts)[order]) <= most_rows
    chosen = [parts[i] for i in np.sort(order[fits])]
    kept = sum(stop - start for _, start, stop in chosen)
    return chosen, kept / sum(stop - start for _, start, stop in parts)
