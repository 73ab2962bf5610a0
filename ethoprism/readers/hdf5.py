"""Arrays of frames in HDF5 files, read by h5py."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import InputError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._arrays import Layout, layout
from ethoprism.readers._frames import (
    MOST_FRAMES,
    Frames,
    changed,
    check_size,
    findings,
    first_bytes,
    unreadable,
)
from ethoprism.readers._pixels import check_pixels, dark_note, stated_bits, to_rgb
from ethoprism.recording import Recording, content_key

MAGIC = b"\x89HDF\r\n\x1a\n"
ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, AttributeError,
    OverflowError, MemoryError, ZeroDivisionError, UnicodeError, NotImplementedError,
)  # fmt: skip
"""What h5py raises for damaged files."""

_WHAT = "an HDF5 file with an array of frames"
_MOST_CHUNK = 2**30
_CACHE = 2**28  # bytes of unpacked chunks
_MOST_OBJECTS = 100_000


def matches(path: Path) -> bool:
    """Whether the first bytes are those of HDF5, and the name is not that of NWB."""
    return path.suffix.lower() != ".nwb" and first_bytes(path, 8) == MAGIC


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of an array ``[t, y, x]``, ``[t, y, x, c]`` or ``[t, c, y, x]``.

    Raises
    ------
    InputError
        If there are several arrays of frames and none is named, or not the one that is named.
    VideoError
        If the file or the array cannot be read, or the array lies in other files.
    """
    file = open_file(path, _WHAT)
    try:
        dataset = _dataset(file, path, array)
        plan = check_dataset(dataset, path)
        bits = stated_bits(dataset.attrs.get("bits_per_pixel", 0))
        notes = first_notes(dataset, plan, bits, path)
        found = findings(None, (), notes, pixels=str(dataset.dtype))
        return Contents(*plan.size, None, found)
    except ERRORS as error:
        raise unreadable(path, _WHAT, error) from error
    finally:
        file.close()


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the file is not the one that was imported.
    """
    path = recording.path
    file = open_file(path, _WHAT)
    try:
        dataset = _dataset(file, path, recording.array)
        plan = check_dataset(dataset, path)
        bits = stated_bits(dataset.attrs.get("bits_per_pixel", 0))
        if plan.size != (recording.n_frames, recording.height, recording.width):
            raise changed(path)
    except ERRORS as error:
        file.close()
        raise unreadable(path, _WHAT, error) from error
    except InputError:
        file.close()
        raise
    return Frames(path, plan.size, frame_getter(dataset, plan, bits), file.close)


def open_file(path: Path, what: str) -> Any:
    """The file, open for reading; h5py refuses files that are shorter than they should be.

    Raises
    ------
    VideoError
        If it cannot be opened.
    """
    import h5py

    try:
        # HDF5 unpacks a chunk anew for every frame in it unless the chunk fits into its cache.
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE, rdcc_nslots=10_007)
    except ERRORS as error:
        raise unreadable(path, what, error) from error


def member(group: Any, name: str) -> Any:
    """An object by its path within the file, along hard links only.

    Soft and external links are refused: they may lead out of the file.

    Raises
    ------
    ValueError
        If a part of the path is such a link.
    KeyError
        If there is no such object.
    """
    import h5py

    for part in (p for p in name.split("/") if p):
        if not isinstance(group, h5py.Group):
            raise KeyError(name)
        link = group.get(part, getlink=True)
        if link is None:
            raise KeyError(name)
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{part!r} is a link, which may lead out of the file")
        group = group[part]
    return group


def check_dataset(dataset: Any, path: Path, axes: str = "") -> Layout:
    """The layout of a dataset whose values lie in this file and have sizes that can be read.

    Raises
    ------
    ValueError
        With what was found.
    VideoError
        If there is no frame, or the frames are too many or too large.
    """
    if dataset.is_virtual or dataset.external:
        raise ValueError("an array whose values lie in other files; they are never followed")
    check_pixels(dataset.dtype)
    plan = layout(dataset.shape, axes)
    check_size(path, *plan.size)
    size = math.prod(dataset.chunks or (1,)) * dataset.dtype.itemsize
    if size > _MOST_CHUNK:
        raise ValueError(f"chunks of {size:,} bytes; up to {_MOST_CHUNK:,} are read")
    if dataset.id.get_storage_size() == 0:
        raise ValueError(f"an array of the shape {dataset.shape} without any value")
    return plan


def frame_getter(dataset: Any, plan: Layout, bits: int) -> Callable[[int], np.ndarray | None]:
    """A function that gives frame n of a dataset as uint8 RGB; None if it is damaged."""

    def get(n: int) -> np.ndarray | None:
        try:
            return to_rgb(plan.upright(np.asarray(dataset[plan.key(n)])), bits)
        except ERRORS:
            return None

    return get


def first_notes(dataset: Any, plan: Layout, bits: int, path: Path) -> tuple[str, ...]:
    """Notes about the first frame and about chunks that were never written.

    Raises
    ------
    VideoError
        If the first frame cannot be read, or is no picture.
    """
    try:
        first = np.asarray(dataset[plan.key(0)])
    except ERRORS as error:
        text = str(error)
        remedy = " (install the decoder: pip install hdf5plugin)" if "filter" in text else ""
        raise unreadable(path, "a first frame that can be read", text + remedy) from error
    if to_rgb(plan.upright(first), bits) is None:
        raise unreadable(path, "floating-point pixels from 0 to 1", f"values up to {first.max()}")
    notes = dark_note(first, bits)
    if dataset.chunks:
        pairs = zip(dataset.shape, dataset.chunks, strict=True)
        chunks = math.prod(-(-n // chunk) for n, chunk in pairs)
        absent = chunks - dataset.id.get_num_chunks()
        if absent > 0:
            notes += (f"{absent:,} of {chunks:,} chunks were never written and show one value",)
    return notes


def frame_arrays(file: Any) -> dict[str, Any]:
    """Datasets that may be frames, by their path; only hard links are followed."""
    import h5py

    found: dict[str, Any] = {}
    count = 0

    def visit(name: str, item: Any) -> bool | None:
        nonlocal count
        count += 1
        if isinstance(item, h5py.Dataset):
            try:
                check_pixels(item.dtype)
                n, height, width = layout(item.shape or ()).size
            except (ValueError, TypeError):
                return None
            if 1 <= n <= MOST_FRAMES and min(height, width) >= 8:
                found[name] = item
        return True if count > _MOST_OBJECTS else None

    file.visititems(visit)
    return found


def _dataset(file: Any, path: Path, array: str) -> Any:
    import h5py

    if array:
        try:
            item = member(file, array)
        except KeyError as error:
            raise InputError(
                f"{path} has no array {array!r}",
                expected=f"one of {', '.join(sorted(frame_arrays(file))[:20]) or 'none'}",
            ) from error
        if not isinstance(item, h5py.Dataset):
            raise ValueError(f"{array!r}, which is no array")
        return item
    arrays = frame_arrays(file)
    if len(arrays) != 1:
        listed = [f"{name} {arrays[name].shape}" for name in sorted(arrays)[:20]]
        raise InputError(
            f"{path} holds {len(arrays) or 'no'} arrays of frames",
            expected="one array [t, y, x] or [t, y, x, c], or the name of one",
            found=", ".join(listed),
            remedy=f"For instance --array {min(arrays)}." if arrays else "",
        )
    return next(iter(arrays.values()))


READER = Reader(
    name="hdf5",
    title="arrays in HDF5 files (.h5, .hdf5)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
