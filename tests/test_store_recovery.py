"""What is damaged is put aside and made anew from a snapshot and the log, and is reported."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism.annotation import bout_table
from ethoprism.errors import ProjectError, StorageError
from ethoprism.store import SCHEMA_VERSION, AnnotationStore, snapshots_of
from ethoprism.store.integrity import connect
from ethoprism.store.snapshots import NEWEST, kept, take_snapshot

N_FRAMES = {"r": 10**6, "s": 50}
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no fork and no SIGKILL")


def _bout(start: int, stop: int, **values: object) -> pd.DataFrame:
    row: dict[str, object] = {"recording": "r", "behaviour": "rest", **values}
    return bout_table([{**row, "start_frame": start, "stop_frame": stop}])


def _open(folder: Path, **options: Any) -> AnnotationStore:
    return AnnotationStore(
        folder / "annotations.sqlite", N_FRAMES, folder / "annotations", **options
    )


def _starts(store: AnnotationStore) -> list[int]:
    return store.bouts()["start_frame"].tolist()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 30 edits of which the last is undone; an old snapshot and a newer one."""
    folder = tmp_path_factory.mktemp("labelled")
    with _open(folder) as store:
        for i in range(10):
            store.add(_bout(i, i + 5, comment="x" * 300), description=f"add {i}")
        store.snapshot()
        for i in range(10, 30):
            store.add(_bout(i, i + 5, comment="x" * 300), description=f"add {i}")
        store.undo()
    return folder


@pytest.fixture
def copy(labelled: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(labelled, tmp_path / "copy"))


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(["annotations.sqlite", "annotations.log"]),
    where=st.floats(0, 1),
    how=st.sampled_from(["cut", "zero", "garble"]),
)
def test_a_file_torn_anywhere_loses_no_edit(
    labelled: Path, tmp_path: Path, name: str, where: float, how: str
):
    folder = Path(shutil.copytree(labelled, tmp_path / "torn"))
    try:
        path = folder / name
        data = path.read_bytes()
        cut = int(where * len(data))
        end = min(len(data), cut + 4096)
        middle = {
            "cut": b"",
            "zero": bytes(end - cut) + data[end:],
            "garble": random.Random(cut).randbytes(end - cut) + data[end:],
        }
        path.write_bytes(data[:cut] + middle[how])
        with _open(folder) as store:
            assert _starts(store) == list(range(29))
            assert store.redo() is not None
            assert _starts(store) == list(range(30))
            for _ in range(30):
                assert store.undo() is not None
            assert store.undo() is None and _starts(store) == []
            if path.read_bytes() != data and name == "annotations.sqlite" and store.recovery:
                assert store.recovery.lost == ()
                (kept_aside,) = store.recovery.kept
                assert kept_aside.read_bytes() == data[:cut] + middle[how]
        with _open(folder) as store:
            assert store.recovery is None
    finally:
        shutil.rmtree(folder)


def test_pages_that_are_whole_but_old_are_noticed(copy: Path):
    path = copy / "annotations.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("UPDATE bouts SET stop_frame = 999 WHERE start_frame = 3")
    db.close()
    with _open(copy) as store:
        assert store.recovery is not None
        assert "bouts does not hold what was last saved" in store.recovery.sentences()[0]
        assert 999 not in store.bouts()["stop_frame"].tolist()


@pytest.mark.parametrize("snapshots", ["newest torn", "all torn", "none"])
def test_recovery_goes_back_as_far_as_it_must(copy: Path, snapshots: str):
    found = snapshots_of(copy / "annotations.sqlite")
    for snapshot in found[-1:] if snapshots == "newest torn" else found:
        if snapshots == "none":
            snapshot.path.unlink()
        else:
            snapshot.path.write_bytes(snapshot.path.read_bytes()[:5000])
    (copy / "annotations.sqlite").unlink()
    with _open(copy) as store:
        assert store.recovery is not None
        assert store.recovery.damage == ("the file is missing",)
        assert _starts(store) == list(range(29))
        assert len(store.history()) == 30


