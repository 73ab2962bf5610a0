"""FramesAhead: sampled frames, decoded, cut and resized in a thread ahead of the encoder."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np

from ethoprism.backbones.preprocess import preprocess
from ethoprism.crops import CropPath, cut
from ethoprism.recording import Recording, open_frames
from ethoprism.windows import WindowGrid

_AHEAD = 4  # batches that wait for the encoder


class FramesAhead:
    """A thread that decodes and preprocesses batches of sampled frames ahead of the encoder.

    Parameters
    ----------
    recording, grid
        The recording, and which of its frames are sampled.
    size
        Height and width of the frames that the encoder sees, in pixels.
    batch
        Frames in a batch.
    crop
        Where each frame is cut; None for whole frames.
    to_device
        What brings a batch to where it is encoded; called in the thread, so that the next batch
        travels while the encoder computes. None leaves it as it is.
    """

    def __init__(
        self,
        recording: Recording,
        grid: WindowGrid,
        size: int,
        batch: int,
        crop: CropPath | None,
        to_device: Callable[[np.ndarray], Any] | None = None,
    ):
        self.crop = crop
        self.recording = recording
        self.grid = grid
        self.size = size
        self.batch = batch
        self._to_device = to_device
        self._queue: queue.Queue[tuple[int, Any, np.ndarray] | BaseException] = queue.Queue(
            maxsize=_AHEAD
        )
        self._cancelled = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FramesAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled.set()
        if self._thread is not None:
            while self._thread.is_alive():
                self._drain()
                self._thread.join(timeout=0.05)

    def chunks(self, first: int, last: int) -> Iterator[tuple[int, Any, np.ndarray]]:
        """Batches ``first`` to ``last`` (excluded) as ``(index, frames, valid)``.

        ``frames`` is uint8 ``[batch, size, size, 3]``, or what ``to_device`` made of that: zero
        where a frame is damaged, has no crop or is past the end. ``valid`` covers the frames that
        the recording has.
        """
        self._thread = threading.Thread(
            target=self._decode, args=(first, last), name="decoder", daemon=True
        )
        self._thread.start()
        for _ in range(first, last):
            item = self._queue.get()
            if isinstance(item, BaseException):
                raise item
            yield item

    def _decode(self, first: int, last: int) -> None:
        try:
            start = first * self.batch
            stop = min(last * self.batch, self.grid.n_sampled)
            with closing(open_frames(self.recording)) as reader:
                frames = reader.frames(
                    self.grid.frame_of(start), self.grid.frame_of(stop - 1) + 1, self.grid.step
                )
                for chunk in range(first, last):
                    n = min(self.batch, self.grid.n_sampled - chunk * self.batch)
                    images = np.zeros((self.batch, self.size, self.size, 3), np.uint8)
                    valid = np.zeros(n, dtype=bool)
                    for i in range(n):
                        number, frame = next(frames)
                        if frame is not None and (self.crop is None or self.crop.valid[number]):
                            images[i] = preprocess(self._part(number, frame), self.size)
                            valid[i] = True
                    sent = images if self._to_device is None else self._to_device(images)
                    if not self._offer((chunk, sent, valid)):
                        return
        except BaseException as error:  # handed to the thread that consumes
            self._offer(error)

    def _part(self, number: int, frame: np.ndarray) -> np.ndarray:
        if self.crop is None:
            return frame
        top, left = self.crop.top_left[number].tolist()
        return cut(frame, top, left, self.crop.size)

    def _offer(self, item: tuple[int, Any, np.ndarray] | BaseException) -> bool:
        while not self._cancelled.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _drain(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return
