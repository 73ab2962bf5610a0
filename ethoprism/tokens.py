"""TokenStore: the tokens of one recording on disk; the only module that writes features.

A zarr v3 group with three arrays:

``tokens [frame, y, x, feature]``
    float16. One row per sampled frame, pooled spatially. One shard per block of rows, so that a
    block is one file with one writer.
``valid [frame]``
    Whether the frame was there to be encoded; a damaged frame is not.
``done [block]``
    Whether a block is complete. It is set after the block's files are on the disk, so a store that
    was interrupted at any moment is complete as far as it says, and goes on from there.

The folder of a store carries the key of what made it: backbone, weights, preprocessing, windows and
pooling (`TokenKey`). Tokens of another key are never read by mistake.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from jaxtyping import Bool, Float, Float16
from zarr.codecs import ZstdCodec

from ethoprism.errors import InputError, ProjectError
from ethoprism.files import storage_error, sync

FORMAT_VERSION = 2
_TARGET_SHARD_BYTES = 8 * 2**20
_CHUNK_ROWS = 16


@dataclass(frozen=True)
class TokenKey:
    """Everything that the numbers in a token store depend on, besides the recording itself.

    ``crop`` says how a frame is cut, in words (`ethoprism.subjects.Crop.text`). Where it is cut
    differs from recording to recording, and is known by the store's own ``place``.
    """

    backbone: str
    weights_sha256: str
    precision: str
    trained: bool
    preprocess_version: int
    input_size: int
    grid: int
    width: int
    length: int
    hop: int
    step: int
    pooling: int
    crop: str = "whole"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.pooling < 1 or self.grid % self.pooling:
            raise InputError(
                f"Tokens on a {self.grid}×{self.grid} grid cannot be pooled to "
                f"{self.pooling} a side",
                expected="a divisor of the grid's side: "
                + ", ".join(str(d) for d in range(1, self.grid + 1) if self.grid % d == 0),
                found=str(self.pooling),
            )

    @property
    def digest(self) -> str:
        """16 hex digits that name the folder of the tokens."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The backbone's name as every output shows it."""
        return self.backbone if self.trained else f"{self.backbone} (untrained)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to cards."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TokenKey:
        """The key that `to_dict` described; a `ProjectError` where fields differ."""
        fields = set(cls.__dataclass_fields__)
        if set(data) != fields:
            raise ProjectError(
                "A token key cannot be read",
                expected=", ".join(sorted(fields)),
                found=", ".join(sorted(data)),
                remedy="It was made by another version of EthoPrism; extract the tokens again.",
            )
        return cls(**data)


