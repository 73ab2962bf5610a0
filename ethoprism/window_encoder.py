"""WindowEncoder: decoded frames in, pooled tokens of consecutive sampled frames out.

Each sampled frame passes the spatial encoder once; each window of them passes the temporal encoder
once. Memory is constant in the recording's length: what windows need of a frame lives in a ring
buffer a little longer than a batch of windows.

Batches are aligned to the recording, not to where a run starts: batch i holds the same frames and
the same windows in every run, in the same shapes.

Only frames that are kept are computed in the last temporal layer. All windows between the first
and the last keep the same frames of theirs, so there are two shapes of temporal calls: batches
with a window at either end of the recording, which are computed whole, and those between.

With a focus, frames are encoded whole in space, and only the patches of a region in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ethoprism.backbones.devices import divided, everywhere, fitting, free_bytes
from ethoprism.backbones.spec import (
    Backbone,
    BackboneCard,
    Embeds,
    Features,
    Positions,
    platform,
)
from ethoprism.crops import Focus
from ethoprism.errors import EthoPrismError, InputError
from ethoprism.windows import WindowGrid

Chunk = tuple[int, np.ndarray, np.ndarray]
"""``(index, frames, valid)``: a batch of frames, uint8 ``[batch, size, size, 3]``, and which of
those that the recording has are sound."""


@dataclass(frozen=True)
class Rows:
    """What is kept of one window.

    Attributes
    ----------
    start
        The first sampled frame.
    tokens
        Pooled, float16 ``[rows, y, x, feature]``.
    window
        The window that they come from.
    frame_embeddings, window_embedding
        float32 ``[rows, feature]`` and ``[feature]``, of length 1, from backbones that have them.
        The window's goes with the first of the rows that the window keeps, so it is None where
        that row was not asked for.
    """

    start: int
    tokens: np.ndarray
    window: int
    frame_embeddings: np.ndarray | None = None
    window_embedding: np.ndarray | None = None


@dataclass(frozen=True)
class _Encoded:
    """A batch of windows on the device; its arrays begin with the axes windows and frames."""

    group: int
    first: int
    """The frame of each window that comes first in the arrays."""
    tokens: Array
    frames: Array | np.ndarray | None = None
    windows: Array | np.ndarray | None = None


@dataclass(frozen=True)
class Batches:
    """Fixed shapes of the encoder's calls: ``frames`` per spatial, ``windows`` per temporal one."""

    frames: int
    windows: int


def default_batches(card: BackboneCard) -> Batches:
    """Batch shapes that suit the device: small ones stay in a CPU's cache, large fill a GPU.

    They are multiples of the number of devices. On a GPU they are as large as its free memory
    allows, in powers of two.
    """
    small = card.grid**2 * card.width < 64 * 256
    devices, free = jax.local_device_count(), free_bytes()
    if platform() == "cpu":
        frames, windows = (16, 4) if small else (4, 1)
        return Batches(frames * devices, windows * devices)
    if free is None:
        frames, windows = (128, 32) if small else (64, 8)
        return Batches(frames * devices, windows * devices)
    of_frame, of_window = _activation_bytes(card)
    return Batches(
        fitting(of_frame, free, 512 if small else 128, devices),
        fitting(of_window, free, 128 if small else 16, devices),
    )


