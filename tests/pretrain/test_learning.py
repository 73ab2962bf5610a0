"""A minute of training from nothing: the loss falls, and a probe tells more than it did before.

The task is one that an untrained encoder hardly does: which of four ways an animal goes, told from
the mean of a clip's tokens. The ways look alike in every single frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from pretrain_samples import finished
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.backbones.nano import untrained_parameters
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.weights import read_parameters
from ethoprism.pretrain.batches import Supply
from ethoprism.pretrain.clips import Clip, write_clips
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.recipe import layout_of
from ethoprism.pretrain.student import encode
from ethoprism.pretrain.targets import add_targets
from ethoprism.pretrain.train import train

SMALL = EncoderConfig(18, (8, 8, 8), 64, 2, 1, 4, 128, input_size=144)
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0))
PHASES = (
    Phase("frames", 40, 16, 32, single=True, schedule="constant", rate=1e-3, warmup=5),
    Phase("clips", 220, 16, 22, rate=2e-3, warmup=20),
)


class ColourTeacher:
    """Says the mean colour of each of 8 × 8 patches, and how much it varies."""

    card = BackboneCard("colours", "0" * 64, 8, 144, 8, 6, "float32", True, single_frames=True)

    def spatial(self, frames):
        cells = np.asarray(frames, np.float32).reshape(len(frames), 8, 18, 8, 18, 3) / 255
        parts = [cells.mean(axis=(2, 4)), cells.std(axis=(2, 4))]
        return jnp.asarray(np.concatenate(parts, axis=-1).reshape(len(frames), 64, 6))

    def temporal(self, tokens, padding):
        return jnp.asarray(tokens)


def _drawn(n: int, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    """Clips of a textured ellipse that goes one of four ways over a textured ground."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:144, :144].astype(np.float32)
    for _ in range(n):
        way = int(rng.integers(len(WAYS)))
        speed, (height, width) = rng.uniform(1.5, 5.0), rng.uniform(10, 22, 2)
        ground, coat = rng.uniform(30, 110), rng.uniform(140, 230)
        if rng.random() < 0.5:
            ground, coat = coat, ground
        rough, spots = (np.kron(rng.normal(0, s, (36, 36, 1)), np.ones((4, 4, 3))) for s in (8, 20))
        place = rng.uniform(50, 94, 2)
        frames = np.empty((8, 144, 144, 3), np.uint8)
        for t in range(8):
            down, right = place + (t - 3.5) * speed * np.array(WAYS[way])
            inside = ((y - down) / height) ** 2 + ((x - right) / width) ** 2 < 1
            carried = np.roll(spots, (round(down), round(right)), (0, 1))
            image = np.where(inside[..., None], coat + carried, ground + rough)
            image = image + rng.normal(0, 3, image.shape)
            frames[t] = np.clip(image, 0, 255).astype(np.uint8)
        yield frames, way


def _told(named: dict[str, np.ndarray], learnt, unseen) -> float:
    """Share of the unseen clips whose way is told from the mean of their tokens."""
    parameters = {k: jnp.asarray(v) for k, v in named.items()}
    tokens = jax.jit(lambda video: encode(parameters, SMALL, video).mean(axis=(1, 2)))

    def described(clips):
        parts = np.array_split(np.stack([c for c, _ in clips]), len(clips) // 20)
        found = [np.asarray(tokens(part.astype(np.float32) / 255)) for part in parts]
        return np.concatenate(found), np.array([way for _, way in clips])

    (x, known), (z, truth) = described(learnt), described(unseen)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    return float(model.fit(x, known).score(z, truth))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_a_minute_of_training_makes_a_probe_better(tmp_path: Path, seed: int):
    clips = (Clip(frames, "drawn") for frames, _ in _drawn(240, 100 + seed))
    made = finished(write_clips(tmp_path / "clips", clips, 240))
    finished(add_targets(ColourTeacher(), [made], grid=8))  # type: ignore[arg-type]
    start = dict(untrained_parameters(layout_of(SMALL)))
    for _ in train(SMALL, Supply([made], 8, seed), PHASES, start, tmp_path / "made"):
        pass
    rows = pd.read_csv(tmp_path / "made" / "metrics.csv")
    for name, part in (("frames", "token"), ("clips", "loss"), ("clips", "motion")):
        course = rows.loc[rows["phase"] == name, part].to_numpy()
        assert course[-10:].mean() < 0.9 * course[:10].mean(), (name, part)
    trained = dict(read_parameters(tmp_path / "made" / "student.safetensors", layout_of(SMALL)))
    learnt, unseen = list(_drawn(160, 200 + seed)), list(_drawn(200, 300 + seed))
    before, after = _told(start, learnt, unseen), _told(trained, learnt, unseen)
    print(f"seed {seed}: {before:.3f} untrained, {after:.3f} trained")
    # Guessing gives 0.25; 200 clips have a standard error of 0.035.
    assert after > before + 0.2
