"""The arrays of a token store on disk: made empty, checked, and packed a block at a time.

Every array is cut in such a way that a block of rows is one file of it, with one writer.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore

from ethoprism.files import replacing, storage_error
from ethoprism.safety import check_zarr
from ethoprism.token_key import LARGEST, TokenKey
from ethoprism.windows import WindowGrid

EMBEDDINGS = ("frame_embeddings", "window_embeddings")
_FILES = {  # of block {}
    "tokens": "c/{}/0/0/0",
    "valid": "c/{}",
    "done": "c/{}",
    "frame_embeddings": "c/{}/0",
    "window_embeddings": "c/{}/0/0",
}


@dataclass(frozen=True)
class Layout:
    """Which rows and windows lie in which block.

    Attributes
    ----------
    grid
        The windows over the recording; a row is a sampled frame.
    block_rows
        Rows of a block; the last one may be shorter.
    """

    grid: WindowGrid
    block_rows: int

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.grid.n_sampled // self.block_rows)

    @property
    def most_windows(self) -> int:
        """The most windows of which the first kept row lies in one block."""
        return -(-self.block_rows // self.grid.hop) + 1  # the very first begins out of turn

    def rows(self, block: int) -> tuple[int, int]:
        """Half-open range of the rows of a block."""
        start = block * self.block_rows
        return start, min(start + self.block_rows, self.grid.n_sampled)

    def windows(self, block: int) -> tuple[int, int]:
        """Half-open range of the windows of which the first kept row lies in a block."""
        start, stop = self.rows(block)
        first = 0 if start == 0 else self.grid.window_of(start - 1) + 1
        return first, self.grid.window_of(stop - 1) + 1


def write_empty(
    path: Path, key: TokenKey, layout: Layout, chunk_rows: int, attributes: dict[str, Any]
) -> None:
    """Make a store under another name and rename it, so that it is never seen half-made.

    ``chunk_rows`` rows are packed together; a block is a whole number of them.
    """
    rows, block, width = layout.grid.n_sampled, layout.block_rows, embedding_width(attributes)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    group = zarr.create_group(temporary, zarr_format=3, attributes=attributes)
    group.create_array(
        "tokens",
        shape=(rows, key.pooling, key.pooling, key.width),
        dtype="float16",
        chunks=(chunk_rows, key.pooling, key.pooling, key.width),
        shards=(block, key.pooling, key.pooling, key.width),
        compressors=ZstdCodec(level=1),
        fill_value=0,
        dimension_names=("frame", "y", "x", "feature"),
    )

    def plain(name: str, shape: tuple[int, ...], chunks: tuple[int, ...], dtype: str) -> None:
        group.create_array(
            name, shape=shape, dtype=dtype, chunks=chunks, compressors=None, fill_value=0
        )

    plain("valid", (rows,), (block,), "bool")
    # One chunk per flag: blocks may be written by several workers at once.
    plain("done", (layout.n_blocks,), (1,), "bool")
    if width:
        each = (layout.most_windows, width)
        plain("frame_embeddings", (rows, width), (block, width), "float16")
        plain("window_embeddings", (layout.n_blocks, *each), (1, *each), "float16")
    temporary.rename(path)


def sound_group(path: Path, key: TokenKey, grid: WindowGrid, width: int) -> zarr.Group:
    """The group of a store whose arrays have the shapes, types and codecs that they should.

    ``width`` is that of the embeddings, 0 for none.

    Raises
    ------
    ValueError, KeyError, TypeError, RuntimeError, OSError
        If something is not as it should be.
    """
    whole = (key.pooling, key.pooling, key.width)
    arrays: dict[str, tuple[tuple[int, ...] | None, str]] = {
        "tokens": ((grid.n_sampled, *whole), "float16"),
        "valid": ((grid.n_sampled,), "bool"),
        "done": (None, "bool"),
    }
    if width:
        arrays["frame_embeddings"] = ((grid.n_sampled, width), "float16")
        arrays["window_embeddings"] = (None, "float16")
    check_zarr(path, arrays)
    group = zarr.open_group(path, mode="r+", zarr_format=3, use_consolidated=False)
    tokens, valid, done = (array(group, name) for name in ("tokens", "valid", "done"))
    block, shard = valid.chunks[0], tokens.shards or ()
    layout = Layout(grid, block)
    if done.shape != (layout.n_blocks,) or shard != (block, *whole):
        raise ValueError(f"its blocks do not have {block} rows")
    if tokens.chunks[1:] != whole or block % tokens.chunks[0]:
        raise ValueError(f"its chunks are {tokens.chunks}")
    if width:
        frames, windows = (array(group, name) for name in EMBEDDINGS)
        each = (layout.most_windows, width)
        if frames.chunks != (block, width) or windows.chunks != (1, *each):
            raise ValueError("its embeddings are not laid out in its blocks")
        if windows.shape != (layout.n_blocks, *each):
            raise ValueError(f"its window embeddings have the shape {windows.shape}")
    return group


def array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array of a group; a ``ValueError`` where it is none."""
    found = group[name]
    if not isinstance(found, zarr.Array):
        raise ValueError(f"{name!r} is a {type(found).__name__}")
    return found


def embedding_width(attributes: dict[str, Any]) -> int:
    """Width of the embeddings by a store's attributes, 0 for none; ``ValueError`` if absurd."""
    width = attributes.get("embedding_width", 0)
    if type(width) is not int or not 0 <= width <= LARGEST:
        raise ValueError(f"it states embeddings of {str(width)[:40]} features")
    return width


def file_of(path: Path, name: str, block: int) -> Path:
    """The file of a block of an array."""
    return path / name / _FILES[name].format(block)


def put(path: Path, name: str, values: zarr.Array[Any], block: int, rows: np.ndarray) -> None:
    """Have a block of an array on the disk: the old file or the new one, never half of one.

    Raises
    ------
    StorageError
        If the disk does not hold it.
    """
    file = file_of(path, name, block)
    content = _packed(values, block, rows, str(file.relative_to(path / name)))
    if content is None:  # all of it is the fill value, for which zarr keeps no file
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(error, file) from error
        return
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def _packed(values: zarr.Array[Any], block: int, rows: np.ndarray, file: str) -> bytes | None:
    """The file of a block as zarr packs it; None where all of it is the fill value."""
    files: dict[str, Any] = {}
    each = (values.shards or values.chunks)[0]
    # The same block of a twin in memory, of which it is the first: shorter where it is the last.
    twin = zarr.create_array(
        MemoryStore(files),
        shape=(len(rows), *values.shape[1:]),
        dtype=values.dtype,
        chunks=values.chunks,
        shards=values.shards,
        compressors=values.compressors,
        fill_value=values.fill_value,
    )
    if len(rows) > each:
        raise ValueError(f"{len(rows)} rows do not fit into blocks of {each}")
    twin[:] = rows
    first = file.replace(str(block), "0", 1)
    return files[first].to_bytes() if first in files else None


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that processes which were killed left in a store."""
    for pattern in ("*.partial", ".*.tmp"):
        for leftover in path.rglob(pattern):
            leftover.unlink(missing_ok=True)
