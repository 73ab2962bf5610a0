"""Norpix sequences (.seq) of StreamPix: raw and JPEG frames, each with its time.

After public descriptions: the readers of PIMS (soft-matter/pims, norpix_reader.py) and of Azim
Jinha's MATLAB code (readNorpixSeqHeader), and the formats' numbers in Piotr Dollár's toolbox.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

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
from ethoprism.readers._pixels import stated_bits, to_rgb
from ethoprism.readers.images import decode
from ethoprism.recording import Recording, content_key

_WHAT = "a Norpix sequence"
_MAGIC = struct.pack("<I", 0xFEED) + "Norpix seq".encode("utf-16-le")
_RAW = {100: 1, 200: 3, 400: 3, 500: 4}  # mono, BGR, RGB, BGRx → channels
_JPEG = {102, 201}  # as Piotr's toolbox numbers them; StreamPix states the compression instead
_REVERSED = {200, 500}
_SOI = b"\xff\xd8"
_STAMP = 8  # bytes: seconds, milliseconds, and microseconds from version 5 on


@dataclass(frozen=True)
class _Header:
    version: int
    width: int
    height: int
    depth: int  # bits a pixel
    real: int  # significant bits of a channel
    image_bytes: int
    format: int
    stated: int
    block: int
    rate: float
    jpeg: bool
    start: int
    length: int

    @property
    def bytes_per_channel(self) -> int:
        return 2 if self.format == 100 and self.depth > 8 else 1


def matches(path: Path) -> bool:
    """Whether the first bytes are those of the format."""
    return first_bytes(path, len(_MAGIC)) == _MAGIC


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a sequence, as many as the header states and the file holds whole.

    Raises
    ------
    InputError
        If an array is named: the format has none.
    VideoError
        If it is no such file, holds no frame, or its pixels are of a kind that is not read.
    """
    if array:
        raise InputError(f"{path} has no arrays to choose from", found=f"the array {array!r}")
    header = _header(path)
    places, damage = _places(path, header)
    n = len(places)
    check_size(path, n, header.height, header.width)
    if header.stated > n:
        damage = (f"the header states {header.stated:,} frames, the file holds {n:,}", *damage)
    times, notes = sound_times(_times(path, header, places))
    if times is not None and header.version < 5 and n > 1:
        notes = (*notes, "its times are in whole milliseconds")
    tick = 1e-6 if header.version >= 5 else 1e-3
    pixels = "jpeg" if header.jpeg else f"norpix {header.format}, {header.depth} bits"
    found = findings(header.stated or None, damage, notes, tick=tick, pixels=pixels)
    return Contents(n, header.height, header.width, times, found)


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the file is not the one that was imported.
    """
    path = recording.path
    header = _header(path)
    places, _ = _places(path, header)
    size = (len(places), header.height, header.width)
    if size != (recording.n_frames, recording.height, recording.width):
        raise changed(path)
    file = path.open("rb")

    def get(n: int) -> np.ndarray | None:
        start, count = places[n].tolist()
        file.seek(start)
        content = file.read(count)
        if len(content) != count:
            return None
        if header.jpeg:
            return decode(io.BytesIO(content), size[1:], ("JPEG",))
        return _raw(content, header)

    return Frames(path, size, get, file.close)


def _raw(content: bytes, header: _Header) -> np.ndarray | None:
    dtype = np.dtype("<u2") if header.bytes_per_channel == 2 else np.dtype(np.uint8)
    channels = _RAW[header.format]
    image = np.frombuffer(content, dtype).reshape(header.height, header.width, channels)
    if header.format in _REVERSED:
        image = image[:, :, 2::-1]
    return to_rgb(image, stated_bits(header.real))


def _header(path: Path) -> _Header:
    head = first_bytes(path, 1024)
    try:
        length = path.stat().st_size
        if not head.startswith(_MAGIC):
            raise ValueError("other first bytes")
        (version,) = struct.unpack_from("<i", head, 28)
        numbers = struct.unpack_from("<9I", head, 548)
        (rate,) = struct.unpack_from("<d", head, 584)
        (compression,) = struct.unpack_from("<I", head, 620)
    except (OSError, struct.error, ValueError) as error:
        raise unreadable(path, _WHAT, error) from error
    width, height, depth, real, image_bytes, kind, stated, _, block = numbers
    jpeg = compression == 1 or kind in _JPEG
    check_size(path, 1, height, width)
    starts = (1024, 8192) if jpeg else (8192,) if version >= 5 else (1024,)
    header = _Header(
        version, width, height, depth, real, image_bytes, kind, stated, block, rate, jpeg,
        starts[0], length,
    )  # fmt: skip
    if jpeg:
        return _first_jpeg(path, header, starts)
    bits = 8 * _RAW.get(kind, 0)
    fits = depth == bits or (kind == 100 and depth == 16)
    if compression or not bits or not fits:
        raise unreadable(
            path,
            "uncompressed or JPEG frames in grey (8 or 16 bits), BGR, RGB or BGRx",
            f"the image format {kind} with {depth} bits and the compression {compression}",
        )
    if image_bytes != width * height * depth // 8 or block < image_bytes + _STAMP - 2:
        raise unreadable(
            path,
            f"{width * height * depth // 8:,} bytes an image and its time behind it",
            f"a header that states {image_bytes:,} and {block:,}",
        )
    return header


def _first_jpeg(path: Path, header: _Header, starts: tuple[int, ...]) -> _Header:
    with path.open("rb") as file:
        for start in starts:
            file.seek(start + 4)
            if file.read(2) == _SOI:
                return _Header(**{**vars(header), "start": start})
    raise unreadable(path, "JPEG frames behind the header", "none there")


def _places(path: Path, header: _Header) -> tuple[np.ndarray, tuple[str, ...]]:
    """int64 ``(n, 2)``: where each image starts and how many bytes it has; what is lost."""
    if header.jpeg:
        return _jpeg_places(path, header)
    room = max(header.length - header.start, 0)
    n, rest = divmod(room, header.block)
    if rest >= header.image_bytes + _STAMP - 2:
        n, rest = n + 1, 0  # the padding behind the last frame may be left out
    if header.stated:
        n, rest = min(n, header.stated), rest if n < header.stated else 0
    check_size(path, n, header.height, header.width)
    starts = header.start + header.block * np.arange(n, dtype=np.int64)
    places = np.stack([starts, np.full(n, header.image_bytes, np.int64)], axis=1)
    return places, (f"the file ends within frame {n}",) if rest else ()


def _jpeg_places(path: Path, header: _Header) -> tuple[np.ndarray, tuple[str, ...]]:
    places: list[tuple[int, int]] = []
    damage: tuple[str, ...] = ()
    behind = 0  # bytes from the end of one image to the next; known after the first two
    most = min(header.stated or MOST_FRAMES, MOST_FRAMES)
    with path.open("rb") as file:
        at = header.start
        while at + 4 < header.length and len(places) < most:
            file.seek(at)
            (size,) = struct.unpack("<I", file.read(4))  # counts itself
            end = at + size
            sound = size > 4 + len(_SOI) and file.read(2) == _SOI
            if not sound or end + _STAMP - 2 > header.length:
                damage = (f"the file breaks off or is damaged at frame {len(places)}",)
                break
            places.append((at + 4, size - 4))
            if not behind and end + _STAMP < header.length:
                file.seek(end)
                after = file.read(64)
                behind = next((k for k in (8, 16, 24, 32) if after[k + 4 : k + 6] == _SOI), _STAMP)
            at = end + (behind or _STAMP)
    return np.array(places, np.int64).reshape(-1, 2), damage


def _times(path: Path, header: _Header, places: np.ndarray) -> np.ndarray:
    stamps = np.zeros((len(places), _STAMP), np.uint8)
    with path.open("rb") as file:
        for n, (start, count) in enumerate(places.tolist()):
            file.seek(start + count)
            got = np.frombuffer(file.read(_STAMP), np.uint8)
            stamps[n, : len(got)] = got
    seconds = stamps[:, :4].copy().view("<u4")[:, 0].astype(np.float64)
    milli, micro = stamps[:, 4:].copy().view("<u2").astype(np.float64).T
    return seconds + milli / 1e3 + (micro / 1e6 if header.version >= 5 else 0.0)


READER = Reader(
    name="norpix",
    title="Norpix sequences (.seq)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