def _activation_bytes(card: BackboneCard) -> tuple[int, int]:
    """About what a transformer keeps at once of a frame in space, and of a window in time.

    Per token: the tokens, their norm, queries, keys, values, what was mixed, and four times their
    width in the feed-forward, twice; and attention logits, of heads with 64 features, twice.
    """
    tokens, heads = card.grid**2, max(card.width // 64, 1)
    per_token = 4 * card.width * 14
    of_frame = tokens * (per_token + 8 * heads * tokens)
    of_window = card.frames * tokens * (per_token + 8 * heads * card.frames)
    return of_frame, of_window


class WindowEncoder:
    """Encoding of consecutive sampled frames, such as those of missing blocks.

    Parameters
    ----------
    grid
        The windows over the recording.
    pooling
        Tokens a side to which a frame's grid is averaged.
    backbone
        The encoder.
    batches
        Shapes of the encoder's calls; chosen for the device by default.
    focus
        The part of the frames whose tokens are wanted; the whole by default.

    Raises
    ------
    InputError
        If a part is asked of a backbone with embeddings: these are of whole frames.
    """

    def __init__(
        self,
        grid: WindowGrid,
        pooling: int,
        backbone: Backbone,
        batches: Batches | None = None,
        *,
        focus: Focus | None = None,
    ):
        if focus is not None and backbone.card.embedding_width:
            raise InputError(
                f"{backbone.card.name} describes whole frames in words, not a part of them",
                expected="frames that are whole, or cut",
                remedy="Run: ethoprism crop PROJECT region",
            )
        self.grid = grid
        self.pooling = pooling
        self.backbone = backbone
        self.batches = batches or default_batches(backbone.card)
        self.cells = Cells(backbone.card.grid, pooling, focus)
        span = (self.batches.windows - 1) * grid.hop + grid.length
        # Room for the windows of one batch, and for the frame batches that straddle its ends.
        n_chunks = -(-span // self.batches.frames) + 2
        self.ring_rows = n_chunks * self.batches.frames
        self.valid = np.zeros(grid.n_sampled, dtype=bool)
        """Which sampled frames were seen and sound."""

    def chunks(self, row: int, stop: int) -> range:
        """The batches of frames that rows ``row`` to ``stop`` (excluded) need."""
        groups = self._groups(row, stop)
        first = self.grid.start(groups.start * self.batches.windows) // self.batches.frames
        last_window = min(groups.stop * self.batches.windows, self.grid.n_windows) - 1
        return range(first, -(-self.grid.stop(last_window) // self.batches.frames))

    def kept_rows(self, chunks: Iterable[Chunk], row: int, stop: int) -> Iterator[Rows]:
        """Pooled tokens of rows ``row`` to ``stop`` (excluded), window by window.

        One batch of windows is computing while the one before is fetched from the device.

        Parameters
        ----------
        chunks
            The batches of frames that `chunks` names, in order.
        row, stop
            Half-open range of sampled frames.

        Raises
        ------
        EthoPrismError
            If the backbone gives numbers that are not finite.
        """
        pending: deque[_Encoded] = deque()
        for batch in self._window_batches(chunks, row, stop):
            pending.append(batch)
            if len(pending) > 1:
                yield from self._keep(pending.popleft(), row, stop)
        while pending:
            yield from self._keep(pending.popleft(), row, stop)

    def _groups(self, row: int, stop: int) -> range:
        """The batches of windows that rows take their tokens from."""
        first, last = self.grid.window_of(row), self.grid.window_of(stop - 1)
        return range(first // self.batches.windows, last // self.batches.windows + 1)

    def _keep(self, batch: _Encoded, row: int, stop: int) -> Iterator[Rows]:
        tokens = np.asarray(batch.tokens)
        embeddings = [x if x is None else np.asarray(x) for x in (batch.frames, batch.windows)]
        for i in range(self.batches.windows):
            window = batch.group * self.batches.windows + i
            if window >= self.grid.n_windows:
                return
            first, end = self.grid.kept(window)
            start, end = max(first, row), min(end, stop)
            if start >= end:
                continue
            offset = self.grid.start(window) + batch.first
            rows = slice(start - offset, end - offset)
            of_frames, of_windows = (x if x is None else x[i] for x in embeddings)
            sound = self.valid[start:end]
            kept = Rows(
                start,
                tokens[i, rows],
                window,
                None if of_frames is None else of_frames[rows],
                of_windows if start == first else None,
            )
            _require_finite(kept, sound)
            yield kept

    def _window_batches(self, chunks: Iterable[Chunk], row: int, stop: int) -> Iterator[_Encoded]:
        n_frames, groups = self.batches.frames, self._groups(row, stop)
        overlap = self.grid.hop < self.grid.length
        ring: Features = None
        group = groups.start
        for chunk, frames, valid in chunks:
            rows = slice(chunk * n_frames, chunk * n_frames + len(valid))
            self.valid[rows] = valid
            features = self.backbone.spatial(frames, shared=overlap)
            ring = self._empty(features) if ring is None else ring
            # Every device needs the frames of its windows, and these lie anywhere.
            ring = _put(ring, everywhere(features), chunk * n_frames % self.ring_rows)
            while group < groups.stop and self._rows_needed(group) <= rows.stop:
                yield self._encode(ring, group)
                group += 1

    def _empty(self, features: Features) -> Features:
        def empty(x: Array | np.ndarray) -> Array:
            return jnp.zeros((self.ring_rows, *x.shape[1:]), x.dtype)

        return everywhere(jax.tree.map(empty, features))

    def _rows_needed(self, group: int) -> int:
        last = min((group + 1) * self.batches.windows, self.grid.n_windows) - 1
        return self.grid.stop(last)

    def _encode(self, ring: Features, group: int) -> _Encoded:
        windows = group * self.batches.windows + np.arange(self.batches.windows)
        rows = windows[:, None] * self.grid.hop + np.arange(self.grid.length)
        inside = rows < self.grid.n_sampled
        padding = ~(inside & self.valid[np.minimum(rows, self.grid.n_sampled - 1)])
        features = _take(ring, divided(rows % self.ring_rows))
        card = self.backbone.card
        kept = None
        # Embeddings are of whole windows, so all their tokens are needed.
        if not card.embedding_width and windows[0] > 0 and windows[-1] < self.grid.n_windows - 1:
            kept = self.grid.kept_between
        tokens = self.backbone.temporal(features, padding, kept, self.cells.positions)
        pooled = self.cells.pool(tokens)
        if not card.embedding_width:
            return _Encoded(group, 0 if kept is None else kept[0], pooled)
        if not isinstance(self.backbone, Embeds):
            raise TypeError(f"{card.name} has embeddings on its card, and no function `embed`")
        return _Encoded(group, 0, pooled, *self.backbone.embed(tokens, padding))


class Cells:
    """The squares of a frame, or of a focus, over which tokens are averaged, and their patches.

    Parameters
    ----------
    grid, pooling
        Patches, and cells, a side.
    focus
        The part of the frame; the whole by default.
    """

    def __init__(self, grid: int, pooling: int, focus: Focus | None = None):
        self.grid, self.pooling = grid, pooling
        self.positions: Positions | None = None
        """The patches whose tokens are averaged; None for all."""
        self._shares: Array | None = None
        if focus is not None:
            self.positions, shares = focus.cells(grid, pooling)
            self._shares = jnp.asarray(shares)

    def pool(
        self, tokens: Float[Array | np.ndarray, "windows frames patches width"]
    ) -> Float[Array, "windows frames y x width"]:
        """Tokens of `positions` as float16 means, ``pooling`` a side."""
        if self._shares is None:
            return pool(tokens, self.grid, self.pooling)
        return pool_cells(tokens, self._shares, self.pooling)


def _require_finite(rows: Rows, sound: np.ndarray) -> None:
    arrays = [rows.tokens[sound]]
    arrays += [] if rows.frame_embeddings is None else [rows.frame_embeddings[sound]]
    if not all(np.isfinite(array).all() for array in arrays):
        raise EthoPrismError(
            f"The backbone gave numbers that are not finite near sampled frame {rows.start}",
            remedy="The weights are damaged, or overflow in this precision. Nothing of this block "
            "was stored.",
        )


@partial(jax.jit, donate_argnums=0)
def _put(ring: Features, features: Features, position: Int[Array, ""] | int) -> Features:
    def into(ring: Array, rows: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(ring, rows, position, axis=0)

    return jax.tree.map(into, ring, features)


@jax.jit
def _take(ring: Features, rows: Int[Array | np.ndarray, "windows frames"]) -> Features:
    return jax.tree.map(lambda x: x[rows], ring)


@partial(jax.jit, static_argnums=(1, 2))
def pool(
    tokens: Float[Array | np.ndarray, "windows frames tokens width"], grid: int, pooling: int
) -> Float[Array, "windows frames y x width"]:
    """Tokens averaged in float32 over equal squares to ``pooling`` a side, as float16."""
    windows, frames, _, width = tokens.shape
    cell = grid // pooling
    squares = tokens.reshape(windows, frames, pooling, cell, pooling, cell, width)
    return squares.astype(jnp.float32).mean(axis=(3, 5)).astype(jnp.float16)


@partial(jax.jit, static_argnums=2)
def pool_cells(
    tokens: Float[Array | np.ndarray, "windows frames patches width"],
    shares: Float[Array, "cells patches"],
    pooling: int,
) -> Float[Array, "windows frames y x width"]:
    """Tokens of some patches, averaged in float32 to ``pooling`` a side by shares, as float16."""
    windows, frames, _, width = tokens.shape
    with jax.default_matmul_precision("highest"):
        cells = jnp.einsum("cp,wfpd->wfcd", shares, tokens.astype(jnp.float32))
    return cells.reshape(windows, frames, pooling, pooling, width).astype(jnp.float16)
