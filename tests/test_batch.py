"""Batches: one recording that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from toy_backbone import ToyBackbone

from ethoprism import batch, workflow
from ethoprism.batch import add_recordings, extract_batch, find_recordings, relink
from ethoprism.errors import InputError, StorageError
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism_datasets.arena_files import write_recording


def _run(steps: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    seen = []
    try:
        while True:
            seen.append(next(steps))
    except StopIteration as stop:
        return seen, stop.value


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        write_recording(tmp_path / "videos", name, ord(name), n_frames=24)
    return tmp_path / "videos"


@pytest.fixture
def empty(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "p", Settings("toy"), Ethogram())


def test_folders_stand_for_their_videos_and_image_folders_for_themselves(
    videos: Path, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "0.png")
    found = find_recordings([videos, tmp_path / "images", videos / "a.mp4", tmp_path / "x.odd"])
    names = [path.name for path in found]
    assert names == ["a.mp4", "b.mp4", "c.mp4", "images", "x.odd"]


def test_what_fails_is_said_and_the_others_are_added(empty: Project, videos: Path) -> None:
    (videos / "bad.mp4").write_text("no video\n" * 50)
    steps, added = _run(add_recordings(empty, [videos]))
    assert [step.done for step in steps] == [0, 1, 2, 3, 4]
    assert [item.recording for item in added] == ["a", "b", "", "c"]
    assert added[2].error is not None and not added[2].damaged
    assert added[0].report is not None and added[0].report.n_frames == 24
    assert Project.open(empty.folder).recording_ids == ("a", "b", "c")
    with pytest.raises(InputError, match="no recording"):
        (empty.folder / "exports").mkdir()
        next(add_recordings(empty, [empty.folder / "exports"]))


def test_another_video_is_never_taken_for_one_that_moved(empty: Project, videos: Path) -> None:
    project, name, _ = workflow.add_recording(empty, videos / "a.mp4")
    moved = (videos / "a.mp4").rename(videos / "z.mp4")
    with pytest.raises(InputError, match=r"b\.mp4 is not the video of 'a'"):
        relink(project, name, videos / "b.mp4")
    assert Project.open(empty.folder).entry("a") == project.entry("a")
    relink(project, name, moved)
    assert Project.open(empty.folder).recording("a").path == moved


def test_batch_goes_on_behind_a_video_that_is_gone(empty: Project, videos: Path) -> None:
    _run(add_recordings(empty, [videos]))
    project = Project.open(empty.folder)
    (videos / "b.mp4").unlink()
    steps, result = _run(extract_batch(project, ToyBackbone()))
    assert result.complete == ("a", "c")
    ((name, error),) = result.failed
    assert name == "b" and "not where it was" in str(error)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert {s.total for s in steps} == {72} and steps[-1].done == 48
    again, _ = _run(extract_batch(project, ToyBackbone(), ["a", "c"]))
    assert again[0].done == again[0].total == 48  # what is there counts from the start


def test_a_full_disk_stops_the_batch(
    empty: Project, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(add_recordings(empty, [videos]))

    def full(*_: Any) -> Any:
        raise StorageError("The disk is full")
        yield

    monkeypatch.setattr(batch.workflow, "extract_unit", full)
    with pytest.raises(StorageError):
        _run(extract_batch(Project.open(empty.folder), ToyBackbone()))
