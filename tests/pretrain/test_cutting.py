"""Clips cut from recordings: inside of them, where something moves, and from the seed alone."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from ethoprism import subjects, workflow
from ethoprism.crops import CropPath
from ethoprism.errors import InputError
from ethoprism.ethogram import Ethogram
from ethoprism.frame_array import FrameArray
from ethoprism.pretrain.cutting import (
    Cutting,
    dataset_clips,
    degraded,
    file_clips,
    project_clips,
    recording_clips,
)
from ethoprism.project import Project, Settings
from ethoprism.tracks import Track
from ethoprism_datasets.arena import Appearance, write_recording

SMALL = Appearance(height=96, width=128, arena_cm=32.0)
PLAIN = Cutting(frames=4, size=36, turned=0.0)


class Blob(FrameArray):
    """A bright square that jumps about in the upper left of a large dark picture."""

    def __init__(self, n: int = 60):
        super().__init__(n, 200, 240)

    def read(self, n: int) -> np.ndarray:
        frame = np.full((200, 240, 3), 20, np.uint8)
        row, column = 40 + 9 * (n % 3), 50 + 7 * (n % 4)
        frame[row : row + 16, column : column + 16] = 230
        return frame


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    return write_recording(folder, "small", 3, n_frames=50, appearance=SMALL).video


def test_the_same_seed_gives_the_same_clips(video: Path):
    one, other, third = (
        [c.frames for c in file_clips([video], 6, seed=seed, cutting=PLAIN)] for seed in (1, 1, 2)
    )
    assert len(one) == 6
    assert all(c.shape == (4, 36, 36, 3) and c.dtype == np.uint8 for c in one)
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, third)


def test_crops_are_laid_where_something_moves():
    def share(moving: float) -> float:
        how = Cutting(frames=4, size=36, smallest=30, moving=moving, turned=0.0)
        clips = itertools.islice(recording_clips(Blob(), "blob", 25.0, seed=0, cutting=how), 120)
        grey = [clip.frames.astype(float).mean(axis=-1) for clip in clips]
        return float(np.mean([np.ptp(g, axis=0).max() > 60 for g in grey]))

    assert share(1.0) > 0.9
    assert share(1.0) > share(0.0) + 0.2


def test_crops_follow_an_animal():
    n = 60
    rows = 40 + 9 * (np.arange(n) % 3) - 16
    columns = 50 + 7 * (np.arange(n) % 4) - 16
    path = CropPath((48, 48), np.stack([rows, columns], axis=1).astype(np.int32), np.ones(n, bool))
    how = Cutting(frames=4, size=48, turned=0.0, followed=1.0)
    clips = recording_clips(Blob(), "blob", 25.0, seed=0, cutting=how, paths=[path])
    moved = []
    for clip in itertools.islice(clips, 40):
        grey = clip.frames.astype(float).mean(axis=-1)
        bright = np.abs(grey - np.median(grey)) > 0.5 * np.abs(grey - np.median(grey)).max()
        centres = [np.argwhere(b).mean(axis=0) for b in bright]
        moved.append(np.ptp(centres, axis=0).max())
    assert np.median(moved) < 3.0  # it jumps by 7 px and more in the picture


def test_a_recording_that_is_too_short_is_refused():
    with pytest.raises(InputError, match="8 frames or more"):
        next(recording_clips(Blob(5), "blob", 25.0, seed=0))


def test_degrading_keeps_the_shape_and_changes_the_look():
    frames = np.random.default_rng(0).integers(0, 256, (3, 36, 36, 3), np.uint8)
    looks = [degraded(frames, np.random.default_rng(seed)) for seed in range(12)]
    assert all(look.shape == frames.shape and look.dtype == np.uint8 for look in looks)
    assert len({look.tobytes() for look in looks}) == 12
    np.testing.assert_array_equal(looks[3], degraded(frames, np.random.default_rng(3)))


def test_a_project_gives_clips_of_all_of_its_recordings_and_animals(tmp_path: Path, video: Path):
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    project, _, _ = workflow.add_recording(project, video)
    centres = np.full((50, 2), 48.0, np.float32)
    boxes = np.concatenate([centres - 10, centres + 10], axis=1)
    subjects.save_tracks(project, "small", [Track("a", centres, boxes)])
    clips = list(project_clips(project, 5, seed=0, cutting=PLAIN))
    assert [c.source for c in clips] == ["small"] * 5
    assert len({c.frames.tobytes() for c in clips}) == 5


def test_a_data_set_gives_captioned_clips():
    clips = list(itertools.islice(dataset_clips("arena", seed=4), 3))
    assert all(c.source == "arena" and c.caption.endswith(".") for c in clips)
    assert all(c.frames.shape == (8, 144, 144, 3) for c in clips)
