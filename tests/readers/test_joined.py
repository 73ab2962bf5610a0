"""Several files as one recording: frames, times, damage and mistakes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import video_samples as vs

from ethoprism.errors import EthoPrismError, InputError, VideoError
from ethoprism.readers.joined import write_joined
from ethoprism.recording import open_frames, open_recording

KINDS = ("a.mp4", "b.mkv", "c.avi")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Files of 20, 13 and 7 frames, made one after another, as one recording."""
    (tmp_path / "videos").mkdir()
    files = []
    for name, n in zip(KINDS, (20, 13, 7), strict=True):
        sample = vs.Sample(name, "mpeg4" if name == "c.avi" else "libx264", "yuv420p")
        files.append(vs.write(tmp_path / "videos", sample, n))
    path = tmp_path / "project" / "joined" / "session.joined.csv"
    write_joined(path, files)
    return path


def test_frames_run_through_all_files(table: Path):
    recording, report = open_recording(table, "session")
    assert (recording.n_frames, recording.reader) == (40, "joined")
    truth = [*range(20), *range(13), *range(7)]
    frames = open_frames(recording)
    order = np.random.default_rng(0).permutation(40).tolist()
    assert [vs.number_in(frames[n]) for n in order] == [truth[n] for n in order]
    for start, stop, step in ((0, None, 1), (3, 38, 5), (18, 22, 1), (25, 26, 9), (0, None, 13)):
        numbers = range(40)[start:stop:step]
        found = list(frames.frames(start, stop, step))
        assert [n for n, _ in found] == list(numbers)
        for n, frame in found:
            assert frame is not None and vs.number_in(frame) == truth[n]
    np.testing.assert_array_equal(frames[38:12:-7], np.stack([frames[n] for n in (38, 31, 24, 17)]))
    frames.close()
    assert any("how much time lies between" in note for note in report.warnings)


def test_a_file_begins_one_interval_after_the_one_before(table: Path):
    recording, _ = open_recording(table, "session")
    np.testing.assert_allclose(np.diff(recording.frame_times), 1 / 25, atol=2e-3)


def test_stated_starts_count(table: Path, tmp_path: Path):
    files = [tmp_path / "videos" / name for name in KINDS]
    path = tmp_path / "starts.joined.csv"
    write_joined(path, files, [0.0, 10.0, 20.5])
    recording, report = open_recording(path, "s")
    assert recording.frame_times[[20, 33]].tolist() == [10.0, 20.5]
    assert len(report.gaps) == 2
    assert recording.content_key != open_recording(table, "s")[0].content_key
    write_joined(path, files, [0.0, 0.1, 20.5])
    with pytest.raises(VideoError, match="begins before"):
        open_recording(path, "s")


def test_the_key_follows_content_and_not_the_place(table: Path, tmp_path: Path):
    key = open_recording(table, "s")[0].content_key
    (tmp_path / "videos").rename(tmp_path / "moved")
    with pytest.raises(VideoError, match="not where it was"):
        open_recording(table, "s")
    table.write_text(table.read_text().replace("/videos/", "/moved/"))
    assert open_recording(table, "s")[0].content_key == key
    other = tmp_path / "moved" / "a.mp4"
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(VideoError, match="not the one that was joined"):
        open_recording(table, "s")


def test_sizes_must_agree(table: Path, tmp_path: Path):
    odd = vs.write(tmp_path / "videos", vs.Sample("odd.mkv", "ffv1", "yuv444p", size=(176, 96)), 5)
    path = tmp_path / "x.joined.csv"
    write_joined(path, [tmp_path / "videos" / "a.mp4", odd])
    with pytest.raises(VideoError, match="different sizes"):
        open_recording(path, "s")


@pytest.mark.parametrize(
    "rows",
    [[], [["a.mp4", "k", ""]], [["x.joined.csv", "k", ""]] * 2, [["/etc", "k", "nan"]] * 2],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, rows: list[list[str]]):
    path = tmp_path / "x.joined.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["path", "content_key", "start_s"], *rows])
    with pytest.raises(EthoPrismError):
        open_recording(path, "s")


def test_joining_takes_several_files(tmp_path: Path):
    with pytest.raises(InputError, match="two or more"):
        write_joined(tmp_path / "x.joined.csv", [tmp_path / "a.mp4"])