class TokenStore:
    """The tokens of one recording. Made by `TokenStore.create` or opened by `TokenStore.open`."""

    def __init__(self, path: Path, key: TokenKey, group: zarr.Group):
        self.path = path
        self.key = key
        self._tokens = _array(group, "tokens")
        self._valid = _array(group, "valid")
        self._done = _array(group, "done")
        self.block_rows: int = self._valid.chunks[0]

    @classmethod
    def create(
        cls, path: Path, key: TokenKey, n_frames: int, content_key: str, place: str = ""
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
                _write_empty(path, key, n_frames, content_key, place)
            for partial in path.rglob("*.partial"):
                partial.unlink(missing_ok=True)
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
                f"No tokens of {path.stem!r} with {key.label}, pooling {key.pooling}",
                expected=str(path),
                remedy="Run: ethoprism extract PROJECT",
            )
        group = zarr.open_group(path, mode="r+")
        attributes = dict(group.attrs)
        expected = {
            "key": key.to_dict(),
            "content_key": content_key,
            "n_frames": n_frames,
            "place": place,
        }
        for name, value in expected.items():
            if attributes.get(name) != value:
                raise ProjectError(
                    f"The tokens in {path} belong to another {name.replace('_', ' ')}",
                    expected=str(value),
                    found=str(attributes.get(name)),
                    remedy=f"Delete that folder and run: ethoprism extract PROJECT -r {path.stem}",
                )
        return cls(path, key, group)

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
        return np.asarray(self._done[:])

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

    def block(self, index: int) -> tuple[int, int]:
        """Half-open range of the rows of a block."""
        return index * self.block_rows, min((index + 1) * self.block_rows, self.n_rows)

    def write_block(
        self,
        index: int,
        tokens: Float[np.ndarray, "rows y x features"],
        valid: Bool[np.ndarray, " rows"],
    ) -> None:
        """Write one block, have it on the disk, then mark it as done."""
        start, stop = self.block(index)
        if len(tokens) != stop - start:
            raise ValueError(f"block {index} has {stop - start} rows, got {len(tokens)}")
        files = (
            self.path / "tokens" / "c" / str(index) / "0" / "0" / "0",
            self.path / "valid" / "c" / str(index),
        )
        try:
            for file in files:  # zarr would read what a power cut may have left of them
                file.unlink(missing_ok=True)
            self._tokens[start:stop] = tokens.astype(np.float16)
            self._valid[start:stop] = valid
            for file in files:
                if file.exists():  # a chunk that holds only the fill value is not written
                    sync(file)
            self._done[index] = True
        except OSError as error:
            raise storage_error(error, self.path) from error

    def tokens(self, start: int = 0, stop: int | None = None) -> Float16[np.ndarray, "n y x f"]:
        """Tokens of a half-open range of rows."""
        return np.asarray(self._tokens[start:stop])

    def valid(self, start: int = 0, stop: int | None = None) -> Bool[np.ndarray, " rows"]:
        """Rows whose frame was encoded: it lies in a finished block and was not damaged."""
        start, stop, _ = slice(start, stop).indices(self.n_rows)
        first, last = start // self.block_rows, -(-stop // self.block_rows)
        # Each flag is a file: a reader that goes through the rows must not read all of them anew.
        done = np.asarray(self._done[first:last])
        offset = first * self.block_rows
        finished = np.repeat(done, self.block_rows)[start - offset : stop - offset]
        return np.asarray(self._valid[start:stop]) & finished


def estimate_bytes(key: TokenKey, n_frames: int) -> int:
    """Bytes on disk of a recording's tokens, before compression (which saves little)."""
    return -(-n_frames // key.step) * key.pooling**2 * key.width * 2


def _write_empty(path: Path, key: TokenKey, n_frames: int, content_key: str, place: str) -> None:
    """Make the store under another name and rename it, so that it is never seen half-made."""
    rows = -(-n_frames // key.step)
    row_bytes = key.pooling**2 * key.width * 2
    # The block does not depend on the recording's length: stores of a project are laid out alike.
    per_shard = _TARGET_SHARD_BYTES // row_bytes // _CHUNK_ROWS * _CHUNK_ROWS
    block = min(max(per_shard, _CHUNK_ROWS), 1024)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    group = zarr.create_group(
        temporary,
        zarr_format=3,
        attributes={
            "key": key.to_dict(),
            "content_key": content_key,
            "n_frames": n_frames,
            "place": place,
        },
    )
    group.create_array(
        "tokens",
        shape=(rows, key.pooling, key.pooling, key.width),
        dtype="float16",
        chunks=(_CHUNK_ROWS, key.pooling, key.pooling, key.width),
        shards=(block, key.pooling, key.pooling, key.width),
        compressors=ZstdCodec(level=1),
        fill_value=0,
        dimension_names=("frame", "y", "x", "feature"),
    )
    group.create_array(
        "valid", shape=(rows,), dtype="bool", chunks=(block,), compressors=None, fill_value=False
    )
    # One chunk per flag: blocks may be written by several workers at once.
    group.create_array(
        "done",
        shape=(-(-rows // block),),
        dtype="bool",
        chunks=(1,),
        compressors=None,
        fill_value=False,
    )
    temporary.rename(path)


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ProjectError(
            f"The token store {group.store_path} is damaged",
            expected=f"an array {name!r}",
            found=type(array).__name__,
            remedy="Delete that folder and extract again.",
        )
    return array
