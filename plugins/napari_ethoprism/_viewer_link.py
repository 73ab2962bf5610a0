"""ViewerLink: keeps a napari viewer and a session in step; no Qt of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ethoprism.errors import EthoPrismError
from ethoprism.recording import Recording
from napari_ethoprism._layers import (
    current_layer,
    current_moment,
    is_recording,
    move_to,
    show_layer,
    show_recording,
)
from napari_ethoprism._opening import open_project
from napari_ethoprism.session import Session

if TYPE_CHECKING:
    from napari.components import ViewerModel


class ViewerLink:
    """Tells the session what the viewer shows, and moves the viewer where docks ask.

    A layer that came with a project, as a dropped project folder's does, opens that project.

    Parameters
    ----------
    viewer
        The viewer.
    session
        Its session.
    """

    def __init__(self, viewer: ViewerModel, session: Session) -> None:
        self._viewer, self._session = viewer, session
        self._left_at: dict[str, int] = {}
        layers = viewer.layers
        self._connections = [
            (layers.events.inserted, self._inserted),
            (layers.events.removed, self._follow),
            (layers.selection.events.active, self._follow),
            (viewer.dims.events.point, self._follow),
        ]
        for event, function in self._connections:
            event.connect(function)
        session.sought.connect(self._seek)
        for layer in layers:
            self._adopt(layer)
        self._follow()

    def close(self) -> None:
        """Stop following; the viewer is left as it is."""
        for event, function in self._connections:
            event.disconnect(function)
        self._session.sought.disconnect(self._seek)
        self._connections = []

    def _inserted(self, event: Any) -> None:
        self._adopt(event.value)
        warnings = " ".join(event.value.metadata.get("warnings", ()))
        if warnings:
            self._session.notify(f"{event.value.name}: {warnings}", "warning")
        self._follow()

    def _adopt(self, layer: Any) -> None:
        if not is_recording(layer):
            return
        layer.events.visible.connect(self._follow)
        folder, project = layer.metadata.get("project"), self._session.project
        if folder and (project is None or project.folder.resolve() != folder.resolve()):
            open_project(self._session, folder)

    def _follow(self, event: Any = None) -> None:
        moment = current_moment(self._viewer)
        if moment is not None and moment.frame is not None:
            self._left_at[moment.recording.content_key] = moment.frame
        self._session.moment = moment

    def _seek(self, name: str, frame: int) -> None:
        """Show a frame; ``frame`` −1 is the one at which the recording was left."""
        entry, project = self._session.entry, self._session.project
        if not name or (entry is not None and entry.id == name):
            layer = current_layer(self._viewer)
            if layer is not None and frame >= 0:
                move_to(self._viewer, layer, frame)
            return
        if project is None:
            return
        try:
            key = project.entry(name).content_key
        except EthoPrismError as error:
            self._session.notify(error)
            return
        if frame < 0:
            frame = self._left_at.get(key, 0)
        if show_layer(self._viewer, key, frame):
            self._follow()
            return

        def show(recording: Recording) -> None:
            if self._session.project is project and not show_layer(self._viewer, key, frame):
                show_recording(self._viewer, recording, project.folder, frame)
                self._follow()

        # Checking that the file is the one that was added reads up to 32 MiB of it.
        self._session.jobs.start(
            f"Open {name}", lambda: project.recording(name), lane="open", on_done=show
        )
