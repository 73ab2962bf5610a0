"""Truncated files open as far as they go, lies in headers are refused at once, nothing escapes."""

from __future__ import annotations

import json
import shutil
import struct
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from format_samples import CASES, EPOCH, HEIGHT, TIMES, WIDTH, N, Written, grey, norpix_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ethoprism import registry
from ethoprism.errors import EthoPrismError, InputError, VideoError
from ethoprism.frame_source import Reader
from ethoprism.recording import open_frames, open_recording, reader_of

RATE = np.arange(N) / 25.0


def _cut(path: Path, count: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-count])


@pytest.mark.parametrize(
    ("name", "lost", "kept"),
    [
        ("fmf 1", 100, N - 1),
        ("fmf 3", 100, N - 1),
        ("norpix 5", 2_000, N - 1),
        ("norpix JPEG", 10, N - 1),
        ("ufmf 1", 30, N - 1),
        ("ufmf 3 unfinished", 30, N - 1),
        ("ufmf 4 fixed", 30, N - 1),
        ("tiff plain", 30_000, N - 2),
        ("tiff imagej", 30_000, 1),
    ],
)
def test_a_truncated_file_gives_its_whole_frames(name: str, lost: int, kept: int, tmp_path: Path):
    written: Written = CASES[name][1](tmp_path)
    _cut(written.path, lost)
    times = None if written.times is not None else np.arange(kept) / 25.0
    if name.startswith("tiff"):
        times = np.arange(registry.load("readers", "tiff").inspect(written.path, "").n_frames) / 25
    with pytest.raises(VideoError, match="damaged"):
        open_recording(written.path, frame_times=times)
    recording, report = open_recording(written.path, accept_damaged=True, frame_times=times)
    assert report.damaged
    assert recording.n_frames >= kept
    with closing(open_frames(recording)) as frames:
        for n, frame in frames.frames(0, kept):
            np.testing.assert_array_equal(frame, written.frames[n])


