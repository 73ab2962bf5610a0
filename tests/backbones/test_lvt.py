"""The video–text backbones: embeddings equal the official ones, and are stored by extraction."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from search_stores import text_model

from ethoprism import registry
from ethoprism.backbones import lvt
from ethoprism.backbones.engine import engine_named, installed
from ethoprism.backbones.lvt import (
    VideoTextBackbone,
    build_video_text_backbone,
    text_embeddings,
    videoprism_lvt_base,
    videoprism_lvt_large,
    window_embeddings,
)
from ethoprism.backbones.spec import Backbone, Embeds
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import LVT_TINY
from ethoprism.backbones.weights import Layout, read_parameters
from ethoprism.errors import InputError, WeightsError
from ethoprism.search.prompts import reads_text, text_backbones

Cases = dict[str, np.ndarray]
ATOL = 1e-4


class FixedTokenizer(Tokenizer):
    """Gives the ids of the oracle, whatever the texts are."""

    def __init__(self, ids: np.ndarray, paddings: np.ndarray) -> None:
        self._ids = ids, paddings

    @property
    def vocabulary(self) -> int:
        return 1000

    def __call__(self, texts: Sequence[str], **_: Any) -> tuple[np.ndarray, np.ndarray]:
        ids, paddings = self._ids
        return ids[: len(texts)], paddings[: len(texts)]


@pytest.fixture(scope="module")
def build(golden_dir: Path, cases: Cases) -> Callable[..., VideoTextBackbone]:
    tokenizer = FixedTokenizer(cases["clip/text_token_ids"], cases["clip/text_paddings"] > 0)

    def make(**options: Any) -> VideoTextBackbone:
        path = golden_dir / "tiny_lvt_repeated.npz"
        options = {"trained": False, **options}
        return build_video_text_backbone(
            "tiny-lvt",
            LVT_TINY,
            lambda layout: read_parameters(path, layout),
            lambda: tokenizer,
            **options,
        )

    return make


@pytest.fixture(scope="module")
def backbone(build: Callable[..., VideoTextBackbone]) -> VideoTextBackbone:
    return build()


def test_embeddings_of_windows_and_frames(backbone: VideoTextBackbone, cases: Cases) -> None:
    assert isinstance(backbone, Backbone) and isinstance(backbone, Embeds)
    assert backbone.card.embedding_width == 32
    assert backbone.card.label == "tiny-lvt (untrained)"
    tokens = cases["clip/spatiotemporal_features"].reshape(2, 4, 16, 32)
    frames, windows = backbone.embed(tokens, np.zeros((2, 4), bool))
    assert frames.dtype == windows.dtype == np.float32
    np.testing.assert_allclose(windows, cases["clip/normalized/video_embeddings"], atol=ATOL)
    np.testing.assert_allclose(frames, cases["clip/normalized/frame_embeddings"], atol=ATOL)


def test_in_one_call_or_in_several(
    backbone: VideoTextBackbone, cases: Cases, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = cases["clip/spatiotemporal_features"].reshape(2, 4, 16, 32)
    padding = np.zeros((2, 4), bool)
    together = backbone.embed(tokens, padding)
    monkeypatch.setattr(lvt, "_LOGIT_BYTES", 1)
    apart = backbone.embed(tokens, padding)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_padded_frames_leave_no_trace(backbone: VideoTextBackbone) -> None:
    tokens = np.random.default_rng(0).standard_normal((2, 4, 16, 32)).astype(np.float32)
    padding = np.array([[False, False, True, True], [True] * 4])
    frames, windows = backbone.embed(tokens, padding)
    for value in (3.0, np.nan):
        other = tokens.copy()
        other[padding] = value
        for found, expected in zip(backbone.embed(other, padding), (frames, windows), strict=True):
            np.testing.assert_array_equal(found, expected)
    short = backbone.embed(tokens[:1, :2], np.zeros((1, 2), bool))
    np.testing.assert_allclose(frames[0, :2], short[0][0], atol=1e-5)
    np.testing.assert_allclose(windows[0], short[1][0], atol=1e-5)
    assert not np.asarray(frames)[padding].any() and not np.asarray(windows)[1].any()


def test_embeddings_of_texts(backbone: VideoTextBackbone, cases: Cases) -> None:
    found = backbone.embed_text(["one", "two", "three"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, cases["clip/normalized/text_embeddings"], atol=ATOL)
    assert backbone.embed_text([]).shape == (0, 32)


def test_many_texts_are_embedded_as_one_by_one(
    tmp_path: Path,
) -> None:
    model = text_model(tmp_path / "words.model")
    config = replace(LVT_TINY, text=replace(LVT_TINY.text, vocabulary=60))
    backbone = _with_random_text(config, model)
    texts = [f"{word} {other}" for word in ("fly", "mouse", "wing") for other in "abcde"]
    together = backbone.embed_text(texts)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    single = np.concatenate([backbone.embed_text([text]) for text in texts[6:10]])
    np.testing.assert_allclose(together[6:10], single, atol=1e-6)
    assert len({tuple(np.round(row, 4)) for row in together}) == len(texts)


def test_another_vocabulary_is_refused(backbone: VideoTextBackbone, tmp_path: Path) -> None:
    small = Tokenizer(text_model(tmp_path / "words.model"))
    with pytest.raises(WeightsError, match="does not belong to tiny-lvt") as caught:
        backbone.embed_text(["fly"], small)
    assert "1000 pieces" in str(caught.value) and "--tokenizer" in str(caught.value)


def test_bfloat16_gives_float32_near_to_it(
    build: Callable[..., VideoTextBackbone], backbone: VideoTextBackbone, cases: Cases
) -> None:
    half = build(precision="bfloat16")
    assert half.card.precision == "bfloat16"
    tokens = cases["clip/spatiotemporal_features"].reshape(2, 4, 16, 32)
    padding = np.zeros((2, 4), bool)
    for one, other in zip(
        half.embed(tokens, padding), backbone.embed(tokens, padding), strict=True
    ):
        assert one.dtype == np.float32
        error = float(np.abs(np.asarray(one) - np.asarray(other)).mean())
        assert 0 < error < 0.05
    with pytest.raises(InputError, match="float32 or bfloat16"):
        build(precision="float8")


def test_the_released_ones_take_a_checkpoint_and_the_text_model_beside_it(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lvt, "LVT_BASE", LVT_TINY)
    monkeypatch.setattr(lvt, "LVT_LARGE", LVT_TINY)
    path = Path(shutil.copy(golden_dir / "tiny_lvt_repeated.npz", tmp_path / "tiny.npz"))
    text_model(tmp_path / "sentencepiece.model")
    for load, name in (
        (videoprism_lvt_base, "videoprism-lvt-base"),
        (videoprism_lvt_large, "videoprism-lvt-large"),
    ):
        found = load(str(path))
        assert (found.card.name, found.card.trained) == (name, True)
        assert registry.load("backbones", name) is load
        # The small model is found; it is refused because it has 60 pieces, not 1000.
        with pytest.raises(WeightsError, match="Found 60"):
            found.embed_text(["fly"])


def test_which_backbones_read_text_is_known_without_loading_one() -> None:
    assert {"videoprism-lvt-base", "videoprism-lvt-large"} <= set(text_backbones())
    assert not reads_text("prism-nano") and not reads_text("videoprism-base")


def test_both_functions_lower_for_cuda(backbone: VideoTextBackbone) -> None:
    tokens = jax.ShapeDtypeStruct((1, 4, 16, 32), jnp.float32)
    padding = jax.ShapeDtypeStruct((1, 4), jnp.bool_)
    ids = jax.ShapeDtypeStruct((8, 64), jnp.int32)
    ended = jax.ShapeDtypeStruct((8, 64), jnp.bool_)
    for precision in ("float32", "bfloat16"):
        video = jax.jit(
            lambda s, t, m, p=precision: window_embeddings(backbone._pooling_graph, p, s, t, m)
        )
        export = jax.export.export(video, platforms=["cuda"])
        assert export(backbone._pooling, tokens, padding).platforms == ("cuda",)
        text = jax.jit(
            lambda s, i, m, p=precision: text_embeddings(backbone._text_graph, p, s, i, m)
        )
        export = jax.export.export(text, platforms=["cuda"])
        assert export(backbone._text, ids, ended).platforms == ("cuda",)


def _with_random_text(config: Any, model: Path) -> VideoTextBackbone:
    rng = np.random.default_rng(0)

    def parameters(layout: Layout) -> Any:
        for key in sorted(layout):
            yield key, 0.3 * rng.standard_normal(layout[key]).astype(np.float32)

    return build_video_text_backbone("random", config, parameters, model, trained=False)


def test_another_engine_gives_the_same_embeddings(
    backbone: VideoTextBackbone, cases: Cases
) -> None:
    if not installed("openvino"):
        pytest.skip("OpenVINO is not installed")
    other = backbone.with_engine(engine_named("openvino"))
    assert isinstance(other, Embeds)
    tokens = cases["clip/spatiotemporal_features"].reshape(2, 4, 16, 32)
    padding = np.array([[False] * 4, [False, False, True, True]])
    for one, expected in zip(
        other.embed(tokens, padding), backbone.embed(tokens, padding), strict=True
    ):
        np.testing.assert_allclose(one, expected, atol=ATOL)
