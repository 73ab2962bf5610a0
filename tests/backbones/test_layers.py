"""The encoder's parts equal the official ones, number by number."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from ethoprism.backbones.layers import (
    LayerNorm,
    gelu,
    image_to_patches,
    per_dim_scale,
    resize_positions,
)

Cases = dict[str, np.ndarray]


def test_gelu_is_the_exact_one(cases: Cases):
    np.testing.assert_allclose(
        gelu(jnp.asarray(cases["unit/gelu/x"])), cases["unit/gelu/y"], atol=1e-6
    )


def test_layer_norm_multiplies_by_one_plus_scale(cases: Cases):
    x = cases["unit/layernorm/x"]
    norm = LayerNorm(x.shape[-1])
    plain = np.asarray(norm(jnp.asarray(x)))
    centred = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(plain, centred, atol=1e-5)
    norm.scale[...] = jnp.full(x.shape[-1], 0.5)
    np.testing.assert_allclose(norm(jnp.asarray(x)), 1.5 * centred, atol=1e-5)


def test_the_per_dimension_scale_is_the_released_one(cases: Cases):
    x, p = jnp.asarray(cases["unit/per_dim_scale/x"]), jnp.asarray(cases["unit/per_dim_scale/p"])
    np.testing.assert_allclose(per_dim_scale(x, p), cases["unit/per_dim_scale/y"], atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 8, 15, 16, 24, 33])
def test_positions_are_interpolated_in_time_as_in_the_release(cases: Cases, size: int):
    embedding = jnp.asarray(cases["unit/interp/emb"][0])
    expected = cases[f"unit/interp/1d_16_to_{size}"][0]
    np.testing.assert_allclose(resize_positions(embedding, (size,)), expected, atol=1e-5)


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 3), (6, 6), (5, 7)])
def test_positions_are_interpolated_in_space_as_in_the_release(
    cases: Cases, rows: int, columns: int
):
    embedding = jnp.asarray(cases["unit/interp/emb"][0]).reshape(4, 4, 3)
    expected = cases[f"unit/interp/2d_4x4_to_{rows}x{columns}"][0]
    found = resize_positions(embedding, (rows, columns)).reshape(rows * columns, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_patches_are_row_by_row_and_flattened_row_column_channel(cases: Cases):
    found = image_to_patches(jnp.asarray(cases["unit/patch/image"]), 2)
    np.testing.assert_array_equal(found, cases["unit/patch/patches_p2"])
    with pytest.raises(ValueError, match="multiples of 4"):
        image_to_patches(jnp.zeros((1, 6, 8, 3)), 4)


def test_a_stack_unrolled_equals_the_scanned_one():
    from ethoprism.backbones.encoder import TINY, VideoPrismEncoder

    video = jnp.asarray(np.random.default_rng(0).random((1, 4, 24, 24, 3)), jnp.float32)
    outputs = [
        VideoPrismEncoder(TINY, rngs=nnx.Rngs(0), unroll=unroll)(video)[0]
        for unroll in (False, True)
    ]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
