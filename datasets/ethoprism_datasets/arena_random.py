"""Short captioned clips under strong randomisation: bodies, grounds, light, cameras and rates.

For pre-training an encoder that should depend on none of these. A clip is a `Shot`: eight square
frames with a sentence that says what they show. Two kinds are mixed: animals of many forms
(`arena_bodies`) that follow a script (`arena_scripts`), and cuts of the arena's own recordings in
random appearances, whose sentences come from their labels. Recordings made by `arena.make` are
untouched by anything in here.

Drawing needs OpenCV (the extra ``pretrain``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ethoprism_datasets.arena_bodies import KINDS, Brush, Form, Pose, random_form
from ethoprism_datasets.arena_scripts import (
    PAIR,
    PAIR_WORDS,
    SOLO,
    SOLO_WORDS,
    WINGED,
    WINGED_PAIR,
    Movement,
    pair,
    solo,
)
from ethoprism_datasets.spec import Shot

FRAMES = 8
SIZE = 144
_OVER = 2  # drawn at twice the size, so that edges are smooth
_KIND_SHARES = (0.26, 0.30, 0.06, 0.12, 0.10, 0.04, 0.06, 0.06)
_HUES = ("dark", "grey", "pale")


def shots(seed: int, *, frames: int = FRAMES, size: int = SIZE) -> Iterator[Shot]:
    """Clips of scripted animals without end; the same seed gives the same ones."""
    number = 0
    while True:
        yield shot(np.random.default_rng([seed, number, 7]), frames=frames, size=size)
        number += 1


def shot(rng: np.random.Generator, *, frames: int = FRAMES, size: int = SIZE) -> Shot:
    """One clip of one to four animals, drawn at random."""
    import cv2

    rate = float(np.exp(rng.uniform(np.log(6), np.log(60))))
    times = np.arange(frames) / rate
    kind = str(rng.choice(KINDS, p=_KIND_SHARES))
    tinted = bool(rng.random() < 0.5)
    ground, ground_grey = _ground(rng, size * _OVER, tinted, cv2)
    forms, greys = _cast(rng, kind, ground_grey, tinted)
    moves, script = _acted(rng, forms, times)
    length = _length(rng, len(moves), moves)
    paths = _staged(rng, moves, length, frames)
    canvas = np.empty((size * _OVER, size * _OVER, 3), np.float32)
    camera = _Camera(rng, ground, size * _OVER, paths, length, cv2)
    dark = float(rng.uniform(0.0, 0.5))
    ratios = np.array([1.0, *np.exp(rng.normal(0, 0.12, len(forms) - 1))])
    images = []
    for i in range(frames):
        offset = camera.view(canvas, i)
        brush = Brush(canvas, cv2)
        poses = [
            _pose(move, i, path[i] - offset, length * ratio)
            for move, path, ratio in zip(moves, paths, ratios, strict=True)
        ]
        for form, pose in zip(forms, poses, strict=True):
            brush.shadow(form, pose, 0.05 * length, dark)
        for form, pose in sorted(zip(forms, poses, strict=True), key=lambda fp: fp[1].y):
            brush.body(form, pose)
        images.append(camera.taken(canvas, size))
    caption = _caption(kind, greys, len(forms), script)
    facts = {
        "script": script,
        "kind": kind,
        "rate": rate,
        "length_px": length / _OVER,
        "animals": len(forms),
    }
    return Shot(exposed(rng, np.stack(images)), caption, facts)


# Who, and what they do


def _cast(
    rng: np.random.Generator, kind: str, ground: float, tinted: bool
) -> tuple[list[Form], list[float]]:
    """One to four animals of one kind that stand out from the ground, and their grey levels."""
    n = int(rng.choice([1, 2, 3, 4], p=[0.33, 0.55, 0.08, 0.04]))
    far = [g for g in rng.uniform(12, 240, 40).tolist() if abs(g - ground) > 35]
    grey = float(far[0]) if far else (20.0 if ground > 128 else 230.0)
    greys = [grey, *np.clip(grey + rng.normal(0, 25, n - 1), 8, 245).tolist()]
    return [random_form(rng, kind, g, tinted) for g in greys], greys


def _acted(
    rng: np.random.Generator, forms: list[Form], times: np.ndarray
) -> tuple[list[Movement], str]:
    winged = forms[0].wings
    if len(forms) == 1:
        scripts = SOLO + (WINGED * 2 if winged else ())
        script = str(rng.choice(scripts))
        return [solo(rng, script, times)], script
    scripts = PAIR + (WINGED_PAIR * 2 if winged else ())
    script = str(rng.choice(scripts))
    if rng.random() < 0.25:  # two that have nothing to do with each other
        names = [str(rng.choice(SOLO + (WINGED if winged else ()))) for _ in range(2)]
        moves = [solo(rng, name, times) for name in names]
        apart, around = rng.uniform(1.6, 5.0), rng.uniform(-np.pi, np.pi)
        moves[1].x = moves[1].x + apart * np.cos(around)
        moves[1].y = moves[1].y + apart * np.sin(around)
        script = "apart:" + ":".join(names)
    else:
        moves = list(pair(rng, script, times))
    for _ in forms[2:]:
        other = solo(rng, str(rng.choice(SOLO)), times)
        around, apart = rng.uniform(-np.pi, np.pi), rng.uniform(2.0, 4.0)
        other.x = other.x + apart * np.cos(around)
        other.y = other.y + apart * np.sin(around)
        moves.append(other)
    return moves, script


def _caption(kind: str, greys: list[float], n: int, script: str) -> str:
    names = [f"{_HUES[int(np.digitize(g, (85, 165)))]} {kind}" for g in greys[:2]]
    if n == 1:
        return f"A {names[0]} {SOLO_WORDS[script]}."
    one, two = (f"a {names[0]}", f"another {names[1]}")
    if script.startswith("apart:"):
        first, second = script.removeprefix("apart:").split(":")
        what = f"{one} {SOLO_WORDS[first]}, {two} {SOLO_WORDS[second]} away from it"
    else:
        what = PAIR_WORDS[script].format(a=one, b=two)
    more = {3: ", with one more nearby", 4: ", with two more nearby"}.get(n, "")
    return f"{what[0].upper()}{what[1:]}{more}."


# Where: pixels of the drawn canvas


def _length(rng: np.random.Generator, n: int, moves: list[Movement]) -> float:
    """Body length in pixels: from 8 px of the clip to half of its side."""
    side = SIZE * _OVER
    longest = 0.62 if n == 1 else 0.42
    length = side * float(np.exp(rng.uniform(np.log(0.09), np.log(longest))))
    # The first animal's whole way should mostly be seen; the camera may follow it besides.
    reach = max(float(np.ptp(moves[0].x)), float(np.ptp(moves[0].y)), 1e-6)
    return max(min(length, 1.4 * side / reach), 8.0 * _OVER)


def _staged(
    rng: np.random.Generator, moves: list[Movement], length: float, frames: int
) -> list[np.ndarray]:
    """Places ``(frames, 2)`` of each animal in pixels, the scene's middle at the origin."""
    turn = rng.uniform(-np.pi, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    for move in moves:
        move.x, move.y = cos * move.x - sin * move.y, sin * move.x + cos * move.y
        move.heading = move.heading + turn
    return [np.stack([move.x, move.y], axis=1) * length for move in moves]


def _pose(move: Movement, i: int, place: np.ndarray, length: float) -> Pose:
    return Pose(
        x=float(place[0]),
        y=float(place[1]),
        heading=float(move.heading[i]),
        length=length,
        bend=float(move.bend[i]),
        gaze=float(move.gaze[i]),
        gait=float(move.gait[i]),
        pace=float(np.clip(move.speed[i] / 1.5, 0, 1)),
        left=float(move.left[i]),
        right=float(move.right[i]),
        groom=float(move.groom[i]),
        groom_phase=float(move.phase[i]),
    )


class _Camera:
    """What part of the ground each frame shows, and how the picture is taken."""

    def __init__(
        self,
        rng: np.random.Generator,
        ground: np.ndarray,
        side: int,
        paths: list[np.ndarray],
        length: float,
        cv2: Any,
    ):
        self._cv2, self._ground, self._side, self._rng = cv2, ground, side, rng
        n = len(paths[0])
        # A crop that follows the first animal, smoothly or with the errors of a track, or stays.
        follow = float(rng.choice([0.0, 1.0], p=[0.45, 0.55]))
        middle = paths[0] if rng.random() < 0.7 else np.mean(paths, axis=0)
        still = np.repeat(middle[n // 2][None], n, axis=0)
        wobble = rng.normal(0, 0.02 * length, (n, 2)) * (rng.random() < 0.4)
        centre = follow * middle + (1 - follow) * still + wobble
        centre = centre + rng.normal(0, 0.08 * side, 2) * (1.0 if follow else 1.6)
        self._offsets = centre - side / 2
        span = ground.shape[0] - side
        start = self._offsets[n // 2]
        self._on_ground = np.clip(self._offsets - start + span / 2, 0, span)
        self._tilt = self._homography() if rng.random() < 0.3 else None
        self._blur = (
            float(np.exp(rng.uniform(np.log(0.3), np.log(2.6)))) if rng.random() < 0.6 else 0.0
        )
        self._light = self._field()

    def _homography(self) -> np.ndarray:
        side = float(self._side)
        corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
        moved = corners + self._rng.uniform(-0.14, 0.14, (4, 2)).astype(np.float32) * side
        return self._cv2.getPerspectiveTransform(moved, corners)

    def _field(self) -> np.ndarray:
        """Light over the picture: a slope and a vignette, about 1."""
        rng, at = self._rng, np.linspace(-1, 1, self._side, dtype=np.float32)
        angle, slope = rng.uniform(-np.pi, np.pi), rng.uniform(0, 0.3)
        light = 1 + slope * (np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None])
        corner = rng.uniform(0, 0.5) * (rng.random() < 0.5)
        return (light * (1 - corner * 0.5 * (at[None, :] ** 2 + at[:, None] ** 2)))[..., None]

    def view(self, canvas: np.ndarray, i: int) -> np.ndarray:
        """Fill the canvas with the ground of frame ``i``; the place of its first pixel."""
        x, y = self._on_ground[i]
        matrix = np.array([[1, 0, -x], [0, 1, -y]], np.float64)
        border = self._cv2.BORDER_REFLECT_101
        self._cv2.warpAffine(
            self._ground, matrix, (self._side, self._side), dst=canvas, borderMode=border
        )
        return self._offsets[i]

    def taken(self, canvas: np.ndarray, size: int) -> np.ndarray:
        """The drawn canvas as the lens shows it, at the clip's size; float32."""
        cv2 = self._cv2
        image = canvas * self._light
        if self._tilt is not None:
            full = (self._side, self._side)
            image = cv2.warpPerspective(image, self._tilt, full, borderMode=cv2.BORDER_REFLECT_101)
        if self._blur > 0.4:
            image = cv2.GaussianBlur(image, (0, 0), self._blur)
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def exposed(rng: np.random.Generator, images: np.ndarray) -> np.ndarray:
    """Contrast, noise and compression of a camera, the same for all frames but for the noise.

    ``images`` is float32 ``(frames, height, width, 3)`` from 0 to 255; the result is uint8.
    """
    import cv2

    x = 255.0 * (np.clip(images, 0, 255) / 255.0) ** float(np.exp(rng.normal(0, 0.3)))
    gain = float(np.exp(rng.uniform(np.log(0.45), np.log(1.3))))
    x = (x - x.mean()) * gain + x.mean() + rng.uniform(-40, 40)
    x = x * np.exp(rng.normal(0, 0.012, (len(x), 1, 1, 1)) * (rng.random() < 0.4))
    if rng.random() < 0.8:
        noise = gain * float(np.exp(rng.uniform(np.log(0.4), np.log(10))))
        grain = rng.standard_normal(x.shape[:3], dtype=np.float32)[..., None]
        x = x + noise * grain
    frames = np.clip(x, 0, 255).astype(np.uint8)
    if rng.random() < 0.45:
        quality = [int(cv2.IMWRITE_JPEG_QUALITY), int(rng.integers(18, 80))]
        coded = [cv2.imencode(".jpg", f, quality)[1] for f in frames]
        frames = np.stack([np.asarray(cv2.imdecode(c, cv2.IMREAD_COLOR)) for c in coded])
    return frames


# The ground


def _ground(
    rng: np.random.Generator, side: int, tinted: bool, cv2: Any
) -> tuple[np.ndarray, float]:
    """A still ground of 2.2 times the canvas' side, float32, and its grey level."""
    full = int(2.2 * side)
    grey = float(rng.uniform(15, 240))
    tint = 1 + rng.normal(0, 0.1, 3) * tinted
    image = np.empty((full, full, 3), np.float32)
    image[:] = np.clip(grey * tint, 0, 255)
    rough = np.zeros((full, full), np.float32)
    for _ in range(int(rng.integers(0, 4))):
        grain = int(np.exp(rng.uniform(np.log(2), np.log(full / 4))))
        small = rng.standard_normal((full // grain + 2, full // grain + 2)).astype(np.float32)
        if rng.random() < 0.25:  # grain in one direction, as of wood
            small = np.repeat(small[:, :1], small.shape[1], axis=1)
        rough += rng.uniform(0.2, 1.0) * cv2.resize(
            small, (full, full), interpolation=cv2.INTER_CUBIC
        )
    image += (float(rng.uniform(1, 16)) * rough)[..., None] * (1 + rng.normal(0, 0.2, 3) * tinted)
    for draw in (_grid, _litter, _wall, _dish, _shapes):
        if rng.random() < 0.3:
            draw(rng, image, grey, side, cv2)
    turn = cv2.getRotationMatrix2D((full / 2, full / 2), float(rng.uniform(-180, 180)), 1.0)
    image = cv2.warpAffine(image, turn, (full, full), borderMode=cv2.BORDER_REFLECT_101)
    image = np.clip(image, 2, 253).astype(np.float32)
    middle = image[full // 3 : 2 * full // 3, full // 3 : 2 * full // 3]
    return image, float(middle.mean())


def _contrast(rng: np.random.Generator, grey: float) -> tuple[float, float, float]:
    value = float(np.clip(grey + rng.choice([-1, 1]) * rng.uniform(10, 110), 0, 255))
    return (value, value, value)


def _grid(rng: np.random.Generator, image: np.ndarray, grey: float, side: int, cv2: Any) -> None:
    """A mesh, bars or tiles."""
    full = image.shape[0]
    pitch = int(rng.uniform(0.04, 0.5) * side)
    thick, colour = max(1, int(pitch * rng.uniform(0.03, 0.4))), _contrast(rng, grey)
    both = rng.random() < 0.6
    for at in range(int(rng.integers(pitch)), full, pitch):
        cv2.line(image, (at, 0), (at, full), colour, thick)
        if both:
            cv2.line(image, (0, at), (full, at), colour, thick)


def _litter(rng: np.random.Generator, image: np.ndarray, grey: float, side: int, cv2: Any) -> None:
    """Chips, droppings or grains."""
    full, colour = image.shape[0], _contrast(rng, grey)
    longest = rng.uniform(0.005, 0.05) * side
    for _ in range(int(rng.integers(20, 400))):
        x, y, angle = rng.uniform(0, full), rng.uniform(0, full), rng.uniform(0, np.pi)
        half = longest * rng.uniform(0.3, 1.0)
        one = (int(x - half * np.cos(angle)), int(y - half * np.sin(angle)))
        two = (int(x + half * np.cos(angle)), int(y + half * np.sin(angle)))
        cv2.line(image, one, two, colour, max(1, int(half * 0.6)), cv2.LINE_AA)


def _wall(rng: np.random.Generator, image: np.ndarray, grey: float, side: int, cv2: Any) -> None:
    """A straight wall at one side."""
    full = image.shape[0]
    at = int(full / 2 + rng.uniform(0.2, 0.6) * side)
    image[at:] = np.array(_contrast(rng, grey), np.float32)
    image[at : at + max(2, int(0.03 * side))] = np.array(_contrast(rng, grey), np.float32)


def _dish(rng: np.random.Generator, image: np.ndarray, grey: float, side: int, cv2: Any) -> None:
    """The rim of a round dish and what lies beyond."""
    full = image.shape[0]
    radius = int(rng.uniform(0.35, 1.1) * side)
    centre = tuple(int(c) for c in full / 2 + rng.uniform(-0.5, 0.5, 2) * radius)
    thick = max(2, int(rng.uniform(0.01, 0.1) * side))
    if rng.random() < 0.5:
        beyond = np.zeros((full, full), np.uint8)
        cv2.circle(beyond, centre, radius, 255, -1)
        image[beyond == 0] = np.array(_contrast(rng, grey), np.float32)
    cv2.circle(image, centre, radius, _contrast(rng, grey), thick, cv2.LINE_AA)


def _shapes(rng: np.random.Generator, image: np.ndarray, grey: float, side: int, cv2: Any) -> None:
    """Still things: dishes of food, stones, marks; some as large as an animal."""
    full = image.shape[0]
    for _ in range(int(rng.integers(1, 10))):
        centre = tuple(int(c) for c in rng.uniform(0, full, 2))
        axes = tuple(int(a) + 1 for a in rng.uniform(0.01, 0.25, 2) * side)
        angle, thick = float(rng.uniform(0, 180)), -1 if rng.random() < 0.7 else 3
        cv2.ellipse(image, centre, axes, angle, 0, 360, _contrast(rng, grey), thick, cv2.LINE_AA)
