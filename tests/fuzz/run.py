"""A long fuzz run over all targets: ``python tests/fuzz/run.py --minutes 10 [--json FILE]``.

Prints a table of how the cases ended. Cases that did not end as they should are kept in a folder.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from mutations import Files, apply, random_change  # noqa: E402
from pool import Worker  # noqa: E402
from targets import TARGETS  # noqa: E402

KINDS = ("opened", "refused", "unnamed", "crash", "hang", "memory", "escaped")


def fuzz(
    worker: Worker, target: str, seeds: list[dict[str, bytes]], until: float, seed: int, keep: Path
) -> tuple[Counter[str], dict[str, int], float]:
    """Run cases of one target until a moment; counts by kind, findings, and the slowest in s."""
    source = random.Random(seed)
    counts: Counter[str] = Counter()
    findings: dict[str, int] = {}
    slowest = 0.0
    while time.monotonic() < until:
        start = source.choice(seeds)
        changes = [random_change(source) for _ in range(source.choice((1, 1, 1, 2, 3, 5, 8)))]
        files: Files = apply(start, changes, seeds)
        outcome = worker.run(target, files)
        counts[outcome.kind] += 1
        if sum(counts.values()) > 1:
            slowest = max(slowest, outcome.seconds)
        if not outcome.sound:
            what = f"{outcome.kind}: {outcome.detail}"
            findings[what] = findings.get(what, 0) + 1
            if findings[what] == 1:
                _keep(keep / f"{target}-{len(findings)}".replace(" ", "-"), files, what)
    return counts, findings, slowest


def _keep(folder: Path, files: Files, what: str) -> None:
    for name, data in files.items():
        path = folder / "case" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "what.txt").write_text(what)


def main() -> int:
    """Run, print, and leave with 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], default=[])
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    share = options.minutes * 60 / len(names)
    report = {}
    print("target | cases | " + " | ".join(KINDS) + " | slowest (s)")
    for name in names:
        seeds = TARGETS[name].seeds()
        with Worker() as worker:
            until = time.monotonic() + share
            counts, findings, slowest = fuzz(worker, name, seeds, until, options.seed, options.keep)
        cells = [sum(counts.values()), *(counts[kind] for kind in KINDS), f"{slowest:.2f}"]
        print(f"{name} | " + " | ".join(map(str, cells)), flush=True)
        for what, times in sorted(findings.items(), key=lambda item: -item[1])[:12]:
            print(f"    {times} × {what}", flush=True)
        report[name] = {**counts, "findings": findings, "slowest_s": slowest, "seeds": len(seeds)}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return int(any(entry["findings"] for entry in report.values()))


if __name__ == "__main__":
    sys.exit(main())
