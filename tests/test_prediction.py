"""From probabilities to bouts: thresholds, exclusive groups, smoothing, and honest gaps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import runs
from ethoprism.errors import ProjectError
from ethoprism.prediction import (
    Decision,
    Prediction,
    decide,
    load_prediction,
    save_prediction,
    smooth,
)


def _prediction(probability: list[list[float]], covered: list[int] | None = None) -> Prediction:
    p = np.array(probability, np.float32)
    ok = np.ones(len(p), bool) if covered is None else np.array(covered, bool)
    return Prediction("r", "", ("a", "b"), p, ok, "probe", "net (untrained)", "content")


def _decision(min_bout: int = 1, exclusive: tuple[tuple[str, ...], ...] = ()) -> Decision:
    return Decision({"a": 0.5, "b": 0.3}, {"a": min_bout, "b": min_bout}, exclusive)


def test_each_behaviour_has_its_threshold_and_gaps_stay_unknown():
    p = _prediction([[0.5, 0.29], [0.49, 0.3], [0.9, 0.9]], [1, 1, 0])
    assert decide(p, _decision()).tolist() == [[1, 0], [0, 1], [-1, -1]]


def test_of_an_exclusive_group_the_most_probable_one_alone_is_present():
    p = _prediction([[0.6, 0.7], [0.8, 0.4], [0.2, 0.1]])
    assert decide(p, _decision(exclusive=(("a", "b"),))).tolist() == [[0, 1], [1, 0], [0, 0]]


@given(arrays(np.float32, (40, 2), elements=st.floats(0, 1, width=32)), st.integers(1, 6))
def test_smoothing_keeps_exclusive_groups_exclusive(probability: np.ndarray, min_bout: int):
    p = Prediction("r", "", ("a", "b"), probability, np.ones(40, bool), "", "", "")
    states = decide(p, _decision(min_bout, (("a", "b"),)))
    assert (states.sum(axis=1) <= 1).all()


@given(arrays(bool, 40), arrays(bool, 40), st.integers(1, 6))
def test_no_bout_is_shorter_than_asked_and_none_lies_where_nothing_was_predicted(
    present: np.ndarray, covered: np.ndarray, min_bout: int
):
    result = smooth(present, covered, min_bout)
    assert not (result & ~covered).any()
    assert all(stop - start >= min_bout for start, stop in runs(result))


def test_short_gaps_are_filled_but_never_across_frames_without_prediction():
    present = np.array([1, 1, 1, 0, 1, 1, 1], bool)
    assert smooth(present, np.ones(7, bool), 2).all()
    covered = np.array([1, 1, 1, 0, 1, 1, 1], bool)
    assert smooth(present, covered, 2).tolist() == present.tolist()


def test_a_prediction_is_found_again_only_for_its_probe_and_video(tmp_path: Path):
    path = tmp_path / "r.zarr"
    p = _prediction([[0.5, 0.29], [0.49, 0.3]])
    save_prediction(p, path)
    save_prediction(replace(p, probability=p.probability / 2), path)
    back = load_prediction(path, probe="probe", content_key="content")
    assert np.array_equal(back.probability, p.probability / 2)
    assert (back.behaviours, back.backbone) == (p.behaviours, p.backbone)
    for wrong in ({"probe": "x", "content_key": "content"}, {"probe": "probe", "content_key": "x"}):
        with pytest.raises(ProjectError, match="ethoprism predict"):
            load_prediction(path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ProjectError, match="ethoprism predict"):
        load_prediction(tmp_path / "none.zarr", probe="probe", content_key="content")
