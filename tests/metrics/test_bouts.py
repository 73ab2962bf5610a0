"""Bout scores equal plain definitions, and BANOS its own package, on random and on edge cases."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference import both_known, bout_sets, levenshtein, segment_counts, state_columns, stretches

from ethoprism.metrics import bouts

THRESHOLDS = (0.1, 0.25, 0.5, 1.0)


def of(column: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Bouts of a column of states where both columns are known."""
    return bouts.bouts_of(column == 1, (column != -1) & (other != -1))


@given(state_columns())
def test_bouts_are_cut_where_either_side_is_unknown(pair: tuple[np.ndarray, np.ndarray]):
    a, b = pair
    expected = [bout for part in bout_sets(a, both_known(a, b)) for bout in part]
    assert [set(range(start, stop)) for start, stop in of(a, b)] == expected


@given(state_columns())
def test_segment_hits_are_those_of_the_definition(pair: tuple[np.ndarray, np.ndarray]):
    truth, called = pair
    x, y = of(truth, called), of(called, truth)
    for threshold, hits in zip(THRESHOLDS, bouts.segment_hits(x, y, THRESHOLDS), strict=True):
        assert (hits, len(y) - hits, len(x) - hits) == segment_counts(truth, called, threshold)


@given(st.lists(st.integers(0, 3), max_size=12), st.lists(st.integers(0, 3), max_size=12))
def test_the_edit_distance_is_levenshteins(a: list[int], b: list[int]):
    assert bouts.edit_distance(a, b) == levenshtein(a, b)


@given(
    st.integers(0, 25).flatmap(
        lambda n: st.tuples(
            *(arrays(np.int8, (n, 3), elements=st.sampled_from([-1, 0, 1, 1])),) * 2
        )
    )
)
def test_edit_counts_compare_the_orders_of_bouts_stretch_by_stretch(
    pair: tuple[np.ndarray, np.ndarray],
):
    truth, called = pair
    known = (truth != -1) & (called != -1)
    everywhere = list(known.all(axis=1))
    distance = length = 0
    for k in range(len(stretches(everywhere))):
        orders = []
        for states in (truth, called):
            found = [
                (min(bout), max(bout), column)
                for column in range(3)
                for bout in bout_sets(states[:, column], everywhere)[k]
            ]
            orders.append([column for _, _, column in sorted(found)])
        distance += levenshtein(*orders)
        length += max(map(len, orders))
    assert bouts.edit_counts(truth == 1, called == 1, known) == (distance, length)


@given(state_columns())
def test_the_edit_distance_of_one_behaviour_is_the_difference_in_number(
    pair: tuple[np.ndarray, np.ndarray],
):
    a, b = pair
    known = both_known(a, b)
    counts = [
        (len(x), len(y)) for x, y in zip(bout_sets(a, known), bout_sets(b, known), strict=True)
    ]
    found = bouts.edit_counts(
        (a == 1)[:, None], (b == 1)[:, None], np.array(known, bool).reshape(-1, 1)
    )
    assert found == (sum(abs(x - y) for x, y in counts), sum(max(c) for c in counts))


def banos_package(truth: np.ndarray, called: np.ndarray, matching: str) -> dict[str, float]:
    banos = pytest.importorskip("banos")
    tables = (pd.DataFrame({"x": column.astype(int)}) for column in (called, truth))
    return banos.score(*tables, matching=matching)["x"]


def banos_of(truth: np.ndarray, called: np.ndarray) -> bouts.BanosSums:
    return bouts.banos_sums(of(truth, called), of(called, truth), called == 1)


@given(state_columns())
def test_banos_is_the_packages_where_all_is_observed(pair: tuple[np.ndarray, np.ndarray]):
    truth, called = ((column == 1).astype(np.int8) for column in pair)
    assume(truth.any())  # else the package gives 0 or 1, and there is nothing to score here
    sums, n_true, n_called = banos_of(truth, called), len(of(truth, called)), len(of(called, truth))
    for matching in ("greedy", "optimal"):
        theirs = banos_package(truth, called, matching)
        assert sums.matched / n_true == pytest.approx(theirs["recall"])
        if n_called:
            assert sums.matched / n_called == pytest.approx(theirs["precision"])
        if sums.matched:
            assert 2 * sums.matched / (n_true + n_called) == pytest.approx(theirs["f1_score"])
    for name, total, count in (
        ("so", sums.overlap, sums.pairs),
        ("tp", sums.timing, sums.pairs),
        ("ic", sums.continuity, sums.long_bouts),
    ):
        if count:
            assert total / count == pytest.approx(theirs[name])
        else:
            assert np.isnan(theirs[name])


@given(state_columns())
def test_banos_of_a_recording_with_gaps_is_that_of_its_stretches(
    pair: tuple[np.ndarray, np.ndarray],
):
    truth, called = pair
    whole = banos_of(truth, called)
    parts = [
        banos_of(truth[list(part)], called[list(part)])
        for part in stretches(both_known(truth, called))
    ]
    for name, value in vars(whole).items():
        assert value == pytest.approx(sum(vars(part)[name] for part in parts))


EDGES = {
    "empty": ("", "", (0, 0), (0, 0, 0)),
    "nothing there, nothing called": ("...", "...", (0, 0), (0, 0, 0)),
    "a single-frame bout, found": (".x.", ".x.", (1, 1), (1, 1, 1)),
    "a single-frame bout, a frame late": (".x..", "..x.", (1, 1), (0, 0, 0)),
    "bouts that touch are one": ("xxxx", "xxxx", (1, 1), (1, 1, 1)),
    "a bout that touches a true one": ("xx..", "..xx", (1, 1), (0, 0, 0)),
    "one called for two": ("xx.xx", "xxxxx", (2, 1), (1, 1, 0)),
    "two called for one": ("xxxxx", "xx.xx", (1, 2), (1, 1, 0)),
    "half of the two together": ("xx..", "xxxx", (1, 1), (1, 1, 1)),
    "unobserved inside a bout": ("xx?xx", "xxxxx", (2, 2), (2, 2, 2)),
    "unobserved at the end of a bout": ("xx??", "xxxx", (1, 1), (1, 1, 1)),
    "a call where nobody looked": ("????", ".xx.", (0, 0), (0, 0, 0)),
    "not predicted": (".xx.", "????", (0, 0), (0, 0, 0)),
}


def states(text: str) -> np.ndarray:
    return np.array([{"x": 1, ".": 0, "?": -1}[c] for c in text], np.int8)


@pytest.mark.parametrize("case", EDGES)
def test_edges(case: str):
    truth, called, counts, hits = EDGES[case]
    a, b = states(truth), states(called)
    x, y = of(a, b), of(b, a)
    assert (len(x), len(y)) == counts
    assert tuple(bouts.segment_hits(x, y, (0.1, 0.25, 0.5))) == hits


def test_latency_goes_from_the_start_of_each_stretch_by_the_frames_times():
    column = states("..x??.x.x?...?x")
    times = np.cumsum(np.linspace(0.1, 0.5, len(column)))
    known = column != -1
    found = bouts.latencies(bouts.bouts_of(column == 1, known), known, times)
    expected = [times[2] - times[0], times[6] - times[5], np.nan, 0.0]
    assert np.allclose(found, expected, equal_nan=True)


def test_latency_is_undefined_without_bouts():
    known = np.array([True, True, False, True])
    none = np.zeros((0, 2), np.int64)
    assert np.isnan(bouts.latencies(none, known, np.arange(4.0))).tolist() == [True, True]
    assert len(bouts.latencies(none, np.zeros(3, bool), np.arange(3.0))) == 0
