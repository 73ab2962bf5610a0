"""One process writes; the others are told who it is, and can read."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ethoprism.annotation import bout_table
from ethoprism.errors import ProjectError, StorageError
from ethoprism.store import AnnotationStore, Locked, holder_of
from ethoprism.store.lock import lock_path

N_FRAMES = {"r": 100}
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has other locks and no SIGKILL")
_HOLDER = """
import sys
from pathlib import Path
from ethoprism.store import AnnotationStore
store = AnnotationStore(Path(sys.argv[1]), {"r": 100})
print("open", flush=True)
sys.stdin.readline()
store.close()
"""


def _bout(start: int):
    row: dict[str, object] = {"recording": "r", "behaviour": "rest", "start_frame": start}
    return bout_table([{**row, "stop_frame": start + 1}])


@contextmanager
def _held(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    if process.stdout is None or process.stdin is None:
        raise RuntimeError("no pipes")
    with process, process.stdin, process.stdout:
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "annotations.sqlite"
    with AnnotationStore(path, N_FRAMES) as store:
        store.add(_bout(1), description="first")
    return path


def test_the_second_is_told_by_whom_it_is_locked_and_may_read(path: Path):
    with _held(path) as process:
        with pytest.raises(Locked, match=f"process {process.pid}") as caught:
            AnnotationStore(path, N_FRAMES)
        holder = caught.value.holder
        assert holder is not None and holder == holder_of(path)
        assert holder.host in str(caught.value) and holder.user in str(caught.value)
        for mode in ("read", "either"):
            with AnnotationStore(path, N_FRAMES, mode=mode) as store:
                assert not store.writable
                assert len(store.bouts()) == 1
                with pytest.raises(ProjectError, match=f"reading only.*process {process.pid}"):
                    store.add(_bout(3), description="refused")


@POSIX
def test_killing_the_first_frees_it(path: Path):
    with _held(path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert str(process.pid) in lock_path(path).read_text()  # the text stays, and means nothing
        assert holder_of(path) is None
        with AnnotationStore(path, N_FRAMES) as store:
            assert store.writable
            assert store.add(_bout(3), description="mine").id == 2


def test_closing_frees_it_for_the_next(path: Path):
    for mode in ("write", "either", "write"):
        with AnnotationStore(path, N_FRAMES, mode=mode) as store:
            assert store.writable
            assert holder_of(path) is not None
        assert holder_of(path) is None
    with AnnotationStore(path, N_FRAMES), pytest.raises(Locked):
        AnnotationStore(path, N_FRAMES)  # the same process is no exception


def test_readers_do_not_hinder_the_writer(path: Path):
    with (
        AnnotationStore(path, N_FRAMES, mode="read") as reader,
        AnnotationStore(path, N_FRAMES) as writer,
    ):
        writer.add(_bout(5), description="meanwhile")
        assert len(reader.bouts()) == 2


def test_a_folder_without_labels_reads_as_empty_and_stays_so(tmp_path: Path):
    with AnnotationStore(tmp_path / "annotations.sqlite", N_FRAMES, mode="read") as store:
        assert store.bouts().empty and store.history() == []
    assert list(tmp_path.iterdir()) == []


@POSIX
def test_a_drive_without_locks_is_not_written(path: Path, monkeypatch):
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StorageError, match="no file locks"):
        AnnotationStore(path, N_FRAMES)
    with AnnotationStore(path, N_FRAMES, mode="either") as store:
        assert not store.writable
        assert len(store.bouts()) == 1
