"""Cases run in a worker process, and how each ended."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SECONDS = 20.0
"""Longer than this, a case hangs. A case takes milliseconds."""

_MOST_KIB = 2 * 2**20
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    ``kind`` is ``opened``, ``refused`` (with a named error), ``unnamed`` (another exception),
    ``crash``, ``hang``, ``memory`` or ``escaped`` (it unpickled, wrote or connected somewhere).
    """

    kind: str
    detail: str
    seconds: float

    @property
    def sound(self) -> bool:
        """Whether it ended as it should."""
        return self.kind in ("opened", "refused")


class Worker:
    """A worker process that is started again whenever a case has ended it."""

    def __init__(self):
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_memory_folder()))

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run(self, target: str, files: Mapping[str, bytes], seconds: float = SECONDS) -> Outcome:
        """Write a case and have the worker open it."""
        case = self._folder / "case"
        shutil.rmtree(case, ignore_errors=True)
        for name, data in files.items():
            path = case / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        process = self._process
        fresh = process is None or process.poll() is not None
        if fresh:
            process = self._start()
        assert process is not None and process.stdin is not None
        process.stdin.write(json.dumps([target, str(case)]).encode() + b"\n")
        process.stdin.flush()
        began = time.monotonic()
        # The first case of a process also waits for its imports.
        answer = self._answer(process, seconds + (60 if fresh else 0))
        took = time.monotonic() - began
        if answer is None:
            kind = "hang" if process.poll() is None else "crash"
            self._stop()
            return Outcome(kind, f"exit code {process.returncode}", took)
        kind, detail, peak = json.loads(answer)
        if peak > _MOST_KIB:
            self._stop()
            kind, detail = "memory", f"{peak // 1024} MiB"
        return Outcome(kind, detail, took)

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "JAX_ENABLE_COMPILATION_CACHE": "0",  # a worker may write nowhere
            "JAX_PLATFORMS": "cpu",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = process.stdout.readline()
        if not line:
            process.wait()
            return None
        return line

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _memory_folder() -> str | None:
    """A folder in memory, where there is one: cases are written by the thousand."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
