"""Bodies of many kinds, seen from above, drawn as shapes: for pre-training, not for truth.

One `Form` says what a body is made of: a spine with a radius at each place, and legs, wings, a
tail, fins, ears, antennae or eyes. Lengths are in body lengths, angles in radians, colours RGB from
0 to 255. Drawing is OpenCV's, on float pixels of the canvas.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Colour = tuple[float, float, float]

PLACES = np.linspace(0.0, 1.0, 17)
"""Places along the spine from the rear end (0) to the front (1)."""

_SHIFT = 4  # OpenCV draws at sixteenths of a pixel
_LIGHT = np.array([-0.6, -0.8])

PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "mouse": (
        (0, 0.05),
        (0.15, 0.15),
        (0.4, 0.17),
        (0.65, 0.12),
        (0.8, 0.10),
        (0.92, 0.06),
        (1, 0.02),
    ),
    "fly": (
        *((0, 0.03), (0.12, 0.12), (0.3, 0.145), (0.45, 0.10), (0.52, 0.12), (0.64, 0.15)),
        *((0.76, 0.10), (0.80, 0.07), (0.85, 0.15), (0.93, 0.14), (1, 0.05)),
    ),
    "ant": (
        *((0, 0.03), (0.15, 0.13), (0.3, 0.11), (0.40, 0.03), (0.5, 0.07), (0.6, 0.07)),
        *((0.70, 0.03), (0.80, 0.10), (0.92, 0.09), (1, 0.04)),
    ),
    "beetle": (
        (0, 0.06),
        (0.2, 0.23),
        (0.45, 0.27),
        (0.66, 0.24),
        (0.8, 0.17),
        (0.9, 0.11),
        (1, 0.04),
    ),
    "fish": ((0, 0.025), (0.2, 0.045), (0.45, 0.10), (0.7, 0.13), (0.85, 0.11), (1, 0.03)),
    "worm": ((0, 0.02), (0.1, 0.045), (0.5, 0.05), (0.9, 0.045), (1, 0.025)),
    "bird": (
        (0, 0.06),
        (0.2, 0.10),
        (0.4, 0.20),
        (0.6, 0.20),
        (0.72, 0.12),
        (0.84, 0.12),
        (1, 0.05),
    ),
    "spider": (
        (0, 0.08),
        (0.2, 0.26),
        (0.45, 0.24),
        (0.56, 0.08),
        (0.7, 0.17),
        (0.9, 0.15),
        (1, 0.06),
    ),
}
KINDS = tuple(PROFILES)


@dataclass(frozen=True, eq=False)
class Form:
    """What one animal's body is like; see the module."""

    kind: str
    radii: np.ndarray
    """float64 ``(17,)`` at `PLACES`."""
    colour: Colour
    second: Colour
    """Of stripes, spots, legs and tail."""
    legs: int = 0
    """Pairs."""
    leg_length: float = 0.3
    wings: bool = False
    wing_length: float = 0.7
    wing_width: float = 0.13
    wing_opaque: float = 0.35
    wing_colour: Colour = (200.0, 200.0, 200.0)
    tail: float = 0.0
    fin: bool = False
    ears: bool = False
    antennae: bool = False
    eyes: Colour | None = None
    stripes: int = 0
    spots: tuple[tuple[float, float, float], ...] = ()
    """Place, side from -1 to 1, and radius of each."""
    wave: float = 0.0
    """Amplitude of the wave that swims through the spine, in radians."""
    relief: float = 0.2
    """How much brighter the back is than the flanks."""


