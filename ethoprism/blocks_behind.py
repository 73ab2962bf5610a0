"""BlocksBehind: blocks of tokens, packed and written in a thread behind the encoder."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from ethoprism.tokens import Block, TokenStore

_AHEAD = 2  # blocks that wait to be written; each is about 8 MB


class BlocksBehind:
    """A thread that has blocks on the disk and marks them as done, in the order they are given.

    Use it as a context manager: leaving it waits for the blocks that were given, whether by the
    end of the work, an error or a cancellation, so that what was computed is kept. An error of the
    thread is raised by the next `put`, or by `finish`; blocks after it are not written.
    """

    def __init__(self, store: TokenStore):
        self.store = store
        self._waiting: queue.Queue[Block | None] = queue.Queue(maxsize=_AHEAD)
        self._written: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write, name="token writer", daemon=True)

    def __enter__(self) -> BlocksBehind:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def put(self, block: Block) -> Iterator[int]:
        """Have a block written; gives the rows of each block that has been written meanwhile.

        Waits where the disk is slower than the encoder. What the thread failed with is raised.
        """
        self._check()
        self._waiting.put(block)
        return self._news()

    def finish(self) -> Iterator[int]:
        """Wait until all is written; gives the rows of each block that was not yet told of."""
        self._stop()
        self._check()
        return self._news()

    def _news(self) -> Iterator[int]:
        while not self._written.empty():
            yield self._written.get()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _stop(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _write(self) -> None:
        # After an error blocks are still taken, so that nobody waits for room in the queue.
        while (block := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self.store.put(block)
                    self.store.mark_done(block.index)
                    self._written.put(len(block.tokens))
                except BaseException as error:  # handed to the thread that gives the blocks
                    self._error = error
