"""Thumbnails of the GUI: the exact frame, the newest request first, nothing left behind."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import workflow
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.thumbnails import Thumbnails, shrink
from ethoprism.video import FrameReader
from ethoprism_datasets.arena_files import write_recording

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy.QtGui import QImage  # noqa: E402

from napari_ethoprism.session import Session  # noqa: E402
from napari_ethoprism.thumbnailer import Thumbnailer  # noqa: E402

N_FRAMES = 30


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "project", Settings(), Ethogram())
    video = write_recording(tmp_path / "videos", "a", 1, n_frames=N_FRAMES).video
    return workflow.add_recording(made, video)[0]


def pixels(image: QImage) -> np.ndarray:
    """uint8 RGB of an image."""
    image = image.convertToFormat(QImage.Format.Format_RGB888)
    bits: Any = image.constBits()
    if hasattr(bits, "setsize"):  # PyQt gives a pointer, PySide a memoryview
        bits.setsize(image.sizeInBytes())
    rows = np.frombuffer(bytes(bits), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)


def test_image_is_the_exact_frame_and_comes_at_once_the_second_time(
    project: Project, qtbot: Any
) -> None:
    session = Session(project=project)
    thumbnailer = Thumbnailer(session, size=64)
    try:
        with FrameReader(project.recording("a")) as frames:
            for n in (12, 3):
                with qtbot.waitSignal(thumbnailer.ready, timeout=10_000) as signal:
                    assert thumbnailer.request("a", "", n) is None
                recording, subject, frame, image = signal.args
                assert (recording, subject, frame) == ("a", "", n)
                np.testing.assert_array_equal(pixels(image), shrink(frames[n], 64))
                again = thumbnailer.request("a", "", n)
                assert again is not None and again == image
        with qtbot.waitSignal(thumbnailer.failed, timeout=10_000) as signal:
            thumbnailer.request("a", "", N_FRAMES)
        assert "no frame 30" in signal.args[3]
    finally:
        thumbnailer.close()


def test_newest_comes_first_and_a_pointer_that_moved_on_is_not_served(
    project: Project, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()
    get = Thumbnails.get

    def slow(self: Thumbnails, recording: str, frame: int, subject: str = "") -> np.ndarray:
        entered.set()
        assert go.wait(10)
        return get(self, recording, frame, subject)

    monkeypatch.setattr(Thumbnails, "get", slow)
    thumbnailer = Thumbnailer(Session(project=project))
    made: list[int] = []
    thumbnailer.ready.connect(lambda _r, _s, frame, _i: made.append(frame))
    try:
        thumbnailer.request("a", "", 0)
        assert entered.wait(10)
        for n in (1, 2):
            thumbnailer.request("a", "", n)
        for n in (10, 11, 12):
            thumbnailer.request("a", "", n, channel="hover")
        go.set()
        qtbot.waitUntil(lambda: len(made) == 4, timeout=10_000)
        assert made == [0, 12, 2, 1]
    finally:
        go.set()
        thumbnailer.close()


def test_closing_ends_the_thread_and_says_no_more(project: Project, qtbot: Any) -> None:
    session = Session(project=project)
    thumbnailer = Thumbnailer(session)
    made: list[int] = []
    thumbnailer.ready.connect(lambda _r, _s, frame, _i: made.append(frame))
    for n in range(10):
        thumbnailer.request("a", "", n)
    thumbnailer.close()
    count = len(made)
    qtbot.wait(50)
    assert len(made) == count
    assert not [t for t in threading.enumerate() if t.name == "thumbnails" and t.is_alive()]
    assert thumbnailer.request("a", "", 1) is None
    session.project = None  # nobody answers any more


def test_another_project_takes_over_at_once(project: Project, tmp_path: Path, qtbot: Any) -> None:
    other = Project.create(tmp_path / "other", Settings(), Ethogram())
    video = write_recording(tmp_path / "more", "a", 9, n_frames=10).video
    other = workflow.add_recording(other, video)[0]
    session = Session(project=project)
    thumbnailer = Thumbnailer(session, size=64)
    try:
        with qtbot.waitSignal(thumbnailer.ready, timeout=10_000) as signal:
            thumbnailer.request("a", "", 2)
        first = signal.args[3]
        session.project = other
        with qtbot.waitSignal(thumbnailer.ready, timeout=10_000) as signal:
            assert thumbnailer.request("a", "", 2) is None
        assert signal.args[3] != first
    finally:
        thumbnailer.close()
