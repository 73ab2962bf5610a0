"""Workbench: the docks of EthoPrism around one napari viewer, and what joins them."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QVBoxLayout, QWidget

from napari_ethoprism._opening import open_project
from napari_ethoprism._viewer_link import ViewerLink
from napari_ethoprism.session import Session

if TYPE_CHECKING:
    from napari import Viewer

_DOCKS = (
    ("timeline_dock", "TimelineDock", "Timeline", "bottom"),
    ("label_dock", "LabelDock", "Labels", "right"),
    ("explore_dock", "ExploreDock", "Map", "right"),
    ("probe_dock", "ProbeDock", "Probe", "right"),
)


class Workbench(QWidget):
    """The project dock, which brings the other docks with it and takes them away at its end.

    Parameters
    ----------
    napari_viewer
        The viewer around which the docks lie.
    """

    def __init__(self, napari_viewer: Viewer, session: Session | None = None) -> None:
        super().__init__()
        self.session = session or Session()
        self._viewer = napari_viewer
        self._docks: list[QWidget] = []
        self.docks: dict[str, QWidget] = {}
        self._parts: list[Any] = [ViewerLink(napari_viewer, self.session)]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        project = _make("project_dock", "ProjectDock", self.session)
        if project is not None:
            layout.addWidget(project)
            self.docks["Project"] = project
        for module, name, title, area in _DOCKS:
            widget = _make(module, name, self.session)
            if widget is not None:
                self.docks[title] = widget
                napari_viewer.window.add_dock_widget(
                    widget, name=title, area=area, add_vertical_stretch=False
                )
                self._docks.append(widget)
        session_parts = (("player", "Player"), ("shown", "PredictionLoader"))
        for module, name in session_parts:
            part = _make(module, name, self.session)
            if part is not None:
                self._parts.append(part)
        self._docked = False
        # napari docks this widget after it was made.
        QTimer.singleShot(0, self._arrange)

    def shut_down(self) -> None:
        """Stop the jobs, close the labels, and take the other docks away; once only."""
        session, parts, widgets = self.session, self._parts, self._docks
        self._parts, self._docks = [], []
        if not parts:
            return
        session.playing = False
        for part in reversed(parts):
            part.close()
        for widget in widgets:
            with suppress(RuntimeError, LookupError, AttributeError):  # the window went first
                self._viewer.window.remove_dock_widget(widget)
        for widget in self.docks.values():
            with suppress(RuntimeError):
                widget.close()
                widget.deleteLater()
        self.docks.clear()
        session.close()
        session.jobs.close(10.0)

    def event(self, event: QEvent | None) -> bool:
        """Shut down when napari takes this widget out of its dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.shut_down()
        return super().event(event)

    def open_project(self, folder: Path | str) -> bool:
        """Open a project and show its first recording; whether it could be opened."""
        if not open_project(self.session, folder):
            return False
        project = self.session.project
        if project is not None and project.recording_ids and self.session.entry is None:
            self.session.show(project.recording_ids[0])
        return True

    def _arrange(self) -> None:
        window = self.window()
        if not isinstance(window, QMainWindow):
            return
        self._docked = True
        window.destroyed.connect(self.shut_down)
        for module, name in (("key_filter", "KeyFilter"), ("closing", "CloseGuard")):
            if importlib.util.find_spec(f"napari_ethoprism.{module}"):
                made = getattr(importlib.import_module(f"napari_ethoprism.{module}"), name)
                self._parts.append(made(self.session, window))
        mine = _dock_of(self)
        docks = [_dock_of(widget) for widget in self._docks]
        side = Qt.DockWidgetArea.RightDockWidgetArea
        right = [dock for dock in docks if dock and window.dockWidgetArea(dock) == side]
        if mine is not None:
            for dock in right:
                window.tabifyDockWidget(mine, dock)
            mine.raise_()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that a widget lies in; napari's own functions give a proxy of it."""
    found: QWidget | None = widget
    while found is not None and not isinstance(found, QDockWidget):
        found = found.parentWidget()
    return found


def _make(module: str, name: str, session: Session) -> Any:
    if importlib.util.find_spec(f"napari_ethoprism.{module}") is None:
        return None
    return getattr(importlib.import_module(f"napari_ethoprism.{module}"), name)(session)
