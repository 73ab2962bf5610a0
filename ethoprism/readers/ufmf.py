"""Micro Fly Movie Format (.ufmf), versions 1 to 4: backgrounds, and boxes painted over them.

After public descriptions: motmot.ufmf (https://github.com/motmot/ufmf) and the text "Description
of Micro Fly Movie Format (UFMF) for Versions 2-4" of the authors of Ctrax. The file's own index is
not used: the chunks are walked once, so that a file that was never closed opens too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ethoprism.errors import InputError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._frames import (
    MOST_FRAMES,
    Frames,
    changed,
    check_size,
    findings,
    first_bytes,
    sound_times,
    unreadable,
)
from ethoprism.recording import Recording, content_key

_WHAT = "a Micro Fly Movie Format file of version 1 to 4"
_HEADERS = {2: "<4sIIHHB", 3: "<4sIQHHB", 4: "<4sIQHHBB"}
_KEYFRAME, _FRAME, _INDEX = 0, 1, 2
_MOST_BOXES = 2**20


@dataclass(frozen=True)
class _Header:
    version: int
    start: int
    length: int
    box: tuple[int, int]  # (height, width) of boxes of one size; (0, 0) where each states its own
    channels: int
    size: tuple[int, int] = (0, 0)  # height and width of the frames; version 1 only


@dataclass
class _Walk:
    """Chunks found so far."""

    frames: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    keys: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    damage: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Movie:
    header: _Header
    size: tuple[int, int]
    places: np.ndarray
    times: np.ndarray
    key_times: np.ndarray
    key_places: np.ndarray
    damage: tuple[str, ...]


def matches(path: Path) -> bool:
    """Whether the first bytes, or name and version for version 1, are those of the format."""
    head = first_bytes(path, 8)
    old = path.suffix.lower() == ".ufmf" and head[:4] == struct.pack("<I", 1)
    return old or (head[:4] == b"ufmf" and head[4:8] in (b"\2\0\0\0", b"\3\0\0\0", b"\4\0\0\0"))


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a movie.

    Raises
    ------
    InputError
        If an array is named: the format has none.
    VideoError
        If it is no such file, holds no frame or no background.
    """
    if array:
        raise InputError(f"{path} has no arrays to choose from", found=f"the array {array!r}")
    movie = _movie(path)
    times, notes = sound_times(movie.times)
    pixels = "gray" if movie.header.channels == 1 else "rgb24"
    found = findings(None, movie.damage, notes, pixels=pixels)
    return Contents(len(movie.places), *movie.size, times, found)


def open_frames(recording: Recording) -> FrameSource:
    """The frames: each is the last background before it, with its boxes painted over.

    Raises
    ------
    VideoError
        If the file is not the one that was imported.
    """
    path = recording.path
    movie = _movie(path)
    size = (len(movie.places), *movie.size)
    if size != (recording.n_frames, recording.height, recording.width):
        raise changed(path)
    file = path.open("rb")
    kept: dict[int, np.ndarray] = {}

    def get(n: int) -> np.ndarray | None:
        try:
            at = int(np.searchsorted(movie.key_times, movie.times[n], side="right")) - 1
            at = max(at, 0)
            if at not in kept:
                kept.clear()
                kept[at] = _background(file, int(movie.key_places[at]), movie)
            file.seek(int(movie.places[n]))
            image = kept[at].copy()
            for row, column, box in _boxes(file, movie.header, movie.size):
                height, width = box.shape[:2]
                if row + height > size[1] or column + width > size[2]:
                    return None
                image[row : row + height, column : column + width] = box
        except (ValueError, struct.error):
            return None
        return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image

    return Frames(path, size, get, file.close)


def _header(path: Path) -> _Header:
    head = first_bytes(path, 300)
    try:
        length = path.stat().st_size
        if head[:4] != b"ufmf":
            version, radius, _, width, height = struct.unpack_from("<IIdII", head)
            if version != 1 or not 1 <= radius <= 2**15:
                raise ValueError("other first bytes, or a damaged header")
            return _Header(1, 24, length, (2 * radius, 2 * radius), 1, (height, width))
        (version,) = struct.unpack_from("<I", head, 4)
        if version not in _HEADERS:
            raise ValueError(f"the version {version}")
        layout = _HEADERS[version]
        values = struct.unpack_from(layout, head)
        width, height, long = values[3], values[4], values[-1]
        start = struct.calcsize(layout) + long
        coding = head[start - long : start].decode("ascii").lower()
    except (OSError, struct.error, ValueError) as error:
        raise unreadable(path, _WHAT, error) from error
    if coding not in ("mono8", "rgb24"):
        raise unreadable(path, "the coding MONO8 or RGB24", repr(coding))
    fixed = version == 4 and values[5] == 1
    channels = 1 if coding == "mono8" else 3
    return _Header(version, start, length, (height, width) if fixed else (0, 0), channels)


def _movie(path: Path) -> _Movie:
    header = _header(path)
    walk = _Walk()
    try:
        with path.open("rb") as file:
            _walk(file, header, walk, path)
    except OSError as error:
        raise unreadable(path, _WHAT, error) from error
    kind = "mean" if "mean" in walk.keys else min(walk.keys, default="")
    keys = sorted(walk.keys.get(kind, []))
    if not keys:
        raise unreadable(path, "a background (a keyframe)", "none")
    if len(walk.sizes) > 1:
        raise unreadable(path, "backgrounds of one size", f"{len(walk.sizes)} sizes")
    size = next(iter(walk.sizes))
    check_size(path, len(walk.frames), *size)
    return _Movie(
        header,
        size,
        np.array(walk.frames, np.int64),
        np.array(walk.times, np.float64),
        np.array([time for time, _ in keys], np.float64),
        np.array([place for _, place in keys], np.int64),
        walk.damage,
    )


