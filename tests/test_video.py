"""Frame n is the same frame in sequential reading and in random access, in every container."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Thread

import av
import numpy as np
import pytest
import video_samples as vs
from av.video.frame import VideoFrame
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from video_samples import LONG, OPEN_GOP, SAMPLES, SHORT, VP9, Sample

from ethoprism.errors import VideoError
from ethoprism.frame_index import load_index, save_index
from ethoprism.frame_source import FrameSource
from ethoprism.recording import Recording, open_recording
from ethoprism.video import FrameReader, RgbConverter


def opened(path: Path, *, damaged: bool = False) -> Recording:
    return open_recording(path, accept_damaged=damaged)[0]


def check_frames(recording: Recording, numbers: list[int]) -> list[np.ndarray | None]:
    """The frames in sequence, after they were found equal to those of random access."""
    with FrameReader(recording, cache_bytes=0) as reader:
        frames = list(reader.frames())
        assert [n for n, _ in frames] == list(range(len(numbers)))
        shown = [n if image is None else vs.number_in(image) for n, image in frames]
        assert shown == numbers
        # In any order; of a long recording a part, for each is decoded from its key picture on.
        for n in random.Random(7).sample(range(len(frames)), min(len(frames), 100)):
            expected = frames[n][1]
            if expected is None:
                with pytest.raises(VideoError, match=f"Frame {n} "):
                    reader[n]
            else:
                np.testing.assert_array_equal(reader[n], expected)
    return [image for _, image in frames]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_frame_n_is_the_same_frame_whichever_way_it_is_reached(
    tmp_path: Path, sample: Sample
) -> None:
    n = 320 if sample.name.startswith("long") else 70
    path = vs.write(tmp_path, sample, n)
    recording, report = open_recording(path)
    assert not report.damaged
    check_frames(recording, list(range(n)))
    expected = np.array([number / 25 for number in range(n)])
    start = recording.frame_times[0]
    # MPEG streams and FLV put their first frame later by the encoder's delay.
    assert 0 <= start < 0.6
    np.testing.assert_allclose(recording.frame_times - start, expected, rtol=0, atol=6e-4)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.webm"])
def test_times_of_a_variable_rate_are_the_times_that_were_written(
    tmp_path: Path, name: str
) -> None:
    rng = np.random.default_rng(3)
    ticks = (9000 + 90 * np.cumsum(rng.integers(10, 120, 60))).tolist()
    codec, options = ("libvpx-vp9", VP9) if name.endswith("webm") else ("libx264", SHORT)
    path = vs.write(
        tmp_path, Sample(name, codec, options=options), ticks=ticks, time_base=Fraction(1, 90000)
    )
    recording, report = open_recording(path)
    check_frames(recording, list(range(60)))
    delay = recording.frame_times[0] - ticks[0] / 90000
    assert delay == 0 or name.endswith("ts")
    seconds = [float(Fraction(tick, 90000)) for tick in ticks]
    if name.endswith("ts"):
        np.testing.assert_allclose(recording.frame_times - delay, seconds, atol=1e-9)
    else:
        assert recording.frame_times.tolist() == seconds
    assert report.variable_rate


@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(gaps=st.lists(st.integers(0, 50), min_size=1, max_size=25), start=st.integers(0, 5000))
def test_any_timestamps_even_equal_ones_keep_their_frames(
    tmp_path: Path, gaps: list[int], start: int
) -> None:
    ticks = (start + np.cumsum(gaps)).tolist()
    path = vs.write(
        tmp_path,
        Sample("any.mkv", "mjpeg", "yuvj420p"),
        len(ticks),
        ticks=ticks,
        time_base=Fraction(1, 1000),
    )
    recording, report = open_recording(path)
    check_frames(recording, list(range(len(ticks))))
    assert recording.frame_times.tolist() == [tick / 1000 for tick in ticks]
    assert report.duplicates == tuple(n for n in range(1, len(gaps)) if gaps[n] == 0)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_a_recording_that_does_not_start_at_zero_keeps_its_times(tmp_path: Path, name: str) -> None:
    ticks = [5000 + 40 * n for n in range(50)]
    path = vs.write(
        tmp_path,
        Sample(name, "libx264", options=SHORT),
        50,
        ticks=ticks,
        time_base=Fraction(1, 1000),
    )
    recording = opened(path)
    check_frames(recording, list(range(50)))
    assert recording.frame_times.tolist() == [tick / 1000 for tick in ticks]


def test_frames_that_an_edit_list_cuts_off_are_not_counted(tmp_path: Path) -> None:
    sample = Sample("edit.mp4", "libx264", "yuv420p", SHORT, {"avoid_negative_ts": "disabled"})
    path = vs.write(tmp_path, sample, 60, time_base=Fraction(1, 25), shift=-10)
    recording = opened(path)
    assert recording.n_frames == 50
    check_frames(recording, list(range(10, 60)))
    assert recording.frame_times.tolist() == [n / 25 for n in range(50)]


def test_missing_first_timestamps_are_reported_and_filled_in_line(tmp_path: Path) -> None:
    sample = Sample("first.mkv", "libx264", "yuv420p", SHORT, {"avoid_negative_ts": "disabled"})
    path = vs.write(tmp_path, sample, 60, time_base=Fraction(1, 25), shift=-10)
    recording, report = open_recording(path)
    check_frames(recording, list(range(60)))
    assert report.missing_timestamps == 10
    assert any("10 frames have no time" in warning for warning in report.warnings)
    np.testing.assert_allclose(recording.frame_times, [(n - 10) / 25 for n in range(60)])


def test_the_start_of_a_cut_stream_that_cannot_be_decoded_is_not_counted(tmp_path: Path) -> None:
    whole = vs.write(tmp_path, Sample("whole.ts", "libx264", options=OPEN_GOP))
    table = vs.packet_table(whole)
    key = [i for i, row in enumerate(table) if row[3]][1]
    # From a little before the second key picture on, at the border of a transport packet.
    part = tmp_path / "part.ts"
    header = whole.read_bytes()[: 188 * 3]
    part.write_bytes(header + whole.read_bytes()[table[key - 4][1] // 188 * 188 :])
    recording, report = open_recording(part, accept_damaged=True)
    first = sorted(range(60), key=lambda i: table[i][0]).index(key)
    check_frames(recording, list(range(first, 60)))
    assert any("not counted" in note for note in report.notes)


@pytest.mark.parametrize("is_key", [True, False])
@pytest.mark.parametrize("options", [SHORT, OPEN_GOP], ids=["closed", "open"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_corrupted_packet_costs_what_leans_on_it_and_shifts_nothing(
    tmp_path: Path, name: str, options: dict[str, str], is_key: bool
) -> None:
    path = vs.write(tmp_path, Sample(name, "libx264", options=options), 100)
    whole = check_frames(opened(path), list(range(100)))
    table = vs.packet_table(path)
    keys = [i for i, row in enumerate(table) if row[3]]
    hit = keys[2] if is_key else keys[2] + 5
    broken = vs.damage(path, table[hit][1] + 12, table[hit][2] - 12, f"broken_{name}")
    frames = check_frames(opened(broken), list(range(100)))

    moment = np.argsort(np.argsort([row[0] for row in table]))
    base = [max(k for k in keys if k <= i and moment[k] <= moment[i]) for i in range(100)]
    lost = {int(moment[i]) for i in range(hit, 100) if base[i] == base[hit]}
    if is_key:  # its leading pictures lean on the key picture of an open group, too
        lost |= {int(moment[i]) for i in range(hit, 100) if base[i] == keys[1]}
    else:  # and the leading pictures of the next group on this one: they have its base
        assert base[hit] == keys[2]
    assert {n for n, frame in enumerate(frames) if frame is None} == lost
    for n, frame in enumerate(frames):
        if frame is not None:
            np.testing.assert_array_equal(frame, whole[n])


@pytest.mark.parametrize(
    "sample",
    [
        Sample("m.avi", "mjpeg", "yuvj420p"),
        Sample("m.mkv", "ffv1", options={"level": "3", "slicecrc": "1", "g": "1"}),
        Sample("m.mov", "prores_ks", "yuv422p10le"),
    ],
    ids=lambda sample: sample.codec,
)
def test_where_every_picture_stands_alone_only_the_damaged_one_is_lost(
    tmp_path: Path, sample: Sample
) -> None:
    path = vs.write(tmp_path, sample, 40)
    whole = check_frames(opened(path), list(range(40)))
    _, position, size, _ = vs.packet_table(path)[37]
    broken = vs.damage(path, position + 16, size - 16, "broken" + path.suffix)
    frames = check_frames(opened(broken), list(range(40)))
    assert [n for n, frame in enumerate(frames) if frame is None] == [37]
    for n, frame in enumerate(frames):
        if frame is not None:
            np.testing.assert_array_equal(frame, whole[n])


def test_a_jpeg_that_breaks_off_is_damaged_and_not_half_of_an_older_one(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("usb.avi", "mjpeg", "yuvj420p"), 40)
    _, position, size, _ = vs.packet_table(path)[37]
    end = b"\xff\xd9"  # the picture's data stops short, as when packets of the bus are lost
    broken = vs.damage(path, position + 8 + size // 2, size // 2 - 8, "broken.avi", end)
    frames = check_frames(opened(broken), list(range(40)))
    assert [n for n, frame in enumerate(frames) if frame is None] == [37]


def test_a_decoder_learns_who_made_the_stream_wherever_it_is_entered(tmp_path: Path) -> None:
    # Only the first packet names the encoder, and for x264 before build 151 the decoder reads 4:4:4
    # otherwise. Under a false name the second group cannot be read from the start of the file; a
    # decoder entered at that group would read it, and rightly named old recordings not at all.
    sample = Sample("old.mp4", "libx264", "yuv444p", {**SHORT, "x264-params": "8x8dct=1"})
    path = vs.write(tmp_path, sample, 60)
    content = path.read_bytes()
    name = content.index(b"x264 - core ") + len(b"x264 - core ")
    path.write_bytes(content[:name] + b"148" + content[name + 3 :])
    frames = check_frames(opened(path, damaged=True), list(range(60)))
    assert any(frame is None for frame in frames)


def test_a_damaged_packet_keeps_its_number_where_the_order_had_to_be_decoded(
    tmp_path: Path,
) -> None:
    path = vs.write(tmp_path, Sample("d.avi", "mpeg4", options={"g": "10"}, bframes=2), 60)
    table = vs.packet_table(path)
    keys = [i for i, row in enumerate(table) if row[3]]
    hit = keys[2]
    broken = vs.damage(path, table[hit][1] + 8, table[hit][2] - 8, "broken.avi")
    recording, report = open_recording(broken, accept_damaged=True)
    assert report.damaged
    frames = check_frames(recording, list(range(60)))
    assert sum(frame is None for frame in frames) >= 8
    with pytest.raises(VideoError, match="cannot be decoded whole"):
        open_recording(broken)


def test_hidden_frames_of_vp8_are_not_counted(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("hidden.webm", "libvpx", options=VP9), 60)
    content = bytearray(path.read_bytes())
    _, position, _, _ = vs.packet_table(path)[45]
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    start = content.index(bytes(packets[45])[:24], position)
    content[start] &= ~0x10  # the frame tag's bit "show" (RFC 6386, section 9.1)
    path.write_bytes(content)
    check_frames(opened(path), [n for n in range(60) if n != 45])


def test_key_flags_that_are_false_are_noticed(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("keys.avi", "mpeg4", options={"g": "20"}, bframes=0), 60)
    content = bytearray(path.read_bytes())
    index = content.rindex(b"idx1") + 8
    for entry in range(60):
        content[index + 16 * entry + 4] |= 0x10  # AVIIF_KEYFRAME
    path.write_bytes(content)
    check_frames(opened(path), list(range(60)))


def test_reading_ahead_backwards_and_from_the_cache_gives_the_same(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("scrub.mp4", "libx264", options=LONG), 200)
    with FrameReader(opened(path)) as reader:
        frames = [image for _, image in reader.frames()]
        walk = [*range(100, 130), *range(129, 60, -1), 199, 0, 199, 198, *range(0, 200, 37)]
        for n in walk:
            image = reader[n]
            np.testing.assert_array_equal(image, frames[n])
            image[:] = 0  # what a caller does with a frame is the caller's own


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory):
    path = vs.write(
        tmp_path_factory.mktemp("reader"), Sample("r.mp4", "libx264", options=SHORT), 50
    )
    with FrameReader(opened(path)) as reader:
        yield reader


@pytest.fixture(scope="module")
def images(reader: FrameReader) -> np.ndarray:
    return np.stack([image for _, image in reader.frames() if image is not None])


def test_a_reader_is_indexed_as_an_array_is(reader: FrameReader, images: np.ndarray) -> None:
    assert isinstance(reader, FrameSource)
    assert (reader.shape, reader.dtype, reader.ndim) == (images.shape, images.dtype, images.ndim)
    assert len(reader) == 50
    keys = [
        0, -1, -50, np.int64(7), slice(3, 9), slice(None, None, -7), slice(40, 20, -3), slice(9, 3),
        slice(-5, None), (4, slice(2, 9), 5), (slice(0, 40, 9), ..., 1), (..., 2), (5, ..., 0),
    ]  # fmt: skip
    for key in keys:
        np.testing.assert_array_equal(reader[key], images[key])
    for key in (50, -51):
        with pytest.raises(IndexError):
            reader[key]
    for key in ("1", 1.5, None):
        with pytest.raises(TypeError):
            reader[key]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    start=st.integers(-60, 60),
    stop=st.none() | st.integers(-60, 60),
    step=st.integers(1, 30),
)
def test_frames_iterates_over_a_slice(
    reader: FrameReader, images: np.ndarray, start: int, stop: int | None, step: int
) -> None:
    got = list(reader.frames(start, stop, step))
    assert [n for n, _ in got] == list(range(*slice(start, stop, step).indices(50)))
    for n, image in got:
        assert image is not None
        np.testing.assert_array_equal(image, images[n])


def test_frames_between_the_steps_are_not_converted(
    reader: FrameReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted: list[VideoFrame] = []
    convert = RgbConverter.__call__

    def counting(self: RgbConverter, frame: VideoFrame) -> np.ndarray:
        converted.append(frame)
        return convert(self, frame)

    monkeypatch.setattr(RgbConverter, "__call__", counting)
    assert len(list(reader.frames(0, 50, 10))) == len(converted) == 5


def test_several_iterators_and_threads_read_at_a_time(
    reader: FrameReader, images: np.ndarray
) -> None:
    for (n, a), (m, b) in zip(reader.frames(0, 20), reader.frames(25, 45), strict=True):
        np.testing.assert_array_equal(a, images[n])
        np.testing.assert_array_equal(b, images[m])
        np.testing.assert_array_equal(reader[49 - n], images[49 - n])
    wrong: list[int] = []

    def read(seed: int) -> None:
        rng = random.Random(seed)
        asked = rng.sample(range(50), 15)
        wrong.extend(n for n in asked if not np.array_equal(reader[n], images[n]))

    threads = [Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closed_reader_and_a_step_of_zero_are_refused(tmp_path: Path) -> None:
    recording = opened(vs.write(tmp_path, Sample("c.mp4", "libx264"), 10))
    with FrameReader(recording) as reader:
        with pytest.raises(ValueError, match="step"):
            reader.frames(step=0)
        iterator = reader.frames()
        next(iterator)
    assert next(iterator)[0] == 1  # it reads the file on its own
    for use in (lambda: reader[0], reader.frames):
        with pytest.raises(ValueError, match="closed"):
            use()
    iterator.close()  # type: ignore[attr-defined]


def test_a_file_that_changed_since_it_was_imported_is_noticed(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("same.mp4", "libx264", options=SHORT), 60)
    recording = opened(path)
    vs.write(tmp_path, Sample("same.mp4", "libx264", options={"g": "7"}), 60)
    with FrameReader(recording) as reader, pytest.raises(VideoError, match="changed"):
        list(reader.frames())
    without_index = Recording(
        recording.id, path, 59, 96, 160, recording.frame_times[:59], recording.content_key
    )
    with pytest.raises(VideoError, match="not the file"):
        FrameReader(without_index)


def test_a_recording_without_index_and_with_a_stored_one_read_alike(tmp_path: Path) -> None:
    path = vs.write(tmp_path, Sample("i.mkv", "libx264", options=SHORT), 40)
    recording = opened(path)
    assert recording.index is not None
    save_index(recording.index, tmp_path / "i.npz")
    fields = (recording.id, path, 40, 96, 160, recording.frame_times, recording.content_key)
    stored = Recording(*fields, load_index(tmp_path / "i.npz"))
    for other in (stored, Recording(*fields)):
        check_frames(other, list(range(40)))
    (tmp_path / "i.npz").write_bytes(b"no archive")
    with pytest.raises(VideoError, match="Delete it"):
        load_index(tmp_path / "i.npz")


@pytest.mark.parametrize(
    ("color_range", "white"), [(1, 255), (2, 235)], ids=["limited", "full range"]
)
def test_the_range_that_a_stream_states_is_respected(
    tmp_path: Path, color_range: int, white: int
) -> None:
    path = tmp_path / "range.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        stream.codec_context.color_range = color_range
        frame = VideoFrame(32, 32, "yuv420p")
        frame.color_range = color_range
        for plane, value in zip(frame.planes, (235, 128, 128), strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with FrameReader(opened(path)) as reader:
        assert np.unique(reader[0]).tolist() == [white]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("courting_flies_120s.mp4", 3000),
        ("openfield_mouse_yuv444.mp4", 2330),
        ("headfixed_mouse_250fps.mp4", 994),
        ("zebra_finch_25fps.mp4", 497),
    ],
)
def test_real_recordings_read_the_same_both_ways(shared_dir: Path, name: str, n: int) -> None:
    recording, report = open_recording(shared_dir / "recordings" / name)
    assert recording.n_frames == report.container_frames == n
    assert report.warnings == []
    assert all(a < b for a, b in pairwise(recording.frame_times))
    sampled = sorted(random.Random(1).sample(range(n), 8))
    with FrameReader(recording) as reader:
        # Numbered independently: by the order of a plain decode of the first 700 frames.
        with av.open(str(recording.path)) as container:
            plain = zip(range(min(n, 700)), container.decode(video=0), strict=False)
            to_rgb = RgbConverter()
            wanted = set(sampled[:3]) | {60, 590}
            kept = {i: to_rgb(frame) for i, frame in plain if i in wanted}
        for i in random.Random(2).sample(sorted(kept), len(kept)):
            np.testing.assert_array_equal(reader[i], kept[i])
        sequence = dict(reader.frames(0, None, 97))
        for i in random.Random(3).sample(sorted(sequence), 6):
            np.testing.assert_array_equal(reader[i], sequence[i])
