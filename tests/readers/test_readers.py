"""Every reader: the frames and times that were written, in any order; nothing else comes out."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from format_samples import CASES, N, Written
from toy_backbone import ToyBackbone
from video_samples import number_in

from ethoprism import registry
from ethoprism.errors import InputError, VideoError
from ethoprism.extract import Batches, extract, token_key
from ethoprism.frame_source import FrameSource, Reader
from ethoprism.recording import Recording, open_frames, open_recording, reader_of
from ethoprism.tokens import TokenStore


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    name, make = CASES[request.param]
    return name, make(tmp_path_factory.mktemp("case"))


def _open(written: Written) -> Recording:
    given = np.arange(N) / 25.0 if written.times is None else None
    recording, report = open_recording(written.path, array=written.array, frame_times=given)
    assert not report.damage
    return recording


def _equal(found: np.ndarray, written: Written, numbers: slice | int) -> None:
    truth = written.frames[numbers]
    if written.exact:
        np.testing.assert_array_equal(found, truth)
        return
    # Coded video: the number that each frame shows counts within its file.
    for frame in found if found.ndim == 4 else [found]:
        assert 0 <= number_in(frame) < N


def test_finds_the_frames_and_times_that_were_written(case: tuple[str, Written]):
    name, written = case
    assert reader_of(written.path).name == name
    recording = _open(written)
    assert recording.reader == name
    assert (recording.n_frames, recording.height, recording.width) == written.frames.shape[:3]
    if written.times is not None:
        np.testing.assert_allclose(recording.frame_times, written.times, rtol=0, atol=1e-6)
    with closing(open_frames(recording)) as frames:
        assert isinstance(frames, FrameSource)
        assert frames.shape == written.frames.shape
        assert (len(frames), frames.ndim, frames.dtype) == (N, 4, np.uint8)
        in_order = list(frames.frames())
        assert [n for n, _ in in_order] == list(range(N))
        for n, frame in in_order:
            assert frame is not None
            _equal(frame, written, n)
        for n in (7, 0, 8, 3, 4, 3, -1, -9, np.int64(2)):
            np.testing.assert_array_equal(frames[n], in_order[n][1])
        for part in (slice(None), slice(1, 8, 3), slice(6, 2, -2), slice(4, 4)):
            _equal(frames[part], written, part)
        _equal(frames[...], written, slice(None))
        np.testing.assert_array_equal(frames[..., 0][2], frames[2][..., 0])
        np.testing.assert_array_equal(frames[2, 5:9, 3], frames[2][5:9, 3])
        assert [n for n, _ in frames.frames(-4, None, 2)] == [5, 7]
        with pytest.raises(IndexError):
            frames[N]
        with pytest.raises(TypeError):
            frames["0"]
        with pytest.raises(ValueError, match="step"):
            frames.frames(0, 3, 0)
    frames.close()
    with pytest.raises(ValueError, match="open"):
        frames[0]


def test_videos_in_parts_show_each_part_from_its_start(tmp_path: Path):
    for name, firsts in (("imgstore mp4", [0, 4, 8]), ("nwb external", [0, 5])):
        folder = tmp_path / name
        folder.mkdir()
        written = CASES[name][1](folder)
        with closing(open_frames(_open(written))) as frames:
            shown = [number_in(frames[n]) for n in range(N)]
        assert shown == [n - max(f for f in firsts if f <= n) for n in range(N)]


def test_the_key_is_the_contents_and_not_the_place(case: tuple[str, Written], tmp_path: Path):
    name, written = case
    reader: Reader = registry.load("readers", name)
    key = reader.content_key(written.path)
    assert len(key) == 64 and int(key, 16) >= 0
    shutil.copytree(written.path.parent, tmp_path / "moved")
    moved = tmp_path / "moved" / written.path.name
    assert reader.content_key(moved) == key
    files = sorted(f for f in moved.rglob("*") if f.is_file()) if moved.is_dir() else [moved]
    with files[-1].open("ab") as file:
        file.write(b"x")
    assert reader.content_key(moved) != key


def test_threads_may_share_a_source(case: tuple[str, Written]):
    _, written = case
    failures: list[str] = []
    with closing(open_frames(_open(written))) as frames:
        truth = frames[:]

        def check(seed: int) -> None:
            numbers = np.random.default_rng(seed).integers(0, N, 12)
            failures.extend(f"{n}" for n in numbers if not np.array_equal(frames[n], truth[n]))

        threads = [threading.Thread(target=check, args=(seed,)) for seed in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


@pytest.mark.parametrize("name", ["ufmf 3", "images png", "norpix JPEG", "nwb external"])
def test_tokens_come_out_as_from_any_recording(name: str, tmp_path: Path):
    written = CASES[name][1](tmp_path)
    recording = _open(written)
    backbone = ToyBackbone()
    key = token_key(backbone.card, hop=3)
    steps = list(
        extract(recording, backbone, key, tmp_path / "t", batches=Batches(frames=5, windows=2))
    )
    assert steps[-1].done == steps[-1].total
    store = TokenStore.open(tmp_path / "t", key, N, recording.content_key)
    assert store.valid().all()


def test_a_name_of_an_array_is_refused_where_there_is_none(case: tuple[str, Written]):
    name, written = case
    if written.array:
        with pytest.raises(InputError, match=r"arrays"):
            open_recording(written.path)
    with pytest.raises(InputError):
        registry.load("readers", name).inspect(written.path, "no such array")


def test_a_format_without_times_asks_for_them(tmp_path: Path):
    written = CASES["hdf5 grey"][1](tmp_path)
    with pytest.raises(InputError, match="does not state when"):
        open_recording(written.path)


def test_other_files_and_folders_are_left_to_other_readers(tmp_path: Path):
    (tmp_path / "x.fmf").write_bytes(b"no movie")
    (tmp_path / "x.ufmf").write_bytes(b"")
    (tmp_path / "x.seq").write_bytes(b"\xed\xfe\0\0 something else")
    (tmp_path / "x.tif").write_bytes(b"II")
    (tmp_path / "x.h5").write_bytes(b"\x89HDF")
    (tmp_path / "x.nwb").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("")
    (tmp_path / "folder" / "metadata.yaml").write_text("title: other\n")
    for path in (*tmp_path.iterdir(), tmp_path / "absent", tmp_path / "absent.seq"):
        assert reader_of(path).name == "ffmpeg"
        with pytest.raises(VideoError):
            open_recording(path)
