"""TokenStore: the tokens of one recording on disk; the only module that writes features.

A zarr v3 group with three arrays, and two more where the backbone embeds video and text in one
space:

``tokens [frame, y, x, feature]``
    float16. One row per sampled frame, pooled spatially. One shard per block of rows, so that a
    block is one file with one writer.
``valid [frame]``
    Whether the frame was there to be encoded; a damaged frame is not.
``done [block]``
    Whether a block is complete. It is set after the block's files are on the disk, so a store that
    was interrupted at any moment is complete as far as it says, and goes on from there.
``frame_embeddings [frame, feature]``
    float16, one a row: unit vectors, or zero where nothing was encoded.
``window_embeddings [block, window of the block, feature]``
    float16. A window belongs to the block that holds the first row that is kept of it, so that
    these too are one file a block. `TokenStore.window_embeddings` gives them by window.

The folder of a store carries the key of what made it: backbone, weights, preprocessing, windows and
pooling (`TokenKey`). Tokens of another key are never read by mistake. ``made_by`` says on what they
were computed: engines of one precision agree, so it is no part of the key.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Bool, Float, Float16

from ethoprism import token_layout
from ethoprism.errors import ProjectError
from ethoprism.files import storage_error, write_json
from ethoprism.safety import check_packed, check_zarr, read_json
from ethoprism.token_key import FORMAT_VERSION, TokenKey
from ethoprism.token_layout import EMBEDDINGS, Layout, remove_leftovers
from ethoprism.windows import WindowGrid

__all__ = ["FORMAT_VERSION", "Block", "TokenKey", "TokenStore", "estimate_bytes"]

_TARGET_SHARD_BYTES = 8 * 2**20
_CHUNK_ROWS = 16


@dataclass(frozen=True, eq=False)
class Block:
    """What a block of a store holds.

    Attributes
    ----------
    index
        Number of the block.
    tokens
        float16 ``[rows, y, x, feature]``.
    valid
        bool ``[rows]``.
    frame_embeddings, window_embeddings
        float16 ``[rows, width]`` and ``[windows, width]`` of the windows that
        `TokenStore.block_windows` names; None where the store has none.
    """

    index: int
    tokens: np.ndarray
    valid: np.ndarray
    frame_embeddings: np.ndarray | None = None
    window_embeddings: np.ndarray | None = None


class TokenStore:
    """The tokens of one recording. Made by `TokenStore.create` or opened by `TokenStore.open`."""

    def __init__(self, path: Path, key: TokenKey, grid: WindowGrid, group: zarr.Group):
        self.path = path
        self.key = key
        self.grid = grid
        self.embedding_width = token_layout.embedding_width(dict(group.attrs))
        """Features of the embeddings; 0 where the store has none."""
        self._tokens = token_layout.array(group, "tokens")
        self._valid = token_layout.array(group, "valid")
        self._done = token_layout.array(group, "done")
        embeddings = EMBEDDINGS if self.embedding_width else ()
        self._embeddings = {name: token_layout.array(group, name) for name in embeddings}
        self.layout = Layout(grid, self._valid.chunks[0])
        self._checked: set[int] = set()  # shards whose stated lengths were looked at

    @property
    def block_rows(self) -> int:
        """Rows of a block; the last one may be shorter."""
        return self.layout.block_rows

    @classmethod
    def create(
        cls,
        path: Path,
        key: TokenKey,
        n_frames: int,
        content_key: str,
        place: str = "",
        *,
        embedding_width: int = 0,
    ) -> TokenStore:
        """The store at ``path``, made empty if it is absent.

        Parameters
        ----------
        path
            Folder of the store, ending in ``.zarr``.
        key
            What makes the tokens.
        n_frames
            Frames of the recording; the store has one row per ``key.step`` of them.
        content_key
            Digest of the recording's content.
        place
            Digest of where its frames are cut; empty for whole frames.
        embedding_width
            Features of the frame and window embeddings that a new store has room for; 0 for none.
            A store that is there stays as it is.

        Raises
        ------
        ProjectError
            If a store of another recording or key lies there.
        StorageError
            If it cannot be written.
        """
        try:
            for stale in path.parent.glob(f".{path.name}.*.tmp"):
                shutil.rmtree(stale, ignore_errors=True)
            if not path.exists():
                attributes: dict[str, Any] = {
                    "key": key.to_dict(),
                    "content_key": content_key,
                    "n_frames": n_frames,
                    "place": place,
                }
                if embedding_width:
                    attributes["embedding_width"] = embedding_width
                layout = Layout(_grid(key, n_frames), _rows_of_block(key))
                token_layout.write_empty(path, key, layout, _CHUNK_ROWS, attributes)
            remove_leftovers(path)
        except OSError as error:
            raise storage_error(error, path) from error
        return cls.open(path, key, n_frames, content_key, place)

    @classmethod
    def open(
        cls, path: Path, key: TokenKey, n_frames: int, content_key: str, place: str = ""
    ) -> TokenStore:
        """The store at ``path``; a `ProjectError` if it is absent or of something else."""
        if not path.exists():
            raise ProjectError(
                f"No tokens of {path.stem!r} with {key.label}, {key.precision}, "
                f"pooling {key.pooling}",
                expected=str(path),
                remedy="Run: ethoprism extract PROJECT",
            )
        try:
            attributes = check_zarr(path, {})
            width = token_layout.embedding_width(attributes)
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error
        expected = {
            "key": key.to_dict(),
            "content_key": content_key,
            "n_frames": n_frames,
            "place": place,
        }
        attributes = {"place": "", **attributes}
        for name, value in expected.items():
            if attributes.get(name) != value:
                what = "region or track" if name == "place" else name.replace("_", " ")
                raise ProjectError(
                    f"The tokens in {path} belong to another {what}",
                    expected=str(value) or "whole frames",
                    found=str(attributes.get(name)) or "whole frames",
                    remedy="Delete that folder and run: ethoprism extract PROJECT -r "
                    + path.stem.partition("@")[0],
                )
        grid = _grid(key, n_frames)
        try:
            group = token_layout.sound_group(path, key, grid, width)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise _damaged(path, str(error)) from error
        return cls(path, key, grid, group)

    @property
    def n_rows(self) -> int:
        """Rows: one per sampled frame."""
        return self._tokens.shape[0]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(rows, y, x, features)``."""
        rows, y, x, features = self._tokens.shape
        return rows, y, x, features

    @property
    def n_blocks(self) -> int:
        """Number of blocks of ``block_rows`` rows; the last one may be shorter."""
        return self._done.shape[0]

    @property
    def done(self) -> Bool[np.ndarray, " blocks"]:
        """Which blocks are complete."""
        return self._read(self._done, 0, self.n_blocks)

    @property
    def complete(self) -> bool:
        """Whether every block is there."""
        return bool(self.done.all())

    def require_complete(self) -> None:
        """Raise a `ProjectError` that names the remedy unless every block is there."""
        if not self.complete:
            raise ProjectError(
                f"The tokens of {self.path.stem!r} are not complete",
                expected=f"{self.n_blocks} blocks",
                found=f"{int(self.done.sum())}",
                remedy="Run: ethoprism extract PROJECT (it goes on where it stopped)",
            )

    def require_embeddings(self) -> None:
        """Raise a `ProjectError` that names the remedy unless the store has embeddings."""
        if not self.embedding_width:
            raise ProjectError(
                f"The tokens of {self.path.stem!r} have no embeddings to search by text",
                expected="tokens of a video-text backbone, such as videoprism-lvt-base",
                found=f"{self.key.label}, without embeddings",
                remedy="If the backbone is a video-text one, these tokens are of an earlier "
                f"version: delete {self.path} and run: ethoprism extract PROJECT",
            )

    def block(self, index: int) -> tuple[int, int]:
        """Half-open range of the rows of a block."""
        return self.layout.rows(index)

    def block_windows(self, index: int) -> tuple[int, int]:
        """Half-open range of the windows whose embeddings lie in a block."""
        return self.layout.windows(index)

    def put(self, block: Block) -> None:
        """Have a block on the disk, not yet marked as done.

        Blocks may be written by several threads or processes at once.
        """
        start, stop = self.block(block.index)
        first, last = self.block_windows(block.index)
        if len(block.tokens) != stop - start:
            raise ValueError(
                f"block {block.index} has {stop - start} rows, got {len(block.tokens)}"
            )
        parts = {"tokens": (self._tokens, block.tokens), "valid": (self._valid, block.valid)}
        if self.embedding_width:
            frames, windows = block.frame_embeddings, block.window_embeddings
            if frames is None or windows is None or len(windows) != last - first:
                raise ValueError(f"block {block.index} lacks embeddings")
            filled = np.zeros(self._embeddings[EMBEDDINGS[1]].chunks, np.float16)
            filled[0, : last - first] = windows
            for name, values in zip(EMBEDDINGS, (frames, filled), strict=True):
                parts[name] = (self._embeddings[name], values)
        for name, (array, values) in parts.items():
            token_layout.put(self.path, name, array, block.index, values.astype(array.dtype))
        self._checked.discard(block.index)

    def mark_done(self, index: int) -> None:
        """Say that a block is complete, once `put` has it on the disk."""
        try:
            self._done[index] = True
        except OSError as error:
            raise storage_error(error, self.path) from error

    def write_block(
        self,
        index: int,
        tokens: Float[np.ndarray, "rows y x features"],
        valid: Bool[np.ndarray, " rows"],
        frame_embeddings: Float[np.ndarray, "rows width"] | None = None,
        window_embeddings: Float[np.ndarray, "windows width"] | None = None,
    ) -> None:
        """Write one block, have it on the disk, then mark it as done."""
        self.put(Block(index, tokens, valid, frame_embeddings, window_embeddings))
        self.mark_done(index)

    @property
    def made_by(self) -> list[dict[str, str]]:
        """On what the tokens were computed: an entry for each combination that took part."""
        entries = read_json(self.path / "zarr.json")["attributes"].get("made_by", [])
        return [entry for entry in entries if isinstance(entry, dict)]

    def sign(self, maker: Mapping[str, str]) -> None:
        """Add a combination of engine, version, device and precision to `made_by`."""
        file = self.path / "zarr.json"
        try:
            group = read_json(file)
        except (OSError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error
        makers = group["attributes"].setdefault("made_by", [])
        if dict(maker) not in makers:
            makers.append(dict(maker))
            write_json(file, group)

    def frame_embeddings(
        self, start: int = 0, stop: int | None = None
    ) -> Float16[np.ndarray, "rows width"]:
        """Embeddings of a half-open range of rows; zero where nothing was encoded."""
        self.require_embeddings()
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        return self._read(self._embeddings["frame_embeddings"], start, stop)

    def window_embeddings(
        self, start: int = 0, stop: int | None = None
    ) -> Float16[np.ndarray, "windows width"]:
        """Embeddings of a half-open range of windows; `grid` says of which frames."""
        self.require_embeddings()
        start, stop, _ = slice(start, stop).indices(self.grid.n_windows)
        result = np.zeros((max(stop - start, 0), self.embedding_width), np.float16)
        for block in range(self.n_blocks):
            first, last = self.block_windows(block)
            low, high = max(first, start), min(last, stop)
            if low < high:
                part = self._read(self._embeddings["window_embeddings"], block, block + 1)[0]
                result[low - start : high - start] = part[low - first : high - first]
        return result

    def tokens(self, start: int = 0, stop: int | None = None) -> Float16[np.ndarray, "n y x f"]:
        """Tokens of a half-open range of rows."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        self._check_shards(start // self.block_rows, -(-stop // self.block_rows))
        return self._read(self._tokens, start, stop)

    def valid(self, start: int = 0, stop: int | None = None) -> Bool[np.ndarray, " rows"]:
        """Rows whose frame was encoded: it lies in a finished block and was not damaged."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        first, last = start // self.block_rows, -(-stop // self.block_rows)
        # Each flag is a file: a reader that goes through the rows must not read all of them anew.
        done = self._read(self._done, first, last)
        offset = first * self.block_rows
        finished = np.repeat(done, self.block_rows)[start - offset : stop - offset]
        return self._read(self._valid, start, stop) & finished

    def _check_shards(self, first: int, last: int) -> None:
        """Refuse shards that would unpack to more than their rows, each once."""
        shard, chunk = self._tokens.shards or self._tokens.chunks, self._tokens.chunks
        bytes_of_chunk = int(np.prod(chunk)) * 2
        for block in set(range(first, last)) - self._checked:
            file = self.path / "tokens" / "c" / str(block) / "0" / "0" / "0"
            try:
                if file.exists():
                    check_packed(file, bytes_of_chunk, int(np.prod(shard)) // int(np.prod(chunk)))
            except (OSError, ValueError) as error:
                raise _damaged(self.path, str(error)) from error
            self._checked.add(block)

    def _read(self, array: zarr.Array[Any], start: int, stop: int) -> np.ndarray:
        try:
            return np.asarray(array[start:stop])
        except (OSError, ValueError, RuntimeError, TypeError, AssertionError) as error:
            raise _damaged(self.path, str(error)) from error


def estimate_bytes(key: TokenKey, n_frames: int, embedding_width: int = 0) -> int:
    """Bytes on disk of a recording's tokens, before compression (which saves little)."""
    grid = _grid(key, n_frames)
    embeddings = (grid.n_sampled + grid.n_windows) * embedding_width
    return (grid.n_sampled * key.pooling**2 * key.width + embeddings) * 2


def _grid(key: TokenKey, n_frames: int) -> WindowGrid:
    return WindowGrid(n_frames, key.length, key.hop, key.step)


def _rows_of_block(key: TokenKey) -> int:
    """Rows of a block: they do not depend on the recording, so stores of a project are alike."""
    row_bytes = key.pooling**2 * key.width * 2
    per_shard = _TARGET_SHARD_BYTES // row_bytes // _CHUNK_ROWS * _CHUNK_ROWS
    return min(max(per_shard, _CHUNK_ROWS), 1024)


def _damaged(path: Path, found: str) -> ProjectError:
    return ProjectError(
        f"The token store {path} is damaged",
        expected="the arrays tokens, valid and done as they were written",
        found=found,
        remedy="Delete that folder and extract again.",
    )
