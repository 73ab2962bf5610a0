"""Extraction: one recording through a frozen backbone into a token store, resumably.

Frames are decoded once, in order, in a thread ahead of the encoder. Each sampled frame passes the
spatial encoder once; each window of them passes the temporal encoder once. Memory is constant in
the recording's length: spatial tokens live in a ring buffer a little longer than a batch of
windows.

Batches are aligned to the recording, not to where a run starts: batch i holds the same frames and
the same windows in every run, so a run that was interrupted and continued computes each number from
the same inputs in the same shapes, and its store equals that of an uninterrupted run byte for byte.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ethoprism.annotation import runs
from ethoprism.backbones.preprocess import PREPROCESS_VERSION
from ethoprism.backbones.spec import Backbone, BackboneCard, platform
from ethoprism.crops import WHOLE, CropPath
from ethoprism.errors import EthoPrismError, StorageError
from ethoprism.frames_ahead import FramesAhead
from ethoprism.progress import Progress
from ethoprism.recording import Recording
from ethoprism.tokens import TokenKey, TokenStore, estimate_bytes
from ethoprism.windows import WindowGrid

DEFAULT_POOLING = 4


@dataclass(frozen=True)
class Batches:
    """Fixed shapes of the encoder's calls: ``frames`` per spatial, ``windows`` per temporal one."""

    frames: int
    windows: int


