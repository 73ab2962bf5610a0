"""TIFF stacks: pages of one file, BigTIFF, ImageJ and OME; read by tifffile."""

from __future__ import annotations

import lzma
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._arrays import Layout, layout
from ethoprism.readers._frames import (
    Frames,
    changed,
    check_size,
    findings,
    first_bytes,
    unreadable,
)
from ethoprism.readers._pixels import check_pixels, dark_note, stated_bits, to_rgb
from ethoprism.recording import Recording, content_key

_WHAT = "a TIFF file of one stack of images"
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES = 2**24
_ERRORS = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError, EOFError,
    ZeroDivisionError, OverflowError, MemoryError, struct.error, AssertionError, SyntaxError,
    zlib.error, lzma.LZMAError,
)  # fmt: skip
"""What tifffile raises for damaged files."""


@dataclass(frozen=True)
class _Pages:
    """Pages that were written one by one and that tifffile takes for a series each."""

    shape: tuple[int, ...]
    axes: str
    dtype: Any
    pages: list[Any]
    keyframe: Any
    dataoffset: None = None


def _joined(series: list[Any]) -> list[Any]:
    """The series of a file; pages of one kind that stand alone become one series."""
    kinds = {(tuple(s.shape), s.axes, str(s.dtype)) for s in series}
    if len(series) < 2 or len(kinds) > 1 or any(len(s.pages) != 1 for s in series):
        return series
    first = series[0]
    pages = [s.pages[0] for s in series]
    return [_Pages((len(pages), *first.shape), "I" + first.axes, first.dtype, pages, pages[0])]


