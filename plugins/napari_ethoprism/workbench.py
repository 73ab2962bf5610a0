"""Workbench: the docks of EthoPrism around one napari viewer, and what joins them."""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import (
    QDockWidget,
    QFrame,
    QMainWindow,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_ethoprism._opening import open_project
from napari_ethoprism._viewer_link import ViewerLink
from napari_ethoprism.closing import CloseGuard
from napari_ethoprism.explore_dock import ExploreDock
from napari_ethoprism.key_filter import KeyFilter
from napari_ethoprism.label_dock import LabelDock
from napari_ethoprism.live_video import LiveVideo
from napari_ethoprism.messages import MessageDock
from napari_ethoprism.player import Player
from napari_ethoprism.probe_dock import ProbeDock
from napari_ethoprism.project_dock import ProjectDock
from napari_ethoprism.session import Session
from napari_ethoprism.shown import PredictionLoader
from napari_ethoprism.timeline_dock import TimelineDock

if TYPE_CHECKING:
    from napari import Viewer

PROJECT, TIMELINE, LABELS, MAP, PROBE = "EthoPrism", "Timeline", "Labels", "Map", "Probe"
_WIDTH, _HEIGHT = 34, 20
"""Of the docks at the right and below, in lines of text."""


class Workbench(QWidget):
    """The project dock, which brings the other docks with it and takes them away at its end.

    Parameters
    ----------
    napari_viewer
        The viewer around which the docks lie.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._docked = False
        session = self.session = Session()
        self._parts: list[Any] = [
            LiveVideo(napari_viewer, session),
            ViewerLink(napari_viewer, session),
        ]
        self._project = ProjectDock(session)
        self._project.attach_viewer(napari_viewer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(_scrolled(self._project))
        timeline = TimelineDock(session)
        beside = {LABELS: LabelDock(session), MAP: ExploreDock(session), PROBE: ProbeDock(session)}
        self.docks: dict[str, QWidget] = {PROJECT: self._project, TIMELINE: timeline, **beside}
        self._below = self._dock(timeline, TIMELINE, "bottom")
        self._beside = [
            self._dock(_scrolled(widget), title, "right") for title, widget in beside.items()
        ]
        self._parts += [Player(session), PredictionLoader(session)]
        # napari docks this widget after it was made.
        QTimer.singleShot(0, self._arrange)

    def show_dock(self, title: str) -> None:
        """Bring a dock to the front: one of the titles in `docks`."""
        dock = _dock_of(self if title == PROJECT else self.docks[title])
        if dock is not None:
            dock.show()
            dock.raise_()

    def open_project(self, folder: Path | str) -> bool:
        """Open a project and show its first recording; whether it could be opened."""
        if not open_project(self.session, folder):
            return False
        project = self.session.project
        if project is not None and project.recording_ids and self.session.entry is None:
            self.session.show(project.recording_ids[0])
        return True

    def shut_down(self) -> None:
        """Stop the jobs, close the labels, and take the other docks away; once only."""
        session, parts, docks = self.session, self._parts, self.docks
        self._parts, self.docks = [], {}
        if not parts:
            return
        session.playing = False
        session.hush()
        for part in reversed(parts):
            with suppress(RuntimeError):  # what it watched went first
                part.close()
        for widget in (self._below, *self._beside):
            with suppress(RuntimeError, LookupError, AttributeError):  # the window went first
                self._viewer.window.remove_dock_widget(widget)
        for widget in docks.values():
            with suppress(RuntimeError):
                widget.close()
                widget.deleteLater()
        session.close()
        session.jobs.close(10.0)

    def event(self, a0: QEvent | None) -> bool:
        """Shut down when napari takes this widget out of its dock."""
        moved = a0 is not None and a0.type() == QEvent.Type.ParentChange
        # PySide6 sends events before the attributes are there and after they have gone.
        if moved and getattr(self, "_docked", False) and self.parent() is None:
            self.shut_down()
        return super().event(a0)

    def _dock(self, widget: QWidget, title: str, area: str) -> QWidget:
        self._viewer.window.add_dock_widget(
            widget, name=title, area=area, add_vertical_stretch=False
        )
        return widget

    def _arrange(self) -> None:
        """Watch the window, and put the docks beside one another in one place."""
        window, mine = self.window(), _dock_of(self)
        if not isinstance(window, QMainWindow) or mine is None or not self._parts:
            return
        self._docked = True
        # By a weak reference: PySide6 cannot call a method of a widget that goes with its window.
        window.destroyed.connect(partial(_shut_down, weakref.ref(self)))
        self._parts += [
            KeyFilter(self.session, window),
            CloseGuard(self.session, window),
            MessageDock(window, mine, self._project.messages),
        ]
        side = Qt.DockWidgetArea.RightDockWidgetArea
        for dock in map(_dock_of, self._beside):
            if dock is not None and window.dockWidgetArea(dock) == side:
                window.tabifyDockWidget(mine, dock)
        line = self.fontMetrics().lineSpacing()
        window.resizeDocks([mine], [_WIDTH * line], Qt.Orientation.Horizontal)
        below = _dock_of(self._below)
        if below is not None:
            window.resizeDocks([below], [_HEIGHT * line], Qt.Orientation.Vertical)
        mine.raise_()
        # Qt shows the tab that was added last once the window is laid out.
        QTimer.singleShot(0, mine.raise_)


def _shut_down(reference: weakref.ref[Workbench], *_: object) -> None:
    workbench = reference()
    if workbench is not None:
        workbench.shut_down()


def _dock_of(widget: QWidget) -> QDockWidget | None:
    """The dock that a widget lies in; napari's own functions give a proxy of it."""
    found: QWidget | None = widget
    while found is not None and not isinstance(found, QDockWidget):
        found = found.parentWidget()
    return found


def _scrolled(widget: QWidget) -> QScrollArea:
    """A widget that scrolls where there is no room, so that no dock makes the window grow."""
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setWidget(widget)
    return area
