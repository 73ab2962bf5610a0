"""Agreement equals scikit-learn's kappa and the definitions of alpha."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import alpha, both_known, kappa, state_columns
from sklearn.metrics import cohen_kappa_score

from ethoprism.metrics import agreement
from ethoprism.metrics.summary import IOU


@given(state_columns())
def test_kappa_is_cohens(pair: tuple[np.ndarray, np.ndarray]):
    a, b = pair
    known = np.array(both_known(a, b), bool)
    value = float(agreement.cohen_kappa(agreement.pair_counts(a, b)))
    x, y = a[known].tolist(), b[known].tolist()
    assert value == pytest.approx(kappa(x, y), nan_ok=True)
    if len(set(x) | set(y)) == 2:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns where it is undefined
            assert value == pytest.approx(cohen_kappa_score(x, y), nan_ok=True)


@given(
    st.tuples(st.integers(2, 4), st.integers(0, 20)).flatmap(
        lambda shape: arrays(np.int8, shape, elements=st.sampled_from([-1, 0, 1]))
    )
)
def test_alpha_is_krippendorffs_with_gaps(states: np.ndarray):
    value = float(agreement.krippendorff_alpha(agreement.alpha_sums(states)))
    assert value == pytest.approx(alpha(states), nan_ok=True)


def test_alpha_of_a_published_example():
    # Krippendorff 2011, section A: binary data, two observers, no missing data.
    states = np.array([[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]], np.int8)
    value = agreement.krippendorff_alpha(agreement.alpha_sums(states))
    assert float(value) == pytest.approx(0.095, abs=5e-4)


@given(state_columns())
def test_agreement_has_no_side(pair: tuple[np.ndarray, np.ndarray]):
    def scores(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        n_a, n_b, ab, ba = agreement.bout_counts(a, b, IOU)
        return agreement.bout_agreement(np.array(n_a), np.array(n_b), np.array(ab), np.array(ba))

    assert np.allclose(scores(*pair), scores(*pair[::-1]), equal_nan=True)
    kappas = [agreement.cohen_kappa(agreement.pair_counts(*p)) for p in (pair, pair[::-1])]
    assert np.isclose(kappas[0], kappas[1], equal_nan=True)


def labels_of(n_recordings: int, flips: float) -> agreement.Labels:
    rng = np.random.default_rng(1)
    labels = {}
    for i in range(n_recordings):
        ann = np.repeat(rng.random((20, 2)) < 0.4, 10, axis=0).astype(np.int8)
        bob = np.where(rng.random(ann.shape) < flips, 1 - ann, ann).astype(np.int8)
        bob[:50] = -1
        labels[f"r{i}", ""] = {"ann": ann, "bob": bob, agreement.PROBE: ann}
    return labels


def test_the_probe_is_compared_with_each_annotator_beside_them():
    table = agreement.annotator_agreement(labels_of(6, 0.1), ["a", "b"], n_resamples=200)
    assert list(dict.fromkeys(table["annotators"])) == [
        "the probe, ann",
        "the probe, bob",
        "ann, bob",
    ]
    rows: Any = table.set_index(["annotators", "behaviour"])
    assert (rows.loc["the probe, ann", "kappa"] == 1).all()
    assert (rows["frames"] == [1200, 1200, 900, 900, 900, 900]).all()
    people = rows.loc["ann, bob"]
    assert people["kappa"].between(people["kappa_low"], people["kappa_high"]).all()
    assert (people["kappa_high"] < 1).all()


def test_few_recordings_have_no_interval_and_three_annotators_have_a_common_alpha():
    labels = {key: {**found, "cleo": found["ann"]} for key, found in labels_of(2, 0.0).items()}
    table = agreement.annotator_agreement(labels, ["a", "b"], n_resamples=50)
    assert table["kappa_low"].isna().all()
    together = table[table["annotators"] == agreement.ALL]
    assert list(together["behaviour"]) == ["a", "b"]
    assert together["alpha"].tolist() == [1.0, 1.0]
