"""A kill while labelling at full typing speed loses nothing that the dock showed as saved."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from label_samples import N_FRAMES, make_project

pytest.importorskip("napari")
pytestmark = [
    pytest.mark.gui,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here"),
]

from ethoprism import workflow  # noqa: E402
from ethoprism.labelling import check_labels  # noqa: E402
from napari_ethoprism.label_commands import LabelCommands  # noqa: E402
from napari_ethoprism.label_running import read_runs, running_path  # noqa: E402
from napari_ethoprism.session import Session  # noqa: E402

_MOST_SECONDS = 90.0
_TYPIST = Path(__file__).with_name("label_typist.py")


def _killed(folder: Path, seed: int) -> list[tuple[int, str]]:
    """What a typist showed as saved before it was killed at some moment."""
    paths = [str(_TYPIST.parents[1]), *sys.path]
    environment = {
        **os.environ,
        "QT_QPA_PLATFORM": "offscreen",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "JAX_PLATFORMS": "cpu",
    }
    typist = subprocess.Popen(
        [sys.executable, str(_TYPIST), str(folder), str(seed)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert typist.stdout is not None
    watchdog = threading.Timer(_MOST_SECONDS, typist.kill)
    watchdog.start()
    lines = [typist.stdout.readline() for _ in range(random.Random(seed).randint(5, 60))]
    os.kill(typist.pid, signal.SIGKILL)
    lines += typist.stdout.readlines()
    typist.stdout.close()
    typist.wait()
    watchdog.cancel()
    whole = [line.rstrip("\n").split("\t") for line in lines if line.endswith("\n")]
    return [(int(number), text) for number, text in whole]


def test_nothing_that_was_shown_as_saved_is_lost(tmp_path: Path, qapp: object) -> None:
    project = make_project(tmp_path / "p")
    shown: dict[int, str] = {}
    for seed in range(3):
        saved = _killed(project.folder, seed)
        assert len(saved) >= 5
        shown.update(saved)
        with workflow.open_annotations(project, "read") as store:
            history = {edit.id: edit.description for edit in store.history() if not edit.undone}
            assert {i: history.get(i) for i in shown} == shown
            assert store.recovery is None
        assert check_labels(project).problems == ()
    # What ran at the kill is on the disk too, and the next start labels it.
    left = read_runs(running_path(project), project)
    session = Session()
    commands = LabelCommands(session)
    session.open_project(project)
    labels = session.labels
    assert labels is not None
    for run in left:
        bouts = labels.bouts(run.recording)
        mine = bouts.loc[bouts["behaviour"] == run.behaviour]
        start, stop = run.frames
        assert ((mine["start_frame"] <= start) & (mine["stop_frame"] >= stop)).any()
        assert stop <= N_FRAMES
    commands.close()
    session.close()
    assert not running_path(project).exists()
