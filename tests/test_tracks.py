"""Tracks as other programs write them, and what does not fit is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism.errors import EthoPrismError, InputError
from ethoprism.tracks import Track, load_tracks, read_tracks, renamed, write_tracks

N = 12


def _points(seed: int = 0, animals: int = 2, nodes: int = 3) -> np.ndarray:
    """``[animals, frames, nodes, 2]``, with an animal out of sight in frames 4 to 6."""
    points = np.random.default_rng(seed).uniform(0, 100, (animals, N, nodes, 2)).round(2)
    points[0, 4:7] = np.nan
    return points


def _analysis(path: Path, points: np.ndarray, names: list[str]) -> Path:
    with h5py.File(path, "w") as file:
        file["tracks"] = points.transpose(0, 3, 2, 1)
        file["track_names"] = np.array([name.encode() for name in names])
    return path


def _pose_csv(path: Path, points: np.ndarray, names: list[str] | None, low: float = 0.9) -> Path:
    animals, _, nodes, _ = points.shape
    columns = [(a, n, c) for a in range(animals) for n in range(nodes) for c in "xyl"]
    rows = [["scorer"] + ["net"] * len(columns)]
    if names:
        rows.append(["individuals"] + [names[a] for a, _, _ in columns])
    rows.append(["bodyparts"] + [f"part{n}" for _, n, _ in columns])
    rows.append(["coords"] + [{"x": "x", "y": "y", "l": "likelihood"}[c] for *_, c in columns])
    for frame in range(points.shape[1]):
        row = [str(frame)]
        for a, n, c in columns:
            xy = points[a, frame, n]
            value = low if c == "l" else xy["xy".index(c)]
            row.append("" if np.isnan(value) else repr(float(value)))
        rows.append(row)
    path.write_text("\n".join(",".join(row) for row in rows) + "\n")
    return path


def _expected(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen = np.isfinite(points[:, :, 0, 0])
    centres = np.full((*seen.shape, 2), np.nan)
    boxes = np.full((*seen.shape, 4), np.nan)
    centres[seen] = np.median(points[seen], axis=1)
    boxes[seen] = np.concatenate([points[seen].min(axis=1), points[seen].max(axis=1)], axis=1)
    return centres, boxes


@pytest.mark.parametrize("format", ["sleap", "slp", "dlc", "madlc"])
def test_pose_files_give_the_middle_and_the_box_of_each_animal(tmp_path: Path, format: str):
    points = _points(animals=1 if format == "dlc" else 2)
    names = ["resident", "intruder"][: len(points)]
    if format == "sleap":
        path = _analysis(tmp_path / "a.h5", points, names)
    elif format == "slp":
        path = _slp(tmp_path / "a.slp", points, names)
    else:
        path = _pose_csv(tmp_path / "a.csv", points, names if format == "madlc" else None)
    tracks, notes = read_tracks(path, N)
    assert [t.subject for t in tracks] == (["animal"] if format == "dlc" else names)
    centres, boxes = _expected(points)
    for track, centre, box in zip(tracks, centres, boxes, strict=True):
        np.testing.assert_allclose(track.centres, centre, atol=1e-4)
        np.testing.assert_allclose(track.boxes, box, atol=1e-4)
    assert any("not seen in 3 of 12 frames" in note for note in notes)


def _slp(path: Path, points: np.ndarray, names: list[str]) -> Path:
    sleap_io = pytest.importorskip("sleap_io")
    skeleton = sleap_io.Skeleton([f"n{i}" for i in range(points.shape[2])])
    video = sleap_io.Video(filename="none.mp4")
    found = [sleap_io.Track(name) for name in names]
    frames = []
    for number in range(points.shape[1]):
        instances = [
            sleap_io.Instance.from_numpy(points[a, number], skeleton=skeleton, track=track)
            for a, track in enumerate(found)
            if np.isfinite(points[a, number]).any()
        ]
        frames.append(sleap_io.LabeledFrame(video=video, frame_idx=number, instances=instances))
    labels = sleap_io.Labels(frames, videos=[video], skeletons=[skeleton], tracks=found)
    labels.save(str(path))
    return path


def test_unlikely_points_count_as_not_seen(tmp_path: Path):
    path = _pose_csv(tmp_path / "a.csv", _points(animals=1), None, low=0.4)
    with pytest.raises(InputError, match="no animal in any frame"):
        read_tracks(path, N)
    tracks, _ = read_tracks(path, N, min_likelihood=0.3)
    assert tracks[0].seen.sum() == N - 3


@pytest.mark.parametrize(
    "header", ["frame,subject,left,top,right,bottom", "frame,track,x,y,width,height"]
)
def test_boxes_are_found_by_the_names_of_their_columns(tmp_path: Path, header: str):
    sizes = "width" in header
    rows = [
        f"{f},m,{f},{2 * f},{10 if sizes else f + 10},{20 if sizes else 2 * f + 20}"
        for f in (0, 3, 5)
    ]
    path = tmp_path / "boxes.csv"
    path.write_text("\n".join([header, *rows]))
    ((track,), _) = read_tracks(path, N)
    np.testing.assert_array_equal(np.flatnonzero(track.seen), [0, 3, 5])
    np.testing.assert_array_equal(track.boxes[3], [3, 6, 13, 26])
    np.testing.assert_array_equal(track.centres[3], [8, 16])
    assert track.lengths[3] == 20


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("frame,left,top,right,bottom\n12,0,0,1,1\n", "does not have"),
        ("frame,left,top,right,bottom\n-1,0,0,1,1\n", "does not have"),
        ("frame,left,top,right,bottom\n1.5,0,0,1,1\n", "does not have"),
        ("frame,left,top,right,bottom\n1,0,0,1,1\n1,0,0,1,1\n", "twice"),
        ("frame,left,top,right,bottom\n1,a,0,1,1\n", "not a number"),
        ("a,b\n1,2\n", "no table of tracks"),
        ("scorer,a\nfoo,b\n", "DeepLabCut"),
        ("", "cannot be read"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, text: str, match: str):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=match):
        read_tracks(path, N)


def test_a_track_that_outlasts_the_recording_is_refused(tmp_path: Path):
    path = _analysis(tmp_path / "a.h5", _points(), ["a", "b"])
    with pytest.raises(InputError, match="after the recording ends"):
        read_tracks(path, N - 1)
    tracks, _ = read_tracks(path, N + 5)
    assert not tracks[0].seen[N:].any()


def test_names_that_cannot_name_files_are_changed_and_said(tmp_path: Path):
    path = _analysis(tmp_path / "a.h5", _points(), ["../evil", "b"])
    tracks, notes = read_tracks(path, N)
    assert tracks[0].subject == "evil" and any("../evil" in note for note in notes)
    with pytest.raises(InputError, match="id of a subject"):
        renamed(tracks, {"evil": "../x"})
    with pytest.raises(InputError, match="one name"):
        renamed(tracks, {"evil": "b"})
    assert [t.subject for t in renamed(tracks, {"evil": "good"})] == ["good", "b"]


def test_deeplabcut_h5_is_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(pickle, "loads", refuse)
    path = tmp_path / "dlc.h5"
    with h5py.File(path, "w") as file:
        table = file.create_group("df_with_missing")
        table.attrs["axis0"] = np.void(b"\x80\x04cbuiltins\nprint\n.")
    with pytest.raises(InputError, match=r"\.csv"):
        read_tracks(path, N)


def test_a_header_that_states_too_much_is_not_believed(tmp_path: Path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("tracks", (1000, 2, 1000, 10**7), "f8", chunks=(1, 2, 10, 100))
    with pytest.raises(InputError, match="cannot be SLEAP"):
        read_tracks(path, N)


def test_the_projects_table_keeps_what_was_read(tmp_path: Path):
    path = _analysis(tmp_path / "a.h5", _points(), ["a", "b"])
    tracks, _ = read_tracks(path, N)
    write_tracks(tracks, tmp_path / "t.csv")
    for old, new in zip(tracks, load_tracks(tmp_path / "t.csv", N), strict=True):
        assert old.subject == new.subject
        np.testing.assert_allclose(old.centres, new.centres, atol=0.006)
        np.testing.assert_allclose(old.boxes, new.boxes, atol=0.006)


@given(st.binary(max_size=200), st.sampled_from([".csv", ".h5", ".slp"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_bytes_give_a_named_error_or_tracks(tmp_path: Path, data: bytes, suffix: str):
    path = tmp_path / f"any{suffix}"
    for content in (data, b"\x89HDF\r\n\x1a\n" + data, b"scorer,a\n" + data):
        path.write_bytes(content)
        try:
            tracks, _ = read_tracks(path, N)
        except EthoPrismError:
            continue
        assert all(isinstance(t, Track) for t in tracks)


@pytest.mark.shared
def test_the_flies_tracks_are_read(shared_dir: Path):
    tracks, _ = read_tracks(shared_dir / "recordings" / "courting_flies_120s.analysis.h5", 3000)
    assert [t.subject for t in tracks] == ["track_0", "track_1"]
    assert all(t.seen.all() and 60 < np.median(t.lengths) < 130 for t in tracks)


def test_a_column_of_row_numbers_is_no_column_of_animals(tmp_path: Path):
    path = tmp_path / "a.csv"
    rows = [f"{i},0,0,1,1,{i}" for i in range(300)]
    path.write_text("\n".join(["frame,left,top,right,bottom,id", *rows]))
    with pytest.raises(InputError, match="at most 200"):
        read_tracks(path, 10**9)  # room for each would not fit in memory


def test_a_header_of_very_many_empty_tracks_is_not_believed(tmp_path: Path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("tracks", (2**34, 2, 3, 0), "f8")
    with pytest.raises(InputError, match="at most 200"):
        read_tracks(path, N)


def test_a_data_set_that_lies_in_other_files_is_refused(tmp_path: Path):
    source = _analysis(tmp_path / "other.h5", _points(), ["a", "b"])
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        shape = (2, 2, 3, N)
        layout = h5py.VirtualLayout(shape, "f8")
        layout[:] = h5py.VirtualSource(str(source), "tracks", shape)
        file.create_virtual_dataset("tracks", layout)
    with pytest.raises(InputError, match="in the file itself"):
        read_tracks(path, N)


@pytest.mark.parametrize("videos", [1, 2])
def test_slp_files_that_do_not_fit_are_refused(tmp_path: Path, videos: int):
    sleap_io = pytest.importorskip("sleap_io")
    skeleton = sleap_io.Skeleton(["a", "b"])
    films = [sleap_io.Video(filename=f"{i}.mp4") for i in range(videos)]
    track = sleap_io.Track("m")
    frames = [
        sleap_io.LabeledFrame(
            video=film,
            frame_idx=0 if videos > 1 else 2**30,
            instances=[sleap_io.Instance.from_numpy(np.eye(2), skeleton=skeleton, track=track)],
        )
        for film in films
    ]
    labels = sleap_io.Labels(frames, videos=films, skeletons=[skeleton], tracks=[track])
    labels.save(str(tmp_path / "a.slp"))
    with pytest.raises(InputError, match="several videos" if videos > 1 else "after the recording"):
        read_tracks(tmp_path / "a.slp", N)


@pytest.mark.parametrize("first", [0, 1])
def test_a_table_that_may_count_from_one_is_remarked_on(tmp_path: Path, first: int):
    path = tmp_path / "a.csv"
    path.write_text(f"frame,left,top,right,bottom\n{first},0,0,1,1\n5,0,0,1,1\n")
    _, notes = read_tracks(path, N)
    assert any("counts from 1" in note for note in notes) == (first == 1)


def test_tracks_of_another_frame_size_are_remarked_on(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("frame,left,top,right,bottom\n0,90,0,110,9\n1,200,0,210,9\n")
    _, notes = read_tracks(path, N, frame_size=(50, 100))
    assert any("outside the frame in 1 frames" in note for note in notes)
    _, notes = read_tracks(path, N, frame_size=(50, 300))
    assert not any("outside" in note for note in notes)


def test_the_arenas_table_is_read(tmp_path: Path):
    path = tmp_path / "a.csv"
    header = "recording,frame,subject,x,y,heading_rad,body_length_px,x0,y0,x1,y1"
    path.write_text(f"{header}\na,0,mouse_a,15,10,0.8,20,5,4,25,16\n")
    ((track,), _) = read_tracks(path, N)
    assert track.subject == "mouse_a" and track.lengths[0] == 20
    np.testing.assert_array_equal(track.boxes[0], [5, 4, 25, 16])
