"""Fly Movie Format (.fmf), versions 1 and 3: raw frames, each with its time.

After the format's description: https://github.com/motmot/flymovieformat, fmf-format-spec.rst.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ethoprism.errors import InputError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._frames import (
    Frames,
    changed,
    check_size,
    findings,
    first_bytes,
    sound_times,
    unreadable,
)
from ethoprism.readers._pixels import to_rgb
from ethoprism.recording import Recording, content_key

_WHAT = "a Fly Movie Format file of version 1 or 3"
_CHANNELS = {"MONO8": 1, "RGB8": 3}  # bytes a pixel of the codings that are read


@dataclass(frozen=True)
class _Header:
    start: int
    height: int
    width: int
    chunk: int
    channels: int
    stated: int


def matches(path: Path) -> bool:
    """Whether the name and the version number are those of the format."""
    head = first_bytes(path, 4)
    return path.suffix.lower() == ".fmf" and head in (struct.pack("<I", 1), struct.pack("<I", 3))


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a file, counted by its length; the header's number is only compared.

    Raises
    ------
    InputError
        If an array is named: the format has none.
    VideoError
        If it is no such file, holds no whole frame, or has a coding that is not read.
    """
    if array:
        raise InputError(f"{path} has no arrays to choose from", found=f"the array {array!r}")
    header, length = _header(path)
    n, rest = divmod(length - header.start, header.chunk)
    check_size(path, n, header.height, header.width)
    damage: tuple[str, ...] = ()
    if rest:
        damage = (f"the file ends within frame {n}",)
    if header.stated > n:
        damage = (f"the header states {header.stated:,} frames, the file holds {n:,}",)
    chunks = np.memmap(path, np.uint8, "r", header.start, (n, header.chunk))
    stamps = np.ascontiguousarray(chunks[:, :8]).view("<f8")[:, 0]
    times, notes = sound_times(stamps)
    pixels = "gray" if header.channels == 1 else "rgb24"
    found = findings(header.stated or None, damage, notes, pixels=pixels)
    return Contents(n, header.height, header.width, times, found)


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the file is not the one that was imported.
    """
    path = recording.path
    header, length = _header(path)
    n = (length - header.start) // header.chunk
    size = (n, header.height, header.width)
    if size != (recording.n_frames, recording.height, recording.width):
        raise changed(path)
    chunks = np.memmap(path, np.uint8, "r", header.start, (n, header.chunk))

    def get(k: int) -> np.ndarray | None:
        pixels = np.array(chunks[k, 8:])
        return to_rgb(pixels.reshape(header.height, header.width, header.channels))

    return Frames(path, size, get)


def _header(path: Path) -> tuple[_Header, int]:
    head = first_bytes(path, 512)
    try:
        length = path.stat().st_size
        (version,) = struct.unpack_from("<I", head)
        at, coding, bits = 4, "MONO8", 8
        if version == 3:
            (long,) = struct.unpack_from("<I", head, 4)
            if long > 64:
                raise ValueError(f"a coding with a name of {long:,} letters")
            coding = head[8 : 8 + long].decode("ascii")
            (bits,) = struct.unpack_from("<I", head, 8 + long)
            at = 12 + long
        elif version != 1:
            raise ValueError(f"the version {version}")
        height, width, chunk, stated = struct.unpack_from("<IIQQ", head, at)
    except (OSError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise unreadable(path, _WHAT, error) from error
    channels = _CHANNELS.get(coding.upper(), 0)
    if not channels or bits != 8 * channels:
        raise unreadable(path, "the coding MONO8 or RGB8", f"{coding!r} with {bits} bits a pixel")
    check_size(path, 1, height, width)
    if chunk != 8 + height * width * channels:
        raise unreadable(
            path,
            f"{8 + height * width * channels:,} bytes a frame and its time",
            f"a header that states {chunk:,}",
        )
    return _Header(at + 24, height, width, chunk, channels, stated), length


READER = Reader(
    name="fmf",
    title="Fly Movie Format (.fmf)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
