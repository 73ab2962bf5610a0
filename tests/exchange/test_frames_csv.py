"""Per-frame CSV: what is written is read back the same, and nothing is guessed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import UNOBSERVED, frame_states
from ethoprism.errors import LabelError
from ethoprism.exchange import frames_csv
from ethoprism.exchange.spec import FrameLabels, ImportRequest


def _times(n: int) -> np.ndarray:
    return 0.1 + np.arange(n) * (1000 / 29970)


def _request(n: int, **options: object) -> ImportRequest:
    return ImportRequest({"r": n, "r2": n}, lambda _: _times(n), **options)  # type: ignore[arg-type]


def _labels(states: np.ndarray, probability: np.ndarray | None = None) -> FrameLabels:
    n = len(states)
    covered = (states != UNOBSERVED).any(axis=1)
    return FrameLabels(
        "r", "", _times(n), ("rest", "walk"), states, covered, probability, "automated"
    )


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(
    arrays(np.int8, st.tuples(st.integers(1, 40), st.just(2)), elements=st.sampled_from([-1, 0, 1]))
)
def test_states_survive_the_round_trip(tmp_path: Path, states: np.ndarray):
    path = tmp_path / "r.frames.csv"
    frames_csv.write(path, [_labels(states)])
    plan = frames_csv.read(path, _request(len(states)))
    back = frame_states(plan.bouts, plan.spans, ["rest", "walk"], len(states), "")
    assert np.array_equal(back, states)


def test_columns_values_and_times_are_as_documented(tmp_path: Path):
    states = np.array([[1, 1], [0, 1], [0, 0], [-1, -1]], np.int8)
    probability = np.array([[0.9, 0.8], [0.1, 0.7], [0.2, 1 / 3], [0.5, 0.5]], np.float32)
    path = tmp_path / "out.csv"
    frames_csv.write(path, [_labels(states, probability)])
    lines = path.read_text().splitlines()
    assert lines[0] == "recording,subject,frame,time_s,covered,rest,p_rest,walk,p_walk,label"
    assert lines[1] == "r,,0,0.1,1,1,0.9,1,0.8,rest|walk"
    assert lines[2].endswith(",1,0,0.1,1,0.7,walk")
    assert lines[3].endswith(",1,0,0.2,0,0.333333,")
    assert lines[4].endswith(",0,,,,,")
    # Seconds are written with all the digits that they have.
    assert np.array_equal(pd.read_csv(path)["time_s"].to_numpy(), _times(4))


def test_several_recordings_share_one_header(tmp_path: Path):
    states = np.zeros((3, 2), np.int8)
    path = tmp_path / "out.csv"
    frames_csv.write(path, [_labels(states), _labels(states)])
    assert len(pd.read_csv(path)) == 6


def test_columns_that_hold_no_labels_are_named_and_left_out(tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("frame,rest,dist_px\n0,1,626.1\n2,0,3.5\n")
    plan = frames_csv.read(path, _request(4))
    assert plan.behaviours == ["rest"]
    assert any("dist_px" in note and "626.1" in note for note in plan.notes)
    assert any("2 of 4 frames carry no label" in note for note in plan.notes)
    states = frame_states(plan.bouts, plan.spans, ["rest"], 4)[:, 0]
    assert states.tolist() == [1, -1, 0, -1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,rest\n0,1\n0,0\n", "more than once"),
        ("frame,rest\n0,1\n4,0\n", "0 to 4"),
        ("frame,rest\n-1,1\n", "0 to 4"),
        ("frame,rest\n0.5,1\n", "whole numbers"),
        ("frame,rest\nx,1\n", "'x' in line 2"),
        ("time,rest\n0,1\n", "column 'frame'"),
        ("frame,rest\n0,7\n", "no column of labels"),
        ("frame,rest,rest\n0,1,1\n", "twice"),
        ("recording,frame,rest\nother,0,1\n", "lacks"),
        ("", "cannot be read"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        frames_csv.read(path, _request(4))


def test_the_recording_is_the_longest_id_that_the_file_name_starts_with(tmp_path: Path):
    path = tmp_path / "r2.labels.csv"
    path.write_text("frame,rest\n0,1\n")
    assert frames_csv.read(path, _request(4)).recordings == ["r2"]
    path = tmp_path / "unrelated.csv"
    path.write_text("frame,rest\n0,1\n")
    with pytest.raises(LabelError, match="--recording"):
        frames_csv.read(path, _request(4))
    assert frames_csv.read(path, _request(4, recording="r")).recordings == ["r"]


def test_a_behaviour_that_was_asked_for_must_hold_labels(tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("frame,rest,dist\n0,1,3.5\n")
    with pytest.raises(LabelError, match="does not hold labels"):
        frames_csv.read(path, _request(4, behaviours=("dist",)))
    with pytest.raises(LabelError, match="asked for"):
        frames_csv.read(path, _request(4, behaviours=("fly",)))
