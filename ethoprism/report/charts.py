"""Charts of figures with their intervals, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ethoprism.report.markup import Html, h
from ethoprism.report.scales import Scale, number, ticks

_SMALL = (268, 190)
FEW_FRAMES = 25
"""Dots of a reliability curve that stand for fewer frames are hollow and not joined."""


@dataclass(frozen=True)
class Measured:
    """A value with its interval and what it is compared with; NaN where there is none."""

    name: str
    value: float
    low: float = math.nan
    high: float = math.nan
    chance: float = math.nan
    colour: str = "#888888"
    note: str = ""


def dots(rows: Sequence[Measured], label: str, axis: str) -> Html:
    """A dot with its interval for each row, on a scale from 0 to 1; a tick marks chance."""
    left, right, step, width = 165, 640, 24, 760
    height = step * len(rows) + 36
    x = Scale(0, 1, left, right)
    parts: list[object] = []
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(h("path", d=f"M{x(value):g} 4V{height - 32}", class_="grid"))
        parts.append(h("text", number(value), x=x(value), y=height - 17, text_anchor="middle"))
    parts.append(h("text", axis, x=(left + right) / 2, y=height - 2, text_anchor="middle"))
    for i, row in enumerate(rows):
        y = 16 + i * step
        parts.append(named(row.name, left - 12, y + 4))
        if math.isfinite(row.low) and math.isfinite(row.high):
            parts.append(_whisker(x(row.low), x(row.high), y))
        if math.isfinite(row.chance):
            parts.append(h("path", d=f"M{x(row.chance):.1f} {y - 7}v14", class_="chance"))
        if math.isfinite(row.value):
            parts.append(
                h("circle", cx=round(x(row.value), 1), cy=y, r=5, fill=row.colour, class_="edge")
            )
        parts.append(h("text", row.note, x=right + 12, y=y + 4))
    return picture(width, height, label, parts)


def budget(rows: Sequence[tuple[str, str, Measured, Measured | None]], label: str) -> Html:
    """Per behaviour its colour, and the true and the predicted share of the time as bars."""
    top = max(
        [m.high if math.isfinite(m.high) else m.value for _, _, a, b in rows for m in (a, b) if m]
        + [0.05]
    )
    top = min(1.0, top * 1.05)
    left, right, step, width = 165, 640, 34, 760
    height = step * len(rows) + 34
    x = Scale(0, top, left, right)
    parts: list[object] = []
    for value in ticks(0, top):
        parts.append(h("path", d=f"M{x(value):.1f} 2V{height - 30}", class_="grid"))
        parts.append(
            h(
                "text",
                f"{100 * value:g} %",
                x=round(x(value), 1),
                y=height - 15,
                text_anchor="middle",
            )
        )
    for i, (name, colour, true, called) in enumerate(rows):
        y = 6 + i * step
        parts.append(named(name, left - 12, y + 15))
        parts.append(
            h(
                "rect",
                x=left,
                y=y,
                width=max(x(true.value) - left, 0.5),
                height=11,
                fill=colour,
                class_="edge",
            )
        )
        if math.isfinite(true.low):
            parts.append(_whisker(x(true.low), x(true.high), y + 5.5))
        if called is not None and math.isfinite(called.value):
            parts.append(
                h(
                    "rect",
                    x=left,
                    y=y + 13,
                    width=max(x(called.value) - left, 0.5),
                    height=11,
                    fill=colour,
                    fill_opacity=0.45,
                    class_="edge",
                )
            )
            if math.isfinite(called.low):
                parts.append(_whisker(x(called.low), x(called.high), y + 18.5))
        parts.append(h("text", true.note, x=right + 12, y=y + 9))
        if called is not None:
            parts.append(h("text", called.note, x=right + 12, y=y + 22))
    return picture(width, height, label, parts)


def histogram(
    true_s: Float[np.ndarray, " bouts"], called_s: Float[np.ndarray, " _"], colour: str, label: str
) -> Html:
    """Lengths of bouts on a logarithmic scale: people's filled, the probe's as a line."""
    width, height = _SMALL
    left, right, top, bottom = 30, width - 8, 8, height - 32
    both = np.concatenate([true_s, called_s])
    both = both[both > 0]
    if not len(both):
        return picture(width, height, label, [h("text", "no bouts", x=width / 2, y=height / 2)])
    low, high = math.log10(float(both.min())), math.log10(float(both.max()))
    low, high = low - 0.02, max(high + 0.02, low + 0.3)
    edges = np.linspace(low, high, 13)
    a, b = (np.histogram(np.log10(v[v > 0]), edges)[0] for v in (true_s, called_s))
    most = float(max(a.max(), b.max(), 1))
    x, y = Scale(low, high, left, right), Scale(0, most, bottom, top)
    parts: list[object] = []
    for value in ticks(0, most, 4):
        if value == int(value):
            parts.append(h("path", d=f"M{left} {y(value):.1f}H{right}", class_="grid"))
            parts.append(
                h("text", number(value), x=left - 6, y=round(y(value) + 4, 1), text_anchor="end")
            )
    for i, count in enumerate(a.tolist()):
        if count:
            parts.append(
                h(
                    "rect",
                    x=x(edges[i]) + 0.7,
                    y=y(count),
                    width=x(edges[i + 1]) - x(edges[i]) - 1.4,
                    height=bottom - y(count),
                    fill=colour,
                    class_="edge",
                )
            )
    path = f"M{left} {bottom}" + "".join(
        f"H{x(float(edges[i])):.1f}V{y(count):.1f}H{x(float(edges[i + 1])):.1f}"
        for i, count in enumerate(b.tolist())
    )
    if len(called_s):
        parts.append(h("path", d=path + f"V{bottom}", class_="outline"))
    parts.append(h("path", d=f"M{left} {bottom}H{right}", class_="axis"))
    shown = [
        v
        for v in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 500)
        if low <= math.log10(v) <= high
    ]
    for value in shown:
        at = round(x(math.log10(value)), 1)
        parts.append(h("text", number(value), x=at, y=bottom + 14, text_anchor="middle"))
    parts.append(h("text", "seconds", x=(left + right) / 2, y=height - 3, text_anchor="middle"))
    return picture(width, height, label, parts)


def reliability(bins: Float[np.ndarray, "bins 3"], colour: str, label: str) -> Html:
    """How often a behaviour is present where it was called so likely; the line is exactness.

    ``bins`` holds frames, summed probability and true frames, as from
    `ethoprism.metrics.calibration.bin_sums`.
    """
    width, height = 220, 210
    left, right, top, bottom = 34, width - 10, 8, height - 34
    x, y = Scale(0, 1, left, right), Scale(0, 1, bottom, top)
    parts: list[object] = []
    for value in (0, 0.5, 1):
        parts.append(h("path", d=f"M{left} {y(value):g}H{right}", class_="grid"))
        parts.append(h("text", number(value), x=left - 6, y=y(value) + 4, text_anchor="end"))
        parts.append(h("text", number(value), x=x(value), y=bottom + 14, text_anchor="middle"))
    parts.append(h("path", d=f"M{left} {bottom}L{right} {top}", class_="axis dash"))
    points = [
        (x(float(p / n)), y(float(t / n)), float(n)) for n, p, t in bins[bins[:, 0] > 0].tolist()
    ]
    many = [(a, b) for a, b, n in points if n >= FEW_FRAMES]
    line = "".join(f"{'L' if i else 'M'}{a:.1f} {b:.1f}" for i, (a, b) in enumerate(many))
    if line:
        parts.append(h("path", d=line, class_="trueline"))
    most = max((n for _, _, n in points), default=1.0)
    for a, b, n in points:
        parts.append(
            h(
                "circle",
                cx=round(a, 1),
                cy=round(b, 1),
                r=round(2 + 5 * math.sqrt(n / most), 1),
                fill=colour if n >= FEW_FRAMES else "none",
                class_="edge",
            )
        )
    parts.append(
        h("text", "stated probability", x=(left + right) / 2, y=height - 4, text_anchor="middle")
    )
    return picture(width, height, label, parts)


def curves(
    steps: Sequence[float], lines: Mapping[str, Sequence[float]], best: float, label: str
) -> Html:
    """Losses by step; the dashed line is where training was stopped."""
    width, height = 620, 220
    left, right, top, bottom = 46, width - 110, 10, height - 34
    values = [v for line in lines.values() for v in line if v is not None and math.isfinite(v)]
    if not values or not steps:
        return Html("")
    low, high = min(values), max(values)
    x, y = Scale(0, max(steps), left, right), Scale(low, max(high, low + 1e-3), bottom, top)
    parts: list[object] = []
    for value in ticks(low, high, 5):
        parts.append(h("path", d=f"M{left} {y(value):.1f}H{right}", class_="grid"))
        parts.append(
            h("text", number(value), x=left - 6, y=round(y(value) + 4, 1), text_anchor="end")
        )
    parts.extend(
        h("text", number(value), x=round(x(value), 1), y=bottom + 15, text_anchor="middle")
        for value in ticks(0, max(steps), 7)
    )
    parts.append(h("path", d=f"M{x(best):.1f} {top}V{bottom}", class_="axis dash"))
    ends = []
    for (name, line), style in zip(lines.items(), ("trueline", "calledline"), strict=False):
        known = [
            (s, v) for s, v in zip(steps, line, strict=True) if v is not None and math.isfinite(v)
        ]
        path = "".join(
            f"{'L' if i else 'M'}{x(s):.1f} {y(v):.1f}" for i, (s, v) in enumerate(known)
        )
        parts.append(h("path", d=path, class_=style))
        if known:
            ends.append([y(known[-1][1]) + 4, name])
    ends.sort()
    for i, (at, name) in enumerate(ends):
        if i and at - ends[i - 1][0] < 14:
            ends[i][0] = at = ends[i - 1][0] + 14
        parts.append(h("text", name, x=right + 8, y=round(float(at), 1), class_="strong"))
    parts.append(
        h("text", "training steps", x=(left + right) / 2, y=height - 2, text_anchor="middle")
    )
    return picture(width, height, label, parts)


def _whisker(low: float | int, high: float | int, y: float | int) -> Html:
    return h(
        "path",
        d=f"M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 3.5}v7M{high:.1f} {y - 3.5}v7",
        class_="whisker",
        fill="none",
    )


def named(name: str, x: float | int, y: float | int) -> Html:
    """A name to the left of what it names, cut where it is long."""
    return h(
        "text", clipped(name, 22), h("title", name), x=x, y=y, text_anchor="end", class_="strong"
    )


def clipped(name: str, most: int) -> str:
    """At most ``most`` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def picture(width: float | int, height: float | int, label: str, parts: object) -> Html:
    """The drawing; never larger than it is, so that texts have one size on the whole page."""
    return h(
        "svg",
        parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        style=f"max-width:{width:g}px",
    )
