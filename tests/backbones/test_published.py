"""The released checkpoints give the values that were published for them.

They need a checkpoint: one in the cache, or a file or folder named by ETHOPRISM_WEIGHTS. Values of
videos also need the official sample clip, water_bottle_drumming.mp4, named by
ETHOPRISM_SAMPLE_CLIP.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import registry
from ethoprism.backbones.preprocess import preprocess
from ethoprism.backbones.releases import (
    RELEASES,
    TOKENIZER,
    find_tokenizer,
    find_weights,
    is_here,
)
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader

pytestmark = pytest.mark.weights


def checkpoint(name: str) -> Path:
    """The checkpoint of a release on this computer, or a skip; nothing is downloaded."""
    given, file = os.environ.get("ETHOPRISM_WEIGHTS"), RELEASES[name].file
    if given:
        path = Path(given) / file if Path(given).is_dir() else Path(given)
        if path.is_file() and path.name == file:
            return path
    if not is_here(name):
        pytest.skip(f"no checkpoint of {name} on this computer")
    return find_weights(name).path


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer beside a checkpoint or in the cache, or a skip."""
    weights = checkpoint(name)
    beside = [weights.with_name("sentencepiece.model"), weights.with_suffix(".model")]
    if not any(path.is_file() for path in beside) and not is_here(TOKENIZER):
        pytest.skip("no tokenizer on this computer")
    return Tokenizer(find_tokenizer(beside=weights))


def clip(frames: int, size: int) -> np.ndarray:
    """The sample clip as the published values were made from it, uint8, or a skip."""
    given = os.environ.get("ETHOPRISM_SAMPLE_CLIP")
    if not given:
        pytest.skip("ETHOPRISM_SAMPLE_CLIP does not name the sample clip")
    recording, _ = open_recording(Path(given))
    chosen = np.linspace(0, recording.n_frames, frames, endpoint=False).astype(int)
    with FrameReader(recording) as reader:
        return np.stack([preprocess(reader[i], size) for i in chosen.tolist()])


def window_tokens(backbone: Any) -> np.ndarray:
    card = backbone.card
    frames = backbone.spatial(clip(card.frames, card.input_size))
    return np.asarray(backbone.temporal(frames[None], np.zeros((1, card.frames), bool)))


@pytest.mark.parametrize("size", ["base", "large"])
def test_tokens_of_the_sample_clip(meta: dict[str, Any], size: str) -> None:
    name = f"videoprism-{size}"
    backbone = registry.load("backbones", name)(str(checkpoint(name)))
    published = meta["pretrained_goldens"][f"{size}_embeddings_0_3x3"]
    tokens = window_tokens(backbone).reshape(-1, backbone.card.width)
    np.testing.assert_allclose(tokens[:3, :3], published, atol=1e-4)


@pytest.mark.parametrize("size", ["base", "large"])
def test_embeddings_of_texts_and_of_the_sample_clip(meta: dict[str, Any], size: str) -> None:
    name = f"videoprism-lvt-{size}"
    goldens = meta["pretrained_goldens"]
    backbone = registry.load("backbones", name)(str(checkpoint(name)))
    texts = backbone.embed_text(list(goldens["c4_en_ids"]), tokenizer(name))
    np.testing.assert_allclose(texts[:, :3], goldens[f"lvt_{size}_text_5x3"], atol=1e-4)
    padding = np.zeros((1, backbone.card.frames), bool)
    _, windows = backbone.embed(window_tokens(backbone), padding)
    published = goldens[f"lvt_{size}_video_0_9"]
    np.testing.assert_allclose(np.asarray(windows)[0, :9], published, atol=1e-4)


def test_ids_of_the_released_tokenizer(meta: dict[str, Any]) -> None:
    pieces = tokenizer("videoprism-lvt-base")
    assert pieces.vocabulary == 32_000
    for text, expected in meta["pretrained_goldens"]["c4_en_ids"].items():
        ids, paddings = pieces([text])
        assert ids[0][~paddings[0]].tolist() == expected
