"""Figures of a map, and the colours of its clusters."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ethoprism.explore.maps import Map
from ethoprism.files import replacing

# Tol's "muted" scheme, then his "light" one (https://sronpersonalpages.nl/~pault/): told apart
# with any colour vision, and unlike the palette of the behaviours.
CLUSTER_COLOURS = (
    "#CC6677", "#88CCEE", "#117733", "#DDCC77", "#AA4499", "#44AA99", "#999933", "#882255",
    "#6677CC", "#EE8866", "#BBCC33", "#77AADD", "#FFAABB", "#AAAA00", "#99DDFF", "#EEDD88",
)  # fmt: skip
NOISE_COLOUR = "#8C8C8C"


def cluster_colour(number: int) -> str:
    """The colour of a cluster as ``#RRGGBB``; grey for −1. Beyond 16 clusters they repeat."""
    return NOISE_COLOUR if number < 0 else CLUSTER_COLOURS[number % len(CLUSTER_COLOURS)]


def map_figure(found: Map, path: Path) -> None:
    """Draw a map, coloured by cluster or else by recording, as PNG, PDF or SVG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    m, (x, y) = found.moments, found.coordinates.T
    if found.clusters is None:
        groups, names = m.unit, {u: unit.name for u, unit in enumerate(m.units)}
    else:
        groups = found.clusters.labels
        names = {int(c): "no cluster" if c < 0 else f"cluster {c}" for c in np.unique(groups)}
    figure = Figure(figsize=(8.5, 7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    size = float(np.clip(40_000 / len(m), 0.5, 14))
    for number, name in names.items():
        here = groups == number
        label = f"{name} ({int(here.sum())})"
        axes.scatter(x[here], y[here], size, cluster_colour(number), linewidths=0, label=label)
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.legend(
        loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, markerscale=2
    )
    axes.set_title(
        f"{found.name}: {len(m):,} moments of {found.frames_per_moment} frames, {found.method}, "
        f"{found.key.label}",
        fontsize=10,
        loc="left",
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)
