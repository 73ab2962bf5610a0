"""A minute of training from nothing: the loss falls, and a probe tells more than it did before.

It starts from the plain initialisation. `prism-nano`'s own, untrained, is made to show motion, and
a minute does not make it better. The probe tells how much each patch moves from the patch's token;
it is measured on clips that neither the training nor the probe saw.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from pretrain_samples import finished
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ethoprism.backbones.encoder import EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.weights import ENCODER_NAMES, named_parameters, read_parameters
from ethoprism.pretrain.batches import Supply
from ethoprism.pretrain.clips import Clip, write_clips
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.flow import patch_motion
from ethoprism.pretrain.recipe import layout_of
from ethoprism.pretrain.student import encode
from ethoprism.pretrain.targets import add_targets
from ethoprism.pretrain.train import train

SMALL = EncoderConfig(18, (8, 8, 8), 64, 2, 1, 4, 128, input_size=144)
WAYS = ((0, 1), (0, -1), (1, 0), (-1, 0))
PHASES = (
    Phase("frames", 30, 16, 32, single=True, schedule="constant", rate=1e-3, warmup=5),
    Phase("clips", 150, 16, 22, rate=2e-3, warmup=20),
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


def _drawn(n: int, seed: int) -> Iterator[np.ndarray]:
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
        yield frames


def _plain(seed: int) -> dict[str, np.ndarray]:
    encoder = VideoPrismEncoder(SMALL, rngs=nnx.Rngs(seed))
    return named_parameters(nnx.split(encoder)[1], ENCODER_NAMES)


def _told(named: dict[str, np.ndarray], learnt: np.ndarray, unseen: np.ndarray) -> float:
    """Share of the variance of the patches' motion (R²) that tokens of unseen clips tell."""
    parameters = {k: jnp.asarray(v) for k, v in named.items()}
    tokens = jax.jit(lambda video: encode(parameters, SMALL, video))

    def described(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [np.asarray(tokens(part / np.float32(255))) for part in np.split(clips, 4)]
        moved = np.stack([patch_motion(clip)[..., 2] for clip in clips])
        return np.concatenate(found).reshape(-1, SMALL.width), np.arcsinh(10 * moved).ravel()

    (x, known), (z, truth) = described(learnt), described(unseen)
    model = make_pipeline(StandardScaler(), Ridge(10.0)).fit(x, known)
    return float(model.score(z, truth))


@pytest.mark.slow
def test_a_minute_of_training_makes_a_probe_better(tmp_path: Path):
    seed = int(os.environ.get("ETHOPRISM_TEST_SEED", "0"))
    clips = (Clip(frames, "drawn") for frames in _drawn(160, 100 + seed))
    made = finished(write_clips(tmp_path / "clips", clips, 160))
    finished(add_targets(ColourTeacher(), [made], grid=8))  # type: ignore[arg-type]
    start = _plain(seed)
    for _ in train(SMALL, Supply([made], 8, seed), PHASES, start, tmp_path / "made"):
        pass
    rows = pd.read_csv(tmp_path / "made" / "metrics.csv")
    for name, part in (("frames", "token"), ("clips", "loss"), ("clips", "motion")):
        course = rows.loc[rows["phase"] == name, part].to_numpy()
        assert course[-10:].mean() < 0.9 * course[:10].mean(), (name, part)
    trained = dict(read_parameters(tmp_path / "made" / "student.safetensors", layout_of(SMALL)))
    learnt = np.stack(list(_drawn(60, 200 + seed)))
    for draw in (300, 400, 500):
        unseen = np.stack(list(_drawn(40, draw + seed)))
        before, after = _told(start, learnt, unseen), _told(trained, learnt, unseen)
        print(f"seed {seed}, clips {draw}: R² {before:.3f} untrained, {after:.3f} trained")
        assert after > before + 0.2
