"""The encoder equals the official implementation in every case of the oracle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from seeded import cosine, encoder_layout, seeded_parameters

from ethoprism.backbones.encoder import BASE, LARGE, TINY, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.videoprism import build_backbone, spatial_tokens, temporal_tokens
from ethoprism.backbones.weights import ENCODER_NAMES, fill_state, load_state, read_parameters

Cases = dict[str, np.ndarray]
TOLERANCE = 1e-4  # the tiny configuration has high gains on purpose; see the oracle's notes
FULL_SIZE_TOLERANCE = 1e-4  # float32 does not give more; see the README beside the oracle


def _tiny(
    golden_dir: Path,
    config: EncoderConfig = TINY,
    dtype: Any = jnp.float32,
    *,
    unroll: bool = False,
):
    abstract = nnx.eval_shape(lambda: VideoPrismEncoder(config, rngs=nnx.Rngs(0), unroll=unroll))
    graph, state = nnx.split(abstract)
    path = golden_dir / "tiny_encoder_repeated.npz"
    return nnx.merge(graph, load_state(path, state, ENCODER_NAMES, dtype)[0])


@pytest.mark.parametrize("case", ["native", "t6", "t3", "t1", "res36", "res18", "res12_t7"])
def test_native_and_interpolated_sizes(golden_dir: Path, cases: Cases, case: str):
    encoder = _tiny(golden_dir)
    embeddings, found = encoder(jnp.asarray(cases[f"encoder/{case}/inputs"]))
    features = cases[f"encoder/{case}/spatial_features"]
    np.testing.assert_allclose(found["spatial_features"], features, atol=TOLERANCE)
    np.testing.assert_allclose(embeddings, cases[f"encoder/{case}/embeddings"], atol=TOLERANCE)


@pytest.mark.parametrize("unroll", [False, True], ids=["scanned", "unrolled"])
def test_padded_frames(golden_dir: Path, cases: Cases, unroll: bool):
    encoder = _tiny(golden_dir, unroll=unroll)
    embeddings, found = encoder(
        jnp.asarray(cases["encoder/frame_paddings/inputs"]),
        jnp.asarray(cases["encoder/frame_paddings/frame_paddings"] > 0),
    )
    features = cases["encoder/frame_paddings/spatial_features"]
    np.testing.assert_allclose(found["spatial_features"], features, atol=TOLERANCE)
    expected = cases["encoder/frame_paddings/embeddings"]
    np.testing.assert_allclose(embeddings, expected, atol=TOLERANCE)


def test_without_the_logit_cap(golden_dir: Path, cases: Cases, meta: dict[str, Any]):
    video = jnp.asarray(cases["encoder/native/inputs"])
    embeddings, _ = _tiny(golden_dir, replace(TINY, logit_cap=0.0))(video)
    expected = cases["encoder/native_no_cap/embeddings"]
    np.testing.assert_allclose(embeddings, expected, atol=TOLERANCE)
    effect = np.abs(expected - cases["encoder/native/embeddings"]).max()
    assert effect == pytest.approx(meta["cap_effect_maxabs"], rel=1e-3)


@pytest.mark.parametrize("case", ["bf16_in_bf16", "bf16_in_f32"])
def test_bfloat16_is_as_near_to_float32_as_the_official_one(
    golden_dir: Path, cases: Cases, meta: dict[str, Any], case: str
):
    """bfloat16 rounds differently with every order of summation: compare errors, not digits."""
    encoder = _tiny(golden_dir, dtype=jnp.bfloat16)
    video = jnp.asarray(cases["encoder/native/inputs"])
    if case == "bf16_in_bf16":
        video = video.astype(jnp.bfloat16)
    embeddings = encoder(video)[0]
    assert embeddings.dtype == meta[case]["out_dtype"]
    exact = cases["encoder/native/embeddings"]
    error = np.abs(np.asarray(embeddings, np.float32) - exact)
    official = np.abs(cases[f"encoder/{case}/embeddings"] - exact)
    assert official.max() == pytest.approx(meta[case]["maxabs_vs_f32"], rel=1e-3)
    assert error.max() <= 1.25 * official.max()
    assert error.mean() <= official.mean()
    assert np.square(error).mean() <= np.square(official).mean()


@pytest.mark.parametrize(
    ("file", "config", "count"),
    [
        ("flax_base_f16r288_repeated.npz", BASE, 114_365_184),
        ("flax_large_f8r288_repeated.npz", LARGE, 353_965_056),
    ],
)
def test_names_and_shapes_are_those_of_the_released_files(
    golden_dir: Path, file: str, config: EncoderConfig, count: int
):
    released = json.loads((golden_dir / "released_layouts.json").read_text())[file]["keys"]
    layout = encoder_layout(config)
    assert {k: list(v) for k, v in layout.items()} == released
    assert sum(int(np.prod(shape)) for shape in layout.values()) == count


def _tiny_backbone(golden_dir: Path):
    path = golden_dir / "tiny_encoder_repeated.npz"
    return build_backbone("tiny", TINY, lambda layout: read_parameters(path, layout), trained=False)


def test_in_two_steps_as_extraction_does_it(golden_dir: Path, cases: Cases):
    backbone = _tiny_backbone(golden_dir)
    frames = np.random.default_rng(1).integers(0, 256, (8, 24, 24, 3), np.uint8)
    spatial = backbone.spatial(frames)
    tokens = backbone.temporal(spatial.reshape(2, 4, 16, 32), np.zeros((2, 4), bool))
    whole, _ = _tiny(golden_dir)(jnp.asarray(frames.reshape(2, 4, 24, 24, 3) / 255, jnp.float32))
    np.testing.assert_allclose(tokens.reshape(2, 64, 32), whole, atol=TOLERANCE)


def test_space_then_time_equals_the_whole_to_the_bit(golden_dir: Path, cases: Cases):
    graph, state = nnx.split(_tiny(golden_dir))
    video = jnp.asarray(cases["encoder/native/inputs"])
    whole, found = jax.jit(lambda s, v: nnx.merge(graph, s)(v))(state, video)
    spatial = jax.jit(lambda s, f: nnx.merge(graph, s).spatial(f))
    temporal = jax.jit(lambda s, t: nnx.merge(graph, s).temporal(t))
    tokens = spatial(state, video.reshape(8, 24, 24, 3))
    np.testing.assert_array_equal(tokens.reshape(2, 64, 32), found["spatial_features"])
    windows = temporal(state, tokens.reshape(2, 4, 16, 32))
    np.testing.assert_array_equal(windows.reshape(2, 64, 32), whole)


def test_patch_positions_are_independent_in_time(golden_dir: Path, cases: Cases):
    encoder = _tiny(golden_dir)
    tokens = jnp.asarray(cases["encoder/native/spatial_features"]).reshape(2, 4, 16, 32)
    some = encoder.temporal(tokens[:, :, 3:7])
    np.testing.assert_allclose(some, encoder.temporal(tokens)[:, :, 3:7], atol=1e-5)


def test_a_row_does_not_depend_on_the_others(golden_dir: Path):
    backbone = _tiny_backbone(golden_dir)
    rng = np.random.default_rng(2)
    frames = rng.integers(0, 256, (4, 24, 24, 3), np.uint8)
    others = frames.copy()
    others[1:] = rng.integers(0, 256, (3, 24, 24, 3), np.uint8)
    first, second = backbone.spatial(frames), backbone.spatial(others)
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])
    windows = rng.standard_normal((3, 4, 16, 32)).astype(np.float32)
    changed = windows.copy()
    changed[1:] = 0
    padding = np.zeros((3, 4), bool)
    np.testing.assert_array_equal(
        backbone.temporal(windows, padding)[0], backbone.temporal(changed, padding)[0]
    )


def test_what_stands_in_padded_frames_does_not_matter(golden_dir: Path):
    backbone = _tiny_backbone(golden_dir)
    windows = np.random.default_rng(3).standard_normal((1, 4, 16, 32)).astype(np.float32)
    padding = np.array([[False, False, True, True]])
    expected = backbone.temporal(windows, padding)
    for value in (7, np.nan):
        other = windows.copy()
        other[:, 2:] = value
        found = backbone.temporal(other, padding)
        np.testing.assert_array_equal(found[:, :2], expected[:, :2])


def test_bytes_become_fractions_of_255(golden_dir: Path):
    frames = np.random.default_rng(4).integers(0, 256, (2, 24, 24, 3), np.uint8)
    encoder = _tiny(golden_dir)
    expected = encoder.spatial(jnp.asarray(frames.astype(np.float32) / np.float32(255)))
    found = _tiny_backbone(golden_dir).spatial(frames)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_frames_of_another_size_are_refused(golden_dir: Path):
    with pytest.raises(ValueError, match=r"expected frames of \(24, 24, 3\), got \(30, 30, 3\)"):
        _tiny_backbone(golden_dir).spatial(np.zeros((1, 30, 30, 3), np.uint8))


@pytest.mark.parametrize("unroll", [False, True], ids=["scanned", "unrolled"])
def test_an_unrolled_encoder_has_no_scan_and_no_split(golden_dir: Path, unroll: bool):
    graph, state = nnx.split(_tiny(golden_dir, unroll=unroll))
    video, paddings = jnp.zeros((1, 3, 18, 18, 3)), jnp.zeros((1, 3), bool)
    jaxpr = jax.make_jaxpr(lambda s, v, p: nnx.merge(graph, s)(v, p))(state, video, paddings)
    assert (" scan[" in str(jaxpr)) is not unroll
    assert " split[" not in str(jaxpr)


def test_a_configuration_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="5 heads divide, got 32 features"):
        replace(TINY, heads=5)
    with pytest.raises(ValueError, match="multiples of 6 px, got 25 px"):
        replace(TINY, input_size=25)


@pytest.mark.parametrize("kept", [(0, 4), (1, 3), (3, 4)])
@pytest.mark.parametrize("unroll", [False, True], ids=["scanned", "unrolled"])
def test_frames_that_are_kept_are_the_same_as_among_all(
    golden_dir: Path, cases: Cases, kept: tuple[int, int], unroll: bool
):
    encoder = _tiny(golden_dir, unroll=unroll)
    tokens = jnp.asarray(cases["encoder/native/spatial_features"]).reshape(2, 4, 16, 32)
    padding = jnp.asarray([[False, False, True, False], [False] * 4])
    whole = encoder.temporal(tokens, padding)[:, slice(*kept)]
    found = encoder.temporal(tokens, padding, kept)
    assert found.shape == (2, kept[1] - kept[0], 16, 32)
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.parametrize("frames", [4, 3])
@pytest.mark.parametrize("kept", [None, (1, 3)])
def test_shared_projections_give_the_same_tokens(
    golden_dir: Path, cases: Cases, frames: int, kept: tuple[int, int] | None
):
    """The tiny parameters have high gains of queries and keys, so this is a strict bound."""
    encoder = _tiny(golden_dir)
    tokens = jnp.asarray(cases["encoder/native/spatial_features"]).reshape(2, 4, 16, 32)
    tokens, padding = tokens[:, :frames], jnp.zeros((2, frames), bool).at[0, 0].set(True)
    shared = encoder.shared_projections(tokens.reshape(2 * frames, 16, 32))
    assert shared.shape == (2 * frames, 16, 96)
    found = encoder.temporal(tokens, padding, kept, shared.reshape(2, frames, 16, 96))
    expected = encoder.temporal(tokens, padding, kept)
    error = np.abs(np.asarray(found) - np.asarray(expected)).max()
    print(f"shared projections: {error:.1e}")
    assert error <= TOLERANCE


def test_a_single_temporal_layer_shares_and_keeps_as_well(golden_dir: Path):
    encoder = _tiny(golden_dir, unroll=True)
    encoder.temporal_stack.depth = 1
    tokens = jnp.asarray(np.random.default_rng(1).standard_normal((1, 4, 16, 32)), jnp.float32)
    shared = encoder.shared_projections(tokens[0])[None]
    found = encoder.temporal(tokens, None, (1, 2), shared)
    np.testing.assert_allclose(found, encoder.temporal(tokens)[:, 1:2], atol=1e-5)


def test_separated_layers_compute_the_same(golden_dir: Path, cases: Cases):
    encoder, separated = _tiny(golden_dir), _tiny(golden_dir)
    separated.separate()
    video = jnp.asarray(cases["encoder/native/inputs"])
    np.testing.assert_allclose(separated(video)[0], encoder(video)[0], atol=TOLERANCE)
    leaves = jax.tree.leaves(nnx.state(separated.temporal_stack))
    assert len(leaves) == 2 * len(jax.tree.leaves(nnx.state(encoder.temporal_stack)))


@pytest.mark.parametrize("shared", [False, True])
def test_kept_frames_and_positions_of_a_backbone(golden_dir: Path, shared: bool):
    backbone = _tiny_backbone(golden_dir)
    frames = np.random.default_rng(6).integers(0, 256, (8, 24, 24, 3), np.uint8)
    features = jax.tree.map(
        lambda x: x.reshape(2, 4, *x.shape[1:]), backbone.spatial(frames, shared=shared)
    )
    assert isinstance(features, dict) is shared
    padding = np.array([[False, True, False, False], [False] * 4])
    plain = backbone.spatial(frames).reshape(2, 4, 16, 32)
    whole = np.asarray(backbone.temporal(plain, padding))
    some = backbone.temporal(features, padding, (2, 4), (3, 5, 15))
    np.testing.assert_allclose(some, whole[:, 2:4][:, :, [3, 5, 15]], atol=TOLERANCE)


def test_each_shape_is_compiled_once(golden_dir: Path):
    backbone = _tiny_backbone(golden_dir)
    frames = np.random.default_rng(6).integers(0, 256, (5, 24, 24, 3), np.uint8)

    def run() -> tuple[int, int]:
        for kept in (None, (1, 3)):
            features = jax.tree.map(lambda x: x[None], backbone.spatial(frames, shared=True))
            backbone.temporal(features, np.zeros((1, 5), bool), kept)
        return spatial_tokens._cache_size(), temporal_tokens._cache_size()  # type: ignore[attr-defined]

    before = run()
    frames += 1
    assert run() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "frames"), [("base", BASE, 16), ("base", BASE, 8), ("large", LARGE, 8)]
)
def test_full_size_equals_the_official_samples(
    cases: Cases, name: str, config: EncoderConfig, frames: int
):
    abstract = nnx.eval_shape(lambda: VideoPrismEncoder(config, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(abstract)
    parameters = seeded_parameters(encoder_layout(config))
    state, _ = fill_state(state, ENCODER_NAMES, parameters)
    video = np.random.default_rng(7).random((1, frames, 288, 288, 3), dtype=np.float32)
    run = jax.jit(lambda s, v: nnx.merge(graph, s)(v))
    embeddings, found = run(state, jnp.asarray(video))
    case = f"big/videoprism_public_v1_{name}_t{frames}"
    for values, kind in (
        (found["spatial_features"], "spatial_features"),
        (embeddings, "embeddings"),
    ):
        sample = np.asarray(values)[0, ::97, ::13]
        error = np.abs(sample - cases[f"{case}/{kind}_sub"])
        print(f"{case} {kind}: max abs error {error.max():.2e}, mean {error.mean():.2e}")
        assert error.max() <= FULL_SIZE_TOLERANCE
        assert error.mean() <= FULL_SIZE_TOLERANCE / 4


@pytest.mark.slow
def test_bfloat16_at_full_size_beside_float32():
    """Seeded Base with ordinary queries and keys.

    The oracle's are four times as large, so that errors of its users show; rounding shows, too.
    """
    frames = np.random.default_rng(7).integers(0, 256, (4, 288, 288, 3), np.uint8)
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def parameters(layout: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
        for key, values in seeded_parameters(layout):
            gain = 0.25 if "/query/w" in key or "/key/w" in key else 1.0
            yield key, values * np.float32(gain)

    for precision in ("float32", "bfloat16"):
        backbone = build_backbone("base", BASE, parameters, trained=False, precision=precision)
        spatial = backbone.spatial(frames)
        temporal = backbone.temporal(spatial[None], np.zeros((1, 4), bool))
        found[precision] = np.asarray(spatial), np.asarray(temporal)
    for step, exact, rounded in zip(("spatial", "temporal"), *found.values(), strict=True):
        cosines = cosine(exact, rounded)
        print(f"{step}: cosine at least {cosines.min():.6f}, median {np.median(cosines):.6f}")
        assert cosines.min() >= 0.9999
