"""From stored pixels to uint8 RGB: one rule for every reader, the same for every frame of a file.

- 8 bits: as they are.
- 16 bits without sign: shifted down from the bits that the file states as significant; from 16
  where it states none. No frame is stretched by its own contrast, which would change over time.
- floating point from 0 to 1: times 255, rounded.
- true and false: 255 and 0.

Grey becomes three equal channels; an alpha channel is dropped. Everything else is refused.
"""

from __future__ import annotations

import numpy as np


def check_pixels(dtype: np.dtype) -> None:
    """Refuse what cannot be made into 8 bits by a rule.

    Raises
    ------
    ValueError
        With what was found.
    """
    if dtype.hasobject:
        raise ValueError("pickled objects, which could run code; they are never loaded")
    if not ((dtype.kind == "u" and dtype.itemsize <= 2) or dtype.kind in "fb"):
        raise ValueError(
            f"pixels of the type {str(dtype)[:40]}; 8 or 16 bits without sign, or floating point"
            " from 0 to 1, are read"
        )


def to_rgb(image: np.ndarray, bits: int = 0) -> np.ndarray | None:
    """uint8 ``[height, width, 3]`` from ``[height, width]`` or ``[height, width, 1 | 3 | 4]``.

    ``bits`` are the significant ones of 16; 0 stands for all. None for floating-point values
    outside 0 to 1 (rounding errors of 1e-3 aside), which are no picture.
    """
    if image.dtype.kind == "b":
        image = image.astype(np.uint8) * np.uint8(255)
    elif image.dtype.kind == "f":
        if not (image.min() >= -1e-3 and image.max() <= 1 + 1e-3):  # false for NaN too
            return None
        image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    elif image.dtype.itemsize == 2:
        image = np.minimum(image >> max((bits or 16) - 8, 0), 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.shape[2] == 1:
        return np.repeat(image, 3, axis=2)
    return image[:, :, :3]


def stated_bits(value: object) -> int:
    """Significant bits that a file states, if they make sense for 16-bit pixels; else 0."""
    number = np.asarray(value)
    if number.size != 1 or number.dtype.kind not in "iuf":
        return 0
    bits = float(number.reshape(-1)[0])
    return int(bits) if 8 <= bits <= 16 else 0


def dark_note(image: np.ndarray, bits: int) -> tuple[str, ...]:
    """A note where 16-bit pixels use few bits and the file does not say so."""
    if image.dtype.kind != "u" or image.dtype.itemsize != 2 or bits:
        return ()
    used = int(image.max()).bit_length() if image.size else 16
    if used > 14:
        return ()
    return (
        f"the first frame uses {used} of 16 bits and the file states no bit depth, so the pictures"
        " are dark; store 8 bits, or state bits_per_pixel as docs/readers.md says",
    )
