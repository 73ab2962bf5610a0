"""Moments as people type and read them, when each is due, and the bouts next to one; no Qt."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ethoprism.errors import InputError

_SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*s")
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)")


@dataclass(frozen=True, eq=False)
class Schedule:
    """Which frame of a recording is to be seen at which time of the wall clock.

    Attributes
    ----------
    frame_times
        float64 ``(n_frames,)``: seconds, never decreasing.
    start
        The frame that playing began with.
    began
        Seconds of the wall clock at which that frame was shown.
    speed
        Seconds of the recording a second.
    """

    frame_times: np.ndarray = field(repr=False)
    start: int
    began: float
    speed: float

    def frame_at(self, now: float) -> int:
        """The last frame whose time has come at ``now``; of frames with one time the last one."""
        moment = self.frame_times[self.start] + max(now - self.began, 0.0) * self.speed
        found = int(np.searchsorted(self.frame_times, moment, side="right")) - 1
        while found + 1 < len(self.frame_times) and self.due(found + 1) <= now:
            found += 1  # `due` rounds the other way now and then
        return max(found, self.start)

    def due(self, n: int) -> float:
        """The time of the wall clock at which frame ``n`` is to be shown."""
        return self.began + float(self.frame_times[n] - self.frame_times[self.start]) / self.speed


def parse_moment(text: str, frame_times: np.ndarray) -> int:
    """The frame that is meant: ``1234``, ``12.5s``, ``1:02.5`` or ``1:00:02.5``.

    Parameters
    ----------
    text
        What was typed.
    frame_times
        float64 ``(n_frames,)``: seconds. Of a time, the frame that is shown nearest to it is meant.

    Returns
    -------
    A frame within the recording: the first or last one where the text lies outside.

    Raises
    ------
    InputError
        If the text is none of these.
    """
    typed = text.strip().lower()
    if re.fullmatch(r"[0-9]+", typed):
        return min(int(typed), len(frame_times) - 1)
    if found := _SECONDS.fullmatch(typed):
        return _nearest(float(found[1]), frame_times)
    if found := _CLOCK.fullmatch(typed):
        hours, minutes, seconds = found.groups()
        return _nearest(int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds), frame_times)
    raise InputError(
        f"{text.strip()!r} is no moment of the recording",
        expected="a frame as 1234, seconds as 12.5s, or a time as 1:02.5",
    )


def clock(seconds: float) -> str:
    """Seconds as ``1:02.500`` or ``1:00:02.500``, to the millisecond."""
    thousandths = round(abs(seconds) * 1000)
    minutes, thousandths = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    sign = "-" if seconds < 0 else ""
    rest = f"{thousandths // 1000:02d}.{thousandths % 1000:03d}"
    return f"{sign}{hours}:{minutes:02d}:{rest}" if hours else f"{sign}{minutes}:{rest}"


def next_bout(
    bouts: pd.DataFrame, frame: int, forward: bool, subject: str = "", behaviour: str = ""
) -> int | None:
    """The first frame of the next or previous bout; None if there is none.

    Parameters
    ----------
    bouts
        Bout table of one recording.
    frame
        The bout begins behind this frame, or before it.
    forward
        Whether the next one is looked for.
    subject, behaviour
        Only bouts of these count; of any where empty.
    """
    kept = np.ones(len(bouts), bool)
    if subject:
        kept &= (bouts["subject"] == subject).to_numpy()
    if behaviour:
        kept &= (bouts["behaviour"] == behaviour).to_numpy()
    starts = bouts["start_frame"].to_numpy(np.int64)[kept]
    starts = starts[starts > frame] if forward else starts[starts < frame]
    if not len(starts):
        return None
    return int(starts.min() if forward else starts.max())


def _nearest(seconds: float, frame_times: np.ndarray) -> int:
    after = int(np.searchsorted(frame_times, seconds, side="left"))
    if after == len(frame_times):
        return int(np.searchsorted(frame_times, frame_times[-1], side="left"))
    if after and seconds - frame_times[after - 1] <= frame_times[after] - seconds:
        before = frame_times[after - 1]
        return int(np.searchsorted(frame_times, before, side="left"))
    return after
