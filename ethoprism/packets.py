"""PacketReader: the packets of a video under their number in the file, from any of them on."""

from __future__ import annotations

from collections.abc import Iterator
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
