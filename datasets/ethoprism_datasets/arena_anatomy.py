"""Where each part of a simulated mouse lies, given how it moves: circles, one array a part.

Everything is vectorised over frames. A circle is ``(x, y, radius)``; proportions are those of a
mouse seen from above, in body lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from ethoprism_datasets.arena_motion import Floor, Motion

SPINE = (0.05, 0.13, 0.21, 0.29, 0.37, 0.45, 0.53, 0.61, 0.68, 0.74, 0.80, 0.86, 0.91, 0.955, 0.985)
"""Places of the body's discs from the tail's base (0) to the tip of the nose (1)."""

RADII = (
    *(0.080, 0.132, 0.165, 0.180, 0.181, 0.172, 0.157, 0.139),
    *(0.122, 0.112, 0.105, 0.090, 0.070, 0.046, 0.024),
)

TRUNK = 8
"""The first discs, up to the shoulders; the others are neck and head."""

TAIL_NODES = 10
TAIL_DISCS = 45


@dataclass(frozen=True)
class Anatomy:
    """The circles that make up both animals, float64 of shape ``(n_frames, 2, n_circles, 3)``.

    Attributes
    ----------
    spine
        15 discs from rump to snout; their union is the body.
    ears, eyes, nose
        Two, two and one.
    paws
        Eight: two for each foot, hind left and right, then fore left and right.
    hands
        The fore paws again where they are lifted to the face; radius 0 where they are not.
    tail
        45 discs from base to tip.
    """

    spine: np.ndarray
    ears: np.ndarray
    eyes: np.ndarray
    nose: np.ndarray
    paws: np.ndarray
    hands: np.ndarray
    tail: np.ndarray

    def scaled(self, scale: float, x: float, y: float) -> Anatomy:
        """The same in other units, with the origin moved to ``(x, y)``."""
        shift = np.array([x, y, 0.0])
        return Anatomy(*(getattr(self, part.name) * scale + shift for part in fields(self)))

    def nose_gap(self) -> np.ndarray:
        """Distance from each animal's nose to the other's outline, shape ``(n_frames, 2)``.

        Negative where the nose lies over the other's body.
        """
        nose, other = self.nose[..., 0, None, :2], self.spine[:, ::-1]
        apart = np.hypot(nose[..., 0] - other[..., 0], nose[..., 1] - other[..., 1])
        return np.min(apart - other[..., 2], axis=-1)

    def trunk_gap(self) -> np.ndarray:
        """Distance between both trunks, shape ``(n_frames,)``; negative where they overlap."""
        one, other = self.spine[:, 0, :TRUNK, None], self.spine[:, 1, None, :TRUNK]
        apart = np.hypot(one[..., 0] - other[..., 0], one[..., 1] - other[..., 1])
        return np.min(apart - one[..., 2] - other[..., 2], axis=(1, 2))

    def length(self) -> np.ndarray:
        """Length along the spine from tail base to nose, shape ``(n_frames, 2)``."""
        steps = np.diff(self.spine[..., :2], axis=2)
        ends = self.spine[..., 0, 2] + self.spine[..., -1, 2]
        return np.hypot(steps[..., 0], steps[..., 1]).sum(axis=2) + ends

    def bounds(self) -> np.ndarray:
        """Smallest box around body, head and ears without tail and paws: ``(n_frames, 2, 4)``.

        Left, top, right and bottom.
        """
        circles = np.concatenate([self.spine, self.ears, self.nose], axis=2)
        middle, radius = circles[..., :2], circles[..., 2:]
        low, high = (middle - radius).min(axis=2), (middle + radius).max(axis=2)
        return np.concatenate([low, high], axis=-1)


def embody(
    motion: Motion,
    floor: Floor,
    lengths: tuple[float, float],
    girths: tuple[float, float],
    tail_length: float,
) -> Anatomy:
    """The bodies of both animals in every frame, in the units of the motion (centimetres).

    Parameters
    ----------
    motion
        How they move.
    floor
        Where their tails stay.
    lengths, girths
        Of each animal: body length, and width relative to a lean mouse.
    tail_length
        Relative to the body.
    """
    length, girth = np.array(lengths), np.array(girths)
    # Small swings of a standing animal's speed must not make it tread on the spot.
    pace = np.clip((np.abs(motion.speed) - 0.8) / 5.0, 0.0, 1.0)
    angle, step = _spine_course(motion, pace, length)
    points = np.stack([np.cos(angle) * step, np.sin(angle) * step], axis=-1).cumsum(axis=2)
    anchor = points[:, :, SPINE.index(0.53), None]
    points += np.stack([motion.x, motion.y], axis=-1)[:, :, None] - anchor
    spine = np.concatenate([points, _radii(motion, pace, length, girth)[..., None]], axis=-1)
    head = _Frame(spine, angle, length)
    face = _face(motion, head)
    return Anatomy(
        spine=spine,
        **face,
        paws=_paws(motion, pace, girth, head),
        hands=_hands(motion, head),
        tail=_tail(head, floor, length * tail_length, motion),
    )


@dataclass(frozen=True)
class _Frame:
    """The spine as a frame of reference for what is attached to it."""

    spine: np.ndarray
    angle: np.ndarray
    length: np.ndarray

    def place(self, disc: int, ahead: object, aside: object, radius: object) -> np.ndarray:
        """Circles beside a disc of the spine: ``(n_frames, 2, 3)``; offsets in body lengths."""
        angle, length = self.angle[:, :, disc], self.length
        cos, sin = np.cos(angle) * length, np.sin(angle) * length
        x = self.spine[:, :, disc, 0] + cos * ahead - sin * aside
        y = self.spine[:, :, disc, 1] + sin * ahead + cos * aside
        return np.stack([x, y, np.broadcast_to(length * radius, x.shape)], axis=-1)


def _spine_course(
    motion: Motion, pace: np.ndarray, length: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Direction and length of each step from one disc of the spine to the next."""
    place = np.array(SPINE)
    is_head = np.clip((place - 0.62) / 0.14, 0.0, 1.0)
    wave = 0.13 * pace[..., None] * np.sin(motion.stride[..., None] - 3.0 * place)
    stroke = np.sin(motion.groom_phase)
    nod = np.sin(motion.sniff_phase)
    yaw = motion.gaze + 0.24 * motion.groom * np.sin(0.5 * motion.groom_phase)
    yaw = yaw + 0.10 * motion.sniff * np.sin(0.7 * motion.sniff_phase)
    angle = motion.heading[..., None] + motion.bend[..., None] * (place - 0.5)
    angle = angle + wave + yaw[..., None] * is_head
    # Seen from above, a lowered head is short: a grooming animal tucks it in and bobs it.
    tucked = motion.groom * (0.34 + 0.20 * stroke) + motion.sniff * (0.03 - 0.09 * nod)
    crouch = 0.20 * motion.groom - 0.05 * np.clip(motion.speed / 22.0, 0.0, 1.0)
    shrink = 1.0 - crouch[..., None] * (1 - is_head) - tucked[..., None] * is_head
    step = np.diff(place, prepend=0.0) * length[:, None] * shrink
    return angle, step


