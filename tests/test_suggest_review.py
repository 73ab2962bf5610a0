"""Bouts to review: every reason is given where it holds, and nothing else is listed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.prediction import Decision, Prediction, decide
from ethoprism.suggest.review import (
    DISAGREES,
    NEAR_RARE,
    RARE,
    REVIEW_COLUMNS,
    UNCERTAIN,
    certainty,
    rarity,
    review_bouts,
)


def prediction_of(*columns: np.ndarray, covered: np.ndarray | None = None) -> Prediction:
    probability = np.stack(columns, axis=1).astype(np.float32)
    names = tuple("abcdef"[: len(columns)])
    everywhere = np.ones(len(probability), bool)
    return Prediction(
        "rec", "", names, probability, everywhere if covered is None else covered, "", "", ""
    )


def decision_of(prediction: Prediction, threshold: float = 0.5, min_bout: int = 1) -> Decision:
    names = prediction.behaviours
    return Decision(dict.fromkeys(names, threshold), dict.fromkeys(names, min_bout))


def unobserved(prediction: Prediction) -> np.ndarray:
    return np.full(prediction.probability.shape, UNOBSERVED, np.int8)


def spans(table) -> list[tuple[int, int, str]]:
    return list(zip(table["start_frame"], table["stop_frame"], table["reason"], strict=True))


def test_each_reason_is_given_where_it_holds():
    p = np.full(100, 0.001)
    p[10:20] = 0.52  # decided, near the threshold
    p[30:40] = 0.45  # just below it
    p[50:60] = 0.99  # people saw that it is absent
    p[90:95] = 0.999  # a sure call of a behaviour without a known bout
    prediction = prediction_of(p)
    states = unobserved(prediction)
    states[50:60] = ABSENT
    states[70:80] = PRESENT  # the probe does not call it
    table = review_bouts(prediction, decision_of(prediction), states, known_bouts={"a": 0})
    assert tuple(table.columns) == REVIEW_COLUMNS
    assert set(spans(table)) == {
        (10, 20, UNCERTAIN),
        (30, 40, UNCERTAIN),
        (50, 60, DISAGREES),
        (70, 80, DISAGREES),
        (90, 95, RARE),
    }
    assert table["score"].is_monotonic_decreasing
    assert table["mean_p"].between(0, 1).all()


def test_what_people_saw_and_the_probe_agrees_with_is_left_out():
    p = np.r_[np.full(20, 0.001), np.full(20, 0.9)]
    prediction = prediction_of(p)
    states = np.r_[np.full(20, ABSENT), np.full(20, PRESENT)].astype(np.int8)[:, None]
    assert review_bouts(prediction, decision_of(prediction), states).empty


def test_a_rare_behaviour_comes_before_a_common_one():
    p = np.full(60, 0.001)
    common, rare = p.copy(), p.copy()
    common[10:20] = rare[30:40] = 0.95
    prediction = prediction_of(common, rare)
    table = review_bouts(
        prediction,
        decision_of(prediction),
        unobserved(prediction),
        known_bouts={"a": 500, "b": 1},
    )
    assert list(table["behaviour"]) == ["b", "a"]
    assert table["reason"][0] == RARE


def test_nearness_to_a_known_rare_example_counts():
    p = np.full(60, 0.001)
    p[10:20] = p[30:40] = 0.7
    near = np.zeros(60)
    near[30:40] = 1.0
    prediction = prediction_of(p)
    table = review_bouts(
        prediction,
        decision_of(prediction),
        unobserved(prediction),
        known_bouts={"a": 1},
        similarity={"a": near},
    )
    assert spans(table)[0] == (30, 40, NEAR_RARE)


def test_frames_that_were_not_covered_are_never_listed():
    p = np.full(40, 0.6)
    covered = np.ones(40, bool)
    covered[15:25] = False
    prediction = prediction_of(p, covered=covered)
    table = review_bouts(prediction, decision_of(prediction), unobserved(prediction))
    assert [(a, b) for a, b, _ in spans(table)] == [(0, 15), (25, 40)]


def test_at_most_count_rows_and_a_table_without_any():
    p = np.tile([0.6, 0.001], 50)
    prediction = prediction_of(p)
    decision = decision_of(prediction)
    assert len(review_bouts(prediction, decision, unobserved(prediction), count=7)) == 7
    nothing = prediction_of(np.full(50, 0.001))
    table = review_bouts(nothing, decision_of(nothing), unobserved(nothing))
    assert table.empty
    assert tuple(table.columns) == REVIEW_COLUMNS


def test_states_of_another_shape_are_refused():
    prediction = prediction_of(np.full(10, 0.5))
    with pytest.raises(ValueError, match="shape"):
        review_bouts(prediction, decision_of(prediction), np.zeros((9, 1), np.int8))


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(1, 5),
    st.data(),
)
def test_candidates_lie_inside_and_agree_with_the_decision(values, threshold, min_bout, data):
    prediction = prediction_of(np.array(values))
    decision = decision_of(prediction, threshold, min_bout)
    states = np.array(
        data.draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=len(values), max_size=len(values)))
    ).astype(np.int8)[:, None]
    table = review_bouts(prediction, decision, states, count=1000)
    called = decide(prediction, decision)[:, 0]
    listed = np.zeros(len(values), int)
    for row in table.itertuples():
        part = slice(row.start_frame, row.stop_frame)
        listed[part] += 1
        if row.reason == DISAGREES:
            assert (called[part] != states[part, 0]).all()
            assert (states[part, 0] != UNOBSERVED).all()
        else:
            assert (states[part, 0] == UNOBSERVED).all()
    assert listed.max(initial=0) <= 1
    # Every call that nobody looked at, and every contradiction, is listed.
    assert (listed[(called == PRESENT) & (states[:, 0] != PRESENT)] == 1).all()
    assert (listed[(called == ABSENT) & (states[:, 0] == PRESENT)] == 1).all()


@given(st.floats(0, 1), st.floats(0, 1))
def test_certainty_has_the_sign_of_the_distance_to_the_threshold(p, threshold):
    (value,) = certainty(np.array([p]), threshold)
    assert -1 <= value <= 1
    if abs(p - threshold) > 1e-5:
        assert np.sign(value) == np.sign(p - threshold)


def test_rarity_falls_with_known_bouts():
    values = [rarity(n) for n in (0, 1, 5, 50)]
    assert values[0] == 1.0
    assert values == sorted(values, reverse=True)
    assert values[2] == pytest.approx(0.5)
