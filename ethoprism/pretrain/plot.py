"""The course of a training as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_SMOOTH = 20


def plot_metrics(table: Path, picture: Path) -> None:
    """Draws the losses and the speed of ``metrics.csv``, smoothed over some steps."""
    from matplotlib.figure import Figure

    rows = pd.read_csv(table)
    # A resume repeats the steps since the last checkpoint; the last of the same step counts.
    rows = rows.drop_duplicates(["phase", "step"], keep="last").reset_index(drop=True)
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, speed = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name in ("loss", "token", "pooled", "motion"):
        values = rows[name].to_numpy(np.float64)
        if np.isfinite(values).any():
            smooth = pd.Series(values).rolling(_SMOOTH, min_periods=1).mean()
            losses.plot(smooth, label=name)
    for change in np.flatnonzero(rows["phase"].to_numpy()[1:] != rows["phase"].to_numpy()[:-1]):
        losses.axvline(change + 0.5, color="0.7")
    losses.set_ylabel("loss")
    losses.legend()
    speed.plot(rows["clips_per_s"], color="0.4")
    speed.set_ylabel("clips a second")
    speed.set_xlabel("step")
    figure.savefig(picture, dpi=120)
