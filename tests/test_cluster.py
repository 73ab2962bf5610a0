"""Several workers give the store of one, byte for byte, and lose nothing when they are killed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run
from toy_backbone import ToyBackbone

from ethoprism import __version__, workflow
from ethoprism.cluster import connection, require_dask
from ethoprism.cluster.connection import connect, outside, places, visible_gpus
from ethoprism.cluster.plan import (
    MOST_WASTE,
    TASKS_PER_WORKER,
    blocks_per_task,
    frames_encoded,
    tasks_of,
    waste,
)
from ethoprism.cluster.run import extract_on_workers, require_same_versions
from ethoprism.cluster.worker import CORES, Session, _load, limit_cores
from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.tokens import TokenKey, TokenStore
from ethoprism.window_encoder import Batches, WindowEncoder
from ethoprism.windows import WindowGrid
from ethoprism_datasets.arena import write_recording

ONE_CORE = (
    "import os, sys\n"
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "from ethoprism.cli import main\n"
    "main(sys.argv[1:])\n"
)
"""The command line on one core, as a worker of two runs here."""


def _project(folder: Path, video: Path) -> Project:
    """Stores of several blocks out of a short video: nothing is pooled."""
    made = Project.create(folder, Settings(pooling=8), Ethogram().with_names(["walk"]))
    return workflow.add_recording(made, video)[0]


def _to_extract(folder: Path, video: Path) -> tuple[Project, Any, TokenKey, Path]:
    """A project, its backbone and key, and where its recording's tokens will lie."""
    project = _project(folder, video)
    backbone = workflow.load_backbone(project.settings)
    key = workflow.project_key(project, backbone)
    return project, backbone, key, project.tokens_path(key.digest, "r")


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Project]:
    """A video, and a project that one process on one core has extracted it in."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("threads are bound on Linux only")
    folder = tmp_path_factory.mktemp("one")
    video = write_recording(folder, "r", 3, n_frames=1500).video
    made = _project(folder / "one", video)
    subprocess.run(
        [sys.executable, "-c", ONE_CORE, "extract", str(made.folder), "--engine", "jax"], check=True
    )
    return video, made


@pytest.mark.slow
def test_workers_cancelled_then_killed_give_the_store_of_one_process(
    tmp_path: Path, one: tuple[Path, Project]
):
    video, alone = one
    many, backbone, key, path = _to_extract(tmp_path / "many", video)
    n_workers = min(2, len(os.sched_getaffinity(0)))
    with connect("local", n_workers) as client:
        steps = extract_on_workers(many, backbone, client)
        for step in steps:
            if step.done:
                break
        steps.close()
        assert not list((many.folder / "tokens").glob(".cluster-*"))
        recording = many.recording("r")
        store = TokenStore.open(path, key, recording.n_frames, recording.content_key)
        assert 0 < store.done.sum() < store.n_blocks
        blocks = map(store.block, np.flatnonzero(store.done).tolist())
        kept = sum(stop - start for start, stop in blocks)
        told: Any = client.run(os.getpid)
        pids = list(told.values())
        seen, killed = [], False
        for step in extract_on_workers(many, backbone, client):
            seen.append(step.done)
            if "get ready" not in step.note and not killed and len(seen) > 2:
                os.kill(pids[0], signal.SIGKILL)
                killed = True
        assert killed
    assert seen == sorted(seen) and seen[-1] == 1500
    assert seen[0] == kept
    assert _digest(path) == _digest(alone.tokens_path(key.digest, "r"))


@contextmanager
def _daemon(folder: Path, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """``dask scheduler`` or ``dask worker``, on one core each as in `ONE_CORE`."""
    core = str(min(os.sched_getaffinity(0)))
    limits = {CORES: core} | dict.fromkeys(connection.THREAD_LIMITS, "1")
    command = [sys.executable, "-m", "distributed.cli.dask_" + name, *arguments]
    log = (folder / f"{name}-{uuid.uuid4().hex[:6]}.log").open("wb")
    with log, subprocess.Popen(command, env=os.environ | limits, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_workers_of_a_scheduler_that_runs_already_give_the_store_of_one_process(
    tmp_path: Path, one: tuple[Path, Project]
):
    """As on a cluster: a scheduler and workers started by hand, of which one dies."""
    video, alone = one
    many, backbone, key, path = _to_extract(tmp_path / "many", video)
    found = tmp_path / "scheduler.json"
    own = ("--host", "127.0.0.1", "--no-dashboard")
    worker = ("--scheduler-file", str(found), "--nthreads", "1", "--no-nanny", *own)
    with (
        _daemon(tmp_path, "scheduler", "--port", "0", "--scheduler-file", str(found), *own),
        _daemon(tmp_path, "worker", *worker) as first,
        _daemon(tmp_path, "worker", *worker),
    ):
        until = time.monotonic() + 60
        while not found.is_file() and time.monotonic() < until:
            time.sleep(0.1)
        address = json.loads(found.read_text())["address"]
        with connect(address) as client:
            client.wait_for_workers(2, timeout=60)
            seen, killed = [], False
            for step in extract_on_workers(many, backbone, client):
                seen.append(step.done)
                if step.done and not killed:
                    first.send_signal(signal.SIGKILL)
                    killed = True
            assert killed and seen[-1] == 1500
    assert _digest(path) == _digest(alone.tokens_path(key.digest, "r"))


@given(
    n_frames=st.integers(1, 3000),
    length=st.integers(1, 16),
    hop=st.integers(1, 16),
    step=st.integers(1, 4),
    frames=st.integers(1, 32),
    windows=st.integers(1, 8),
    data=st.data(),
)
def test_frames_encoded_are_those_that_the_encoder_asks_for(
    n_frames: int, length: int, hop: int, step: int, frames: int, windows: int, data: st.DataObject
):
    grid = WindowGrid(n_frames, length, min(hop, length), step)
    row = data.draw(st.integers(0, grid.n_sampled - 1))
    stop = data.draw(st.integers(row + 1, grid.n_sampled))
    encoder = WindowEncoder(grid, 1, ToyBackbone(), Batches(frames, windows))
    expected = len(encoder.chunks(row, stop)) * frames
    assert frames_encoded(grid, frames, windows, row, stop) == expected


@given(done=st.lists(st.booleans(), min_size=1, max_size=60), blocks=st.integers(1, 9))
def test_tasks_cover_what_is_missing_and_nothing_else(done: list[bool], blocks: int):
    tasks = list(tasks_of(3, np.array(done), blocks))
    covered = [b for task in tasks for b in range(task.first, task.last)]
    assert covered == [b for b, d in enumerate(done) if not d]
    assert all(task.unit == 3 and 1 <= task.last - task.first <= blocks for task in tasks)


def test_tasks_are_as_short_as_their_edges_allow():
    grid = WindowGrid(10**6, 8, 4)
    # A CPU's small batches waste little; a GPU's large ones waste more than a block can bear.
    assert blocks_per_task(grid, 16, 4, 1024, 900, 4) == 1
    assert waste(grid, 128, 32, 336, 1) > MOST_WASTE
    on_gpus = blocks_per_task(grid, 128, 32, 336, 2900, 4)
    assert on_gpus > 1
    assert waste(grid, 128, 32, 336, on_gpus) <= MOST_WASTE
    assert waste(grid, 128, 32, 336, on_gpus - 1) > MOST_WASTE
    # Of few blocks, each worker still gets its tasks.
    assert blocks_per_task(grid, 128, 32, 336, 2 * TASKS_PER_WORKER * 4, 4) <= 2
    assert blocks_per_task(grid, 128, 32, 336, 1, 8) == 1


def test_cores_and_gpus_are_shared_out_without_overlap():
    assert [p.cores for p in places([0, 1, 2, 3, 4], [], 2)] == [(0, 1), (2, 3, 4)]
    assert len(places(list(range(16)), [])) == 4
    assert len(places([0, 1], [])) == 1
    shared = places(list(range(8)), ["0", "2"])
    assert [(p.gpu, p.cores) for p in shared] == [("0", (0, 1, 2, 3)), ("2", (4, 5, 6, 7))]
    assert shared[1].environment["CUDA_VISIBLE_DEVICES"] == "2"
    assert shared[1].environment["PJRT_NPROC"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in places([0], [])[0].environment
    assert [p.cores for p in places([0], ["0", "1"])] == [(0,), (0,)]
    for wrong in (3, -1):
        with pytest.raises(InputError, match="do not fit"):
            places([0, 1], [], wrong)
    with pytest.raises(InputError, match="GPUs"):
        places(list(range(8)), ["0"], 2)


def test_the_gpus_are_those_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, GPU-2f")
    assert visible_gpus() == ["1", "GPU-2f"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == []
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('0')\nprint('1')\n")
    program.chmod(0o755)
    assert visible_gpus() == ["0", "1"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads are bound on Linux only")
def test_a_worker_keeps_to_its_cores() -> None:
    core = max(os.sched_getaffinity(0))
    program = (
        "import os, threading\n"
        "from ethoprism.cluster.worker import limit_cores\n"
        "hold = threading.Event()\n"
        "found = []\n"
        "def look():\n"
        "    hold.wait()\n"
        "    found.append(os.sched_getaffinity(0))\n"
        "early = threading.Thread(target=look)\n"
        "early.start()\n"
        f"limit_cores('{core}')\n"
        "hold.set()\n"
        "early.join()\n"
        "print(found, os.sched_getaffinity(0))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"[{{{core}}}] {{{core}}}"
    before = os.sched_getaffinity(0)
    limit_cores("")
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize(
    ("address", "leads_out"),
    [
        ("tcp://10.0.0.5:8786", True),
        ("tcp://node7.cluster:8786", True),
        ("10.0.0.5:8786", True),
        ("tls://10.0.0.5:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
    ],
)
def test_addresses_that_must_be_trusted_are_known(address: str, leads_out: bool):
    assert outside(address) is leads_out


def test_without_the_extra_the_command_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("ethoprism.cluster.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install .ethoprism\[dask\]"):
        require_dask()
    video = write_recording(tmp_path, "r", 3, n_frames=20).video
    project = _project(tmp_path / "p", video)
    assert run("extract", project.folder, "--dask", "local") == 3
    assert 'pip install "ethoprism[dask]"' in capsys.readouterr().err
    assert run("extract", project.folder, "--workers", "2") == 2


def test_nobody_at_an_address_is_a_clear_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="No Dask scheduler answers"), connect("tcp://127.0.0.1:9"):
        pass
    with pytest.raises(InputError, match="No Dask scheduler answers"), connect("nonsense://x"):
        pass
    with pytest.raises(InputError, match="where they are started"), connect("tcp://127.0.0.1:9", 2):
        pass


@pytest.mark.parametrize("found", ["0.0.1", None])
@pytest.mark.parametrize(("package", "name"), [("ethoprism", "EthoPrism"), ("pillow", "Pillow")])
def test_a_worker_of_another_version_is_refused(package: str, name: str, found: str | None):
    here: dict[str, str | None] = {"ethoprism": __version__, "pillow": "12.0.0"}

    def versions(packages: list[str]) -> dict[str, Any]:
        assert packages == list(here)
        there = {"packages": here | {package: found}}
        return {"client": {"packages": here}, "workers": {"tcp://node1:1": there}}

    client: Any = SimpleNamespace(get_versions=versions)
    with pytest.raises(ProjectError, match=rf"tcp://node1:1 has another version of {name}"):
        require_same_versions(client)
    found = here[package]
    require_same_versions(client)


def test_a_worker_that_would_make_other_tokens_is_refused(tmp_path: Path):
    video = write_recording(tmp_path, "r", 3, n_frames=20).video
    project = _project(tmp_path / "p", video)
    key = workflow.project_key(project, workflow.load_backbone(project.settings))
    session = Session("abc", str(project.folder), key.to_dict(), __version__)
    with pytest.raises(ProjectError, match="does not see the project"):
        _load(session)
    session.marker.parent.mkdir()
    session.marker.touch()
    assert _load(session)[0].recording_ids == ("r",)
    with pytest.raises(ProjectError, match="another version"):
        _load(replace(session, version="0.0.1"))
    other = {**session.key, "weights_sha256": "1" * 64}
    with pytest.raises(ProjectError, match="weights_sha256 1111"):
        _load(replace(session, key=other))
