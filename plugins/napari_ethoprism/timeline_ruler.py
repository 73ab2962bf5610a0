"""Marks of the timeline's ruler, in frames and in seconds; no Qt.

Seconds come from the recording's frame times alone, which need not be even.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_ethoprism.timeline_model import View

_STEPS_S = (
    *(m * 10.0**e for e in range(-6, 1) for m in (1, 2, 5)),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0),
    *(h * 3600.0 for h in (1, 2, 3, 6, 12, 24, 48, 120, 240, 480)),
)


@dataclass(frozen=True)
class Tick:
    """A mark at ``x`` pixels; without text it is a small one."""

    x: float
    text: str


def frame_step(frames_per_mark: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is not below ``frames_per_mark``."""
    if frames_per_mark <= 1:
        return 1
    power = 10 ** math.floor(math.log10(frames_per_mark))
    return next(int(m * power) for m in (1, 2, 5, 10) if m * power >= frames_per_mark)


def second_step(seconds_per_mark: float) -> float:
    """The smallest customary step of time that is not below ``seconds_per_mark``."""
    return next((s for s in _STEPS_S if s >= seconds_per_mark), _STEPS_S[-1])


def frame_ticks(view: View, least: float) -> list[Tick]:
    """Marks at whole frames, those with text at least ``least`` pixels apart."""
    step = frame_step(least * view.scale)
    first = math.ceil(view.start / step) * step
    marks = range(first, math.ceil(view.stop), step)
    return [Tick(view.x_of(mark), f"{mark:,}") for mark in marks if mark < view.stop]


def second_ticks(view: View, times: np.ndarray, least: float) -> list[Tick]:
    """Marks at round seconds, at least ``least`` pixels apart.

    A mark lies within the frame that is presented at that time, as far into it as the time is.

    Parameters
    ----------
    times
        float64 ``[frames]``, not decreasing: when each frame is presented.
    """
    from_s, to_s = _time_at(view.start, times), _time_at(view.stop, times)
    if not to_s > from_s:
        return []
    step = second_step((to_s - from_s) * least / view.width)
    first, last = math.ceil(from_s / step), math.floor(to_s / step)
    marks = np.arange(first, last + 1) * step
    places = view.x_of(_places(marks, times))
    ticks: list[Tick] = []
    for mark, x in zip(marks, places, strict=True):
        if 0 <= x < view.width and (not ticks or x - ticks[-1].x >= least):
            ticks.append(Tick(float(x), seconds_text(float(mark), step)))
    return ticks


def seconds_text(seconds: float, step: float = 0.001) -> str:
    """Seconds as ``12.5 s``, ``1:02.5`` or ``1:00:02``, as fine as ``step`` needs."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9)) if step < 1 else 0
    whole = round(abs(seconds), digits)
    sign = "-" if seconds < 0 and whole else ""
    if whole < 60:
        return f"{sign}{whole:.{digits}f} s"
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    tail = f"{rest:0{3 + digits if digits else 2}.{digits}f}"
    return f"{sign}{hours:.0f}:{minutes:02.0f}:{tail}" if hours else f"{sign}{minutes:.0f}:{tail}"


def _places(seconds: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Where times lie, in frames and parts of a frame."""
    if len(times) < 2:
        return np.zeros(len(seconds))
    frame = np.clip(np.searchsorted(times, seconds, side="right") - 1, 0, len(times) - 2)
    lasts = np.maximum(times[frame + 1] - times[frame], 1e-12)
    # The last frame is taken to last as long as the one before it.
    return np.minimum(frame + (seconds - times[frame]) / lasts, len(times))


def _time_at(place: float, times: np.ndarray) -> float:
    """The time at a place in frames and parts of a frame."""
    if len(times) < 2:
        return 0.0
    frame = min(max(int(place), 0), len(times) - 2)
    return float(times[frame] + (place - frame) * (times[frame + 1] - times[frame]))
