"""What extraction is said to take is what it takes: bytes exactly, time within a factor."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from toy_backbone import ToyBackbone

from ethoprism import estimate, workflow
from ethoprism.errors import ProjectError
from ethoprism.estimate import Estimate, UnitEstimate, estimate_extraction, pace, rows_left
from ethoprism.ethogram import Ethogram
from ethoprism.extract import trial
from ethoprism.progress import Progress
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenStore
from ethoprism_datasets.arena_files import write_recording


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Recordings of 90 and 40 frames."""
    folder = tmp_path_factory.mktemp("estimate")
    made = Project.create(folder / "p", Settings("toy"), Ethogram().with_names(["walk"]))
    for name, n_frames in (("a", 90), ("b", 40)):
        video = write_recording(folder / "videos", name, 3, n_frames=n_frames).video
        made, _, _ = workflow.add_recording(made, video)
    return made


def _result(project: Project, backbone: ToyBackbone, *names: str) -> Estimate:
    steps = estimate_extraction(project, backbone, names)
    try:
        while True:
            assert isinstance(next(steps), Progress)
    except StopIteration as stop:
        return stop.value


def test_bytes_are_those_of_the_arrays_and_nothing_is_written(project: Project) -> None:
    backbone = ToyBackbone()
    found = _result(project, backbone)
    key = found.key
    assert key == workflow.project_key(project, backbone)
    expected = {"a": 90, "b": 40}
    for unit in found.units:
        n = expected[unit.unit.recording]
        array = np.zeros((n, key.pooling, key.pooling, key.width), np.float16)
        assert (unit.rows, unit.rows_left, unit.bytes_left) == (n, n, array.nbytes)
        assert unit.seconds > 0
    assert found.bytes_left == sum(unit.bytes_left for unit in found.units)
    assert found.rows_left == 130 and found.seconds > 0
    assert found.fits and found.free_bytes > 0 and found.device.startswith("cpu")
    assert not (project.folder / "tokens").exists()


def test_only_what_is_left_counts(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from ethoprism import tokens

    monkeypatch.setattr(tokens, "_CHUNK_ROWS", 8)
    monkeypatch.setattr(tokens, "_TARGET_SHARD_BYTES", 8)
    backbone = ToyBackbone()
    key = workflow.project_key(project, backbone)
    steps = workflow.extract_unit(project, backbone, key, Unit("a"))
    for step in steps:
        if step.done >= 16:
            break
    steps.close()  # type: ignore[attr-defined]
    store: TokenStore = workflow.open_tokens(project, key, Unit("a"))
    done = int(store.done.sum()) * 8
    assert 0 < done < 90 and rows_left(project, key, Unit("a")) == 90 - done
    found = _result(project, backbone, "a")
    (unit,) = found.units
    assert unit.rows_left == 90 - done
    assert unit.bytes_left == unit.rows_left * key.pooling**2 * key.width * 2
    list(workflow.extract_tokens(project, backbone, ["a"]))
    found = _result(project, backbone)
    assert [unit.rows_left for unit in found.units] == [0, 40]
    assert found.units[0].seconds == 0 and found.units[0].bytes_left == 0


def test_what_cannot_be_extracted_is_left_out_with_the_reason(tmp_path: Path) -> None:
    made = Project.create(tmp_path / "p", Settings("toy"), Ethogram())
    for name in ("a", "b"):
        video = write_recording(tmp_path / "videos", name, ord(name), n_frames=20).video
        made, _, _ = workflow.add_recording(made, video)
    (tmp_path / "videos" / "b.mp4").unlink()
    found = _result(made, ToyBackbone())
    assert [unit.unit.recording for unit in found.units] == ["a"]
    ((name, error),) = found.skipped
    assert name == "b" and isinstance(error, ProjectError) and "not where it was" in str(error)


def test_what_does_not_fit_is_said(project: Project) -> None:
    key = workflow.project_key(project, ToyBackbone())
    unit = UnitEstimate(Unit("a"), 90, 90, 1000, 1.0)
    assert Estimate(key, "cpu", (unit,), (), 1000).fits
    assert not Estimate(key, "cpu", (unit, unit), (), 1999).fits


def test_trial_encodes_the_rows_that_were_asked_for(project: Project) -> None:
    backbone = ToyBackbone()
    key = workflow.project_key(project, backbone)
    recording = project.recording("a")
    assert list(trial(recording, backbone, key, 20))[-1] == 20
    done = list(trial(recording, backbone, key, 10**6))
    assert done[-1] == 90 and done == sorted(done)


def test_pace_is_that_of_a_backbone_that_takes_its_time(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ethoprism.extract import Batches

    class Slow(ToyBackbone):
        def temporal(self, features, padding, kept=None, positions=None):
            time.sleep(0.03)
            return super().temporal(features, padding, kept, positions)

    backbone = Slow()
    key = workflow.project_key(project, backbone)  # windows of 6, every 3
    found = pace(
        project.recording("a"),
        backbone,
        key,
        batches=Batches(frames=2, windows=1),
        least_seconds=0.4,
    )
    # A window of 3 new rows every 0.03 s at best; the machine may be busy.
    assert 10 < found <= 105


def test_kinds_share_a_pace_and_each_is_measured_once(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    measured: list[str] = []
    monkeypatch.setattr(
        estimate, "pace", lambda recording, *_, **__: measured.append(recording.id) or 10.0
    )
    made = Project.create(tmp_path / "p", Settings("toy"), Ethogram())
    for name in ("a", "b"):
        made, _, _ = workflow.add_recording(made, project.recording(name).path)
    found = _result(made, ToyBackbone())
    assert measured == ["a"]  # the longer one
    assert [unit.seconds for unit in found.units] == [9.0, 4.0]
