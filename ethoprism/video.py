"""FrameReader: exact frames of a recording, lazily, as an array of images.

``reader[n]`` and the n-th frame of ``reader.frames()`` are the same pixels, bit for bit.
"""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import EllipsisType
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from ethoprism.decoding import FrameStream
from ethoprism.errors import VideoError
from ethoprism.frame_index import FrameIndex
from ethoprism.recording import Recording


class RgbConverter:
    """The one way from a decoded frame to RGB.

    The matrix and range (full or limited) are those which the stream states for the frame; where
    it states none, swscale assumes BT.601 and limited range, as players built on FFmpeg do.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """The frame as RGB, in an array of its own."""
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        # The array lies in the new frame's own memory, copied only where rows are padded.
        return np.require(rgb.to_ndarray(), np.uint8, ["C", "W"])


class FrameReader:
    """The frames of a video recording. Use it as a context manager, or close it.

    Random access is safe from several threads. Each iterator that `frames` gives reads the file on
    its own, so that several may run at a time.

    Parameters
    ----------
    recording
        The recording. Its index is made anew if it has none.
    cache_bytes
        Memory for decoded frames that were passed on the way to the ones asked for.

    Raises
    ------
    VideoError
        If the file cannot be read, or is not the one that was imported.
    """

    def __init__(self, recording: Recording, *, cache_bytes: int = 256 << 20):
        self._recording = recording
        self._index = recording.index or _index_anew(recording)
        # Decoded frames are kept as they are: 1.5 to 3 bytes a pixel in 8 bits, twice that in 16.
        self._capacity = max(2, cache_bytes // (3 * recording.height * recording.width))
        self._kept: OrderedDict[int, VideoFrame | None] = OrderedDict()
        self._stream = FrameStream(recording.path, self._index)
        self._to_rgb = RgbConverter()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_frames, height, width, 3)``."""
        return (len(self), self._index.height, self._index.width, 3)

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """4."""
        return 4

    def __len__(self) -> int:
        return self._index.n_frames

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        """Frames as an array indexed by ``key`` would give them.

        Parameters
        ----------
        key
            A frame's number (negative ones count from the end), a slice of frames, or a tuple that
            begins with one of these and goes on over rows, columns and channels.

        Returns
        -------
        uint8 ``[height, width, 3]`` for a number, ``[k, height, width, 3]`` for a slice.

        Raises
        ------
        IndexError
            If there is no such frame.
        VideoError
            If a frame among them is damaged.
        """
        parts: list[Any] = list(key) if isinstance(key, tuple) and key else [key]
        first, rest = parts[0], parts[1:]
        if isinstance(first, EllipsisType):
            first, rest = slice(None), [first, *rest]
        if isinstance(first, slice):
            block = self._block(range(*first.indices(len(self))))
            return block[(slice(None), *rest)]
        if not hasattr(first, "__index__"):
            raise TypeError(f"expected a frame's number or a slice, got {type(first).__name__}")
        n = operator.index(first)
        if not -len(self) <= n < len(self):
            raise IndexError(f"frame {n} is out of bounds for a recording of {len(self)} frames")
        frame = self._frame(n % len(self))
        return frame[tuple(rest)] if rest else frame

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"] | None]]:
        """Frames in ascending order, decoded one after the other.

        Parameters
        ----------
        start, stop, step
            As for a slice; frames between the steps are decoded but not converted.

        Yields
        ------
        ``(number, frame)``, with None instead of a frame that is damaged.

        Raises
        ------
        ValueError
            If ``step`` is not positive.
        VideoError
            If the file is not the one that was imported.
        """
        self._require_open()
        if step < 1:
            raise ValueError(f"expected a step of at least 1, got {step}")
        return self._iterate(range(*slice(start, stop, step).indices(len(self))))

    def close(self) -> None:
        """Close the file. Iterators that still run go on."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            self._stream.close()

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _iterate(self, numbers: range) -> Iterator[tuple[int, np.ndarray | None]]:
        stream = FrameStream(self._recording.path, self._index)
        to_rgb = RgbConverter()
        try:
            for n in numbers:
                frame = stream.get(n)
                yield n, None if frame is None else to_rgb(frame)
        finally:
            stream.close()

    def _block(self, numbers: range) -> UInt8[np.ndarray, "k height width 3"]:
        block = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        # Ascending is the order in which the decoder gives them.
        backwards = numbers.step < 0
        for n in reversed(numbers) if backwards else numbers:
            block[numbers.index(n)] = self._frame(n)
        return block

    def _frame(self, n: int) -> UInt8[np.ndarray, "height width 3"]:
        with self._lock:
            self._require_open()
            if n in self._kept:
                self._kept.move_to_end(n)
                frame = self._kept[n]
            else:
                frame = self._stream.get(n, self._keep, self._capacity - 1)
            if frame is None:
                raise VideoError(
                    f"Frame {n} of {self._recording.path} is damaged",
                    expected="a frame that can be decoded whole, and those it leans on",
                    remedy="Leave it out, or copy the recording again from its source.",
                )
            return self._to_rgb(frame)

    def _keep(self, n: int, frame: VideoFrame | None) -> None:
        self._kept[n] = frame
        self._kept.move_to_end(n)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError("expected an open FrameReader, got a closed one")


def _index_anew(recording: Recording) -> FrameIndex:
    from ethoprism.indexing import build_index

    index, _ = build_index(recording.path)
    size = (index.n_frames, index.height, index.width)
    expected = (recording.n_frames, recording.height, recording.width)
    if size != expected or not np.array_equal(index.frame_times, recording.frame_times):
        raise VideoError(
            f"{recording.path} is not the file that was imported as {recording.id!r}",
            expected="{} frames of {} × {} at the times known".format(*expected),
            found="{} frames of {} × {}".format(*size),
            remedy="Put the original back, or import the recording again.",
        )
    return index
