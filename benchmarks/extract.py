"""Extraction end to end against the encoder alone; its memory; two Dask workers against one.

    python benchmarks/extract.py RECORDINGS_FOLDER [--quick] [--json] [--backbone prism-nano]

*End to end* is `ethoprism.extract.extract` on the courting flies: decoding, cutting, resizing,
encoding, pooling, packing and writing. *The encoder alone* is the same window encoder on the same
frames, preprocessed before and held in memory. Both run in turn; the ratio is the median over the
turns, with the lowest and the highest. Processor seconds of each part say where the rest goes.
Memory is the peak resident memory of processes that extract a recording of one minute and one of
ten. ``--quick`` takes less of the clip, one turn, JAX, and 3 s and 30 s for a minute and ten;
it leaves Dask to `extract_dask.py --quick`.
Encoders without weights have seeded parameters, and say so: their speed is that of trained ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np

from ethoprism.backbones.preprocess import preprocess
from ethoprism.extract import extract, maker, token_key
from ethoprism.frames_ahead import FramesAhead
from ethoprism.recording import Recording, open_frames, open_recording
from ethoprism.tokens import TokenStore
from ethoprism.window_encoder import WindowEncoder
from ethoprism.windows import WindowGrid
from ethoprism.workflow import choose_engine

CLIP = "courting_flies_120s.mp4"


def load(name: str, precision: str) -> Any:
    """`prism-nano`, or a backbone of the shape ``base`` or ``large`` with seeded parameters."""
    from ethoprism.backbones.nano import prism_nano

    if name == "prism-nano":
        return prism_nano(precision=precision)
    from encoder import seeded_backbone

    return seeded_backbone(name, precision)


def beginning(video: Path, frames: int, folder: Path) -> Path:
    """The first frames of a video, its packets copied as they are."""
    target = folder / f"{video.stem}_{frames}.mp4"
    with av.open(str(video)) as source, av.open(str(target), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream)
        for number, packet in enumerate(source.demux(stream)):
            if packet.dts is None or number >= frames:
                break
            packet.stream = copy
            sink.mux(packet)
    return target


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and processor seconds of this process."""
    began, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - busy


def end_to_end(recording: Recording, backbone, turns: int, folder: Path) -> dict[str, Any]:
    """Frames a second of both, their ratio, and processor milliseconds a frame of each part."""
    key = token_key(backbone.card)
    grid = WindowGrid(recording.n_frames, key.length, key.hop, key.step)
    run = WindowEncoder(grid, key.pooling, backbone)
    numbers = run.chunks(0, grid.n_sampled)
    with FramesAhead(recording, grid, key.input_size, run.batches.frames, None) as ahead:
        chunks = list(ahead.chunks(numbers.start, numbers.stop))

    def alone() -> None:
        encoder = WindowEncoder(grid, key.pooling, backbone)
        for _ in encoder.kept_rows(chunks, 0, grid.n_sampled):
            pass

    stores: Iterator[Path] = (folder / f"{turn}.zarr" for turn in range(100))

    def whole() -> None:
        for _ in extract(recording, backbone, key, next(stores)):
            pass

    alone()
    whole()  # both are compiled now
    pairs = [(timed(alone), timed(whole)) for _ in range(turns)]
    ratios = [a[0] / w[0] for a, w in pairs]
    n = grid.n_sampled
    busy = [a[1] / w[1] for a, w in pairs]
    return {
        "end_to_end_over_encoder": statistics.median(ratios),
        "spread": [min(ratios), max(ratios)],
        "encoder_over_end_to_end_cpu": statistics.median(busy),
        "frames": n,
        "encoder_frames_per_s": n / statistics.median(a[0] for a, _ in pairs),
        "end_to_end_frames_per_s": n / statistics.median(w[0] for _, w in pairs),
        "encoder_cpu_ms": 1e3 / n * statistics.median(a[1] for a, _ in pairs),
        "end_to_end_cpu_ms": 1e3 / n * statistics.median(w[1] for _, w in pairs),
        **parts(recording, key, folder),
    }


