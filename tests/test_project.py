"""A project's files: what older versions wrote opens, caches are made anew, nothing else is."""

from __future__ import annotations

import csv
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import video_samples as vs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism import workflow
from ethoprism.errors import EthoPrismError, InputError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.project import MANIFEST, Project, Settings
from ethoprism.recording import open_frames, open_recording
from ethoprism_datasets.arena import write_recording

N = 30
GIVEN = np.cumsum(np.linspace(0.1, 0.2, N))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a video and a project that holds it; copied by each test."""
    folder = tmp_path_factory.mktemp("made")
    vs.write(folder, vs.Sample("a.mp4", "libx264", options={"g": "10", "bf": "2"}), N)
    project = Project.create(folder / "p", Settings(), Ethogram())
    project.with_recording(open_recording(folder / "a.mp4", "a")[0])
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of that folder of the test's own."""
    return shutil.copytree(made, tmp_path / "copy")


def _rows(folder: Path) -> list[list[str]]:
    with (folder / "p" / "recordings.csv").open(newline="") as file:
        return list(csv.reader(file))


def _write_rows(folder: Path, rows: list[list[str]]) -> None:
    with (folder / "p" / "recordings.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_what_was_added_is_there_when_it_is_opened_again(folder: Path) -> None:
    project = Project.open(folder / "p")
    assert (project.recording_ids, project.n_frames) == (("a",), {"a": N})
    recording = project.recording("a")
    opened, _ = open_recording(folder / "a.mp4")
    np.testing.assert_array_equal(recording.frame_times, opened.frame_times)
    assert recording.index is not None and opened.index is not None
    np.testing.assert_array_equal(recording.index.frame, opened.index.frame)
    assert (recording.reader, recording.times_from) == ("ffmpeg", "")
    with open_frames(recording) as frames:  # type: ignore[attr-defined]
        assert [vs.number_in(frames[n]) for n in (29, 0, 17)] == [29, 0, 17]


def test_a_table_of_recordings_with_six_columns_opens(folder: Path) -> None:
    rows = _rows(folder)
    _write_rows(folder, [row[:6] for row in rows])
    project = Project.open(folder / "p")
    entry = project.entry("a")
    assert (entry.reader, entry.array, entry.times, entry.region) == ("ffmpeg", "", "", "")
    assert (entry.session, entry.offset, entry.drift) == ("", 0.0, 0.0)
    assert project.recording("a").n_frames == N
    project.with_entry(replace(entry, session="s", offset=-1.25, drift=1e-5))
    assert _rows(folder)[0] == rows[0]
    again = Project.open(folder / "p").entry("a")
    assert (again.session, again.offset, again.drift) == ("s", -1.25, 1e-5)


@pytest.mark.parametrize("name", ["a.npy", "a.index.npz"])
@pytest.mark.parametrize("damage", ["absent", "empty", "noise", "cut", "other"])
def test_damaged_caches_are_made_anew(folder: Path, name: str, damage: str) -> None:
    cache = folder / "p" / "frame_times" / name
    whole = cache.read_bytes()
    if damage == "absent":
        cache.unlink()
    elif damage == "other":  # times of another recording, in a file that is sound
        vs.write(folder, vs.Sample("b.mp4", "libx264"), 12)
        other = Project.create(folder / "q", Settings(), Ethogram())
        other.with_recording(open_recording(folder / "b.mp4", "a")[0])
        shutil.copy(folder / "q" / "frame_times" / name, cache)
    else:
        cache.write_bytes({"empty": b"", "noise": os.urandom(500), "cut": whole[:-40]}[damage])
    recording = Project.open(folder / "p").recording("a")
    opened, _ = open_recording(folder / "a.mp4")
    np.testing.assert_array_equal(recording.frame_times, opened.frame_times)
    assert recording.index is not None and opened.index is not None
    np.testing.assert_array_equal(recording.index.pts, opened.index.pts)
    if name == "a.npy":
        assert cache.read_bytes() == whole  # the cache is sound again
    reread = Project.open(folder / "p")
    np.testing.assert_array_equal(reread.frame_times("a"), opened.frame_times)


@pytest.mark.parametrize("bad", [np.full(N, np.nan), np.arange(N)[::-1].astype(float)])
def test_cached_times_that_cannot_be_are_not_believed(folder: Path, bad: np.ndarray) -> None:
    np.save(folder / "p" / "frame_times" / "a.npy", bad)
    times = Project.open(folder / "p").frame_times("a")
    np.testing.assert_array_equal(times, np.arange(N) / 25)


def test_frame_times_need_no_video_once_they_are_known(folder: Path) -> None:
    (folder / "a.mp4").unlink()
    project = Project.open(folder / "p")
    np.testing.assert_array_equal(project.frame_times("a"), np.arange(N) / 25)
    with pytest.raises(ProjectError, match="not where it was"):
        project.recording("a")


def test_given_times_are_kept_and_override_the_files(folder: Path) -> None:
    project = Project.open(folder / "p")
    recording, _ = open_recording(folder / "a.mp4", "a", frame_times=GIVEN)
    project.with_recording(recording)
    assert Project.open(folder / "p").entry("a").times == "table"
    for cache in ("a.npy", "a.index.npz"):  # the table alone is enough
        (folder / "p" / "frame_times" / cache).unlink()
    found = Project.open(folder / "p").recording("a")
    np.testing.assert_array_equal(found.frame_times, GIVEN)
    np.testing.assert_array_equal(Project.open(folder / "p").frame_times("a"), GIVEN)
    with open_frames(replace(found, index=None)) as frames:  # type: ignore[attr-defined]
        assert vs.number_in(frames[21]) == 21  # the file is verified though its times differ


def test_given_times_outlive_a_move_of_the_video(folder: Path) -> None:
    project = Project.open(folder / "p")
    recording, _ = open_recording(folder / "a.mp4", "a", frame_times=GIVEN)
    project = project.with_recording(recording)
    (folder / "a.mp4").rename(folder / "moved.mp4")
    project.with_recording(open_recording(folder / "moved.mp4")[0])
    found = Project.open(folder / "p").recording("a")
    assert found.path.name == "moved.mp4"
    np.testing.assert_array_equal(found.frame_times, GIVEN)


def test_an_edited_table_counts_and_a_missing_one_is_named(folder: Path) -> None:
    project = Project.open(folder / "p")
    recording, _ = open_recording(folder / "a.mp4", "a", frame_times=GIVEN)
    project.with_recording(recording)
    table, cache = (folder / "p" / "frame_times" / name for name in ("a.csv", "a.npy"))
    rows = "".join(f"{n},{n / 8}\n" for n in range(N))
    table.write_text("frame,time_s\n" + rows)
    later = cache.stat().st_mtime_ns + 10**9
    os.utime(table, ns=(later, later))
    np.testing.assert_array_equal(Project.open(folder / "p").frame_times("a"), np.arange(N) / 8)
    table.unlink()
    cache.unlink()
    with pytest.raises(InputError, match=r"a\.csv"):
        Project.open(folder / "p").frame_times("a")


def test_a_video_that_changed_is_refused(folder: Path) -> None:
    path = folder / "a.mp4"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ProjectError, match="not the file that was added"):
        Project.open(folder / "p").recording("a")


