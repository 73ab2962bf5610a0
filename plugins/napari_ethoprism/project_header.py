"""ProjectHeader: which project is open, and ways to make or open one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from ethoprism import registry
from ethoprism.errors import EthoPrismError
from ethoprism.ethogram import Ethogram
from ethoprism.project import MANIFEST, Project, Settings
from napari_ethoprism._opening import open_project
from napari_ethoprism.looks import heading, plain, spacing, tight
from napari_ethoprism.project_recent import RecentProjects
from napari_ethoprism.session import Moment, Session


def suggested_folder(video: Path) -> Path:
    """A folder beside a video for a project that starts with it; one that is not there yet."""
    first = video.parent / f"{video.stem}_project"
    folder, number = first, 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}_{number}"), number + 1
    return folder


class NewProject(QDialog):
    """Asks for the folder of a new project, its backbone, and the first behaviours."""

    def __init__(self, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("New project")
        self.name = QLineEdit(folder.name)
        self.place = QLineEdit(str(folder.parent))
        browse = QPushButton("Browse…")
        browse.clicked.connect(self._browse)
        self.backbone = QComboBox()
        self.backbone.addItems(registry.names("backbones"))
        self.backbone.setCurrentText(Settings().backbone)
        self.backbone.setToolTip("The frozen encoder. Its weights are downloaded where needed.")
        self.behaviours = QLineEdit()
        self.behaviours.setPlaceholderText("walk, groom, … – or later")
        row = QHBoxLayout()
        row.addWidget(self.place, 1)
        row.addWidget(browse)
        form = QFormLayout()
        form.addRow("Name", self.name)
        form.addRow("In the folder", row)
        form.addRow("Backbone", self.backbone)
        form.addRow("Behaviours", self.behaviours)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(buttons)
        self.setMinimumWidth(self.fontMetrics().averageCharWidth() * 70)

    def make(self) -> Project:
        """The project, made on the disk; an `EthoPrismError` where it cannot be."""
        names = [name.strip() for name in self.behaviours.text().split(",") if name.strip()]
        return Project.create(
            Path(self.place.text()) / self.name.text().strip(),
            Settings(self.backbone.currentText()),
            Ethogram().with_names(names),
        )

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Where", self.place.text())
        if folder:
            self.place.setText(folder)


class ProjectHeader(QWidget):
    """The name and place of the project, and what opens another one.

    Parameters
    ----------
    session
        Where projects are opened.
    start
        Adds the shown recording to a project that was just made.
    recent
        The projects that were opened last.
    """

    def __init__(
        self,
        session: Session,
        start: Callable[[Project], None],
        recent: RecentProjects,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._start, self.recent = session, start, recent
        self._build()
        session.events.project.connect(self._project_changed)
        session.events.moment.connect(self._moment_changed)
        self._render()

    def open(self, folder: Path) -> bool:
        """Open the project in a folder and show its first recording; whether it could be."""
        if not open_project(self._session, folder):
            return False
        project = self._session.project
        if project is not None and project.recording_ids and self._session.entry is None:
            self._session.show(project.recording_ids[0])
        return True

    def start_here(self) -> None:
        """Make a project beside the recording that is shown, and add the recording to it."""
        recording = self._session.recording
        if recording is None:
            return
        try:
            made = Project.create(suggested_folder(recording.path), Settings(), Ethogram())
        except EthoPrismError as error:
            self._session.notify(error)
            return
        self._start(made)

    def resizeEvent(self, a0: QResizeEvent | None) -> None:
        super().resizeEvent(a0)
        self._cut_place()

    def _cut_place(self) -> None:
        project = self._session.project
        place = "" if project is None else str(project.folder.parent)
        width = self.width() - 2 * spacing(self)
        self.place.setText(
            self.place.fontMetrics().elidedText(place, Qt.TextElideMode.ElideMiddle, width)
        )

    def _build(self) -> None:
        self.name, self.place = heading(), plain(faint=True, wrap=False)
        for label in (self.name, self.place):  # they are cut, not the dock widened
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.new_button = QPushButton("New…")
        self.new_button.setToolTip("Make a project: a folder that holds labels, tokens and probes")
        self.open_button = QPushButton("Open…")
        self.open_button.setToolTip("Open a project folder, or one of the last ones")
        self.menu = QMenu(self.open_button)
        self.open_button.setMenu(self.menu)
        self.start_button = QPushButton("Start a project with this recording")
        self.start_button.setDefault(True)
        row = tight(QHBoxLayout(), self)
        row.addWidget(self.name, 1)
        row.addWidget(self.new_button)
        row.addWidget(self.open_button)
        column = tight(QVBoxLayout(self), self)
        column.addLayout(row)
        column.addWidget(self.place)
        column.addWidget(self.start_button)
        self.new_button.clicked.connect(self.new)
        self.start_button.clicked.connect(self.start_here)
        self.menu.aboutToShow.connect(self._list_recent)

    def new(self) -> None:
        """Ask for a new project, and open it."""
        recording, project = self._session.recording, self._session.project
        near = Path.home()
        if recording is not None:
            near = recording.path.parent
        elif project is not None:
            near = project.folder.parent
        dialog = NewProject(near / "my_project", self)
        try:
            if dialog.exec():
                self.open(dialog.make().folder)
        except EthoPrismError as error:
            self._session.notify(error)
        finally:
            dialog.deleteLater()

    def _choose(self) -> None:
        project = self._session.project
        near = "" if project is None else str(project.folder.parent)
        folder = QFileDialog.getExistingDirectory(self, "Open an EthoPrism project", near)
        if folder:
            self.open(Path(folder))

    def _list_recent(self) -> None:
        self.menu.clear()
        action = self.menu.addAction("Choose a folder…")
        if action is not None:
            action.triggered.connect(self._choose)
        self.menu.addSeparator()
        folders = self.recent.folders()
        for folder in folders:
            text = str(folder).replace("&", "&&")
            action = self.menu.addAction(text)
            if action is not None:
                action.triggered.connect(lambda _=False, folder=folder: self.open(folder))
        if not folders:
            action = self.menu.addAction("No project was opened yet")
            if action is not None:
                action.setEnabled(False)

    def _project_changed(self, new: Project | None, old: Project | None) -> None:
        if new is not None and (old is None or new.folder != old.folder):
            self.recent.add(new.folder)
        self._render()

    def _moment_changed(self, new: Moment | None, old: Moment | None) -> None:
        if (new and new.recording) is not (old and old.recording):
            self._render()

    def _render(self) -> None:
        project, recording = self._session.project, self._session.recording
        self.name.setText("No project is open" if project is None else project.folder.name)
        self._cut_place()
        self.place.setToolTip("" if project is None else str(project.folder / MANIFEST))
        self.place.setVisible(project is not None)
        self.start_button.setVisible(project is None and recording is not None)
        if recording is not None:
            folder = suggested_folder(recording.path) if project is None else None
            self.start_button.setToolTip(f"Makes the folder {folder}" if folder else "")
