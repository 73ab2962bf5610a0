"""Tables of frame times: cameras' logs and TTL lines, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism.errors import EthoPrismError, InputError
from ethoprism.timing import constant_times, read_frame_times, write_frame_times

TIMES = [0.0, 0.04, 0.081, 0.12]


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "times.csv"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("0.0\n0.04\n0.081\n0.12\n", {}),
        ("time_s\n0\n0.04\n0.081\n0.12\n", {}),
        ("frame,timestamp_ms\n0,0\n1,40\n2,81\n3,120\n", {}),
        ("frame\ttime_ns\n0\t0\n1\t40000000\n2\t81000000\n3\t120000000\n", {}),
        ("a;b\n0;0\n9;40000\n9;81000\n9;120000\n", {"column": "b", "unit": "us"}),
        ("frame_number,timestamp\n3,0.12\n0,0\n2,0.081\n1,0.04\n", {}),
        ("# a camera\ntimestamp\n0\n0.04\n0.081\n0.12\n", {}),
        (
            "timestamp\n2024-05-01T12:00:00.000\n2024-05-01T12:00:00.040\n"
            "2024-05-01T12:00:00.081\n2024-05-01T12:00:00.120\n",
            {},
        ),
        ("time,ttl\n0,1\n0.02,0\n0.04,1\n0.06,0\n0.081,1\n0.1,0\n0.12,1\n", {}),
    ],
)
def test_tables_are_told_by_their_columns(tmp_path: Path, text: str, options: dict[str, str]):
    found = read_frame_times(_file(tmp_path, text), 4, **options)
    np.testing.assert_allclose(found.times, TIMES, atol=1e-9)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0\n1\n2\n", "another number of frames"),
        ("0\n1\n2\n3\n4\n", "another number of frames"),
        ("0\n2\n1\n3\n", "go back"),
        ("a,b\n0,0\n1,1\n2,2\n3,3\n", "no column that is known"),
        ("time\n0\nx\n2\n3\n", "cannot be read"),
        ("time,level\n0,0\n1,5\n2,1\n3,0\n", "neither 0 nor 1"),
        ("frame,time\n0,0\n0,1\n1,2\n2,3\n", "twice the same"),
        ("", "cannot be read as a table"),
        ("time,time\n0,1\n", "two columns|another number"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, text: str, match: str):
    with pytest.raises(InputError, match=match):
        read_frame_times(_file(tmp_path, text), 4)


def test_skipped_counters_are_told(tmp_path: Path):
    found = read_frame_times(_file(tmp_path, "frame_id,time\n10,0\n11,1\n15,5\n16,6\n"), 4)
    assert any("skipped 3 frames in 1 places" in note for note in found.notes)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_projects_table_keeps_every_digit(tmp_path: Path, values: list[float]):
    times = np.sort(np.array(values))
    write_frame_times(times, tmp_path / "t.csv")
    np.testing.assert_array_equal(read_frame_times(tmp_path / "t.csv", len(times)).times, times)


@given(st.binary(max_size=120))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_times_or_a_named_error(tmp_path: Path, data: bytes):
    path = tmp_path / "any.csv"
    path.write_bytes(data)
    try:
        found = read_frame_times(path, 3)
    except EthoPrismError:
        return
    assert len(found.times) == 3 and (np.diff(found.times) >= 0).all()


def test_a_constant_rate():
    np.testing.assert_allclose(constant_times(4, 25.0), [0, 0.04, 0.08, 0.12])
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            constant_times(4, rate)
