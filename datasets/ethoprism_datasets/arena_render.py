"""Frames of a simulated recording: the two bodies drawn on the still scene, then light and noise.

Only a small patch around each animal is computed, as one expression over its discs. Everything is
a function of the truth, the appearance and the frame's number, so any frame can be rendered alone.
Images are kept as colour planes, float32, with a border around the frame, so that a patch at its
edge needs no special case.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ethoprism.errors import InputError
from ethoprism_datasets.arena_anatomy import Anatomy
from ethoprism_datasets.arena_appearance import Appearance
from ethoprism_datasets.arena_scene import FUR_SIZE, build_scene
from ethoprism_datasets.arena_truth import ArenaTruth

DARK = (26.0, 22.0, 22.0)
"""Colour of eyes and nose."""

RIM = 3
"""Pixels by which the shading looks towards the light, at most."""


def render(
    truth: ArenaTruth,
    appearance: Appearance | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[np.ndarray]:
    """Frames from ``start`` up to ``stop``, each uint8 RGB of shape ``(height, width, 3)``.

    Parameters
    ----------
    truth
        What happens.
    appearance
        How it looks; the truth's own where it is not given.
    start, stop
        Half-open range of frames; all of them where not given. A frame looks the same whichever
        range it is rendered in.

    Raises
    ------
    InputError
        If the appearance has another geometry than the truth, or the range leaves the recording.
    """
    look = appearance or truth.appearance
    if look.geometry != truth.appearance.geometry:
        raise InputError(
            "This appearance does not fit the truth",
            expected="the size, frame rate, arena and bodies that it was simulated for",
            found=f"{look.geometry} instead of {truth.appearance.geometry}",
            remedy="Simulate with this appearance, or change only its colours, light and noise.",
        )
    stop = truth.n_frames if stop is None else stop
    if not 0 <= start <= stop <= truth.n_frames:
        raise InputError(
            "The frames to render are not in the recording",
            expected=f"0 <= start <= stop <= {truth.n_frames}",
            found=f"start {start}, stop {stop}",
        )
    painter = Painter(truth, look)
    return (painter.frame(index) for index in range(start, stop))


@dataclass(frozen=True, eq=False)
class _Layer:
    """Small circles that are drawn at once.

    Attributes
    ----------
    circles
        float32, ``(n_frames, n_circles, 3)``: x, y and radius in pixels.
    colours
        float32, ``(3, n_circles)``. Circles of different colours should lie apart.
    window
        int32: offsets from a circle's middle at which pixels are looked at.
    """

    circles: np.ndarray
    colours: np.ndarray
    window: np.ndarray

    @classmethod
    def of(cls, circles: np.ndarray, colours: list[np.ndarray], soft: float) -> _Layer:
        reach = int(np.ceil(circles[..., 2].max() + 0.5 * soft + 0.5))
        return cls(
            circles.astype(np.float32),
            np.stack(colours, axis=1).astype(np.float32),
            np.arange(-reach, reach + 1, dtype=np.int32),
        )


class Painter:
    """Draws single frames of one truth in one appearance."""

    def __init__(self, truth: ArenaTruth, look: Appearance):
        rng = np.random.default_rng([truth.seed, look.texture_seed, 3])
        scene = build_scene(look)
        reach = np.array([np.cos(look.light_angle), np.sin(look.light_angle)])
        body = look.pixels_per_cm * max(look.body_cm)
        self._cast = np.rint(-0.055 * body * reach).astype(int).tolist()
        self._lit = np.clip(np.rint(0.04 * body * reach), -RIM, RIM).astype(int).tolist()
        self._pad = RIM + 2 + round(0.09 * body)
        self._border = 2 * self._pad
        border = self._border
        self._floor = np.pad(scene.floor, ((0, 0), (border, border), (border, border)), "edge")
        self._fur = scene.fur
        self._soft, self._shadow = look.softness_px, look.shadow
        self._size = (look.height, look.width)
        self._slopes = (
            np.linspace(-1, 1, look.width, dtype=np.float32),
            np.linspace(-1, 1, look.height, dtype=np.float32)[:, None],
        )
        self._gain, self._light = _drift(rng, truth.n_frames, look), scene.light
        self._noise, self._noise_at = _noise(rng, truth.n_frames, look)
        self._parts(truth.anatomy.scaled(1.0, float(border), float(border)), truth, look)

    def _parts(self, anatomy: Anatomy, truth: ArenaTruth, look: Appearance) -> None:
        """Lay out what is drawn in each frame, once for all of them."""
        # Twice as many discs as the skeleton has: their seams would show on a pale coat.
        between = 0.5 * (anatomy.spine[:, :, 1:] + anatomy.spine[:, :, :-1])
        self._spine = np.concatenate([anatomy.spine, between], axis=2).astype(np.float32)
        low = (anatomy.spine[..., :2] - anatomy.spine[..., 2:]).min(axis=2)
        high = (anatomy.spine[..., :2] + anatomy.spine[..., 2:]).max(axis=2)
        self._corner = np.floor(low).astype(int) - self._pad
        self._extent = np.ceil(high).astype(int) + self._pad + 1 - self._corner
        self._turn = np.stack([np.cos(truth.headings), np.sin(truth.headings)], axis=-1)
        # The fur's texture is tied to the body, with its middle at the middle of the texture.
        self._middle = truth.positions + self._border
        skin = np.array(look.skin)
        limbs = np.concatenate([anatomy.tail, anatomy.paws], axis=2)
        limbs = limbs.reshape(truth.n_frames, -1, 3)
        self._limbs = _Layer.of(limbs, [0.93 * skin] * limbs.shape[1], self._soft)
        # The hollow of an ear is bare, its rim and back are furred.
        hollow = anatomy.ears * np.array([1.0, 1.0, 0.62])
        ears = np.concatenate([anatomy.ears, anatomy.eyes, anatomy.nose], axis=2)
        bare = np.concatenate([hollow, anatomy.hands], axis=2)
        self._face = []
        for animal, coat in enumerate(look.coat):
            furred = 0.35 * skin + 0.6 * np.array(coat)
            colours = [furred, furred, *[np.array(DARK)] * 3]
            self._face.append(
                (
                    _Layer.of(ears[:, animal], colours, self._soft),
                    _Layer.of(bare[:, animal], [skin] * bare.shape[2], self._soft),
                )
            )
        self._cover = np.zeros(self._floor[0].size, dtype=np.float32)

    def frame(self, index: int) -> np.ndarray:
        """Frame ``index``: uint8 RGB, ``(height, width, 3)``."""
        canvas = self._floor.copy()
        heights = [self._height(index, animal) for animal in range(2)]
        for animal in range(2):
            self._cast_shadow(canvas, index, animal, heights[animal])
        self._stamp(canvas, self._limbs, index)
        for animal in range(2):
            self._coat(canvas, index, animal, heights[animal])
            for layer in self._face[animal]:
                self._stamp(canvas, layer, index)
        return self._expose(canvas, index)

    def _height(self, index: int, animal: int) -> np.ndarray:
        """How far inside the outline each pixel of an animal's patch lies, about in pixels.

        The largest over all discs of ``(r**2 - d**2) / 2 r``: 0 on the outline with slope 1, and
        half the radius in the middle. It splits into a part of x and one of y.
        """
        x, y, radius = (self._spine[index, animal] - (*self._corner[index, animal], 0)).T
        width, height = self._extent[index, animal]
        double = (2.0 * radius)[:, None]
        across = -((np.arange(width) - x[:, None]) ** 2) / double
        down = 0.25 * double - (np.arange(height) - y[:, None]) ** 2 / double
        both = down.astype(np.float32)[:, :, None] + across.astype(np.float32)[:, None, :]
        return both.max(axis=0)

    def _cast_shadow(self, canvas: np.ndarray, index: int, animal: int, height: np.ndarray) -> None:
        x, y = self._corner[index, animal]
        x, y = x + self._cast[0], y + self._cast[1]
        dark = self._shadow * np.clip(0.5 + height / (1.1 * self._pad), 0.0, 1.0)
        canvas[:, y : y + height.shape[0], x : x + height.shape[1]] *= 1.0 - dark

    def _coat(self, canvas: np.ndarray, index: int, animal: int, height: np.ndarray) -> None:
        x, y = self._corner[index, animal]
        rows, columns = height.shape
        inner = (slice(RIM, rows - RIM), slice(RIM, columns - RIM))
        lit_x, lit_y = self._lit
        round_ = np.sqrt(np.maximum(height, 0.0) / height.max())
        toward = round_[
            RIM + lit_y : rows - RIM + lit_y,
            RIM + lit_x : columns - RIM + lit_x,
        ]
        # Fur is darker where it turns away from above, and brighter where it faces the light.
        shade = 0.62 + 0.44 * round_[inner] + 0.55 * (round_[inner] - toward)
        fur_at = self._fur_index(index, animal, rows, columns)[inner]
        opaque = np.clip(height[inner] / self._soft + 0.5, 0.0, 1.0)
        patches = canvas[:, y + RIM : y + rows - RIM, x + RIM : x + columns - RIM]
        for patch, fur in zip(patches, self._fur[animal], strict=True):
            patch += opaque * (fur.take(fur_at) * shade - patch)

    def _fur_index(self, index: int, animal: int, rows: int, columns: int) -> np.ndarray:
        corner, middle = self._corner[index, animal], self._middle[index, animal]
        cos, sin = self._turn[index, animal]
        u = (np.arange(columns) + (corner[0] - middle[0])).astype(np.float32)
        v = (np.arange(rows) + (corner[1] - middle[1])).astype(np.float32)[:, None]
        half, mask = FUR_SIZE // 2, FUR_SIZE - 1
        along = (cos * u + (sin * v + half)).astype(np.int32) & mask
        across = (cos * v + half - sin * u).astype(np.int32) & mask
        return across * FUR_SIZE + along

    def _stamp(self, canvas: np.ndarray, layer: _Layer, index: int) -> None:
        """Draw the small circles of a layer; those of one colour merge into one shape."""
        circles, window = layer.circles[index], layer.window
        nearest = np.rint(circles[:, :2]).astype(np.int32)
        off = nearest - circles[:, :2]
        dx = (off[:, :1] + window)[:, None, :]
        dy = (off[:, 1:] + window)[:, :, None]
        radius = circles[:, 2, None, None]
        inside = (radius - np.sqrt(dx * dx + dy * dy)) * np.float32(1.0 / self._soft) + 0.5
        # What is thinner than a pixel is also paler.
        inside = np.minimum(inside, 1.0, out=inside) * np.minimum(radius / 0.7, 1.0)
        width = canvas.shape[2]
        where = (nearest[:, 1, None, None] + window[:, None]) * width
        where = where + nearest[:, 0, None, None] + window
        drawn = np.flatnonzero(inside > 0.0)
        at = where.reshape(-1).take(drawn)
        np.maximum.at(self._cover, at, inside.reshape(-1).take(drawn))
        opaque = self._cover.take(at)
        circle = drawn // inside[0].size
        for plane, colours in zip(canvas.reshape(3, -1), layer.colours, strict=True):
            pixels = plane.take(at)
            plane[at] = pixels + opaque * (colours.take(circle) - pixels)
        self._cover[at] = 0.0

    def _expose(self, canvas: np.ndarray, index: int) -> np.ndarray:
        """What the camera makes of it: the frame under this moment's light, with noise."""
        border, (height, width) = self._border, self._size
        overall, across, down = self._gain[index]
        slope_x, slope_y = self._slopes
        light = self._light * ((overall + across * slope_x) + down * slope_y)
        frame = canvas[:, border : border + height, border : border + width] * light
        row, column, flip = self._noise_at[index]
        frame += self._noise[row : row + height, column : column + width][::flip]
        np.clip(frame, 0.0, 255.0, out=frame)
        planes = frame.astype(np.uint8)
        image = np.empty((height, width, 3), dtype=np.uint8)
        for channel in range(3):
            image[..., channel] = planes[channel]
        return image