class _Stack:
    """One series of a TIFF file, of which frames are read by number."""

    def __init__(self, path: Path, array: str):
        import tifffile

        self.path = path
        self._file: Any = None
        try:
            _pages(path)  # refuses a list that never ends, which tifffile would follow
            self._file = tifffile.TiffFile(path, _multifile=False)
            self._choose(array)
        except (InputError, VideoError):
            self.close()
            raise
        except _ERRORS as error:
            self.close()
            raise unreadable(path, _WHAT, error) from error

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _choose(self, array: str) -> None:
        series = _joined([s for s in self._file.series if s.keyframe is not None])
        names = [str(i) for i in range(len(series))]
        if not series or (array and array not in names) or (not array and len(series) > 1):
            found = ", ".join(
                f"{i}: {' × '.join(map(str, s.shape[:8]))} ({s.axes[:8]})"
                for i, s in enumerate(series[:20])
            )
            raise InputError(
                f"{self.path} holds {len(series)} series of images",
                expected="one series, or the number of one named as the array",
                found=found or "none",
                remedy="For instance --array 0." if series else "",
            )
        self._series: Any = series[int(array or 0)]
        self._page: Any = self._series.keyframe
        self.dtype = np.dtype(self._series.dtype)
        self.bits = stated_bits(self._stated_bits())
        try:
            check_pixels(self.dtype)
            self.layout = self._layout()
        except ValueError as error:
            raise unreadable(self.path, "frames of rows, columns and channels", error) from error
        self._check_page()
        self.offset: int | None = self._series.dataoffset

    def _layout(self) -> Layout:
        return layout(self._series.shape, self._series.axes)

    def _stated_bits(self) -> object:
        tag = self._page.tags.get(281)  # MaxSampleValue
        value = tag.value if tag is not None else 0
        value = value[0] if isinstance(value, tuple) and value else value
        return int(value).bit_length() if isinstance(value, int) else 0

    def _check_page(self) -> None:
        _, height, width = self.layout.size
        check_size(self.path, 1, height, width)
        page = self._page
        tile = (page.tilewidth or 1) * (page.tilelength or 1)
        if tile > 4 * max(height * width, 2**20) or math.prod(page.shape) > 4 * 2**27:
            raise VideoError(f"{self.path} states tiles or pages of {tile:,} pixels and more")
        import tifffile

        try:
            tifffile.TIFF.DECOMPRESSORS[page.compression]
        except (KeyError, ImportError) as error:
            raise VideoError(
                f"{self.path} is compressed ({page.compression!r})",
                expected="no compression, or one that is installed",
                found=str(error)[:200],
                remedy="Install the decoders: pip install imagecodecs",
            ) from error

    @property
    def size(self) -> tuple[int, int, int]:
        return self.layout.size

    def whole(self) -> tuple[int, tuple[str, ...]]:
        """Frames that the file holds, and what is lost. Damaged ones in between are counted."""
        n, _, _ = self.size
        length = self.path.stat().st_size
        pages, complete = _pages(self.path)
        damage: tuple[str, ...] = () if complete else ("the list of its pages breaks off",)
        if self.offset is not None:
            if self.layout.time not in (0, -1):
                fits = n if self.offset + self._bytes() <= length else 0
            else:
                fits = min(n, max(length - self.offset, 0) // (self._bytes() // n))
            if fits < n:
                damage += (f"the file states {n:,} frames and holds {fits:,}",)
            return fits, damage
        per_page = math.prod(self._page.shape)
        needed = math.prod(self._series.shape) // max(per_page, 1)
        if needed > _MOST_PAGES or needed > len(self._series.pages):
            raise unreadable(self.path, f"{needed:,} pages", f"{pages:,} pages")
        beyond = [k for k in range(n) if not self._lies_within(k, length)]
        if beyond:
            damage += (f"{len(beyond)} frames lie beyond its end, the first is frame {beyond[0]}",)
        return n, damage

    def frame(self, n: int) -> np.ndarray | None:
        """Frame ``n`` as uint8 RGB; None if it is damaged."""
        try:
            image = self._contiguous(n) if self.offset is not None else self._paged(n)
        except _ERRORS:
            return None
        return to_rgb(self.layout.upright(image), self.bits)

    def first(self) -> np.ndarray:
        """Frame 0 as stored.

        Raises
        ------
        VideoError
            If it cannot be decoded.
        """
        try:
            return self._contiguous(0) if self.offset is not None else self._paged(0)
        except _ERRORS as error:
            raise unreadable(self.path, "a first frame that can be decoded", error) from error

    def _bytes(self) -> int:
        return math.prod(self._series.shape) * self.dtype.itemsize

    def _contiguous(self, n: int) -> np.ndarray:
        """From pixels that lie in one piece, as ImageJ and tifffile write them."""
        shape = self._series.shape
        if self.layout.time in (0, -1):
            each = self._bytes() // self.size[0]
            start, shape = (self.offset or 0) + n * each, (1, *shape[1:])
            key = (0, *self.layout.key(n)[1:]) if self.layout.time == 0 else self.layout.key(n)
            shape = shape if self.layout.time == 0 else self._series.shape
        else:
            start, key = self.offset or 0, self.layout.key(n)
        dtype = self.dtype.newbyteorder(self._file.byteorder)
        count = math.prod(shape)
        with self.path.open("rb") as file:
            file.seek(start)
            pixels = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return pixels.reshape(shape)[key].astype(self.dtype)

    def _paged(self, n: int) -> np.ndarray:
        pages = self._series.pages
        images = [pages[k].asarray() for k in self._numbers(n)]
        leading = self._leading
        if self.layout.channels in range(leading):
            return np.stack(images)
        image = images[0]
        # Axes of length 1 within the page, besides rows, columns and channels.
        within = self.layout.key(n)[leading:]
        return image.reshape(self._series.shape[leading:])[within]

    @property
    def _leading(self) -> int:
        """Axes that count pages; the others lie within a page."""
        per_page = math.prod(self._page.shape)
        for axis in range(len(self._series.shape) + 1):
            if math.prod(self._series.shape[axis:]) == per_page:
                return axis
        raise ValueError("its pages do not add up to its shape")

    def _numbers(self, n: int) -> list[int]:
        """The pages of frame ``n``: one, or one for each channel."""
        shape = self._series.shape[: self._leading]
        if not shape:
            return [0]
        key = [n if axis == self.layout.time else 0 for axis in range(len(shape))]
        if self.layout.channels not in range(len(shape)):
            return [int(np.ravel_multi_index(key, shape))]
        numbers = []
        for channel in range(shape[self.layout.channels]):
            key[self.layout.channels] = channel
            numbers.append(int(np.ravel_multi_index(key, shape)))
        return numbers

    def _lies_within(self, n: int, length: int) -> bool:
        for k in self._numbers(n):
            page = self._series.pages[k]
            if page is None:
                return False
            parts = zip(page.dataoffsets, page.databytecounts, strict=False)
            if any(offset + count > length for offset, count in parts):
                return False
        return True


def matches(path: Path) -> bool:
    """Whether the first bytes are those of TIFF or BigTIFF."""
    return first_bytes(path, 4) in _MAGIC


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a stack; ``array`` is the number of a series where there are several.

    Raises
    ------
    InputError
        If there are several series and none is named.
    VideoError
        If it is no such file, or not one axis of frames can be told.
    """
    stack = _Stack(path, array)
    try:
        stated = stack.size[0]
        check_size(path, *stack.size)
        try:
            n, damage = stack.whole()
        except _ERRORS as error:
            raise unreadable(path, _WHAT, error) from error
        check_size(path, n, *stack.size[1:])
        first = stack.first()
        if to_rgb(stack.layout.upright(first), stack.bits) is None:
            raise unreadable(path, "floating-point pixels from 0 to 1", f"up to {first.max()}")
        notes = (stack.layout.note,) if stack.layout.note else ()
        notes += dark_note(first, stack.bits)
        found = findings(stated, damage, notes, pixels=str(stack.dtype))
        return Contents(n, *stack.size[1:], None, found)
    finally:
        stack.close()


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the file is not the one that was imported.
    """
    stack = _Stack(recording.path, recording.array)
    size = (recording.n_frames, recording.height, recording.width)
    if stack.size[1:] != size[1:] or stack.size[0] < size[0]:
        stack.close()
        raise changed(recording.path)
    return Frames(recording.path, size, stack.frame, stack.close)


def _pages(path: Path) -> tuple[int, bool]:
    """Pages in the file's own list, and whether the list ends as it should."""
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(16)
        order = "<" if head[:2] == b"II" else ">"
        big = head[2:4] in (b"+\0", b"\0+")
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
        n, seen = 0, set()
        while at and n < _MOST_PAGES:
            if at in seen:
                raise unreadable(path, _WHAT, "a list of pages that leads back into itself")
            if at >= length:
                return n, False
            seen.add(at)
            following = _next_page(file, at, order, big)
            if following is None:
                return n, False
            n, at = n + 1, following
    return n, True


def _next_page(file: BinaryIO, at: int, order: str, big: bool) -> int | None:
    count, entry, pointer = ("Q", 20, "Q") if big else ("H", 12, "I")
    file.seek(at)
    head = file.read(struct.calcsize(count))
    if len(head) < struct.calcsize(count):
        return None
    (tags,) = struct.unpack(order + count, head)
    if tags > 65_535:
        return None
    file.seek(at + len(head) + tags * entry)
    tail = file.read(struct.calcsize(pointer))
    return (
        struct.unpack(order + pointer, tail)[0] if len(tail) == struct.calcsize(pointer) else None
    )


READER = Reader(
    name="tiff",
    title="TIFF stacks (.tif, .tiff, OME, ImageJ, BigTIFF)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
