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
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ethoprism.container import open_video, prepare_decoder, read_packets
from ethoprism.errors import VideoError
from ethoprism.frame_index import NO_VALUE, FrameIndex

_STRANGE = 64  # unknown packets behind a seek after which it is given up
_HELD_BACK = 32  # packets that may go in before a frame comes out: 16 by the codecs' rules
_MOST_ALARMS = 16  # after which threads are not tried any more
_WORTH_A_SEEK = 16  # packets that are quicker decoded than jumped over


class AstrayError(Exception):
    """Behind a seek, the file gave other packets than the index knows."""


class PacketReader:
    """Packets of a recording from any packet on, each checked against the index.

    Some containers (MPEG program streams) give packets other marks behind a seek than from the
    start. Once that is noticed, the recording is always read from the start: slowly, but exactly.
    """

    def __init__(self, path: Path, index: FrameIndex):
        self._path = path
        self._index = index
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._packets: Iterator[Packet] = iter(())
        self._pending: Packet | None = None
        self._next = 0
        self._threads = False
        self._may_seek = True
        self._sought = self._primed = False

    def start(self, packet: int, *, threads: bool) -> None:
        """Stand before ``packet`` with an empty decoder, which may use several threads or one.

        Raises
        ------
        VideoError
            If the file no longer holds the packets of the index.
        """
        if self._stream is None or self._threads != threads:
            self._open(threads)
        else:
            self._stream.codec_context.flush_buffers()
        if self._next == packet:
            return
        if not self._primed:
            self._prime()
        if not self._seek_before(packet):
            self._open(threads)
            if packet > 0:
                self._prime()
        while self._next < packet:
            self.next()

    def next(self) -> Packet:
        """The next packet.

        Raises
        ------
        AstrayError
            If it is another one than the index says, and reading began with a seek.
        VideoError
            If it is another one although reading began at the start: the file has changed.
        """
        packet = self._pending if self._pending is not None else next(self._packets, None)
        self._pending = None
        if packet is None or not self._index.matches(
            self._next, packet.pts, packet.pos, packet.size
        ):
            expected = f"packet {self._next} of {self._index.n_packets} as it was then"
            self.close()
            if self._sought:
                self._may_seek = False
                raise AstrayError
            raise VideoError(
                f"{self._path} has changed since it was imported",
                expected=expected,
                found="the end of the file" if packet is None else "another packet",
                remedy="Import the recording again.",
            )
        self._primed |= self._next == 0
        self._next += 1
        return packet

    def decode(self, packet: Packet | None) -> list[VideoFrame]:
        """The frames that the decoder gives for a packet, or for the end of the stream."""
        if self._stream is None:
            return []
        return self._stream.codec_context.decode(packet)

    def leave_out(self, on: bool) -> bool:
        """Leave out pictures that no other leans on, from now on; whether that can be done.

        In H.264 alone: other codecs mark pictures that none of the same layer leans on.
        """
        if self._stream is None or self._stream.codec_context.codec.canonical_name != "h264":
            return False
        self._stream.codec_context.skip_frame = "NONREF" if on else "DEFAULT"
        return True

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._packets = iter(())
            self._container.close()
            self._container = self._stream = None

    def _open(self, threads: bool) -> None:
        self.close()
        self._container, _ = open_video(self._path)
        stream = self._container.streams[self._index.stream]
        if not isinstance(stream, VideoStream):
            raise VideoError(
                f"{self._path} has changed since it was imported",
                expected=f"video in stream {self._index.stream}",
                found=f"{stream.type}",
                remedy="Import the recording again.",
            )
        prepare_decoder(stream, threads=threads)
        self._threads = threads
        self._stream = stream
        self._sought = self._primed = False
        self._read_on()

    def _prime(self) -> None:
        """Show the decoder the first packet, and forget the picture.

        There alone some encoders say who they are, and decoders mend the known faults of encoders:
        without it, H.264 in 4:4:4 from x264 before build 151 decodes to noise, with no error.
        """
        with suppress(FFmpegError):
            self.decode(self.next())
        if self._stream is not None:
            self._stream.codec_context.flush_buffers()

    def _seek_before(self, packet: int) -> bool:
        """Whether a seek led to the packet or to one before it."""
        target = packet
        for _ in range(3 if self._may_seek else 0):
            landed = self._seek(target)
            if landed is not None and landed <= packet:
                return True
            target = self._index.entry_before(target)  # it landed too late
        return False

    def _seek(self, target: int) -> int | None:
        """Seek to a packet by its timestamp; the packet at which that landed, if it is known."""
        if self._container is None or self._stream is None:
            return None
        stamps = (int(self._index.dts[target]), int(self._index.pts[target]))
        if "matroska" in self._container.format.name:
            stamps = stamps[::-1]  # its cues hold times of presentation, other indices of decoding
        stamp = next((stamp for stamp in stamps if stamp != NO_VALUE), None)
        if stamp is None:
            return None
        try:
            self._container.seek(stamp, stream=self._stream)
        except FFmpegError:
            return None
        self._read_on()
        self._sought = True
        for _ in range(_STRANGE):
            packet = next(self._packets, None)
            if packet is None:
                return None
            landed = self._index.find(packet.pts, packet.pos, packet.size)
            if landed is not None:
                self._pending, self._next = packet, landed
                return landed
        return None

    def _read_on(self) -> None:
        if self._container is not None and self._stream is not None:
            self._packets = read_packets(self._container, self._stream, [])
            self._pending, self._next = None, 0


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
