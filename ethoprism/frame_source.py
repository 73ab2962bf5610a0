"""What a reader of recordings is: how it finds frames and times, and how it gives the frames.

A reader is one module in `ethoprism.readers`, registered in the entry-point group
``ethoprism.readers``. Files that FFmpeg decodes are one reader among others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from ethoprism.frame_index import Findings, FrameIndex

if TYPE_CHECKING:
    from ethoprism.recording import Recording


@runtime_checkable
class FrameSource(Protocol):
    """Frames by number, whatever they are stored in: a video, a folder of images, a TIFF stack.

    It reads like an array of shape ``(n_frames, height, width, 3)`` and dtype uint8 that is never
    in memory as a whole.
    """

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(n_frames, height, width, 3)``."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        ...

    @property
    def ndim(self) -> int:
        """4."""
        ...

    def __len__(self) -> int:
        """The number of frames."""
        ...

    def __getitem__(self, key: Any) -> np.ndarray:
        """One frame ``[height, width, 3]`` or a block ``[k, height, width, 3]``."""
        ...

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1
    ) -> Iterator[tuple[int, np.ndarray | None]]:
        """``(number, frame)`` in ascending order; None instead of a frame that is damaged."""
        ...

    def close(self) -> None:
        """Free the file."""
        ...


@dataclass(frozen=True, eq=False)
class Contents:
    """What a reader found in a file or folder.

    Attributes
    ----------
    n_frames, height, width
        Frames, and their size in pixels as they are displayed.
    frame_times
        float64 ``(n_frames,)``: seconds at which each frame is presented, never decreasing; None
        where the file states no times.
    findings
        What came to light.
    index
        The packets that the frames come from; for video streams only.
    """

    n_frames: int
    height: int
    width: int
    frame_times: np.ndarray | None
    findings: Findings
    index: FrameIndex | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Reader:
    """One way of reading recordings.

    Attributes
    ----------
    name
        As in the registry.
    title
        What it reads, in a few words.
    matches
        Whether a path is for this reader; looks at the name and at the first bytes at most, and
        never raises.
    inspect
        ``inspect(path, array)``: what there is. ``array`` names the array within the file, for
        formats that hold several; empty for the only one. Raises a `VideoError` or `InputError`.
    open
        ``open(recording)``: the frames.
    content_key
        ``content_key(path)``: 64 hexadecimal digits, the same wherever the file lies.
    """

    name: str
    title: str
    matches: Callable[[Path], bool]
    inspect: Callable[[Path, str], Contents]
    open: Callable[[Recording], FrameSource]
    content_key: Callable[[Path], str]
