"""Recording: which file, how large, and when each of its frames was shown.

The frame index is the only clock; frame ranges are half-open. Seconds come only from
``frame_times``, never from a nominal frame rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording as a project knows it.

    Attributes
    ----------
    id
        Name within the project; safe as a file name.
    path
        Where the video lies.
    n_frames, height, width
        Decoded frames, and their size in pixels as decoded.
    frame_times
        float64, shape ``(n_frames,)``: seconds at which each frame is presented, in presentation
        order, as the container states them.
    content_key
        Digest of the file's content, so that a moved file is known and a changed one is noticed.
    """

    id: str
    path: Path
    n_frames: int
    height: int
    width: int
    frame_times: np.ndarray
    content_key: str