def _radii(motion: Motion, pace: np.ndarray, length: np.ndarray, girth: np.ndarray) -> np.ndarray:
    radius = np.array(RADII)
    trunk = np.arange(len(RADII)) < TRUNK
    width = np.where(trunk, girth[:, None], 1.0 + 0.35 * (girth[:, None] - 1.0))
    swell = 0.035 * np.sin(motion.breath) + 0.10 * motion.groom - 0.03 * pace
    swell = swell + 0.018 * motion.groom * np.sin(2.0 * motion.groom_phase)
    return radius * length[:, None] * width * (1.0 + swell[..., None] * trunk)


def _face(motion: Motion, head: _Frame) -> dict[str, np.ndarray]:
    sides = (-1.0, 1.0)
    return {
        "ears": np.stack([head.place(10, -0.035, 0.088 * s, 0.050) for s in sides], axis=2),
        "eyes": np.stack([head.place(12, -0.010, 0.056 * s, 0.016) for s in sides], axis=2),
        "nose": head.place(14, 0.012, 0.0, 0.017)[:, :, None],
    }


def _paws(motion: Motion, pace: np.ndarray, girth: np.ndarray, head: _Frame) -> np.ndarray:
    """Feet that swing in diagonal pairs, a little wider the faster the animal goes."""
    circles = []
    for disc, aside, radius, phase in ((2, 0.150, 0.030, 0.0), (7, 0.112, 0.026, math.pi)):
        for side in (-1.0, 1.0):
            swing = np.sin(motion.stride + phase + (0.0 if side < 0 else math.pi))
            ahead = 0.02 + 0.115 * pace * swing
            wide = side * girth * (aside + 0.040 * pace)
            # A lifted fore paw is not on the ground: see `_hands`.
            size = radius * (1.0 - motion.groom * (disc == 7))
            circles.append(head.place(disc, ahead - 0.030, wide, size))
            circles.append(head.place(disc, ahead + 0.025, wide, 0.85 * size))
    return np.stack(circles, axis=2)


