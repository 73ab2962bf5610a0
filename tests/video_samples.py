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