def test_ids_and_contents_are_known_once(folder: Path) -> None:
    project = Project.open(folder / "p")
    shutil.copy(folder / "a.mp4", folder / "copy.mp4")
    same = project.with_recording(open_recording(folder / "copy.mp4")[0])
    assert same.recording_ids == ("a",)
    assert same.entry("a").path == "../copy.mp4"
    vs.write(folder, vs.Sample("b.mp4", "libx264"), 12)
    before = _rows(folder)
    with pytest.raises(ProjectError, match="another recording called"):
        project.with_recording(open_recording(folder / "b.mp4", "a")[0])
    with pytest.raises(ProjectError, match="no recording"):
        project.with_entry(replace(project.entry("a"), id="z"))
    assert _rows(folder) == before


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "../a"),
        ("id", ""),
        ("n_frames", "0"),
        ("n_frames", "-3"),
        ("n_frames", "9999999999999"),
        ("n_frames", "x"),
        ("height", "70000"),
        ("width", "1.5"),
        ("offset", "nan"),
        ("offset", "inf"),
        ("drift", "-1"),
        ("drift", "x"),
        ("path", "a\0b"),
    ],
)
def test_lines_that_cannot_be_are_named(folder: Path, column: str, value: str) -> None:
    header, row = _rows(folder)
    row[header.index(column)] = value
    _write_rows(folder, [header, row])
    with pytest.raises(ProjectError, match=r"Line 2|cannot be read"):
        Project.open(folder / "p")


