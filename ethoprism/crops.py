"""Where to cut a recording's frames: a region that stays, or a square that follows an animal.

Pixels are those of the displayed frame, counted from the top left. A crop keeps its size over the
whole recording, so that the animal keeps its scale: how large it appears is information.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int32, UInt8

from ethoprism.errors import InputError

WHOLE = "whole"
"""How a frame is cut that is not cut."""

KINDS = (WHOLE, "region", "focus", "subject")
OF_REGION = ("region", "focus")
"""Kinds of crops for which a recording must have a region."""

LEAST_PATCHES = 2.0
"""An animal should span at least this many of the encoder's patches."""

MARGIN = 2.0
"""Side of a subject's crop over the animal's usual length."""

SMOOTHING_S = 0.15
"""Width of the Gaussian that smooths a path, in seconds."""

MOST_OFF_CENTRE = 0.125
"""Smoothing may move an animal's centre from the crop's by this part of the crop's side."""

LONGEST_BRIDGE_S = 0.3
"""Gaps of a track up to this long are bridged; in longer ones a frame is unscored."""


@dataclass(frozen=True)
class Crop:
    """How frames are cut: what the members of a project share, and what keys the tokens.

    Attributes
    ----------
    kind
        ``whole``; ``region``: each recording's own region; ``focus``: whole frames, of which the
        tokens of the region are kept; ``subject``: a square that follows each animal.
    margin
        For subjects: side of the square over the animal's usual length.
    size_px
        For subjects: side of the square in pixels, in place of the margin; 0 for none.
    """

    kind: str = WHOLE
    margin: float = MARGIN
    size_px: int = 0

    def __post_init__(self) -> None:
        sound = 0.5 <= self.margin <= 100 and 0 <= self.size_px <= 2**15
        if self.kind not in KINDS or not sound or self.size_px == 1:
            raise InputError(
                "Frames cannot be cut like that",
                expected="'whole', 'region', 'focus', 'subject', 'subject 2.5 lengths' or "
                "'subject 160 px'",
                found=f"{self.kind}, {self.margin:g} lengths, {self.size_px} px",
            )

    @property
    def text(self) -> str:
        """As it is written to files: ``subject 2 lengths``."""
        if self.kind != "subject":
            return self.kind
        if self.size_px:
            return f"subject {self.size_px} px"
        return f"subject {self.margin:g} lengths"

    @classmethod
    def parse(cls, text: str) -> Crop:
        """The crop that `text` names; an `InputError` if it names none."""
        kind, _, rest = text.strip().partition(" ")
        if not rest:
            return cls(kind)
        size = re.fullmatch(r"([1-9]\d{0,4}) px", rest)
        margin = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?) lengths", rest)
        if kind == "subject" and size:
            return cls(kind, size_px=int(size[1]))
        if kind == "subject" and margin:
            return cls(kind, float(margin[1]))
        return cls(text)  # which says what was expected


@dataclass(frozen=True)
class Region:
    """A rectangle of whole pixels of a displayed frame."""

    left: int
    top: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.left < 0 or self.top < 0 or self.width < 1 or self.height < 1:
            raise InputError(
                f"The region {self.text} cannot be",
                expected="left and top of at least 0, width and height of at least 1 pixel",
            )

    @property
    def text(self) -> str:
        """``left,top,width,height``."""
        return f"{self.left},{self.top},{self.width},{self.height}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """The region that ``left,top,width,height`` names; an `InputError` if it is none."""
        parts = [part.strip() for part in text.split(",")]
        numbers = [int(p) for p in parts if p.isascii() and p.isdigit() and len(p) < 10]
        if len(parts) != 4 or len(numbers) != 4:
            raise InputError(
                f"{text!r} is not a region",
                expected="four whole numbers of pixels: LEFT,TOP,WIDTH,HEIGHT",
            )
        return cls(*numbers)

    def check_inside(self, height: int, width: int) -> Region:
        """This region, if it lies within a frame of that size; an `InputError` otherwise."""
        if self.left + self.width > width or self.top + self.height > height:
            raise InputError(
                f"The region {self.text} does not lie within the frame",
                expected=f"a part of {width} × {height} px (width × height)",
                found=f"its right edge at {self.left + self.width} and its bottom at"
                f" {self.top + self.height}",
            )
        return self


@dataclass(frozen=True, eq=False)
class CropPath:
    """Where each frame of a recording is cut.

    Attributes
    ----------
    size
        Height and width of the crop in pixels, the same in every frame.
    top_left
        int32 ``(n_frames, 2)``: row and column of the crop's first pixel. They may lie outside the
        frame; `cut` fills what is missing.
    valid
        bool ``(n_frames,)``: False where the animal's place is unknown.
    """

    size: tuple[int, int]
    top_left: Int32[np.ndarray, "n_frames 2"]
    valid: Bool[np.ndarray, " n_frames"]

    @classmethod
    def from_region(cls, region: Region, n_frames: int) -> CropPath:
        """The same part of every frame."""
        corner = np.array([region.top, region.left], np.int32)
        top_left = np.broadcast_to(corner, (n_frames, 2))
        return cls((region.height, region.width), top_left, np.ones(n_frames, bool))

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that tell this path from every other one."""
        sha = hashlib.sha256(f"crop {self.size} {len(self.valid)} ".encode())
        sha.update(np.ascontiguousarray(self.top_left, "<i4").tobytes())
        sha.update(np.packbits(self.valid).tobytes())
        return sha.hexdigest()[:16]


