"""The student computes what the encoder does, from visible patches only."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from pretrain_samples import TINY, parameters

from ethoprism.backbones.encoder import VideoPrismEncoder
from ethoprism.backbones.weights import ENCODER_NAMES, fill_state
from ethoprism.pretrain.masking import visible_patches
from ethoprism.pretrain.products import product
from ethoprism.pretrain.student import encode


@pytest.fixture(scope="module")
def video() -> np.ndarray:
    return np.random.default_rng(1).random((2, 4, 24, 24, 3), np.float32)


def test_all_patches_visible_gives_the_tokens_of_the_encoder(video):
    named = parameters()
    graph, abstract = nnx.split(VideoPrismEncoder(TINY, rngs=nnx.Rngs(0)))
    state, _ = fill_state(abstract, ENCODER_NAMES, named.items())
    expected, _ = nnx.merge(graph, state)(jnp.asarray(video))
    named = {k: jnp.asarray(v) for k, v in named.items()}
    found = encode(named, TINY, jnp.asarray(video))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=2e-5)
    half = encode(named, TINY, jnp.asarray(video), dtype="bfloat16")
    assert not np.array_equal(half, found)
    cosine = np.sum(half * found, -1) / np.linalg.norm(half, axis=-1)
    assert np.all(cosine / np.linalg.norm(found, axis=-1) > 0.999)


def test_hidden_patches_have_no_influence(video):
    named = {k: jnp.asarray(v) for k, v in parameters().items()}
    visible = jnp.asarray([[0, 3, 9], [1, 2, 15]], jnp.int32)
    found = encode(named, TINY, jnp.asarray(video), visible)
    assert found.shape == (2, 4, 3, 32)
    other = video.copy()
    other[0, :, 0:6, 6:12] = 0.0  # patch 1, which the first clip does not show
    np.testing.assert_array_equal(encode(named, TINY, jnp.asarray(other), visible), found)
    other[1, :, 0:6, 6:12] = 0.0  # the second one does
    assert not np.array_equal(encode(named, TINY, jnp.asarray(other), visible)[1], found[1])


def test_products_have_the_gradients_of_a_product():
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(s), jnp.float32) for s in ((7, 5), (5, 3)))
    plain = jax.grad(lambda x, w: jnp.sum(jnp.sin(x @ w)), (0, 1))(x, w)
    for dtype, tolerance in (("float32", 1e-5), ("bfloat16", 0.06)):
        found = jax.grad(lambda x, w, d=dtype: jnp.sum(jnp.sin(product(x, w, d))), (0, 1))(x, w)
        for a, b in zip(found, plain, strict=True):
            assert a.dtype == jnp.float32
            np.testing.assert_allclose(a, b, atol=tolerance)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8), st.data())
def test_masks_keep_exactly_so_many_patches(seed, grid, data):
    kept = data.draw(st.integers(1, grid * grid))
    found = visible_patches(np.random.default_rng(seed), 5, grid, kept)
    assert found.shape == (5, kept)
    assert found.min() >= 0
    assert found.max() < grid * grid
    assert np.all(np.diff(found, axis=1) > 0)


def test_both_kinds_of_masks_are_drawn():
    """Blocks leave fewer borders between seen and hidden than single tubes do."""

    def borders(row):
        seen = np.isin(np.arange(64), row).reshape(8, 8)
        return np.sum(seen[1:] != seen[:-1]) + np.sum(seen[:, 1:] != seen[:, :-1])

    found = visible_patches(np.random.default_rng(0), 200, 8, 22)
    counts = np.sort([borders(row) for row in found])
    assert counts[:80].mean() < 35  # of 112
    assert counts[-80:].mean() > 45
