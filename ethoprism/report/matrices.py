"""Matrices of shares, and the graph of what follows what, as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ethoprism.report.charts import clipped, named, picture
from ethoprism.report.markup import Html, h
from ethoprism.report.scales import number


def matrix(
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    label: str,
    *,
    support: Sequence[int] = (),
    faint: Sequence[bool] = (),
    unit: str = "%",
) -> Html:
    """Shares as shaded cells with their figures; rows with little support are faint."""
    longest = max(len(clipped(name, 22)) for name in rows)
    cell_w, cell_h, left, top = 44, 25, 22 + round(6.6 * longest), 62
    extra = 66 if len(support) else 34
    width = max(left + cell_w * len(columns) + extra, 300)
    height = top + cell_h * len(rows) + 8
    parts: list[object] = []
    for j, name in enumerate(columns):
        at = left + cell_w * (j + 0.5)
        parts.append(
            h(
                "text",
                clipped(name, 15),
                h("title", name),
                x=at - 8,
                y=top - 8,
                class_="strong",
                transform=f"rotate(-28 {at - 8:g} {top - 8})",
            )
        )
    for i, name in enumerate(rows):
        y = top + i * cell_h
        parts.append(named(name, left - 10, y + 17))
        pale = bool(faint[i]) if len(faint) else False
        for j in range(len(columns)):
            value = float(values[i, j])
            cell = {"x": left + j * cell_w, "y": y, "width": cell_w - 2, "height": cell_h - 2}
            if not math.isfinite(value):
                parts.append(h("rect", class_="unknown", rx=2, **cell))
                continue
            shade = 0.9 * min(max(value, 0.0), 1.0) * (0.35 if pale else 1)
            parts.append(h("rect", class_="unknown", rx=2, **cell))
            parts.append(h("rect", class_="heat", fill_opacity=round(shade, 3), rx=2, **cell))
            text = f"{100 * value:.0f}" if unit == "%" else number(value)
            parts.append(
                h(
                    "text",
                    text,
                    x=left + j * cell_w + cell_w / 2 - 1,
                    y=y + 16,
                    text_anchor="middle",
                    class_="onheat" if shade > 0.5 else "strong",
                    style="fill:var(--paper)" if shade > 0.5 else None,
                )
            )
        if len(support):
            parts.append(
                h("text", f"n = {support[i]}", x=left + cell_w * len(columns) + 8, y=y + 16)
            )
    return picture(width, height, label, parts)


def graph(
    shares: Float[np.ndarray, "n n"],
    names: Sequence[str],
    colours: Sequence[str],
    sizes: Sequence[float],
    label: str,
) -> Html:
    """Behaviours on a ring; an arrow's width is how often the one follows the other."""
    n, width, height = len(names), 470, 360
    cx, cy, ring = width / 2, height / 2, 118.0
    angle = [-math.pi / 2 + 2 * math.pi * i / max(n, 1) for i in range(n)]
    place = [(cx + ring * math.cos(a), cy + ring * math.sin(a)) for a in angle]
    largest = max([*sizes, 1e-9])
    radius = [7 + 15 * math.sqrt(size / largest) for size in sizes]
    parts: list[object] = []
    for i in range(n):
        for j in range(n):
            share = float(shares[i, j])
            if i != j and math.isfinite(share) and share >= 0.1:
                parts.append(_arrow(place[i], place[j], radius[i], radius[j], share))
    for i, name in enumerate(names):
        x, y = place[i]
        parts.append(
            h(
                "circle",
                cx=round(x, 1),
                cy=round(y, 1),
                r=round(radius[i], 1),
                fill=colours[i],
                class_="edge",
            )
        )
        out = ring + radius[i] + 9
        tx, ty = cx + out * math.cos(angle[i]), cy + out * math.sin(angle[i])
        side = math.cos(angle[i])
        anchor = "middle" if abs(side) < 0.2 else ("start" if side > 0 else "end")
        lift = 4 if abs(side) >= 0.2 else (0 if math.sin(angle[i]) < 0 else 9)
        parts.append(
            h(
                "text",
                clipped(name, 18),
                h("title", name),
                x=round(tx, 1),
                y=round(ty + lift, 1),
                text_anchor=anchor,
                class_="big",
            )
        )
    return picture(width, height, label, parts)


def _arrow(
    a: tuple[float, float], b: tuple[float, float], from_r: float, to_r: float, share: float
) -> Html:
    """A bent arrow; its two ends lie on the discs' edges."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) or 1.0
    ux, uy = dx / length, dy / length
    bend = 0.16 * length
    mx, my = (a[0] + b[0]) / 2 - uy * bend, (a[1] + b[1]) / 2 + ux * bend

    def towards(p: tuple[float, float], r: float) -> tuple[float, float]:
        vx, vy = mx - p[0], my - p[1]
        d = math.hypot(vx, vy) or 1.0
        return p[0] + vx / d * r, p[1] + vy / d * r

    thick = 0.8 + 6 * share
    start = towards(a, from_r + 1)
    tip = towards(b, to_r + 2)
    back = towards(b, to_r + 4 + 1.6 * thick + 3)
    vx, vy = back[0] - tip[0], back[1] - tip[1]
    d = math.hypot(vx, vy) or 1.0
    half = 2.2 + thick * 0.9
    px, py = -vy / d * half, vx / d * half
    path = f"M{start[0]:.1f} {start[1]:.1f}Q{mx:.1f} {my:.1f} {back[0]:.1f} {back[1]:.1f}"
    head = (
        f"M{tip[0]:.1f} {tip[1]:.1f}L{back[0] + px:.1f} {back[1] + py:.1f}"
        f"L{back[0] - px:.1f} {back[1] - py:.1f}z"
    )
    faint = round(0.3 + 0.6 * share, 2)
    return h(
        "g",
        h("path", d=path, class_="trueline", style=f"stroke-width:{thick:.1f}"),
        h("path", d=head, class_="true"),
        opacity=faint,
    )