def test_what_cannot_be_recovered_is_said(copy: Path):
    """Both the log and the database damaged: back to the snapshot and what leads on from it."""
    log = copy / "annotations.log"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[25] = b"x" + lines[25][1:]
    log.write_bytes(b"".join(lines))
    (copy / "annotations.sqlite").write_bytes(b"")
    with _open(copy) as store:
        assert store.recovery is not None
        assert len(store.recovery.lost) == 1
        assert f"{len(lines) - 25} lines of the log" in store.recovery.lost[0]
        assert _starts(store) == list(range(24))
        store.add(_bout(500, 501), description="after")
    assert list(copy.glob("annotations.damaged-*.log"))
    with _open(copy) as store:
        assert store.recovery is None
        assert _starts(store)[-1] == 500


def test_an_edit_that_only_the_log_holds_is_done(copy: Path, tmp_path: Path):
    before = (copy / "annotations.sqlite").read_bytes()
    with _open(copy) as store:
        store.add(_bout(700, 701), description="last")
    (copy / "annotations.sqlite").write_bytes(before)  # as if the commit had not reached it
    with _open(copy, mode="read") as store:
        assert _starts(store)[-1] == 700
        assert (copy / "annotations.sqlite").read_bytes() == before
    with _open(copy) as store:
        assert _starts(store)[-1] == 700
        assert store.recovery is not None and store.recovery.edits == 1


def test_a_log_of_another_history_is_put_aside(copy: Path, labelled: Path):
    with _open(copy) as store:
        store.add(_bout(700, 701), description="here")
    shutil.copyfile(labelled / "annotations.log", copy / "annotations.log")
    with _open(copy) as store:
        assert _starts(store)[-1] == 700
        assert any("begun anew" in note for note in store.notes)
        store.add(_bout(800, 801), description="after")
    (copy / "annotations.sqlite").unlink()
    with _open(copy) as store:
        assert _starts(store)[-2:] == [700, 800]


def test_reading_writes_nothing_even_if_all_is_damaged(copy: Path):
    path = copy / "annotations.sqlite"
    path.write_bytes(path.read_bytes()[:-5000])
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    with _open(copy, mode="read") as store:
        assert store.recovery is not None
        assert _starts(store) == list(range(29))
        with pytest.raises(ProjectError, match="reading only"):
            store.undo()
    assert {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()} == before


_KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from ethoprism.store.integrity import connect

