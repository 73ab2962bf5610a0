"""Jobs: library generators in worker threads, with progress, cancelling and readable errors.

Callbacks and events reach the GUI thread through Qt's event loop. Jobs of one lane run one after
the other, so that two do not fight for the machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import suppress
from enum import Enum
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QCoreApplication, QObject, Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]

from ethoprism.errors import EthoPrismError
from ethoprism.progress import Progress
from napari_ethoprism.heavy_imports import LANES, import_jax

_log = logging.getLogger(__name__)
_EVERY_S = 0.05
"""Progress is shown at most this often. Measurements of a training are always passed on."""

Task = Callable[[], Any]
"""Called in the worker thread. A generator of `Progress` is run to its end; its result counts."""


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job:
    """One task in a worker thread. Its state changes in the GUI thread alone."""

    def __init__(
        self,
        title: str,
        task: Task,
        lane: str,
        on_progress: Callable[[Progress], None] | None,
        on_done: Callable[[Any], None] | None,
        on_error: Callable[[EthoPrismError], None] | None,
    ) -> None:
        self.title, self.lane = title, lane
        self.state = State.WAITING
        self.progress: Progress | None = None
        self.error: EthoPrismError | None = None
        self.started: float | None = None
        self._task = task
        self._on_progress, self._on_done, self._on_error = on_progress, on_done, on_error
        self._cancelled = threading.Event()
        self._first: tuple[float, int] | None = None

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in (State.WAITING, State.RUNNING)

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to stop; what it has finished is kept."""
        return self._cancelled.is_set()

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the pace so far; None while there is none."""
        if self.state is not State.RUNNING or self.progress is None or self._first is None:
            return None
        moment, done = self._first
        made = self.progress.done - done
        if made <= 0:
            return None
        return (time.monotonic() - moment) / made * max(self.progress.total - self.progress.done, 0)

    def cancel(self) -> None:
        """Ask the task to stop after its present step."""
        self._cancelled.set()

    def _note(self, step: Progress) -> None:
        # What an earlier run had finished goes by in no time and says nothing of the pace.
        if (
            self.progress is None
            or step.done < self.progress.done
            or step.total != self.progress.total
        ):
            self._first = (time.monotonic(), step.done)
        self.progress = step


class _Relay(QObject):
    """Runs functions in the thread of the GUI."""

    called: Any = QtSignal(object)

    def __init__(self) -> None:
        super().__init__()
        self.called.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def _run(self, function: Callable[[], None]) -> None:
        function()


class Jobs:
    """The jobs of one workbench. Make it in the GUI thread.

    Lanes: ``compute`` for extraction, training and prediction, which share the processor or GPU;
    ``map`` for vectors, maps and clusters; ``frames`` for thumbnails; others as needed.
    """

    changed = Signal(Job)
    """A job was started, has progressed or has ended."""
    failed = Signal(Job)
    """A job has failed; ``job.error`` is what to tell."""

    def __init__(self) -> None:
        self._relay = _Relay()
        self._lanes: dict[str, deque[Job]] = {}
        self._threads: dict[Job, threading.Thread] = {}
        self._closed = False

    @property
    def active(self) -> list[Job]:
        """Jobs that wait or run."""
        return [job for lane in self._lanes.values() for job in lane]

    def start(
        self,
        title: str,
        task: Task,
        *,
        lane: str = "compute",
        on_progress: Callable[[Progress], None] | None = None,
        on_done: Callable[[Any], None] | None = None,
        on_error: Callable[[EthoPrismError], None] | None = None,
    ) -> Job:
        """Run ``task`` in a worker thread, after the other jobs of its lane.

        Parameters
        ----------
        title
            What the user reads: "Extract tokens of fly1".
        task
            Called in the worker thread; it may return a generator of `Progress`, which is closed
            there when the job is cancelled.
        on_progress, on_done, on_error
            Called in the GUI thread. Without ``on_error``, `failed` alone tells of an error.
        """
        job = Job(title, task, lane, on_progress, on_done, on_error)
        if self._closed:
            job.state = State.CANCELLED
            return job
        queue = self._lanes.setdefault(lane, deque())
        queue.append(job)
        self.changed.emit(job)
        if len(queue) == 1:
            self._begin(job)
        return job

    def cancel_all(self) -> None:
        """Ask every job to stop."""
        for job in self.active:
            job.cancel()

    def close(self, timeout: float = 60.0) -> bool:
        """Cancel every job and wait for the threads; whether all ended in time.

        What the jobs have finished is on the disk. No callback is called afterwards.
        """
        self._closed = True
        self.cancel_all()
        for thread in list(self._threads.values()):
            thread.join(timeout)
        alive = any(thread.is_alive() for thread in self._threads.values())
        with suppress(RuntimeError):  # the program ends, and Qt went first
            QCoreApplication.sendPostedEvents(self._relay)
            self._relay.deleteLater()
        return not alive

    def _begin(self, job: Job) -> None:
        job.state, job.started = State.RUNNING, time.monotonic()
        thread = threading.Thread(target=self._work, args=(job,), name=job.title, daemon=True)
        self._threads[job] = thread
        thread.start()
        self.changed.emit(job)

    def _work(self, job: Job) -> None:
        """In the worker thread."""
        try:
            result = self._run(job)
        except EthoPrismError as error:
            self._post(job, lambda error=error: self._fail(job, error))
        except Exception as error:
            _log.exception("%s failed", job.title)
            told = EthoPrismError(
                f"{job.title} failed with an error that was not foreseen",
                found=f"{type(error).__name__}: {error}",
                remedy="What was finished is kept. Please report this with the log.",
            )
            self._post(job, lambda: self._fail(job, told))
        else:
            state = State.CANCELLED if job.cancelling else State.DONE
            self._post(job, lambda: self._end(job, state, result))

    def _run(self, job: Job) -> Any:
        if job.cancelling:
            return None
        if job.lane in LANES:
            import_jax()
        made = job._task()
        if not isinstance(made, Generator):
            return made
        shown = 0.0
        try:
            while True:
                step = next(made)
                moment = time.monotonic()
                if type(step) is not Progress or moment - shown >= _EVERY_S:
                    shown = moment
                    self._post(job, lambda step=step: self._progressed(job, step))
                if job.cancelling:
                    return None
        except StopIteration as stop:
            return stop.value
        finally:
            made.close()

    def _post(self, job: Job, function: Callable[[], None]) -> None:
        if not self._closed:
            self._relay.called.emit(function)

    def _progressed(self, job: Job, step: Progress) -> None:
        job._note(step)
        if job._on_progress is not None:
            job._on_progress(step)
        self.changed.emit(job)

    def _fail(self, job: Job, error: EthoPrismError) -> None:
        job.error = error
        self._leave(job, State.FAILED)
        if job._on_error is not None:
            job._on_error(error)
        self.failed.emit(job)

    def _end(self, job: Job, state: State, result: Any) -> None:
        self._leave(job, state)
        if state is State.DONE and job._on_done is not None:
            job._on_done(result)

    def _leave(self, job: Job, state: State) -> None:
        job.state = state
        self._threads.pop(job).join()
        queue = self._lanes[job.lane]
        queue.remove(job)
        if queue and not self._closed:
            self._begin(queue[0])
        self.changed.emit(job)
