"""Axes: where a value lies on the paper, and which ticks to write."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """From values ``low`` to ``high`` onto places ``start`` to ``stop``, linear."""

    low: float | int
    high: float | int
    start: float | int
    stop: float | int

    def __call__(self, value: float | int) -> float:
        span = self.high - self.low
        share = (value - self.low) / span if span else 0.5
        return self.start + share * (self.stop - self.start)


def ticks(low: float | int, high: float | int, most: int = 6) -> list[float]:
    """At most ``most`` round values from ``low`` to ``high``, in order."""
    span = high - low
    if not span > 0 or not math.isfinite(span):
        return [low]
    for power in range(math.floor(math.log10(span)) - 2, math.floor(math.log10(span)) + 2):
        for factor in (1, 2, 5):
            step = factor * 10.0**power
            first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
            if last - first + 1 <= most:
                return [round(i * step, 10) for i in range(first, last + 1)]
    return [low, high]


def time_ticks(stop: float | int, most: int = 9) -> list[tuple[float, str]]:
    """Moments from 0 to ``stop`` seconds with what to write: seconds, or minutes, or hours."""
    for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200):
        if stop / step <= most - 1:
            break
    else:
        step = math.ceil(stop / (most - 1) / 86400) * 86400
    moments = [float(i * step) for i in range(int(stop // step) + 1)]
    return [(moment, clock(moment, stop)) for moment in moments]


def clock(seconds: float | int, longest: float | int | None = None) -> str:
    """``12 s`` in short recordings, else ``1:05`` or ``1:02:05``."""
    if (seconds if longest is None else longest) < 60:
        return f"{seconds:g} s" if seconds == int(seconds) else f"{seconds:.1f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def number(value: float | int) -> str:
    """A tick's text."""
    return f"{value:g}"
