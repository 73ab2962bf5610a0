"""ProjectDock: the recordings of a project and their states; adding, extracting, exporting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QMenu, QPushButton, QVBoxLayout, QWidget

from ethoprism.project import MANIFEST, Project
from napari_ethoprism.extract_panel import ExtractPanel
from napari_ethoprism.looks import plain, tight, tone
from napari_ethoprism.messages import Messages
from napari_ethoprism.project_add import AddPanel
from napari_ethoprism.project_export import ExportPanel
from napari_ethoprism.project_header import ProjectHeader
from napari_ethoprism.project_moment import MomentPanel
from napari_ethoprism.project_recent import RecentProjects
from napari_ethoprism.project_region import RegionBar
from napari_ethoprism.project_states import ProjectStates
from napari_ethoprism.project_table import RecordingTable, dropped_paths
from napari_ethoprism.session import Moment, Session

if TYPE_CHECKING:
    from napari.components import ViewerModel

_WELCOME = (
    "Drop a project folder here, or open a video in napari and start a project with it.\n\n"
    "A project is a folder that holds labels, tokens, probes and predictions. The videos stay "
    "where they are."
)
_EMPTY = "Drop videos here, or folders of videos or images."


class ProjectDock(QWidget):
    """What a project holds, at a glance, and the work that concerns all of it.

    Parameters
    ----------
    session
        The session whose project is shown.
    recent
        The projects that were opened last; those of this user by default.
    """

    def __init__(
        self,
        session: Session,
        parent: QWidget | None = None,
        *,
        recent: RecentProjects | None = None,
    ) -> None:
        super().__init__(parent)
        self.session = session
        self.states = ProjectStates(session, self)
        self.adding = AddPanel(session)
        self.extracting = ExtractPanel(session)
        self.exporting = ExportPanel(session)
        self.header = ProjectHeader(session, self.adding.start, recent or RecentProjects())
        self.region: RegionBar | None = None
        self.moment = MomentPanel(session)
        self.messages = Messages(session)
        self.jobs, self.notices = self.messages.jobs, self.messages.notices
        self._build()
        self.setAcceptDrops(True)
        self.states.changed.connect(self._render)
        session.events.project.connect(self._render)
        session.events.moment.connect(self._moment_changed)
        self._render()

    def attach_viewer(self, viewer: ViewerModel) -> None:
        """Let regions be drawn in a viewer."""
        self.region = RegionBar(self.session, viewer)
        self._column.insertWidget(self._column.indexOf(self.moment), self.region)

    def drop(self, paths: list[Path]) -> None:
        """What was dropped: a project folder is opened, recordings are added."""
        projects = [path for path in paths if (path / MANIFEST).is_file()]
        if projects:
            self.header.open(projects[0])
        elif self.session.project is not None:
            self.adding.add(paths)
        else:
            self.session.notify(
                "Open or make a project first; recordings are added to it.", "warning"
            )

    def extract(self) -> None:
        """Say what extracting the selected recordings would take, or all of them."""
        chosen = self.table.chosen
        self._show_one(self.extracting)
        self.extracting.prepare(chosen)

    def export(self) -> None:
        """Choose what to export."""
        self._show_one(self.exporting)
        self.exporting.prepare(list(self.states), self.table.chosen)

    def dragEnterEvent(self, a0: QDragEnterEvent | None) -> None:
        if dropped_paths(a0) and a0 is not None:
            a0.acceptProposedAction()

    def dropEvent(self, a0: QDropEvent | None) -> None:
        paths = dropped_paths(a0)
        if paths and a0 is not None:
            a0.acceptProposedAction()
            self.drop(paths)

    def _build(self) -> None:
        self.table = RecordingTable()
        self.hint = QLabel()
        self.hint.setWordWrap(True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.hint.setEnabled(False)
        self.problem = plain()
        self.relink_button = QPushButton("Find the video…")
        self.add_button, self.extract_button = QPushButton("Add…"), QPushButton("Extract…")
        self.export_button = QPushButton("Export…")
        self.add_button.setToolTip("Add videos, or folders of images; or drop them on the table")
        self.extract_button.setToolTip("Make the tokens of the selected recordings, or of all")
        self.export_button.setToolTip("Write labels or predictions to a CSV")
        menu = QMenu(self.add_button)
        for text, function in (
            ("Videos…", self.adding.choose),
            ("A folder of videos or images…", self.adding.choose_folder),
        ):
            action = menu.addAction(text)
            if action is not None:
                action.triggered.connect(function)
        self.add_button.setMenu(menu)
        self.actions_row = QWidget()
        row = tight(QHBoxLayout(self.actions_row), self)
        for button in (self.add_button, self.extract_button, self.export_button):
            row.addWidget(button)
        row.addStretch(1)
        self.problem_row = QWidget()
        row = tight(QHBoxLayout(self.problem_row), self)
        row.addWidget(self.problem, 1)
        row.addWidget(self.relink_button)
        self._column = tight(QVBoxLayout(self), self, margin=True)
        self._column.addWidget(self.header)
        self._column.addWidget(self.table, 1)
        self._column.addWidget(self.hint, 1)
        self._column.addWidget(self.problem_row)
        self._column.addWidget(self.actions_row)
        panels = (self.adding, self.extracting, self.exporting)
        for widget in (*panels, self.moment, self.messages):
            self._column.addWidget(widget)
        self.table.opened.connect(self.session.show)
        self.table.dropped.connect(self.drop)
        self.table.chosen_changed.connect(self._chosen_changed)
        self.extract_button.clicked.connect(self.extract)
        self.export_button.clicked.connect(self.export)
        self.relink_button.clicked.connect(self._relink)
        self.extracting.progressed.connect(lambda name: self.states.refresh((name,)))

    def _show_one(self, panel: QWidget) -> None:
        for other in (self.adding, self.extracting, self.exporting):
            if other is not panel:
                other.hide()

    def _moment_changed(self, new: Moment | None, old: Moment | None) -> None:
        if (new and new.recording) is not (old and old.recording):
            self._render()

    def _render(self, *_: object) -> None:
        project: Project | None = self.session.project
        names = () if project is None else project.recording_ids
        entry = self.session.entry
        chosen = self.table.chosen
        self.table.rows.set(
            names, {state.entry.id: state for state in self.states}, entry.id if entry else ""
        )
        kept = [name for name in chosen if name in names]
        if kept and self.table.chosen != tuple(kept):
            self.table.choose(*kept)
        self.table.setVisible(bool(names))
        self.hint.setVisible(not names)
        self.hint.setText(_WELCOME if project is None else _EMPTY)
        self.actions_row.setVisible(project is not None)
        self.extract_button.setEnabled(bool(names))
        self.export_button.setEnabled(bool(names))
        self._chosen_changed()

    def _chosen_changed(self) -> None:
        chosen = self.table.chosen
        n = len(chosen)
        self.extract_button.setText("Extract…" if n != 1 else f"Extract {_short(chosen[0])}…")
        problems = [
            (name, self.states[name].problem)
            for name in (chosen or self.table.rows.names)
            if name in self.states and self.states[name].problem
        ]
        self.problem_row.setVisible(bool(problems))
        if problems:
            name, text = problems[0]
            more = f" ({len(problems) - 1} more have problems)" if len(problems) > 1 else ""
            self.problem.setText(f"{text}{more}")
            self.problem.setStyleSheet(f"color: {tone(self, 'warning').name()}")
            self.relink_button.setToolTip(f"Say where the video of {name} lies now")

    def _relink(self) -> None:
        for name in self.table.chosen or self.table.rows.names:
            if name in self.states and self.states[name].problem:
                self.adding.relink(name)
                return


def _short(name: str) -> str:
    return name if len(name) <= 20 else f"{name[:19]}…"