@dataclass(frozen=True)
class Focus:
    """The part of whole frames whose patches are followed in time and kept.

    The whole frame is encoded in space, so that each patch knows what surrounds it; the rest of the
    work, and the tokens, are the region's alone. The region is not enlarged.

    Attributes
    ----------
    region
        The part.
    height, width
        Of the frame, in pixels.
    """

    region: Region
    height: int
    width: int

    def __post_init__(self) -> None:
        self.region.check_inside(self.height, self.width)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits that tell it from every other one."""
        text = f"focus {self.region.text} of {self.width} x {self.height}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def cells(
        self, grid: int, pooling: int
    ) -> tuple[tuple[int, ...], Float[np.ndarray, "cells patches"]]:
        """The patches that the region touches, and the share of each in each cell of it.

        Parameters
        ----------
        grid
            Patches a side of the frame.
        pooling
            Cells a side of the region, row by row.

        Returns
        -------
        Numbers of the patches, row by row, and float32 weights: the part of a cell's area that lies
        in a patch, so that each row sums to 1.
        """
        r = self.region
        rows = _shares(r.top * grid / self.height, r.height * grid / self.height, grid, pooling)
        columns = _shares(r.left * grid / self.width, r.width * grid / self.width, grid, pooling)
        shares = (rows[:, None, :, None] * columns[None, :, None, :]).reshape(pooling**2, grid**2)
        touched = np.flatnonzero(shares.max(axis=0) > 1e-6)
        chosen = shares[:, touched]
        chosen = chosen / chosen.sum(axis=1, keepdims=True)
        return tuple(touched.tolist()), chosen.astype(np.float32)


def _shares(first: float, extent: float, grid: int, n: int) -> Float[np.ndarray, "n grid"]:
    """Of each of ``n`` equal parts of an interval, the share that lies between whole numbers."""
    edges = first + extent * np.arange(n + 1) / n
    low = np.maximum(edges[:-1, None], np.arange(grid))
    high = np.minimum(edges[1:, None], np.arange(1, grid + 1))
    return np.maximum(high - low, 0.0) * n / extent


Place = CropPath | Focus
"""Where the pictures, or the tokens, of a unit lie."""


def place_digest(place: Place | None) -> str:
    """What a store is signed with; empty for whole frames."""
    return "" if place is None else place.digest


def cut(
    frame: UInt8[np.ndarray, "height width 3"], top: int, left: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "rows columns 3"]:
    """A part of a frame; a pixel outside takes the value of the nearest one inside.

    A constant colour would draw an edge wherever an animal nears the border of the picture, and the
    encoder would see the border rather than the animal.
    """
    rows, columns = frame.shape[:2]
    height, width = size
    if 0 <= top <= rows - height and 0 <= left <= columns - width:
        return frame[top : top + height, left : left + width]
    y = np.clip(np.arange(top, top + height), 0, rows - 1)
    x = np.clip(np.arange(left, left + width), 0, columns - 1)
    return frame[y[:, None], x[None, :]]


def crop_size(lengths: Float[np.ndarray, " n"], margin: float = MARGIN) -> int:
    """Side of a square crop, an even number of pixels, for animals of these lengths in pixels.

    The median of the lengths counts: single frames with a wrong outline do not change the scale.
    """
    known = lengths[np.isfinite(lengths) & (lengths > 0)]
    if not len(known):
        raise InputError(
            "The size of a crop cannot be told from this track",
            expected="boxes, or two or more points of the body, in some frames",
            remedy="Give the size in pixels with --size.",
        )
    return max(2, 2 * round(float(np.median(known)) * margin / 2))


def follow_path(
    centres: Float[np.ndarray, "n_frames 2"],
    frame_times: Float[np.ndarray, " n_frames"],
    size_px: int,
    *,
    smoothing_s: float = SMOOTHING_S,
    longest_bridge_s: float = LONGEST_BRIDGE_S,
) -> CropPath:
    """A square that follows an animal smoothly and without lag.

    Each centre is the value of a straight line fitted to the centres around it, weighted by a
    Gaussian of time (local linear regression; Fan and Gijbels 1996), so that steady motion is
    followed exactly. Frame times may be irregular. Where smoothing would let the animal stray from
    the middle by more than `MOST_OFF_CENTRE` of the side, the crop stays within that bound.

    Parameters
    ----------
    centres
        x and y in pixels; NaN where the animal was not seen.
    frame_times
        Seconds of each frame.
    size_px
        Side of the square in pixels.
    smoothing_s
        Standard deviation of the Gaussian in seconds; 0 for none.
    longest_bridge_s
        Longest gap that is bridged by a straight line, in seconds from the frame before to the
        frame behind it. Frames of longer gaps, and before the first and behind the last sighting,
        are not valid.

    Raises
    ------
    InputError
        If the animal is seen in no frame.
    """
    seen = np.asarray(np.isfinite(centres).all(axis=1))
    if not seen.any():
        raise InputError("The track shows its animal in no frame")
    known = np.flatnonzero(seen)
    valid = seen.copy()
    times = np.asarray(frame_times, np.float64)
    for before, behind in itertools.pairwise(known.tolist()):
        if behind > before + 1 and times[behind] - times[before] <= longest_bridge_s:
            valid[before:behind] = True
    moments = np.arange(len(times), dtype=np.float64) if (np.diff(times) <= 0).any() else times
    path = np.stack(
        [np.interp(moments, moments[known], centres[known, axis]) for axis in (0, 1)], axis=1
    )
    if smoothing_s > 0:
        strayed = np.where(valid[:, None], _smooth(path, times, valid, smoothing_s) - path, 0.0)
        # A dart is quicker than the smoothing: the animal would leave the crop, so that the crop
        # keeps up with it instead.
        path = path + np.clip(strayed, -size_px * MOST_OFF_CENTRE, size_px * MOST_OFF_CENTRE)
    corner = np.floor(path[:, ::-1] - size_px / 2 + 0.5)
    corner = np.clip(corner, -(2**30), 2**30)  # a wild track must not overflow
    return CropPath((size_px, size_px), corner.astype(np.int32), valid)


def _smooth(
    path: Float[np.ndarray, "n 2"],
    times: Float[np.ndarray, " n"],
    valid: Bool[np.ndarray, " n"],
    sigma: float,
) -> Float[np.ndarray, "n 2"]:
    """Local linear regression in time over valid frames of the same run."""
    n = len(times)
    run = np.cumsum(np.diff(valid, prepend=valid[0]))
    last = np.searchsorted(times, times + 3 * sigma, side="right") - 1
    reach = int(min((last - np.arange(n)).max(), n - 1))
    s0, s1, s2 = np.zeros(n), np.zeros(n), np.zeros(n)
    t0, t1 = np.zeros((n, 2)), np.zeros((n, 2))
    for shift in range(-reach, reach + 1):
        here = slice(max(0, -shift), min(n, n - shift))
        there = slice(max(0, shift), min(n, n + shift))
        apart = times[there] - times[here]
        weight = np.exp(-0.5 * (apart / sigma) ** 2)
        weight *= valid[there] & (run[here] == run[there]) & (abs(apart) <= 3 * sigma)
        s0[here] += weight
        s1[here] += weight * apart
        s2[here] += weight * apart**2
        t0[here] += weight[:, None] * path[there]
        t1[here] += (weight * apart)[:, None] * path[there]
    spread = s0 * s2 - s1**2
    line = spread > 1e-12 * np.maximum(s0, 1) ** 2 * sigma**2
    safe = np.where(line, spread, 1.0)[:, None]
    fitted = (s2[:, None] * t0 - s1[:, None] * t1) / safe
    mean = t0 / np.maximum(s0, 1e-300)[:, None]
    return np.where(line[:, None], fitted, np.where(s0[:, None] > 0, mean, path))


def patches_across(length_px: float, part_px: int, patches: int) -> float:
    """Patches that a length spans when a part of the frame is resized to the encoder's input.

    Parameters
    ----------
    length_px
        Length in pixels of the recording.
    part_px
        Height or width of the part that is resized, in the same pixels.
    patches
        Patches of the encoder along a side.
    """
    return length_px / part_px * patches


def too_small(length_px: float, size: tuple[int, int], patches: int) -> bool:
    """Whether an animal of that length may be lost: under `LEAST_PATCHES` along the longer side."""
    return patches_across(length_px, max(size), patches) < LEAST_PATCHES
