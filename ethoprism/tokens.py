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

from ethoprism.crops import WHOLE
from ethoprism.errors import InputError, ProjectError
from ethoprism.files import storage_error, sync
from ethoprism.safety import check_packed, check_zarr

FORMAT_VERSION = 1
_TARGET_SHARD_BYTES = 8 * 2**20
_CHUNK_ROWS = 16
_LARGEST = 2**20  # of any number in a key that is read from a file


@dataclass(frozen=True)
class TokenKey:
    """Everything that the numbers in a token store depend on, besides the recording itself.

    ``crop`` says how a frame is cut, in words (`ethoprism.crops.Crop.text`). Where it is cut
    differs from recording to recording, and is known by the store's own ``place``. So a probe fits
    every recording that is cut by the same rule.
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
    crop: str = WHOLE
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
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The backbone's name as every output shows it."""
        return self.backbone if self.trained else f"{self.backbone} (untrained)"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to cards; without ``crop`` where frames are whole.

        So the tokens and probes from before there were crops stay in use.
        """
        fields = asdict(self)
        if self.crop == WHOLE:
            del fields["crop"]
        return fields

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TokenKey:
        """The key that `to_dict` described; a `ProjectError` where fields differ."""
        data = {"crop": WHOLE, **data}
        fields = set(cls.__dataclass_fields__)
        if set(data) != fields:
            raise ProjectError(
                "A token key cannot be read",
                expected=", ".join(sorted(fields)),
                found=", ".join(sorted(data)),
                remedy="It was made by another version of EthoPrism; extract the tokens again.",
            )
        kinds = {"str": str, "int": int, "bool": bool}
        for name, field in cls.__dataclass_fields__.items():
            value = data[name]
            sound = type(value) is kinds[str(field.type)]
            if not sound or (type(value) is int and not 0 <= value <= _LARGEST):
                raise ProjectError(
                    "A token key cannot be read",
                    expected=f"{name}: {field.type}",
                    found=repr(value)[:80],
                    remedy="Extract the tokens again.",
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
        self._checked: set[int] = set()  # shards whose stated lengths were looked at

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
        try:
            attributes = check_zarr(path, {})
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
        return cls(path, key, _sound_group(path, key, n_frames))

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
            self._checked.discard(index)
            self._done[index] = True
        except OSError as error:
            raise storage_error(error, self.path) from error

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


def _sound_group(path: Path, key: TokenKey, n_frames: int) -> zarr.Group:
    """The group of a store whose arrays have the shapes, types and codecs that they should."""
    rows = -(-n_frames // key.step)
    arrays = {
        "tokens": ((rows, key.pooling, key.pooling, key.width), "float16"),
        "valid": ((rows,), "bool"),
        "done": (None, "bool"),
    }
    whole = (key.pooling, key.pooling, key.width)
    try:
        check_zarr(path, arrays)
        group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
        tokens, valid, done = (_array(group, name) for name in arrays)
        block, shard = valid.chunks[0], tokens.shards or ()
        if done.shape != (-(-rows // block),) or shard != (block, *whole):
            raise ValueError(f"its blocks do not have {block} rows")
        if tokens.chunks[1:] != whole or block % tokens.chunks[0]:
            raise ValueError(f"its chunks are {tokens.chunks}")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(path, str(error)) from error
    return group


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise _damaged(Path(str(group.store_path)), f"{type(array).__name__} {name!r}")
    return array


def _damaged(path: Path, found: str) -> ProjectError:
    return ProjectError(
        f"The token store {path} is damaged",
        expected="the arrays tokens, valid and done as they were written",
        found=found,
        remedy="Delete that folder and extract again.",
    )
