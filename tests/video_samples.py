"""Small videos made for tests: each frame shows its own number in blocks that survive coding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

WIDTH, HEIGHT = 160, 96
_BITS = 12  # in two rows of six blocks


@dataclass(frozen=True)
class Sample:
    """How a test video is made.

    Attributes
    ----------
    name
        File name; its ending chooses the container.
    codec, pixels
        Encoder and pixel format.
    options, container
        Options of the encoder and of the container.
    bframes
        Most B-frames in a row, or None for the encoder's own choice.
    size
        Width and height.
    """

    name: str
    codec: str
    pixels: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    bframes: int | None = None
    size: tuple[int, int] = (WIDTH, HEIGHT)


OPEN_GOP = {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}
SHORT = {"g": "20", "bf": "3", "sc_threshold": "0"}
LONG = {"g": "300", "bf": "3", "sc_threshold": "0"}
HEVC = "keyint=20:bframes=3:scenecut=0:log-level=none:pools=1:frame-threads=1"
REFRESH = {"x264-params": "intra-refresh=1:keyint=20:bframes=2"}
AV1 = {"g": "20", "preset": "12", "crf": "15", "svtav1-params": "lp=1"}
VP9 = {"g": "20", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "10"}

SAMPLES = [
    Sample("b_frames.mp4", "libx264", options=SHORT),
    Sample("b_frames.mov", "libx264", options=SHORT),
    Sample("b_frames.mkv", "libx264", options=SHORT),
    Sample("b_frames.ts", "libx264", options=SHORT),
    Sample("b_frames.flv", "libx264", options=SHORT),
    Sample("b_frames.avi", "libx264", options=SHORT),  # AVI says nothing of their order
    Sample("raw.h264", "libx264", options=SHORT),  # no timestamps at all
    Sample("no_b_frames.mp4", "libx264", options={"g": "20", "bf": "0"}),
    Sample("fragments.mp4", "libx264", "yuv420p", SHORT, {"movflags": "frag_keyframe"}),
    Sample("open_gop.mp4", "libx264", options=OPEN_GOP),
    Sample("open_gop.mkv", "libx264", options=OPEN_GOP),
    Sample("open_gop.ts", "libx264", options=OPEN_GOP),
    Sample("refresh.mp4", "libx264", options=REFRESH),
    Sample("refresh.ts", "libx264", options=REFRESH),
    Sample("long_gop.mp4", "libx264", options=LONG),
    Sample("ten_bit.mp4", "libx264", "yuv420p10le", SHORT),
    Sample("yuv444.mp4", "libx264", "yuv444p", SHORT),
    Sample("odd.mp4", "libx264", "yuv444p", SHORT, size=(161, 97)),
    Sample("hevc.mp4", "libx265", options={"x265-params": HEVC + ":open-gop=0"}),
    Sample("hevc_open.mkv", "libx265", options={"x265-params": HEVC + ":open-gop=1"}),
    Sample("vp8.webm", "libvpx", options=VP9),
    Sample("vp9.webm", "libvpx-vp9", options=VP9),
    Sample("av1.mp4", "libsvtav1", options=AV1),
    Sample("av1.webm", "libsvtav1", options=AV1),
    Sample("mpeg4.avi", "mpeg4", options={"g": "20"}, bframes=0),
    Sample("mpeg4_b.avi", "mpeg4", options={"g": "20"}, bframes=2),
    Sample("mpeg4_b.mp4", "mpeg4", options={"g": "20"}, bframes=2),
    Sample("mpeg2.mpg", "mpeg2video", options={"g": "20"}, bframes=2),
    Sample("mpeg2.ts", "mpeg2video", options={"g": "20"}, bframes=2),
    Sample("wmv2.wmv", "wmv2", options={"g": "20"}),
    Sample("mjpeg.avi", "mjpeg", "yuvj420p"),
    Sample("mjpeg.mov", "mjpeg", "yuvj422p"),
    Sample("ffv1.mkv", "ffv1"),
    Sample("ffv1_odd.mkv", "ffv1", size=(161, 97)),
    Sample("ffv1_gray16.mkv", "ffv1", "gray16le"),
    Sample("huffyuv.avi", "huffyuv", "yuv422p"),
    Sample("uncompressed.avi", "rawvideo", "bgr24"),
    Sample("prores.mov", "prores_ks", "yuv422p10le"),
    Sample("qtrle.mov", "qtrle", "rgb24"),
]


def picture(number: int, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    """uint8 RGB ``[height, width, 3]`` that shows ``number`` before a moving texture (seed 0)."""
    width, height = size
    texture = np.random.default_rng(0).integers(40, 90, (height, width, 3), dtype=np.uint8)
    image = np.roll(texture, number, axis=1)
    for bit in range(_BITS):
        rows, columns = _block(bit, width, height, margin=2)
        image[rows, columns] = 235 if number >> bit & 1 else 16
    return image


def number_in(image: np.ndarray) -> int:
    """The number that a decoded picture shows."""
    height, width, _ = image.shape
    number = 0
    for bit in range(_BITS):
        rows, columns = _block(bit, width, height, margin=6)
        number |= int(image[rows, columns].mean() > 125) << bit
    return number


def write(
    folder: Path,
    sample: Sample,
    n: int = 60,
    *,
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    shift: int = 0,
) -> Path:
    """A video whose frame n is shown at tick ``ticks[n]`` (by default n), in units of the base.

    ``shift`` is added to the timestamps of the coded packets, so that they may start below 0.
    Equal ticks are possible where each picture is coded on its own.
    """
    path = folder / sample.name
    equal = ticks is not None and len(set(ticks)) < len(ticks)
    with av.open(str(path), "w", options=sample.container) as container:
        stream = container.add_stream(sample.codec, rate=25, options=sample.options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = sample.size
        stream.pix_fmt = sample.pixels
        stream.codec_context.time_base = time_base
        # Encoders that thread over frames are slow to start and gain nothing at this size.
        stream.codec_context.thread_count = 1
        if sample.bframes is not None:
            stream.codec_context.max_b_frames = sample.bframes

        def put(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                if shift and packet.pts is not None and packet.dts is not None:
                    packet.pts += shift
                    packet.dts += shift
                if equal and ticks is not None and packet.pts is not None:
                    packet.pts = packet.dts = ticks[packet.pts]
                container.mux(packet)

        for number in range(n):
            frame = av.VideoFrame.from_ndarray(picture(number, sample.size), format="rgb24")
            frame.pts = number if ticks is None or equal else ticks[number]
            frame.time_base = time_base
            put(frame)
        put(None)
    return path


def packet_table(path: Path) -> list[tuple[int, int, int, bool]]:
    """``(pts, position, size, is_key)`` of every packet of the video, in the order of the file."""
    with av.open(str(path)) as container:
        return [
            (packet.pts or 0, packet.pos or 0, packet.size, packet.is_keyframe)
            for packet in container.demux(video=0)
            if packet.size
        ]


def damage(path: Path, position: int, size: int, name: str, fill: bytes = b"\0") -> Path:
    """A copy of the file with ``size`` bytes from ``position`` on overwritten with ``fill``."""
    content = bytearray(path.read_bytes())
    content[position : position + size] = (fill * size)[:size]
    damaged = path.with_name(name)
    damaged.write_bytes(content)
    return damaged


def cut(path: Path, fraction: float, name: str) -> Path:
    """A copy of the first part of the file."""
    content = path.read_bytes()
    shorter = path.with_name(name)
    shorter.write_bytes(content[: int(len(content) * fraction)])
    return shorter


def write_sound(path: Path) -> Path:
    """A file with a second of silence and no video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        for start in range(0, 44100, 1024):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
            )
            frame.rate, frame.pts = 44100, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_nothing(path: Path) -> Path:
    """A container with a video stream and not one frame."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    return path


def _block(bit: int, width: int, height: int, margin: int) -> tuple[slice, slice]:
    row, column = divmod(bit, _BITS // 2)
    tall, wide = height // 2, width // (_BITS // 2)
    return (
        slice(row * tall + margin, (row + 1) * tall - margin),
        slice(column * wide + margin, (column + 1) * wide - margin),
    )
