"""Seeks to random frames, against the readers of other napari plugins; a part of `gui.py`."""

from __future__ import annotations

import contextlib
import importlib
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream

from ethoprism.recording import Recording, open_frames, open_recording
from napari_ethoprism.frame_supply import FrameSupply, open_decoder

WIDTH, HEIGHT, RATE, GROUP = 1920, 1080, 25, 250
ENCODED = 1500  # frames that are encoded; longer videos repeat their groups of pictures
PEERS = {
    "napari_video": ("napari_video.napari_video", "VideoReaderNP"),
    "napari_pyav": ("napari_pyav._reader", "FastVideoReader"),
}
TIMEOUT_S = 120.0


def long_video(n_frames: int) -> Path:
    """A 1080p H.264 video with groups of 250 frames and B-frames, made once and kept in /tmp.

    Textured squares move over a still, grainy ground. One minute is encoded; a longer video repeats
    its coded pictures with later timestamps.
    """
    folder = Path(tempfile.gettempdir()) / "ethoprism-benchmark"
    folder.mkdir(exist_ok=True)
    path = folder / f"1080p_{n_frames}.mp4"
    if path.is_file():
        return path
    unfinished = path.with_suffix(".part.mp4")
    encoded = min(n_frames, ENCODED)
    with av.open(str(unfinished), "w") as container:
        options = {"preset": "superfast", "crf": "24", "g": str(GROUP), "sc_threshold": "0"}
        stream = container.add_stream("libx264", rate=RATE, options={**options, "bf": "3"})
        if not isinstance(stream, VideoStream):
            raise TypeError("expected a stream of video")
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for picture in pictures(encoded):
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="yuv420p"))
        packets += stream.encode(None)
        data = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
        base = packets[0].time_base
        ticks = round(1 / (RATE * base))
        for start in range(0, n_frames, encoded):
            for content, pts, dts, key in data:
                packet = av.Packet(content)
                packet.stream, packet.time_base = stream, base
                packet.pts, packet.dts = pts + start * ticks, dts + start * ticks
                packet.is_keyframe = key
                container.mux(packet)
    unfinished.rename(path)
    return path


def pictures(n: int) -> Iterator[np.ndarray]:
    """Pictures in YUV 4:2:0, ``[height * 3 / 2, width]``."""
    rng = np.random.default_rng(0)
    ground = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    ground[:HEIGHT] = rng.integers(90, 130, (HEIGHT, WIDTH))
    side = 96
    squares = rng.integers(16, 235, (12, side, side)).astype(np.uint8)
    speed = rng.uniform(-9, 9, (12, 2))
    place = rng.uniform(0, 900, (12, 2))
    room = np.array([HEIGHT - side, WIDTH - side])
    for k in range(n):
        picture = ground.copy()
        for square, at, by in zip(squares, place, speed, strict=True):
            path = (at + by * k) % (2 * room)  # to and fro between the edges
            y, x = np.minimum(path, 2 * room - path).astype(int)
            picture[y : y + side, x : x + side] = square
        yield picture


class Ours:
    """Frames as the viewer gets them: asked for in one thread, decoded in another."""

    def __init__(self, recording: Recording):
        shape = (recording.n_frames, recording.height, recording.width, 3)
        # Nothing is decoded ahead, which would only take time from the other readers.
        self._supply = FrameSupply(
            lambda: open_decoder(recording), shape, lambda n: None, furthest=0
        )

    def __getitem__(self, n: int) -> np.ndarray:
        self._supply.want(n)
        picture = self._supply.picture(n, TIMEOUT_S)
        if picture is None or picture.problem:
            raise RuntimeError(f"frame {n} did not come")
        return picture.rgb

    def settle(self) -> None:
        """Wait until the thread is at rest."""
        self._supply.settle(TIMEOUT_S)

    def close(self) -> None:
        self._supply.close()


def peers(path: Path) -> dict[str, Any]:
    """Readers of the peers that are installed."""
    found = {}
    for name, (module, reader) in PEERS.items():
        with contextlib.suppress(ImportError):
            found[name] = getattr(importlib.import_module(module), reader)(str(path))
    return found


def timed(get: Callable[[int], Any], n: int) -> tuple[float, Any]:
    """Seconds that a frame takes, and the frame; None if the reader fails."""
    began = time.perf_counter()
    try:
        frame = get(n)
    except Exception:
        frame = None
    return time.perf_counter() - began, frame


def is_frame(exact: Any, n: int, frame: Any) -> bool:
    """Whether a peer's picture is frame ``n``: nearest to it, of those around, but for rounding."""
    if frame is None or frame.shape != exact.shape[1:]:
        return False
    around = [k for k in (n, n - 1, n + 1) if 0 <= k < len(exact)]
    small = frame[::2, ::2].astype(np.int16)
    away = [np.abs(exact[k][::2, ::2] - small).mean() for k in around]
    return away[0] < 6 and away[0] <= min(away)


def seeks(path: Path, count: int, seed: int) -> dict[str, Any]:
    """Seconds of each reader for the same random frames, in turn; how many were other frames."""
    recording, _ = open_recording(path)
    readers: dict[str, Any] = {"ethoprism": Ours(recording)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        readers |= peers(path)
        exact = open_frames(recording)
        numbers = random.Random(seed).sample(range(recording.n_frames), count)
        for reader in readers.values():
            timed(reader.__getitem__, recording.n_frames // 2)  # opens the file and the decoder
        seconds: dict[str, list[float]] = {name: [] for name in readers}
        other = dict.fromkeys(readers, 0)
        for i, n in enumerate(numbers):
            # Who comes first changes, so that the disk cache helps none of them.
            names = list(readers)
            for name in names[i % len(names) :] + names[: i % len(names)]:
                taken, frame = timed(readers[name].__getitem__, n)
                if name == "ethoprism":
                    readers[name].settle()
                    if not np.array_equal(frame, exact[n]):
                        raise RuntimeError(f"frame {n} is another one")
                seconds[name].append(taken)
                other[name] += not is_frame(exact, n, frame)
    for reader in (readers["ethoprism"], exact):
        reader.close()
    return {"seconds": seconds, "other": other}
