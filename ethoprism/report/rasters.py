"""Rasters of behaviours over time, as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int8

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.report.markup import Html, h
from ethoprism.report.scales import Scale, time_ticks

WIDTH = 944
_LEFT, _ROW, _GAP, _TOP, _BOTTOM = 118, 9, 9, 14, 20
_PER_CHARACTER = 6.6


@dataclass(frozen=True, eq=False)
class RasterRow:
    """States of one source, ``true`` or ``predicted``."""

    name: str
    states: Int8[np.ndarray, "frames behaviours"]


def raster(
    edges: Float[np.ndarray, " edges"],
    behaviours: Sequence[str],
    colours: Mapping[str, str],
    rows: Sequence[RasterRow],
    learnt: Bool[np.ndarray, " frames"],
    label: str,
) -> Html:
    """Two thin lines for each behaviour, people's above the probe's.

    Parameters
    ----------
    edges
        Seconds at which frames begin, and at which the last ends: one more than there are frames.
    behaviours, colours
        Columns of the states; ``#RRGGBB`` by name.
    rows
        Sources, drawn from above, the first in full colour and others pale.
    learnt
        Frames that the probe learnt from, or that set its thresholds; drawn in a band above.
    label
        What the picture shows, for those who cannot see it.
    """
    block = _ROW * len(rows) + _GAP
    height = _TOP + block * len(behaviours) + _BOTTOM
    x = Scale(float(edges[0]), float(edges[-1]), _LEFT, WIDTH - 4)
    parts: list[object] = []
    if learnt.any():
        parts.append(_bars(runs(learnt), edges, x, 2, 6, class_="seen"))
    for i, name in enumerate(behaviours):
        top = _TOP + i * block
        parts.append(
            h(
                "text",
                _short(name),
                h("title", name),
                x=_LEFT - 10,
                y=top + _ROW * len(rows) / 2 + 4,
                text_anchor="end",
                class_="strong",
            )
        )
        for j, row in enumerate(rows):
            y = top + j * _ROW
            state = row.states[:, i]
            parts.append(_bars(runs(state == UNOBSERVED), edges, x, y, _ROW - 1, class_="unknown"))
            bars = _bars(
                runs(state == PRESENT),
                edges,
                x,
                y,
                _ROW - 1,
                fill=colours[name],
                fill_opacity=None if j == 0 else 0.5,
                class_="edge",
            )
            parts.append(bars)
        bottom = top + _ROW * len(rows) + _GAP / 2 - 1
        parts.append(h("path", d=f"M{_LEFT} {bottom:g}H{WIDTH - 4}", class_="grid"))
    parts.append(_time_axis(edges, x, height - _BOTTOM + 2))
    return h("svg", parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=label)


def _short(name: str) -> str:
    most = int((_LEFT - 12) / _PER_CHARACTER)
    return name if len(name) <= most else name[: most - 1] + "…"


def _bars(
    ranges: np.ndarray,
    edges: np.ndarray,
    x: Scale,
    y: float | int,
    height: float | int,
    **attributes: object,
) -> Html:
    """One path of rectangles; what lies nearer than a third of a unit is drawn as one."""
    if not len(ranges):
        return Html("")
    left = x.start + (edges[ranges[:, 0]] - x.low) / max(x.high - x.low, 1e-9) * (x.stop - x.start)
    right = x.start + (edges[ranges[:, 1]] - x.low) / max(x.high - x.low, 1e-9) * (x.stop - x.start)
    apart = np.flatnonzero(left[1:] - right[:-1] > 0.3) + 1
    first = left[np.append(0, apart)]
    last = np.maximum(right[np.append(apart - 1, len(right) - 1)], first + 0.6)
    path = "".join(
        f"M{a:.1f} {y:g}h{b - a:.1f}v{height:g}h{a - b:.1f}z"
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    )
    return h("path", d=path, **attributes)


def _time_axis(edges: np.ndarray, x: Scale, y: float | int) -> list[Html]:
    start = float(edges[0])
    parts = [h("path", d=f"M{_LEFT} {y:g}H{WIDTH - 4}", class_="axis")]
    for moment, text in time_ticks(float(edges[-1]) - start):
        at = x(start + moment)
        parts.append(h("path", d=f"M{at:.1f} {y:g}v4", class_="axis"))
        parts.append(h("text", text, x=round(at, 1), y=y + 16, text_anchor="middle"))
    return parts
