"""Glimpse: one frame of a long group of pictures sooner than by decoding all that comes before it.

In H.264 a picture says of itself that no other leans on it. Such pictures, often half of them, are
left out on the way to the frame. The frame that comes out is the same, bit for bit, but damage in
what was left out is not seen; so a glimpse is for showing at once what `FrameStream` then confirms.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from av.error import FFmpegError
from av.video.frame import VideoFrame

from ethoprism.frame_index import FrameIndex
from ethoprism.packets import AstrayError, PacketReader

_HELD_BACK = 40  # packets behind the frame's own after which it does not come any more


class Glimpse:
    """Frames of a recording by number, each on its own. Not safe for several threads at a time.

    Parameters
    ----------
    path
        The video file.
    index
        Its frame index.
    """

    def __init__(self, path: Path, index: FrameIndex):
        self._index = index
        self._reader = PacketReader(path, index)
        self._base = self._fed = -1
        self._of_use = True

    def get(self, n: int, wanted: Callable[[], bool]) -> VideoFrame | None:
        """Frame ``n`` as decoded; None where that is not certain, or if it is not wanted any more.

        Raises
        ------
        VideoError
            If the file is not the one that was indexed.
        """
        packet = int(self._index.packet_of[n])
        base = int(self._index.base[packet])
        if not self._of_use:
            return None
        if self._base != base or self._fed > packet:
            try:
                self._reader.start(base, threads=True)
            except AstrayError:
                return None
            self._of_use = self._reader.leave_out(True)
            if not self._of_use:
                self.close()
                return None
            self._base = self._fed = base
        found = self._decode(packet, wanted)
        if found is None:
            self._base = -1
        return found

    def close(self) -> None:
        """Close the file."""
        self._base = -1
        self._reader.close()

    def _decode(self, packet: int, wanted: Callable[[], bool]) -> VideoFrame | None:
        """The frame of ``packet``, from where the decoder stands."""
        index = self._index
        last = min(packet + _HELD_BACK, index.n_packets - 1)
        while True:
            ended = self._fed > last
            if not ended and (index.is_corrupt[self._fed] or not wanted()):
                return None
            try:
                frames = self._feed(packet, ended)
            except (FFmpegError, AstrayError):
                return None
            for frame in frames:
                if frame.is_corrupt or (frame.height, frame.width) != index.decoded_size:
                    return None
                if frame.pts == packet:
                    return frame
            if ended:
                return None

    def _feed(self, packet: int, ended: bool) -> list[VideoFrame]:
        if ended:
            self._base = -1  # a decoder that was emptied takes no more
            return self._reader.decode(None)
        data = self._reader.next()
        self._reader.leave_out(self._fed != packet)
        data.pts, data.dts = self._fed, None
        self._fed += 1
        return self._reader.decode(data)
