"""Closing the window: nothing that was labelled is lost, or lost without a word."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from label_samples import make_project

from ethoprism import workflow
from ethoprism.annotation import bout_table
from ethoprism.errors import StorageError
from ethoprism.store import AnnotationStore

pytest.importorskip("napari")
from qtpy.QtWidgets import QWidget

from napari_ethoprism import probe_run
from napari_ethoprism.closing import CloseGuard
from napari_ethoprism.labels import Labels
from napari_ethoprism.session import Session

pytestmark = pytest.mark.gui

BOUT = {"recording": "r", "behaviour": "walk", "start_frame": 3, "stop_frame": 9}


@pytest.fixture
def session(tmp_path: Path, qapp: object) -> Any:
    session = Session()
    session.open_project(make_project(tmp_path / "p"))
    yield session
    session.jobs.close()
    session.close()


def _window(session: Session, qtbot: Any) -> QWidget:
    window = QWidget()
    qtbot.addWidget(window)
    CloseGuard(session, window, lambda *_: pytest.fail("asked"))
    window.show()
    return window


def test_a_window_closes_once_the_edits_are_on_the_disk(
    session: Session, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.labels is not None and session.project is not None
    apply, go = AnnotationStore.apply, threading.Event()

    def slow(*arguments: Any, **named: Any) -> Any:
        go.wait(20)
        return apply(*arguments, **named)

    monkeypatch.setattr(AnnotationStore, "apply", slow)
    session.labels.apply(add_bouts=bout_table([BOUT]), description="late")
    threading.Timer(0.1, go.set).start()  # the window waits for the disk by then
    assert _window(session, qtbot).close()
    with workflow.open_annotations(session.project, "read") as store:
        assert store.bouts("r")["start_frame"].tolist() == [3]


def test_a_window_in_which_an_edit_was_refused_stays_open_once(
    session: Session, qtbot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.labels is not None
    told: list[Any] = []
    session.labels.refused.connect(told.append)

    def full(*arguments: Any, **named: Any) -> Any:
        raise StorageError("The disk is full")

    monkeypatch.setattr(AnnotationStore, "apply", full)
    session.labels.apply(add_bouts=bout_table([BOUT]), description="lost")
    window = _window(session, qtbot)
    assert not window.close() and window.isVisible()
    assert [str(error) for error in told] == ["The disk is full."]
    assert window.close()


def test_work_on_labels_that_the_disk_does_not_take_is_not_begun(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels: Labels | None = session.labels
    assert labels is not None
    monkeypatch.setattr(probe_run, "_SAVING_S", 0.05)
    go = threading.Event()
    labels.later(lambda: (go.wait(20), None)[1])
    task: Any = probe_run.when_saved(labels, lambda: pytest.fail("begun"))
    with pytest.raises(StorageError, match="not on the disk yet"):
        task()
    go.set()
    began: list[bool] = []
    ready: Any = probe_run.when_saved(labels, lambda: began.append(True))
    monkeypatch.setattr(probe_run, "_SAVING_S", 20.0)
    ready()
    assert began == [True]
