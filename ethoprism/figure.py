"""Figures: rasters of behaviours over time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int8, UInt8

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.ethogram import Ethogram
from ethoprism.files import replacing
from ethoprism.recording import edge_times


def ethogram_figure(
    path: Path,
    frame_times: np.ndarray,
    ethogram: Ethogram,
    behaviours: Sequence[str],
    rows: Sequence[tuple[str, Int8[np.ndarray, "frames behaviours"]]],
    title: str,
) -> None:
    """Draw one raster per behaviour, with a line for each of ``rows``, as PNG, PDF or SVG.

    Parameters
    ----------
    path
        File to write, replaced atomically; its ending chooses the format.
    frame_times
        Presentation times in seconds.
    ethogram, behaviours
        Colours, and the columns of the states.
    rows
        Names ("true", "predicted") with states: 1 present, 0 absent, −1 unknown (hatched).
    title
        Above the figure; name the backbone, and that it is untrained if it is.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    edges = edge_times(frame_times)
    n = len(behaviours)
    figure = Figure(figsize=(12, 1.2 + 0.62 * n), layout="constrained")
    FigureCanvasAgg(figure)
    all_axes = figure.subplots(n, 1, sharex=True, squeeze=False)[:, 0]
    for column, (axes, name) in enumerate(zip(all_axes, behaviours, strict=True)):
        colour = ethogram[name].colour if name in ethogram else "#333333"
        for line, (_, states) in enumerate(rows):
            y = (len(rows) - 1 - line, 0.8)
            present = runs(states[:, column] == PRESENT)
            axes.broken_barh(_bars(present, edges), y, facecolors=colour)
            unknown = runs(states[:, column] == UNOBSERVED)
            axes.broken_barh(
                _bars(unknown, edges), y, facecolors="none", edgecolors="#bbbbbb", hatch="////"
            )
        axes.set_ylim(-0.2, len(rows))
        axes.set_yticks(
            [len(rows) - 1 - i + 0.4 for i in range(len(rows))], [label for label, _ in rows]
        )
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
    all_axes[-1].set_xlim(edges[0], edges[-1])
    all_axes[-1].set_xlabel("time (s)")
    figure.suptitle(title, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)


def _bars(ranges: np.ndarray, edges: np.ndarray) -> list[tuple[float, float]]:
    return [(float(edges[a]), float(edges[b] - edges[a])) for a, b in ranges]


def contact_sheet(
    path: Path,
    rows: Sequence[tuple[str, Sequence[tuple[str, UInt8[np.ndarray, "_ _ 3"]]]]],
    title: str,
) -> None:
    """Draw rows of captioned pictures, as PNG, PDF or SVG.

    Parameters
    ----------
    path
        File to write, replaced atomically; its ending chooses the format.
    rows
        Name of each row, and its pictures with their captions.
    title
        Above the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(pictures) for _, pictures in rows)
    figure = Figure(figsize=(1.5 * columns + 0.6, 1.75 * len(rows) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (name, pictures) in zip(grid, rows, strict=True):
        for axes in axes_row:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, (caption, picture) in zip(axes_row, pictures, strict=False):
            axes.imshow(picture)
            axes.set_title(caption, fontsize=7, color="#555555")
        axes_row[0].set_ylabel(name, fontsize=9)
    figure.suptitle(title, fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=110)
