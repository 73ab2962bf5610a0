"""ExportPanel: labels or predictions to a file, through the functions of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism import registry, workflow
from ethoprism.exchange.spec import Format
from ethoprism.overview import RecordingState
from ethoprism.project import Project
from napari_ethoprism.heavy_imports import import_jax
from napari_ethoprism.looks import flat_button, form, heading, plain, tight
from napari_ethoprism.probe_run import when_saved
from napari_ethoprism.session import Session

LABELS = "Labels"


def export(
    project: Project, probe: str, format_name: str, recordings: Sequence[str], subject: str = ""
) -> Path:
    """Write a probe's predictions, or labels if ``probe`` is empty; the file is returned."""
    if not probe:
        return workflow.export_labels(project, format_name, None, recordings, subject)
    import_jax()
    loaded = workflow.probe_from(project, probe)
    return workflow.export_predictions(project, loaded, format_name, None, recordings)


def written_formats() -> list[tuple[str, str]]:
    """Names and descriptions of the exchange formats that can be written."""
    found: list[tuple[str, str]] = []
    for name in registry.names("exchange"):
        format: Format = registry.load("exchange", name)
        if format.write is not None:
            found.append((name, format.description))
    return found


class ExportPanel(QFrame):
    """Chooses what is exported, how, and of which recordings; says where the file is.

    Parameters
    ----------
    session
        Whose project.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._chosen: tuple[str, ...] = ()
        self.path: Path | None = None
        self._build()
        session.events.project.connect(self._project_changed)
        self.hide()

    def prepare(self, states: Sequence[RecordingState], chosen: Sequence[str]) -> None:
        """Show the panel for a project's recordings, of which some are selected."""
        self._chosen = tuple(chosen)
        before = self.what.currentText()
        self.what.clear()
        self.what.addItem(LABELS, "")
        for probe in dict.fromkeys(p for state in states for p in state.predictions):
            self.what.addItem(f"Predictions of {probe}", probe)
        self.what.setCurrentIndex(max(self.what.findText(before), 0))
        self.recordings.clear()
        self.recordings.addItem("all of them", ())
        if chosen:
            named = chosen[0] if len(chosen) == 1 else f"the {len(chosen)} selected"
            self.recordings.addItem(named, tuple(chosen))
            if len(chosen) < len(states):
                self.recordings.setCurrentIndex(1)
        subjects = list(dict.fromkeys(s for state in states for s in state.subjects))
        self.subject.clear()
        self.subject.addItem("anybody's", "")
        for subject in subjects:
            self.subject.addItem(subject, subject)
        if not self.format.count():
            for name, description in written_formats():
                self.format.addItem(name, name)
                self.format.setItemData(self.format.count() - 1, description, 3)  # hovers
            self.format.setCurrentText("frames-csv")
        self.done.hide()
        self._what_changed()
        self.show()

    def run(self) -> None:
        """Write the file."""
        project = self._session.project
        if project is None:
            return
        probe, format_name = self.what.currentData(), self.format.currentData()
        recordings, subject = self.recordings.currentData() or (), self.subject.currentData() or ""
        self.export_button.setEnabled(False)
        self._session.jobs.start(
            f"Export {self.what.currentText().lower()}",
            when_saved(
                self._session.labels,
                lambda: export(project, probe, format_name, recordings, "" if probe else subject),
            ),
            lane="project",
            on_done=self._written,
            on_error=lambda _: self.export_button.setEnabled(True),
        )

    def _build(self) -> None:
        self.what, self.format = QComboBox(), QComboBox()
        self.recordings, self.subject = QComboBox(), QComboBox()
        self.format.setToolTip("frames-csv: a row a frame. bouts-csv: a row a bout.")
        self.subject.setToolTip("Whose labels")
        self.export_button = QPushButton("Export")
        self.written = plain()
        self.copy_button = flat_button("Copy path", "Copy where the file is")
        self.folder_button = flat_button("Open folder", "Open the folder that holds the file")
        self.close_button = flat_button("✕", "Close this panel")
        top = QHBoxLayout()
        top.addWidget(heading("Export"), 1)
        top.addWidget(self.close_button)
        self.form = form(self)
        self.form.addRow("What", self.what)
        self.form.addRow("Whose", self.subject)
        self.form.addRow("Recordings", self.recordings)
        self.form.addRow("Format", self.format)
        foot = QHBoxLayout()
        foot.addWidget(self.export_button)
        foot.addStretch(1)
        self.done = QWidget()
        done = tight(QVBoxLayout(self.done), self)
        done.addWidget(self.written)
        buttons = QHBoxLayout()
        buttons.addWidget(self.copy_button)
        buttons.addWidget(self.folder_button)
        buttons.addStretch(1)
        done.addLayout(buttons)
        column = tight(QVBoxLayout(self), self)
        column.addLayout(top)
        column.addLayout(self.form)
        column.addLayout(foot)
        column.addWidget(self.done)
        self.what.currentIndexChanged.connect(self._what_changed)
        self.export_button.clicked.connect(self.run)
        self.close_button.clicked.connect(self.hide)
        self.copy_button.clicked.connect(self._copy)
        self.folder_button.clicked.connect(self._open_folder)

    def _what_changed(self, *_: object) -> None:
        several = self.subject.count() > 1
        self.form.setRowVisible(self.subject, not self.what.currentData() and several)

    def _written(self, path: Path) -> None:
        self.path = path
        self.export_button.setEnabled(True)
        self.written.setText(f"Wrote {path}")
        self.done.show()
        if self.isHidden():
            self._session.notify(f"Wrote {path}")

    def _copy(self) -> None:
        clipboard: Any = QApplication.clipboard()
        clipboard.setText(str(self.path))

    def _open_folder(self) -> None:
        if self.path is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.path.parent)))

    def _project_changed(self, new: Project | None, old: Project | None) -> None:
        if old is None or new is None or new.folder != old.folder:
            self.hide()
