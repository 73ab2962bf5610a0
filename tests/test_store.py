"""Labels are saved when an edit returns, and every edit can be taken back, also after a restart."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import LabelError, ProjectError
from ethoprism.store import AnnotationStore

N_FRAMES = {"r": 100, "s": 50}


def _bouts(*ranges: tuple[int, int], recording: str = "r") -> pd.DataFrame:
    return bout_table(
        [
            {"recording": recording, "behaviour": "rest", "start_frame": a, "stop_frame": b}
            for a, b in ranges
        ]
    )


def _ranges(store: AnnotationStore) -> list[tuple[int, int, int]]:
    table = store.bouts()
    return list(zip(table.index, table["start_frame"], table["stop_frame"], strict=True))


def test_an_edit_is_there_after_the_store_is_opened_again(tmp_path: Path):
    with AnnotationStore(tmp_path / "a.sqlite", N_FRAMES) as store:
        store.add(
            _bouts((1, 5)), span_table(_bouts((0, 9)).iloc[:, [0, 1, 3, 4, 5]]), description="x"
        )
    with AnnotationStore(tmp_path / "a.sqlite", N_FRAMES) as store:
        assert _ranges(store) == [(1, 1, 5)]
        assert store.spans("r")[["start_frame", "stop_frame"]].to_numpy().tolist() == [[0, 9]]
        assert store.bouts("s").empty


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(st.sampled_from(["add", "remove", "undo", "redo"]), max_size=12))
def test_undo_and_redo_walk_the_same_states(tmp_path: Path, actions: list[str]):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.sqlite"
    states: list[list[tuple[int, int, int]]] = [[]]
    position = 0
    store = AnnotationStore(path, N_FRAMES)
    for i, action in enumerate(actions):
        if action == "undo":
            assert (store.undo() is None) == (position == 0)
            position = max(position - 1, 0)
        elif action == "redo":
            assert (store.redo() is None) == (position == len(states) - 1)
            position = min(position + 1, len(states) - 1)
        elif action == "add" or not _ranges(store):
            store.add(_bouts((i, i + 3), (i + 5, i + 6)), description=action)
            states[position + 1 :] = [_ranges(store)]
            position += 1
        else:
            store.remove([_ranges(store)[0][0]], description=action)
            states[position + 1 :] = [_ranges(store)]
            position += 1
        store.close()
        store = AnnotationStore(path, N_FRAMES)
        assert _ranges(store) == states[position]
    store.close()


def test_a_refused_edit_changes_nothing(tmp_path: Path):
    with AnnotationStore(tmp_path / "a.sqlite", N_FRAMES) as store:
        with pytest.raises(LabelError, match="do not fit"):
            store.add(_bouts((1, 5), (90, 101)), description="x")
        assert store.bouts().empty
        assert store.history() == []


def test_the_mirror_shows_the_labels_after_each_edit(tmp_path: Path):
    with AnnotationStore(tmp_path / "a.sqlite", N_FRAMES, tmp_path / "mirror") as store:
        store.add(_bouts((1, 5)), description="x")
        assert pd.read_csv(tmp_path / "mirror" / "r.csv")["stop_frame"].tolist() == [5]
        store.undo()
        assert pd.read_csv(tmp_path / "mirror" / "r.csv").empty


def test_a_file_of_another_kind_is_refused_and_left_alone(tmp_path: Path):
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    db.close()
    text = tmp_path / "text.sqlite"
    text.write_bytes(b"not a database, but long enough to be read as one" * 40)
    for path in (other, text):
        before = path.read_bytes()
        with pytest.raises(ProjectError, match="annotation store"):
            AnnotationStore(path, N_FRAMES)
        assert path.read_bytes() == before


def test_a_newer_schema_is_refused(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    AnnotationStore(path, N_FRAMES).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ProjectError, match="newer EthoPrism"):
        AnnotationStore(path, N_FRAMES)


_WRITER = """
import sys
from pathlib import Path
from ethoprism.annotation import bout_table
from ethoprism.store import AnnotationStore
store = AnnotationStore(Path(sys.argv[1]), {"r": 10**6})
for i in range(10**6):
    row = {"recording": "r", "behaviour": "rest", "start_frame": i, "stop_frame": i + 1}
    store.add(bout_table([row]), description="x")
    print(i, flush=True)
"""


def test_kill_9_loses_nothing_that_was_shown_as_saved(tmp_path: Path):
    path = tmp_path / "a.sqlite"
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        if writer.stdout is None:
            raise RuntimeError("no pipe")
        shown = [writer.stdout.readline() for _ in range(20)]
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        writer.wait()
        writer.stdout.close()
        saved = len([line for line in [*shown, *rest] if line.strip()])
        with AnnotationStore(path, {"r": 10**6}) as store:
            found = len(store.bouts())
            # One edit may have been committed and not yet shown.
            assert saved <= found <= saved + 1
            ids = store.bouts().index.tolist()
            store.remove(ids, description="clear")