def test_a_damaged_image_is_a_damaged_frame_and_shifts_none(tmp_path: Path):
    written = CASES["images png"][1](tmp_path)
    (written.path / "frame_7.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 50)  # frame 2
    whole = written.path / "frame_9.png"  # frame 4: its header is sound
    whole.write_bytes(whole.read_bytes()[:300])
    recording, report = open_recording(written.path, accept_damaged=True, frame_times=RATE)
    assert any("frame_7.png" in text for text in report.damage)
    with closing(open_frames(recording)) as frames:
        shown = dict(frames.frames())
        assert [n for n, frame in shown.items() if frame is None] == [2, 4]
        np.testing.assert_array_equal(shown[5], written.frames[5])
        with pytest.raises(VideoError, match="Frame 2"):
            frames[2]


def test_a_damaged_jpeg_in_a_sequence_is_one_damaged_frame(tmp_path: Path):
    written = CASES["norpix JPEG"][1](tmp_path)
    content = bytearray(written.path.read_bytes())
    (first,) = struct.unpack_from("<I", content, 1024)
    second = 1024 + first + 8
    content[second + 8 : second + 400] = b"\0" * 392  # the second image, behind its first bytes
    written.path.write_bytes(content)
    recording, _ = open_recording(written.path)
    with closing(open_frames(recording)) as frames:
        shown = dict(frames.frames())
    assert [n for n, frame in shown.items() if frame is None] == [1]
    np.testing.assert_array_equal(shown[2], written.frames[2])


def test_images_of_several_sizes_kinds_and_pages_are_refused(tmp_path: Path):
    written = CASES["images png"][1](tmp_path)
    Image.new("RGB", (50, 40)).save(written.path / "frame_20.png")
    with pytest.raises(VideoError, match=r"frame_20\.png"):
        open_recording(written.path, frame_times=RATE)
    (written.path / "frame_20.png").unlink()
    Image.new("RGB", (50, 40)).save(written.path / "thumbs.jpg")
    with pytest.raises(InputError, match="1 jpg, 9 png"):
        open_recording(written.path, frame_times=RATE)
    recording, _ = open_recording(written.path, array="png", frame_times=RATE)
    with closing(open_frames(recording)) as frames:
        np.testing.assert_array_equal(frames[3], written.frames[3])


def test_missing_numbers_and_turned_images_are_reported(tmp_path: Path):
    written = CASES["images png"][1](tmp_path)
    (written.path / "frame_8.png").unlink()
    (written.path / ".frame_8.png").write_bytes(b"of another system")
    _, report = open_recording(written.path, frame_times=RATE[:-1])
    assert any("the first is 8" in note for note in report.notes)

    folder = tmp_path / "turned"
    folder.mkdir()
    image = Image.fromarray(grey()[1])
    exif = image.getexif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    image.save(folder / "a1.png", exif=exif)
    recording, report = open_recording(folder, frame_times=np.zeros(1))
    assert (recording.height, recording.width) == (WIDTH, HEIGHT)
    assert any("EXIF" in note for note in report.notes)
    with closing(open_frames(recording)) as frames:
        np.testing.assert_array_equal(frames[0, :, :, 0], np.rot90(grey()[1], -1))


def test_the_camera_s_own_gaps_are_reported(tmp_path: Path):
    written = CASES["imgstore png"][1](tmp_path)
    np.savez(
        written.path / "000001" / "index.npz",
        frame_number=[4, 5, 9, 10],
        frame_time=TIMES[4:8],
    )
    np.savez(written.path / "000002" / "index.npz", frame_number=[11], frame_time=TIMES[8:])
    recording, report = open_recording(written.path)
    assert recording.n_frames == N
    assert any("leave out 3 frames" in note for note in report.notes)


@pytest.mark.parametrize("back", [False, True])
def test_times_that_cannot_be_are_not_used(back: bool, tmp_path: Path):
    written = CASES["fmf 1"][1](tmp_path)
    content = bytearray(written.path.read_bytes())
    struct.pack_into("<d", content, 28 + 3 * (8 + HEIGHT * WIDTH), EPOCH - 1 if back else np.nan)
    written.path.write_bytes(content)
    reader: Reader = registry.load("readers", "fmf")
    contents = reader.inspect(written.path, "")
    assert contents.frame_times is None
    assert contents.findings.notes
    recording, _ = open_recording(written.path, frame_times=RATE)
    assert recording.times_from == "given"


def _bomb_norpix(folder: Path) -> Path:
    path = folder / "x.seq"
    head = norpix_header(5, 100, 8, 8, HEIGHT * WIDTH, HEIGHT * WIDTH + 8, 2**32 - 1)
    path.write_bytes(head)
    return path


def _bomb_norpix_pixels(folder: Path) -> Path:
    path = _bomb_norpix(folder)
    content = bytearray(path.read_bytes())
    struct.pack_into("<II", content, 548, 2**31, 2**31)
    path.write_bytes(bytes(content) + b"\0" * 9000)
    return path


def _bomb_fmf(folder: Path) -> Path:
    path = folder / "x.fmf"
    path.write_bytes(struct.pack("<IIIQQ", 1, 2**31, 2**31, 8 + 2**62, 10**12) + b"\0" * 100)
    return path


def _bomb_ufmf(folder: Path) -> Path:
    path = folder / "x.ufmf"
    body = struct.pack("<4sIQHHB", b"ufmf", 3, 0, 9, 9, 5) + b"MONO8"
    body += b"\0\4mean" + struct.pack("<cHHd", b"f", 65535, 65535, 0.0)
    path.write_bytes(body)
    return path


def _bomb_ufmf_boxes(folder: Path) -> Path:
    path = folder / "x.ufmf"
    body = struct.pack("<4sIQHHBB", b"ufmf", 4, 0, 60000, 60000, 1, 5) + b"MONO8"
    body += b"\0\4mean" + struct.pack("<cHHd", b"B", 8, 8, 0.0) + b"\0" * 64
    path.write_bytes(body + b"\1" + struct.pack("<dI", 0.0, 2**32 - 1) + b"\0" * 50)
    return path


def _bomb_hdf5(folder: Path) -> Path:
    import h5py

    path = folder / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**12, 64, 64), "uint8", chunks=(1, 64, 64))
        file["x"][0] = 1  # type: ignore[index]
    return path


def _bomb_hdf5_chunk(folder: Path) -> Path:
    import h5py

    path = folder / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (9, 60000, 1000), "uint8", chunks=(4, 60000, 1000), fillvalue=0)
        empty = file.create_dataset("y", (9, 64, 64), "float32", chunks=(9, 64, 64))
        assert empty.id.get_storage_size() == 0
    return path


def _bomb_zarr(folder: Path) -> Path:
    written = CASES["zarr v3"][1](folder)
    file = written.path / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["shape"][0] = 10**12
    file.write_text(json.dumps(metadata))
    return written.path


def _bomb_zarr_chunk(folder: Path) -> Path:
    written = CASES["zarr v2"][1](folder)
    file = written.path / ".zarray"
    metadata = json.loads(file.read_text())
    metadata["chunks"] = [2**40, 96, 160]
    file.write_text(json.dumps(metadata))
    return written.path


def _bomb_zarr_pickle(folder: Path) -> Path:
    written = CASES["zarr v2"][1](folder)
    file = written.path / ".zarray"
    metadata = json.loads(file.read_text())
    metadata["filters"] = [{"id": "pickle"}]
    file.write_text(json.dumps(metadata))
    return written.path


