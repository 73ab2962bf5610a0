"""Writer: one thread in which one thing is done after the other; no Qt.

SQLite's connections belong to a thread, and a disk may be slow. So the labels are read and written
in a thread of their own, and the interface goes on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Writer:
    """A thread that does what it is given, in order.

    Parameters
    ----------
    name
        Of the thread.
    """

    def __init__(self, name: str) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether it takes nothing more."""
        return not self._thread.is_alive()

    def call(self, task: Callable[[], T]) -> T:
        """Do a task after all that was posted, and wait; what it returns or raises is passed on."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

        self.post(work)
        return future.result()

    def post(self, task: Callable[[], None]) -> None:
        """Do a task later. It must not raise."""
        if self.closed:
            raise RuntimeError("the labels are closed")
        self._queue.put(task)

    def close(self) -> None:
        """Do what is left, and end the thread."""
        if not self.closed:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            task()
