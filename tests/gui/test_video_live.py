"""The video in a real viewer: exact frames, none decoded by the interface, nothing left over."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from video_samples import LONG, Sample, damage, packet_table, write

from ethoprism.decoding import FrameStream
from ethoprism.recording import open_recording
from ethoprism.video import FrameReader

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from napari_ethoprism import _video_array  # noqa: E402
from napari_ethoprism._layers import current_layer, picture_problem  # noqa: E402
from napari_ethoprism._video_array import veiled  # noqa: E402
from napari_ethoprism._viewer_link import ViewerLink  # noqa: E402
from napari_ethoprism.live_video import LiveVideo  # noqa: E402
from napari_ethoprism.session import Session  # noqa: E402

N = 300
THREAD = "ethoprism frames"


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """A recording with one group of pictures."""
    return write(tmp_path, Sample("long.mp4", "libx264", options=LONG), N)


class Bench:
    """A viewer whose recordings are live."""

    def __init__(self, viewer: Any, qtbot: Any) -> None:
        self.viewer, self.qtbot = viewer, qtbot
        self.session = Session()
        self.live = LiveVideo(viewer, self.session, capacity=64 << 20)
        self.link = ViewerLink(viewer, self.session)

    def show(self, n: int) -> np.ndarray:
        """The picture of frame ``n`` once it is there."""
        self.session.seek(n)
        self.qtbot.waitUntil(lambda: self.session.decoding is None, timeout=20_000)
        assert self.session.frame == n
        return self.picture

    @property
    def picture(self) -> np.ndarray:
        """What the layer shows now."""
        layer: Any = current_layer(self.viewer)
        return np.asarray(layer._slice.image.raw)

    def close(self) -> None:
        self.link.close()
        self.live.close()
        self.session.jobs.close()


@pytest.fixture
def bench(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Bench]:
    made = Bench(make_napari_viewer(), qtbot)
    yield made
    made.close()


def threads() -> list[threading.Thread]:
    """Decoding threads that run."""
    return [thread for thread in threading.enumerate() if thread.name == THREAD]


def open_files(path: Path) -> int:
    """How often this process has the file open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found += entry.readlink() == path
        except OSError:
            continue
    return found


def test_every_frame_that_is_sought_is_the_exact_one(bench: Bench, video: Path) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    rng = random.Random(2)
    with FrameReader(layer.metadata["recording"]) as reader:
        for n in [0, N - 1, *rng.sample(range(N), 20), 7, 8, 9, 8, 7]:
            np.testing.assert_array_equal(bench.show(n), reader[n])


