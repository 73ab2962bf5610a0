"""FrameStream: decoded frames by number, each of them sound or known not to be.

One mechanism serves sequential reading and random access, so that both see the same frames.
Packets go through the decoder under their number in the file instead of their timestamp; a frame
that comes out says from which packet it was made, and the `FrameIndex` says which frame that is.
Nothing is ever identified by counting what the decoder gives.

A frame is damaged if its packet fails to decode, gives no picture or a picture that the decoder
calls corrupt, and so is every frame that leans on such a packet: all that follow in its group of
pictures, for decoders fill the hole with other pictures, even with the wrong ones, and do not say
so. The next key picture ends the damage. Damage that the decoder itself does not notice (a few
changed bytes in FFV1, VP8, VP9 or HEVC, now and then in H.264) cannot be noticed here.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable
from pathlib import Path

from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from ethoprism.frame_index import FrameIndex
from ethoprism.packets import AstrayError, PacketReader

_HELD_BACK = 32  # packets that may go in before a frame comes out: 16 by the codecs' rules
_MOST_ALARMS = 16  # after which threads are not tried any more
_WORTH_A_SEEK = 16  # packets that are quicker decoded than jumped over


class FrameStream:
    """Frames of a recording by number; quickest when asked for in ascending order.

    Not safe for use by several threads at a time.

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
        self._entry = self._group = self._fed = self._frame = 0
        self._begun = self._ended = False
        self._careful_until = -1
        self._alarms = 0
        self._latest = -1
        self._first_sound = self._index.n_packets
        self._waiting: dict[int, int] = {}
        self._arrived: dict[int, VideoFrame] = {}
        self._damaged: list[int] = []

    def get(
        self,
        n: int,
        passed: Callable[[int, VideoFrame | None], None] | None = None,
        lookback: int = 0,
    ) -> VideoFrame | None:
        """Frame ``n`` (0 ≤ n < n_frames) as decoded, or None if it is damaged.

        Parameters
        ----------
        n
            The frame's number.
        passed
            Is called with every frame on the way, ``n`` itself included.
        lookback
            Frames before ``n`` that count as on the way if they have to be decoded anyway.

        Raises
        ------
        VideoError
            If the file is not the one that was indexed.
        """
        base = int(self._index.base[self._index.packet_of[n]])
        ahead = self._entry <= base and self._frame <= n
        if not self._begun or not ahead or base - self._fed > _WORTH_A_SEEK:
            self._frame = max(n - lookback, min(n, max(0, int(self._index.frame[base]))))
            self._begun = False
        while True:
            try:
                number, frame = self._emit()
            except AstrayError:
                self._begun = False
                continue
            if passed is not None:
                passed(number, frame)
            if number == n:
                return frame

    def distance(self, n: int) -> int:
        """Packets that `get` would decode to reach frame ``n``."""
        packet = int(self._index.packet_of[n])
        base = int(self._index.base[packet])
        en_route = self._begun and self._entry <= base <= self._fed and self._frame <= n
        return max(packet - (self._fed if en_route else base), 0)

    def close(self) -> None:
        """Close the file."""
        self._forget()
        self._begun = False
        self._reader.close()

    def _begin(self, n: int, *, careful: bool = False, groups_back: int = 0) -> None:
        """Enter the stream where frame ``n`` can be decoded from, or some groups before that.

        Carefully means without threads, and for one group of pictures only: which of its frames
        are damaged must not depend on where reading began.
        """
        self._group = entry = int(self._index.base[self._index.packet_of[n]])
        for _ in range(groups_back):
            entry = self._index.entry_before(entry)
        if careful and self._careful_until < 0:
            self._alarms += 1
        self._careful_until = max(self._careful_until, self._fed) if careful else -1
        if self._alarms > _MOST_ALARMS:
            self._careful_until = self._index.n_packets
        self._reader.start(entry, threads=self._careful_until < 0)
        self._forget()
        self._entry = self._fed = entry
        self._frame = n
        self._begun, self._ended = True, False

    def _forget(self) -> None:
        self._latest = -1
        self._first_sound = self._index.n_packets
        self._waiting.clear()
        self._arrived.clear()
        self._damaged.clear()

    def _emit(self) -> tuple[int, VideoFrame | None]:
        """The next frame, once all that it leans on has been decoded or found missing."""
        groups_back = 0
        while True:
            n = self._frame
            packet = int(self._index.packet_of[n])
            base = int(self._index.base[packet])
            careful = self._careful_until >= 0
            if not self._begun or base < self._entry or (careful and base > self._careful_until):
                self._begin(n)
            elif careful and base != self._group:
                self._begin(n, careful=True)
            self._decode_to(packet)
            damaged = self._leans_on_damage(packet)
            if not damaged or self._entry == 0 or self._first_sound <= base:
                break
            # Not even the key picture came out whole: perhaps it is none in full, and the decoder
            # has to be under way before. Of such a decoder only is the damage believed.
            groups_back = 4 * groups_back or 1
            self._begin(n, careful=True, groups_back=groups_back)
        frame = self._arrived.pop(n, None)
        self._frame += 1
        return n, None if damaged else frame

    def _decode_to(self, packet: int) -> None:
        while not self._ended and (
            self._fed <= packet or any(waiting <= packet for waiting in self._waiting)
        ):
            self._feed()
            if self._damaged and self._careful_until < 0:
                self._begin(self._frame, careful=True)

    def _leans_on_damage(self, packet: int) -> bool:
        base = self._index.base
        entry = int(base[packet])
        first = bisect_left(self._damaged, entry)
        # Leading pictures of this group lean on the group before, and nothing else leans on them.
        return any(d <= packet and base[d] >= entry for d in self._damaged[first:])

    def _feed(self) -> None:
        """Decode one packet more, or what is left in the decoder at the end."""
        index, number = self._index, self._fed
        if number == index.n_packets:
            self._ended = True
            self._collect(None, number - 1)
            for lost in list(self._waiting):
                self._mark_damaged(lost)
            return
        data = self._reader.next()
        self._fed += 1
        # Leading pictures of the group at which decoding was entered cannot come out whole.
        if index.base[number] >= self._entry and index.frame[number] >= 0:
            self._waiting[number] = int(index.moment[index.frame[number]])
        if index.is_corrupt[number]:
            self._mark_damaged(number)
        data.pts, data.dts = number, None
        self._collect(data, number)

    def _collect(self, data: Packet | None, number: int) -> None:
        try:
            frames = self._reader.decode(data)
        except FFmpegError:
            self._mark_damaged(number)
            return
        index = self._index
        for frame in frames:
            packet = frame.pts
            if packet is None or index.frame[packet] < 0:
                continue
            n = int(index.frame[packet])
            self._waiting.pop(packet, None)
            self._latest = max(self._latest, int(index.moment[n]))
            if frame.is_corrupt or (frame.height, frame.width) != index.decoded_size:
                self._mark_damaged(packet)
                continue
            if index.base[packet] >= self._entry:
                self._first_sound = min(self._first_sound, packet)
            if n >= self._frame:
                self._arrived[n] = frame
        # Frames come out in order: one that was overtaken by a later one does not come any more,
        # unless damage muddled the order for as long as decoders hold frames back.
        overdue = self._fed - _HELD_BACK
        for lost in [p for p, moment in self._waiting.items() if moment < self._latest]:
            if lost < overdue:
                self._mark_damaged(lost)

    def _mark_damaged(self, packet: int) -> None:
        self._waiting.pop(packet, None)
        if self._careful_until >= 0:
            self._careful_until = max(self._careful_until, packet)
        if packet not in self._damaged:
            insort(self._damaged, packet)