db = connect(Path(sys.argv[1]))
db.execute("PRAGMA cache_size=1")
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE bouts SET comment = 'torn' || comment, stop_frame = 77")
db.execute("UPDATE edits SET description = 'torn' || description || added")
os.kill(os.getpid(), signal.SIGKILL)
"""


@POSIX
def test_a_journal_left_by_a_killed_writer_is_read_without_writing(copy: Path):
    path = copy / "annotations.sqlite"
    # A process of its own: JAX, which other tests have started, does not bear a fork.
    done = subprocess.run([sys.executable, "-c", _KILLED_WRITER, str(path)])
    assert done.returncode == -signal.SIGKILL
    journal = copy / "annotations.sqlite-journal"
    assert journal.stat().st_size > 0
    before = path.read_bytes(), journal.read_bytes()
    with _open(copy, mode="read") as store:
        assert _starts(store) == list(range(29))
        assert 77 not in store.bouts()["stop_frame"].tolist()
    assert (path.read_bytes(), journal.read_bytes()) == before
    with _open(copy) as store:
        assert store.recovery is None
        assert _starts(store) == list(range(29))


def test_a_full_disk_refuses_the_edit_and_keeps_the_rest(copy: Path, monkeypatch):
    with _open(copy) as store:
        size = (copy / "annotations.log").stat().st_size

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("ethoprism.store.log.os.fsync", full)
            with pytest.raises(StorageError, match="could not be saved"):
                store.add(_bout(600, 601), description="refused")
        assert _starts(store) == list(range(29))
        assert (copy / "annotations.log").stat().st_size == size
        assert store.redo() is not None  # the refused edit did not end the undone branch
    with _open(copy) as store:
        assert store.recovery is None
        assert _starts(store) == list(range(30))


def test_a_mirror_that_cannot_be_written_is_no_lost_edit_and_is_repaired(copy: Path):
    mirror = copy / "annotations"
    shutil.rmtree(mirror)
    mirror.write_text("a file where the folder was")
    with _open(copy) as store:
        store.add(_bout(600, 601), description="saved")
        assert "mirror is behind" in store.mirror_problem
    mirror.unlink()
    with _open(copy) as store:
        assert store.mirror_problem == ""
        assert 600 in pd.read_csv(mirror / "r.csv")["start_frame"].tolist()


def test_a_mirror_that_is_behind_after_a_crash_is_written_at_opening(copy: Path):
    mirror = copy / "annotations" / "r.csv"
    mirror.write_text("")
    with _open(copy) as store:
        assert pd.read_csv(mirror)["start_frame"].tolist() == _starts(store)


@settings(max_examples=200, deadline=None)
@given(st.sets(st.integers(0, 3 * 365 * 24 * 4), max_size=200))
def test_rotation_keeps_the_newest_and_thins_the_old(quarters: set[int]):
    times = {datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=15) * q for q in quarters}
    keep = kept(times)
    assert keep <= times
    assert kept(keep) == keep
    assert set(sorted(times)[-NEWEST:]) <= keep
    months = {t.strftime("%Y-%m") for t in times}
    assert {t.strftime("%Y-%m") for t in keep} == months
    newest = max(times, default=datetime(2024, 1, 1, tzinfo=UTC))
    for form, age in (("%Y-%m-%d", timedelta(days=30)), ("%Y-%m-%dT%H", timedelta(days=1))):
        recent = {t.strftime(form) for t in times if newest - t <= age}
        assert recent <= {t.strftime(form) for t in keep}
    assert len(keep) <= NEWEST + 25 + 31 + len(months)


def test_snapshots_are_made_by_opening_and_not_without_a_change(tmp_path: Path):
    path = tmp_path / "annotations.sqlite"
    with _open(tmp_path) as store:
        store.add(_bout(1, 2), description="x")
    assert snapshots_of(path) == []
    for _ in range(3):
        _open(tmp_path).close()
    (snapshot,) = snapshots_of(path)
    assert snapshot.n == 1
    assert sqlite3.connect(snapshot.path).execute("SELECT count(*) FROM bouts").fetchone() == (1,)


def test_a_damaged_snapshot_is_not_given_a_name(copy: Path):
    path = copy / "annotations.sqlite"
    before = snapshots_of(path)
    db = connect(path)
    db.execute("DELETE FROM bouts WHERE start_frame = 3")
    with pytest.raises(sqlite3.DatabaseError, match="damaged"):
        take_snapshot(db, path, 31)
    db.close()
    assert snapshots_of(path) == before
    assert not list((copy / "annotations.snapshots").glob(".*"))


_V1 = """
CREATE TABLE bouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording TEXT NOT NULL, subject TEXT NOT NULL, target TEXT NOT NULL,
    behaviour TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    stop_frame INTEGER NOT NULL CHECK (stop_frame > start_frame),
    modifiers TEXT NOT NULL, comment TEXT NOT NULL, annotator TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('manual', 'automated', 'curated')),
    modified TEXT NOT NULL
);
CREATE INDEX bouts_by_recording ON bouts (recording, start_frame);
CREATE TABLE spans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recording TEXT NOT NULL, subject TEXT NOT NULL, behaviour TEXT NOT NULL,
    start_frame INTEGER NOT NULL CHECK (start_frame >= 0),
    stop_frame INTEGER NOT NULL CHECK (stop_frame > start_frame),
    annotator TEXT NOT NULL, modified TEXT NOT NULL
);
CREATE INDEX spans_by_recording ON spans (recording, start_frame);
CREATE TABLE edits (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL, author TEXT NOT NULL, description TEXT NOT NULL,
    removed TEXT NOT NULL, added TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
PRAGMA application_id=0x4554504D;
PRAGMA user_version=1;
"""


def _write_v1(path: Path) -> None:
    """A store as version 1 left it: two bouts added, one removed, one more added and undone."""
    db = sqlite3.connect(path)
    db.executescript(_V1)
    rows = []
    for i in (1, 2, 3):
        row: dict[str, Any] = {"recording": "r", "subject": "", "target": "", "behaviour": "rest"}
        row |= {"start_frame": i, "stop_frame": i + 5, "modifiers": "", "comment": f"é{i}"}
        row |= {"annotator": "", "source": "manual", "modified": "2026-01-01T00:00:00.000+00:00"}
        rows.append({**row, "id": i})
    for i, row in enumerate(rows):
        db.execute(
            "INSERT INTO bouts VALUES (:id, :recording, :subject, :target, :behaviour, "
            ":start_frame, :stop_frame, :modifiers, :comment, :annotator, :source, :modified)",
            row,
        )
        added = json.dumps({"bouts": [row], "spans": []})
        empty = json.dumps({"bouts": [], "spans": []})
        db.execute(
            "INSERT INTO edits (time, author, description, removed, added, undone) "
            "VALUES ('t', 'anna', ?, ?, ?, ?)",
            (f"add {i}", empty, added, int(i == 2)),
        )
    db.execute("DELETE FROM bouts WHERE id = 3")
    db.commit()
    db.close()


def test_an_older_file_is_migrated_after_a_backup(tmp_path: Path):
    path = tmp_path / "annotations.sqlite"
    _write_v1(path)
    before = path.read_bytes()
    with _open(tmp_path, mode="read") as store:
        assert _starts(store) == [1, 2]
    assert path.read_bytes() == before
    with _open(tmp_path) as store:
        assert any("new schema" in note for note in store.notes)
        assert _starts(store) == [1, 2]
        assert store.bouts()["comment"].tolist() == ["é1", "é2"]
        assert [e.undone for e in store.history()] == [False, False, True]
        assert store.redo() is not None and store.bouts().index.tolist() == [1, 2, 3]
        assert store.undo() is not None and store.undo() is not None
        assert _starts(store) == [1]
        store.add(_bout(50, 51), description="new")
        assert store.bouts().index.tolist() == [1, 4]  # ids are never given twice
    (backup,) = tmp_path.glob("annotations.v1-*.sqlite")
    with sqlite3.connect(backup) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM bouts").fetchone() == (2,)
    db.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    db.close()
    path.unlink()  # and the migrated labels can be recovered
    with _open(tmp_path) as store:
        assert _starts(store) == [1, 50]


def test_a_failed_migration_leaves_the_old_file(tmp_path: Path, monkeypatch):
    path = tmp_path / "annotations.sqlite"
    _write_v1(path)

    def broken(db: sqlite3.Connection) -> None:
        db.execute("DROP TABLE bouts")
        raise sqlite3.OperationalError("broken off")

    with monkeypatch.context() as patch:
        patch.setattr("ethoprism.store.opening.migrate", broken)
        with pytest.raises(ProjectError, match="broken off"):
            _open(tmp_path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM bouts").fetchone() == (2,)
    db.close()


def test_copies_migrated_apart_name_their_rows_alike(tmp_path: Path):
    uids = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _write_v1(tmp_path / name / "annotations.sqlite")
        with _open(tmp_path / name) as store:
            uids.append([row["uid"] for t in ("bouts", "edits") for row in store.rows(t)])
    assert uids[0] == uids[1] and len(set(uids[0])) == 5
