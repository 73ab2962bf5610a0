"""Labels in memory and on the disk: in step, saved in a thread, and honest about it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from label_samples import make_project

from ethoprism import edits, workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import EthoPrismError, LabelError, ProjectError, StorageError
from ethoprism.project import Project
from ethoprism.store import AnnotationStore
from napari_ethoprism.label_tables import updated
from napari_ethoprism.labels import Labels
from napari_ethoprism.session import Session


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


def _bout(start: int, stop: int, recording: str = "r", **more: object) -> pd.DataFrame:
    row = {"recording": recording, "behaviour": "walk", "start_frame": start, "stop_frame": stop}
    return bout_table([{**row, **more}])


def _on_disk(project: Project, recording: str = "r") -> tuple[pd.DataFrame, pd.DataFrame]:
    with workflow.open_annotations(project, "read") as store:
        return store.bouts(recording), store.spans(recording)


def _same(labels: Labels, project: Project) -> None:
    labels.wait()
    for recording in project.recording_ids:
        bouts, spans = _on_disk(project, recording)
        pd.testing.assert_frame_equal(labels.bouts(recording), bouts)
        pd.testing.assert_frame_equal(labels.spans(recording), spans)


def test_tables_stay_as_on_the_disk_through_many_edits_undone_and_redone(project: Project):
    rng = np.random.default_rng(3)
    labels = Labels(project, annotator="anna")
    heard: list[frozenset[str]] = []
    labels.changed.connect(heard.append)
    for name in project.recording_ids:
        labels.bouts(name)
        labels.spans(name)
    for _ in range(25):
        recording = str(rng.choice(project.recording_ids))
        start = int(rng.integers(0, 900))
        frames = [(start, start + int(rng.integers(1, 80)))]
        table = labels.labelled(project, recording)
        name = str(rng.choice(["walk", "rest", "groom"]))
        make = (edits.label, edits.erase, edits.clear)[int(rng.integers(0, 3))]
        names: Any = name if make is edits.label else [name]
        labels.commit(make(table, frames, names))
        if rng.random() < 0.3:
            labels.undo()
        if rng.random() < 0.2:
            labels.redo()
    assert heard and all(len(names) == 1 for names in heard)
    _same(labels, project)
    before = [(e.description, e.undone) for e in labels.history]
    labels.close()
    again = Labels(project, annotator="anna")
    assert [(e.description, e.undone) for e in again.history] == before
    while again.undo() is not None:
        pass
    _same(again, project)
    assert not len(again.bouts("r")) and not len(again.spans("q"))
    again.close()


def test_an_edit_shows_at_once_and_counts_as_saved_only_on_the_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    labels = Labels(project)
    gate = threading.Event()
    apply = AnnotationStore.apply
    monkeypatch.setattr(AnnotationStore, "apply", lambda *a, **k: gate.wait(20) and apply(*a, **k))
    labels.bouts("r")
    edit = labels.apply(add_bouts=_bout(3, 9), description="one")
    assert labels.bouts("r")["start_frame"].tolist() == [3]
    assert (labels.state.waiting, labels.state.edit) == (1, None)
    assert labels.state.text == "Saving…"
    gate.set()
    labels.wait()
    assert (labels.state.waiting, labels.state.edit) == (0, edit.id)
    assert labels.state.text.startswith("Saved at ") and labels.state.text.endswith("(edit 1)")
    _same(labels, project)
    labels.close()


def test_a_refused_edit_is_told_and_the_tables_go_back(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    labels = Labels(project)
    labels.apply(add_bouts=_bout(3, 9), description="kept")
    labels.wait()
    labels.bouts("r")
    told: list[EthoPrismError] = []
    labels.refused.connect(told.append)
    apply = AnnotationStore.apply

    both = threading.Event()

    def full(*arguments: Any, **named: Any) -> Any:
        both.wait(20)
        raise StorageError("The disk is full", remedy="Free some space.")

    monkeypatch.setattr(AnnotationStore, "apply", full)
    labels.apply(add_bouts=_bout(20, 30), description="lost")
    labels.apply(add_bouts=_bout(40, 50), description="made of what was lost")
    both.set()
    labels._writer.call(lambda: None)
    assert labels.state.text == "Not saved" and "disk is full" in labels.state.problem
    monkeypatch.setattr(AnnotationStore, "apply", apply)
    assert labels.bouts("r")["start_frame"].tolist() == [3]
    assert [str(e) for e in told] == ["The disk is full. Free some space."]
    assert [e.description for e in labels.history] == ["kept"]
    labels.apply(add_bouts=_bout(60, 70), description="again")
    _same(labels, project)
    assert labels.state.problem == "" and labels.bouts("r")["start_frame"].tolist() == [3, 60]
    labels.close()


def test_undoing_an_edit_that_is_refused_takes_back_no_other_one(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    labels = Labels(project)
    labels.apply(add_bouts=_bout(3, 9), description="kept")
    labels.wait()
    before = labels.bouts("r").index.tolist()
    told: list[EthoPrismError] = []
    labels.refused.connect(told.append)
    pressed = threading.Event()

    def full(*arguments: Any, **named: Any) -> Any:
        pressed.wait(20)
        raise StorageError("The disk is full")

    monkeypatch.setattr(AnnotationStore, "apply", full)
    labels.apply(add_bouts=_bout(20, 30), description="lost")
    threading.Timer(0.1, pressed.set).start()  # the undo waits for the writer by then
    assert labels.undo() is None
    assert len(told) == 1 and labels.state.text == "Not saved"
    assert labels.bouts("r").index.tolist() == before
    assert [(e.description, e.undone) for e in labels.history] == [("kept", False)]
    _same(labels, project)
    labels.close()


def test_a_refusal_that_nobody_was_told_of_is_raised_at_closing(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    labels = Labels(project)

    def full(*arguments: Any, **named: Any) -> Any:
        raise StorageError("The disk is full")

    monkeypatch.setattr(AnnotationStore, "apply", full)
    labels.apply(add_bouts=_bout(20, 30), description="lost")
    with pytest.raises(StorageError, match="disk is full"):
        labels.close()
    labels.close()
    Labels(project).close()  # the lock was given back


@pytest.mark.parametrize("other", [False, True])
def test_a_refusal_at_leaving_a_project_is_told_and_the_next_labels_open(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: bool
):
    session = Session()
    told: list[str] = []
    session.noticed.connect(lambda notice: told.append(notice.text))
    session.open_project(project)
    assert session.labels is not None

    def full(*arguments: Any, **named: Any) -> Any:
        raise StorageError("The disk is full")

    monkeypatch.setattr(AnnotationStore, "apply", full)
    session.labels.apply(add_bouts=_bout(20, 30), description="lost")
    session.labels._writer.call(lambda: None)
    session.open_project(make_project(tmp_path / "q") if other else project)
    assert any("disk is full" in text for text in told)
    assert session.labels is not None and session.labels.writable
    assert session.labels.bouts("r").empty
    session.close()


def test_what_does_not_fit_is_refused_before_it_is_shown(project: Project):
    labels = Labels(project)
    for table in (_bout(0, 2000), _bout(0, 5, "gone")):
        with pytest.raises(LabelError):
            labels.apply(add_bouts=table, description="wrong")
    with pytest.raises(LabelError, match="No such rows"):
        labels.apply(remove_bouts=[77], description="wrong")
    assert not labels.history and labels.state.waiting == 0
    labels.close()


def test_somebody_else_writes_and_the_labels_say_who(project: Project):
    first = Labels(project, annotator="anna")
    first.apply(add_bouts=_bout(3, 9), description="one")
    first.wait()
    second = Labels(project)
    assert first.writable and not second.writable
    assert second.notes[0].startswith("Read only.")
    assert second.bouts("r")["annotator"].tolist() == ["anna"]
    with pytest.raises(ProjectError, match="reading only"):
        second.apply(add_bouts=_bout(20, 30), description="two")
    with pytest.raises(ProjectError):
        second.undo()
    first.close()
    second.close()


def test_blind_labels_are_ones_own(project: Project):
    with workflow.open_annotations(project, annotator="bob") as store:
        store.add(_bout(1, 5), description="bob's")
    labels = Labels(project, annotator="anna", blind=True)
    assert not len(labels.bouts("r")) and not labels.history
    labels.apply(add_bouts=_bout(20, 30), description="anna's")
    assert labels.undo() is not None and labels.undo() is None
    assert labels.redo() is not None
    with pytest.raises(LabelError, match="another's"):
        labels.apply(add_bouts=_bout(2, 4, annotator="bob"), description="no")
    labels.close()
    assert _on_disk(project)[0]["annotator"].tolist() == ["bob", "anna"]


def test_closing_leaves_no_thread_and_no_file(project: Project):
    before = threading.active_count()
    labels = Labels(project)
    labels.close()
    for _ in range(2):
        labels = Labels(project)
        labels.apply(add_bouts=_bout(3, 9), description="one")
        labels.close()
        labels.close()
    gc.collect()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError):
        labels.bouts("q")


@pytest.mark.parametrize("count", [3, 200])
def test_updating_a_table_equals_sorting_it_anew(count: int):
    rng = np.random.default_rng(count)
    rows = [
        {"recording": "r", "behaviour": "b", "start_frame": int(s), "stop_frame": int(s) + 1}
        for s in np.sort(rng.integers(0, 50, 300))
    ]
    frame = span_table(rows)
    frame.index = pd.Index(np.arange(300) * 2, dtype="int64", name="id")
    gone = np.sort(rng.choice(300, count, replace=False))
    new = span_table(
        [{**rows[0], "start_frame": int(s), "stop_frame": 60} for s in rng.integers(0, 55, count)]
    )
    new.index = pd.Index(rng.permutation(900)[:count] * 2 + 1, dtype="int64", name="id")
    expected = pd.concat([frame.drop(index=frame.index[gone]), new])
    expected = expected.iloc[np.lexsort((expected.index, expected["start_frame"]))]
    pd.testing.assert_frame_equal(updated(frame, gone, new), expected)
    pd.testing.assert_frame_equal(updated(frame, np.empty(0, int), None), frame)
