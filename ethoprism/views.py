"""Synchronised views: several recordings of the same events, each with a clock of its own.

A recording's time becomes the session's time as ``offset + (1 + drift) * time``, in seconds: the
cameras start at different moments, and their clocks run at slightly different rates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ethoprism.errors import InputError

MOST_DRIFT = 0.05
"""Clocks that differ by more than this belong to other recordings."""


@dataclass(frozen=True)
class Clock:
    """How a recording's seconds become the session's: ``offset + (1 + drift) * time``."""

    offset: float = 0.0
    drift: float = 0.0

    def __post_init__(self) -> None:
        if not np.isfinite(self.offset) or not abs(self.drift) <= MOST_DRIFT:
            raise InputError(
                "Two clocks of one session cannot differ like that",
                expected=f"a drift of at most {MOST_DRIFT:g} seconds a second",
                found=f"offset {self.offset:g} s, drift {self.drift:g}",
            )

    def session(self, times: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The session's time of a recording's times, in seconds."""
        return self.offset + (1.0 + self.drift) * times


def fit_clock(
    times: Float[np.ndarray, " n"], session: Float[np.ndarray, " n"]
) -> tuple[Clock, float]:
    """The clock that fits moments seen in both, and the largest deviation in seconds.

    One moment gives the offset; two or more, by least squares, the drift as well.

    Parameters
    ----------
    times, session
        Seconds of the same moments on the recording's clock and on the session's.
    """
    if not len(times) or len(times) != len(session):
        raise InputError("Matching two clocks takes at least one moment that both have seen")
    if len(times) == 1 or np.ptp(times) <= 0:
        clock = Clock(float(np.mean(session - times)))
    else:
        middle, target = times.mean(), session.mean()
        slope = float(((times - middle) @ (session - target)) / ((times - middle) ** 2).sum())
        clock = Clock(float(target - slope * middle), slope - 1.0)
    return clock, float(abs(clock.session(times) - session).max())


def matching_frames(
    mine: Float[np.ndarray, " m"], theirs: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """For each frame of one view the frame of another that was shown at that moment.

    Parameters
    ----------
    mine, theirs
        The session's times of both views' frames, in seconds, ascending.

    Returns
    -------
    int64: the nearest frame, −1 where none is nearer than half of the other view's usual interval
    (before it began, after it ended, in a gap).
    """
    if not len(theirs):
        return np.full(len(mine), -1)
    after = np.clip(np.searchsorted(theirs, mine), 1, max(len(theirs) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(theirs) - 1)
    nearer = np.where(mine - theirs[before] <= theirs[after] - mine, before, after)
    steps = np.diff(theirs)
    usual = float(np.median(steps[steps > 0])) if (steps > 0).any() else np.inf
    # Half an interval, with room for the rounding of timestamps.
    return np.where(abs(theirs[nearer] - mine) <= usual * 0.501, nearer, -1)
