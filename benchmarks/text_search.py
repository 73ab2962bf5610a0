"""What the texts of `prism-nano-lvt` find: precision of the ten best moments, beside chance.

    python benchmarks/text_search.py [--weights PATH] [--quick] [--json]

Simulated recordings in looks that no training clip had (`backbone_data.held_out_look`), cut around
each animal. Every window is scored by its cosine with the mean of a behaviour's prompts: the
ethogram's name and definition, each by itself and as "a video of …". The ten best windows that do
not overlap are the shortlist; its precision is the share in whose middle frame the animal does
that. Chance is the behaviour's share of all windows. Mean and range over sets of recordings.

``--weights`` is a file of ``ethoprism pretrain text``; without it the packaged one is measured.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from backbone_data import ArenaSize, Windows, arena_windows
from threadpoolctl import threadpool_limits

from ethoprism.backbones.lvt import VideoTextBackbone
from ethoprism.backbones.nano_text import prism_nano_lvt
from ethoprism.search.prompts import TEMPLATES, ensemble, filled
from ethoprism_datasets.arena import BEHAVIOURS, DEFINITIONS

SHORTLIST = 10
SETS = (31_000, 32_000, 33_000)
"""First seeds of the sets of recordings; training clips come from other seeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--weights", help="a file of ethoprism pretrain text")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "ethoprism-backbone"
    )
    parser.add_argument("--quick", action="store_true", help="one small set of recordings")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    options = parser.parse_args()
    threadpool_limits(1)
    backbone = prism_nano_lvt(options.weights)
    print(f"{backbone.card.label}: {backbone.card.note}")
    found = [
        _measured(backbone, _windows(options.cache, backbone.card.input_size, seed, options.quick))
        for seed in (SETS[:1] if options.quick else SETS)
    ]
    result: dict[str, Any] = {"backbone": backbone.card.label, "sets": len(found)}
    for b, name in enumerate(BEHAVIOURS):
        hits = np.array([precision[b] for precision, _ in found])
        chance = np.array([share[b] for _, share in found])
        print(
            f"  {name:10} precision@{SHORTLIST} {hits.mean():.2f} [{hits.min():.2f},"
            f" {hits.max():.2f}]  chance {chance.mean():.2f}",
            flush=True,
        )
        result[f"precision_at_10_{name}"] = [
            round(float(v), 4) for v in (hits.mean(), hits.min(), hits.max())
        ]
        result[f"chance_{name}"] = round(float(chance.mean()), 4)
    if options.json:
        print(json.dumps(result))


def _windows(cache: Path, size: int, seed: int, quick: bool) -> Windows:
    """Regular windows of several recordings; those to learn from are of no use here."""
    amount = ArenaSize(
        train=1,
        test=2 if quick else 5,
        seconds=20.0,
        test_seconds=15.0 if quick else 40.0,
        bouts=1,
        per_bout=1,
        seed=seed,
    )
    return arena_windows(cache, size, amount)[1]


def _measured(backbone: VideoTextBackbone, windows: Windows) -> tuple[list[float], list[float]]:
    """Precision of each behaviour's shortlist, and the behaviour's share of the windows."""
    clips = _embedded(backbone, windows)
    precision = []
    for b, name in enumerate(BEHAVIOURS):
        direction = ensemble(backbone, filled((name, DEFINITIONS[name]), TEMPLATES))
        # Windows are ten frames apart and eight long, so none overlap.
        best = np.argsort(-(clips @ direction), kind="stable")[:SHORTLIST]
        precision.append(float(windows.truth[best, b].mean()))
    return precision, [float(v) for v in windows.truth.mean(axis=0)]


def _embedded(backbone: VideoTextBackbone, windows: Windows, batch: int = 8) -> np.ndarray:
    """Embeddings of windows, of length 1."""
    rows, length = [], windows.index.shape[1]
    padding = np.zeros((batch, length), bool)
    for start in range(0, len(windows.index), batch):
        index = np.resize(windows.index[start : start + batch], (batch, length))
        spatial = np.asarray(backbone.spatial(np.asarray(windows.frames[index.ravel()])))
        spatial = spatial.reshape(batch, length, *spatial.shape[1:])
        rows.append(np.asarray(backbone.embed(backbone.temporal(spatial, padding), padding)[1]))
    return np.concatenate(rows)[: len(windows.index)]


if __name__ == "__main__":
    main()