def token_key(
    card: BackboneCard,
    *,
    hop: int | None = None,
    step: int = 1,
    pooling: int | None = None,
    crop: str = WHOLE,
) -> TokenKey:
    """The key of the tokens that a backbone makes with these windows.

    Parameters
    ----------
    card
        The backbone's card.
    hop
        Sampled frames between windows; half a window by default.
    step
        Recording frames between sampled frames.
    pooling
        Tokens a side to which a frame's grid is averaged; `DEFAULT_POOLING` by default.
    crop
        How frames are cut, in words.
    """
    return TokenKey(
        backbone=card.name,
        weights_sha256=card.weights_sha256,
        precision=card.precision,
        trained=card.trained,
        preprocess_version=PREPROCESS_VERSION,
        input_size=card.input_size,
        grid=card.grid,
        width=card.width,
        length=card.frames,
        hop=max(card.frames // 2, 1) if hop is None else hop,
        step=step,
        pooling=min(DEFAULT_POOLING, card.grid) if pooling is None else pooling,
        crop=crop,
    )


def extract(
    recording: Recording,
    backbone: Backbone,
    key: TokenKey,
    path: Path,
    *,
    crop: CropPath | None = None,
    batches: Batches | None = None,
) -> Generator[Progress, None, None]:
    """Fill the token store at ``path``; what is there already is kept.

    Parameters
    ----------
    recording
        The recording.
    backbone, key
        The encoder, and the key that `token_key` made of its card.
    path
        Folder of the token store.
    crop
        Where each frame is cut; frames where that is not valid are left unencoded, like damaged
        ones. None for whole frames.
    batches
        Shapes of the encoder's calls; chosen for the device by default.

    Yields
    ------
    Progress in sampled frames; ``done`` counts those that are safely on disk.

    Raises
    ------
    VideoError
        If the recording cannot be read.
    StorageError
        If the disk does not hold the tokens. What was finished is kept.
    """
    grid = WindowGrid(recording.n_frames, key.length, key.hop, key.step)
    place = "" if crop is None else crop.digest
    store = TokenStore.create(path, key, recording.n_frames, recording.content_key, place)
    on_disk = sum(
        stop - start for start, stop in map(store.block, np.flatnonzero(store.done).tolist())
    )
    yield Progress(on_disk, store.n_rows, recording.id)
    if store.complete:
        return
    _require_space(store, key, recording, on_disk)
    batches = batches or default_batches(backbone.card)
    for first, last in runs(~store.done):
        run = _Run(grid, key.pooling, backbone, batches, crop)
        for block_rows in _write_blocks(run, store, recording, int(first), int(last)):
            on_disk += block_rows
            yield Progress(on_disk, store.n_rows, recording.id)


def default_batches(card: BackboneCard) -> Batches:
    """Batch shapes that suit the device: small ones stay in a CPU's cache, large fill a GPU."""
    small = card.grid**2 * card.width < 64 * 256
    if platform() == "cpu":
        return Batches(frames=16, windows=4) if small else Batches(frames=4, windows=1)
    return Batches(frames=128, windows=32) if small else Batches(frames=64, windows=8)


def _require_space(store: TokenStore, key: TokenKey, recording: Recording, on_disk: int) -> None:
    left = 1 - on_disk / store.n_rows
    needed = int(estimate_bytes(key, recording.n_frames) * left)
    free = shutil.disk_usage(store.path).free
    if needed > free:
        raise StorageError(
            f"The disk is too full for the tokens of {recording.id!r}",
            expected=f"about {needed / 1e6:,.0f} MB free",
            found=f"{free / 1e6:,.0f} MB",
            remedy="Free some space, or store fewer tokens with --pooling 1 or a larger --step.",
        )


def _write_blocks(
    run: _Run, store: TokenStore, recording: Recording, first: int, last: int
) -> Iterator[int]:
    """Write blocks ``first`` to ``last`` (excluded); yields the rows of each as it is done."""

    def empty(block: int) -> np.ndarray:
        start, stop = store.block(block)
        return np.empty((stop - start, *store.shape[1:]), np.float16)

    row, stop = store.block(first)[0], store.block(last - 1)[1]
    block, tokens = first, empty(first)
    for start, kept in run.kept_rows(recording, row, stop):
        while len(kept):
            block_start, block_stop = store.block(block)
            n = min(len(kept), block_stop - start)
            tokens[start - block_start : start - block_start + n] = kept[:n]
            start, kept = start + n, kept[n:]
            if start == block_stop:
                store.write_block(block, tokens, run.valid[block_start:block_stop])
                yield len(tokens)
                block += 1
                if block == last:
                    return
                tokens = empty(block)


def trial(
    recording: Recording,
    backbone: Backbone,
    key: TokenKey,
    rows: int,
    *,
    crop: CropPath | None = None,
    batches: Batches | None = None,
) -> Iterator[int]:
    """Encode the first ``rows`` sampled frames as `extract` does and keep nothing, to time it.

    Yields
    ------
    How many sampled frames were finished, a window at a time.
    """
    grid = WindowGrid(recording.n_frames, key.length, key.hop, key.step)
    run = _Run(grid, key.pooling, backbone, batches or default_batches(backbone.card), crop)
    done = 0
    for _, kept in run.kept_rows(recording, 0, min(rows, grid.n_sampled)):
        done += len(kept)
        yield done


class _Run:
    """Encoding of consecutive sampled frames, such as those of missing blocks."""

    def __init__(
        self,
        grid: WindowGrid,
        pooling: int,
        backbone: Backbone,
        batches: Batches,
        crop: CropPath | None,
    ):
        self.grid = grid
        self.crop = crop
        self.pooling = pooling
        self.backbone = backbone
        self.batches = batches
        span = (batches.windows - 1) * grid.hop + grid.length
        # Room for the windows of one batch, and for the frame batches that straddle its ends.
        n_chunks = -(-span // batches.frames) + 2
        self.ring_rows = n_chunks * batches.frames
        self.valid = np.zeros(grid.n_sampled, dtype=bool)

    def kept_rows(
        self, recording: Recording, row: int, stop: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Pooled tokens of rows ``row`` to ``stop``, window by window, as ``(start, tokens)``.

        One batch of windows is computing while the one before is fetched from the device.
        """
        pending: deque[tuple[int, Array]] = deque()
        for batch in self._window_batches(recording, row, stop):
            pending.append(batch)
            if len(pending) > 1:
                yield from self._keep(*pending.popleft(), row, stop)
        while pending:
            yield from self._keep(*pending.popleft(), row, stop)

    def _keep(
        self, group: int, result: Array, row: int, stop: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        tokens = np.asarray(result)
        for i in range(self.batches.windows):
            window = group * self.batches.windows + i
            if window >= self.grid.n_windows:
                return
            start, end = self.grid.kept(window)
            start, end = max(start, row), min(end, stop)
            if start >= end:
                continue
            offset = self.grid.start(window)
            kept = tokens[i, start - offset : end - offset]
            if not np.isfinite(kept[self.valid[start:end]]).all():
                raise EthoPrismError(
                    f"The backbone gave numbers that are not finite near sampled frame {start}",
                    remedy="The weights are damaged, or overflow in this precision. Nothing of "
                    "this block was stored.",
                )
            yield start, kept

    def _window_batches(
        self, recording: Recording, row: int, stop: int
    ) -> Iterator[tuple[int, Array]]:
        """``(batch index, pooled tokens [windows, frames, y, x, feature])`` on the device."""
        n_windows, n_frames = self.batches.windows, self.batches.frames
        first_group = self.grid.window_of(row) // n_windows
        last_group = self.grid.window_of(stop - 1) // n_windows
        first_chunk = self.grid.start(first_group * n_windows) // n_frames
        last_window = min((last_group + 1) * n_windows, self.grid.n_windows) - 1
        last_chunk = -(-self.grid.stop(last_window) // n_frames)
        card = self.backbone.card
        ring = jnp.zeros((self.ring_rows, card.grid**2, card.width), jnp.float32)
        group = first_group
        with FramesAhead(recording, self.grid, card.input_size, n_frames, self.crop) as decoder:
            for chunk, frames, valid in decoder.chunks(first_chunk, last_chunk):
                rows = slice(chunk * n_frames, chunk * n_frames + len(valid))
                self.valid[rows] = valid
                position = chunk * n_frames % self.ring_rows
                ring = _put(ring, self.backbone.spatial(jnp.asarray(frames)), position)
                while group <= last_group and self._rows_needed(group) <= rows.stop:
                    yield group, self._encode(ring, group)
                    group += 1

    def _rows_needed(self, group: int) -> int:
        last = min((group + 1) * self.batches.windows, self.grid.n_windows) - 1
        return self.grid.stop(last)

    def _encode(self, ring: Array, group: int) -> Array:
        windows = group * self.batches.windows + np.arange(self.batches.windows)
        rows = windows[:, None] * self.grid.hop + np.arange(self.grid.length)
        inside = rows < self.grid.n_sampled
        padding = ~(inside & self.valid[np.minimum(rows, self.grid.n_sampled - 1)])
        tokens = self.backbone.temporal(
            _take(ring, jnp.asarray(rows % self.ring_rows)), jnp.asarray(padding)
        )
        return pool(tokens, self.backbone.card.grid, self.pooling)


@partial(jax.jit, donate_argnums=0)
def _put(ring: Array, tokens: Array, position: Int[Array, ""] | int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(ring, tokens.astype(ring.dtype), position, axis=0)


@jax.jit
def _take(ring: Array, rows: Array) -> Array:
    return ring[rows]


@partial(jax.jit, static_argnums=(1, 2))
def pool(
    tokens: Float[Array, "windows frames tokens width"], grid: int, pooling: int
) -> Float[Array, "windows frames y x width"]:
    """Tokens averaged in float32 over equal squares to ``pooling`` a side, as float16."""
    windows, frames, _, width = tokens.shape
    cell = grid // pooling
    squares = tokens.reshape(windows, frames, pooling, cell, pooling, cell, width)
    return squares.astype(jnp.float32).mean(axis=(3, 5)).astype(jnp.float16)