def _bomb_images(folder: Path) -> Path:
    written = CASES["images png"][1](folder)
    file = written.path / "frame_6.png"
    content = bytearray(file.read_bytes())
    struct.pack_into(">II", content, 16, 100_000, 100_000)
    import zlib

    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    file.write_bytes(content)
    return written.path


def _bomb_imgstore(folder: Path) -> Path:
    written = CASES["imgstore png"][1](folder)
    text = (written.path / "metadata.yaml").read_text()
    (written.path / "metadata.yaml").write_text(text.replace("- 96", "- 9600000000"))
    return written.path


def _yaml_with_code(folder: Path) -> Path:
    written = CASES["imgstore png"][1](folder)
    text = (written.path / "metadata.yaml").read_text()
    attack = f"trap: !!python/object/apply:os.mkdir ['{folder / 'trap'}']\n"
    (written.path / "metadata.yaml").write_text(text + attack)
    return written.path


def _tiff_lying(folder: Path) -> Path:
    import tifffile

    path = folder / "x.tif"
    tifffile.imwrite(path, grey(), imagej=True, metadata={"axes": "TYX"})
    content = path.read_bytes()
    assert b"images=9\n" in content and b"frames=9\n" in content
    content = content.replace(b"images=9\n", b"images=\xb9\n").replace(b"frames=9", b"frames=8")
    path.write_bytes(content[:200])
    return path


BOMBS: dict[str, Callable[[Path], Path]] = {
    f.__name__.strip("_"): f
    for f in (
        _bomb_norpix, _bomb_norpix_pixels, _bomb_fmf, _bomb_ufmf, _bomb_ufmf_boxes, _bomb_hdf5,
        _bomb_hdf5_chunk, _bomb_zarr, _bomb_zarr_chunk, _bomb_zarr_pickle, _bomb_images,
        _bomb_imgstore, _yaml_with_code, _tiff_lying,
    )
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_lies_in_headers_are_refused_at_once(name: str, tmp_path: Path):
    path = BOMBS[name](tmp_path)
    assert reader_of(path).name != "ffmpeg"
    start = time.monotonic()
    with pytest.raises(InputError):
        open_recording(path, frame_times=RATE)
    assert time.monotonic() - start < 5
    assert not (tmp_path / "trap").exists()


def test_hdf5_that_leads_elsewhere_is_refused(tmp_path: Path):
    import h5py

    written = CASES["hdf5 grey"][1](tmp_path)
    (tmp_path / "raw.bin").write_bytes(grey().tobytes())
    linked = tmp_path / "linked.h5"
    with h5py.File(linked, "w") as file:
        file["far"] = h5py.ExternalLink(written.path.name, "video/frames")
        file["soft"] = h5py.SoftLink("/far")
        raw = [("raw.bin", 0, h5py.h5f.UNLIMITED)]
        file.create_dataset("raw", grey().shape, "uint8", external=raw)
        layout = h5py.VirtualLayout(grey().shape, "uint8")
        layout[:] = h5py.VirtualSource(written.path, "video/frames", grey().shape)
        file.create_virtual_dataset("virtual", layout)
        file.create_dataset("strings", (9, 20, 20), dtype=h5py.string_dtype())
    for name in ("far", "soft", "raw", "virtual", "strings"):
        with pytest.raises(VideoError):
            open_recording(linked, array=name, frame_times=RATE)


@pytest.mark.parametrize("name", ["../outside.mp4", "/etc/passwd", "http://example.org/a.mp4",
                                  "link/outside.mp4", "C:\\a.mp4", ""])  # fmt: skip
def test_nwb_reads_no_video_outside_its_folder(name: str, tmp_path: Path):
    import h5py

    folder = tmp_path / "inside"
    folder.mkdir()
    written = CASES["nwb external"][1](folder)
    shutil.copy(folder / "a.mp4", tmp_path / "outside.mp4")
    if name.startswith("link"):
        (folder / "link").symlink_to(tmp_path)
    with h5py.File(written.path, "r+") as file:
        file["acquisition/camera/external_file"][0] = name  # type: ignore[index]
    with pytest.raises(VideoError, match="outside its folder"):
        open_recording(written.path)


def test_nwb_with_several_series_asks_for_one(tmp_path: Path):
    import h5py

    written = CASES["nwb timestamps"][1](tmp_path)
    with h5py.File(written.path, "r+") as file:
        file.copy("acquisition/camera", "acquisition/second")
    with pytest.raises(InputError, match="acquisition/camera, acquisition/second"):
        open_recording(written.path)
    recording, _ = open_recording(written.path, array="second")
    with closing(open_frames(recording)) as frames:
        np.testing.assert_array_equal(frames[1], written.frames[1])


def test_nwb_says_when_its_files_hold_other_numbers(tmp_path: Path):
    import h5py

    written = CASES["nwb external"][1](tmp_path)
    with h5py.File(written.path, "r+") as file:
        file["acquisition/camera/external_file"].attrs["starting_frame"] = [0, 6]
    contents = registry.load("readers", "nwb").inspect(written.path, "")
    assert contents.n_frames == 10
    assert contents.frame_times is None  # nine timestamps for ten frames
    assert "should hold 6 frames and holds 5" in contents.findings.damage[0]
    recording, _ = open_recording(
        written.path, accept_damaged=True, frame_times=np.arange(10) / 25.0
    )
    with closing(open_frames(recording)) as frames:
        shown = dict(frames.frames())
    assert [n for n, frame in shown.items() if frame is None] == [5]


def test_pickles_in_an_imgstore_are_never_loaded(tmp_path: Path):
    written = CASES["imgstore npy"][1](tmp_path)
    np.save(written.path / "000000" / "000001.npy", np.array([{}], dtype=object), allow_pickle=True)
    table = written.path / "000002" / "index.npz"
    np.savez(table, frame_number=np.array([8], object), frame_time=TIMES[8:])
    recording, report = open_recording(written.path, accept_damaged=True)
    assert recording.n_frames == 8
    assert any("chunk 2" in text for text in report.damage)
    with closing(open_frames(recording)) as frames:
        assert [n for n, frame in frames.frames() if frame is None] == [1]
    table.unlink()
    with zipfile.ZipFile(table, "w") as archive:
        archive.writestr("frame_number.npy", b"no array")
    assert open_recording(written.path, accept_damaged=True)[0].n_frames == 8


@pytest.mark.parametrize(
    "shape", [(9, 96, 160, 2), (9, 2, 96, 160), (96, 160), (2, 9, 3, 96, 160), (0, 96, 160)]
)
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...], tmp_path: Path):
    import h5py

    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(shape, np.uint8)
    for name in ("", "x"):
        with pytest.raises(InputError):
            open_recording(path, array=name, frame_times=RATE)


