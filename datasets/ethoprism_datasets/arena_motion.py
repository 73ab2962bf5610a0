"""How a simulated animal moves: inertia, gait, posture, walls, and bodies that cannot overlap.

Centimetres and seconds; x to the right, y down as in an image, origin in the middle of the floor.
Headings are radians from the x axis towards y, so that they turn clockwise to the eye. Plain
Python numbers: a step handles a dozen scalars, for which arrays would be ten times slower.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

Point = tuple[float, float]

TURN_LIMIT = 7.5
"""Fastest turn in radians a second."""

SOFT_OVERLAP = 0.3
"""Centimetres that bodies yield: so far they give way slowly, instead of bouncing."""

PROFILE = ((-0.36, 0.145), (-0.17, 0.178), (0.04, 0.170), (0.22, 0.130), (0.37, 0.090))
"""Discs that stand for the body in collisions: place along the axis, radius, in body lengths."""


@dataclass(frozen=True)
class Motion:
    """How both animals move, frame by frame: float64 arrays of shape ``(n_frames, 2)``.

    Positions are those of the middle of the body; `Body` says what the others are.
    """

    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    bend: np.ndarray
    gaze: np.ndarray
    stride: np.ndarray
    breath: np.ndarray
    groom: np.ndarray
    groom_phase: np.ndarray
    flank: np.ndarray
    sniff: np.ndarray
    sniff_phase: np.ndarray


POSE_FIELDS = tuple(field.name for field in fields(Motion))


@dataclass
class Order:
    """What an animal intends at one moment; the body follows with inertia."""

    speed: float = 0.0
    bearing: float | None = None
    """Direction to go; none to stay."""
    gaze: float = 0.0
    """Direction of the head relative to the body."""
    groom: float = 0.0
    flank: float = 0.0
    """From -1 to 1: side of the body that is groomed; 0 is the face."""
    sniff: float = 0.0


class Body:
    """One animal's body: where it is and the phases of all that moves in it.

    ``bend`` is the curvature of the spine (radians over its length), ``gaze`` the yaw of the head,
    ``stride`` and the other phases are radians, ``groom`` and ``sniff`` amplitudes from 0 to 1.
    """

    def __init__(self, x: float, y: float, heading: float, length: float, girth: float):
        self.x, self.y, self.heading = x, y, heading
        self.length, self.girth = length, girth
        self.speed = self.turn = self.bend = self.gaze = 0.0
        self.stride = self.breath = self.groom_phase = self.sniff_phase = 0.0
        self.groom = self.flank = self.sniff = 0.0

    def pose(self) -> list[float]:
        """What `Motion` keeps of the body, in its order."""
        return [getattr(self, name) for name in POSE_FIELDS]

    def along(self, place: float) -> Point:
        """Point of the axis at ``place`` body lengths ahead of the centre."""
        reach = place * self.length
        return (self.x + reach * math.cos(self.heading), self.y + reach * math.sin(self.heading))

    def discs(self) -> list[tuple[float, float, float]]:
        """The body for collisions: centre and radius of each disc."""
        return [
            (*self.along(place), radius * self.length * (self.girth if place < 0.2 else 1.0))
            for place, radius in PROFILE
        ]

    def step(self, order: Order, dt: float, jitter: float) -> None:
        """Follow an order for ``dt`` seconds; ``jitter`` is a standard normal number."""
        error = 0.0 if order.bearing is None else wrap(order.bearing - self.heading)
        wanted_turn = max(-TURN_LIMIT, min(TURN_LIMIT, 7.0 * error))
        if order.speed > 1.0:
            wanted_turn += 1.2 * jitter
        self.turn += (wanted_turn - self.turn) * _gain(dt, 0.07)
        # An animal brakes for a sharp turn: half its speed sideways, nearly none backwards.
        wanted = order.speed * (0.12 + 0.88 * max(0.0, math.cos(error)) ** 1.5)
        self.speed += (wanted - self.speed) * _gain(dt, 0.11 if wanted < self.speed else 0.2)
        self.heading += self.turn * dt
        self.x += self.speed * math.cos(self.heading) * dt
        self.y += self.speed * math.sin(self.heading) * dt
        self._posture(order, dt)

    def _posture(self, order: Order, dt: float) -> None:
        curve = max(-0.9, min(0.9, 0.16 * self.turn)) + 0.9 * order.flank * self.groom
        self.bend += (curve - self.bend) * _gain(dt, 0.12)
        self.gaze += (order.gaze - self.gaze) * _gain(dt, 0.09)
        self.groom += (order.groom - self.groom) * _gain(dt, 0.10)
        self.flank += (order.flank - self.flank) * _gain(dt, 0.20)
        self.sniff += (order.sniff - self.sniff) * _gain(dt, 0.08)
        # Strides lengthen with speed, so that paws never cycle faster than about 4 a second.
        self.stride += math.tau * self.speed / (3.6 + 0.13 * abs(self.speed)) * dt
        self.breath += math.tau * 1.9 * dt
        self.groom_phase += math.tau * 4.3 * dt
        self.sniff_phase += math.tau * 3.1 * dt


@dataclass(frozen=True)
class Floor:
    """The ground that the animals can reach, in centimetres around its middle."""

    shape: str
    half_width: float
    half_height: float

    def inside(self, x: float, y: float, reach: float) -> Point:
        """The nearest point that keeps ``reach`` from the wall."""
        if self.shape == "round":
            limit = min(self.half_width, self.half_height) - reach
            distance = math.hypot(x, y)
            return (x, y) if distance <= limit else (x * limit / distance, y * limit / distance)
        across, down = self.half_width - reach, self.half_height - reach
        return (max(-across, min(across, x)), max(-down, min(down, y)))

    def steer(self, x: float, y: float, bearing: float, reach: float, hand: float) -> float:
        """``bearing`` turned along the wall where it leads into it.

        ``hand`` (-1 or 1) is the side to which an animal turns that runs straight into a wall.
        """
        ahead = (x + reach * math.cos(bearing), y + reach * math.sin(bearing))
        safe = self.inside(*ahead, 0.0)
        if safe == ahead:
            return bearing
        # Turn by as much as the point ahead lies beyond the wall, at most along it.
        beyond = math.hypot(ahead[0] - safe[0], ahead[1] - safe[1]) / reach
        inward = math.atan2(safe[1] - ahead[1], safe[0] - ahead[0])
        off = wrap(bearing - inward)
        side = hand if abs(off) > math.pi - 0.15 else math.copysign(1.0, off)
        along = inward + side * (math.pi / 2 - 0.1)
        return bearing + wrap(along - bearing) * min(1.0, 1.6 * beyond)


def gap(body: Body, other: Body, place: float = 0.5) -> float:
    """Distance from a point of ``body``'s axis (its nose) to the outline of ``other``."""
    x, y = body.along(place)
    return min(math.hypot(x - cx, y - cy) - radius for cx, cy, radius in other.discs())