def _hands(motion: Motion, head: _Frame) -> np.ndarray:
    lifted = np.clip(2.0 * motion.groom - 0.6, 0.0, 1.0)
    circles = []
    for side in (-1.0, 1.0):
        stroke = np.sin(motion.groom_phase + 0.5 * side)
        ahead = -0.015 + 0.065 * stroke
        circles.append(head.place(12, ahead, side * (0.076 - 0.030 * stroke), 0.037 * lifted))
    return np.stack(circles, axis=2)


def _tail(head: _Frame, floor: Floor, lengths: np.ndarray, motion: Motion) -> np.ndarray:
    """A chain drawn along by the rump, kept on the floor and smoothed."""
    base = head.place(0, -0.07, 0.0, 0.0)[..., :2]
    back = head.angle[:, :, 0] + np.pi
    link = lengths / TAIL_NODES
    nodes = np.empty((*base.shape[:2], TAIL_NODES + 1, 2))
    for animal in range(2):
        nodes[:, animal] = _drag(
            base[:, animal].tolist(), back[:, animal].tolist(), float(link[animal]), floor
        )
    discs = np.einsum("kn,ftnc->ftkc", _tail_weights(), nodes)
    sway = 0.10 * np.sin(motion.stride)[..., None] * np.linspace(0, 1, TAIL_DISCS)
    side = np.stack([-np.sin(back), np.cos(back)], axis=-1)
    discs += sway[..., None] * side[:, :, None]
    thick = np.linspace(0.026, 0.009, TAIL_DISCS) * head.length[:, None]
    return np.concatenate([discs, np.broadcast_to(thick[..., None], (*discs.shape[:3], 1))], -1)


def _drag(base: list[list[float]], back: list[float], link: float, floor: Floor) -> np.ndarray:
    """Nodes of a tail whose base is moved: each follows the one before at a fixed distance."""
    chain = [
        (base[0][0] + i * link * math.cos(back[0]), base[0][1] + i * link * math.sin(back[0]))
        for i in range(TAIL_NODES + 1)
    ]
    nodes = np.empty((len(base), TAIL_NODES + 1, 2))
    for frame, (x, y) in enumerate(base):
        chain[0] = (x, y)
        for i in range(1, TAIL_NODES + 1):
            px, py = chain[i - 1]
            dx, dy = chain[i][0] - px, chain[i][1] - py
            # The root is stiff, so that a tail never folds over the back.
            stiff = link * 0.5**i
            dx, dy = dx + stiff * math.cos(back[frame]), dy + stiff * math.sin(back[frame])
            stretch = link / max(math.hypot(dx, dy), 1e-9)
            chain[i] = floor.inside(px + dx * stretch, py + dy * stretch, 0.2)
        nodes[frame] = chain
    return nodes


def _tail_weights() -> np.ndarray:
    """Weights of each node in each disc of the tail: smooth, the ends kept; ``(45, 11)``."""
    at = np.linspace(0, TAIL_NODES, TAIL_DISCS)
    weights = np.exp(-0.5 * ((at[:, None] - np.arange(TAIL_NODES + 1)) / 0.55) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    exact = np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(TAIL_NODES + 1)))
    blend = np.clip(at / 1.5, 0.0, 1.0)[:, None]
    return blend * weights + (1 - blend) * exact
