"""The video–text models equal the official ones, and their checkpoints the released layouts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from seeded import seeded_parameters

from ethoprism.backbones.text import TextConfig, TextEncoder, l2_normalised, sinusoids
from ethoprism.backbones.video_text import (
    LVT_BASE,
    LVT_GIANT,
    LVT_LARGE,
    LVT_TINY,
    VideoTextConfig,
    VideoTextEncoder,
)
from ethoprism.backbones.weights import (
    fill_state,
    load_state,
    state_layout,
    text_names,
    video_text_names,
)

Cases = dict[str, np.ndarray]
ATOL = 1e-4
FULL_SIZE_TOLERANCE = 1e-4  # float32 does not give more; see the README beside the oracle


@pytest.fixture(scope="module")
def model(golden_dir: Path) -> VideoTextEncoder:
    graph, state = _abstract(LVT_TINY)
    path = golden_dir / "tiny_lvt_repeated.npz"
    return nnx.merge(graph, load_state(path, state, video_text_names())[0])


@pytest.mark.parametrize("kind", ["normalized", "raw"])
def test_embeddings_of_videos_frames_and_texts(
    model: VideoTextEncoder, cases: Cases, kind: str
) -> None:
    video, text, outputs = model(
        jnp.asarray(cases["clip/inputs"]), *_texts(cases), normalised=kind == "normalized"
    )
    np.testing.assert_allclose(np.asarray(video), cases[f"clip/{kind}/video_embeddings"], atol=ATOL)
    np.testing.assert_allclose(np.asarray(text), cases[f"clip/{kind}/text_embeddings"], atol=ATOL)
    frames = outputs["frame_embeddings"]
    np.testing.assert_allclose(frames, cases[f"clip/{kind}/frame_embeddings"], atol=ATOL)
    tokens = outputs["tokens"]
    np.testing.assert_allclose(tokens, cases["clip/spatiotemporal_features"], atol=ATOL)
    np.testing.assert_allclose(outputs["text_features"], cases["clip/text_features"], atol=ATOL)


def test_padded_frames(model: VideoTextEncoder, cases: Cases) -> None:
    paddings = jnp.asarray(cases["clip/frame_paddings"]) > 0
    video, text, _ = model(jnp.asarray(cases["clip/inputs"]), frame_paddings=paddings)
    np.testing.assert_allclose(np.asarray(video), cases["clip/padded/video_embeddings"], atol=ATOL)
    assert text is None


def test_either_side_may_be_left_out(model: VideoTextEncoder, cases: Cases) -> None:
    video, text, outputs = model(None, *_texts(cases))
    assert video is None and set(outputs) == {"text_features"}
    np.testing.assert_allclose(
        np.asarray(text), cases["clip/normalized/text_embeddings"], atol=ATOL
    )
    video, text, outputs = model(jnp.asarray(cases["clip/inputs"]))
    assert text is None and set(outputs) == {"tokens", "frame_embeddings"}
    np.testing.assert_allclose(
        np.asarray(video), cases["clip/normalized/video_embeddings"], atol=ATOL
    )
    assert model() == (None, None, {})


def test_frames_that_are_left_out_leave_no_trace(model: VideoTextEncoder, cases: Cases) -> None:
    tokens = jnp.asarray(cases["clip/spatiotemporal_features"])
    paddings = jnp.asarray([[False, False, True, True]] * 2)
    window, frames = model.pooled(tokens, 4, paddings)
    alone, alone_frames = model.pooled(tokens[:, :32], 2)
    np.testing.assert_allclose(window, alone, atol=ATOL)
    np.testing.assert_allclose(frames[:, :2], alone_frames, atol=ATOL)
    assert not np.allclose(window, model.pooled(tokens, 4)[0], atol=0.01)


def test_the_other_norm_policy(golden_dir: Path, cases: Cases) -> None:
    config = TextConfig(32, 2, 4, 128, vocabulary=1000, norm="primer_hybrid")
    graph, state = nnx.split(nnx.eval_shape(lambda: TextEncoder(config, rngs=nnx.Rngs(0))))
    path = golden_dir / "tiny_text_primer_hybrid_repeated.npz"
    state, _ = load_state(path, state, text_names("primer_hybrid"))
    features = nnx.merge(graph, state)(*_texts(cases))
    np.testing.assert_allclose(features, cases["text_primer_hybrid/features"], atol=ATOL)


def test_units(cases: Cases) -> None:
    np.testing.assert_allclose(sinusoids(8, 32), cases["unit/sinusoid_8x32"][0], atol=1e-6)
    strided = sinusoids(64, 768)[::9, ::37]
    np.testing.assert_allclose(strided, cases["unit/sinusoid_64x768_sub"][0], atol=1e-5)
    rows = l2_normalised(jnp.asarray(cases["unit/layernorm/x"]))
    np.testing.assert_allclose(rows, cases["unit/l2norm/y"], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "file"),
    [
        (LVT_BASE, "flax_lvt_base_f16r288_repeated.npz"),
        (LVT_LARGE, "flax_lvt_large_f8r288_repeated.npz"),
    ],
)
def test_released_layouts(golden_dir: Path, config: VideoTextConfig, file: str) -> None:
    released = json.loads((golden_dir / "released_layouts.json").read_text())[file]
    found = {key: list(shape) for key, shape in _layout(config).items()}
    assert found == released["keys"]
    assert sum(int(np.prod(shape)) for shape in found.values()) == released["n_params"]


def test_the_giant_has_the_shape_of_the_paper() -> None:
    layout = _layout(LVT_GIANT)
    text = "params/text_encoder/unimodal_transformer/x_layers"
    assert layout[f"{text}/ff_layer/post_layer_norm/scale"] == (16, 1408)
    spatial = "params/vision_encoder/spatial_encoder/transformers_stack/x_layers"
    assert layout[f"{spatial}/self_attention/query/w"] == (40, 1408, 16, 88)


def test_unrolled_it_computes_the_same(golden_dir: Path, cases: Cases) -> None:
    path = golden_dir / "tiny_lvt_repeated.npz"
    graph, state = _abstract(LVT_TINY, unroll=True)
    unrolled = nnx.merge(graph, load_state(path, state, video_text_names())[0])
    video, text, _ = unrolled(jnp.asarray(cases["clip/inputs"]), *_texts(cases))
    np.testing.assert_allclose(
        np.asarray(video), cases["clip/normalized/video_embeddings"], atol=ATOL
    )
    np.testing.assert_allclose(
        np.asarray(text), cases["clip/normalized/text_embeddings"], atol=ATOL
    )


@pytest.mark.slow
def test_full_size_equals_the_official_samples(cases: Cases) -> None:
    graph, state = _abstract(LVT_BASE)
    state, _ = fill_state(state, video_text_names(), seeded_parameters(_layout(LVT_BASE)))
    video = np.random.default_rng(7).random((1, 16, 288, 288, 3), dtype=np.float32)
    ids, paddings = np.zeros((2, 64), np.int32), np.ones((2, 64), bool)
    for row, found in enumerate(
        ([262, 266, 768, 267, 1376, 14293, 259], [262, 266, 768, 267, 2865, 259])
    ):
        ids[row, : len(found)], paddings[row, : len(found)] = found, False
    run = jax.jit(lambda s, *inputs: nnx.merge(graph, s)(*inputs))
    windows, texts, outputs = run(
        state, jnp.asarray(video), jnp.asarray(ids), jnp.asarray(paddings)
    )
    case = "big/videoprism_lvt_public_v1_base_t16"
    for values, kind in (
        (windows, "video_embeddings"),
        (texts, "text_embeddings"),
        (outputs["frame_embeddings"], "frame_embeddings"),
    ):
        error = np.abs(np.asarray(values) - cases[f"{case}/{kind}"])
        print(f"{case} {kind}: max abs error {error.max():.2e}, mean {error.mean():.2e}")
        assert error.max() <= FULL_SIZE_TOLERANCE
        assert error.mean() <= FULL_SIZE_TOLERANCE / 4


def _texts(cases: Cases) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(cases["clip/text_token_ids"]), jnp.asarray(cases["clip/text_paddings"]) > 0


def _abstract(config: VideoTextConfig, unroll: bool = False) -> Any:
    return nnx.split(
        nnx.eval_shape(lambda: VideoTextEncoder(config, rngs=nnx.Rngs(0), unroll=unroll))
    )


def _layout(config: VideoTextConfig) -> dict[str, tuple[int, ...]]:
    return state_layout(_abstract(config)[1], video_text_names(config.text.norm))
