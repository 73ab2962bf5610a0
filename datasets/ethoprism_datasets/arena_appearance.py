"""How a simulated recording looks: one frozen value that says it all, and can be drawn at random.

Lengths of the arena and the animals are centimetres; colours are red, green, blue from 0 to 255.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ethoprism.errors import InputError

Colour = tuple[float, float, float]

_GREY = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Appearance:
    """The camera, the arena, the light and the two animals.

    The first group decides where things lie in the image, so that a truth belongs to it; the
    others can be changed freely when a truth is rendered again (see `geometry`).
    """

    height: int = 256
    width: int = 256
    """Size of the frames in pixels; both even, as the video's chroma is halved."""
    frame_rate: float = 25.0
    """Frames per second."""
    arena_shape: str = "square"
    """``square`` (a rectangle in the frame's proportions) or ``round``."""
    arena_cm: float = 38.0
    """Shorter side or diameter of the floor. It always fills the frame, so this is the zoom."""
    margin: float = 0.05
    """Wall and surroundings on each side, as a fraction of the frame's shorter side."""
    body_cm: tuple[float, float] = (8.8, 8.2)
    """Nose to tail base of each animal when it stands straight."""
    body_girth: tuple[float, float] = (1.0, 1.0)
    """Width of each body relative to a lean mouse."""
    tail_length: float = 0.85
    """Relative to the body."""

    coat: tuple[Colour, Colour] = ((66.0, 56.0, 48.0), (118.0, 98.0, 80.0))
    coat_mottling: tuple[float, float] = (9.0, 11.0)
    """Standard deviation of the fur's texture in grey levels."""
    coat_patches: tuple[float, float] = (0.0, 0.0)
    """Share of the coat in the patch colour."""
    patch_colour: Colour = (225.0, 220.0, 212.0)
    skin: Colour = (201.0, 152.0, 140.0)
    """Ears, paws and tail."""

    floor: Colour = (196.0, 184.0, 162.0)
    floor_texture: float = 9.0
    """Standard deviation of the bedding in grey levels."""
    floor_grain_px: float = 1.6
    bedding_chips: int = 420
    droppings: int = 14
    wall: Colour = (150.0, 150.0, 152.0)
    surroundings: Colour = (62.0, 62.0, 66.0)

    vignette: float = 0.22
    """Loss of light in the corners."""
    light_slope: float = 0.10
    """How much brighter one side is than the other."""
    light_drift: float = 0.05
    """Amplitude of the slow changes of the light."""
    light_angle: float = -2.2
    """Direction from which the light falls, in radians; shadows lie opposite."""
    shadow: float = 0.38
    sensor_noise: float = 2.5
    """Standard deviation per frame and pixel in grey levels."""
    softness_px: float = 1.1
    """Width of the edges, from sharp optics (1) to soft ones (2.5)."""
    texture_seed: int = 0

    def __post_init__(self) -> None:
        self._check()

    @property
    def pixels_per_cm(self) -> float:
        """Pixels to a centimetre on the floor."""
        short = min(self.height, self.width)
        return (1.0 - 2.0 * self.margin) * short / self.arena_cm

    @property
    def half_size_cm(self) -> tuple[float, float]:
        """Half width and half height of the floor; twice the radius where it is round."""
        pixels = self.margin * min(self.height, self.width)
        return (
            (self.width / 2 - pixels) / self.pixels_per_cm,
            (self.height / 2 - pixels) / self.pixels_per_cm,
        )

    @property
    def geometry(self) -> tuple[Any, ...]:
        """What decides where things lie; equal for all appearances that fit one truth."""
        return (
            self.height,
            self.width,
            self.frame_rate,
            self.arena_shape,
            self.arena_cm,
            self.margin,
            self.body_cm,
            self.body_girth,
            self.tail_length,
        )

    def _check(self) -> None:
        _require(self.height >= 32 and self.height % 2 == 0, "height", "even, 32 or more", self)
        _require(self.width >= 32 and self.width % 2 == 0, "width", "even, 32 or more", self)
        _require(5 <= self.frame_rate <= 240, "frame_rate", "5 to 240 frames a second", self)
        _require(self.arena_shape in ("square", "round"), "arena_shape", "square or round", self)
        _require(0.0 <= self.margin <= 0.25, "margin", "0 to 0.25 of the frame", self)
        _require(
            all(4.0 <= length <= self.arena_cm / 3 for length in self.body_cm),
            "body_cm",
            f"two lengths from 4 cm to a third of the arena's {self.arena_cm:g} cm",
            self,
        )
        _require(all(0.7 <= g <= 1.4 for g in self.body_girth), "body_girth", "0.7 to 1.4", self)
        _require(self.sensor_noise >= 0, "sensor_noise", "0 or more", self)
        _require(self.softness_px > 0, "softness_px", "above 0", self)

    @classmethod
    def random(cls, rng: np.random.Generator, **fixed: Any) -> Appearance:
        """An appearance drawn at random, for training that should not depend on any.

        Parameters
        ----------
        rng
            Where the numbers come from; the same state gives the same appearance.
        **fixed
            Fields that are not drawn, such as ``height`` and ``width``.

        Raises
        ------
        InputError
            If ``fixed`` names a field that there is not, or a value out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(fixed) - known):
            raise InputError(
                "An appearance has no such field",
                expected=f"some of {', '.join(sorted(known))}",
                found=", ".join(unknown),
            )
        return cls(**(_random_scene(rng) | _random_colours(rng) | _random_light(rng) | fixed))


def _require(holds: bool, name: str, expected: str, appearance: Appearance) -> None:
    if not holds:
        raise InputError(
            f"An arena cannot be shown with this {name}",
            expected=expected,
            found=repr(getattr(appearance, name)),
            remedy=f"Give another {name}.",
        )


def _random_scene(rng: np.random.Generator) -> dict[str, Any]:
    first = float(rng.uniform(7.2, 9.2))
    return {
        "frame_rate": float(rng.choice([15, 20, 25, 30])),
        "arena_shape": str(rng.choice(["square", "round"])),
        "arena_cm": float(rng.uniform(30.0, 50.0)),
        "margin": float(rng.uniform(0.02, 0.10)),
        "body_cm": (first, first * float(rng.uniform(0.88, 1.08))),
        "body_girth": (float(rng.uniform(0.86, 1.2)), float(rng.uniform(0.86, 1.2))),
        "tail_length": float(rng.uniform(0.6, 1.0)),
        "texture_seed": int(rng.integers(2**31)),
    }


def _random_colours(rng: np.random.Generator) -> dict[str, Any]:
    """Colours in which both animals stand out from the floor, and a little from each other."""
    tint = float(rng.choice([0.0, 1.0], p=[0.4, 0.6]))  # an infrared camera sees grey
    while True:
        floor = float(rng.uniform(35, 225))
        coats = rng.uniform(25, 235, 2)
        apart = abs(coats[0] - coats[1])
        if np.all(np.abs(coats - floor) > 50) and 18 < apart < 90:
            break
    return {
        "coat": (_shade(rng, coats[0], tint), _shade(rng, coats[1], tint)),
        "coat_mottling": (float(rng.uniform(4, 14)), float(rng.uniform(4, 14))),
        "coat_patches": tuple(float(x) for x in rng.uniform(0.1, 0.45, 2) * (rng.random(2) < 0.2)),
        "patch_colour": _shade(rng, rng.uniform(30, 230), tint),
        "skin": _pink(rng, tint),
        "floor": _shade(rng, floor, tint),
        "floor_texture": float(rng.uniform(2, 13) * (0.4 + 0.6 * floor / 225)),
        "floor_grain_px": float(rng.uniform(0.8, 4.0)),
        "bedding_chips": int(rng.integers(50, 800)) if rng.random() < 0.5 else 0,
        "droppings": int(rng.integers(0, 30)),
        "wall": _shade(rng, rng.uniform(40, 220), tint),
        "surroundings": _shade(rng, rng.uniform(15, 140), tint),
    }


def _random_light(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "vignette": float(rng.uniform(0.0, 0.4)),
        "light_slope": float(rng.uniform(0.0, 0.25)),
        "light_drift": float(rng.uniform(0.0, 0.12)),
        "light_angle": float(rng.uniform(-np.pi, np.pi)),
        "shadow": float(rng.uniform(0.1, 0.5)),
        "sensor_noise": float(rng.uniform(0.5, 6.0)),
        "softness_px": float(rng.uniform(0.9, 2.2)),
    }


def _shade(rng: np.random.Generator, grey: float, tint: float) -> Colour:
    """A warm or cool colour of the given brightness; grey where ``tint`` is 0."""
    warmth = tint * rng.uniform(-0.04, 0.16)
    colour = np.array([1.0 + warmth, 1.0, 1.0 - 1.2 * warmth])
    red, green, blue = np.clip(grey * colour / (colour @ _GREY), 0, 255)
    return (float(red), float(green), float(blue))


def _pink(rng: np.random.Generator, tint: float) -> Colour:
    """The colour of bare skin; grey where ``tint`` is 0."""
    grey, blush = rng.uniform(110, 200), tint * rng.uniform(0.6, 1.3)
    colour = 1.0 + blush * np.array([0.20, -0.06, -0.12])
    red, green, blue = np.clip(grey * colour, 0, 255)
    return (float(red), float(green), float(blue))
