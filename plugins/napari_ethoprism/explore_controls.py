"""MapOptions: which recordings, how long a moment, and how the map is drawn."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSpinBox,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from ethoprism.mapping import MapPlan, default_hop, project_tokens
from ethoprism.project import Project


class MapOptions(QFrame):
    """What a new map is made of.

    Signals
    -------
    asked()
        "Make map" was pressed.
    """

    asked = QtSignal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._step = 1
        self._busy = False
        self._project: Project | None = None
        self.name = QLineEdit("map")
        self.name.setToolTip("The map is kept in the project under this name")
        self.recordings = QListWidget()
        self.recordings.setToolTip("Recordings on the map; tick those that you want")
        self.hop = QSpinBox()
        self.hop.setSuffix(" frames")
        self.hop.setRange(1, 100_000)
        self.hop.setToolTip("Each point of the map stands for so many frames")
        self.hop.valueChanged.connect(self._count)
        self.method = QComboBox()
        self.method.addItems(["UMAP", "PCA"])
        self.method.setToolTip(
            "PCA is there at once. UMAP takes longer, and brings out what belongs together."
        )
        self.points = QLabel()
        self.points.setTextFormat(Qt.TextFormat.PlainText)
        self.points.setEnabled(False)
        self.points.setMinimumWidth(1)
        self.make = QPushButton("Make map")
        self.make.setToolTip("Compare all moments of these recordings, in the background")
        self.make.clicked.connect(self.asked)
        form = QFormLayout(self)
        form.setContentsMargins(0, 2, 0, 2)
        form.setVerticalSpacing(4)
        form.addRow("Name", self.name)
        form.addRow("Recordings", self.recordings)
        moment = QHBoxLayout()
        moment.addWidget(self.hop)
        moment.addWidget(self.points, 1)
        form.addRow("A moment is", moment)
        last = QHBoxLayout()
        last.setSpacing(6)
        last.addWidget(self.method, 1)
        last.addWidget(self.make)
        form.addRow("Drawn by", last)
        self.recordings.itemChanged.connect(self._count)

    def set_project(self, project: Project | None) -> None:
        """List a project's recordings; those that are ticked stay as they are."""
        former = self._project
        same = former is not None and project is not None and former.folder == project.folder
        unticked = set(self._names(Qt.CheckState.Unchecked)) if same else set()
        self._project = project
        self.recordings.blockSignals(True)
        self.recordings.clear()
        for name in () if project is None else project.recording_ids:
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
            off = name in unticked
            item.setCheckState(Qt.CheckState.Unchecked if off else Qt.CheckState.Checked)
            self.recordings.addItem(item)
        self.recordings.blockSignals(False)
        rows = min(max(self.recordings.count(), 1), 5)
        row = self.fontMetrics().height() + 6
        self.recordings.setFixedHeight(rows * row + 6)
        if not same:
            self._set_hop(project)
        self._count()

    def set_busy(self, busy: bool) -> None:
        """Whether a map is being made, so that no other one can be."""
        self._busy = busy
        self._count()

    def plan(self) -> MapPlan:
        """The plan that the controls describe."""
        chosen = tuple(self._names(Qt.CheckState.Checked))
        everything = len(chosen) == self.recordings.count()
        hop = max(self.hop.value() // self._step, 1) * self._step
        return MapPlan(self.name.text().strip() or "map", () if everything else chosen, hop=hop)

    def _set_hop(self, project: Project | None) -> None:
        try:
            key = None if project is None else project_tokens(project)
        except EthoPrismError:
            key = None
        self._step = 1 if key is None else key.step
        self.hop.setMinimum(self._step)
        self.hop.setSingleStep(self._step)
        self.hop.setValue(8 if key is None else default_hop(key))

    def _names(self, state: Qt.CheckState) -> list[str]:
        items = [self.recordings.item(row) for row in range(self.recordings.count())]
        return [item.text() for item in items if item is not None and item.checkState() == state]

    def _count(self) -> None:
        project, chosen = self._project, self._names(Qt.CheckState.Checked)
        frames = sum(project.entry(name).n_frames for name in chosen) if project else 0
        self.points.setText(f"{-(-frames // self.hop.value()):,} points")
        self.make.setEnabled(bool(chosen) and not self._busy)