def settle(bodies: tuple[Body, Body], floor: Floor, steady: tuple[float, float]) -> None:
    """Push bodies out of each other and off the wall.

    ``steady`` says how hard each gives way: one that stands is not shoved about by one that walks.
    """
    first, second = bodies
    reach = 0.5 * (first.length + second.length)
    if math.hypot(first.x - second.x, first.y - second.y) < reach + 1.0:
        _part(first, second, steady)
    for body in bodies:
        for place, radius in ((0.46, 0.05), (-0.34, 0.15)):
            x, y = body.along(place)
            safe_x, safe_y = floor.inside(x, y, radius * body.length + 0.25)
            _shove(body, place, safe_x - x, safe_y - y)


def _part(first: Body, second: Body, steady: tuple[float, float]) -> None:
    share = steady[1] / (steady[0] + steady[1])
    worst, push = 0.0, (0.0, 0.0, 0.0, 0.0)
    ones, others = first.discs(), second.discs()
    for (place, _), (x, y, radius) in zip(PROFILE, ones, strict=True):
        for (other_place, _), (cx, cy, other_radius) in zip(PROFILE, others, strict=True):
            distance = math.hypot(x - cx, y - cy)
            overlap = radius + other_radius - distance
            if overlap > worst:
                worst = overlap
                part = 0.3 * overlap + max(0.0, overlap - SOFT_OVERLAP)
                scale = min(part, overlap) / max(distance, 1e-6)
                push = ((x - cx) * scale, (y - cy) * scale, place, other_place)
    if worst > 0.0:
        dx, dy, place, other_place = push
        _shove(first, place, dx * share, dy * share)
        _shove(second, other_place, -dx * (1 - share), -dy * (1 - share))


def _shove(body: Body, place: float, dx: float, dy: float) -> None:
    """Move a body by a push at one place of its axis, which also turns it."""
    if dx == 0.0 and dy == 0.0:
        return
    body.x += dx
    body.y += dy
    lever = place * body.length
    across = -dx * math.sin(body.heading) + dy * math.cos(body.heading)
    turned = 0.25 * across * lever / (lever * lever + 4.0)
    body.heading += turned


def wrap(angle: float) -> float:
    """The same angle between -pi and pi."""
    return math.remainder(angle, math.tau)


def bearing_to(body: Body, point: Point) -> float:
    """Direction from a body's centre to a point."""
    return math.atan2(point[1] - body.y, point[0] - body.x)


def _gain(dt: float, lag: float) -> float:
    """Share of the way that a first-order lag goes in one step."""
    return 1.0 - math.exp(-dt / lag)
