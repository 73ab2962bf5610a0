"""Frames: a source of frames over one function that gives frame n; what readers have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import VideoError
from ethoprism.frame_array import FrameArray
from ethoprism.frame_index import Findings, Picture

MOST_FRAMES = 2**27
"""Frames of one recording; their times alone take a gigabyte."""

MOST_PIXELS = 89_478_485
"""Pixels of one frame: Pillow's limit, beyond which it warns of a decompression bomb."""


class Frames(FrameArray):
    """Frames of a recording, as `ethoprism.frame_source.FrameSource` describes. Close it after use.

    It is safe to use from several threads; one frame is read at a time.

    Parameters
    ----------
    path
        What is read, for messages.
    size
        ``(n_frames, height, width)``.
    get
        ``get(n)``: frame n as uint8 RGB ``[height, width, 3]``; None if it is damaged.
    free
        Called once, when the source is closed.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int, int],
        get: Callable[[int], np.ndarray | None],
        free: Callable[[], Any] = lambda: None,
    ):
        super().__init__(*size)
        self._path = path
        self._get = get
        self._free = free
        self._lock = threading.RLock()

    def read(self, n: int) -> np.ndarray:
        """Frame ``n``, from 0; a `VideoError` if it is damaged."""
        with self._lock:
            self.require_open()
            frame = self._get(n)
        if frame is None or frame.shape != self.shape[1:]:
            raise VideoError(
                f"Frame {n} of {self._path} is damaged",
                expected="a frame that can be read whole",
                remedy="Leave it out, or copy the recording again from its source.",
            )
        return np.require(frame, np.uint8, ["C", "W"])

    def close(self) -> None:
        """Free the file; a second call does nothing."""
        with self._lock:
            if not self._closed:
                super().close()
                self._free()


def first_bytes(path: Path, count: int = 64) -> bytes:
    """The first bytes of a file; none where it is absent, a folder or unreadable."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def check_size(path: Path, n_frames: int, height: int, width: int) -> None:
    """Refuse sizes that no recording has, before anything is allocated.

    Raises
    ------
    VideoError
        If there is no frame or too many, or a frame has no pixel or too many.
    """
    if not 1 <= n_frames <= MOST_FRAMES:
        raise VideoError(
            f"{path} states {n_frames:,} frames",
            expected=f"1 to {MOST_FRAMES:,} frames",
            remedy="The file is empty or its header is damaged.",
        )
    if height < 1 or width < 1 or height * width > MOST_PIXELS:
        raise VideoError(
            f"{path} states frames of {width:,} × {height:,} pixels",
            expected=f"1 to {MOST_PIXELS:,} pixels a frame",
            remedy="The header is damaged, or the frames have to be made smaller first.",
        )


def unreadable(path: Path, what: str, found: object) -> VideoError:
    """The error for a file that is not what its name or its first bytes promise."""
    return VideoError(
        f"{path} cannot be read",
        expected=what,
        found=" ".join(str(found).split())[:300] or type(found).__name__,
        remedy="Copy it again from its source, or check that it is of this format.",
    )


def changed(path: Path) -> VideoError:
    """The error for a recording that is no longer what was imported."""
    return VideoError(
        f"{path} is not what was imported",
        expected="the same number of frames of the same size",
        remedy="Put the original back, or import the recording again.",
    )


def sound_times(times: np.ndarray) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Times as the file states them, or None and why, where they cannot be times of frames."""
    times = np.asarray(times, np.float64)
    if not np.isfinite(times).all():
        return None, ("some of the file's times are no numbers, so none of them is used",)
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        return None, (
            f"the file's times go back in {len(back)} places, the first behind frame {back[0]},"
            " so none of them is used",
        )
    if len(times) > 1 and times[0] == times[-1]:
        return None, ("all frames have the same time in the file, so no time is used",)
    return times, ()


def findings(
    stated: int | None,
    damage: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
    *,
    tick: float = 0.0,
    pixels: str = "",
) -> Findings:
    """Findings of a reader that knows nothing of packets."""
    return Findings(stated, 0, tick, damage, notes, Picture(pixel_format=pixels))
