"""Pillow's Lanczos resize, bit for bit, in a third of its time.

Pillow resizes in two passes, across and then down, each of which rounds to bytes. A pass is a sum
of bytes times whole-number weights in units of 2^-22 (Pillow's ``Resample.c``); such sums are
exact, so any order of summing gives the same pixels. Pillow sums pixel by pixel. Here the rows of a
strip lie side by side, so that the compiler sums many at once (compiled by numba, which UMAP needs
anyway).

Which pass comes first matters, as the middle is rounded and cut to bytes. Pillow 13 goes down first
where a tall picture shrinks, and across first elsewhere; earlier versions always went across first.
So when a size is first met, both orders are compared with Pillow on a picture of noise. Where
neither agrees, or where numba does not run, Pillow itself is used: the pixels are Pillow's in every
case.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from PIL import Image

_BITS = 22
"""Bits of the weights after the point: 32, less 8 of a pixel and 2 in which sums may overshoot."""
_LOBES = 3.0
_COMPARED = 2000  # pixels of results that are compared before an order of passes is trusted
_STRIP = 64  # rows that are turned at a time: their columns fit into the second-level cache


def resize(
    image: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """``image`` at ``size × size`` pixels, as ``Image.resize(..., LANCZOS)`` of Pillow gives it."""
    kernel = _kernel(image.shape[0], image.shape[1], size)
    return with_pillow(image, size) if kernel is None else kernel(image)


def with_pillow(
    image: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """The same by Pillow itself."""
    return np.array(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))


@lru_cache(maxsize=64)
def _kernel(height: int, width: int, size: int) -> Callable[[np.ndarray], np.ndarray] | None:
    """What resizes pictures of one size, or None where Pillow has to."""
    compiled = _compiled()
    if compiled is None:
        return None
    across, down = compiled
    columns, rows = _weights(width, size), _weights(height, size)

    def across_first(image: np.ndarray) -> np.ndarray:
        middle = across(image, *columns)
        return down(middle.reshape(height, size * 3), *rows).reshape(size, size, 3)

    def down_first(image: np.ndarray) -> np.ndarray:
        middle = down(image.reshape(height, width * 3), *rows)
        return across(middle.reshape(size, width, 3), *columns)

    # One small picture has so few pixels that the wrong order may give them all by chance.
    shape = (max(1, _COMPARED // size**2), height, width, 3)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected = [with_pillow(picture, size) for picture in noise]
    try:
        for kernel in (across_first, down_first):
            if all(map(np.array_equal, map(kernel, noise), expected)):
                return kernel
    except Exception:  # of the compiler: whatever it is, there is another way
        return None
    return None


def _weights(n: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First pixel, number of pixels and weights ``[size, most]`` of each pixel of the result."""
    scale = n / size
    shrink = max(scale, 1.0)
    support = _LOBES * shrink
    first, count = np.zeros(size, np.int64), np.zeros(size, np.int64)
    weights = np.zeros((size, math.ceil(support) * 2 + 1), np.int32)
    for i in range(size):
        centre = (i + 0.5) * scale
        first[i] = max(int(centre - support + 0.5), 0)
        count[i] = min(int(centre + support + 0.5), n) - first[i]
        lobes = [_lanczos((first[i] + k - centre + 0.5) / shrink) for k in range(count[i])]
        total = sum(lobes)
        for k, value in enumerate(lobes):
            value = value / total * (1 << _BITS)
            weights[i, k] = int(value - 0.5 if value < 0 else value + 0.5)
    return first, count, weights


def _lanczos(x: float) -> float:
    if not -_LOBES <= x < _LOBES:
        return 0.0
    return _sinc(x) * _sinc(x / _LOBES)


def _sinc(x: float) -> float:
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


@cache
def _compiled() -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]] | None:
    """Both passes, compiled; None where there is no compiler."""
    try:
        from numba import njit
    except ImportError:
        return None
    # Without the checks of types that tests put around every function.
    across, down = inspect.unwrap(_across), inspect.unwrap(_down)
    try:
        return njit(nogil=True, cache=True)(across), njit(nogil=True, cache=True)(down)
    except RuntimeError:  # there is nowhere to keep the result
        return njit(nogil=True)(across), njit(nogil=True)(down)


def _across(
    image: UInt8[np.ndarray, "height width 3"],
    first: Int64[np.ndarray, " size"],
    count: Int64[np.ndarray, " size"],
    weights: Int32[np.ndarray, "size most"],
) -> UInt8[np.ndarray, "height size 3"]:
    """The pass along rows: strips of rows are turned, so that the inner loops run along them."""
    height, width, _ = image.shape
    size = len(first)
    result = np.empty((height, size, 3), np.uint8)
    turned = np.empty((width, 3 * _STRIP), np.uint8)
    sums = np.empty(3 * _STRIP, np.int32)
    for top in range(0, height, _STRIP):
        rows = min(_STRIP, height - top)
        for left in range(0, width, 8):
            for y in range(rows):
                for x in range(left, min(left + 8, width)):
                    turned[x, 3 * y] = image[top + y, x, 0]
                    turned[x, 3 * y + 1] = image[top + y, x, 1]
                    turned[x, 3 * y + 2] = image[top + y, x, 2]
        for i in range(size):
            for j in range(3 * rows):
                sums[j] = 1 << (_BITS - 1)
            for k in range(count[i]):
                weight = weights[i, k]
                column = turned[first[i] + k]
                for j in range(3 * rows):
                    sums[j] += weight * np.int32(column[j])
            for y in range(rows):
                for c in range(3):
                    result[top + y, i, c] = min(max(sums[3 * y + c] >> _BITS, 0), 255)
    return result


def _down(
    image: UInt8[np.ndarray, "height columns"],
    first: Int64[np.ndarray, " size"],
    count: Int64[np.ndarray, " size"],
    weights: Int32[np.ndarray, "size most"],
) -> UInt8[np.ndarray, "size columns"]:
    """The pass along columns, which are pixels times channels."""
    columns, size = image.shape[1], len(first)
    result = np.empty((size, columns), np.uint8)
    sums = np.empty(columns, np.int32)
    for i in range(size):
        for j in range(columns):
            sums[j] = 1 << (_BITS - 1)
        for k in range(count[i]):
            weight = weights[i, k]
            row = image[first[i] + k]
            for j in range(columns):
                sums[j] += weight * np.int32(row[j])
        for j in range(columns):
            result[i, j] = min(max(sums[j] >> _BITS, 0), 255)
    return result
