"""How long ``ethoprism --help`` takes, as a ratio to starting Python at all.

    python benchmarks/startup.py [--quick] [--json]

Both commands are run in turn, so that a busy moment falls on both; medians with quartiles. The last
line of ``--json`` is one JSON object: ``help_over_python`` is the ratio of the median wall times.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "help": [str(Path(sys.executable).with_name("ethoprism")), "--help"],
}


def wall_time(command: list[str]) -> float:
    """Seconds that a command takes, its output thrown away."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="15 runs of each instead of 60")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    runs = 15 if options.quick else 60
    for command in COMMANDS.values():
        wall_time(command)  # fills the disk cache
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs):
        for name, command in COMMANDS.items():
            seconds[name].append(wall_time(command))
    result: dict[str, float] = {"runs": runs}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4)
        print(f"{name:7s} {median * 1e3:7.1f} ms (quartiles {low * 1e3:.1f} to {high * 1e3:.1f})")
        result[f"{name}_ms"] = round(median * 1e3, 2)
        result[f"{name}_ms_quartiles"] = [round(low * 1e3, 2), round(high * 1e3, 2)]  # type: ignore[assignment]
    ratio = statistics.median(seconds["help"]) / statistics.median(seconds["python"])
    result["help_over_python"] = round(ratio, 2)
    print(f"help_over_python {ratio:.1f}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
