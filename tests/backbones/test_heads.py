"""The classifier head equals the official one: logits, losses, gradients and training steps."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from ethoprism.backbones.heads import AttentivePoolingHead
from ethoprism.backbones.weights import HEAD_NAMES, load_state, named_parameters

Cases = dict[str, np.ndarray]
LEARNING_RATE = 1e-3


@pytest.fixture
def head(golden_dir: Path) -> AttentivePoolingHead:
    abstract = nnx.eval_shape(lambda: AttentivePoolingHead(32, 5, heads=4, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(abstract)
    return nnx.merge(
        graph, load_state(golden_dir / "tiny_classifier_head.npz", state, HEAD_NAMES)[0]
    )


def test_pooled_vector_and_logits(head: AttentivePoolingHead, cases: Cases):
    tokens = jnp.asarray(cases["encoder/native/embeddings"])
    np.testing.assert_allclose(
        head.pooler(tokens), cases["classifier/global_embeddings"], atol=1e-4
    )
    np.testing.assert_allclose(head(tokens), cases["classifier/logits"], atol=1e-4)


def test_padded_frames_reach_the_encoder_only(head: AttentivePoolingHead, cases: Cases):
    tokens = jnp.asarray(cases["encoder/frame_paddings/embeddings"])
    np.testing.assert_allclose(head(tokens), cases["classifier/padded/logits"], atol=1e-4)


def _loss(kind: str, cases: Cases):
    def compute(head: AttentivePoolingHead) -> jax.Array:
        logits = head(jnp.asarray(cases["encoder/native/embeddings"]))
        if kind == "softmax_ce":
            labels = jnp.asarray(cases["classifier/labels"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return optax.sigmoid_binary_cross_entropy(
            logits, jnp.asarray(cases["classifier/multihot"])
        ).mean()

    return compute


@pytest.mark.parametrize("kind", ["softmax_ce", "sigmoid_bce"])
def test_three_steps_of_adam(head: AttentivePoolingHead, cases: Cases, kind: str):
    optimizer = nnx.Optimizer(head, optax.adam(LEARNING_RATE), wrt=nnx.Param)
    for _ in range(3):
        optimizer.update(head, nnx.grad(_loss(kind, cases))(head))
    for key, found in named_parameters(nnx.state(head), HEAD_NAMES).items():
        name = key.removeprefix("params/")
        if name.endswith("key/b"):
            continue  # its true gradient is 0: the steps are the sign of rounding errors
        error = np.abs(found - cases[f"classifier/{kind}/adam3/{name}"])
        # Adam divides a gradient by its own size: where it is all but 0, the last digit of a sum
        # decides about a part of the step of 1e-3.
        assert np.quantile(error, 0.95) <= 2e-5, key
        assert error.max() <= 3e-4, key


@pytest.mark.parametrize("kind", ["softmax_ce", "sigmoid_bce"])
def test_loss_and_gradients(head: AttentivePoolingHead, cases: Cases, kind: str):
    value, gradient = nnx.value_and_grad(_loss(kind, cases))(head)
    np.testing.assert_allclose(value, cases[f"classifier/{kind}/loss"], atol=1e-5)
    for key, found in named_parameters(nnx.state(gradient), HEAD_NAMES).items():
        expected = cases[f"classifier/{kind}/grad/{key.removeprefix('params/')}"]
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=key)


def test_tokens_that_are_left_out_do_not_matter(head: AttentivePoolingHead):
    tokens = np.random.default_rng(0).standard_normal((2, 6, 32)).astype(np.float32)
    padding = np.zeros((2, 6), bool)
    padding[:, 4:] = True
    masked = head(jnp.asarray(tokens), jnp.asarray(padding))
    np.testing.assert_allclose(masked, head(jnp.asarray(tokens[:, :4])), atol=1e-5)
    everything = head(jnp.asarray(tokens), jnp.ones((2, 6), bool))
    assert np.isfinite(everything).all()
