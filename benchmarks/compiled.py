"""What keeping compiled functions on the disk saves: the same commands, with it and without.

    python benchmarks/compiled.py [--quick] [--json]

Simulated recordings of 10 s are extracted with `prism-nano`, and a probe is trained on them, each
in a fresh process with JAX's cache filled by an earlier run and with none
(``ETHOPRISM_MODEL_CACHE_GB=0``), in turn. Wall times, medians with the lowest and the highest;
``speedup_extract`` and ``speedup_train`` are the ratios of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ethoprism.compiled import LIMIT_VARIABLE
from ethoprism_datasets.arena import write_recording

PROGRAM = str(Path(sys.executable).with_name("ethoprism"))
TRAIN = ("train", "p", "--test", "r2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="one round of extraction")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    commands = {"extract": ("extract", "p")} | ({} if options.quick else {"train": TRAIN})
    rounds = 1 if options.quick else 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_COMPILATION")}
        environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "ETHOPRISM_ENGINE": "jax"}
        none = environment | {LIMIT_VARIABLE: "0"}

        def run(*arguments: str, kept: bool = True) -> float:
            began = time.perf_counter()
            subprocess.run(
                [PROGRAM, *arguments],
                cwd=folder,
                env=environment if kept else none,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return time.perf_counter() - began

        run("init", "p")
        for i in range(3):
            video = write_recording(folder, f"r{i}", i, n_frames=250).video
            run("add", "p", str(video))
            run("label", "import", "p", f"r{i}.frames.csv", "--yes")
        for command in commands.values():
            run(*command)  # fills the cache
        result: dict[str, object] = {"rounds": rounds}
        for name, command in commands.items():
            seconds: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(rounds):
                for kept, found in seconds.items():
                    if name == "extract":
                        shutil.rmtree(folder / "p" / "tokens")
                    found.append(run(*command, kept=kept))
            with_it, without = (statistics.median(seconds[kept]) for kept in (True, False))
            for word, found in (("kept", seconds[True]), ("none", seconds[False])):
                middle = statistics.median(found)
                print(f"{name:8} {word} {middle:.1f} s ({min(found):.1f} to {max(found):.1f})")
                result[f"{name}_{word}_s"] = [round(v, 2) for v in (middle, min(found), max(found))]
            result[f"speedup_{name}"] = round(without / with_it, 2)
            print(f"speedup_{name} {without / with_it:.2f}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
