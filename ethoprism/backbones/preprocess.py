"""Frames brought to the encoder's size, in one place and with a version that keys the tokens.

The official VideoPrism notebooks resize with ``mediapy.resize_video``, which for uint8 RGB is
Pillow's Lanczos resize of each frame straight to the square, whatever the aspect ratio, without a
crop; then they divide by 255. The same is done here, bit for bit, except that the division
happens in the backbone, after the frames have travelled as bytes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from ethoprism.backbones.lanczos import resize

PREPROCESS_VERSION = 1
"""Raised whenever the pixels that reach the encoder change; it belongs to the tokens' key."""


def preprocess(
    frame: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """A frame as the encoder sees it: RGB, ``size × size`` pixels.

    Parameters
    ----------
    frame
        RGB of 0 to 255: a whole frame, or the part of it that was cut out. Another shape than a
        square is stretched.
    size
        Height and width of the result, in pixels.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(
            f"expected an RGB frame of uint8 [height, width, 3], got {frame.dtype} {frame.shape}"
        )
    if size < 1:
        raise ValueError(f"expected a size of at least 1 px, got {size}")
    return resize(np.ascontiguousarray(frame), size)
