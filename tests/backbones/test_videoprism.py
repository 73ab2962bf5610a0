"""The released backbones load from a checkpoint and say what they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ethoprism.backbones import videoprism
from ethoprism.backbones.encoder import TINY
from ethoprism.backbones.engine import PRECISIONS
from ethoprism.backbones.spec import Backbone
from ethoprism.backbones.videoprism import (
    VideoPrismBackbone,
    build_backbone,
    videoprism_base,
    videoprism_large,
)
from ethoprism.backbones.weights import fingerprint, read_parameters
from ethoprism.errors import InputError, WeightsError


@pytest.fixture
def small_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the oracle's tiny shape in the place of Base's and Large's."""
    monkeypatch.setattr(videoprism, "BASE", TINY)
    monkeypatch.setattr(videoprism, "LARGE", replace(TINY, input_size=36))


@pytest.mark.usefixtures("small_releases")
@pytest.mark.parametrize(
    ("load", "name", "grid"),
    [(videoprism_base, "videoprism-base", 4), (videoprism_large, "videoprism-large", 6)],
)
def test_a_released_backbone_from_a_path(
    golden_dir: Path, load: Callable[[str], VideoPrismBackbone], name: str, grid: int
):
    path = golden_dir / "tiny_encoder_repeated.npz"
    backbone = load(str(path))
    assert isinstance(backbone, Backbone)
    card = backbone.card
    assert (card.name, card.label, card.trained) == (name, name, True)
    assert (card.frames, card.grid, card.width, card.precision) == (4, grid, 32, "float32")
    assert path.name in card.note
    with np.load(path) as archive:
        assert card.weights_sha256 == fingerprint(dict(archive))
    frames = np.zeros((2, card.input_size, card.input_size, 3), np.uint8)
    assert backbone.spatial(frames).shape == (2, grid * grid, 32)


def test_the_wrong_checkpoint_is_refused(golden_dir: Path):
    with pytest.raises(WeightsError, match="does not fit the model"):
        videoprism_base(str(golden_dir / "tiny_encoder_repeated.npz"))


def test_bfloat16_differs_on_the_card_and_returns_float32(golden_dir: Path):
    path = golden_dir / "tiny_encoder_repeated.npz"
    frames = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    padding = np.zeros((1, 4), bool)
    results = {}
    for precision in PRECISIONS:
        backbone = build_backbone(
            "tiny",
            TINY,
            lambda layout: read_parameters(path, layout),
            trained=True,
            precision=precision,
        )
        assert backbone.card.precision == precision
        tokens = backbone.spatial(frames)
        results[precision] = backbone.temporal(tokens[None], padding)
        assert tokens.dtype == results[precision].dtype == np.float32
    error = np.abs(np.asarray(results["bfloat16"]) - np.asarray(results["float32"])).mean()
    assert 1e-4 < error < 0.1


def test_an_unknown_precision_is_refused(golden_dir: Path):
    path = golden_dir / "tiny_encoder_repeated.npz"
    with pytest.raises(InputError, match="float32 or bfloat16"):
        build_backbone(
            "tiny",
            TINY,
            lambda layout: read_parameters(path, layout),
            trained=True,
            precision="float8",
        )
