"""Extraction: one recording through a frozen backbone into a token store, resumably.

Frames are decoded once, in order, in a thread ahead of the encoder; blocks of tokens are packed and
written in a thread behind it. Between the three lie queues of a few batches, so memory is constant
in the recording's length.

Batches are aligned to the recording, not to where a run starts: batch i holds the same frames and
the same windows in every run, so a run that was interrupted and continued computes each number from
the same inputs in the same shapes, and its store equals that of an uninterrupted run byte for byte.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from ethoprism.annotation import runs
from ethoprism.backbones.preprocess import PREPROCESS_VERSION
from ethoprism.backbones.spec import Backbone, BackboneCard, platform
from ethoprism.blocks_behind import BlocksBehind
from ethoprism.crops import WHOLE, Focus, Place, place_digest
from ethoprism.errors import StorageError
from ethoprism.frames_ahead import FramesAhead
from ethoprism.progress import Progress
from ethoprism.recording import Recording
from ethoprism.tokens import Block, TokenKey, TokenStore, estimate_bytes
from ethoprism.window_encoder import Batches, Rows, WindowEncoder, default_batches
from ethoprism.windows import WindowGrid

DEFAULT_POOLING = 4


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
    crop: Place | None = None,
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
        ones. A `Focus` is the part of whole frames whose tokens are kept. None for whole frames.
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
    store = TokenStore.create(
        path,
        key,
        recording.n_frames,
        recording.content_key,
        place_digest(crop),
        embedding_width=backbone.card.embedding_width,
    )
    on_disk = sum(
        stop - start for start, stop in map(store.block, np.flatnonzero(store.done).tolist())
    )
    yield Progress(on_disk, store.n_rows, recording.id)
    if store.complete:
        return
    _require_space(store, key, recording, on_disk)
    batches = batches or settled_batches(store, backbone)
    store.sign(maker(backbone, batches))
    for first, last in runs(~store.done):
        blocks = encoded_blocks(
            recording, backbone, store, int(first), int(last), crop=crop, batches=batches
        )
        with BlocksBehind(store) as writer, closing(blocks):
            for block in blocks:
                for rows in writer.put(block):
                    on_disk += rows
                    yield Progress(on_disk, store.n_rows, recording.id)
            for rows in writer.finish():
                on_disk += rows
                yield Progress(on_disk, store.n_rows, recording.id)


def settled_batches(store: TokenStore, backbone: Backbone) -> Batches:
    """The shapes that the store was begun with, or those that suit this device.

    Other shapes round differently, and on a GPU they follow its free memory, which another program
    may have taken in the meantime. Shapes that are now too large are not taken up again.
    """
    suited = default_batches(backbone.card)
    for entry in reversed(store.made_by):
        frames, _, windows = str(entry.get("batches", "")).partition("x")
        if not (frames.isdecimal() and windows.isdecimal()):
            continue
        known = Batches(int(frames), int(windows))
        fits = 0 < known.frames <= suited.frames and 0 < known.windows <= suited.windows
        if fits and entry == maker(backbone, known):
            return known
    return suited


def maker(backbone: Backbone, batches: Batches | None = None) -> dict[str, str]:
    """Engine, version, device and precision that a backbone computes with, for `TokenStore.sign`.

    A backbone that does not compute with JAX says so by a method ``engine_stamp``. The shapes of
    the calls are added where they depend on more than the kind of the device.
    """
    stamp = getattr(backbone, "engine_stamp", None)
    if stamp is not None:
        return dict(stamp())
    import jax

    device = jax.devices()[0]
    shapes = {"batches": f"{batches.frames}x{batches.windows}"} if batches else {}
    return {
        "engine": "jax",
        "version": jax.__version__,
        "device": " ".join(dict.fromkeys((device.platform, device.device_kind))),
        "precision": backbone.card.precision,
        **({} if platform() == "cpu" else shapes),
    }


def _require_space(store: TokenStore, key: TokenKey, recording: Recording, on_disk: int) -> None:
    left = 1 - on_disk / store.n_rows
    needed = int(estimate_bytes(key, recording.n_frames, store.embedding_width) * left)
    free = shutil.disk_usage(store.path).free
    if needed > free:
        raise StorageError(
            f"The disk is too full for the tokens of {recording.id!r}",
            expected=f"about {needed / 1e6:,.0f} MB free",
            found=f"{free / 1e6:,.0f} MB",
            remedy="Free some space, or store fewer tokens with --pooling 1 or a larger --step.",
        )


def encoded_blocks(
    recording: Recording,
    backbone: Backbone,
    store: TokenStore,
    first: int,
    last: int,
    *,
    crop: Place | None = None,
    batches: Batches | None = None,
) -> Generator[Block, None, None]:
    """Blocks ``first`` to ``last`` (excluded) of a store, as `extract` computes them.

    Nothing is written. The numbers do not depend on which blocks are computed together.
    """
    run = _encoder(store.grid, store.key, backbone, crop, batches)
    row, stop = store.block(first)[0], store.block(last - 1)[1]
    block = _empty(store, first)
    for rows in _kept_rows(run, recording, crop, row, stop):
        at = rows.start
        while at < rows.start + len(rows.tokens):
            at = _fill(block, store, rows, at)
            if at == store.block(block.index)[1]:
                block.valid[:] = run.valid[slice(*store.block(block.index))]
                yield block
                if block.index + 1 == last:
                    return
                block = _empty(store, block.index + 1)


def _encoder(
    grid: WindowGrid,
    key: TokenKey,
    backbone: Backbone,
    crop: Place | None,
    batches: Batches | None,
) -> WindowEncoder:
    focus = crop if isinstance(crop, Focus) else None
    return WindowEncoder(grid, key.pooling, backbone, batches, focus=focus)


def _empty(store: TokenStore, index: int) -> Block:
    start, stop = store.block(index)
    first, last = store.block_windows(index)
    n, width = stop - start, store.embedding_width
    embeddings = [np.zeros((k, width), np.float16) if width else None for k in (n, last - first)]
    tokens = np.empty((n, *store.shape[1:]), np.float16)
    return Block(index, tokens, np.zeros(n, dtype=bool), *embeddings)


def _fill(block: Block, store: TokenStore, rows: Rows, at: int) -> int:
    """Put the rows from row ``at`` on into a block as far as they belong there; the next row."""
    start, stop = store.block(block.index)
    stop = min(stop, rows.start + len(rows.tokens))
    here, there = slice(at - start, stop - start), slice(at - rows.start, stop - rows.start)
    block.tokens[here] = rows.tokens[there]
    if block.frame_embeddings is not None and rows.frame_embeddings is not None:
        block.frame_embeddings[here] = rows.frame_embeddings[there]
    if block.window_embeddings is not None and rows.window_embedding is not None:
        first, last = store.block_windows(block.index)
        if first <= rows.window < last:
            block.window_embeddings[rows.window - first] = rows.window_embedding
    return stop


def _kept_rows(
    run: WindowEncoder, recording: Recording, crop: Place | None, row: int, stop: int
) -> Iterator[Rows]:
    chunks, size = run.chunks(row, stop), run.backbone.card.input_size
    to_device = getattr(run.backbone, "to_device", None)
    path = None if isinstance(crop, Focus) else crop
    with FramesAhead(recording, run.grid, size, run.batches.frames, path, to_device) as ahead:
        yield from run.kept_rows(ahead.chunks(chunks.start, chunks.stop), row, stop)


def trial(
    recording: Recording,
    backbone: Backbone,
    key: TokenKey,
    rows: int,
    *,
    crop: Place | None = None,
    batches: Batches | None = None,
) -> Iterator[int]:
    """Encode the first ``rows`` sampled frames as `extract` does and keep nothing, to time it.

    Yields
    ------
    How many sampled frames were finished, a window at a time.
    """
    grid = WindowGrid(recording.n_frames, key.length, key.hop, key.step)
    run = _encoder(grid, key, backbone, crop, batches)
    done, stop = 0, min(rows, grid.n_sampled)
    for kept in _kept_rows(run, recording, crop, 0, stop):
        done += len(kept.tokens)
        yield done
