"""WindowGrid: which frames the encoder sees together, in integer arithmetic only.

Of a recording's frames every ``step``-th is *sampled*. Windows of ``length`` sampled frames start
``hop`` sampled frames apart. Each sampled frame takes its tokens from the window in which it lies
most centrally (the earlier one where two are equally central), so that the token store holds every
sampled frame once whatever the overlap: more overlap costs compute, never disk.

A recording shorter than one window, and the end of the last window, are padded; padded positions
are masked in the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism.errors import InputError


@dataclass(frozen=True)
class WindowGrid:
    """The windows over one recording.

    Parameters
    ----------
    n_frames
        Frames of the recording, at least 1.
    length
        Sampled frames in a window, at least 1.
    hop
        Sampled frames from one window's start to the next, from 1 to ``length``.
    step
        Recording frames from one sampled frame to the next, at least 1.

    Raises
    ------
    InputError
        If a parameter is out of its range.
    """

    n_frames: int
    length: int
    hop: int
    step: int = 1

    def __post_init__(self) -> None:
        for name, value in (("n_frames", self.n_frames), ("length", self.length)):
            _require(value >= 1, name, "at least 1", value)
        _require(self.step >= 1, "step", "at least 1", self.step)
        _require(
            1 <= self.hop <= self.length,
            "hop",
            f"from 1 to the window's length, {self.length}, so that no frame falls between windows",
            self.hop,
        )

    @property
    def n_sampled(self) -> int:
        """Number of sampled frames: one row of the token store each."""
        return -(-self.n_frames // self.step)

    @property
    def n_windows(self) -> int:
        """Number of windows: as few as reach the last sampled frame."""
        return 1 + max(0, -(-(self.n_sampled - self.length) // self.hop))

    def start(self, window: int) -> int:
        """Sampled index at which ``window`` starts."""
        return window * self.hop

    def stop(self, window: int) -> int:
        """Sampled index after the last *real* frame of ``window``; what is missing is padding."""
        return min(self.start(window) + self.length, self.n_sampled)

    def kept(self, window: int) -> tuple[int, int]:
        """Half-open range of sampled frames whose tokens come from ``window``."""
        first = 0 if window == 0 else self._first_kept(window)
        last = self.n_sampled if window == self.n_windows - 1 else self._first_kept(window + 1)
        return min(first, self.n_sampled), min(last, self.n_sampled)

    @property
    def kept_between(self) -> tuple[int, int]:
        """Half-open range of a window's own frames that it keeps, if it is not at either end."""
        first = self._first_kept(0)
        return first, first + self.hop

    def window_of(self, sampled: int) -> int:
        """The window that the sampled frame takes its tokens from."""
        if not 0 <= sampled < self.n_sampled:
            raise IndexError(f"sampled frame {sampled} of {self.n_sampled}")
        # Invert `_first_kept`: the largest window k with first_kept(k) <= sampled.
        k = (2 * sampled - 1 - self.length + self.hop) // (2 * self.hop)
        k = min(max(k, 0), self.n_windows - 1)
        while k + 1 < self.n_windows and self._first_kept(k + 1) <= sampled:
            k += 1
        while k > 0 and self._first_kept(k) > sampled:
            k -= 1
        return k

    def frame_of(self, sampled: int) -> int:
        """Recording frame of a sampled frame."""
        return sampled * self.step

    def sampled_of(self, frames: np.ndarray) -> np.ndarray:
        """Sampled frame nearest to each recording frame; the earlier one where two are as near."""
        nearest = (np.asarray(frames) + (self.step - 1) // 2) // self.step
        return np.minimum(nearest, self.n_sampled - 1)

    def _first_kept(self, window: int) -> int:
        """First sampled frame strictly nearer to this window's middle than to the one before.

        Twice the middle of window k is 2·k·hop + length − 1; frame i is nearer to k than to k − 1
        when 2·i exceeds the mean of the two doubled middles.
        """
        return (2 * window * self.hop - self.hop + self.length - 1) // 2 + 1


def _require(condition: bool, name: str, expected: str, found: int) -> None:
    if not condition:
        raise InputError(
            f"The window grid cannot use this {name}", expected=expected, found=str(found)
        )