def _walk(file: BinaryIO, header: _Header, walk: _Walk, path: Path) -> None:
    if header.version == 1:
        check_size(path, 1, *header.size)
        walk.sizes.add(header.size)
        walk.keys["mean"] = [(-np.inf, header.start)]
        at = header.start + header.size[0] * header.size[1]
    else:
        at = header.start
    while at < header.length and len(walk.frames) <= MOST_FRAMES:
        file.seek(at)
        kind = _FRAME if header.version == 1 else file.read(1)[0]
        if kind == _INDEX:
            return
        try:
            if kind == _KEYFRAME:
                end = _keyframe(file, header, walk, path)
            elif kind == _FRAME:
                place = file.tell()
                (time,) = struct.unpack("<d", file.read(8))
                end = _skip_boxes(file, header, walk)
                if end <= header.length:
                    walk.frames.append(place)
                    walk.times.append(time)
            else:
                raise ValueError(f"no chunk starts with {kind}")
        except (ValueError, struct.error):
            end = header.length + 1
        if end > header.length:
            walk.damage = (
                f"the file breaks off or is damaged behind frame {len(walk.frames) - 1}",
            )
            return
        at = end


def _keyframe(file: BinaryIO, header: _Header, walk: _Walk, path: Path) -> int:
    long = file.read(1)
    name = file.read(long[0] if long else 0).decode("ascii", "replace")
    place = file.tell()
    kind, width, height, time = struct.unpack("<cHHd", file.read(13))
    item = {b"B": 1, b"f": 4}.get(kind, 0)
    if not item:
        raise ValueError("a background of an unknown type")
    check_size(path, 1, height, width)
    end = place + 13 + width * height * header.channels * item
    if end <= header.length:
        walk.sizes.add((height, width))
        walk.keys.setdefault(name, []).append((time, place))
    return end


def _background(file: BinaryIO, place: int, movie: _Movie) -> np.ndarray:
    height, width = movie.size
    channels = movie.header.channels
    file.seek(place)
    kind = b"B" if movie.header.version == 1 else struct.unpack("<cHHd", file.read(13))[0]
    dtype = np.dtype(np.uint8 if kind == b"B" else "<f4")
    content = file.read(height * width * channels * dtype.itemsize)
    image = np.frombuffer(content, dtype).reshape(channels, height, width)
    if dtype != np.uint8:
        image = np.rint(np.clip(np.nan_to_num(image), 0, 255))
    return np.ascontiguousarray(image.transpose(1, 2, 0).astype(np.uint8))


def _count(file: BinaryIO, header: _Header) -> int:
    """The number of boxes of the frame; the file then stands behind it."""
    layout = "<H" if header.version in (2, 3) else "<I"
    (n,) = struct.unpack(layout, file.read(struct.calcsize(layout)))
    if n > _MOST_BOXES:
        raise ValueError(f"{n:,} boxes in one frame")
    return n


def _skip_boxes(file: BinaryIO, header: _Header, walk: _Walk) -> int:
    n = _count(file, header)
    at = file.tell()
    if header.version == 1:
        for _ in range(n):
            file.seek(at)
            column, row = struct.unpack("<II", file.read(8))
            height, width = _old_box(header, row, column)
            at += 8 + height * width
        return at
    if header.box != (0, 0):
        return at + n * (4 + header.box[0] * header.box[1] * header.channels)
    for _ in range(n):
        file.seek(at)
        _, _, width, height = struct.unpack("<4H", file.read(8))
        at += 8 + width * height * header.channels
    return at


def _old_box(header: _Header, row: int, column: int) -> tuple[int, int]:
    """Height and width of a box of version 1, which is cut at the right and the lower edge."""
    height, width = header.size[0] - row, header.size[1] - column
    if height < 1 or width < 1:
        raise ValueError("a box outside the frame")
    return min(header.box[0], height), min(header.box[1], width)


def _boxes(
    file: BinaryIO, header: _Header, size: tuple[int, int]
) -> list[tuple[int, int, np.ndarray]]:
    """``(row, column, uint8 [height, width, channels])`` of the frame at which the file stands."""
    file.read(8)  # its time
    n = _count(file, header)
    if header.version > 1 and header.box != (0, 0):
        return _fixed_boxes(file, header, n)
    boxes = []
    for _ in range(n):
        if header.version == 1:
            column, row = struct.unpack("<II", file.read(8))
            height, width = _old_box(header, row, column)
        else:
            column, row, width, height = struct.unpack("<4H", file.read(8))
            if row + height > size[0] or column + width > size[1]:
                raise ValueError("a box outside the frame")
        content = file.read(width * height * header.channels)
        pixels = np.frombuffer(content, np.uint8).reshape(header.channels, height, width)
        boxes.append((row, column, pixels.transpose(1, 2, 0)))
    return boxes


def _fixed_boxes(file: BinaryIO, header: _Header, n: int) -> list[tuple[int, int, np.ndarray]]:
    height, width = header.box
    count = n * height * width * header.channels
    if count > header.length:
        raise ValueError("more boxes than the file holds")
    columns, rows = np.frombuffer(file.read(4 * n), "<u2").reshape(2, n)
    pixels = np.frombuffer(file.read(count), np.uint8)
    # Boxes lie side by side within each pixel.
    pixels = pixels.reshape(header.channels, height, width, n)
    return [
        (int(rows[i]), int(columns[i]), pixels[:, :, :, i].transpose(1, 2, 0)) for i in range(n)
    ]


READER = Reader(
    name="ufmf",
    title="Micro Fly Movie Format (.ufmf)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