def _drift(rng: np.random.Generator, n_frames: int, look: Appearance) -> np.ndarray:
    """Slow changes of the light: gain, and slopes across and down; float32, ``(n_frames, 3)``."""
    seconds = np.arange(n_frames) / look.frame_rate
    drift = np.zeros((n_frames, 3))
    for column, share in enumerate((1.0, 0.5, 0.5)):
        for period, part in ((rng.uniform(25, 70), 0.7), (rng.uniform(6, 15), 0.3)):
            phase = rng.uniform(0, 2 * np.pi)
            wave = np.sin(2 * np.pi * seconds / period + phase)
            drift[:, column] += look.light_drift * share * part * wave
    drift[:, 0] += 1.0
    return drift.astype(np.float32)


def _noise(
    rng: np.random.Generator, n_frames: int, look: Appearance
) -> tuple[np.ndarray, np.ndarray]:
    """A field of sensor noise, and which part of it each frame shows: row, column, direction.

    Fresh noise would cost more than all the rest of a frame. The field has twice the frame's size,
    so that no two frames of a recording are likely to show the same part.
    """
    shape = (2 * look.height, 2 * look.width)
    field = rng.standard_normal(shape, dtype=np.float32) * np.float32(look.sensor_noise)
    field += np.float32(0.5)  # colours are cut to whole numbers afterwards
    rows = rng.integers(look.height, size=n_frames)
    columns = rng.integers(look.width, size=n_frames)
    flips = rng.choice([-1, 1], size=n_frames)
    return field, np.stack([rows, columns, flips], axis=1)