def test_pixels_that_no_rule_makes_8_bits_are_refused(tmp_path: Path):
    import h5py

    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["signed"] = grey().astype(np.int16)
        file["long"] = grey().astype(np.uint32)
        file["bright"] = grey().astype(np.float32)
        file["dark"] = grey().astype(np.uint16)
    for name in ("signed", "long", "bright"):
        with pytest.raises(InputError):
            open_recording(path, array=name, frame_times=RATE)
    _, report = open_recording(path, array="dark", frame_times=RATE)
    assert any("of 16 bits" in note for note in report.notes)


def test_two_long_axes_of_a_tiff_are_refused_by_name(tmp_path: Path):
    import tifffile

    path = tmp_path / "x.tif"
    stack = np.zeros((4, 3, 96, 160), np.uint8)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(VideoError, match=r"time 4, slices \(z\) 3"):
        open_recording(path, frame_times=RATE)
    tifffile.imwrite(path, stack[0], imagej=True, metadata={"axes": "ZYX"})
    _, report = open_recording(path, frame_times=RATE[:3])
    assert any("taken as time" in note for note in report.notes)


_FILES = sorted(set(CASES) - {name for name in CASES if name.startswith(("zarr", "im"))})


@pytest.mark.parametrize("name", [n for n in _FILES if not n.startswith("nwb")] + ["nwb rate"])
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_no_other_error_comes_out_of_damaged_files(name: str, data: st.DataObject, tmp_path: Path):
    path = tmp_path / "original"
    if not path.exists():
        path.mkdir()
        written = CASES[name][1](path)
        (tmp_path / "name").write_text(written.path.name)
    source = path / (tmp_path / "name").read_text()
    content = bytearray(source.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(content), 1500) - 1))
        new = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(new)] = new
    cut = data.draw(st.sampled_from([len(content), len(content) // 2, 700, 30]))
    damaged = tmp_path / source.name
    damaged.write_bytes(content[:cut])
    reader: Reader = registry.load("readers", CASES[name][0])
    assert reader.matches(damaged) in (True, False)
    try:
        contents = reader.inspect(damaged, "")
        times = np.arange(contents.n_frames, dtype=np.float64)
        recording, _ = open_recording(
            damaged, reader=reader.name, accept_damaged=True, frame_times=times
        )
        with closing(open_frames(recording)) as frames:
            for _, frame in frames.frames(0, 20):
                assert frame is None or frame.shape == frames.shape[1:]
    except EthoPrismError as error:
        assert str(error)
