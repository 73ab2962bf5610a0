"""UMAP in a process of its own: ``python -m ethoprism.explore.umap_process FOLDER``.

It reads ``in.npy`` and ``settings.json`` in the folder and writes ``out.npy``; lines on standard
output that begin with ``progress`` say how far it is.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from pathlib import Path

import numpy as np


class _Epochs:
    """What UMAP's progress bar writes to: passes the numbers on."""

    def write(self, text: str) -> None:
        found = re.search(r"(\d+)/(\d+)", text)
        if found:
            say(int(found[1]), int(found[2]), "laying out")

    def flush(self) -> None:
        """Nothing is held back."""


def say(done: int, total: int, note: str) -> None:
    """Report progress."""
    print(f"progress {done} {total} {note}", flush=True)


def main(folder: Path) -> None:
    """Lay out the vectors in a folder."""
    settings = json.loads((folder / "settings.json").read_text())
    vectors = np.load(folder / "in.npy", allow_pickle=False)
    say(0, 1, "loading UMAP")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        import umap

    say(0, 1, "finding neighbours (the first time, compiling takes some 20 s)")
    first = vectors[:, :2] - vectors[:, :2].mean(axis=0)
    if first.shape[1] < 2:
        first = np.hstack([first, np.zeros((len(first), 1), np.float32)])
    spread = max(float(first[:, 0].std()), 1e-12)
    model = umap.UMAP(
        n_neighbors=min(settings["neighbours"], len(vectors) - 1),
        min_dist=settings["min_dist"],
        n_epochs=settings["epochs"],
        init=(first / spread).astype(np.float32),  # pyright: ignore[reportArgumentType]
        random_state=settings["seed"],
        n_jobs=1,  # with a seed, UMAP uses one anyway
        verbose=True,
        tqdm_kwds={"file": _Epochs(), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.2},
    )
    layout = np.asarray(model.fit_transform(vectors), np.float32)
    layout -= layout.mean(axis=0)
    np.save(folder / "out.npy", layout, allow_pickle=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
