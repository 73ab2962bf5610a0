"""FrameReader: exact frames of a recording, lazily, as an array of images.

``reader[n]`` and the n-th frame of ``reader.frames()`` are the same pixels, bit for bit.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from jaxtyping import UInt8

from ethoprism.decoding import FrameStream
from ethoprism.errors import VideoError
from ethoprism.frame_array import FrameArray
from ethoprism.frame_index import FrameIndex
from ethoprism.glimpse import Glimpse
from ethoprism.recording import Recording

_NEAR = 16  # packets that are soon decoded


class RgbConverter:
    """The one way from a decoded frame to RGB.

    The matrix and range (full or limited) are those which the stream states for the frame; where
    it states none, swscale assumes BT.601 and limited range, as players built on FFmpeg do.
    ``turns`` are quarter turns counterclockwise, where the file asks players to turn the picture.
    """

    def __init__(self, turns: int = 0) -> None:
        self._reformatter = VideoReformatter()
        self._turns = turns

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
        """The frame as RGB, in an array of its own."""
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        # The array lies in the new frame's own memory, copied only where rows are padded.
        return np.require(np.rot90(rgb.to_ndarray(), self._turns), np.uint8, ["C", "W"])


class FrameReader(FrameArray):
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
        super().__init__(recording.n_frames, recording.height, recording.width)
        self._recording = recording
        self._index = recording.index or _index_anew(recording)
        # Decoded frames are kept as they are: 1.5 to 3 bytes a pixel in 8 bits, twice that in 16.
        self._capacity = max(2, cache_bytes // (3 * recording.height * recording.width))
        self._kept: OrderedDict[int, VideoFrame | None] = OrderedDict()
        self._stream = FrameStream(recording.path, self._index)
        self._glimpse = Glimpse(recording.path, self._index)
        self._to_rgb = RgbConverter(self._index.turns)
        self._lock = threading.RLock()

    def in_order(
        self, numbers: range
    ) -> Iterator[tuple[int, UInt8[np.ndarray, "height width 3"] | None]]:
        """The frames of ``numbers``, decoded one after the other by a decoder of their own."""
        stream = FrameStream(self._recording.path, self._index)
        to_rgb = RgbConverter(self._index.turns)
        try:
            for n in numbers:
                frame = stream.get(n)
                yield n, None if frame is None else to_rgb(frame)
        finally:
            stream.close()

    @property
    def turns(self) -> int:
        """Quarter turns counterclockwise from a decoded frame to the displayed one."""
        return self._index.turns

    def decode_to(self, n: int, passed: Callable[[int, VideoFrame | None], None]) -> None:
        """Decode up to frame ``n``, for those who keep frames themselves.

        Parameters
        ----------
        n
            The frame's number, from 0.
        passed
            Is called with the number and the frame, as decoded, of every frame on the way from
            where decoding has to begin, ``n`` itself included; with None for a damaged frame. What
            it raises ends decoding and is passed on; the next call goes on from there.
        """
        with self._lock:
            self.require_open()
            self._stream.get(n, passed, lookback=n)

    def glimpse(self, n: int, wanted: Callable[[], bool]) -> VideoFrame | None:
        """Frame ``n`` ahead of `decode_to`, where that is far from it; None elsewhere.

        The frame is the same, bit for bit, unless `decode_to` finds it damaged. ``wanted`` is asked
        on the way whether to go on.
        """
        with self._lock:
            self.require_open()
            packet = int(self._index.packet_of[n])
            whole = packet - int(self._index.base[packet])
            if self._stream.distance(n) <= max(whole // 2, _NEAR):
                return None
            return self._glimpse.get(n, wanted)

    def damage(self, n: int) -> VideoError:
        """What there is to say of frame ``n`` where it is damaged."""
        return VideoError(
            f"Frame {n} of {self._recording.path} is damaged",
            expected="a frame that can be decoded whole, and those it leans on",
            remedy="Leave it out, or copy the recording again from its source.",
        )

    def close(self) -> None:
        """Close the file. Iterators that still run go on."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            self._stream.close()
            self._glimpse.close()

    def read(self, n: int) -> UInt8[np.ndarray, "height width 3"]:
        """Frame ``n``, from 0; a `VideoError` if it is damaged."""
        with self._lock:
            self.require_open()
            if n in self._kept:
                self._kept.move_to_end(n)
                frame = self._kept[n]
            else:
                frame = self._stream.get(n, self._keep, self._capacity - 1)
            if frame is None:
                raise self.damage(n)
            return self._to_rgb(frame)

    def _keep(self, n: int, frame: VideoFrame | None) -> None:
        self._kept[n] = frame
        self._kept.move_to_end(n)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


def _index_anew(recording: Recording) -> FrameIndex:
    from ethoprism.indexing import build_index

    index, _ = build_index(recording.path)
    size = (index.n_frames, index.height, index.width)
    expected = (recording.n_frames, recording.height, recording.width)
    times_differ = not recording.times_from and not np.array_equal(
        index.frame_times, recording.frame_times
    )
    if size != expected or times_differ:
        raise VideoError(
            f"{recording.path} is not the file that was imported as {recording.id!r}",
            expected="{} frames of {} × {} at the times known".format(*expected),
            found="{} frames of {} × {}".format(*size),
            remedy="Put the original back, or import the recording again.",
        )
    return index
