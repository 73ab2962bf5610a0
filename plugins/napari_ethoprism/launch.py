"""Opens napari with the workbench; what ``ethoprism gui`` runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QDockWidget, QWidget

from ethoprism.errors import EthoPrismError
from ethoprism.project import MANIFEST


def run(paths: Sequence[Path]) -> None:
    """Open a window with a project or with recordings, and stay until it is closed."""
    import napari

    open_window(paths)
    napari.run()


def open_window(paths: Sequence[Path] = (), *, show: bool = True) -> tuple[Any, Any]:
    """A viewer and its workbench, with a project or with recordings.

    What cannot be opened is said in the window, which opens all the same.
    """
    import napari

    viewer = napari.Viewer(title="EthoPrism", show=show)
    _, workbench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    _make_room(workbench.window())
    for path in paths:
        try:
            if (path / MANIFEST).is_file():
                workbench.open_project(path)
            else:
                viewer.open(path, plugin="ethoprism")
        except EthoPrismError as error:
            workbench.session.notify(error)
        except ValueError as error:  # napari's, of a path that the plugin does not read
            workbench.session.notify(str(error), "error")
    return viewer, workbench


def _make_room(window: QWidget) -> None:
    """Hide napari's docks for layers: a recording is one. The menu Window brings them back."""
    for dock in window.findChildren(QDockWidget):
        if dock.objectName() in ("layer controls", "layer list"):
            dock.hide()
