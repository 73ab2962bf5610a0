"""AddPanel: adds recordings in a worker, and says what their import showed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.batch import VIDEO_ENDINGS, Added, add_recordings, relink
from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from ethoprism.recording import Recording
from napari_ethoprism.looks import flat_button, heading, tight
from napari_ethoprism.session import Session


def report_lines(added: Sequence[Added], project: Project) -> list[str]:
    """What an import showed, a line each: a sign, the recording, and what there is to know."""
    lines = []
    for item in added:
        if item.error is not None:
            lines.append(f"×  {item.path.name}: {item.error}")
            continue
        entry = project.entry(item.recording)
        warnings = [] if item.report is None else item.report.warnings
        size = f"{entry.n_frames:,} frames of {entry.width}×{entry.height} px"
        lines.append(f"{'!' if warnings else '✓'}  {item.recording}: {size}")
        lines += [f"     {warning}" for warning in warnings]
    return lines


class AddPanel(QFrame):
    """Adds files and folders to the project that is open, and shows the report.

    Parameters
    ----------
    session
        Whose project.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._damaged: list[Path] = []
        self.title = heading("Added")
        self.close_button = flat_button("✕", "Close this report")
        self.report = QPlainTextEdit()
        self.report.setReadOnly(True)
        self.report.setMaximumHeight(self.fontMetrics().height() * 8)
        self.damaged_button = QPushButton("Add the damaged ones as far as they can be read")
        row = QHBoxLayout()
        row.addWidget(self.title, 1)
        row.addWidget(self.close_button)
        column = tight(QVBoxLayout(self), self)
        column.addLayout(row)
        column.addWidget(self.report)
        column.addWidget(self.damaged_button)
        self.close_button.clicked.connect(self.hide)
        self.damaged_button.clicked.connect(self._add_damaged)
        self.hide()

    def choose(self) -> None:
        """Ask for files, and add them."""
        patterns = " ".join(f"*{ending}" for ending in VIDEO_ENDINGS)
        others = "*.seq *.fmf *.ufmf *.nwb *.tif *.tiff *.h5 *.joined.csv"
        names, _ = QFileDialog.getOpenFileNames(
            self, "Add recordings", self._near(), f"Recordings ({patterns} {others});;All files (*)"
        )
        if names:
            self.add([Path(name) for name in names])

    def choose_folder(self) -> None:
        """Ask for a folder of videos or images, and add it."""
        name = QFileDialog.getExistingDirectory(
            self, "Add a folder of videos, or of images", self._near()
        )
        if name:
            self.add([Path(name)])

    def _near(self) -> str:
        """Where files are looked for first: beside the recording that is shown, or the project."""
        recording, project = self._session.recording, self._session.project
        if recording is not None:
            return str(recording.path.parent)
        return "" if project is None else str(project.folder.parent)

    def add(self, paths: Sequence[Path], *, accept_damaged: bool = False) -> None:
        """Add recordings; files that fail are said, and the others are added."""
        project = self._session.project
        if project is None or not paths:
            return
        self._session.jobs.start(
            "Add recordings" if len(paths) > 1 else f"Add {paths[0].name}",
            lambda: add_recordings(project, paths, accept_damaged=accept_damaged),
            lane="project",
            on_done=partial(self._added, project),
            on_error=partial(self._changed, project),
        )

    def start(self, project: Project) -> None:
        """Add the recording that is shown to a project that was just made, and open that."""
        recording = self._session.recording
        if recording is not None:
            self._session.jobs.start(
                f"Start {project.folder.name}",
                lambda: project.with_recording(recording),
                lane="project",
                on_done=partial(self._started, recording),
            )

    def relink(self, recording: str) -> None:
        """Ask where the video of a recording lies now."""
        name, _ = QFileDialog.getOpenFileName(self, f"Where is the video of {recording}?")
        if name:
            self.relink_to(recording, Path(name))

    def relink_to(self, recording: str, path: Path) -> None:
        """Say where the video of a recording lies now; another video is refused."""
        project = self._session.project
        if project is not None:
            self._session.jobs.start(
                f"Find the video of {recording}",
                lambda: relink(project, recording, path),
                lane="project",
                on_done=partial(self._changed, project),
            )

    def _add_damaged(self) -> None:
        self.add(self._damaged, accept_damaged=True)

    def _added(self, project: Project, added: tuple[Added, ...]) -> None:
        if not self._reopen(project) or self._session.project is None:
            return
        self._damaged = [item.path for item in added if item.damaged]
        n = sum(item.error is None for item in added)
        self.title.setText(f"{n} of {len(added)} added" if n < len(added) else f"{n} added")
        self.report.setPlainText("\n".join(report_lines(added, self._session.project)))
        self.damaged_button.setVisible(bool(self._damaged))
        self.show()
        names = [item.recording for item in added if item.recording]
        if names and self._session.entry is None:
            self._session.show(names[0])

    def _started(self, recording: Recording, project: Project) -> None:
        try:
            self._session.open_project(project)
        except EthoPrismError as error:
            self._session.notify(error)
            return
        self._session.notify(f"Made the project {project.folder} with {recording.id}.")

    def _changed(self, project: Project, _: object) -> None:
        self._reopen(project)

    def _reopen(self, project: Project) -> bool:
        """Read the project anew, if it is still the one that is open."""
        now = self._session.project
        if now is None or now.folder != project.folder:
            return False
        try:
            self._session.open_project(Project.open(project.folder))
        except EthoPrismError as error:
            self._session.notify(error)
            return False
        return True
