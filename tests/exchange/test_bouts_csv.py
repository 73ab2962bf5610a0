"""Bout CSV: frames and seconds mean the same bout, and what was observed is never guessed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import frame_states
from ethoprism.errors import LabelError
from ethoprism.exchange import bouts_csv
from ethoprism.exchange.spec import FrameLabels, ImportRequest

TIMES = 2.0 + np.cumsum(np.tile([0.04, 0.04, 0.05, 0.03], 10))  # a variable rate


def _request(**options: object) -> ImportRequest:
    return ImportRequest({"r": 40}, lambda _: TIMES, **options)  # type: ignore[arg-type]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
@given(arrays(bool, 40), st.sampled_from(["frames", "seconds"]))
def test_bouts_survive_the_round_trip_in_either_unit(tmp_path: Path, mask: np.ndarray, unit: str):
    states = mask[:, None].astype(np.int8)
    labels = FrameLabels("r", "", TIMES, ("rest",), states, np.ones(40, bool), None, "manual")
    path = tmp_path / "r.csv"
    bouts_csv.write(path, [labels])
    plan = bouts_csv.read(path, _request(unit=unit, observed="whole"))
    back = frame_states(plan.bouts, plan.spans, ["rest"], 40)[:, 0]
    assert np.array_equal(back == 1, mask)


def test_columns_are_as_documented(tmp_path: Path):
    states = np.zeros((40, 1), np.int8)
    states[38:] = 1
    probability = np.full((40, 1), 0.75, np.float32)
    labels = FrameLabels(
        "r", "ann", TIMES, ("rest",), states, np.ones(40, bool), probability, "automated"
    )
    path = tmp_path / "r.csv"
    bouts_csv.write(path, [labels])
    header, row = path.read_text().splitlines()
    assert header == (
        "recording,subject,behaviour,start_frame,stop_frame,start_s,stop_s,mean_p,source"
    )
    cells = row.split(",")
    assert cells[:5] == ["r", "ann", "rest", "38", "40"]
    assert float(cells[5]) == TIMES[38]
    assert float(cells[6]) == pytest.approx(TIMES[39] + 0.03)
    assert cells[7:] == ["0.75", "automated"]


def test_frames_outside_bouts_are_unobserved_unless_the_user_says_whole(tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("behaviour,start_frame,stop_frame\nrest,2,4\n")
    plan = bouts_csv.read(path, _request())
    assert set(frame_states(plan.bouts, plan.spans, ["rest"], 40)[:, 0]) == {1, -1}
    assert any("--observed whole" in note for note in plan.notes)
    plan = bouts_csv.read(path, _request(observed="whole"))
    assert set(frame_states(plan.bouts, plan.spans, ["rest"], 40)[:, 0]) == {1, 0}


def test_inclusive_stops_belong_to_the_bout(tmp_path: Path):
    path = tmp_path / "r.csv"
    path.write_text("behavior,start,stop\nrest,2,4\n")
    plan = bouts_csv.read(path, _request(unit="frames", inclusive=True))
    assert plan.bouts[["start_frame", "stop_frame"]].to_numpy().tolist() == [[2, 5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("behaviour,start,stop\nrest,2,4\n", "--unit"),
        ("behaviour,when\nrest,2\n", "when bouts start"),
        ("name,start_frame,stop_frame\nrest,2,4\n", "column 'behaviour'"),
        ("behaviour,start_frame,stop_frame\nrest,2,41\n", "0 to 40"),
        ("behaviour,start_frame,stop_frame\nrest,4,4\n", "start before stop"),
        ("behaviour,start_s,stop_s\nrest,1.0,99\n", "1 to 99 s"),
        ("behaviour,start_s,stop_s\nrest,nan,3\n", "numbers as start_s"),
        ("recording,behaviour,start_frame,stop_frame\nq,rest,2,4\n", "lacks"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "r.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=message):
        bouts_csv.read(path, _request())
