"""Following a single moving animal without tracks and without training.

The background is the median of frames spread over the recording, in grey at reduced size. What
differs from it by far more than the camera's noise is foreground; of the connected parts of the
foreground the one that continues the animal's way is the animal. It serves one animal before a
background that stays. Light that changes evenly over the picture is evened out.

Where an animal rests for most of a recording, the median shows the animal. Such a place has a
second look, from the frames when it was away; the one that blends in with its surroundings is the
background.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy import ndimage

from ethoprism.crops import Region
from ethoprism.errors import InputError
from ethoprism.frame_source import FrameSource
from ethoprism.progress import Progress
from ethoprism.tracks import Track

_SIDE = 320  # the longer side at which is followed, in pixels
_SAMPLES = 75  # frames whose median is the background
_NOISE = 6.0  # deviations of the noise that a difference must exceed
_LEAST = 12.0  # and grey values, since a still picture of a codec has no noise at all
_LEAST_AWAY = 0.08  # part of the frames in which a second look of a place must be seen
_BLENDS = 0.8  # the background has less than this part of the edges that an animal has
_SMALLEST = 9  # pixels of the smallest animal, at the reduced size


@dataclass(frozen=True)
class Followed:
    """A track, and sentences that its user should read."""

    track: Track
    notes: tuple[str, ...]


def follow(
    frames: FrameSource, subject: str = "animal", region: Region | None = None
) -> Generator[Progress, None, Followed]:
    """Follow the one animal that moves in a recording.

    Parameters
    ----------
    frames
        The recording's frames; each is read about once. Memory is constant in their number.
    subject
        Name of the animal.
    region
        The part of the frame to look at; all of it by default.

    Yields
    ------
    Progress in frames.

    Raises
    ------
    InputError
        If nothing moves, or the animal is found in less than a tenth of the frames.
    """
    n_frames, height, width, _ = frames.shape
    part = region or Region(0, 0, width, height)
    part.check_inside(height, width)
    scale = max(1, round(max(part.height, part.width) / _SIDE))
    total = n_frames + _SAMPLES
    background, threshold, rested = yield from _background(frames, part, scale, total)
    centres = np.full((n_frames, 2), np.nan, np.float32)
    boxes = np.full((n_frames, 4), np.nan, np.float32)
    areas = np.zeros(n_frames)
    last, rivals, usual = None, 0, 0.0
    for number, frame in frames.frames():
        if number % 25 == 0:
            yield Progress(_SAMPLES + number, total, subject)
        if frame is None:
            continue
        found = _parts(abs(_evened(_grey(frame, part, scale) - background)) > threshold)
        if not len(found):
            continue
        chosen = _choose(found, last, usual)
        if chosen is None:
            continue
        area, y, x, box = found[chosen]
        others = np.delete([part_[0] for part_ in found], chosen)
        rivals += bool(len(others) and others.max() > 0.5 * area)
        last = (y, x)
        areas[number] = area
        usual = (
            float(np.median(areas[areas > 0][-200:])) if number % 50 == 0 or not usual else usual
        )
        centres[number] = (x * scale + part.left, y * scale + part.top)
        boxes[number] = [
            edge * scale + offset
            for edge, offset in zip(
                (box[1].start, box[0].start, box[1].stop, box[0].stop),
                (part.left, part.top, part.left, part.top),
                strict=True,
            )
        ]
    yield Progress(total, total, subject)
    centres, boxes = _without_jumps(centres, boxes)
    seen = int(np.isfinite(centres[:, 0]).sum())
    if seen < n_frames / 10:
        raise InputError(
            "No moving animal could be followed",
            expected="one animal that moves before a background that stays",
            found=f"something in {seen} of {n_frames} frames",
            remedy="Set a region around the arena, or import tracks from a pose program.",
        )
    return Followed(Track(subject, centres, boxes), _notes(subject, seen, n_frames, rivals, rested))


def _notes(subject: str, seen: int, n_frames: int, rivals: int, rested: bool) -> tuple[str, ...]:
    notes = []
    if rested:
        notes.append(
            f"{subject} rests in one place for most of the recording. What lies beneath it was "
            "taken from the frames when it was away: look at the preview."
        )
    if seen < n_frames:
        notes.append(f"{subject} is not found in {n_frames - seen} of {n_frames} frames.")
    if rivals > n_frames / 20:
        notes.append(
            f"In {rivals} frames a second part of the picture moves as well. This serves a single "
            "animal: look at the preview, set a region, or import tracks."
        )
    return tuple(notes)


def _background(
    frames: FrameSource, part: Region, scale: int, total: int
) -> Generator[Progress, None, tuple[np.ndarray, np.ndarray, bool]]:
    """Each pixel's background and threshold, and whether a resting animal was taken out of it.

    The noise is the scaled median deviation over frames spread over the recording.
    """
    n_frames = frames.shape[0]
    step = max(1, n_frames // _SAMPLES)
    pictures = []
    for number, frame in frames.frames(0, n_frames, step):
        if frame is not None:
            pictures.append(_grey(frame, part, scale))
        yield Progress(min(number // step, _SAMPLES), total, "background")
    if len(pictures) < 3:
        raise InputError("The recording has too few frames to follow an animal in it")
    stack = np.stack(pictures)
    levels = np.median(stack, axis=(1, 2), keepdims=True)
    stack += np.median(levels) - levels
    median = np.median(stack, axis=0)
    deviation = 1.4826 * np.median(abs(stack - median), axis=0)
    # A pixel that the animal often covers deviates for that reason: the picture's noise is that of
    # most pixels.
    usual = float(np.median(deviation))
    noise = np.clip(deviation, usual, 3 * usual + 1.0)
    threshold = np.maximum(_NOISE * noise, _LEAST)
    background, rested = _without_rest(stack, median, threshold)
    return background, threshold, rested


def _without_rest(
    stack: np.ndarray, median: np.ndarray, threshold: np.ndarray
) -> tuple[np.ndarray, bool]:
    """The median, with the background in place of an animal that rests in it."""
    far = abs(stack - median) > threshold
    often = far.mean(axis=0) >= _LEAST_AWAY
    other = median.copy()
    rows, columns = np.nonzero(often)
    # Pixel by pixel over the few that change: the whole stack with NaN would be slow.
    for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
        other[y, x] = np.median(stack[far[:, y, x], y, x])
    # A sliver is noise; the animal is as large as what differs from the background in most frames.
    sizes = [parts[0][0] for parts in map(_parts, abs(stack - median) > threshold) if parts]
    least = max(_SMALLEST, float(np.median(sizes)) / 4 if sizes else 0.0)
    labels, _ = ndimage.label(often)  # pyright: ignore[reportGeneralTypeIssues]
    background, rested = median.copy(), False
    for i, box in enumerate(ndimage.find_objects(labels), start=1):
        window = tuple(slice(max(0, side.start - 6), side.stop + 6) for side in box)
        place = labels[window] == i
        if place.sum() < least:
            continue
        now = median[window]
        then = np.where(place, other[window], now)
        border = np.asarray(ndimage.binary_dilation(place)) & ~np.asarray(
            ndimage.binary_erosion(place), bool
        )
        before, after = (
            ndimage.gaussian_gradient_magnitude(look, 1.0)[border].mean() for look in (now, then)
        )
        if after < _BLENDS * before:
            background[window] = np.where(place, then, background[window])
            rested = True
    return background, rested


def _evened(difference: np.ndarray) -> np.ndarray:
    """A difference from the background without what changed evenly over the picture."""
    return difference - np.median(difference)


def _grey(frame: np.ndarray, part: Region, scale: int) -> Float32[np.ndarray, "rows columns"]:
    """The part of a frame in grey, averaged over squares of ``scale`` pixels."""
    window = frame[part.top : part.top + part.height, part.left : part.left + part.width]
    picture = Image.fromarray(np.ascontiguousarray(window)).convert("L").reduce(scale)
    return np.asarray(picture, np.float32)


def _parts(foreground: np.ndarray) -> list[tuple[float, float, float, tuple[slice, slice]]]:
    """Connected parts as ``(area, y, x, box)``, without specks."""
    closed = ndimage.binary_closing(foreground, iterations=1)
    labels, n = ndimage.label(closed)  # pyright: ignore[reportGeneralTypeIssues]
    if not n:
        return []
    areas = np.bincount(labels.ravel(), minlength=n + 1)[1:]
    boxes = ndimage.find_objects(labels)
    kept = [i for i in np.argsort(-areas)[:8] if areas[i] >= _SMALLEST]
    middles = ndimage.center_of_mass(closed, labels, [i + 1 for i in kept]) if kept else []
    return [
        (float(areas[i]), float(y), float(x), boxes[i])
        for i, (y, x) in zip(kept, middles, strict=True)
    ]


def _choose(
    found: list[tuple[float, float, float, tuple[slice, slice]]],
    last: tuple[float, float] | None,
    usual: float,
) -> int | None:
    """The part that continues the way: large, and near where the animal was."""
    if last is None or not usual:
        return 0
    reach = 2.0 * np.sqrt(usual)  # about two body lengths from one frame to the next
    scores = []
    for area, y, x, _ in found:
        likeness = min(area, usual) / max(area, usual)
        apart = np.hypot(y - last[0], x - last[1])
        scores.append(likeness * np.exp(-apart / (4 * reach)))
    best = int(np.argmax(scores))
    return best if found[best][0] > usual / 8 else None


def _without_jumps(centres: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without sightings that lie far from the median of those around them."""
    known = np.flatnonzero(np.isfinite(centres[:, 0]))
    if len(known) < 5:
        return centres, boxes
    around = ndimage.median_filter(centres[known], size=(9, 1), mode="nearest")
    apart = np.hypot(*(centres[known] - around).T)
    length = float(np.nanmedian(boxes[known, 2:] - boxes[known, :2]))
    wrong = known[apart > 2 * length]
    centres[wrong], boxes[wrong] = np.nan, np.nan
    return centres, boxes
