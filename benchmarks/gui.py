"""How quickly the workbench answers: seeks, redraws, and the way from Train to predictions.

    python benchmarks/gui.py [RECORDINGS_FOLDER] [--quick] [--json] [--only seek]

Seeks go to random frames of each recording in the folder (``../shared/recordings`` by default, left
out where it is absent) and of a generated video: 1920 × 1080 px, ten minutes, H.264 with B-frames
and groups of 250 frames, kept in the temporary folder. A seek is the time from asking for a frame
until its RGB array is there, from the thread that decodes for the viewer, without prefetching. The
readers of napari-video and napari-pyav get the same frames in turn; they are no dependencies:

    pip install napari-video napari-pyav

Where they are absent, their ratios are null. A picture of theirs that is not the frame asked for is
counted. ``seek_p95_ms`` and the ratios are of the generated video.

``timeline_redraw_ms`` is the median of a full redraw of the timeline (model and painting) with
1,000,000 frames, 30 behaviours and 50,000 bouts, at four zooms; ``map_redraw_ms`` that of the map
with 300,000 points, at three. ``train_to_shown_s`` is the time from starting a training on 10,000
labelled frames in the probe dock until its predictions are the session's; the tokens are noise with
a sign of the behaviours in it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import gui_seek
import numpy as np

HERE = Path(__file__).resolve().parent
GENERATED = "generated 1080p"


def spread(seconds: list[float]) -> dict[str, Any]:
    """Median, quartiles and 95th percentile in milliseconds."""
    low, median, high, p95 = (np.percentile(seconds, [25, 50, 75, 95]) * 1e3).tolist()
    return {
        "median_ms": round(median, 1),
        "quartiles_ms": [round(low, 1), round(high, 1)],
        "p95_ms": round(p95, 1),
    }


def measure_seeks(folder: Path, quick: bool, seed: int) -> dict[str, Any]:
    """Seeks on all videos; the figures are those of the generated one."""
    videos = sorted(folder.glob("*.mp4")) if folder.is_dir() else []
    if not videos:
        print(f"no recordings in {folder}: the generated video alone is measured")
    if quick:
        videos = videos[:1]
    length = gui_seek.ENCODED if quick else 10 * gui_seek.ENCODED
    named = {path.name: path for path in videos}
    named[GENERATED] = gui_seek.long_video(length)
    table: dict[str, Any] = {}
    print(f"{'video':28s} {'reader':14s} median (quartiles), p95 in ms; other frames")
    for name, path in named.items():
        found = gui_seek.seeks(path, 4 if quick else 24, seed)
        table[name] = {}
        for reader, seconds in found["seconds"].items():
            row = spread(seconds) | {"other_frames": found["other"][reader], "seeks": len(seconds)}
            table[name][reader] = row
            low, high = row["quartiles_ms"]
            print(
                f"{name:28s} {reader:14s} {row['median_ms']:7.1f} ({low:.1f} to {high:.1f}),"
                f" {row['p95_ms']:7.1f}; {row['other_frames']} of {row['seeks']}"
            )
    ours = table[GENERATED]["ethoprism"]["p95_ms"]
    result: dict[str, Any] = {"seek_p95_ms": ours, "seek_median_ms": None, "seeks": table}
    result["seek_median_ms"] = table[GENERATED]["ethoprism"]["median_ms"]
    for peer in gui_seek.PEERS:
        row = table[GENERATED].get(peer)
        if row is None:
            print(f"{peer} is not installed: no ratio (pip install {peer.replace('_', '-')})")
        ratio = None if row is None else round(ours / row["p95_ms"], 3)
        result[f"seek_p95_over_{peer}"] = ratio
    return result


def measure_redraws(quick: bool, seed: int) -> dict[str, Any]:
    """Full redraws of the timeline and of the map."""
    import gui_redraw

    result: dict[str, Any] = {}
    runs = 8 if quick else 40
    for name, measure in (
        ("timeline", gui_redraw.timeline_seconds),
        ("map", gui_redraw.map_seconds),
    ):
        row = spread(measure(runs, seed))
        low, high = row["quartiles_ms"]
        print(
            f"{name} redraw: {row['median_ms']} ms ({low} to {high}), 95th percentile"
            f" {row['p95_ms']} ms"
        )
        result[f"{name}_redraw_ms"] = row["median_ms"]
        result[f"{name}_redraw_p95_ms"] = row["p95_ms"]
    return result


def measure_training(quick: bool, seed: int) -> dict[str, Any]:
    """From Train to predictions; the first run, which compiles, is the one that counts."""
    import gui_train

    seconds = []
    for run in range(1 if quick else 2):
        with tempfile.TemporaryDirectory() as folder:
            seconds.append(round(gui_train.train_seconds(Path(folder), seed + run), 1))
    print(f"train to shown: {', '.join(map(str, seconds))} s")
    return {"train_to_shown_s": seconds[0], "train_to_shown_again_s": seconds[1:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="?",
        default=HERE.parents[1] / "shared" / "recordings",
        help="folder with videos (../shared/recordings)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer seeks, a shorter video")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    parser.add_argument("--only", choices=["seek", "redraw", "train"], action="append")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    parts = options.only or ["seek", "redraw", "train"]
    result: dict[str, Any] = {"cores": os.cpu_count()}
    if "seek" in parts:
        result |= measure_seeks(options.recordings, options.quick, options.seed)
    if "redraw" in parts:
        result |= measure_redraws(options.quick, options.seed)
    if "train" in parts:
        result |= measure_training(options.quick, options.seed)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
