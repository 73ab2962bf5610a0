"""The large releases from video to CSV on this machine, by the command line, in every engine.

    python benchmarks/releases.py RECORDINGS_FOLDER [--quick] [--json] [--only large ...]

For Large, LvT-Base and LvT-Large: a checkpoint of the released layout with seeded parameters
(`tests/backbones/seeded.py`; the features mean nothing, the arithmetic is the release's), then
`ethoprism init`, `add`, `extract` in each engine and precision, and once `label import`, `train`,
`predict` and `export`. Each extraction is a process of its own; it reads the checkpoint, compiles,
decodes, encodes and writes. A first recording of 16 frames has the engine compiled and tried; the
seconds and the peak resident memory are of a second one of 48. Cosines are between each token and
that of JAX in float32. ``--quick`` takes LvT-Base in JAX, bfloat16, and the first recording.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from extract import CLIP, beginning

SEEDED = Path(__file__).resolve().parents[1] / "tests" / "backbones" / "seeded.py"
sys.path.insert(0, str(SEEDED.parent))

from seeded import cosine  # noqa: E402  # pyright: ignore[reportMissingImports]

RELEASES = {
    "large": "videoprism-large",
    "lvt-base": "videoprism-lvt-base",
    "lvt-large": "videoprism-lvt-large",
}
ENGINES = (
    ("jax", "float32"),
    ("jax", "bfloat16"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
)
SHORT, LONG = 16, 48
"""Frames of the recording that has everything compiled, and of the one that is measured."""


@dataclass(frozen=True)
class Ran:
    """What a command took: seconds, and the peak resident memory of its process in MB."""

    seconds: float
    memory: float


def command(*arguments: str | Path) -> Ran:
    """Run one command of `ethoprism` in a process of its own."""
    began = time.perf_counter()
    program = [str(Path(sys.executable).with_name("ethoprism")), *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(program, stdout=said, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"ethoprism {' '.join(program[1:])} failed:\n{said.read()}")
    return Ran(time.perf_counter() - began, used.ru_maxrss / 1024)


def checkpoint(name: str, folder: Path) -> Path:
    """A seeded checkpoint in the released layout."""
    path = folder / f"{name}.npz"
    subprocess.run([sys.executable, str(SEEDED), name, str(path)], check=True)
    return path


def tokens_of(folder: Path, recording: str) -> np.ndarray:
    """The tokens of a recording, float32 ``[frames, y, x, features]``."""
    (path,) = (folder / "tokens").glob(f"*/{recording}.zarr")
    return np.asarray(zarr.open_group(path, mode="r")["tokens"], np.float32)


def to_csv(folder: Path, videos: list[Path], work: Path) -> float:
    """Seconds from tokens to a CSV of predictions of a made-up behaviour, which mean nothing."""
    out = work / f"{folder.name}.csv"
    steps: list[tuple[str | Path, ...]] = []
    for video, frames in zip(videos, (SHORT, LONG), strict=True):
        labels = work / f"{folder.name}-{frames}.csv"
        rows = [f"{frame},{frame // 4 % 2}" for frame in range(frames)]
        labels.write_text("\n".join(["frame,even", *rows]) + "\n")
        steps.append(("label", "import", folder, labels, "--recording", video.stem, "--yes"))
    steps += [
        ("train", folder, "--head", "linear", "--split", "recordings"),
        ("predict", folder),
        ("export", folder, "--out", out),
    ]
    seconds = sum(command(*step).seconds for step in steps)
    n = len(out.read_text().splitlines()) - 1
    if n != SHORT + LONG:
        raise SystemExit(f"{out} has {n} frames, not {SHORT + LONG}")
    return seconds


def of_release(name: str, videos: list[Path], work: Path, quick: bool) -> dict[str, Any]:
    """Figures of one release in every engine and precision."""
    weights = checkpoint(name, work)
    result: dict[str, Any] = {f"{name}_checkpoint_gb": weights.stat().st_size / 1e9}
    exact: np.ndarray | None = None  # of the first in ENGINES
    for engine, precision in ENGINES[1:2] if quick else ENGINES:
        folder = work / f"{name}-{engine}-{precision}"
        how = ("--precision", precision, "--weights", weights)
        command("init", folder, "--backbone", RELEASES[name], *how)
        command("add", folder, *videos)
        ran = [command("extract", folder, "-r", v.stem, "--engine", engine) for v in videos]
        key = f"{name}_{engine}_{precision}"
        last = tokens_of(folder, videos[-1].stem)
        exact = last if exact is None else exact
        near = cosine(last, exact)
        result |= {
            f"{key}_first_s": round(ran[0].seconds, 1),
            f"{key}_s": round(ran[-1].seconds, 1),
            f"{key}_memory_mb": round(ran[-1].memory),
            f"{key}_smallest_cosine": round(float(near.min()), 6),
        }
        print(
            f"{RELEASES[name]} (seeded, untrained), {engine}, {precision}: {len(last)} frames in"
            f" {ran[-1].seconds:.1f} s (the first {SHORT}: {ran[0].seconds:.1f} s), peak"
            f" {ran[-1].memory / 1024:.1f} GB, smallest cosine {near.min():.6f}, median"
            f" {np.median(near):.6f}",
            flush=True,
        )
    if not quick:
        seconds = to_csv(work / f"{name}-{ENGINES[0][0]}-{ENGINES[0][1]}", videos, work)
        result[f"{name}_to_csv_s"] = round(seconds, 1)
        print(f"  labels, probe, predictions and CSV: {seconds:.1f} s", flush=True)
    weights.unlink()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path)
    parser.add_argument("--quick", action="store_true", help="LvT-Base in one engine")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", choices=RELEASES, action="append", help="may be repeated")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        lengths = (SHORT,) if options.quick else (SHORT, LONG)
        videos = [beginning(options.recordings / CLIP, n, work) for n in lengths]
        for release in options.only or (["lvt-base"] if options.quick else RELEASES):
            result |= of_release(release, videos, work, options.quick)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
