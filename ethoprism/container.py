"""Opening a video file, reading its packets, and noticing where it was cut off."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from ethoprism.errors import VideoError
from ethoprism.frame_index import NO_VALUE

_MOST_FAULTS = 100  # read errors after which the rest of a file is given up
_ISO_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"moof", b"uuid"}
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)

# FFmpeg also opens playlists, scripts and patterns of names, which read other files or the network,
# and takes any text for a film of a terminal. Only containers and streams of pictures are opened.
_FORMATS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,asf_o,ogg,mxf,mxg,gxf,nut,rm,dv,ivf,obu,"
    "av1,h261,h263,h264,hevc,vvc,m4v,vc1,vc1test,cavsvideo,avs2,avs3,dirac,dnxhd,mjpeg,mjpeg_2000,"
    "smjpeg,ingenient,mpjpeg,yuv4mpegpipe,gif,apng,wtv,pmp,nuv,ipmovie,lmlm4,dhav,ser,cine,mlv"
)


@dataclass(frozen=True, eq=False)
class PacketTable:
    """The packets of a stream as the demuxer gives them; arrays ``(n_packets,)``.

    Timestamps (in ticks) and sizes and positions (in bytes) are int64, flags are bool. What the
    container does not state is `NO_VALUE`.
    """

    pts: np.ndarray
    dts: np.ndarray
    pos: np.ndarray
    size: np.ndarray
    is_key: np.ndarray
    is_corrupt: np.ndarray
    is_shown: np.ndarray

    def __len__(self) -> int:
        return len(self.size)

    def without_cut_end(self) -> PacketTable:
        """These packets without the last ones, if the file breaks off in them."""
        sound = np.flatnonzero(~self.is_corrupt)
        end = int(sound[-1]) + 1 if len(sound) else 0
        return PacketTable(**{name: values[:end] for name, values in vars(self).items()})


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """The opened container and its main video stream. The caller closes the container.

    Raises
    ------
    VideoError
        If there is no such file, or it is no video, or holds no video stream that can be decoded.
    """
    _require_file(path)
    try:
        # Titles written in another encoding than they claim must not keep a video from opening.
        # The prefix makes every name a file's, "http:" and "concat:a|b" too.
        container = av.open(
            f"file:{path}",
            metadata_errors="replace",
            container_options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        )
    except (FFmpegError, OSError, ValueError) as error:
        raise _cannot_open(path, error) from error
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams})
        container.close()
        raise VideoError(
            f"{path} holds no video stream",
            expected="a file with moving pictures",
            found=f"only {' and '.join(kinds)}" if kinds else "a container without any stream",
            remedy="Choose the video file; if this is it, the recording stopped before a frame.",
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
    if stream.codec_context is None:
        container.close()
        raise VideoError(
            f"{path} is coded in a way for which there is no decoder here",
            remedy="Convert it to H.264 in an mp4 file, for instance with ffmpeg.",
        )
    return container, stream


def prepare_decoder(stream: VideoStream, *, threads: bool) -> None:
    """Choose how a freshly opened stream is decoded: quickly, or so that damage is told apart.

    With threads, the decoder raises an error for anything it does not like, at some packet: threads
    can neither say which packet it was, nor conceal errors reproducibly, and now and then they lose
    the mark of a corrupt frame. Without threads, a harmless fault passes and damage is told of the
    packet that has it.
    """
    decoder = stream.codec_context
    decoder.thread_type = "AUTO" if threads else "NONE"
    decoder.thread_count = 0 if threads else 1
    # The decoder of MJPEG shows a picture that breaks off, with an older one below, unless it is
    # told to fail. Cameras on a crowded USB bus send such pictures.
    if threads or decoder.codec.canonical_name == "mjpeg":
        decoder.options = {"err_detect": "explode"}


def read_packets(
    container: InputContainer, stream: VideoStream, faults: list[str]
) -> Iterator[Packet]:
    """The packets of a stream that hold data, in the order of the file.

    Reading goes on behind damaged places; what the demuxer says about them is added to ``faults``.
    Empty packets (an AVI's slots for dropped frames, the end of the stream) hold no picture.
    """
    while len(faults) < _MOST_FAULTS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            return
        except (FFmpegError, IndexError) as error:
            # PyAV raises IndexError where damage makes a stream appear that was not announced.
            faults.append(_reason(error))


def scan_packets(container: InputContainer, stream: VideoStream, faults: list[str]) -> PacketTable:
    """The packets of a stream, read to the end without decoding any."""
    pts, dts, pos, size = array("q"), array("q"), array("q"), array("q")
    is_key, is_corrupt, is_shown = bytearray(), bytearray(), bytearray()
    is_vp8 = stream.codec_context.name in ("vp8", "libvpx")
    for packet in read_packets(container, stream, faults):
        pts.append(NO_VALUE if packet.pts is None else packet.pts)
        dts.append(NO_VALUE if packet.dts is None else packet.dts)
        pos.append(NO_VALUE if packet.pos is None else packet.pos)
        size.append(packet.size)
        is_key.append(packet.is_keyframe)
        is_corrupt.append(packet.is_corrupt)
        is_shown.append(not packet.is_discard and not (is_vp8 and _is_hidden_vp8(packet)))
    return PacketTable(
        pts=np.array(pts, np.int64),
        dts=np.array(dts, np.int64),
        pos=np.array(pos, np.int64),
        size=np.array(size, np.int64),
        is_key=np.array(is_key, np.uint8).astype(bool),
        is_corrupt=np.array(is_corrupt, np.uint8).astype(bool),
        is_shown=np.array(is_shown, np.uint8).astype(bool),
    )


def stated_frames(stream: VideoStream) -> int | None:
    """Frames that the container states, or None if it states no number."""
    # Matroska has no field for it, and the tag that some programs write survives trimming.
    return stream.frames or None


def truncation(path: Path) -> str:
    """A sentence that says where the file was cut off, or "" if it is whole as far as can be known.

    MP4 and QuickTime files are a row of boxes, AVI files of RIFF chunks, and a Matroska or WebM
    file one segment; each states its length, which is compared with the file's, and so does each
    tag of an FLV file. Other containers (MPEG transport streams, raw streams) state none.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        file.seek(0)
        if head[:4] == b"RIFF":
            return _cut_riff(file, length)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _cut_matroska(file, length)
        if head[4:8] in _ISO_BOXES:
            return _cut_iso(file, length)
        if head[:3] == b"FLV":
            return _cut_flv(file, length)
    return ""


def _is_hidden_vp8(packet: Packet) -> bool:
    """Whether the frame tag says that the frame is only referred to (RFC 6386, section 9.1)."""
    return not memoryview(packet)[0] >> 4 & 1


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(
            f"{path} is a folder",
            expected="a video file",
            remedy="Name one of the files in it.",
        )
    if not path.is_file():
        raise VideoError(
            f"There is no file {path}",
            expected="a video file",
            remedy="Check the spelling, and that the drive is connected.",
        )
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(
            f"{path} cannot be read", found=str(error), remedy="Check its permissions."
        ) from error
    if empty:
        raise VideoError(
            f"{path} is empty",
            expected="a video file",
            found="0 bytes",
            remedy="Copy the recording again from where it was made.",
        )


def _cannot_open(path: Path, error: Exception) -> VideoError:
    cut = truncation(path)
    if "index" in cut:
        return VideoError(
            f"{path} was not finished",
            expected="an mp4 or mov file with its index (the moov box)",
            found=cut,
            remedy="The camera or program stopped before it wrote the index, or the copy broke off."
            " Copy it again, or restore it with a repair tool and a sound file of the same camera.",
        )
    return VideoError(
        f"{path} is no video that can be opened",
        expected="a video file, such as mp4, mkv, avi, webm or mov",
        found=cut or _reason(error),
        remedy="Play it in another program; if it plays there, convert it to mp4 (H.264).",
    )


def _reason(error: Exception) -> str:
    """What FFmpeg says, without its number."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _cut_iso(file: BinaryIO, length: int) -> str:
    """Where a row of ISO base media boxes breaks off (ISO/IEC 14496-12, section 4.2)."""
    at, kinds = 0, set()
    cut = ""
    while at + 8 <= length:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            extended = file.read(8)
            size = struct.unpack(">Q", extended)[0] if len(extended) == 8 else length - at + 1
        elif size == 0:
            size = length - at  # the last box may say that it ends with the file
        if size < 8 or not kind.isascii():
            break  # other data behind the boxes
        kinds.add(kind)
        at += size
        if at > length:
            cut = f"the file ends {at - length} bytes before its {kind.decode('ascii')} box does"
    if b"moov" not in kinds:
        return "there is no index (moov box)" + (f", and {cut}" if cut else "")
    return cut


def _cut_riff(file: BinaryIO, length: int) -> str:
    """Where a row of RIFF chunks breaks off."""
    at = 0
    while at + 12 <= length:
        file.seek(at)
        kind, size, _ = struct.unpack("<4sI4s", file.read(12))
        if kind != b"RIFF":
            break
        if size in _UNKNOWN_SIZES:
            return "the file was not closed: its RIFF chunk does not state a length"
        at += 8 + size + size % 2
    # The padding byte of an odd chunk is left out by some writers.
    return (
        f"the file ends {at - length} bytes before its RIFF chunk does" if at > length + 1 else ""
    )


def _cut_matroska(file: BinaryIO, length: int) -> str:
    """Where the segment of a Matroska file breaks off (RFC 8794: element ids and sizes)."""
    file.seek(4)
    header = _ebml_size(file)
    if header is None:
        return ""
    file.seek(header, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return ""
    size = _ebml_size(file)
    if size is None:  # unknown by design in streamed files, which are whole nevertheless
        return ""
    end = file.tell() + size
    return f"the file ends {end - length} bytes before its segment does" if end > length else ""


def _cut_flv(file: BinaryIO, length: int) -> str:
    """Where a row of FLV tags breaks off (Adobe Flash Video File Format 10.1, annex E).

    FFmpeg reads a tag whose header is cut as the end of the file.
    """
    file.seek(5)
    at = int.from_bytes(file.read(4), "big") + 4
    while at < length:
        file.seek(at)
        head = file.read(4)
        if head[0] & 0x1F not in (8, 9, 18):
            return ""  # other data behind the tags
        at += 11 + int.from_bytes(head[1:], "big") + 4 if len(head) == 4 else 15
    # The number behind the last tag, which tells its size, is left out by some writers.
    return f"the file breaks off {at - length} bytes before a tag ends" if at > length + 4 else ""


def _ebml_size(file: BinaryIO) -> int | None:
    """An element's size, or None if unknown; the first byte's leading zeros tell its width."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1), "big") & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value
