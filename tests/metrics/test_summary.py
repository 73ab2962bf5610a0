"""The table of all scores: sums that add up, intervals that are drawn right, support beside."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import state_columns

from ethoprism import evaluate
from ethoprism.metrics import bootstrap, summary
from ethoprism.metrics.summary import Pairing, frame_seconds, metrics_of, score, sums_of


def pairing(truth: np.ndarray, called: np.ndarray, name: str = "r", subject: str = "") -> Pairing:
    probability = np.where(called == 1, 0.8, 0.2).astype(np.float32)
    times = np.arange(len(truth)) / 10
    return Pairing(name, subject, truth, called, probability, times, frame_seconds(times))


def noisy(name: str, n: int = 300, seed: int = 0, subject: str = "") -> Pairing:
    rng = np.random.default_rng(seed)
    truth = np.repeat(rng.random((n // 10, 2)) < 0.3, 10, axis=0).astype(np.int8)
    called = np.where(rng.random(truth.shape) < 0.1, 1 - truth, truth).astype(np.int8)
    return pairing(truth, called, name, subject)


@settings(max_examples=60)
@given(state_columns())
def test_frame_scores_are_those_of_the_probes_own_table(pair: tuple[np.ndarray, np.ndarray]):
    p = pairing(pair[0][:, None], pair[1][:, None])
    old: Any = evaluate.frame_scores(p.truth, p.called, p.probability, ["x"]).loc["x"]
    new: Any = score([p], ["x"], n_resamples=2).table.loc["x"]
    for name in ("frames", "present", "bouts"):
        assert new[name] == old[name]
    names = ["recall", "f1", "chance_f1", "average_precision"]
    if new["called"]:  # without a call precision is not defined, and the older table has 0
        names.append("precision")
    if new["present"]:
        for name in names:
            assert new[name] == pytest.approx(old[name]), name
    else:
        assert np.isnan([new[n] for n in ("recall", "f1", "chance_f1", "average_precision")]).all()


@settings(max_examples=60)
@given(state_columns(), state_columns())
def test_sums_add_up_over_a_gap(first: tuple, second: tuple):
    gap = np.full(1, -1, np.int8)
    parts = [pairing(pair[0][:, None], pair[1][:, None]) for pair in (first, second)]
    truth, called = (
        np.concatenate([a, gap, b])[:, None] for a, b in zip(first, second, strict=True)
    )
    joined = pairing(truth, called)
    whole, each = sums_of(joined), [sums_of(p) for p in parts]
    for name, value in whole.items():
        if not name.endswith("_s") and name != "seconds":  # the last frame's length is a guess
            assert np.allclose(value, each[0][name] + each[1][name]), name


def test_a_perfect_prediction_has_the_best_of_all_scores():
    truth = noisy("r").truth
    p = pairing(truth, truth)
    row: Any = score([p], ["a", "b"], n_resamples=10).table.loc["a"]
    ones = ("precision", "recall", "f1", "average_precision", *summary.IOU_NAMES, "edit")
    banos = ("detection", "overlap", "timing", "continuity")
    for name in (*ones, *(f"banos_{part}" for part in banos)):
        assert row[name] == 1, name
    for name in ("bout_count_error", "latency_error_s", "time_share_error"):
        assert row[name] == 0, name
    assert row["calibration_error"] == pytest.approx(0.2)


def test_what_is_undefined_is_nan_and_its_support_is_beside_it():
    truth = np.zeros((50, 2), np.int8)
    truth[:, 1] = -1
    called = truth.clip(0)
    called[10:20, 0] = 1
    table: Any = score([pairing(truth, called)], ["never", "unobserved"], n_resamples=10).table
    never, unobserved = table.loc["never"], table.loc["unobserved"]
    assert (never["frames"], never["present"], never["called"]) == (50, 0, 10)
    assert never["precision"] == 0  # all of what was called is wrong
    assert (
        never[["recall", "f1", "average_precision", "segment_f1_50", "edit"]].tolist()[:4]
        == [pytest.approx(np.nan, nan_ok=True)] * 4
    )
    assert never["time_share_error"] == pytest.approx(0.2)
    assert unobserved["frames"] == 0
    undefined = [c for c in summary.COLUMNS if c != "bout_count_error"]
    assert unobserved[undefined].isna().all()


def test_the_time_share_goes_by_the_frames_own_durations():
    times = np.array([0.0, 1.0, 2.0, 12.0])
    assert frame_seconds(times).tolist() == [1, 1, 10, 1]
    truth, called = (np.array([c], np.int8).T for c in ([0, 0, 1, 0], [0, 1, 1, -1]))
    p = Pairing("r", "", truth, called, called * 0.5, times, frame_seconds(times))
    row: Any = score([p], ["x"], n_resamples=2).table.loc["x"]
    assert row["seconds"] == 12
    assert row["time_share"] == pytest.approx(10 / 12)
    assert row["time_share_error"] == pytest.approx(1 / 12)
    assert row["latency_bias_s"] == -1


def test_recordings_are_drawn_whole_and_subjects_of_one_together():
    many = [noisy(f"r{i}", seed=i, subject=s) for i in range(6) for s in ("f", "m")]
    scores: Any = score(many, ["a", "b"], n_resamples=400)
    assert scores.drawn == "6 recordings"
    each = [sum(sums_of(p)["hits"] for p in many[i : i + 2]) for i in range(0, 12, 2)]
    called = [sum(sums_of(p)["called"] for p in many[i : i + 2]) for i in range(0, 12, 2)]
    rng = np.random.default_rng(5)
    drawn = rng.integers(0, 6, (20000, 6))
    values = np.array(each)[drawn].sum(axis=1) / np.array(called)[drawn].sum(axis=1)
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    width = high - low
    assert np.allclose(scores.table["precision_low"], low, atol=0.2 * width.max())
    assert np.allclose(scores.table["precision_high"], high, atol=0.2 * width.max())


def test_few_recordings_are_drawn_in_blocks_and_the_result_says_so():
    scores: Any = score([noisy("r", 1000)], ["a", "b"], n_resamples=200)
    assert scores.drawn == "20 blocks of up to 50 scored frames"
    for name in summary.WITH_INTERVAL:
        low, high = scores.table[f"{name}_low"], scores.table[f"{name}_high"]
        if name in summary.IOU_NAMES:  # an edge of a block would cut bouts
            assert low.isna().all(), name
        else:
            assert (low <= scores.table[name]).all(), name
            assert (scores.table[name] <= high).all(), name
    assert scores.overall["mean_average_precision_low"] < scores.overall["mean_average_precision"]


def test_the_same_seed_gives_the_same_intervals():
    tables = [score([noisy("r")], ["a", "b"], n_resamples=50, seed=s).table for s in (1, 1, 2)]
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_intervals_agree_with_scipys_percentile_bootstrap():
    rng = np.random.default_rng(0)
    hits, called = rng.integers(5, 50, 12), rng.integers(50, 100, 12)
    stacked = {"hits": hits[:, None], "called": called[:, None]}
    drawn = bootstrap.resample(stacked, bootstrap.draw(12, 20000, 0))
    low, high = bootstrap.interval(drawn["hits"] / drawn["called"])
    theirs = scipy.stats.bootstrap(
        (hits, called),
        lambda a, b, axis: a.sum(axis=axis) / b.sum(axis=axis),
        paired=True,
        n_resamples=20000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert low[0] == pytest.approx(theirs.low, abs=0.01)
    assert high[0] == pytest.approx(theirs.high, abs=0.01)


@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 99))
def test_each_resample_draws_as_many_units_as_there_are(n_units: int, n: int, seed: int):
    weights = bootstrap.draw(n_units, n, seed)
    assert weights.shape == (n, n_units)
    assert (weights.sum(axis=1) == n_units).all()


def test_an_interval_needs_most_resamples_to_be_defined():
    values = np.full((100, 2), np.nan)
    values[:51, 0] = np.arange(51)
    values[:50, 1] = 1
    low, high = bootstrap.interval(values, 0.9)
    assert (low[0], high[0]) == (pytest.approx(2.5), pytest.approx(47.5))
    assert np.isnan([low[1], high[1]]).all()


def test_sums_may_have_any_leading_dimensions():
    each = [sums_of(noisy("r", seed=i)) for i in range(3)]
    stacked = {name: np.stack([s[name] for s in each]) for name in each[0]}
    together = metrics_of(stacked)
    for i, sums in enumerate(each):
        for name, value in metrics_of(sums).items():
            assert np.allclose(together[name][i], value, equal_nan=True), name


def test_nothing_scored_gives_an_empty_table_of_nan():
    nothing = np.full((5, 1), -1, np.int8)
    scores: Any = score([pairing(nothing, nothing)], ["x"], n_resamples=5)
    assert scores.drawn == "nothing: no frame is scored"
    assert scores.table.loc["x", "frames"] == 0
    assert np.isnan(scores.overall["mean_average_precision"])
