"""What moves where: dense optical flow and frame differences, averaged over an encoder's patches.

Targets for a student that should see motion. They need no labels and no trained teacher.

Source of the flow: Kroeger, Timofte, Dai, Van Gool, Fast optical flow using dense inverse search,
ECCV 2016, as OpenCV has it.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from ethoprism.errors import InputError

CHANNELS = ("u", "v", "magnitude", "difference")
"""Motion to the right, motion down, and its length, in patch widths from a frame to the next; and
the mean absolute difference of the grey values, from 0 to 1."""

PATCH = 18
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_EDGES = (1.0, 99.0)  # per cent of the grey values that are spread over the whole range
_LEAST_RANGE = 16.0  # grey levels: a flat clip's noise is not blown up to a texture


def opencv() -> Any:
    """The module ``cv2``.

    Raises
    ------
    InputError
        If it is not installed.
    """
    if find_spec("cv2") is None:
        raise InputError(
            "OpenCV is not installed, which clips and optical flow need",
            expected="the module cv2",
            remedy='Install it with: pip install "ethoprism[pretrain]"',
        )
    import cv2

    return cv2


def patch_motion(
    frames: UInt8[np.ndarray, "n height width 3"], patch: int = PATCH
) -> Float32[np.ndarray, "n rows columns 4"]:
    """Motion of each patch from each frame to the next one, see `CHANNELS`.

    The last frame has no next one: it gets what leads to it, as the frame before. Flow is found on
    grey values stretched to the whole range over the clip, because faint clips would have none.

    Parameters
    ----------
    frames
        A clip of two frames or more, RGB; height and width are multiples of ``patch``.
    patch
        Side of a patch in pixels.

    Raises
    ------
    InputError
        If OpenCV is not installed, or the frames have another shape.
    """
    n, height, width = frames.shape[:3]
    if n < 2 or height % patch or width % patch or min(height, width) < 2 * patch:
        raise InputError(
            "Optical flow needs two frames that patches divide",
            expected=f"2 frames or more, sides of 2 or more times {patch} px",
            found=f"{n} frames of {height} × {width} px",
        )
    cv2 = opencv()
    grey = frames.astype(np.float32) @ _GREY
    low, high = np.percentile(grey, _EDGES)
    scale = 255.0 / max(float(high - low), _LEAST_RANGE)
    stretched = np.clip((grey - low) * scale, 0, 255).astype(np.uint8)
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    maps = np.empty((n, height, width, 4), np.float32)
    for i in range(n - 1):
        maps[i, ..., :2] = search.calc(stretched[i], stretched[i + 1], None)
    maps[: n - 1, ..., :2] /= patch
    maps[: n - 1, ..., 2] = np.hypot(maps[: n - 1, ..., 0], maps[: n - 1, ..., 1])
    maps[: n - 1, ..., 3] = np.abs(np.diff(grey, axis=0)) / 255.0
    maps[n - 1] = maps[n - 2]
    rows, columns = height // patch, width // patch
    return maps.reshape(n, rows, patch, columns, patch, 4).mean(axis=(2, 4), dtype=np.float32)
