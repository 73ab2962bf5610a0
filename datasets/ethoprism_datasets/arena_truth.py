"""The truth of a simulated recording: where both animals are and what they do in every frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ethoprism.annotation import runs
from ethoprism.errors import InputError
from ethoprism_datasets.arena_anatomy import Anatomy, embody
from ethoprism_datasets.arena_appearance import Appearance
from ethoprism_datasets.arena_labels import BEHAVIOURS, SUBJECTS, kinematics, label
from ethoprism_datasets.arena_motion import POSE_FIELDS, Body, Floor, Motion, settle
from ethoprism_datasets.arena_plan import Plan

if TYPE_CHECKING:
    import pandas as pd

STEP_SECONDS = 0.021
"""Longest step of the simulation: bodies that meet at a run do not pass through each other."""

WARM_UP_SECONDS = 2.0
"""Simulated and thrown away, so that a recording does not begin with two animals at rest."""


@dataclass(frozen=True, eq=False)
class ArenaTruth:
    """What is true of a simulated recording.

    Pixel coordinates have the centre of the first pixel at 0, x to the right and y down, as in
    napari. Subjects are along axes of length 2, in the order of ``subjects``.

    Attributes
    ----------
    seed
        What it was simulated from.
    appearance
        The appearance that it was simulated for; any with the same ``geometry`` can be rendered.
    positions
        float64, ``(n_frames, 2, 2)``: x and y of the middle of each body, in pixels.
    headings
        float64, ``(n_frames, 2)``: direction of each body in radians, from the x axis towards y
        (clockwise to the eye), between -pi and pi.
    body_lengths
        float64, ``(n_frames, 2)``: tail base to nose along the spine, in pixels.
    boxes
        int64, ``(n_frames, 2, 4)``: left, top, right and bottom of each body without tail and
        paws; half-open, so that ``frame[top:bottom, left:right]`` shows the animal.
    labels
        bool, ``(6, 2, n_frames)``: behaviour, subject, frame.
    behaviours, subjects
        Names in the order of the axes of ``labels``.
    motion, anatomy
        The movement in centimetres, and the parts of the bodies in pixels: what is rendered.
    """

    seed: int
    appearance: Appearance
    positions: np.ndarray
    headings: np.ndarray
    body_lengths: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    behaviours: tuple[str, ...]
    subjects: tuple[str, ...]
    motion: Motion
    anatomy: Anatomy

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return len(self.positions)

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.appearance.frame_rate

    def bouts(self, recording: str) -> pd.DataFrame:
        """The labels as bouts: recording, subject, behaviour, start_frame, stop_frame (half-open).

        Sorted by start; ``recording`` is the name that goes into the first column.
        """
        import pandas as pd

        rows = [
            (recording, subject, behaviour, int(start), int(stop))
            for b, behaviour in enumerate(self.behaviours)
            for s, subject in enumerate(self.subjects)
            for start, stop in runs(self.labels[b, s])
        ]
        rows.sort(key=lambda row: (row[3], row[4], row[1], row[2]))
        return pd.DataFrame(
            rows, columns=["recording", "subject", "behaviour", "start_frame", "stop_frame"]
        )

    def frames(self) -> pd.DataFrame:
        """One row a frame: ``frame``, and 0 or 1 for each behaviour that any subject shows."""
        import pandas as pd

        columns = {"frame": np.arange(self.n_frames)}
        for name, shown in zip(self.behaviours, self.labels, strict=True):
            columns[name] = shown.any(axis=0).astype(np.int64)
        return pd.DataFrame(columns)

    def tracks(self, recording: str) -> pd.DataFrame:
        """One row a frame and subject: position, heading, body length and box.

        Columns: recording, frame, subject, x, y, heading_rad, body_length_px, x0, y0, x1, y1.
        """
        import pandas as pd

        n = self.n_frames
        table = {
            "recording": recording,
            "frame": np.repeat(np.arange(n), 2),
            "subject": np.tile(self.subjects, n),
            "x": self.positions[..., 0].ravel(),
            "y": self.positions[..., 1].ravel(),
            "heading_rad": self.headings.ravel(),
            "body_length_px": self.body_lengths.ravel(),
        }
        edges = list(self.boxes.reshape(-1, 4).T)
        return pd.DataFrame(table | dict(zip(("x0", "y0", "x1", "y1"), edges, strict=True)))


def simulate(
    seed: int,
    n_frames: int,
    fps: float | None = None,
    *,
    appearance: Appearance | None = None,
) -> ArenaTruth:
    """Two animals living for ``n_frames`` frames.

    Parameters
    ----------
    seed
        The same seed and appearance give the same truth.
    n_frames
        Length of the recording.
    fps
        Frames per second; the appearance's where it is not given.
    appearance
        Decides the size of the arena, the animals and the image.

    Raises
    ------
    InputError
        If ``n_frames`` is not positive or ``seed`` is negative.
    """
    if n_frames < 1 or seed < 0:
        raise InputError(
            "The arena cannot be simulated",
            expected="one frame or more, and a seed of 0 or more",
            found=f"{n_frames} frames, seed {seed}",
        )
    look = appearance or Appearance()
    if fps is not None:
        look = replace(look, frame_rate=float(fps))
    floor = Floor(look.arena_shape, *look.half_size_cm)
    motion = _live(np.random.default_rng([seed, 1]), n_frames, look, floor)
    body = embody(motion, floor, look.body_cm, look.body_girth, look.tail_length)
    scale = look.pixels_per_cm
    anatomy = body.scaled(scale, (look.width - 1) / 2, (look.height - 1) / 2)
    middle = np.array([(look.width - 1) / 2, (look.height - 1) / 2])
    return ArenaTruth(
        seed=seed,
        appearance=look,
        positions=np.stack([motion.x, motion.y], axis=-1) * scale + middle,
        headings=motion.heading,
        body_lengths=anatomy.length(),
        boxes=_boxes(anatomy.bounds(), look),
        labels=label(motion, kinematics(motion, body, look.frame_rate), look.frame_rate),
        behaviours=BEHAVIOURS,
        subjects=SUBJECTS,
        motion=motion,
        anatomy=anatomy,
    )


def _live(rng: np.random.Generator, n_frames: int, look: Appearance, floor: Floor) -> Motion:
    """Run the plan and keep the pose of both bodies at each frame."""
    bodies = _born(rng, look, floor)
    plan = Plan(bodies, floor, rng)
    per_frame = math.ceil(1.0 / (look.frame_rate * STEP_SECONDS))
    dt = 1.0 / (look.frame_rate * per_frame)
    before = math.ceil(WARM_UP_SECONDS * look.frame_rate)
    poses = np.empty((n_frames, 2, len(POSE_FIELDS)))
    for frame in range(-before, n_frames):
        # The pose of a frame is kept after its last step, so frame 0 is the end of the first.
        jitter = rng.standard_normal((per_frame, 2)).tolist()
        for i in range(per_frame):
            now = ((frame + before) * per_frame + i) * dt
            orders = plan.orders(now)
            for body, order, kick in zip(bodies, orders, jitter[i], strict=True):
                body.step(order, dt, kick)
            steady = tuple(1.0 if order.speed > 0.5 else 12.0 for order in orders)
            settle(bodies, floor, (steady[0], steady[1]))
        if frame >= 0:
            poses[frame] = [body.pose() for body in bodies]
    columns = {name: poses[:, :, i].copy() for i, name in enumerate(POSE_FIELDS)}
    columns["heading"] = (columns["heading"] + np.pi) % (2 * np.pi) - np.pi
    return Motion(**columns)


def _born(rng: np.random.Generator, look: Appearance, floor: Floor) -> tuple[Body, Body]:
    """Both bodies somewhere in opposite halves of the floor."""
    angle = float(rng.uniform(-math.pi, math.pi))
    bodies = []
    for animal in range(2):
        turned = angle + animal * math.pi
        x = 0.5 * floor.half_width * math.cos(turned)
        y = 0.5 * floor.half_height * math.sin(turned)
        heading = float(rng.uniform(-math.pi, math.pi))
        body = Body(x, y, heading, look.body_cm[animal], look.body_girth[animal])
        # Two animals whose breath and paws kept time would look mechanical.
        body.breath, body.stride, body.groom_phase, body.sniff_phase = rng.uniform(0, 6.28, 4)
        bodies.append(body)
    return (bodies[0], bodies[1])


def _boxes(bounds: np.ndarray, look: Appearance) -> np.ndarray:
    """Whole pixels around the bounds, within the frame."""
    low = np.floor(bounds[..., :2] + 0.5)
    high = np.ceil(bounds[..., 2:] + 0.5)
    size = np.array([look.width, look.height])
    low, high = np.clip(low, 0, size - 1), np.clip(high, 1, size)
    return np.concatenate([low, high], axis=-1).astype(np.int64)
