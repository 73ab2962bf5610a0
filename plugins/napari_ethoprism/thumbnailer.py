"""Thumbnailer: thumbnails for the GUI, made in a worker thread, the newest request first."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QImage

from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from ethoprism.thumbnails import Thumbnails
from napari_ethoprism.session import Session

Request = tuple[str, str, int]
"""Recording, subject (or empty) and frame."""

_MOST_WAITING = 256
_MOST_KEPT = 512


def to_image(picture: np.ndarray) -> QImage:
    """A QImage with pixels of its own, from uint8 RGB ``[height, width, 3]``."""
    height, width = picture.shape[:2]
    pixels = np.ascontiguousarray(picture).tobytes()
    return QImage(pixels, width, height, 3 * width, QImage.Format.Format_RGB888).copy()


class Thumbnailer(QObject):
    """Thumbnails of the moments of the session's project. Make it in the GUI thread; close it.

    Signals
    -------
    ready(recording, subject, frame, image)
        A thumbnail that was asked for.
    failed(recording, subject, frame, text)
        Why there is none.

    Parameters
    ----------
    session
        Whose project is shown; when another one is opened, what waits is dropped.
    size
        Longer side of a thumbnail in physical pixels.
    """

    ready = QtSignal(str, str, int, object)
    failed = QtSignal(str, str, int, str)
    _made = QtSignal(int, object, object)

    def __init__(self, session: Session, parent: QObject | None = None, *, size: int = 192) -> None:
        super().__init__(parent)
        self._session, self._size = session, size
        self._images: OrderedDict[Request, QImage] = OrderedDict()
        self._waiting: OrderedDict[tuple[str, Request], None] = OrderedDict()
        self._project: Project | None = session.project
        self._generation = 0
        self._closed = False
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._made.connect(self._keep)
        session.events.project.connect(self._project_changed)

    def request(
        self, recording: str, subject: str, frame: int, *, channel: str = ""
    ) -> QImage | None:
        """The thumbnail if it is there; otherwise None, and `ready` or `failed` is emitted later.

        Parameters
        ----------
        recording, subject, frame
            Of the project; the subject may be empty.
        channel
            If it is named, the request takes the place of what still waits in that channel: for a
            pointer that hovers, only where it is now counts.
        """
        wanted = (recording, subject, int(frame))
        if wanted in self._images:
            self._images.move_to_end(wanted)
            return self._images[wanted]
        with self._wake:
            if self._closed or self._project is None:
                return None
            if channel:
                for other in [w for w in self._waiting if w[0] == channel]:
                    del self._waiting[other]
            self._waiting[channel, wanted] = None
            self._waiting.move_to_end((channel, wanted))
            while len(self._waiting) > _MOST_WAITING:
                self._waiting.popitem(last=False)
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="thumbnails", daemon=True)
            self._thread.start()
        return None

    def close(self, timeout: float = 10.0) -> None:
        """Drop what waits, end the thread and close the files; nothing is emitted afterwards."""
        with self._wake:
            if self._closed:
                return
            self._closed = True
            self._waiting.clear()
            self._wake.notify()
        self._session.events.project.disconnect(self._project_changed)
        if self._thread is not None:
            self._thread.join(timeout)
        self._images.clear()

    def _project_changed(self) -> None:
        with self._wake:
            self._project = self._session.project
            self._generation += 1
            self._waiting.clear()
            self._wake.notify()
        self._images.clear()

    def _work(self) -> None:
        """In the worker thread: one thumbnail after the other, the newest request first."""
        source: Thumbnails | None = None
        opened = -1
        try:
            while True:
                with self._wake:
                    while not (self._closed or self._waiting or opened != self._generation):
                        self._wake.wait()
                    if self._closed:
                        return
                    generation, project = self._generation, self._project
                    wanted = self._waiting.popitem()[0][1] if self._waiting else None
                if opened != generation:  # files of a project that was closed are let go at once
                    if source is not None:
                        source.close()
                    opened = generation
                    source = None if project is None else Thumbnails(project, size=self._size)
                if wanted is not None and source is not None:
                    self._offer(generation, wanted, self._make(source, wanted))
        finally:
            if source is not None:
                source.close()

    def _make(self, source: Thumbnails, wanted: Request) -> QImage | str:
        recording, subject, frame = wanted
        try:
            return to_image(source.get(recording, frame, subject))
        except EthoPrismError as error:
            return str(error)
        except Exception as error:  # a file that vanished, say; the GUI must go on
            return f"{type(error).__name__}: {error}"

    def _offer(self, generation: int, wanted: Request, made: QImage | str) -> None:
        with self._wake:  # `close` is not over while a signal is being emitted
            if not self._closed:
                self._made.emit(generation, wanted, made)

    def _keep(self, generation: int, wanted: Request, made: QImage | str) -> None:
        if self._closed or generation != self._generation:
            return
        if isinstance(made, str):
            self.failed.emit(*wanted, made)
            return
        self._images[wanted] = made
        while len(self._images) > _MOST_KEPT:
            self._images.popitem(last=False)
        self.ready.emit(*wanted, made)