def test_the_interface_never_decodes(
    bench: Bench, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    seen: set[str] = set()
    get = FrameStream.get

    def noted(self: FrameStream, *args: Any, **options: Any) -> Any:
        seen.add(threading.current_thread().name)
        return get(self, *args, **options)

    monkeypatch.setattr(FrameStream, "get", noted)
    for n in (250, 3, 120, 299):
        bench.show(n)
    layer.gamma = 0.9
    layer.visible = False
    layer.visible = True
    bench.qtbot.waitUntil(lambda: bench.session.decoding is None)
    assert picture_problem(bench.viewer) == ""
    assert seen == {THREAD}


def test_until_a_frame_is_there_the_picture_is_veiled_and_the_session_says_so(
    bench: Bench, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    first = bench.show(0)
    assert layer.data._supply.settle(20)  # a frame on its way would come in past the gate
    gate = threading.Event()
    get = FrameStream.get

    def held(self: FrameStream, *args: Any, **options: Any) -> Any:
        assert gate.wait(20)
        return get(self, *args, **options)

    monkeypatch.setattr(FrameStream, "get", held)
    bench.session.seek(290)
    assert (bench.session.frame, bench.session.decoding) == (290, 290)
    shown = bench.picture
    near = layer.data._supply.nearest(290)
    with FrameReader(layer.metadata["recording"]) as reader:
        gate.set()
        np.testing.assert_array_equal(shown, veiled(reader[near]))
        bench.qtbot.waitUntil(lambda: bench.session.decoding is None)
        np.testing.assert_array_equal(bench.picture, reader[290])
    assert not np.array_equal(shown, first)


def test_only_the_last_of_many_wishes_is_waited_for(bench: Bench, video: Path) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    for n in range(0, N, 3):
        bench.session.seek(n)
    picture = bench.show(150)
    with FrameReader(layer.metadata["recording"]) as reader:
        np.testing.assert_array_equal(picture, reader[150])


def test_indexing_a_live_layer_gives_exact_frames(
    bench: Bench, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_video_array, "GRACE_S", 0.0)
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    with FrameReader(layer.metadata["recording"]) as reader:
        np.testing.assert_array_equal(layer.data[222], reader[222])
        np.testing.assert_array_equal(layer.data[133, :, :, :], reader[133])
        np.testing.assert_array_equal(np.asarray(layer.data[5:8]), reader[5:8])


def test_damaged_frames_are_black_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    whole = write(tmp_path, Sample("whole.mp4", "libx264", options={"g": "20", "bf": "0"}), 60)
    _, position, size, _ = packet_table(whole)[33]
    path = damage(whole, position + 16, size - 16, "corrupt.mp4")
    recording, _ = open_recording(path, "r", accept_damaged=True)
    from napari_ethoprism._layers import show_recording

    show_recording(bench.viewer, recording, None)
    assert not bench.show(35).any()
    assert "damaged" in picture_problem(bench.viewer)
    assert bench.show(45).any() and picture_problem(bench.viewer) == ""


def test_a_file_that_is_gone_is_told_and_the_next_frame_is_tried_again(
    bench: Bench, video: Path
) -> None:
    from napari_ethoprism._layers import show_recording

    recording, _ = open_recording(video)
    video.rename(video.with_suffix(".away"))
    show_recording(bench.viewer, recording, None)
    assert not bench.show(100).any()
    assert picture_problem(bench.viewer) != ""
    video.with_suffix(".away").rename(video)
    assert bench.show(101).any() and picture_problem(bench.viewer) == ""


def test_a_layer_that_is_removed_leaves_no_thread_and_no_open_file(
    bench: Bench, video: Path
) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    bench.show(40)
    assert len(threads()) == 1 and 1 <= open_files(video) <= 2
    bench.viewer.layers.remove(layer)
    assert threads() == [] and bench.session.moment is None
    gc.collect()
    assert open_files(video) == 0
    bench.viewer.add_layer(layer)  # as an undo of the removal would
    bench.show(41)
    assert len(threads()) == 1


def test_closing_leaves_the_layer_readable(bench: Bench, video: Path) -> None:
    (layer,) = bench.viewer.open(video, plugin="ethoprism")
    exact = bench.show(40)
    bench.live.close()
    assert threads() == [] and bench.session.frames is None and not layer.data.live
    bench.viewer.dims.set_current_step(0, 41)
    bench.viewer.dims.set_current_step(0, 40)
    np.testing.assert_array_equal(bench.picture, exact)
    bench.live = LiveVideo(bench.viewer, bench.session)


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "courting_flies_120s.mp4",
        "headfixed_mouse_250fps.mp4",
        "openfield_mouse_yuv444.mp4",
        "zebra_finch_25fps.mp4",
    ],
)
def test_shared_recordings_are_exact_at_random_frames(
    bench: Bench, shared_dir: Path, name: str
) -> None:
    path = shared_dir / "recordings" / name
    if not path.is_file():
        pytest.skip(f"{name} is absent")
    (layer,) = bench.viewer.open(path, plugin="ethoprism")
    recording = layer.metadata["recording"]
    numbers = random.Random(5).sample(range(recording.n_frames), 6)
    with FrameReader(recording) as reader:
        for n in (*numbers, numbers[-1] - 1):
            np.testing.assert_array_equal(bench.show(n), reader[n])
