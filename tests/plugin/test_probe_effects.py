"""Sliders and decisions: the scales can be read both ways, and a decision stays a sound one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("napari")

from ethoprism.prediction import Decision, Prediction, decide, predicted_bouts
from napari_ethoprism.probe_effects import (
    STEPS,
    effects,
    gap_of,
    low_of,
    position_of,
    threshold_at,
    with_low,
    with_min_bout,
    with_min_gap,
    with_threshold,
)

NAMES = ("walk", "groom")
DECISION = Decision({"walk": 0.5, "groom": 0.3}, {"walk": 4, "groom": 2}, low={"walk": 0.4})


@given(st.integers(0, STEPS))
def test_a_position_comes_back_from_its_threshold(position: int):
    assert position_of(threshold_at(position)) == position


@given(st.integers(0, STEPS - 1))
def test_further_right_calls_more(position: int):
    assert 0 < threshold_at(position + 1) < threshold_at(position) < 1


@pytest.mark.parametrize("threshold", [0.0, 1e-12, 1.0, 1.5])
def test_thresholds_beyond_the_scale_lie_at_its_ends(threshold: float):
    assert position_of(threshold) in (0, STEPS)


changes = st.lists(
    st.tuples(st.sampled_from(["threshold", "low", "bout", "gap"]), st.integers(0, STEPS)),
    max_size=12,
)


@given(changes)
def test_whatever_is_moved_the_decision_can_be_saved(moved: list[tuple[str, int]]):
    decision = DECISION
    for what, value in moved:
        if what == "threshold":
            decision = with_threshold(decision, "walk", threshold_at(value))
        elif what == "low":
            decision = with_low(decision, "walk", threshold_at(value))
        elif what == "bout":
            decision = with_min_bout(decision, "walk", max(value, 1))
        else:
            decision = with_min_gap(decision, "walk", value)
    decision.require_sound(NAMES)
    assert low_of(decision, "walk") <= decision.thresholds["walk"]
    assert decision.thresholds["groom"] == 0.3 and decision.min_bout["groom"] == 2
    assert Decision.from_dict(decision.to_dict()) == decision


def test_a_shorter_bout_leaves_the_gaps_as_they_were():
    assert gap_of(DECISION, "walk") == 4
    assert gap_of(with_min_bout(DECISION, "walk", 9), "walk") == 4


@given(st.integers(0, 2**32 - 1))
def test_effects_are_those_of_the_bouts_that_are_exported(seed: int):
    rng = np.random.default_rng(seed)
    predictions = []
    for number in range(2):
        p = np.repeat(rng.random((20, 2)), 3, axis=0).astype(np.float32)
        covered = rng.random(60) < 0.9
        predictions.append(Prediction(f"r{number}", "", NAMES, p, covered, "", "", ""))
    found = effects(predictions, DECISION)
    tables = [predicted_bouts(p, decide(p, DECISION)) for p in predictions]
    frames = sum(int(p.covered.sum()) for p in predictions)
    for name in NAMES:
        mine = [t.loc[t["behaviour"] == name] for t in tables]
        assert found[name].bouts == sum(map(len, mine))
        length = sum(int((t["stop_frame"] - t["start_frame"]).sum()) for t in mine)
        assert found[name].share == pytest.approx(length / frames)