def random_form(rng: np.random.Generator, kind: str, grey: float, tinted: bool) -> Form:
    """A body of a kind (one of `KINDS`) of about the given grey level, drawn at random."""
    places, radii = zip(*PROFILES[kind], strict=True)
    girth = float(np.exp(rng.normal(0, 0.15)))
    profile = np.interp(PLACES, places, radii) * girth * np.exp(rng.normal(0, 0.06, len(PLACES)))
    insect = kind in ("fly", "ant", "beetle")
    second = float(np.clip(grey + rng.choice([-1, 1]) * rng.uniform(15, 90), 5, 245))
    spots = [
        (rng.uniform(0.05, 0.9), rng.uniform(-0.8, 0.8), rng.uniform(0.02, 0.09))
        for _ in range(int(rng.integers(1, 14)))
    ]
    return Form(
        kind=kind,
        radii=profile,
        colour=_tinted(rng, grey, tinted),
        second=_tinted(rng, second, tinted),
        legs=4 if kind == "spider" else 3 if insect else 2 if kind == "mouse" else 0,
        leg_length=float(
            rng.uniform(0.5, 1.0) if kind == "spider" else rng.uniform(0.25, 0.6) if insect else 0.2
        ),
        wings=kind in ("fly", "bird") or (insect and bool(rng.random() < 0.3)),
        wing_length=float(rng.uniform(0.55, 1.0)),
        wing_width=float(rng.uniform(0.09, 0.2)),
        wing_opaque=float(rng.uniform(0.12, 0.6) if kind != "bird" else rng.uniform(0.7, 1.0)),
        wing_colour=_tinted(rng, float(rng.uniform(40, 235)), tinted),
        tail=float(rng.uniform(0.5, 1.0)) if kind == "mouse" else 0.0,
        fin=kind in ("fish", "bird"),
        ears=kind == "mouse",
        antennae=insect and bool(rng.random() < 0.6),
        eyes=_tinted(rng, float(rng.uniform(10, 120)), tinted) if rng.random() < 0.7 else None,
        stripes=int(rng.integers(2, 8)) if rng.random() < 0.4 else 0,
        spots=tuple(spots) if rng.random() < 0.3 else (),
        wave={"fish": 0.5, "worm": 1.0}.get(kind, 0.0) * float(rng.uniform(0.6, 1.4)),
        relief=float(rng.uniform(0.0, 0.45)),
    )


@dataclass(frozen=True, eq=False)
class Pose:
    """How a body is held in one frame; x and y in pixels, ``length`` of the body in pixels."""

    x: float
    y: float
    heading: float
    length: float
    bend: float = 0.0
    gaze: float = 0.0
    gait: float = 0.0
    """Phase of the legs in radians."""
    pace: float = 0.0
    """Amplitude of the legs from 0 to 1."""
    left: float = 0.0
    right: float = 0.0
    """Opening of each wing, 0 folded to 1 square to the body."""
    groom: float = 0.0
    groom_phase: float = 0.0


