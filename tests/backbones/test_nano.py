"""PrismNano: what its card promises, and that untrained features keep what moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from seeded import cosine, encoder_layout

from ethoprism.backbones import nano
from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.nano import prism_nano, untrained_parameters
from ethoprism.backbones.spec import Backbone
from ethoprism.backbones.videoprism import VideoPrismBackbone
from ethoprism.backbones.weights import fingerprint, read_parameters, write_safetensors
from ethoprism.errors import WeightsError

Parameters = dict[str, np.ndarray]

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "videoprism"
TINY_FILE = GOLDEN / "tiny_encoder_repeated.npz"

SHA256 = "e826ed39ec1f65002298f28af08664ee577ca1b8ad3195b0310dcd1bf63c675e"
"""Of the untrained parameters, on every machine: projects' tokens are stored under it."""

PACKAGED_SHA256 = "5df74dc9e43f4952c92f13b15fd52c61e6d1003b5f9be24979584537cbfde05c"
"""Of the packaged parameters: projects' tokens are stored under it."""


@pytest.fixture(scope="module")
def layout() -> dict[str, tuple[int, ...]]:
    return encoder_layout(NANO)


@pytest.fixture(scope="module")
def parameters(layout: dict[str, tuple[int, ...]]) -> Parameters:
    return dict(untrained_parameters(layout))


@pytest.fixture(scope="module")
def backbone() -> VideoPrismBackbone:
    return prism_nano("untrained")


def test_the_card_says_untrained(backbone: VideoPrismBackbone):
    card = backbone.card
    assert isinstance(backbone, Backbone)
    assert not card.trained
    assert card.label == "prism-nano (untrained)"
    assert "random" in card.note
    assert "not been learned" in card.note
    assert (card.frames, card.input_size, card.grid, card.width) == (8, 144, 8, 192)
    assert card.precision == "float32"


def test_its_parameters_are_the_same_everywhere(backbone: VideoPrismBackbone):
    assert backbone.card.weights_sha256 == SHA256


def test_parameters_come_in_the_order_of_their_names_and_of_no_other(
    layout: dict[str, tuple[int, ...]], parameters: Parameters
):
    assert list(parameters) == sorted(layout)
    again = dict(untrained_parameters(dict(reversed(layout.items()))))
    assert fingerprint(again) == fingerprint(parameters) == SHA256
    for key, values in parameters.items():
        assert values.shape == layout[key]
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def test_it_has_about_4_7_million_parameters(layout: dict[str, tuple[int, ...]]):
    count = sum(int(np.prod(shape)) for shape in layout.values())
    assert count == pytest.approx(4.7e6, rel=0.02)


def test_packaged_weights_are_called_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: Parameters
):
    path = tmp_path / "prism_nano.safetensors"
    write_safetensors(path, parameters, half=True)
    monkeypatch.setattr(nano, "PACKAGED", path)
    card = prism_nano().card
    assert card.trained
    assert card.label == "prism-nano"
    assert "packaged" in card.note
    rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in parameters.items()}
    assert card.weights_sha256 == fingerprint(rounded) != SHA256


def test_the_weights_in_the_package_are_trained_and_small_enough_for_it():
    card = prism_nano().card
    assert card.trained and card.label == "prism-nano"
    assert "efficientnet-lite0" in card.note and "steps" in card.note
    assert card.weights_sha256 == PACKAGED_SHA256
    assert nano.PACKAGED.stat().st_size < 12e6
    assert not list(card_problems(nano.PACKAGED))


def card_problems(path: Path) -> Iterator[str]:
    """Parameters that no training leaves behind."""
    for name, values in read_parameters(path, encoder_layout(NANO)):
        if not np.isfinite(values).all() or (values.size > 1000 and values.std() == 0):
            yield name


def test_an_installation_without_them_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nano, "PACKAGED", tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match="not whole in this installation"):
        prism_nano()


def test_the_users_weights_go_before_the_packaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parameters: Parameters
):
    monkeypatch.setattr(nano, "PACKAGED", tmp_path / "never_read.safetensors")
    nano.PACKAGED.write_bytes(b"not a checkpoint")
    path = tmp_path / "mine.safetensors"
    write_safetensors(path, parameters)
    card = prism_nano(str(path), precision="bfloat16").card
    assert card.trained
    assert card.precision == "bfloat16"
    assert card.weights_sha256 == SHA256
    assert "mine.safetensors" in card.note
    assert "given by the user" in card.note


def test_weights_of_another_model(tmp_path: Path):
    with pytest.raises(WeightsError, match="does not fit the model"):
        prism_nano(str(TINY_FILE))
    with pytest.raises(WeightsError, match="There is no checkpoint at"):
        prism_nano(str(tmp_path / "nowhere.npz"))


def _tokens(backbone: VideoPrismBackbone, columns: list[int]) -> np.ndarray:
    """Tokens of a bright square on a textured ground, at a column a frame."""
    ground = np.random.default_rng(4).integers(90, 130, (144, 144, 3), np.uint8)
    frames = np.stack([ground] * len(columns))
    for frame, column in zip(frames, columns, strict=True):
        frame[54:90, column : column + 36] = 230
    spatial = np.asarray(backbone.spatial(frames))
    return np.asarray(backbone.temporal(spatial[None], np.zeros((1, len(columns)), bool)))[0]


def test_tokens_tell_what_moves_from_what_stands(backbone: VideoPrismBackbone):
    moving = _tokens(backbone, [0, 15, 30, 45, 60, 75, 90, 105])
    standing = _tokens(backbone, [54] * 8)
    assert moving.shape == standing.shape == (8, 64, 192)
    assert np.isfinite(moving).all()
    changes = [np.abs(np.diff(tokens, axis=0)).mean() for tokens in (moving, standing)]
    print(f"mean change from frame to frame: moving {changes[0]:.4f}, standing {changes[1]:.4f}")
    assert changes[0] > 1.5 * changes[1]


def test_tokens_tell_bright_from_dark(backbone: VideoPrismBackbone):
    """The norms that follow the projection would throw the brightness of a plain frame away."""
    frames = np.stack([np.full((144, 144, 3), value, np.uint8) for value in (40, 120, 200)])
    dark, middle, bright = np.asarray(backbone.spatial(frames))
    scale = np.abs(middle).mean()
    assert np.abs(dark - middle).mean() > 0.1 * scale
    assert np.abs(bright - middle).mean() > 0.1 * scale


def test_bfloat16_is_near_to_float32(backbone: VideoPrismBackbone):
    """Of the untrained parameters: what the temporal layers add is mostly a difference of tokens.

    So rounding that is small beside a frame's tokens grows in time.
    """
    narrow = prism_nano("untrained", precision="bfloat16")
    frames = np.random.default_rng(0).integers(0, 256, (8, 18, 18, 3), np.uint8)
    frames = frames.repeat(8, axis=1).repeat(8, axis=2)
    padding = np.zeros((1, 8), bool)
    spatial = [np.asarray(b.spatial(frames)) for b in (backbone, narrow)]
    temporal = [
        np.asarray(b.temporal(tokens[None], padding))
        for b, tokens in zip((backbone, narrow), spatial, strict=True)
    ]
    print(f"cosines: {cosine(*spatial).min():.6f} spatial, {cosine(*temporal).min():.6f} temporal")
    assert cosine(*spatial).min() >= 0.9999
    assert cosine(*temporal).min() >= 0.998
