"""What is said about a recording when it is opened: its times, its damage, or why it is refused."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import video_samples as vs
from av.video.stream import VideoStream
from hypothesis import given, settings
from hypothesis import strategies as st
from video_samples import Sample

import ethoprism.indexing
from ethoprism.errors import InputError, VideoError
from ethoprism.recording import (
    content_key,
    id_from_name,
    open_recording,
)
from ethoprism.video import FrameReader

GOP = {"g": "20", "bf": "3", "sc_threshold": "0"}
PLAIN = Sample("plain.mp4", "libx264", options=GOP)
FAST = Sample("fast.mp4", "libx264", "yuv420p", GOP, {"movflags": "faststart"})


def refusal(path: Path) -> VideoError:
    """The error with which a file is refused; it says what was found and what to do."""
    with pytest.raises(VideoError) as caught:
        open_recording(path)
    error = caught.value
    assert str(path) in error.problem
    assert error.remedy
    return error


def test_a_recording_knows_its_size_times_and_content(tmp_path: Path) -> None:
    path = vs.write(tmp_path, PLAIN, 60)
    recording, report = open_recording(path)
    assert (recording.id, recording.path) == ("plain", path)
    assert (recording.n_frames, recording.height, recording.width) == (60, 96, 160)
    assert recording.frame_times.dtype == np.float64
    assert recording.frame_times.tolist() == [n / 25 for n in range(60)]
    assert recording.content_key == content_key(path)
    assert (report.container_frames, report.n_frames) == (60, 60)
    assert not report.variable_rate
    assert report.mean_rate == pytest.approx(25)
    assert not report.damaged
    assert report.warnings == []


def test_only_the_first_frames_are_decoded_where_timestamps_tell_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    decode = ethoprism.indexing._decode

    def counting(path: Path, packets: object, limit: int, *, threads: bool) -> object:
        limits.append(limit)
        return decode(path, packets, limit, threads=threads)  # type: ignore[arg-type]

    monkeypatch.setattr(ethoprism.indexing, "_decode", counting)
    broken = vs.cut(vs.write(tmp_path, FAST, 100), 0.7, "cut.mp4")
    refusal(broken)  # damage, too, is found without decoding
    assert limits == [32]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("absent.mp4", "There is no file"),
        ("folder", "is a folder"),
        ("empty.mp4", "is empty"),
        ("text.mp4", "no video that can be opened"),
        ("sound.mp4", "holds no video stream"),
        ("nothing.mp4", "holds no video stream"),
        ("nothing.avi", "holds no frame"),
        ("nothing.mkv", "no video that can be opened"),
    ],
)
def test_what_is_no_video_is_refused_in_plain_words(
    tmp_path: Path, path: str, problem: str
) -> None:
    file = tmp_path / path
    if path == "folder":
        file.mkdir()
    elif path == "empty.mp4":
        file.touch()
    elif path == "text.mp4":
        file.write_text("day,mouse\n1,Rosa\n" * 50, encoding="utf-8")
    elif path == "sound.mp4":
        vs.write_sound(file)
    elif path != "absent.mp4":
        vs.write_nothing(file)
    error = refusal(file)
    assert problem in error.problem
    assert error.expected
    if path == "sound.mp4":
        assert error.found == "only audio"


def test_an_mp4_whose_index_was_never_written_is_refused(tmp_path: Path) -> None:
    broken = vs.cut(vs.write(tmp_path, PLAIN, 60), 0.6, "broken.mp4")
    error = refusal(broken)
    assert "was not finished" in error.problem
    assert "no index (moov box)" in error.found


@pytest.mark.parametrize(
    ("sample", "marks"),
    [
        (FAST, ["states 100 frames", "mdat"]),
        (
            Sample("frag.mp4", "libx264", "yuv420p", GOP, {"movflags": "frag_keyframe+empty_moov"}),
            ["mdat box"],
        ),
        (Sample("t.mkv", "libx264", options=GOP), ["segment"]),
        (Sample("t.webm", "libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"}), [
            "segment"
        ]),
        (Sample("t.avi", "mjpeg", "yuvj420p"), ["states 100 frames", "RIFF"]),
        (Sample("t.flv", "libx264", options=GOP), ["breaks off"]),
    ],
    ids=lambda value: value.name if isinstance(value, Sample) else "",
)  # fmt: skip
def test_a_truncated_recording_is_refused_and_read_as_far_as_it_goes_if_accepted(
    tmp_path: Path, sample: Sample, marks: list[str]
) -> None:
    path = vs.write(tmp_path, sample, 100)
    with FrameReader(open_recording(path)[0]) as reader:
        whole = [image for _, image in reader.frames()]
    broken = vs.cut(path, 0.61, "broken" + path.suffix)
    error = refusal(broken)
    assert "is damaged" in error.problem
    assert "accept" in error.remedy
    recording, report = open_recording(broken, accept_damaged=True)
    assert report.damaged
    for mark in marks:
        assert any(mark in sentence for sentence in report.warnings)
    assert 10 < recording.n_frames < 100
    assert report.n_frames == recording.n_frames == len(recording.frame_times)
    with FrameReader(recording) as reader:
        for n, image in reader.frames():
            assert image is not None
            # Frames of the last group may lack B-frames between them; times tell which they are.
            number = round((recording.frame_times[n] - recording.frame_times[0]) * 25)
            np.testing.assert_array_equal(image, whole[number])
            np.testing.assert_array_equal(image, reader[n])


def test_a_flash_video_that_is_cut_anywhere_in_a_tag_is_damaged(tmp_path: Path) -> None:
    data = vs.write(tmp_path, Sample("t.flv", "libx264", options=GOP), 30).read_bytes()
    starts = [13]
    while starts[-1] < len(data):
        at = starts[-1]
        starts.append(at + 11 + int.from_bytes(data[at + 1 : at + 4], "big") + 4)
    assert starts[-1] == len(data)
    tag = starts[20]
    for more in (1, 2, 3, 4, 10, 11, 12, 30):  # within its header, and within what follows it
        broken = tmp_path / "broken.flv"
        broken.write_bytes(data[: tag + more])
        assert "is damaged" in refusal(broken).problem, more


def test_a_cut_that_costs_no_frame_is_no_damage(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("tail.avi", "mjpeg", "yuvj420p"), 30)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"idx1") + 20])  # only the index is cut
    recording, report = open_recording(path)
    assert recording.n_frames == 30
    assert not report.damaged


def test_a_stream_that_lies_damaged_at_its_start_is_refused(tmp_path: Path) -> None:
    path = vs.write(tmp_path, PLAIN, 60)
    _, position, size, _ = vs.packet_table(path)[9]
    broken = vs.damage(path, position + 8, size - 8, "start.mp4")
    assert "cannot be decoded whole, the first is 9" in refusal(broken).found


def test_a_constant_rate_that_ticks_cannot_express_is_constant(tmp_path: Path) -> None:
    ticks = [round(n * 1000 / 29.97) for n in range(60)]
    sample = Sample("ntsc.mkv", "mjpeg", "yuvj420p")
    path = vs.write(tmp_path, sample, 60, ticks=ticks, time_base=Fraction(1, 1000))
    _, report = open_recording(path)
    assert not report.variable_rate
    assert report.mean_rate == pytest.approx(29.97, rel=1e-3)
    assert report.warnings == []


def test_gaps_and_duplicates_are_reported_by_frame_number(tmp_path: Path) -> None:
    ticks = [40 * n for n in range(60)]
    ticks[20:] = [tick + 400 for tick in ticks[20:]]
    ticks[31] = ticks[30]
    sample = Sample("gaps.mkv", "mjpeg", "yuvj420p")
    path = vs.write(tmp_path, sample, 60, ticks=ticks, time_base=Fraction(1, 1000))
    recording, report = open_recording(path)
    assert recording.frame_times.tolist() == [tick / 1000 for tick in ticks]
    assert report.duplicates == (31,)
    assert [gap.after for gap in report.gaps] == [19, 31]
    assert report.gaps[0].seconds == pytest.approx(0.44)
    text = " ".join(report.warnings)
    assert "1 frame has the time of the frame before, the first is frame 31." in text
    assert "behind frame 19, where 0.44 s pass" in text


def test_slots_of_dropped_frames_in_an_avi_are_gaps_not_damage(tmp_path: Path) -> None:
    ticks = [*range(30), *range(33, 63)]
    path = vs.write(tmp_path, Sample("slots.avi", "mjpeg", "yuvj420p"), 60, ticks=ticks)
    recording, report = open_recording(path)
    assert recording.n_frames == 60
    assert report.container_frames == 63
    assert not report.damaged
    (gap,) = report.gaps
    assert (gap.after, gap.seconds) == (29, pytest.approx(0.16))
    assert recording.frame_times.tolist() == [tick / 25 for tick in ticks]


@pytest.mark.parametrize("name", ["b.avi", "b.h264"])
def test_absent_timestamps_are_said_to_be_absent(tmp_path: Path, name: str) -> None:
    path = vs.write(tmp_path, Sample(name, "libx264", options=GOP), 40)
    recording, report = open_recording(path)
    assert report.missing_timestamps == 40
    assert recording.frame_times.tolist() == pytest.approx([n / 25 for n in range(40)])
    text = " ".join(report.warnings)
    assert ("nominal rate of 25" if name == "b.h264" else "no time of presentation") in text


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_frames_are_turned_as_the_file_asks(tmp_path: Path, degrees: int) -> None:
    source = vs.write(tmp_path, PLAIN, 10)
    path = tmp_path / "turned.mp4"
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        assert isinstance(stream, VideoStream)
        stream.set_display_rotation(degrees)
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    recording, report = open_recording(path)
    size = (96, 160) if degrees == 180 else (160, 96)
    assert (recording.height, recording.width) == size
    assert report.picture.rotation == degrees
    assert any(f"a turn of {degrees}°" in warning for warning in report.warnings)
    with FrameReader(open_recording(source)[0]) as reader:
        upright = reader[:]
    with FrameReader(recording) as reader:
        assert reader.shape == (10, *size, 3)
        turned = np.rot90(upright, degrees // 90, axes=(1, 2))
        np.testing.assert_array_equal(reader[:], turned)
        np.testing.assert_array_equal([frame for _, frame in reader.frames()], turned)


def test_the_content_key_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    path = vs.write(tmp_path, PLAIN, 20)
    copy = tmp_path / "elsewhere.bin"
    shutil.copy(path, copy)
    key = content_key(path)
    assert key == content_key(copy)
    assert len(key) == 64
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert content_key(copy) != key
    with pytest.raises(VideoError, match="cannot be read"):
        content_key(tmp_path / "absent.mp4")


def test_the_content_key_of_a_large_file_samples_it(tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    size = 3 << 30  # sparse: no space is taken
    with path.open("wb") as file:
        file.truncate(size)
    keys = {content_key(path)}
    for position in (0, size - 1):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"x")
        keys.add(content_key(path))
    with path.open("r+b") as file:
        file.truncate(size - 1)
    keys.add(content_key(path))
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Mouse 3 (day 1)", "Mouse_3_day_1"),
        ("Käfig-7.cam0", "Käfig-7.cam0"),
        ("../../etc/passwd", "etc_passwd"),
        ("...", "recording"),
        ("NUL", "_NUL"),
        ("aux.left", "_aux.left"),
        ("ラット", "ラット"),
    ],
)
def test_ids_are_made_from_file_names(stem: str, name: str) -> None:
    assert id_from_name(stem) == name


@given(st.text(max_size=200))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_an_id_made_from_any_name_is_one_that_is_accepted(stem: str) -> None:
    from ethoprism.recording import check_name

    check_name(id_from_name(stem))


@pytest.mark.parametrize(
    "name", ["", "a/b", "..", ".hidden", "-rf", "a\\b", "con", "a b", "x" * 101]
)
def test_ids_that_are_no_safe_file_names_are_refused(tmp_path: Path, name: str) -> None:
    path = vs.write(tmp_path, PLAIN, 3)
    with pytest.raises(InputError, match="cannot be the id"):
        open_recording(path, name)
    assert open_recording(path, "mouse-1_a.b")[0].id == "mouse-1_a.b"


@pytest.mark.shared
def test_a_real_recording_cut_in_two_is_noticed_without_decoding_it(
    tmp_path: Path, shared_dir: Path
) -> None:
    whole = tmp_path / "whole.mp4"
    source = shared_dir / "recordings" / "courting_flies_120s.mp4"
    with (
        av.open(str(source)) as old,
        av.open(str(whole), "w", options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    broken = vs.cut(whole, 0.5, "half.mp4")
    assert "states 3000 frames" in refusal(broken).found
    recording, _ = open_recording(broken, accept_damaged=True)
    original, _ = open_recording(source)
    assert 1300 < recording.n_frames < 1600
    head = recording.n_frames - 10
    np.testing.assert_array_equal(recording.frame_times[:head], original.frame_times[:head])
