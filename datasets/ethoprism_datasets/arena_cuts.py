"""Short captioned clips cut from the simulated arena: sentences come from its labels.

Each recording is simulated in a random appearance and only the frames of its clips are rendered.
Behaviours are shown about equally often.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ethoprism_datasets.arena_appearance import Appearance
from ethoprism_datasets.arena_labels import BEHAVIOURS
from ethoprism_datasets.arena_random import FRAMES, SIZE, exposed
from ethoprism_datasets.arena_render import Painter
from ethoprism_datasets.arena_truth import ArenaTruth, simulate
from ethoprism_datasets.spec import Shot

PER_RECORDING = 16
SECONDS = 40.0
WORDS = {
    "chase": "{a} chases {b}",
    "approach": "{a} approaches {b}",
    "contact": "{a} touches {b}",
    "groom": "{a} grooms",
    "walk": "{a} walks",
    "rest": "{a} rests",
}
"""What is said of a behaviour; the first of these that holds is what an animal is said to do."""

_MOST = 0.75  # share of a clip's frames in which a behaviour must hold to be said
_HUES = ("dark", "grey", "pale")
_GREY = np.array([0.299, 0.587, 0.114])


def cuts(seed: int, *, frames: int = FRAMES, size: int = SIZE) -> Iterator[Shot]:
    """Clips of two mice without end; the same seed gives the same ones."""
    number = 0
    while True:
        rng = np.random.default_rng([seed, number, 8])
        look = Appearance.random(rng, height=256, width=256)
        truth = simulate(
            int(rng.integers(2**31)), round(SECONDS * look.frame_rate), appearance=look
        )
        painter = Painter(truth, look)
        for _ in range(PER_RECORDING):
            yield _cut(rng, truth, painter, frames, size)
        number += 1


def _cut(
    rng: np.random.Generator, truth: ArenaTruth, painter: Painter, frames: int, size: int
) -> Shot:
    import cv2

    subject, middle = _moment(rng, truth, frames)
    step = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    first = np.clip(middle - step * frames // 2, 0, truth.n_frames - 1 - step * (frames - 1))
    numbers = int(first) + step * np.arange(frames)
    side = float(truth.body_lengths[numbers, subject].mean() * np.exp(rng.uniform(0.2, 1.5)))
    side = min(side, 1.1 * truth.appearance.height)
    way = truth.positions[numbers, subject]
    if rng.random() < 0.35:
        way = np.repeat(way.mean(axis=0)[None], frames, axis=0)
    way = way + rng.normal(0, 0.06 * side, 2)
    angle = float(rng.uniform(-180, 180))
    images = np.empty((frames, size, size, 3), np.float32)
    for i, (number, centre) in enumerate(zip(numbers.tolist(), way, strict=True)):
        matrix = cv2.getRotationMatrix2D(centre.tolist(), angle, size / side)
        matrix[:, 2] += size / 2 - centre
        picture = painter.frame(number)
        border = cv2.BORDER_REPLICATE
        images[i] = cv2.warpAffine(picture, matrix, (size, size), borderMode=border)
    share = truth.labels[:, :, numbers].mean(axis=2)
    facts = {"step": step, "rate": truth.fps / step, "subject": subject}
    facts["behaviours"] = [
        b for b, s in zip(BEHAVIOURS, share[:, subject], strict=True) if s >= _MOST
    ]
    return Shot(exposed(rng, images), _caption(truth, share, subject), facts)


def _moment(rng: np.random.Generator, truth: ArenaTruth, frames: int) -> tuple[int, int]:
    """An animal, and a frame in which it shows a behaviour that is drawn first."""
    subject = int(rng.integers(2))
    for b in rng.permutation(len(BEHAVIOURS)).tolist():
        shown = np.flatnonzero(truth.labels[b, subject])
        if len(shown):
            return subject, int(rng.choice(shown))
    return subject, int(rng.integers(frames, truth.n_frames - frames))


def _caption(truth: ArenaTruth, share: np.ndarray, subject: int) -> str:
    greys = [float(np.array(coat) @ _GREY) for coat in truth.appearance.coat]
    hues = [_HUES[int(np.digitize(g, (85, 165)))] for g in greys]
    own, other = f"a {hues[subject]} mouse", f"another {hues[1 - subject]} mouse"
    said = _what(share[:, subject], own, other) or f"{own} moves"
    theirs = _what(share[:, 1 - subject], other, own)
    mutual = "chases" in said or "approaches" in said or "touches" in said
    if theirs and not mutual and own not in theirs:
        said = f"{said}, {theirs}"
    return f"{said[0].upper()}{said[1:]}."


def _what(share: np.ndarray, own: str, other: str) -> str:
    for name, words in WORDS.items():
        if share[BEHAVIOURS.index(name)] >= _MOST:
            return words.format(a=own, b=other)
    return ""
