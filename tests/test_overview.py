"""The state of each recording: lengths, labels, tokens, predictions and problems."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_backbone import ToyBackbone

from ethoprism import workflow
from ethoprism.annotation import bout_table, frame_states, span_table
from ethoprism.ethogram import Ethogram
from ethoprism.overview import RecordingState, current_keys, overview, states_at
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording

NAMES = ["walk", "groom"]


def _states(project: Project, **options: Any) -> dict[str, RecordingState]:
    steps: Generator[Any, None, Any] = overview(project, **options)
    try:
        while True:
            next(steps)
    except StopIteration as stop:
        return {state.entry.id: state for state in stop.value}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "p", Settings("toy"), Ethogram().with_names(NAMES))
    for name, n_frames in (("a", 60), ("b", 40)):
        video = write_recording(tmp_path / "videos", name, 3, n_frames=n_frames).video
        made, _, _ = workflow.add_recording(made, video)
    return made


def test_everything_is_told_of_each_recording(project: Project) -> None:
    with workflow.open_annotations(project, "write") as store:
        walk = {"recording": "a", "behaviour": "walk", "start_frame": 10, "stop_frame": 20}
        span = {"recording": "a", "behaviour": "groom", "start_frame": 15, "stop_frame": 30}
        store.add(bout_table([walk]), span_table([span]), description="test")
    states = _states(project)
    a, b = states["a"], states["b"]
    assert a.entry == project.entry("a") and a.seconds == pytest.approx(60 / 25)
    assert (a.bouts, a.observed, a.present) == (1, 20, (("walk", 10),))
    assert a.observed_share == pytest.approx(20 / 60)
    assert (b.bouts, b.observed, b.present) == (0, 0, ())
    assert a.tokens == () and a.token_share == 0.0 and a.predictions == () and a.problem == ""
    backbone = ToyBackbone()
    list(workflow.extract_tokens(project, backbone, ["b"]))
    states = _states(project)
    assert (states["a"].token_share, states["b"].token_share) == (0.0, 1.0)
    (share,) = states["b"].tokens
    assert share.key == workflow.project_key(project, backbone)
    other = project.with_settings(replace(project.settings, step=2))
    states = _states(other)
    assert states["b"].token_share == 0.0 and len(states["b"].other_tokens) == 1


def test_video_that_moved_or_changed_is_a_problem(project: Project) -> None:
    path = project.video_path("a")
    assert path.is_file()
    content = path.read_bytes()
    path.write_bytes(content + b"x")
    assert "not the file that was added" in _states(project)["a"].problem
    assert _states(project, check=False)["a"].problem == ""  # not looked at
    path.unlink()
    assert "not where it was" in _states(project, check=False)["a"].problem
    assert _states(project)["a"].seconds == pytest.approx(60 / 25)  # from the cache
    assert _states(project)["b"].problem == ""


def test_settings_choose_the_keys_that_count(project: Project) -> None:
    key = workflow.project_key(project, ToyBackbone())  # length 6, hop 3, pooling 4 of 4
    others = [replace(key, hop=2), replace(key, step=2), replace(key, pooling=2)]
    others += [replace(key, backbone="x"), replace(key, crop="region")]
    assert current_keys(project.settings, [key, *others]) == [key]
    new_weights = replace(key, weights_sha256="1" * 64)
    assert current_keys(project.settings, [key, new_weights]) == [key, new_weights]
    assert current_keys(replace(project.settings, hop=2), [key, *others]) == others[:1]
    assert current_keys(replace(project.settings, pooling=2), [key, *others]) == others[2:3]


_rows = st.lists(
    st.tuples(
        st.sampled_from(["", "x", "y"]),
        st.sampled_from(NAMES),
        st.integers(0, 6),
        st.integers(1, 4),
    ),
    max_size=6,
)


@settings(max_examples=30)
@given(_rows, _rows)
def test_one_frames_states_are_the_row_of_all_of_them(bouts: list[Any], spans: list[Any]) -> None:
    n_frames = 8
    tables = [_table(bouts, bout_table, n_frames), _table(spans, span_table, n_frames)]
    whole = frame_states(*tables, NAMES, n_frames)  # type: ignore[misc]
    for frame in range(n_frames):
        np.testing.assert_array_equal(states_at(*tables, NAMES, frame), whole[frame])  # type: ignore[misc]


def _table(rows: list[Any], make: Any, n_frames: int) -> pd.DataFrame:
    return make(
        [
            {
                "recording": "r",
                "subject": subject,
                "behaviour": name,
                "start_frame": start,
                "stop_frame": min(start + length, n_frames),
            }
            for subject, name, start, length in rows
        ]
    )
