"""What does not move in a simulated recording: bedding, walls, droppings, light and fur.

Made once for a recording, from the appearance's texture seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism_datasets.arena_appearance import Appearance

FUR_SIZE = 256
"""Side of the fur's texture in pixels, a power of two; it repeats beyond."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The still parts of a recording, float32, colours first.

    Attributes
    ----------
    floor
        ``(3, height, width)``: the empty arena in even light.
    light
        ``(height, width)``: how much light falls where, about 1.
    fur
        ``(2, 3, 256 * 256)``: colour of each animal's coat in its own frame, x along the body.
    """

    floor: np.ndarray
    light: np.ndarray
    fur: np.ndarray


def build_scene(look: Appearance) -> Scene:
    """The scene that an appearance describes; the same one every time."""
    rng = np.random.default_rng([look.texture_seed, 2])
    floor = np.ascontiguousarray(np.moveaxis(_floor(look, rng), -1, 0))
    coats = [np.moveaxis(_fur(look, animal, rng), -1, 0).reshape(3, -1) for animal in range(2)]
    return Scene(floor, _light(look), np.stack(coats))


def _noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1 that repeats at its edges."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal(shape), grain, mode="wrap")
    return (field - field.mean()) / max(float(field.std()), 1e-9)


def _floor(look: Appearance, rng: np.random.Generator) -> np.ndarray:
    shape = (look.height, look.width)
    grain = look.floor_grain_px
    rough = 0.6 * _noise(rng, shape, grain) + 0.5 * _noise(rng, shape, 3.0 * grain)
    rough += 0.6 * _noise(rng, shape, 0.09 * min(shape))
    bedding = np.array(look.floor) + look.floor_texture * rough[..., None]
    # Blotches of warm and cool, unless the camera sees grey.
    tint = 0.12 * look.floor_texture * min(1.0, (max(look.floor) - min(look.floor)) / 12.0)
    bedding += tint * _noise(rng, shape, 5.0)[..., None] * (1, 0, -1)
    _scatter(bedding, look, rng, look.bedding_chips, (0.08, 0.35), 1.6 * look.floor_texture)
    _scatter(bedding, look, rng, look.droppings, (0.10, 0.10), -70.0)
    inside = _distance_to_wall(look)  # pixels, positive on the floor
    thick = max(1.5, 0.55 * look.margin * min(shape))
    wall = np.array(look.wall) + 3.0 * _noise(rng, shape, 1.2)[..., None]
    beyond = np.array(look.surroundings) + 2.0 * _noise(rng, shape, 2.0)[..., None]
    # The wall throws a soft shade on the floor beside it.
    bedding *= (1.0 - 0.35 * np.exp(-np.maximum(inside, 0.0) / 3.5))[..., None]
    wall *= (0.82 + 0.25 * np.clip(-inside / thick, 0, 1))[..., None]
    on_floor = np.clip(inside + 0.5, 0, 1)[..., None]
    outside = np.clip(-inside - thick + 0.5, 0, 1)[..., None]
    image = bedding * on_floor + (1 - on_floor) * (wall * (1 - outside) + beyond * outside)
    return np.clip(image, 2, 253).astype(np.float32)


def _distance_to_wall(look: Appearance) -> np.ndarray:
    x = np.abs(np.arange(look.width) - (look.width - 1) / 2)
    y = np.abs(np.arange(look.height) - (look.height - 1) / 2)[:, None]
    half_width, half_height = (half * look.pixels_per_cm for half in look.half_size_cm)
    if look.arena_shape == "round":
        return min(half_width, half_height) - np.hypot(x, y)
    return np.minimum(half_width - x, half_height - y)


def _scatter(
    image: np.ndarray,
    look: Appearance,
    rng: np.random.Generator,
    count: int,
    size_cm: tuple[float, float],
    contrast: float,
) -> None:
    """Strew short rods over an image in place: chips of wood, or droppings."""
    scale = look.pixels_per_cm
    for _ in range(count):
        x, y = rng.uniform(0, look.width), rng.uniform(0, look.height)
        angle, long = rng.uniform(0, np.pi), scale * size_cm[1] * rng.uniform(0.6, 1.5)
        wide = max(0.6, scale * size_cm[0] * rng.uniform(0.7, 1.3))
        depth = contrast * rng.uniform(0.5, 1.2) * (rng.choice([-1, 1]) if contrast > 0 else 1)
        reach = int(np.ceil(long + wide + 1))
        rows = slice(max(0, int(y) - reach), int(y) + reach + 1)
        columns = slice(max(0, int(x) - reach), int(x) + reach + 1)
        part = image[rows, columns]
        v = np.arange(rows.start, rows.start + part.shape[0])[:, None] - y
        u = np.arange(columns.start, columns.start + part.shape[1]) - x
        along = np.clip(u * np.cos(angle) + v * np.sin(angle), -long, long)
        apart = np.hypot(u - along * np.cos(angle), v - along * np.sin(angle))
        part += depth * np.clip(wide - apart + 0.5, 0, 1)[..., None]


def _light(look: Appearance) -> np.ndarray:
    x = np.linspace(-1, 1, look.width)
    y = np.linspace(-1, 1, look.height)[:, None]
    slope = -0.5 * look.light_slope * (x * np.cos(look.light_angle) + y * np.sin(look.light_angle))
    corners = 1.0 - look.vignette * (0.5 * (x**2 + y**2)) ** 1.3
    return (corners * (1.0 - slope)).astype(np.float32)


def _fur(look: Appearance, animal: int, rng: np.random.Generator) -> np.ndarray:
    """Hairs along the body, blotches, and patches of another colour where the coat has them."""
    from scipy.ndimage import gaussian_filter

    shape = (FUR_SIZE, FUR_SIZE)
    hairs = gaussian_filter(rng.standard_normal(shape), (0.7, 2.2), mode="wrap")
    hairs = 0.75 * hairs / hairs.std() + 0.65 * _noise(rng, shape, 3.5)
    coat = np.full((*shape, 3), look.coat[animal], dtype=np.float64)
    share = look.coat_patches[animal]
    if share > 0:
        blotch = _noise(rng, shape, 9.0)
        edge = np.quantile(blotch, 1.0 - share)
        patch = np.clip((blotch - edge) * 6.0 + 0.5, 0, 1)[..., None]
        coat += patch * (np.array(look.patch_colour) - coat)
    coat += look.coat_mottling[animal] * hairs[..., None]
    return np.clip(coat, 2, 253).astype(np.float32)
