"""Commands on a session: what keys do to the labels on the disk."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_samples import make_project, show

from ethoprism import workflow
from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED, bout_table, frame_states
from ethoprism.errors import LabelError, ProjectError
from ethoprism.ethogram import Behaviour
from ethoprism.project import Project
from napari_ethoprism.label_actions import behaviour_actions, label_actions
from napari_ethoprism.label_commands import LabelCommands
from napari_ethoprism.label_ethogram import EthogramEdits
from napari_ethoprism.label_running import read_runs, running_path
from napari_ethoprism.session import Selection, Session, Span


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p")


@pytest.fixture
def session(project: Project, qapp: object) -> Iterator[Session]:
    session = Session()
    session.open_project(project)
    yield session
    session.close()


@pytest.fixture
def commands(session: Session) -> Iterator[LabelCommands]:
    made = LabelCommands(session)
    show(session, 0)
    yield made
    made.close()


def _rows(session: Session, recording: str = "r") -> list[tuple[str, int, int]]:
    assert session.labels is not None
    table = session.labels.bouts(recording)
    columns = (table[c].tolist() for c in ("behaviour", "start_frame", "stop_frame"))
    return list(zip(*columns, strict=True))


def _state(session: Session, name: str, frame: int, subject: str = "") -> int:
    assert session.labels is not None
    bouts, spans = session.labels.bouts("r"), session.labels.spans("r")
    return int(frame_states(bouts, spans, [name], 1000, subject)[frame, 0])


def _notices(session: Session) -> list[str]:
    heard: list[str] = []
    session.noticed.connect(lambda notice: heard.append(notice.text))
    return heard


def _play(session: Session, frames: range) -> None:
    session.playing = True
    for frame in frames:
        show(session, frame)
    session.playing = False


def test_labelling_while_playing_undone_and_redone(session: Session, commands: LabelCommands):
    commands.press("walk")
    _play(session, range(0, 40))
    assert [run.frames for run in session.running] == [(0, 40)]
    commands.press("rest")
    _play(session, range(40, 60))
    commands.press("rest")
    assert _rows(session) == [("walk", 0, 39), ("rest", 39, 60)]
    assert _state(session, "walk", 50) == ABSENT and _state(session, "groom", 50) == UNOBSERVED
    commands.undo()
    assert _rows(session) == [("walk", 0, 39)]
    commands.redo()
    assert _rows(session) == [("walk", 0, 39), ("rest", 39, 60)]
    assert session.behaviour == "rest" and session.running == ()


def test_a_selection_over_recordings_is_one_edit(session: Session, commands: LabelCommands):
    spans = (Span("r", 10, 20), Span("r", 50, 60), Span("q", 5, 9))
    session.selection = Selection(spans, "map")
    commands.press("groom")
    assert _rows(session) == [("groom", 10, 20), ("groom", 50, 60)]
    assert _rows(session, "q") == [("groom", 5, 9)]
    assert session.labels is not None and len(session.labels.history) == 1
    commands.undo()
    assert _rows(session) == _rows(session, "q") == []


def test_selections_are_erased_cleared_and_observed(session: Session, commands: LabelCommands):
    session.selection = Selection((Span("r", 10, 40),))
    commands.mark_observed()
    assert _state(session, "touch", 15) == ABSENT
    commands.press("walk")
    session.selection = Selection((Span("r", 20, 30),))
    commands.delete()
    assert _rows(session) == [("walk", 10, 20), ("walk", 30, 40)]
    assert _state(session, "walk", 25) == ABSENT
    commands.clear()
    assert _state(session, "walk", 25) == UNOBSERVED == _state(session, "groom", 25)
    assert _state(session, "walk", 15) == PRESENT
    session.selection = Selection((Span("r", 0, 100),))
    commands.mark_unobserved()
    assert _state(session, "groom", 12) == UNOBSERVED and _state(session, "walk", 12) == PRESENT


def test_bouts_at_the_playhead_are_split_joined_nudged_and_erased(
    session: Session, commands: LabelCommands
):
    session.selection = Selection((Span("r", 10, 40),))
    commands.press("groom")
    session.selection = None
    show(session, 20)
    commands.split()
    assert _rows(session) == [("groom", 10, 20), ("groom", 20, 40)]
    show(session, 15)
    commands.merge()
    assert _rows(session) == [("groom", 10, 40)]
    commands.begin_here()
    show(session, 44)
    commands.end_here()
    assert _rows(session) == [("groom", 15, 45)]
    show(session, 5)
    commands.begin_here()
    assert _rows(session) == [("groom", 5, 45)]
    heard = _notices(session)
    show(session, 500)
    commands.delete()
    commands.split()
    assert len(heard) == 2 and _rows(session) == [("groom", 5, 45)]
    show(session, 30)
    commands.delete()
    assert _rows(session) == [] and _state(session, "groom", 30) == ABSENT


def test_what_is_played_counts_as_observed_for_every_behaviour(
    session: Session, commands: LabelCommands
):
    commands.toggle_observe()
    _play(session, range(0, 30))
    show(session, 600)
    _play(session, range(600, 610))
    commands.toggle_observe()
    states = [_state(session, name, f) for name in ("walk", "touch") for f in (0, 29, 605, 609)]
    assert states == [ABSENT] * 8
    assert _state(session, "walk", 300) == UNOBSERVED


def test_erasing_by_keys_and_leaving_it(session: Session, commands: LabelCommands):
    session.selection = Selection((Span("r", 10, 40),))
    commands.press("groom")
    session.selection = None
    commands.toggle_erase()
    assert session.erasing
    show(session, 20)
    commands.press("groom")
    show(session, 24)
    commands.press("groom")
    assert _rows(session) == [("groom", 10, 20), ("groom", 25, 40)]
    commands.cancel()
    assert not session.erasing


def test_what_runs_is_saved_on_another_recording_and_at_closing(
    session: Session, commands: LabelCommands, project: Project
):
    commands.press("walk")
    show(session, 12)
    show(session, 3, "q")
    assert _rows(session) == [("walk", 0, 13)]
    commands.press("groom")
    show(session, 8, "q")
    session.close()
    with workflow.open_annotations(project) as store:
        assert store.bouts("q")["stop_frame"].tolist() == [9]
    assert not running_path(project).exists()


def test_what_ran_when_the_program_was_killed_is_labelled_at_the_next_start(
    project: Project, session: Session, commands: LabelCommands
):
    session.subject = "fly1"
    commands.press("walk")
    show(session, 30)
    assert session.labels is not None
    session.labels.wait()
    path = running_path(project)
    (row,) = json.loads(path.read_text())
    assert (row["behaviour"], row["subject"], row["anchor"]) == ("walk", "fly1", 0)
    left = path.read_text().replace('"last": 0', '"last": 30')
    commands.cancel()
    session.close()
    path.write_text(left)

    again = Session()
    heard = _notices(again)
    other = LabelCommands(again)
    again.open_project(project)
    assert _rows(again) == [("walk", 0, 31)] and "was being labelled" in heard[0]
    assert again.labels is not None
    again.labels.wait()
    assert not path.exists()
    other.undo()
    assert _rows(again) == []
    other.close()
    again.close()


@pytest.mark.parametrize("text", ["", "[]", "[{}]", "7", '[{"kind": "label"}]', "\x00\x01"])
def test_a_damaged_file_of_runs_is_passed_over(project: Project, text: str):
    path = running_path(project)
    path.write_text(text)
    assert read_runs(path, project) == ()
    run = {"kind": "label", "behaviour": "walk", "subject": "", "recording": "r"}
    path.write_text(json.dumps([{**run, "anchor": 3, "last": 5000}]))
    assert read_runs(path, project) == ()


def test_labels_of_others_are_left_and_that_is_told(
    project: Project, session: Session, commands: LabelCommands
):
    session.close()
    with workflow.open_annotations(project, annotator="bob") as store:
        row = {"recording": "r", "behaviour": "rest", "start_frame": 0, "stop_frame": 50}
        store.add(bout_table([row]), description="bob's")
    again = Session()
    heard = _notices(again)
    mine = LabelCommands(again)
    again.open_project(project, annotator="anna")
    show(again, 10)
    again.selection = Selection((Span("r", 20, 30),))
    mine.press("walk")
    assert _rows(again) == [("rest", 0, 50), ("walk", 20, 30)]
    assert heard == ["Labels of bob lie here too; they were left as they are."]
    mine.close()
    again.close()


def test_a_recording_that_was_added_meanwhile_can_be_labelled(
    session: Session, commands: LabelCommands, project: Project
):
    more = replace(project.entry("q"), id="new", path="new.mp4", content_key="2" * 64)
    session.project = replace(project, entries=(*project.entries, more))
    session.selection = Selection((Span("new", 10, 40),))
    commands.press("groom")
    assert _rows(session, "new") == [("groom", 10, 40)]
    assert session.labels is not None
    session.labels.wait()
    assert session.labels.state.problem == ""


def test_renaming_takes_the_labels_along_and_undo_takes_the_ethogram_back(
    session: Session, commands: LabelCommands, project: Project
):
    session.selection = Selection((Span("r", 10, 40), Span("q", 1, 5)))
    commands.press("groom")
    ethogram = EthogramEdits(session)
    changed = Behaviour("wash", "with the paws", "h", "#112233")
    ethogram.change("groom", changed, "walk")
    assert _rows(session) == [("wash", 10, 40)] and _rows(session, "q") == [("wash", 1, 5)]
    assert session.project is not None and session.project.ethogram["wash"] == changed
    assert "groom" not in session.project.ethogram and session.behaviour == "wash"
    assert session.project.ethogram.exclusive == (("walk", "rest", "wash"),)
    assert Project.open(project.folder).ethogram == session.project.ethogram
    commands.undo()
    assert _rows(session) == [("groom", 10, 40)]
    assert session.project.ethogram["groom"].key == "h"
    commands.redo()
    assert _rows(session) == [("wash", 10, 40)] and "groom" not in session.project.ethogram
    with pytest.raises(LabelError, match="twice"):
        ethogram.change("wash", Behaviour("walk"))
    assert _rows(session) == [("wash", 10, 40)]
    with pytest.raises(LabelError, match="has labels"):
        ethogram.remove("wash")
    ethogram.remove("touch")
    ethogram.move("wash", -2)
    assert session.project.ethogram.names == ("wash", "walk", "rest")


def test_renaming_is_refused_where_labels_cannot_follow(project: Project, session: Session):
    with pytest.raises(ProjectError, match="No project"):
        EthogramEdits(Session()).add(Behaviour("new"))
    commands = LabelCommands(session)
    session.selection = Selection((Span("r", 10, 40),))
    commands.press("groom")
    assert session.labels is not None
    session.labels.wait()
    reader = Session()
    reader.open_project(project)
    with pytest.raises(ProjectError, match="reading only"):
        EthogramEdits(reader).change("groom", Behaviour("wash"))
    reader.close()
    session.open_project(project, annotator="anna", blind=True)
    commands.press("walk")  # anna's own, so that there is something to rename
    with pytest.raises(LabelError, match="hidden"):
        EthogramEdits(session).change("walk", Behaviour("stroll"))
    assert session.project is not None and session.project.ethogram == project.ethogram
    commands.close()


def test_every_command_is_an_action_with_a_key_of_its_own(
    session: Session, commands: LabelCommands
):
    session.actions.register(*behaviour_actions(session, commands))
    session.actions.register(*label_actions(session, commands, lambda by: None))
    keys = [session.keymap.key(action.name) for action in session.actions]
    assert len(set(keys)) == len(keys) and "" not in keys
    assert session.keymap.run("G") and session.running[0].behaviour == "groom"
    show(session, 9)
    assert session.keymap.run("Return") and _rows(session) == [("groom", 0, 10)]
    assert not session.keymap.run("Return")  # nothing runs
    assert session.keymap.run("Ctrl+Z") and _rows(session) == []


def test_without_a_project_keys_say_what_to_do(qapp: object):
    session = Session()
    heard = _notices(session)
    commands = LabelCommands(session)
    commands.press("walk")
    commands.undo()
    commands.split()
    commands.mark_observed()
    commands.end_all()
    assert not commands.can_edit and not commands.can_label
    assert heard == ["Open a project to label."]
    commands.close()
    session.close()


def test_an_edit_is_quick_in_a_recording_with_many_bouts(session: Session, commands: LabelCommands):
    """CPU time of the calling thread, which other programs on the machine do not lengthen."""
    import time

    assert session.labels is not None
    rows = [
        {"recording": "r", "behaviour": "touch", "start_frame": i % 999, "stop_frame": i % 999 + 1}
        for i in range(20_000)
    ]
    session.labels.apply(add_bouts=bout_table(rows), description="many")
    session.labels.bouts("r")
    session.labels.spans("r")
    took = []
    for frame in range(100, 130):
        show(session, frame)
        began = time.thread_time()
        commands.press("groom")
        took.append(time.thread_time() - began)
    assert np.median(took) < 0.06
