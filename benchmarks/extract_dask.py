"""Two Dask workers against one, each on one processor core; their stores byte for byte.

    python benchmarks/extract_dask.py [--quick] [--json]

A recording of moving noise (made here) is extracted with `prism-nano` by one worker and by two, in
turn, each with the same workers from turn to turn, so that what they compile they compile once
before the first turn. A turn is the whole of `extract_on_workers`: stores made, weights read by
each worker, blocks encoded and written. ``dask2_over_1`` is the median over the turns of the one's
time over the other's. The stores of both are compared file by file, and with the store of a
process without Dask on one core. At last two workers extract it once more and one of them is
killed in the middle (``kill -9``). ``--quick`` takes less of the recording, one turn and no kill.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
from distributed import Client

from ethoprism import workflow
from ethoprism.cluster.connection import Place, local_workers, usable_cores
from ethoprism.cluster.run import extract_on_workers
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings

BLOCK_ROWS = 336  # of `prism-nano` without pooling
ONE_CORE = (
    "import os, sys\n"
    "os.sched_setaffinity(0, {int(sys.argv[1])})\n"
    "from ethoprism.cli import main\n"
    "main(sys.argv[2:])\n"
)


def moving_noise(path: Path, frames: int) -> Path:
    """A video of 25 frames a second, small and quick to decode."""
    noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 160, 120
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            image = np.roll(noise, number % 160, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def project(folder: Path, video: Path) -> Project:
    """A project with one recording and tokens that are not pooled, so that it has many blocks."""
    made = Project.create(folder, Settings(pooling=8), Ethogram())
    return workflow.add_recording(made, video)[0]


def digest(made: Project) -> dict[str, str]:
    """SHA-256 of every file of the tokens, by its path."""
    folder = made.folder / "tokens"
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def extract_anew(made: Project, client: Client, kill: bool = False) -> tuple[float, dict[str, str]]:
    """Seconds that the extraction takes, and the digest; optionally one worker is killed."""
    shutil.rmtree(made.folder / "tokens", ignore_errors=True)
    backbone = workflow.load_backbone(made.settings)
    told: Any = client.run(os.getpid)
    victim = next(iter(told.values()))
    began = time.perf_counter()
    for step in extract_on_workers(made, backbone, client):
        if kill and step.done >= step.total // 3:
            os.kill(victim, signal.SIGKILL)
            kill = False
    return time.perf_counter() - began, digest(made)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--turns", type=int, default=5, help="of both in turn (5)")
    options = parser.parse_args()
    blocks, turns = (2, 1) if options.quick else (12, options.turns)
    first, second = usable_cores()[:2]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    equal = True
    busy: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = moving_noise(folder / "noise.mp4", blocks * BLOCK_ROWS)
        short = moving_noise(folder / "short.mp4", 2 * BLOCK_ROWS)
        made, warm = project(folder / "p", video), project(folder / "w", short)
        with (
            local_workers([Place((first,))]) as one,
            local_workers([Place((first,)), Place((second,))]) as two,
        ):
            fleets = {1: one, 2: two}
            for client in fleets.values():
                extract_anew(warm, client)
            stores = []
            for _ in range(turns):
                for n, client in fleets.items():
                    before: Any = client.run(_cpu_seconds)
                    took, store = extract_anew(made, client)
                    after: Any = client.run(_cpu_seconds)
                    busy += [(after[w] - before[w]) / took for w in after]
                    seconds[n].append(took)
                    stores.append(store)
                print(f"one {seconds[1][-1]:.1f} s, two {seconds[2][-1]:.1f} s", flush=True)
            if not options.quick:
                stores.append(extract_anew(made, two, kill=True)[1])
                shutil.rmtree(made.folder / "tokens")
                command = [sys.executable, "-c", ONE_CORE, str(first), "extract", str(made.folder)]
                command += ["--engine", "jax"]
                subprocess.run(command, check=True, capture_output=True)
                stores.append(digest(made))
        equal = all(store == stores[0] for store in stores)
    ratios = [a / b for a, b in zip(seconds[1], seconds[2], strict=True)]
    result = {
        "dask2_over_1": statistics.median(ratios),
        "dask2_over_1_lowest": min(ratios),
        "dask2_over_1_highest": max(ratios),
        "dask1_seconds": statistics.median(seconds[1]),
        "dask2_seconds": statistics.median(seconds[2]),
        "dask_frames": blocks * BLOCK_ROWS,
        "dask_stores_equal": equal,
        "dask_killed_and_alone_equal": equal if not options.quick else None,
        "dask_busiest_worker_cores": max(busy),
        "cpu": platform.processor(),
        "load": os.getloadavg()[0],
    }
    for name, value in result.items():
        print(f"{name:28s} {value:.3f}" if isinstance(value, float) else f"{name:28s} {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