def parts(recording: Recording, key, folder: Path) -> dict[str, float]:
    """Processor milliseconds a frame of decoding to RGB, of resizing and of writing."""
    n = min(recording.n_frames, 300)
    frames: list[np.ndarray] = []

    def decode() -> None:
        reader = open_frames(recording)
        for number, frame in reader.frames(0, n):
            if frame is not None and number < 30:
                frames.append(frame)
        reader.close()

    decoding = timed(decode)[1] / n
    preprocess(frames[0], key.input_size)
    resizing = timed(lambda: [preprocess(f, key.input_size) for f in frames])[1] / len(frames)
    store = TokenStore.create(folder / "w.zarr", key, 2048, "w")
    rows = store.block(0)[1]
    values = np.random.default_rng(0).standard_normal((rows, *store.shape[1:])).astype(np.float16)
    writing = timed(lambda: store.write_block(0, values, np.ones(rows, bool)))
    return {
        "decode_cpu_ms": 1e3 * decoding,
        "resize_cpu_ms": 1e3 * resizing,
        "write_cpu_ms": 1e3 * writing[1] / rows,
        "write_ms": 1e3 * writing[0] / rows,
    }


def long_video(path: Path, seconds: int) -> Path:
    """A video of 25 frames a second of moving noise, small and quick to decode."""
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (120, 160, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuv420p"
        for number in range(25 * seconds):
            image = np.roll(noise, number % 160, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def extract_and_tell(video: Path) -> None:
    """Extract a recording with `prism-nano` and print the peak memory in MB (in a process)."""
    from ethoprism.backbones.nano import prism_nano

    backbone = prism_nano()
    recording = open_recording(video)[0]
    key = token_key(backbone.card)
    with tempfile.TemporaryDirectory() as folder:
        for _ in extract(recording, backbone, key, Path(folder) / "r.zarr"):
            pass
    print(peak_bytes() / 1e6)


def peak_bytes() -> int:
    """Peak resident memory of this program."""
    status = Path("/proc/self/status")
    if status.is_file():
        # `getrusage` would count what the process that started this one held at that time.
        (peak,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def memory(folder: Path, quick: bool) -> dict[str, Any]:
    """Peak memory of extracting ten minutes over that of one, medians of three processes each."""
    turns = 1 if quick else 3
    short, long = (3, 30) if quick else (60, 600)
    peaks: dict[int, list[float]] = {short: [], long: []}
    videos = {seconds: long_video(folder / f"{seconds}.mp4", seconds) for seconds in peaks}
    for _ in range(turns):
        for seconds, video in videos.items():
            command = [sys.executable, __file__, "--tell", str(video)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            peaks[seconds].append(float(output.split()[-1]))
    one, ten = (statistics.median(p) for p in peaks.values())
    return {
        "memory_10min_over_1min": ten / one,
        "memory_1min_mb": one,
        "memory_10min_mb": ten,
        "memory_seconds": [short, long],
    }


def dask(quick: bool) -> dict[str, Any]:
    """Two workers against one, where the benchmark of that is there."""
    script = Path(__file__).with_name("extract_dask.py")
    if not script.exists():
        return {}
    command = [sys.executable, str(script), "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def _compile_once(folder: Path) -> None:
    """Share what is compiled with the processes to come: compiling is most of a quick run."""
    import jax

    shared = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    for name, value in shared.items():
        os.environ[name.upper()] = str(value)
        jax.config.update(name, value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("recordings", type=Path, nargs="?", help="folder with the courting flies")
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument(
        "--backbone", default="prism-nano", help="prism-nano, or the shape base or large"
    )
    parser.add_argument("--engine", default="auto", help="auto, jax or openvino")
    parser.add_argument("--precision", default="float32", help="float32 or bfloat16")
    parser.add_argument("--frames", type=int, help="frames of the clip (all)")
    parser.add_argument("--turns", type=int, default=5, help="of both in turn (5)")
    parser.add_argument(
        "--only", choices=("speed", "memory", "dask"), action="append", help="may be repeated"
    )
    parser.add_argument("--tell", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tell:
        extract_and_tell(options.tell)
        return
    only = options.only or (("speed", "memory") if options.quick else ("speed", "memory", "dask"))
    frames = options.frames or (256 if options.quick else None)
    result: dict[str, Any] = {"cores": os.cpu_count() or 1, "load": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.quick:
            _compile_once(folder / "compiled")
        if "speed" in only:
            video = options.recordings / CLIP
            video = beginning(video, frames, folder) if frames else video
            engine = "jax" if options.quick else options.engine
            choice = choose_engine(load(options.backbone, options.precision), engine)
            backbone = choice.backbone
            result |= {"backbone": backbone.card.label} | maker(backbone)
            turns = 1 if options.quick else options.turns
            result |= end_to_end(open_recording(video)[0], backbone, turns, folder)
        if "memory" in only:
            result |= memory(folder, options.quick)
        if "dask" in only:
            result |= dask(options.quick)
    for name, value in result.items():
        shown = f"{value:.3f}" if isinstance(value, float) else value
        print(f"{name:28s} {shown}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
