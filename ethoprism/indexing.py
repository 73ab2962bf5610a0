"""Making a `FrameIndex`: which packets are frames, in which order, and when they are shown.

The packets' own timestamps decide where the container states them, and nothing but the first
frames is decoded, to check that they do come out in that order. Where timestamps are missing or
belie the order, the whole stream is decoded once and the decoder's order counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ethoprism.container import (
    PacketTable,
    open_video,
    prepare_decoder,
    read_packets,
    scan_packets,
    stated_frames,
    truncation,
)
from ethoprism.errors import VideoError
from ethoprism.frame_index import NO_VALUE, Findings, FrameIndex, Picture

_HEAD = 32  # packets that are decoded to check the order which the timestamps promise
_SYNCING = {"h264"}  # decoders that give nothing until what they are entered at is whole
# The numbers of ISO/IEC 23091-2, matrix coefficients.
_MATRICES = {0: "RGB", 1: "BT.709", 2: "unspecified", 5: "BT.601", 6: "BT.601", 9: "BT.2020"}
_EXACT = 2**53  # up to here float64 holds every integer


@dataclass
class _Trace:
    """What decoding from the start gave: packets by their number in the file."""

    arrived: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    not_key: list[int] = field(default_factory=list)
    first: VideoFrame | None = None

    def take(self, frames: list[VideoFrame]) -> None:
        for frame in frames:
            packet = frame.pts
            if packet is None:
                continue
            self.first = self.first or frame
            self.arrived.append(packet)
            if frame.is_corrupt:
                self.corrupt.append(packet)
            if not frame.key_frame:
                self.not_key.append(packet)


def build_index(path: Path) -> tuple[FrameIndex, Findings]:
    """The frame index of a video file, and what there is to say about it.

    Damage is reported, not refused: the index covers what can be read.

    Raises
    ------
    VideoError
        If the file cannot be opened, or holds no frame that can be decoded.
    """
    container, stream = open_video(path)
    with container:
        faults: list[str] = []
        packets = scan_packets(container, stream, faults)
        kind = container.format.name
        stated = stated_frames(stream)
        notes = _stream_notes(container, stream)
        aspect = stream.sample_aspect_ratio
        number, tick = stream.index, _time_base(stream, path)
        rate = stream.average_rate or stream.guessed_rate
        codec = stream.codec_context.codec.canonical_name
    damage = _damage(path, packets, stated, kind, faults)
    packets = packets.without_cut_end()
    if not packets.is_shown.any():
        raise _no_frames(path, "no packet with a picture")
    head = _decode(path, packets, _HEAD, threads=False)
    packets = _without_undecodable_start(packets, head, notes)
    order = _order_by_timestamps(packets, kind)
    false_keys = codec not in _SYNCING and packets.is_key[head.not_key].any()
    if order is not None and not false_keys and _holds(order, head, packets):
        ticks, missing, trace = packets.pts[order], 0, head
    else:
        stamped, (order, trace) = order, _order_by_decoding(path, packets)
        if codec not in _SYNCING:
            packets = replace(packets, is_key=_without(packets.is_key, trace.not_key))
        ticks, missing = _ticks(packets, order, kind, tick, rate, path)
        if stamped is None or not np.array_equal(order, stamped):
            notes.append(_how_timed(missing, ticks, rate))
    broken = sorted({*trace.failed, *trace.corrupt})
    if broken:
        damage.append(f"{len(broken)} packets cannot be decoded whole, the first is {broken[0]}")
    if trace.first is None:
        raise _no_frames(path, "no packet that the decoder turns into a picture")
    picture = _picture(aspect, trace.first)
    notes += _display_notes(picture)
    turns = picture.rotation // 90 if picture.rotation % 90 == 0 else 0
    index = _assemble(number, trace.first, turns, packets, order, _seconds(ticks, tick))
    findings = Findings(stated, missing, float(tick), tuple(damage), tuple(notes), picture)
    return index, findings


def _decode(path: Path, packets: PacketTable, limit: int, *, threads: bool) -> _Trace:
    """Decode from the start until ``limit`` packets are in and a frame is out, or to the end.

    Each packet carries its number as timestamp through the decoder, so that a frame says from
    which packet it came whatever the container's timestamps are worth.
    """
    trace = _Trace()
    container, stream = open_video(path)
    with container:
        prepare_decoder(stream, threads=threads)
        decoder = stream.codec_context
        for number, packet in enumerate(read_packets(container, stream, [])):
            if number == len(packets) or (number >= limit and trace.arrived):
                break
            packet.pts, packet.dts = number, None
            try:
                trace.take(decoder.decode(packet))
            except FFmpegError:
                trace.failed.append(number)
        if len(packets) <= limit or not trace.arrived:
            try:
                trace.take(decoder.decode(None))
            except FFmpegError:
                trace.failed.append(len(packets) - 1)
    return trace


def _order_by_timestamps(packets: PacketTable, kind: str) -> np.ndarray | None:
    """int64 ``(n_frames,)``: the shown packets by time, or None if the times do not tell."""
    shown = np.flatnonzero(packets.is_shown)
    pts = packets.pts[shown]
    if (pts == NO_VALUE).any():
        return None
    if kind == "avi" and (pts != packets.dts[shown]).any():
        return None  # AVI numbers its packets and says nothing of presentation: FFmpeg guessed
    return shown[np.argsort(pts, kind="stable")]


def _holds(order: np.ndarray, head: _Trace, packets: PacketTable) -> bool:
    """Whether the first frames came out one per packet and in the order of their timestamps."""
    pts = packets.pts[head.arrived]
    if not len(pts) or (np.diff(pts) < 0).any() or len(set(head.arrived)) < len(pts):
        return False
    due = order[packets.pts[order] < pts[-1]]
    return set(due.tolist()) <= {*head.arrived, *head.failed}


def _order_by_decoding(path: Path, packets: PacketTable) -> tuple[np.ndarray, _Trace]:
    """The packets that become frames in the order in which the decoder shows them."""
    everything = len(packets)
    trace = _decode(path, packets, everything, threads=True)
    if trace.failed or trace.corrupt:
        # Only without threads is an error raised for the packet that caused it.
        trace = _decode(path, packets, everything, threads=False)
    if not trace.arrived:
        raise _no_frames(path, "no packet that the decoder turns into a picture")
    order = np.array(trace.arrived, np.int64)
    if len(np.unique(order)) < len(order):
        raise VideoError(
            f"{path} packs several pictures into one packet, so frames cannot be told apart",
            remedy="Convert it to H.264 in an mp4 file, for instance with ffmpeg.",
        )
    lost = _lost_packets(packets, order, trace.failed)
    # A lost packet keeps a place behind the packets before it, so that what follows keeps its
    # number.
    latest = np.full(everything, -1.0)
    latest[order] = np.arange(len(order))
    place = np.concatenate([latest[order], np.maximum.accumulate(latest)[lost] + 0.5])
    return np.concatenate([order, lost])[np.argsort(place, kind="stable")], trace


def _lost_packets(packets: PacketTable, order: np.ndarray, failed: list[int]) -> np.ndarray:
    """int64: packets that would have become frames, had they or what they lean on been whole.

    These are the packets that failed and those that gave nothing between one that failed and the
    next key packet. A packet that gives nothing elsewhere holds no frame.
    """
    lost = np.zeros(len(packets), bool)
    keys = np.flatnonzero(packets.is_key)
    for packet in failed:
        behind = keys[np.searchsorted(keys, packet, side="right") :]
        lost[packet : behind[0] if len(behind) else None] = True
    lost[order] = False
    lost[: order.min()] = False  # before the first frame there is nothing to keep a place in
    return np.flatnonzero(lost & packets.is_shown)


def _ticks(
    packets: PacketTable,
    order: np.ndarray,
    kind: str,
    tick: Fraction,
    rate: Fraction | None,
    path: Path,
) -> tuple[np.ndarray, int]:
    """Times of presentation in ticks, ``(n_frames,)``, and how many the container lacks.

    The stamps are given out in ascending order: they may belong to the packets' order in the file,
    as AVI's numbers do, and time never runs backwards. They are int64 where the container states
    them all, float64 where some lie between their neighbours, and fractions (dtype object) where
    there are none and only the nominal rate is left.
    """
    pts, dts = packets.pts[order], packets.dts[order]
    missing = len(order) if kind == "avi" else int((pts == NO_VALUE).sum())
    if missing == 0:
        return np.sort(pts), 0
    whole = kind == "avi" or (dts != NO_VALUE).all()
    stamps = dts if whole else np.where(pts != NO_VALUE, pts, dts)
    known = np.flatnonzero(stamps != NO_VALUE)
    if len(known) == len(stamps):
        return np.sort(stamps), missing
    if len(known) >= 2:
        return _between(len(stamps), known, np.sort(stamps[known])), missing
    if not rate:
        raise VideoError(
            f"{path} states neither timestamps nor a frame rate",
            remedy="Put it into a container that does: ffmpeg -framerate RATE -i FILE -c copy"
            " FILE.mp4, with the camera's true rate.",
        )
    return np.array([n / (rate * tick) for n in range(len(order))], dtype=object), missing


def _between(n: int, at: np.ndarray, stamps: np.ndarray) -> np.ndarray:
    """float64 ``(n,)``: stamps known ``at`` some frames, and in line with them in between.

    Before the first and behind the last known one, frames keep the usual distance.
    """
    distance = np.median(np.diff(stamps) / np.diff(at))
    ticks = np.interp(np.arange(n), at, stamps)
    ticks[: at[0]] = stamps[0] - distance * np.arange(at[0], 0, -1)
    ticks[at[-1] + 1 :] = stamps[-1] + distance * np.arange(1, n - at[-1])
    return ticks


def _seconds(ticks: np.ndarray, tick: Fraction) -> np.ndarray:
    """float64 seconds, each the nearest to the exact product of a tick count and the time base."""
    if ticks.dtype == np.float64:
        return ticks * tick.numerator / tick.denominator
    if ticks.dtype == np.int64 and max(abs(ticks[[0, -1]])) * tick.numerator < _EXACT:
        return ticks * tick.numerator / tick.denominator
    return np.array([float(Fraction(t) * tick) for t in ticks.tolist()], np.float64)


def _assemble(
    number: int,
    first: VideoFrame,
    turns: int,
    packets: PacketTable,
    order: np.ndarray,
    seconds: np.ndarray,
) -> FrameIndex:
    height, width = (first.height, first.width) if turns % 2 == 0 else (first.width, first.height)
    frame = np.full(len(packets), -1, np.int64)
    frame[order] = np.arange(len(order))
    return FrameIndex(
        stream=number,
        height=height,
        width=width,
        turns=turns,
        pts=packets.pts,
        dts=packets.dts,
        pos=packets.pos,
        size=packets.size,
        is_key=packets.is_key,
        is_corrupt=packets.is_corrupt,
        frame=frame,
        frame_times=seconds,
    )


def _time_base(stream: VideoStream, path: Path) -> Fraction:
    if not stream.time_base or stream.time_base <= 0:
        raise VideoError(
            f"{path} states no unit for its timestamps",
            found=f"time base {stream.time_base}",
            remedy="Convert it to H.264 in an mp4 file, for instance with ffmpeg.",
        )
    return stream.time_base


def _damage(
    path: Path, packets: PacketTable, stated: int | None, kind: str, faults: list[str]
) -> list[str]:
    damage = []
    readable = len(packets.without_cut_end().size)
    # An AVI counts its slots, and a slot whose frame was dropped holds nothing.
    slots = int(packets.dts[-1]) + 1 if kind == "avi" and readable == len(packets.dts) > 0 else 0
    if stated is not None and max(readable, slots) < stated:
        damage.append(f"the container states {stated} frames, of which {readable} can be read")
    if readable < len(packets):
        damage.append("the last packet breaks off")
    cut = truncation(path)
    if cut and (stated is None or max(readable, slots) < stated):
        damage.append(cut)
    if faults:
        damage.append(f"reading met {len(faults)} errors, the first: {faults[0]}")
    corrupt = int(packets.is_corrupt[:readable].sum())
    if corrupt:
        damage.append(
            f"{corrupt} packets are incomplete, the first is {packets.is_corrupt.argmax()}"
        )
    return damage


def _without_undecodable_start(packets: PacketTable, head: _Trace, notes: list[str]) -> PacketTable:
    """Packets whose start, up to the first key picture, is not shown if it cannot be decoded.

    A file that was cut out of a longer one begins with pictures that lean on what was cut away.
    """
    first_key = int(packets.is_key.argmax())
    early = packets.is_shown & (np.arange(len(packets)) != first_key)
    leading = (packets.pts != NO_VALUE) & (packets.pts < packets.pts[first_key])
    early &= (np.arange(len(packets)) < first_key) | leading
    early[_HEAD:] = False
    early[[packet for packet in head.arrived if packet not in head.corrupt]] = False
    if not packets.is_key.any() or not early.any():
        return packets
    notes.append(
        f"{int(early.sum())} pictures at the start lean on pictures that the file does not hold;"
        " they cannot be decoded and are not counted"
    )
    for name in ("failed", "corrupt"):
        setattr(head, name, [packet for packet in getattr(head, name) if not early[packet]])
    return replace(packets, is_shown=packets.is_shown & ~early)


def _without(flags: np.ndarray, at: list[int]) -> np.ndarray:
    flags = flags.copy()
    flags[at] = False
    return flags


def _how_timed(missing: int, ticks: np.ndarray, rate: Fraction | None) -> str:
    if missing == 0:
        return "the timestamps do not follow the order of the frames; they were sorted"
    if ticks.dtype == object:
        return (
            f"the file holds no timestamps at all: seconds follow its nominal rate of {rate} frames"
            " a second and are only as good as that"
        )
    return (
        f"{missing} frames have no time of presentation: the whole stream was decoded for their"
        " order, and their times follow from the order in the file or from their neighbours"
    )


def _stream_notes(container: InputContainer, stream: VideoStream) -> list[str]:
    notes = []
    others = len(container.streams.video) - 1
    if others:
        notes.append(f"the file holds {others} more video streams; stream {stream.index} is used")
    return notes


def _picture(stream_aspect: Fraction | None, first: VideoFrame) -> Picture:
    return Picture(
        pixel_format=first.format.name,
        colour_range={1: "limited", 2: "full"}.get(int(first.color_range), "unspecified"),
        colour_matrix=_MATRICES.get(int(first.colorspace), "other"),
        rotation=first.rotation % 360,
        pixel_aspect=float(stream_aspect or 1),
        interlaced=first.interlaced_frame,
    )


def _display_notes(picture: Picture) -> list[str]:
    notes = []
    if picture.rotation:
        how = "frames are turned so" if picture.rotation % 90 == 0 else "frames are not turned"
        notes.append(f"the file asks for a turn of {picture.rotation}° counterclockwise; {how}")
    if picture.pixel_aspect != 1:
        notes.append(
            f"pixels are not square (width over height {picture.pixel_aspect:.4g}); frames are used"
            " as they are stored"
        )
    if picture.interlaced:
        notes.append("the video is interlaced; both fields of a frame are used as they are stored")
    return notes


def _no_frames(path: Path, found: str) -> VideoError:
    return VideoError(
        f"{path} holds no frame",
        expected="at least one picture",
        found=found,
        remedy="The recording stopped before a frame was written, or the file is damaged.",
    )
