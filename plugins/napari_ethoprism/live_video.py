"""LiveVideo: shows each frame of a viewer's recordings as soon as it has been decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, QTimer
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]

from napari_ethoprism._video_array import VideoArray
from napari_ethoprism.session import Session

if TYPE_CHECKING:
    from napari.components import ViewerModel

_STAND_IN_MS = 120  # how often a veiled picture is exchanged for a nearer one


class LiveVideo(QObject):
    """Makes the recordings of a viewer live, and their layers show what arrives.

    It tells the session which frame is still being decoded, and is the session's `Frames`. Make it
    in the GUI thread; close it.

    Parameters
    ----------
    viewer
        The viewer.
    session
        Its session, if there is one.
    capacity
        Bytes of memory for the frames of a recording.
    """

    _arrived = QtSignal(object, int)

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session | None = None,
        *,
        capacity: int | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._capacity = viewer, session, capacity
        self._arrays: list[VideoArray] = []
        self._timer = QTimer(self)
        self._timer.setInterval(_STAND_IN_MS)
        self._timer.timeout.connect(self._nearer)
        self._arrived.connect(self._show, Qt.ConnectionType.QueuedConnection)  # pyright: ignore
        viewer.layers.events.inserted.connect(self._inserted)
        viewer.layers.events.removed.connect(self._removed)
        if session is not None:
            session.frames = self
            session.events.moment.connect(self._tell)
        for layer in viewer.layers:
            self._adopt(layer.data)

    def prepare(self, n: int) -> bool:
        """Whether frame ``n`` of the recording that is shown can be shown at once.

        It is fetched where it cannot.
        """
        array = self._current()
        return array is None or array.prepare(n)

    def problem(self, n: int) -> str:
        """Why frame ``n`` of the recording that is shown is black; empty where it is not."""
        array = self._current()
        return "" if array is None else array.problem(n)

    def close(self) -> None:
        """End all threads and close all files; the layers can still be read."""
        self._viewer.layers.events.inserted.disconnect(self._inserted)
        self._viewer.layers.events.removed.disconnect(self._removed)
        self._timer.stop()
        if self._session is not None:
            self._session.events.moment.disconnect(self._tell)
            if self._session.frames is self:
                self._session.frames = None
                self._session.decoding = None
        for array in self._arrays:
            array.rest()
        self._arrays.clear()
        self._arrived.disconnect(self._show)

    def _inserted(self, event: Any) -> None:
        self._adopt(event.value.data)
        # napari slices a layer before it tells of it, so the first frame has been shown already.

    def _removed(self, event: Any) -> None:
        array = event.value.data
        if array in self._arrays:
            self._arrays.remove(array)
            array.rest()
            self._tell()

    def _adopt(self, array: Any) -> None:
        if isinstance(array, VideoArray) and array not in self._arrays:
            self._arrays.append(array)
            array.go_live(
                lambda n: self._arrived.emit(array, n), self._pending_changed, self._capacity
            )

    def _show(self, array: VideoArray, n: int) -> None:
        if not array.outdated:
            return
        if array.pending is None and self._session is not None:
            self._session.decoding = n  # it was shown, and has turned out to be damaged
        self._refresh(array)
        self._tell()

    def _nearer(self) -> None:
        for array in self._arrays:
            if array.pending is not None:
                self._refresh(array)

    def _refresh(self, array: VideoArray) -> None:
        for layer in self._viewer.layers:
            if layer.data is array:
                layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _pending_changed(self) -> None:
        waiting = any(array.pending is not None for array in self._arrays)
        if waiting != self._timer.isActive():
            if waiting:
                self._timer.start()
            else:
                self._timer.stop()
        self._tell()

    def _current(self) -> VideoArray | None:
        recording = None if self._session is None else self._session.recording
        return next((a for a in self._arrays if a.recording is recording), None)

    def _tell(self) -> None:
        if self._session is not None:
            array = self._current()
            self._session.decoding = None if array is None else array.pending
