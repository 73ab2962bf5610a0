"""Matrix products whose gradients are as cheap as themselves.

On CPUs with bfloat16 instructions a product of bfloat16 operands with a float32 sum takes half of
the time of a float32 product or less. JAX derives gradients of such a product whose operands are
of two kinds, float32 and bfloat16, and XLA computes these in float32. So the gradients are written
out here: both are products of bfloat16 operands with float32 sums, on flattened operands.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "rows inputs"], w: Float[Array, "inputs outputs"], dtype: str = "bfloat16"
) -> Float[Array, "rows outputs"]:
    """``x @ w``: operands rounded to ``dtype``, summed in float32, here and in both gradients."""
    return _dot(x.astype(dtype), w.astype(dtype), 1, 0)


def _forward(x: Array, w: Array, dtype: str) -> tuple[Array, tuple[Array, Array]]:
    x, w = x.astype(dtype), w.astype(dtype)
    return _dot(x, w, 1, 0), (x, w)


def _backward(dtype: str, kept: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
    x, w = kept
    cotangent = cotangent.astype(dtype)
    return _dot(cotangent, w, 1, 1), _dot(x, cotangent, 0, 0)


product.defvjp(_forward, _backward)


def linear(x: Float[Array, "*rows inputs"], kernel: Array, bias: Array, dtype: str) -> Array:
    """``x @ kernel + bias`` over the last axis, float32."""
    flat: Array = product(x.reshape(-1, x.shape[-1]), kernel, dtype)  # type: ignore[assignment]
    return (flat + bias).reshape(*x.shape[:-1], kernel.shape[-1])


def _dot(a: Array, b: Array, a_axis: int, b_axis: int) -> Array:
    return lax.dot_general(
        a, b, (((a_axis,), (b_axis,)), ((), ())), preferred_element_type=jnp.float32
    )
