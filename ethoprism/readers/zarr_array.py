"""Arrays of frames in zarr folders, formats 2 and 3, also OME-Zarr; read by zarr."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._arrays import Layout, layout
from ethoprism.readers._frames import Frames, changed, check_size, findings, unreadable
from ethoprism.readers._pixels import check_pixels, dark_note, stated_bits, to_rgb
from ethoprism.recording import Recording
from ethoprism.recording import content_key as file_key
from ethoprism.safety import read_json

_WHAT = "a zarr folder with an array of frames"
_MARKS = ("zarr.json", ".zarray", ".zgroup")
_MOST_CHUNK = 2**30
_CACHE = 2**28  # bytes of the frames of one chunk that are kept
_DEEPEST = 4
_MOST_FOLDERS = 10_000
_SAMPLED = 32
_CODECS_2 = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta"}
_CODECS_3 = {
    "bytes", "zstd", "gzip", "blosc", "crc32c", "transpose", "sharding_indexed", "numcodecs.zlib",
    "numcodecs.lz4", "numcodecs.bz2", "numcodecs.lzma", "numcodecs.shuffle", "numcodecs.delta",
}  # fmt: skip
_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, AttributeError,
    OverflowError, MemoryError, ZeroDivisionError, EOFError, NotImplementedError,
)  # fmt: skip
"""What zarr and its codecs raise for damaged folders."""

_AXES = {"t": "T", "time": "T", "z": "Z", "c": "C", "channel": "C", "y": "Y", "x": "X"}
_AXES |= {"height": "Y", "width": "X", "frame": "T", "frames": "T", "rows": "Y", "columns": "X"}


def matches(path: Path) -> bool:
    """Whether it is a folder with the metadata of zarr in it."""
    try:
        return path.is_dir() and any((path / mark).is_file() for mark in _MARKS)
    except OSError:
        return False


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of an array; ``array`` is its path within the group.

    Raises
    ------
    InputError
        If there are several arrays of frames and none is named, or not the one that is named.
    VideoError
        If the array cannot be read, or needs a codec that is not trusted.
    """
    values, plan, bits = _open(path, array)
    try:
        first = np.asarray(values[plan.key(0)])
    except _ERRORS as error:
        raise unreadable(path, "a first frame that can be read", error) from error
    if to_rgb(plan.upright(first), bits) is None:
        raise unreadable(path, "floating-point pixels from 0 to 1", f"values up to {first.max()}")
    notes = (plan.note,) if plan.note else ()
    notes += dark_note(first, bits)
    try:
        absent = values.nchunks - values.nchunks_initialized
    except _ERRORS:
        absent = 0
    if absent > 0:
        notes += (
            f"{absent:,} of {values.nchunks:,} chunks are absent and show one value; they may have"
            " been empty, or not copied",
        )
    return Contents(*plan.size, None, findings(None, (), notes, pixels=str(values.dtype)))


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the array is not the one that was imported.
    """
    path = recording.path
    values, plan, bits = _open(path, recording.array)
    if plan.size != (recording.n_frames, recording.height, recording.width):
        raise changed(path)

    each = math.prod(plan.size[1:]) * values.dtype.itemsize
    many = int(values.chunks[plan.time]) if plan.time >= 0 else 1
    many = many if many * each <= _CACHE else 1
    kept: dict[int, np.ndarray] = {}

    def get(n: int) -> np.ndarray | None:
        try:
            if plan.time < 0 or many == 1:
                return to_rgb(plan.upright(np.asarray(values[plan.key(n)])), bits)
            # zarr unpacks a chunk anew for every frame in it, so all its frames are read at once.
            first = n - n % many
            if first not in kept:
                kept.clear()
                kept[first] = np.asarray(values[plan.key(slice(first, first + many))])
            image = np.take(kept[first], n - first, axis=plan.place_of_time)
            return to_rgb(plan.upright(image), bits)
        except _ERRORS:
            return None

    return Frames(path, plan.size, get)


def content_key(path: Path) -> str:
    """The key of a folder: names and sizes of all its files, and the content of 32 of them."""
    digest = hashlib.sha256(b"ethoprism zarr")
    files: list[Path] = []
    try:
        for folder, folders, names in os.walk(path):
            folders.sort()
            files += [Path(folder) / name for name in sorted(names)]
        for file in files:
            name = file.relative_to(path).as_posix()
            digest.update(f"\0{name}\0{file.stat().st_size}".encode())
    except OSError as error:
        raise unreadable(path, _WHAT, error) from error
    last = len(files) - 1
    for i in sorted({last * i // (_SAMPLED - 1) for i in range(_SAMPLED)}) if files else []:
        digest.update(file_key(files[i]).encode())
    return digest.hexdigest()


def _open(path: Path, array: str) -> tuple[Any, Layout, int]:
    """The array, its layout and its significant bits, after its metadata was checked."""
    import zarr

    try:
        folder = _choose(path, array)
        metadata = _metadata(folder)
        axes = _axes(path, folder, metadata)
        plan = _check(path, metadata, axes)
        values = zarr.open_array(store=str(folder), mode="r")
        check_pixels(values.dtype)
        if tuple(values.shape) != plan.shape:
            raise ValueError("a shape that changes while it is read")
        return values, plan, stated_bits(values.attrs.get("bits_per_pixel", 0))
    except VideoError:
        raise
    except InputError:
        raise
    except (*_ERRORS, RecursionError) as error:
        raise unreadable(path, _WHAT, error) from error


def _choose(path: Path, array: str) -> Path:
    arrays = {folder.relative_to(path).as_posix(): folder for folder in _arrays(path)}
    if array:
        if array.strip("/") not in arrays:
            raise InputError(
                f"{path} has no array {array!r}",
                expected=f"one of {', '.join(sorted(arrays)[:20]) or 'none'}",
            )
        return arrays[array.strip("/")]
    pyramid = _multiscales(path)
    if pyramid:
        name = str(pyramid["datasets"][0]["path"]).strip("/")
        if name in arrays:
            return arrays[name]
    frames = {name: folder for name, folder in arrays.items() if _may_be_frames(folder)}
    if len(frames) != 1:
        listed = [f"{n} {_metadata(frames[n]).get('shape')}" for n in sorted(frames)[:20]]
        raise InputError(
            f"{path} holds {len(frames) or 'no'} arrays of frames",
            expected="one array [t, y, x] or [t, y, x, c], or the name of one",
            found=", ".join(listed),
            remedy=f"For instance --array {min(frames)}." if frames else "",
        )
    return next(iter(frames.values()))


def _arrays(path: Path) -> Iterator[Path]:
    """Folders of arrays at and below a path. Links are not followed, nor are folders of chunks."""
    left = _MOST_FOLDERS
    todo = [(path, 0)]
    while todo and left:
        folder, depth = todo.pop()
        left -= 1
        if _metadata(folder).get("node_type") == "array":
            yield folder
        elif depth < _DEEPEST:
            inside = [e for e in folder.iterdir() if e.is_dir() and not e.is_symlink()]
            todo += [(entry, depth + 1) for entry in inside]


def _metadata(folder: Path) -> dict[str, Any]:
    """The metadata of an array in the form of format 3 as far as it is compared here."""
    if (folder / "zarr.json").is_file():
        return read_json(folder / "zarr.json")
    if (folder / ".zarray").is_file():
        return {"node_type": "array", **read_json(folder / ".zarray")}
    return {}


def _attributes(folder: Path) -> dict[str, Any]:
    found: Any = {}
    if (folder / "zarr.json").is_file():
        found = read_json(folder / "zarr.json").get("attributes", {})
    elif (folder / ".zattrs").is_file():
        found = read_json(folder / ".zattrs")
    return found if isinstance(found, dict) else {}


def _multiscales(path: Path) -> dict[str, Any]:
    """The first pyramid that OME-Zarr describes in a group; empty where there is none."""
    attributes = _attributes(path)
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, dict) else None
    return scales[0] if scales else {}


def _axes(path: Path, folder: Path, metadata: dict[str, Any]) -> str:
    """One letter an axis, from OME-Zarr, from format 3 or from xarray; empty if none says."""
    names: list[Any] = []
    if folder != path:
        axes = _multiscales(path).get("axes", [])
        names = [axis["name"] if isinstance(axis, dict) else axis for axis in axes]
    names = (
        names or metadata.get("dimension_names") or _attributes(folder).get("_ARRAY_DIMENSIONS", [])
    )
    letters = [_AXES.get(str(name).lower(), "") for name in names]
    return "".join(letters) if all(letters) and len(letters) == len(metadata["shape"]) else ""


def _may_be_frames(folder: Path) -> bool:
    try:
        shape = [int(n) for n in _metadata(folder)["shape"]]
        return len(shape) in (3, 4, 5) and shape[0] >= 1
    except (KeyError, TypeError, ValueError):
        return False


def _check(path: Path, metadata: dict[str, Any], axes: str) -> Layout:
    """The layout of an array whose codecs are trusted and whose sizes are sound."""
    shape = metadata["shape"]
    if not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"the shape {json.dumps(shape)[:80]}")
    plan = layout(shape, axes)
    check_size(path, *plan.size)
    if metadata.get("zarr_format") == 2:
        codecs = [*(metadata.get("filters") or []), metadata.get("compressor")]
        names = [codec["id"] for codec in codecs if codec is not None]
        if not isinstance(metadata["dtype"], str) or "O" in metadata["dtype"]:
            raise ValueError("pickled objects, which could run code; they are never loaded")
        chunks, allowed = metadata["chunks"], _CODECS_2
        item = np.dtype(metadata["dtype"]).itemsize
    else:
        if metadata["chunk_grid"]["name"] != "regular" or metadata.get("storage_transformers"):
            raise ValueError("chunks of different sizes, or storage transformers")
        names = list(_codec_names(metadata["codecs"]))
        chunks, allowed = metadata["chunk_grid"]["configuration"]["chunk_shape"], _CODECS_3
        item = 8
    unknown = [str(name)[:40] for name in names if name not in allowed]
    if unknown:
        raise ValueError(f"the codec {unknown[0]!r}, which is not read here")
    if len(chunks) != len(shape) or not all(type(n) is int and n >= 1 for n in chunks):
        raise ValueError(f"the chunks {json.dumps(chunks)[:80]}")
    if math.prod(chunks) * item > _MOST_CHUNK * (8 if item == 8 else 1):
        raise ValueError(f"chunks of {math.prod(chunks):,} values")
    return plan


def _codec_names(codecs: list[Any]) -> Iterator[str]:
    for codec in codecs:
        yield codec["name"]
        if codec["name"] == "sharding_indexed":
            settings = codec["configuration"]
            yield from _codec_names(settings["codecs"])
            yield from _codec_names(settings.get("index_codecs", []))


READER = Reader(
    name="zarr",
    title="arrays in zarr folders (.zarr, OME-Zarr)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
