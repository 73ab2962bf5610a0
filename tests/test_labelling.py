"""The labels of projects on the command line: checked, restored, merged, and locked."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ethoprism import workflow
from ethoprism.annotation import bout_table
from ethoprism.cli import main
from ethoprism.ethogram import Ethogram
from ethoprism.labelling import check_labels
from ethoprism.project import Entry, Project, Settings
from ethoprism.store import snapshots_of

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line: its exit code, and what it printed."""

    def call(*words: object) -> tuple[int, str]:
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as left:
            code = int(left.code or 0)
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    return call


def _label(project: Project, *starts: int, behaviour: str = "rest", stop: int = 5) -> None:
    with workflow.open_annotations(project, "write") as store:
        for start in starts:
            row: dict[str, object] = {"recording": project.recording_ids[0]}
            row |= {"behaviour": behaviour, "start_frame": start, "stop_frame": start + stop}
            store.add(bout_table([row]), description=f"add {start}")


def _starts(project: Project) -> list[int]:
    with workflow.open_annotations(project, "read") as store:
        return store.bouts()["start_frame"].tolist()


def _with_entries(project: Project, *entries: Entry) -> Project:
    lines = ["id,path,content_key,n_frames,height,width"]
    lines += [f"{e.id},{e.path},{e.content_key},{e.n_frames},{e.height},{e.width}" for e in entries]
    (project.folder / "recordings.csv").write_text("\n".join(lines) + "\n")
    return Project.open(project.folder)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path / "ours", Settings(), Ethogram().with_names(["rest"]))
    made = _with_entries(made, Entry("r", "r.mp4", "a" * 64, 1000, 8, 8))
    _label(made, 10, 20)
    return made


def test_history_undo_and_redo(project: Project, run: Run):
    assert run("label", "undo", project.folder) == (0, "Took back: add 20\n")
    code, text = run("label", "history", project.folder)
    assert code == 0 and "2 of 2 edits" in text and text.count("taken back") == 1
    assert run("label", "redo", project.folder) == (0, "Did again: add 20\n")
    assert _starts(project) == [10, 20]


def test_check_says_what_is_wrong_and_writes_nothing(project: Project, run: Run):
    code, text = run("label", "check", project.folder)
    assert code == 0 and "2 bouts" in text and "The labels are sound." in text
    path = project.annotations_path
    path.write_bytes(path.read_bytes()[:6000])
    before = path.read_bytes()
    code, text = run("label", "check", project.folder)
    assert code == 4 and "damaged" in text
    assert path.read_bytes() == before
    code, text = run("label", "undo", project.folder)  # opens for writing, and so recovers
    assert code == 0 and "recovered from" in text and "Took back: add 20" in text
    assert check_labels(project).problems == ()


def test_a_snapshot_is_restored_as_an_edit_that_can_be_taken_back(project: Project, run: Run):
    _label(project, 30)  # opening it took a snapshot of the two before
    (snapshot,) = snapshots_of(project.annotations_path)
    assert snapshot.name in run("label", "snapshots", project.folder)[1]
    code, _ = run("label", "restore", project.folder, snapshot.name)
    assert code == 0 and _starts(project) == [10, 20]
    assert snapshots_of(project.annotations_path)[-1].n == 3  # what was there before the restore
    run("label", "undo", project.folder)
    assert _starts(project) == [10, 20, 30]
    code, text = run("label", "restore", project.folder, "yesterday")
    assert code == 4 and "no snapshot 'yesterday'" in text


def test_a_held_lock_refuses_writing_and_lets_reading_pass(project: Project, run: Run):
    with workflow.open_annotations(project, "write"):
        code, text = run("label", "undo", project.folder)
        assert code == 4 and "open for writing elsewhere" in text and "process" in text
        name = snapshots_of(project.annotations_path)[0].name
        assert run("label", "restore", project.folder, name)[0] == 4
        code, text = run("label", "check", project.folder)
        assert code == 0 and "Open for writing by" in text
        assert workflow.label_states(project, ["r"], ["rest"])["r"][10:15].all()
    assert run("label", "undo", project.folder)[0] == 0


def test_merging_matches_recordings_by_content(project: Project, run: Run):
    shutil.copytree(project.folder, project.folder.with_name("theirs"))
    other = Project.open(project.folder.with_name("theirs"))
    _label(project, 100)
    _label(other, 102, 200)
    _label(other, 300, behaviour="walk")
    with workflow.open_annotations(other, "write") as store:
        store.remove([1], description="remove 10")
    (entry,) = other.entries
    unknown = replace(entry, id="new", content_key="b" * 64)
    other = _with_entries(other, entry, unknown)
    with workflow.open_annotations(other, "write") as store:
        row: dict[str, object] = {"recording": "new", "behaviour": "rest"}
        store.add(bout_table([{**row, "start_frame": 1, "stop_frame": 2}]), description="new")
    project = _with_entries(project, replace(project.entry("r"), path="moved.mp4"))

    command = ("label", "merge", project.folder, other.folder)
    code, text = run(*command, "--dry-run")
    assert code == 0 and "Nothing was written" in text
    assert "1 labels of new are left out" in text
    assert "100-105" in text and "102-107" in text and "New in the ethogram: walk" in text
    assert run(*command, "--yes")[0] == 2  # there is a conflict, and nobody decided it
    assert _starts(project) == [10, 20, 100]
    assert run(*command, "--yes", "--take", "theirs")[0] == 0
    assert _starts(project) == [20, 102, 200, 300]
    assert "walk" in Project.open(project.folder).ethogram
    code, text = run(*command, "--dry-run")
    assert code == 0 and "Nothing to do" in text
    run("label", "undo", project.folder)
    assert _starts(project) == [10, 20, 100]
    code, text = run("label", "merge", project.folder, project.folder)
    assert code == 3 and "with itself" in text