def spine_of(form: Form, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(17, 2)`` of the spine in pixels, and its direction ``(17,)`` at each."""
    front = np.clip((PLACES - 0.68) / 0.15, 0, 1)
    angle = pose.heading + pose.bend * (PLACES - 0.5) + pose.gaze * front
    angle = angle + form.wave * (1.15 - PLACES) * np.sin(pose.gait + 5.0 * PLACES)
    angle = angle + 0.15 * pose.groom * np.sin(pose.groom_phase) * front
    step = np.diff(PLACES, prepend=0.0) * pose.length * (1 - 0.25 * pose.groom * front)
    points = np.stack([np.cos(angle) * step, np.sin(angle) * step], axis=1).cumsum(axis=0)
    return points - points[8] + (pose.x, pose.y), angle


class Brush:
    """Draws bodies on a float32 canvas ``(height, width, 3)``, in place."""

    def __init__(self, canvas: np.ndarray, cv2: Any):
        self._canvas, self._cv2 = canvas, cv2

    def shadow(self, form: Form, pose: Pose, reach: float, dark: float) -> None:
        """Darken the ground beside a body."""
        points, angle = spine_of(form, pose)
        outline = _outline(points - _LIGHT * reach, angle, form.radii * pose.length * 1.1)
        self._fill([outline], (0.0, 0.0, 0.0), dark)

    def body(self, form: Form, pose: Pose) -> None:
        """Draw a body: what lies under the trunk, the trunk, and what lies on it."""
        points, angle = spine_of(form, pose)
        if form.tail:
            self._tail(form, pose, points, angle)
        if form.fin:
            self._fin(form, pose, points, angle)
        if form.legs:
            self._legs(form, pose, points, angle)
        self._trunk(form, pose, points, angle)
        self._head(form, pose, points, angle)
        if form.wings:
            self._wings(form, pose, points, angle)

    def _trunk(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        radii = form.radii * pose.length
        base = np.array(form.colour)
        for share, bright in ((1.0, 1 - form.relief), (0.72, 1.0), (0.4, 1 + 0.7 * form.relief)):
            lifted = points + _LIGHT * (1 - share) * 0.4 * radii[:, None]
            self._fill(
                [_outline(lifted, angle, radii * share)], tuple(np.clip(base * bright, 0, 255))
            )
        side = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
        for place in np.linspace(0.08, 0.6, form.stripes):
            i = int(place * 16)
            ends = points[i] + np.outer([-0.9, 0.9], side[i] * radii[i])
            self._line(ends, form.second, 0.035 * pose.length)
        for place, across, radius in form.spots:
            i = int(place * 16)
            centre = points[i] + side[i] * radii[i] * across * 0.7
            self._disc(centre, min(radius, 0.5 * form.radii[i]) * pose.length, form.second)

    def _head(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        length, tip = pose.length, angle[15]
        ahead = np.array([np.cos(tip), np.sin(tip)])
        aside = np.array([-ahead[1], ahead[0]])
        for hand in (-1.0, 1.0):
            if form.ears:
                self._disc(points[13] + hand * aside * 0.085 * length, 0.05 * length, form.second)
            if form.eyes is not None:
                wide = 0.75 * form.radii[14] * length
                size = (0.055 if form.kind == "fly" else 0.022) * length
                self._disc(points[14] + hand * aside * wide, size, form.eyes)
            if form.antennae:
                elbow = points[16] + length * (0.10 * ahead + 0.08 * hand * aside)
                end = elbow + length * (
                    0.14 * ahead + 0.06 * hand * np.sin(pose.groom_phase) * aside
                )
                self._line(np.array([points[16], elbow, end]), form.second, 0.015 * length)
        if form.kind == "bird":
            beak = points[16] + np.array([aside * 0.03, ahead * 0.12, -aside * 0.03]) * length
            self._fill([beak], form.second)

    def _legs(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        first, last = (5, 12) if form.legs == 2 else (8, 12)
        insect = form.legs > 2
        for pair, i in enumerate(np.linspace(first, last, form.legs).astype(int)):
            lean = np.linspace(-0.7, 0.7, form.legs)[pair]
            for hand in (-1.0, 1.0):
                phase = pose.gait + np.pi * ((pair + (hand > 0)) % 2)
                swing = 0.35 * pose.pace * np.sin(phase)
                grooming = pose.groom * (pair == form.legs - 1)
                # Grooming legs are stroked along the head, to the front.
                turn = hand * (np.pi / 2 - lean - swing) * (1 - 0.75 * grooming)
                turn += 0.3 * grooming * np.sin(pose.groom_phase + hand)
                bearing = angle[i] + turn
                reach = form.leg_length * pose.length
                knee = (
                    points[i]
                    + 0.5 * reach * _unit(bearing)
                    + 0.4 * form.radii[i] * pose.length * _unit(bearing)
                )
                foot = knee + 0.55 * reach * _unit(
                    bearing - hand * (0.5 if insect else 0.2) * (1 - lean)
                )
                wide = (0.028 if insect else 0.05) * pose.length
                self._line(np.array([points[i], knee, foot]), form.second, wide)

    def _wings(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        root = points[10]
        rear = angle[10] + np.pi
        for hand, opening in ((-1.0, pose.right), (1.0, pose.left)):
            # Positive turns are clockwise to the eye: from the rear, the left wing opens with them.
            bearing = rear + hand * (0.16 + 1.4 * opening)
            hinge = root + hand * 0.06 * pose.length * np.array(
                [np.sin(angle[10]), -np.cos(angle[10])]
            )
            t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            along = form.wing_length * pose.length * (0.5 - 0.5 * np.cos(t))
            across = (
                form.wing_width * pose.length * np.sin(t) * (0.6 + 0.6 * (0.5 - 0.5 * np.cos(t)))
            )
            u, v = _unit(bearing), _unit(bearing + np.pi / 2)
            blade = hinge + along[:, None] * u + across[:, None] * v
            self._fill([blade], form.wing_colour, form.wing_opaque)
            vein = np.array([hinge, hinge + 0.9 * form.wing_length * pose.length * u])
            self._line(vein, tuple(0.6 * np.array(form.wing_colour)), 0.012 * pose.length)

    def _tail(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        place = np.linspace(0, 1, 10)
        sway = (
            0.5 * np.sin(pose.gait * 0.5 - 2.0 * place) * (0.3 + pose.pace)
            - 0.8 * pose.bend * place
        )
        course = angle[0] + np.pi + sway
        step = form.tail * pose.length / 10
        line = points[0] + np.stack([np.cos(course), np.sin(course)], axis=1).cumsum(axis=0) * step
        self._line(np.concatenate([points[:1], line]), form.second, 0.035 * pose.length)

    def _fin(self, form: Form, pose: Pose, points: np.ndarray, angle: np.ndarray) -> None:
        back = angle[0] + np.pi + 0.6 * form.wave * np.sin(pose.gait - 1.0)
        length = pose.length
        fan = np.array(
            [points[1], *(points[0] + 0.2 * length * _unit(back + a) for a in (-0.45, 0, 0.45))]
        )
        self._fill([fan], form.second, 0.8)

    # Primitives

    def _fill(self, outlines: list[np.ndarray], colour: Colour, opaque: float = 1.0) -> None:
        height, width = self._canvas.shape[:2]
        every = np.concatenate(outlines)
        low = np.maximum(np.floor(every.min(axis=0)).astype(int) - 2, 0)
        high = np.minimum(np.ceil(every.max(axis=0)).astype(int) + 3, (width, height))
        if (high <= low).any():
            return
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        shapes = [np.rint((o - low) * 2**_SHIFT).astype(np.int32) for o in outlines]
        self._cv2.fillPoly(mask, shapes, 255, self._cv2.LINE_AA, _SHIFT)
        self._blend(mask, low, colour, opaque)

    def _line(self, points: np.ndarray, colour: Colour, width_px: float) -> None:
        height, width = self._canvas.shape[:2]
        pad = int(width_px) + 3
        low = np.maximum(np.floor(points.min(axis=0)).astype(int) - pad, 0)
        high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + pad, (width, height))
        if (high <= low).any():
            return
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        path = np.rint((points - low) * 2**_SHIFT).astype(np.int32)
        thick = max(1, round(width_px))
        self._cv2.polylines(mask, [path], False, 255, thick, self._cv2.LINE_AA, _SHIFT)
        self._blend(mask, low, colour, min(1.0, width_px / thick))  # thinner than a pixel is paler

    def _disc(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        t = np.linspace(0, 2 * np.pi, 14, endpoint=False)
        self._fill([centre + radius * np.stack([np.cos(t), np.sin(t)], axis=1)], colour)

    def _blend(self, mask: np.ndarray, low: np.ndarray, colour: Colour, opaque: float) -> None:
        part = self._canvas[low[1] : low[1] + mask.shape[0], low[0] : low[0] + mask.shape[1]]
        share = (mask * np.float32(opaque / 255.0))[..., None]
        part += share * (np.array(colour, np.float32) - part)


def _outline(points: np.ndarray, angle: np.ndarray, radii: np.ndarray) -> np.ndarray:
    side = np.stack([-np.sin(angle), np.cos(angle)], axis=1) * radii[:, None]
    return np.concatenate([points + side, (points - side)[::-1]])


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])


def _tinted(rng: np.random.Generator, grey: float, tinted: bool) -> Colour:
    """A colour of about that grey level."""
    tint = rng.normal(0, 0.14, 3) if tinted else np.zeros(3)
    red, green, blue = np.clip(grey * (1 + tint - tint.mean()), 0, 255).tolist()
    return (red, green, blue)
