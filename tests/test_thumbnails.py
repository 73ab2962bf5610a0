"""Thumbnails: exactly the frame that was asked for, cut to the subject, from few open files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism import workflow
from ethoprism.crops import Region, cut
from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit, crop_path, save_tracks, set_region
from ethoprism.thumbnails import Thumbnails, shrink
from ethoprism.tracks import Track
from ethoprism.video import FrameReader
from ethoprism_datasets.arena_files import write_recording

N_FRAMES = 30


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "project", Settings(), Ethogram())
    for name, seed in (("a", 1), ("b", 2), ("c", 3)):
        video = write_recording(tmp_path / "videos", name, seed, n_frames=N_FRAMES).video
        made, _, _ = workflow.add_recording(made, video)
    return made


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    size=st.integers(1, 60),
    value=st.integers(0, 255),
)
def test_shrinking_keeps_proportions_and_a_plain_colour(
    height: int, width: int, size: int, value: int
) -> None:
    picture = np.full((height, width, 3), value, np.uint8)
    small = shrink(picture, size)
    assert max(small.shape[:2]) == min(size, max(height, width))
    scale = max(small.shape[:2]) / max(height, width)
    assert abs(small.shape[0] - height * scale) <= 1 and abs(small.shape[1] - width * scale) <= 1
    assert (small == value).all()


def test_thumbnail_is_the_exact_frame_whatever_the_order(project: Project) -> None:
    with Thumbnails(project, size=40) as thumbnails, FrameReader(project.recording("b")) as frames:
        for n in (17, 3, N_FRAMES - 1, 0, 4, 17):
            np.testing.assert_array_equal(thumbnails.get("b", n), shrink(frames[n], 40))


def test_subject_with_a_track_is_cut_out_and_one_without_is_shown_whole(project: Project) -> None:
    centres = np.linspace([40.0, 40.0], [80.0, 60.0], N_FRAMES).astype(np.float32)
    track = Track("fly", centres, np.hstack([centres - 10, centres + 10]))
    save_tracks(project, "a", [track])
    path = crop_path(project, Unit("a", "fly"), "subject 2 lengths")
    assert path is not None
    with Thumbnails(project, size=500) as thumbnails, FrameReader(project.recording("a")) as frames:
        top, left = path.top_left[9].tolist()
        expected = cut(frames[9], top, left, path.size)
        np.testing.assert_array_equal(thumbnails.get("a", 9, "fly"), expected)
        np.testing.assert_array_equal(thumbnails.get("a", 9), shrink(frames[9], 500))
        assert thumbnails.get("b", 9, "fly").shape == shrink(frames[9], 500).shape


def test_region_is_shown_where_the_project_encodes_regions(project: Project) -> None:
    from dataclasses import replace

    project = set_region(project, "a", Region(5, 6, 30, 20))
    with FrameReader(project.recording("a")) as frames:
        whole, part = frames[2], frames[2][6:26, 5:35]
    with Thumbnails(project, size=900) as thumbnails:
        np.testing.assert_array_equal(thumbnails.get("a", 2), whole)
    project = project.with_settings(replace(project.settings, crop="region"))
    with Thumbnails(project, size=900) as thumbnails:
        np.testing.assert_array_equal(thumbnails.get("a", 2), part)


def test_few_files_are_open_and_all_are_closed_at_the_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FrameReader] = []
    closed: list[FrameReader] = []
    init, close = FrameReader.__init__, FrameReader.close

    def counted(self: FrameReader, *args: object, **kwargs: object) -> None:
        init(self, *args, **kwargs)  # type: ignore[arg-type]
        opened.append(self)

    monkeypatch.setattr(FrameReader, "__init__", counted)
    monkeypatch.setattr(FrameReader, "close", lambda self: closed.append(self) or close(self))
    with Thumbnails(project, readers=2) as thumbnails:
        for name in "abcabc":
            thumbnails.get(name, 5)
            assert len(opened) - len(closed) <= 2
        assert len(opened) == 3  # the second round came from memory
    assert set(closed) == set(opened)
    with pytest.raises(ValueError, match="closed"):
        thumbnails.get("a", 5)


def test_memory_is_bounded(project: Project) -> None:
    with Thumbnails(project, size=32, cache_bytes=20_000) as thumbnails:
        for n in range(N_FRAMES):
            thumbnails.get("a", n)
        assert sum(p.nbytes for p in thumbnails._kept.values()) <= 20_000


def test_what_is_not_there_is_an_error_that_says_so(project: Project) -> None:
    with Thumbnails(project) as thumbnails:
        with pytest.raises(InputError, match=f"0 to {N_FRAMES - 1}"):
            thumbnails.get("a", N_FRAMES)
        with pytest.raises(ProjectError, match="no recording 'z'"):
            thumbnails.get("z", 0)
    with pytest.raises(InputError):
        Thumbnails(project, size=0)
