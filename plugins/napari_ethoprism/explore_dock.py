"""ExploreDock: the map of a project's moments, their clusters, and more like this."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from ethoprism import mapping
from ethoprism.explore.cluster import ClusterSettings, Method
from ethoprism.progress import Progress
from napari_ethoprism.actions import Action
from napari_ethoprism.explore_colourist import MODES, Colourist
from napari_ethoprism.explore_controls import MapOptions
from napari_ethoprism.explore_finds import Finds, HoverCard
from napari_ethoprism.explore_legend import Legend
from napari_ethoprism.explore_model import Explorer
from napari_ethoprism.looks import flat_button, is_dark, plain
from napari_ethoprism.map_canvas import MapCanvas
from napari_ethoprism.session import Session
from napari_ethoprism.thumbnailer import Thumbnailer

_CLUSTERS: dict[str, Method] = {
    "k-means": "kmeans",
    "Gaussian mixture": "gmm",
    "HDBSCAN": "hdbscan",
}
_EMPTY = (
    "Every point of a map is a short moment of a recording. Moments that look and move alike "
    "lie close together.\n\nExtract tokens in the dock EthoPrism, then press “New map…” above."
)


class ExploreDock(QWidget):
    """The map, with short lines above and below it.

    Parameters
    ----------
    session
        Of the workbench.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._closed = False
        self.explorer = Explorer(session)
        self.colourist = Colourist(self.explorer)
        self.thumbnailer = Thumbnailer(session, self)
        self._build()
        self._lay_out()
        self._card = HoverCard(self.canvas, self.explorer, self.thumbnailer)
        self._links = (
            (self.explorer.map_changed, self._map_changed),
            (self.explorer.chosen_changed, self._chosen_changed),
            (self.explorer.busy_changed, self._show_state),
            (self.colourist.changed, self._colour),
            (session.events.project, self._project_changed),
            (session.events.moment, self._mark),
            (session.events.subject, self._mark),
        )
        for signal, slot in self._links:
            signal.connect(slot)
        session.actions.register(
            Action(
                "find_similar",
                "Find more like this: the playhead or the selection",
                "Map",
                "F",
                self.finds.find_similar,
                lambda: self.explorer.map is not None,
            )
        )
        self._project_changed()
        self._map_changed(False)

    def _build(self) -> None:
        self.maps = QComboBox()
        self.maps.setToolTip("Maps of this project")
        self.maps.activated.connect(lambda _: self.explorer.open(self.maps.currentText()))
        self.new_button = QPushButton("New map…")
        self.new_button.setCheckable(True)
        self.new_button.setToolTip("Choose recordings and make a map of them")
        self.options = MapOptions()
        self.options.setVisible(False)
        self.options.asked.connect(self._make)
        self.new_button.toggled.connect(self.options.setVisible)
        self.colour_by = QComboBox()
        self.colour_by.addItems(list(MODES))
        self.colour_by.setToolTip("What the colours of the points mean")
        self.colour_by.currentTextChanged.connect(self.colourist.colour_by)
        self.cluster_method = QComboBox()
        self.cluster_method.addItems(list(_CLUSTERS))
        self.cluster_method.setToolTip("How clusters are found; HDBSCAN finds their number itself")
        self.cluster_method.activated.connect(self._cluster)
        self.cluster_number = QSpinBox()
        self.cluster_number.setRange(2, 60)
        self.cluster_number.setKeyboardTracking(False)
        self.cluster_number.setToolTip("Number of clusters")
        self.cluster_number.valueChanged.connect(self._cluster)
        self.canvas = MapCanvas()
        self.canvas.message = _EMPTY
        self.canvas.clicked.connect(self.explorer.seek)
        self.canvas.lassoed.connect(self.explorer.choose)
        self.legend = Legend()
        self.about = plain(faint=True)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(4)
        self.cancel_button = flat_button("Cancel", "Stop; the map that is shown stays")
        self.cancel_button.clicked.connect(self.explorer.cancel)
        self.finds = Finds(self.explorer, self.thumbnailer)
        self.legend.clicked.connect(self.finds.show_group)

    def _lay_out(self) -> None:
        # In a narrow dock, the boxes cut their longest texts short rather than the dock's edge.
        for box, letters in ((self.maps, 6), (self.colour_by, 6), (self.cluster_method, 5)):
            box.setMinimumContentsLength(letters)
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(5)
        grid = QGridLayout()
        grid.setSpacing(5)
        grid.setColumnStretch(1, 1)
        rows: tuple[tuple[str, QWidget, QWidget | None], ...] = (
            ("Map", self.maps, self.new_button),
            ("Colour", self.colour_by, None),
            ("Clusters", self.cluster_method, self.cluster_number),
        )
        for row, (name, box, beside) in enumerate(rows):
            grid.addWidget(QLabel(name), 2 * row, 0)
            grid.addWidget(box, 2 * row, 1, 1, 2 if beside is None else 1)
            if beside is not None:
                grid.addWidget(beside, 2 * row, 2)
        grid.addWidget(self.options, 1, 0, 1, 3)
        layout.addLayout(grid)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.progress)
        line = QHBoxLayout()
        line.addWidget(self.about, 1)
        line.addWidget(self.cancel_button)
        layout.addLayout(line)
        layout.addWidget(self.legend)
        layout.addWidget(self.finds)

    def _project_changed(self) -> None:
        project = self._session.project
        self.options.set_project(project)
        self.new_button.setEnabled(project is not None)
        self._list_maps()
        self._show_state()

    def _list_maps(self) -> None:
        project, found = self._session.project, self.explorer.map
        names = [] if project is None else mapping.saved_maps(project)
        self.maps.clear()
        self.maps.addItems(names)
        self.maps.setEnabled(bool(names))
        if found is not None:
            self.maps.setCurrentText(found.name)

    def _make(self) -> None:
        self.new_button.setChecked(False)
        self.explorer.make(self.options.plan(), self.options.method.currentText())

    def _cluster(self, *_: Any) -> None:
        method = _CLUSTERS[self.cluster_method.currentText()]
        self.explorer.cluster(ClusterSettings(method, self.cluster_number.value()))

    def _map_changed(self, moved: bool) -> None:
        found = self.explorer.map
        points = np.empty((0, 2), np.float32) if found is None else found.coordinates
        colouring = self.colourist.colouring(is_dark(self))
        self.canvas.set_points(points, colouring.colours, animated=moved)
        if not moved:
            self.finds.show_moments("", ())
            settings = self.explorer.cluster_settings
            names = {method: name for name, method in _CLUSTERS.items()}
            self.cluster_method.setCurrentText(names[settings.method])
            self.cluster_number.blockSignals(True)
            self.cluster_number.setValue(settings.n)
            self.cluster_number.blockSignals(False)
        self._list_maps()
        self._chosen_changed()
        self._mark()

    def _colour(self) -> None:
        colouring = self.colourist.colouring(is_dark(self))
        shown = self.explorer.map is not None
        if shown:
            self.canvas.set_colours(colouring.colours)
        self.legend.show_colouring(colouring if shown else None)
        self._show_state()

    def _chosen_changed(self) -> None:
        found, chosen = self.explorer.map, self.explorer.chosen
        mask = None
        if found is not None and chosen is not None:
            mask = np.zeros(len(found.moments), bool)
            mask[chosen] = True
        self.canvas.set_chosen(mask)
        self._show_state()

    def _mark(self) -> None:
        self.canvas.set_marks(self.explorer.at_playhead())

    def _show_state(self) -> None:
        explorer, job = self.explorer, self.explorer.job
        step = job.progress if job is not None and explorer.busy else None
        self.progress.setVisible(explorer.busy)
        self.cancel_button.setVisible(explorer.busy)
        # A total of one says that there is no telling how far it is: the bar runs to and fro.
        known = step is not None and step.total > 1
        self.progress.setRange(0, 1000 if known else 0)
        if step is not None and known:
            self.progress.setValue(int(1000 * step.done / step.total))
        self.options.set_busy(explorer.busy)
        self.about.setText(self._about(step))
        on = explorer.map is not None
        self.colour_by.setEnabled(on)
        self.cluster_method.setEnabled(on)
        self.cluster_number.setEnabled(on and explorer.cluster_settings.method != "hdbscan")
        self.finds.show_state()

    def _about(self, step: Progress | None) -> str:
        found, job = self.explorer.map, self.explorer.job
        if self.explorer.busy and job is not None:
            return f"{job.title}: {step.note}" if step is not None and step.note else job.title
        if found is None:
            return ""
        missing = self.colourist.missing
        return (
            f"{len(found.moments):,} moments of {found.frames_per_moment} frames · "
            f"{found.method} · {found.key.label}" + (f"\n{missing}" if missing else "")
        )

    def changeEvent(self, a0: Any) -> None:
        """Colours follow the theme."""
        super().changeEvent(a0)
        if a0.type() == QEvent.Type.PaletteChange and hasattr(self, "finds"):
            self._colour()

    def closeEvent(self, a0: Any) -> None:
        """Closed with the workbench: once only, stop listening and end the threads."""
        if not self._closed:
            self._closed = True
            for signal, slot in self._links:
                signal.disconnect(slot)
            self._session.actions.unregister("find_similar")
            self.colourist.close()
            self.explorer.close()
            self.thumbnailer.close()
        super().closeEvent(a0)
