"""What to label next: windows, distances, and the choice among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.suggest.choose import UNLIKE, Evidence, choose, nearest
from ethoprism.suggest.evidence import similarity_to_examples, window_evidence
from ethoprism.suggest.review import NEAR_RARE, RARE, UNCERTAIN
from ethoprism.suggest.windows import cut_windows, flatten, window_means


def evidence_of(vectors, labelled=None, **given) -> Evidence:
    vectors = np.asarray(vectors, np.float32)
    n = len(vectors)
    k = next((np.asarray(v).shape[1] for v in given.values() if np.ndim(v) == 2), 0)
    zero = np.zeros((n, k))
    known = given.pop("known_bouts", np.zeros(k, np.int64))
    labelled = np.zeros((0, vectors.shape[1])) if labelled is None else np.asarray(labelled)
    values = {"unsure": zero, "likely": zero, "split": zero, "similarity": zero, **given}
    values = {name: np.asarray(v, np.float64) for name, v in values.items()}
    return Evidence(vectors, labelled.astype(np.float32), known_bouts=known, **values)


@given(st.lists(st.booleans(), max_size=200), st.integers(1, 30))
def test_windows_lie_in_wanted_frames_and_miss_only_short_runs(wanted, length):
    mask = np.array(wanted, bool)
    windows = cut_windows(mask, length)
    inside = np.zeros(len(mask), int)
    for start, stop in windows.tolist():
        assert 0 < stop - start <= length
        inside[start:stop] += 1
    assert inside.max(initial=0) <= 1
    assert (mask[inside > 0]).all()
    missed = np.concatenate([[False], mask & (inside == 0), [False]])
    edges = np.flatnonzero(missed[1:] != missed[:-1]).reshape(-1, 2)
    assert (4 * np.diff(edges, axis=1) < length).all()


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 5), st.data())
def test_window_means_are_those_of_the_finite_rows(n_rows, step, seed, data):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n_rows, 3)).astype(np.float32)
    rows[rng.random(n_rows) < 0.3] = np.nan
    start = data.draw(st.integers(0, n_rows * step - 1))
    stop = data.draw(st.integers(start + 1, n_rows * step))
    (mean,) = window_means(rows, np.array([[start, stop]]), step)
    part = rows[start // step : max(-(-stop // step), start // step + 1)]
    known = part[np.isfinite(part[:, 0])]
    if len(known):
        assert np.allclose(mean, known.mean(axis=0), atol=1e-5)
    else:
        assert np.isnan(mean).all()


def test_flattened_vectors_are_centred_and_unknown_ones_lie_in_the_centre():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6)).astype(np.float32) * [1, 10, 1, 1, 1, 0.1] + 7
    x = x.astype(np.float32)
    x[3] = np.nan
    flat = flatten(x, 6)
    assert (flat[3] == 0).all()
    assert np.allclose(np.delete(flat, 3, axis=0).mean(axis=0), 0, atol=1e-4)
    assert flat.shape == (50, 6)
    # Distances do not depend on a feature's unit.
    again = flatten(x * np.array([5, 1, 1, 1, 1, 1], np.float32), 6)
    assert np.allclose(nearest(flat[:5], flat[10:]), nearest(again[:5], again[10:]), atol=1e-3)


@given(st.integers(1, 12), st.integers(0, 12), st.integers(0, 3))
def test_nearest_is_the_least_distance(n, m, seed):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, 3)).astype(np.float32)
    b = rng.standard_normal((m, 3)).astype(np.float32)
    found = nearest(a, b)
    if m == 0:
        assert np.isinf(found).all()
    else:
        expected = np.linalg.norm(a[:, None].astype(float) - b[None], axis=2).min(axis=1)
        assert np.allclose(found, expected, atol=1e-5)


def test_without_a_probe_the_choice_spreads_over_what_there_is():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20], [20, 20]])
    group = np.repeat(np.arange(4), [100, 100, 100, 3])  # the last is rare
    chosen = choose(evidence_of(centres[group] + rng.standard_normal((303, 2))), 4, seed=0)
    assert set(group[chosen.index]) == {0, 1, 2, 3}
    assert set(chosen.reason) == {UNLIKE}
    assert (chosen.behaviour == -1).all()


def test_what_is_like_the_labelled_comes_last():
    chosen = choose(evidence_of([[0.1], [5.0], [0.2]], labelled=[[0.0]]), 3, seed=0)
    assert chosen.index[0] == 1
    assert sorted(chosen.index.tolist()) == [0, 1, 2]


def test_a_probe_that_is_unsure_decides():
    unsure = np.zeros((4, 2))
    unsure[2, 1] = 0.9
    chosen = choose(
        evidence_of(np.ones((4, 1)), labelled=[[0.0]], unsure=unsure, known_bouts=np.array([9, 9])),
        1,
    )
    assert chosen.index[0] == 2
    assert chosen.reason == (UNCERTAIN,)
    assert chosen.behaviour[0] == 1


def test_calls_of_a_rare_behaviour_come_before_those_of_a_common_one():
    likely = np.array([[0.9, 0.0], [0.0, 0.9], [0.0, 0.0]])
    chosen = choose(
        evidence_of(
            np.ones((3, 1)), labelled=[[0.0]], likely=likely, known_bouts=np.array([200, 0])
        ),
        2,
    )
    assert chosen.index[0] == 1
    assert chosen.reason[0] == RARE


def test_nearness_to_a_known_rare_example_is_a_reason():
    vectors = np.array([[0.0, 0.0], [5.0, 5.0], [0.3, 0.0]], np.float32)
    labelled = np.array([[0.1, 0.0], [9.0, 9.0]], np.float32)
    near = similarity_to_examples(
        vectors, labelled, np.array([[True], [False]]), np.array([1], np.int64)
    )
    assert near[0, 0] > near[1, 0]
    assert near.min() >= 0
    assert near.max() <= 1
    chosen = choose(
        evidence_of(vectors, labelled=labelled, similarity=near, known_bouts=np.array([1])), 3
    )
    assert chosen.index[0] in (0, 2)
    assert chosen.reason[0] == NEAR_RARE
    common = similarity_to_examples(vectors, labelled, np.array([[True], [False]]), np.array([99]))
    assert (common == 0).all()


def test_window_evidence_is_highest_on_the_threshold():
    names = ("a",)
    on, off = (window_evidence(np.full((20, 1), p), {"a": 0.3}, names)[0] for p in (0.3, 0.9))
    assert on[0] == pytest.approx(1)
    assert off[0] < 0.5
    _, likely = window_evidence(
        np.r_[np.full((15, 1), 0.1), np.full((5, 1), 0.9)], {"a": 0.3}, names
    )
    assert likely[0] > 0.1


@given(st.integers(0, 12), st.integers(1, 20), st.integers(0, 4), st.booleans())
def test_each_window_is_chosen_once_and_scores_are_shares(n, count, seed, with_probe):
    rng = np.random.default_rng(seed)
    k = 2 if with_probe else 0
    shape = (n, k)
    evidence = Evidence(
        rng.standard_normal((n, 3)).astype(np.float32),
        rng.standard_normal((2, 3)).astype(np.float32),
        rng.random(shape),
        rng.random(shape),
        rng.random(shape),
        rng.random(shape),
        np.arange(k),
    )
    chosen = choose(evidence, count, seed=seed)
    assert len(chosen.index) == min(n, count)
    assert len(set(chosen.index.tolist())) == len(chosen.index)
    assert ((chosen.score >= 0) & (chosen.score <= 1)).all()
    again = choose(evidence, count, seed=seed)
    assert (again.index == chosen.index).all()