def test_tables_with_other_columns_or_twice_the_same_id_are_refused(folder: Path) -> None:
    header, row = _rows(folder)
    for rows in (
        [header[1:], row[1:]],
        [[*header, "more"], [*row, "x"]],
        [[*header, "id"], [*row, "a"]],
        [header, row[:-1]],
        [header, row, row],
    ):
        _write_rows(folder, rows)
        with pytest.raises(ProjectError):
            Project.open(folder / "p")


@given(st.binary(max_size=200))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_project_or_a_named_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p"
    if not path.exists():
        Project.create(path, Settings(), Ethogram())
    manifest, table = path / MANIFEST, path / "recordings.csv"
    whole = manifest.read_bytes()
    table.write_bytes(data)
    with suppress(EthoPrismError):
        assert len(Project.open(path).recording_ids) == len(Project.open(path).entries)
    manifest.write_bytes(data)
    with pytest.raises(EthoPrismError):
        Project.open(path)
    manifest.write_bytes(whole)


def test_what_people_wrote_into_the_manifest_is_kept(folder: Path) -> None:
    manifest = folder / "p" / MANIFEST
    manifest.write_text(manifest.read_text() + '\n# by hand\n[lab]\nroom = "4"\n')
    Project.open(folder / "p").with_settings(Settings(step=2))
    text = manifest.read_text()
    assert "# by hand" in text and 'room = "4"' in text
    assert Project.open(folder / "p").settings.step == 2


def test_a_project_is_not_made_over_another(folder: Path) -> None:
    before = (folder / "p" / MANIFEST).read_bytes()
    with pytest.raises(ProjectError, match="already"):
        Project.create(folder / "p", Settings(), Ethogram())
    assert (folder / "p" / MANIFEST).read_bytes() == before
    with pytest.raises(ProjectError, match="not a project"):
        Project.open(folder)


def test_what_another_program_added_meanwhile_is_kept(tmp_path: Path):
    for seed, name in enumerate("ab"):
        write_recording(tmp_path, name, seed, n_frames=5)
    mine = Project.create(tmp_path / "p", Settings(), Ethogram())
    theirs = Project.open(tmp_path / "p")
    workflow.add_recording(theirs, tmp_path / "a.mp4")
    mine, _, _ = workflow.add_recording(mine, tmp_path / "b.mp4")
    assert mine.recording_ids == ("a", "b") == Project.open(tmp_path / "p").recording_ids


def test_a_manifest_that_another_program_changed_is_not_overwritten(tmp_path: Path):
    mine = Project.create(tmp_path / "p", Settings(), Ethogram())
    Project.open(tmp_path / "p").with_ethogram(Ethogram().with_names(["walk"]))
    with pytest.raises(ProjectError, match="changed by another program"):
        mine.with_ethogram(Ethogram().with_names(["rest"]))
    assert Project.open(tmp_path / "p").ethogram.names == ("walk",)


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path):
    for seed, name in enumerate("ab"):
        write_recording(tmp_path, name, seed, n_frames=5)
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    project, _, _ = workflow.add_recording(project, tmp_path / "a.mp4", id="mouse")
    with pytest.raises(ProjectError, match="another recording called 'mouse'"):
        workflow.add_recording(project, tmp_path / "b.mp4", id="Mouse")
