"""Heads: the attentive one is the paper's, and none depends on more rows than it says."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from ethoprism.backbones.heads import AttentivePoolingHead
from ethoprism.probe.descriptors import PARTS, STILL_PARTS, describe
from ethoprism.probe.fitting import ROWS, RowLogits
from ethoprism.probe.heads import HEADS, AttentiveHead, dilations
from ethoprism.probe.model import ProbeNetwork, ProbeShape, fitting_context

ROWS_IN, TOKENS, WIDTH, CONTEXT = 11, 3, 8, 2


def _tokens(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    valid = np.ones((1, ROWS_IN), bool)
    valid[0, 4] = False
    return rng.standard_normal((1, ROWS_IN, TOKENS, WIDTH)).astype(np.float32), valid


def test_rows_pooled_once_give_what_whole_windows_give():
    """Logits and gradients are those of the classifier on every window's tokens."""
    head = AttentiveHead(WIDTH, 2, heads=2, rngs=nnx.Rngs(0))
    head.pooler.key.b[...] = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4)))
    head.pooler.value.b[...] = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4)))
    x, valid = map(jnp.asarray, _tokens())
    around = np.arange(ROWS_IN - 2 * CONTEXT)[:, None] + np.arange(2 * CONTEXT + 1)

    def whole(head: AttentivePoolingHead) -> jax.Array:
        windows = x[0][around].reshape(len(around), -1, WIDTH)
        return AttentivePoolingHead.__call__(head, windows, jnp.repeat(~valid[0][around], 3, 1))

    def once(head: AttentiveHead) -> jax.Array:
        return head.windows(x, valid, CONTEXT)[0]

    np.testing.assert_allclose(once(head), whole(head), atol=2e-5)
    slopes = [
        jax.tree.leaves(nnx.grad(lambda h, f=f: jnp.sum(jnp.square(f(h))))(head))
        for f in (once, whole)
    ]
    for a, b in zip(*slopes, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("head", HEADS)
def test_logits_depend_on_the_rows_of_the_context_and_on_no_other(head: str):
    context = fitting_context(head, 3)
    shape = ProbeShape(WIDTH, 2, context, head=head)
    network = ProbeNetwork(shape, rngs=nnx.Rngs(0))
    if head == "linear":
        network.head.kernel[...] = jnp.ones_like(network.head.kernel[...])  # type: ignore[union-attr]
    rng = np.random.default_rng(0)
    n = 2 * context + 12
    tokens = rng.standard_normal((n, TOKENS, WIDTH)).astype(np.float16)
    valid = np.ones(n, bool)

    def logits(tokens: np.ndarray) -> np.ndarray:
        seen = tokens if shape.on_tokens else describe(tokens, valid)
        return RowLogits(network)(seen, valid)

    before = logits(tokens)
    assert len(before) == n - 2 * context - 1 <= ROWS
    row = 5  # of the logits; row + context + 1 of the tokens
    changed = tokens.copy()
    changed[:row] += 1
    changed[row + 2 * context + 2 :] += 1
    np.testing.assert_allclose(logits(changed)[row], before[row], atol=1e-5)
    for place in (row + 1, row + 2 * context + 1):
        other = tokens.copy()
        other[place] += 1
        assert np.abs(logits(other)[row] - before[row]).max() > 1e-4


@settings(max_examples=20)
@given(st.integers(1, 200))
def test_dilations_double_and_stay_within_the_context(context: int):
    found = dilations(context)
    assert found == tuple(2**i for i in range(len(found)))
    assert sum(found) <= context < sum(found) + 2 * found[-1]


def test_descriptors_are_what_they_say():
    tokens, valid = _tokens(3)
    x, ok = tokens[0].astype(np.float16), valid[0]
    found = describe(x, ok).reshape(ROWS_IN, PARTS, WIDTH)
    y = x.astype(np.float32)
    np.testing.assert_allclose(found[:, 0], y.mean(1), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], y.std(1), atol=1e-5)
    np.testing.assert_array_equal(found[:, 2], y.max(1))
    change = np.abs(np.diff(y, axis=0))
    np.testing.assert_allclose(found[1:4, 3], change[:3].mean(1), atol=1e-5)
    np.testing.assert_array_equal(found[6:, 4], change[5:].max(1))
    assert (found[[0, 4, 5], 3:] == 0).all()  # nothing before them, or one side is not valid
    still = describe(x, ok, motion=False)
    np.testing.assert_array_equal(still, found[:, :STILL_PARTS].reshape(ROWS_IN, -1))


def test_an_older_shape_is_written_as_it_was():
    old = ProbeShape(8, 2, 1)
    assert old.to_dict() == {"width": 8, "behaviours": 2, "context": 1, "motion": True}
    assert ProbeShape(**replace(old, head="linear").to_dict()).head == "linear"
    with pytest.raises(ValueError, match="no head"):
        ProbeShape(8, 2, 1, head="huge")
