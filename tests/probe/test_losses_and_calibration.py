"""Losses weigh what they say; calibration makes probabilities honest and keeps their order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from ethoprism.metrics.calibration import bin_sums, calibration_error
from ethoprism.probe.calibration import Calibration, fit_calibration
from ethoprism.probe.losses import loss, outcome_weights
from ethoprism.probe.model import probabilities

GROUPS = ((0, 1),)
FOCAL = jax.jit(loss, static_argnums=(2, 4))


def _case(seed: int, n: int = 30) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    member = rng.integers(0, 3, n)
    states = np.stack([member == 1, member == 2, rng.random(n) < 0.2], axis=1).astype(np.int8)
    return logits, states


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0, 2.0]))
def test_the_focal_loss_is_the_cross_entropy_of_each_times_its_weight(seed: int, focus: float):
    logits, states = _case(seed)
    p = probabilities(logits, GROUPS).astype(np.float64)
    none = 1 - p[:, 0] - p[:, 1]
    outcome = np.where(states[:, 0] == 1, p[:, 0], np.where(states[:, 1] == 1, p[:, 1], none))
    single = np.where(states[:, 2] == 1, p[:, 2], 1 - p[:, 2])
    true = np.concatenate([outcome, single])
    expected = np.mean((1 - true) ** focus * -np.log(true))
    found = FOCAL(jnp.asarray(logits), jnp.asarray(states), GROUPS, None, focus)
    assert float(found) == pytest.approx(expected, rel=2e-3, abs=1e-5)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_balanced_outcomes_weigh_the_same_and_all_as_much_as_the_rows(seed: int):
    _, states = _case(seed, 60)
    single, group = (np.asarray(w) for w in outcome_weights(states, GROUPS))
    present = int((states[:, 2] == 1).sum())
    counts = np.array([60 - present, present])
    np.testing.assert_allclose((single[0] * counts)[counts > 0].sum(), 60, rtol=1e-5)
    if present:
        assert single[0, 1] * present == pytest.approx(single[0, 0] * (60 - present), rel=1e-5)
    members = np.array([(states[:, :2].sum(axis=1) == 0).sum(), *(states[:, :2] == 1).sum(axis=0)])
    np.testing.assert_allclose((group * members).sum(), 60, rtol=1e-5)


def test_weights_change_the_loss_of_what_they_weigh():
    logits, states = jnp.zeros((4, 1)), jnp.asarray([[1], [0], [0], [0]])
    weights = outcome_weights(np.asarray(states), ())
    assert float(loss(logits, states, (), weights)) == pytest.approx(np.log(2), rel=1e-5)
    sure = jnp.full((4, 1), -4.0)
    plain, weighted = (float(loss(sure, states, (), w)) for w in (None, weights))
    assert weighted > 1.5 * plain


def test_calibration_makes_probabilities_as_high_as_the_behaviours_are_frequent():
    rng = np.random.default_rng(0)
    honest = rng.normal(-1, 2, (4000, 1)).astype(np.float32)
    truth = rng.random((4000, 1)) < expit(honest)
    shouting = 4 * honest + 3  # far too sure, and for presence
    fitted, unseen = slice(0, 2000), slice(2000, 4000)
    found = fit_calibration(shouting[fitted], truth[fitted].astype(np.int8), ())
    assert found.scale[0] == pytest.approx(0.25, rel=0.15)
    before, after = (
        float(calibration_error(bin_sums(truth[unseen, 0], p[unseen, 0])))
        for p in (
            Calibration.none(1).probability(shouting, ()),
            found.probability(shouting, ()),
        )
    )
    assert after < 0.03 < before
    p = found.probability(shouting, ())[:, 0]
    assert (np.diff(p[np.argsort(shouting[:, 0])]) >= 0).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_calibrated_members_of_a_group_sum_to_at_most_one(seed: int):
    logits, states = _case(seed, 200)
    found = fit_calibration(logits, states, GROUPS)
    p = found.probability(logits, GROUPS)
    assert (p >= 0).all()
    assert (p[:, 0] + p[:, 1] <= 1 + 1e-5).all()
    assert (found.scale > 0).all()


def test_what_has_few_frames_is_left_as_it_is():
    logits, states = _case(0, 100)
    states[:, 2] = 0
    states[:5, 2] = 1
    found = fit_calibration(5 * logits, states, GROUPS)
    assert (found.scale[2], found.offset[2]) == (1, 0)
    assert found.scale[0] != 1
