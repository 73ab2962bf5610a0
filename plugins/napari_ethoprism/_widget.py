"""The EthoPrism dock: where the viewer stands, what is known there, and a project's recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.crops import Region
from ethoprism.errors import EthoPrismError, InputError
from ethoprism.project import Entry, Project
from ethoprism.subjects import set_region
from napari_ethoprism._labels import RecordingStates, read_states
from napari_ethoprism._layers import (
    current_layer,
    current_moment,
    is_recording,
    picture_problem,
    show_layer,
    show_recording,
)
from napari_ethoprism._region import draw_region, drawn_region, region_layer
from napari_ethoprism.session import Session

if TYPE_CHECKING:
    from napari import Viewer

_NOTHING = "–"


class EthoPrismWidget(QWidget):
    """Shows the frame that the viewer stands at; it reads through the library alone.

    Parameters
    ----------
    napari_viewer
        The viewer beside which the dock lies.
    """

    def __init__(self, napari_viewer: Viewer):
        super().__init__()
        self.session = Session()
        self._viewer = napari_viewer
        self._states = RecordingStates()
        self._error = ""
        self._build()
        self.session.events.moment.connect(self._moment_changed)
        layers = napari_viewer.layers
        layers.events.inserted.connect(self._layer_inserted)
        layers.events.removed.connect(self._follow)
        layers.selection.events.active.connect(self._follow)
        napari_viewer.dims.events.point.connect(self._follow)
        for layer in layers:
            self._adopt(layer)
        self._render()
        self._follow()

    def open_project(self, path: Path | str) -> None:
        """List the recordings of the project in the folder ``path``."""
        try:
            self.session.project = Project.open(Path(path))
        except EthoPrismError as error:
            self._show_error(error)
        else:
            self.read_again()

    def open_recording(self, name: str) -> None:
        """Show a recording of the project in the viewer."""
        if self.session.project is None:
            return
        self._error = ""
        try:
            project = self.session.project
            key = project.entry(name).content_key
            if not show_layer(self._viewer, key, self.session.frame or 0):
                show_recording(self._viewer, project.recording(name), project.folder)
        except EthoPrismError as error:
            self._show_error(error)
        self._follow()

    def draw_region(self) -> None:
        """Show the recording's region, and let another rectangle be drawn."""
        layer, entry = current_layer(self._viewer), self._entry()
        if layer is not None and entry is not None:
            draw_region(self._viewer, layer, Region.parse(entry.region) if entry.region else None)

    def _set_region(self, *, keep: bool) -> None:
        """Save the rectangle that was drawn as the recording's region, or that it has none."""
        project, entry, drawn = self.session.project, self._entry(), region_layer(self._viewer)
        if project is None or entry is None:
            return
        self._error = ""
        try:
            region = None
            if keep:
                if drawn is None:
                    raise InputError("No region is drawn", remedy="Press 'Draw region…' first.")
                region = drawn_region(drawn, entry.height, entry.width)
            self.session.project = set_region(project, entry.id, region)
        except EthoPrismError as error:
            self._show_error(error)
            return
        if drawn is not None:
            self._viewer.layers.remove(drawn)
        self._render()

    def _entry(self) -> Entry | None:
        """The project's line of the recording that is shown."""
        project, recording = self.session.project, self.session.recording
        if project is None or recording is None:
            return None
        found = [e for e in project.entries if e.content_key == recording.content_key]
        return found[0] if found else None

    def read_again(self) -> None:
        """Read the project's labels and predictions of the recording anew."""
        project, recording = self.session.project, self.session.recording
        self._error = ""
        self._states = RecordingStates()
        if project is not None:
            self.project_label.setText(str(project.folder))
            listed = [self.recordings.item(row) for row in range(self.recordings.count())]
            if [item.text() for item in listed if item] != list(project.recording_ids):
                self.recordings.clear()
                self.recordings.addItems(project.recording_ids)
            if recording is not None:
                self._states = read_states(project, recording)
        self._render()

    def _build(self) -> None:
        self.recording_label, self.frame_label, self.time_label = _text(), _text(), _text()
        self.labelled_label, self.predicted_label = _text(), _text()
        self.error_label, self.project_label = _text(), _text("No project is open.")
        self.region_label = _text()
        self.draw_button = QPushButton("Draw region…")
        self.region_button = QPushButton("Set region")
        self.whole_button = QPushButton("No region")
        self.recordings = QListWidget()
        self.open_button = QPushButton("Open project…")
        self.again_button = QPushButton("Read labels again")
        form = QFormLayout()
        form.addRow("Recording", self.recording_label)
        form.addRow("Frame", self.frame_label)
        form.addRow("Time", self.time_label)
        form.addRow("Labelled", self.labelled_label)
        form.addRow("Predicted", self.predicted_label)
        form.addRow("Region", self.region_label)
        region = QHBoxLayout()
        for button in (self.draw_button, self.region_button, self.whole_button):
            region.addWidget(button)
        buttons = QHBoxLayout()
        buttons.addWidget(self.open_button)
        buttons.addWidget(self.again_button)
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addLayout(region)
        layout.addWidget(self.error_label)
        layout.addWidget(self.project_label)
        layout.addLayout(buttons)
        layout.addWidget(self.recordings)
        self.open_button.clicked.connect(self._choose_project)
        self.again_button.clicked.connect(self.read_again)
        self.draw_button.clicked.connect(self.draw_region)
        self.region_button.clicked.connect(lambda: self._set_region(keep=True))
        self.whole_button.clicked.connect(lambda: self._set_region(keep=False))
        self.recordings.itemClicked.connect(lambda item: self.open_recording(item.text()))

    def _choose_project(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Open an EthoPrism project")
        if folder:
            self.open_project(folder)

    def _layer_inserted(self, event: Any) -> None:
        self._adopt(event.value)
        self._follow()

    def _adopt(self, layer: Any) -> None:
        """Watch a layer, and open the project that it came with, as a dropped folder's does."""
        if not is_recording(layer):
            return
        layer.events.visible.connect(self._follow)
        folder, current = layer.metadata.get("project"), self.session.project
        if folder and (current is None or current.folder.resolve() != folder.resolve()):
            self.open_project(folder)

    def _follow(self, event: Any = None) -> None:
        self.session.moment = current_moment(self._viewer)

    def _moment_changed(self, new: Any, old: Any) -> None:
        if (new and new.recording) is not (old and old.recording):
            self.read_again()
        else:
            self._render()

    def _show_error(self, error: EthoPrismError) -> None:
        self._error = str(error)
        self._render()

    def _render(self) -> None:
        moment, states = self.session.moment, self._states
        problems = [self._error, *states.problems]
        labelled = predicted = frame = time = _NOTHING
        if moment is not None and moment.frame is None:
            frame = "outside the recording"
        elif moment is not None and moment.frame is not None:
            frame = f"{moment.frame} of {moment.recording.n_frames}, counted from 0"
            time = f"{moment.time:.4f} s"
            if states.labelled is not None:
                labelled = states.labelled.at(moment.frame)
            lines = [f"{s.at(moment.frame)}\n    ({s.source})" for s in states.predicted]
            predicted = "\n".join(lines) or _NOTHING
            problems.append(picture_problem(self._viewer))
        self.recording_label.setText(moment.recording.id if moment else "No recording is open.")
        self.frame_label.setText(frame)
        self.time_label.setText(time)
        self.labelled_label.setText(labelled)
        self.predicted_label.setText(predicted)
        entry = self._entry()
        for button in (self.draw_button, self.region_button, self.whole_button):
            button.setEnabled(entry is not None)
        self.region_label.setText((entry.region if entry else "") or "whole frame")
        paragraph = " ".join(text for text in problems if text)
        self.error_label.setText(paragraph)
        self.error_label.setVisible(bool(paragraph))


def _text(text: str = _NOTHING) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)  # names and paths are never taken for markup
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
