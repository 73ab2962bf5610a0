"""PrismNano-LvT: which encoder its texts lie above, and what is said when a file does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ethoprism.backbones import nano, nano_text
from ethoprism.backbones.lvt import VideoTextBackbone
from ethoprism.backbones.nano_text import (
    nano_text_config,
    prism_nano_lvt,
    text_layout,
    write_above,
)
from ethoprism.backbones.weights import write_safetensors
from ethoprism.errors import WeightsError
from ethoprism.pretrain.contrast import learn_vocabulary
from ethoprism.search.prompts import reads_text

CAPTIONS = ["a mouse rests", "a mouse walks", "a dark fly chases another fly"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole model of random parameters, and the encoder that it holds by itself."""
    folder = tmp_path_factory.mktemp("nano-text")
    vocabulary = learn_vocabulary(CAPTIONS, folder / "whole.model", 60)
    pieces = len(_pieces(vocabulary))
    rng = np.random.default_rng(0)
    layout = text_layout(nano_text_config(pieces))
    parameters = {
        name: (0.05 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in layout.items()
    }
    write_safetensors(
        folder / "whole.safetensors", parameters, half=True, made_by="a throw of dice"
    )
    vision = "params/vision_encoder/"
    encoder = {
        "params/" + k.removeprefix(vision): v for k, v in parameters.items() if k.startswith(vision)
    }
    write_safetensors(folder / "encoder.safetensors", encoder, half=True)
    above = folder / "above.safetensors"
    write_above(above, parameters, folder / "encoder.safetensors", made_by="a throw of dice")
    above.with_suffix(".model").write_bytes(vocabulary.read_bytes())
    return folder / "whole.safetensors", folder / "encoder.safetensors"


def _pieces(path: Path) -> range:
    from ethoprism.backbones.tokenizer import Tokenizer

    return range(Tokenizer(path).vocabulary)


def _tokens(backbone: VideoTextBackbone) -> np.ndarray:
    frames = np.random.default_rng(1).integers(0, 256, (8, 144, 144, 3), np.uint8)
    spatial = np.asarray(backbone.spatial(frames))[None]
    return np.asarray(backbone.temporal(spatial, np.zeros((1, 8), bool)))


def test_a_whole_file_and_one_above_the_packaged_encoder_are_the_same(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    whole, encoder = files
    above = whole.with_name("above.safetensors")
    assert above.stat().st_size < 0.6 * whole.stat().st_size
    one = prism_nano_lvt(str(whole))
    monkeypatch.setattr(nano, "PACKAGED", encoder)
    other = prism_nano_lvt(str(above))
    assert one.card.weights_sha256 == other.card.weights_sha256
    assert one.card.trained and "a throw of dice" in one.card.note
    assert "knows only what the simulated arena showed it" in other.card.note
    tokens = _tokens(one)
    np.testing.assert_array_equal(_tokens(other), tokens)
    for made in (one, other):
        frames, windows = made.embed(tokens, np.zeros((1, 8), bool))
        assert np.asarray(frames).shape == (1, 8, 192)
        np.testing.assert_allclose(np.linalg.norm(windows, axis=-1), 1, atol=1e-4)
    texts = np.asarray(one.embed_text(CAPTIONS))
    np.testing.assert_array_equal(np.asarray(other.embed_text(CAPTIONS)), texts)
    assert texts.shape == (3, 192)


def test_another_encoder_below_is_refused(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    whole, encoder = files
    from ethoprism.backbones.weights import read_parameters
    from ethoprism.pretrain.recipe import student_parameters

    layout = {k: v.shape for k, v in student_parameters("prism-nano").items()}
    changed = dict(read_parameters(encoder, layout))
    changed["params/spatial_ln/bias"] = changed["params/spatial_ln/bias"] + 1
    write_safetensors(tmp_path / "other.safetensors", changed, half=True)
    monkeypatch.setattr(nano, "PACKAGED", tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="another video encoder"):
        prism_nano_lvt(str(whole.with_name("above.safetensors")))
    monkeypatch.setattr(nano, "PACKAGED", tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match="was not packaged"):
        prism_nano_lvt(str(whole.with_name("above.safetensors")))


def test_files_that_do_not_fit_are_told_from_what_is_missing(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    whole, encoder = files
    with pytest.raises(WeightsError, match="holds no prism-nano-lvt"):
        prism_nano_lvt(str(encoder))
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(whole.read_bytes())
    with pytest.raises(WeightsError, match="SentencePiece model of alone"):
        prism_nano_lvt(str(alone)).embed_text(["a mouse"])
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="can't be read"):
        prism_nano_lvt(str(damaged))
    monkeypatch.setattr(nano_text, "PACKAGED", tmp_path / "nowhere.safetensors")
    with pytest.raises(WeightsError, match="not part of this installation"):
        prism_nano_lvt()


def test_it_is_known_as_a_backbone_that_reads_text():
    assert reads_text("prism-nano-lvt")


def test_the_packaged_one_fits_its_encoder_and_says_how_it_was_made():
    backbone = nano_text.prism_nano_lvt()
    card = backbone.card
    assert card.trained and card.embedding_width == 192
    assert "captioned clips" in card.note and "drawn animals" in card.note
    assert nano_text.PACKAGED.stat().st_size + nano.PACKAGED.stat().st_size < 14e6
    texts = ["a mouse chases another", "a mouse chases another mouse", "a mouse rests alone"]
    embedded = np.asarray(backbone.embed_text(texts))
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)
    likeness = embedded @ embedded.T
    assert likeness[0, 1] > likeness[0, 2]
