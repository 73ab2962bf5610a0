"""What a watcher would say the animals do: labels read off their movement, never off the plan.

Each behaviour has a loose rule, which holds in every labelled frame, and a tight one, which holds
somewhere in every bout; a bout is a run of the loose rule of at least `SHORTEST` seconds. Rest,
walk and groom exclude each other; approach, chase and contact say how an animal stands to the
other, and may hold besides. Speeds in cm/s, distances in cm, angles in radians.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism.annotation import runs
from ethoprism_datasets.arena_anatomy import Anatomy
from ethoprism_datasets.arena_motion import Motion

BEHAVIOURS = ("rest", "walk", "groom", "approach", "chase", "contact")
SUBJECTS = ("mouse_a", "mouse_b")

SHORTEST = 0.3
"""Shortest bout in seconds."""

DEFINITIONS = {
    "rest": "Stands or lies still; only breathing moves it.",
    "walk": "Moves forward at any speed.",
    "groom": "Stays in place and strokes its face or flank with rhythmic paws and head.",
    "approach": "Walks towards the other animal, which stays where it is, and gets nearer.",
    "chase": "Runs after the other animal, which runs away ahead of it.",
    "contact": "Its nose touches or nearly touches the other's body, or their trunks touch.",
}


@dataclass(frozen=True)
class Kinematics:
    """What the rules look at; arrays of shape ``(n_frames, 2)``, float64.

    Attributes
    ----------
    speed
        Of the body's centre along its path, cm/s.
    turn, gaze_rate
        Of the body and of the head, rad/s, without sign.
    nose_gap
        From the animal's nose to the other's outline, cm; negative where they overlap.
    trunk_gap
        Between both trunks (equal for both animals), cm.
    closing
        How fast ``nose_gap`` falls by the animal's movement, cm/s.
    off
        Angle between the animal's heading and the direction of the other.
    fleeing
        Angle between the other's heading and that same direction: 0 if it runs straight away.
    """

    speed: np.ndarray
    turn: np.ndarray
    gaze_rate: np.ndarray
    nose_gap: np.ndarray
    trunk_gap: np.ndarray
    closing: np.ndarray
    off: np.ndarray
    fleeing: np.ndarray


def kinematics(motion: Motion, anatomy: Anatomy, fps: float) -> Kinematics:
    """Speeds, distances and angles of both animals.

    Parameters
    ----------
    motion
        Both animals' movement in centimetres.
    anatomy
        The bodies that this movement gives, in centimetres.
    fps
        Frames per second.
    """
    half = max(1, round(0.06 * fps))
    position = np.stack([motion.x, motion.y], axis=-1)
    velocity = _rate(position, half, fps)
    heading = np.unwrap(motion.heading, axis=0)
    toward = position[:, ::-1] - position
    direction = np.arctan2(toward[..., 1], toward[..., 0])
    nose_gap = anatomy.nose_gap()
    return Kinematics(
        speed=np.hypot(velocity[..., 0], velocity[..., 1]),
        turn=np.abs(_rate(heading, half, fps)),
        gaze_rate=np.abs(_rate(motion.gaze, half, fps)),
        nose_gap=nose_gap,
        trunk_gap=np.repeat(anatomy.trunk_gap()[:, None], 2, axis=1),
        closing=-_rate(nose_gap, half, fps),
        off=np.abs(_wrap(direction - motion.heading)),
        fleeing=np.abs(_wrap(motion.heading[:, ::-1] - direction)),
    )


def label(motion: Motion, seen: Kinematics, fps: float) -> np.ndarray:
    """Labels of every behaviour, subject and frame: bool, shape ``(6, 2, n_frames)``.

    Behaviours are in the order of `BEHAVIOURS`, subjects in that of `SUBJECTS`.
    """
    quiet = (motion.groom < 0.3) & (motion.sniff < 0.3) & (seen.gaze_rate < 1.0)
    theirs = seen.speed[:, ::-1]
    touch = np.minimum(seen.nose_gap, seen.trunk_gap)
    aim = (theirs < 2.5) & (touch > 0.5)
    rules = {
        "rest": (quiet & (seen.speed < 0.8) & (seen.turn < 0.6), seen.speed < 0.4),
        "walk": ((seen.speed > 2.0) & (motion.groom < 0.5), seen.speed > 4.0),
        "groom": ((motion.groom >= 0.5) & (seen.speed < 2.0), motion.groom > 0.9),
        "approach": (
            aim
            & (seen.speed > 2.0)
            & (seen.closing > 1.5)
            & (seen.off < 0.9)
            & (seen.nose_gap < 25),
            (seen.closing > 4.0) & (seen.off < 0.4) & (seen.nose_gap < 10),
        ),
        "chase": (
            (seen.speed > 8.0)
            & (theirs > 8.0)
            & (seen.off < 1.1)
            & (seen.fleeing < 1.6)
            & (seen.nose_gap < 12),
            (seen.speed > 14.0) & (theirs > 14.0) & (seen.off < 0.5) & (seen.nose_gap < 8),
        ),
        "contact": (touch < 0.8, touch < 0.35),
    }
    shortest = max(2, int(np.ceil(SHORTEST * fps)))
    return np.stack(
        [
            np.stack([_bouts_of(loose[:, s], tight[:, s], shortest) for s in range(2)])
            for loose, tight in (rules[name] for name in BEHAVIOURS)
        ]
    )


def _bouts_of(loose: np.ndarray, tight: np.ndarray, shortest: int) -> np.ndarray:
    """The runs of ``loose`` that are long enough and hold ``tight`` somewhere."""
    kept = np.zeros_like(loose)
    for start, stop in runs(loose):
        if stop - start >= shortest and np.any(tight[start:stop]):
            kept[start:stop] = True
    return kept


def _rate(values: np.ndarray, half: int, fps: float) -> np.ndarray:
    """Change a second over ``half`` frames to each side, less at the ends."""
    n = len(values)
    index = np.arange(n)
    before, after = np.maximum(index - half, 0), np.minimum(index + half, n - 1)
    span = np.maximum(after - before, 1).reshape((n,) + (1,) * (values.ndim - 1))
    return (values[after] - values[before]) * fps / span


def _wrap(angle: np.ndarray) -> np.ndarray:
    return (angle + np.pi) % (2 * np.pi) - np.pi
