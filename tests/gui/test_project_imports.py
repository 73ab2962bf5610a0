"""Two jobs that need JAX first, at once, both find it whole."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("qtpy")
pytestmark = pytest.mark.gui

_CODE = """
import time
from qtpy.QtWidgets import QApplication
app = QApplication([])
from napari_ethoprism.jobs import Jobs
jobs, done, failed = Jobs(), [], []
jobs.failed.connect(lambda job: failed.append(job.error))

def first():
    import ethoprism.extract

def second():
    import ethoprism.backbones.nano, ethoprism.probe.train

for lane, task in (("survey", first), ("compute", second), ("predictions", second)):
    jobs.start(lane, task, lane=lane, on_done=done.append)
until = time.monotonic() + 100
while len(done) + len(failed) < 3 and time.monotonic() < until:
    app.processEvents()
    time.sleep(0.01)
assert not failed, failed
assert len(done) == 3
assert jobs.close()
"""


def test_first_imports_of_jax_in_several_threads_do_not_trip_over_each_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-2000:]
