"""Finds: moments as a row of pictures: most like something, or typical of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from qtpy.QtGui import QImage
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from ethoprism import mapping
from ethoprism.errors import EthoPrismError
from ethoprism.explore.cluster import exemplars
from napari_ethoprism.explore_colours import Entry
from napari_ethoprism.explore_model import Explorer
from napari_ethoprism.explore_strip import Picture, ThumbnailStrip
from napari_ethoprism.looks import flat_button, plain
from napari_ethoprism.map_canvas import MapCanvas
from napari_ethoprism.thumbnailer import Thumbnailer


class Finds(QWidget):
    """A title, buttons, and the row of pictures.

    Parameters
    ----------
    explorer
        Whose map the moments are of.
    thumbnailer
        Makes the pictures.
    """

    def __init__(
        self, explorer: Explorer, thumbnailer: Thumbnailer, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._explorer = explorer
        self._title = ""
        self.indices = np.empty(0, np.int64)
        """int64: moments that are shown."""
        self.title = plain(wrap=False)
        self.title.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.similar_button = QPushButton("More like this")
        self.similar_button.setToolTip(
            "Show the moments most like the playhead's, or like those that are selected (F)"
        )
        self.similar_button.clicked.connect(self.find_similar)
        self.select_button = QPushButton("Select these")
        self.select_button.setToolTip(
            "Select the moments of this row; the key of a behaviour then labels them"
        )
        self.select_button.clicked.connect(lambda: explorer.choose(self.indices))
        self.clear_button = flat_button("Clear", "Select nothing, and empty this row")
        self.clear_button.clicked.connect(self.clear)
        self.strip = ThumbnailStrip(thumbnailer)
        self.strip.clicked.connect(explorer.seek)
        line = QHBoxLayout()
        line.setSpacing(6)
        line.addWidget(self.title, 1)
        for button in (self.clear_button, self.select_button, self.similar_button):
            line.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(line)
        layout.addWidget(self.strip)
        self.show_state()

    def find_similar(self) -> None:
        """Show the moments most like the selection's or the playhead's."""
        explorer, found = self._explorer, self._explorer.map
        if found is None:
            return
        try:
            matches = mapping.similar_moments(found, explorer.query())
        except EthoPrismError as error:
            explorer.session.notify(error)
            return
        chosen = explorer.chosen
        what = f"frame {explorer.session.frame}" if chosen is None else f"{len(chosen):,} moments"
        notes = {m.moment: f"{m.likeness:.0%}" for m in matches}
        self.show_moments(f"Most like {what}", [m.moment for m in matches], notes)

    def show_group(self, entry: Entry, mode: str) -> None:
        """Select what a line of the legend stands for, and show what is typical of it."""
        found = self._explorer.map
        if found is None or entry.members is None:
            return
        what = f"Cluster {entry.name}" if entry.number >= 0 else entry.name
        typical = exemplars(found.vectors, found.moments, entry.members, 16)
        self.show_moments(f"Typical of {what}", typical.tolist())
        self._explorer.choose(entry.members, mode)

    def show_moments(
        self, title: str, indices: Sequence[int], notes: Mapping[int, str] | None = None
    ) -> None:
        """Show moments of the map, each with a note below it; recordings' names by default."""
        self._title = title
        self.indices = np.array(list(indices), np.int64)
        self.strip.show_pictures(
            [picture_of(self._explorer, i, (notes or {}).get(i, "")) for i in indices]
        )
        self.show_state()

    def clear(self) -> None:
        """Select nothing, and show nothing."""
        self.show_moments("", ())
        self._explorer.choose(np.empty(0, np.int64))

    def show_state(self) -> None:
        """Buttons and title as they fit what is selected and shown."""
        chosen, some = self._explorer.chosen, len(self.indices) > 0
        selected = "" if chosen is None else f"{len(chosen):,} selected"
        self.title.setText(" · ".join(text for text in (self._title, selected) if text))
        self.title.setToolTip(self.title.text())
        self.strip.setVisible(some)
        self.select_button.setVisible(some)
        self.clear_button.setVisible(some or chosen is not None)
        self.similar_button.setEnabled(self._explorer.map is not None)


class HoverCard:
    """The thumbnail beside the point under the pointer.

    Parameters
    ----------
    canvas, explorer, thumbnailer
        Where it is shown, of what, and who makes it.
    """

    def __init__(self, canvas: MapCanvas, explorer: Explorer, thumbnailer: Thumbnailer) -> None:
        self._canvas, self._explorer, self._thumbnailer = canvas, explorer, thumbnailer
        self._shown: Picture | None = None
        canvas.hovered.connect(self._hovered)
        thumbnailer.ready.connect(self._ready)

    def _hovered(self, index: int) -> None:
        self._shown = None
        if index < 0 or self._explorer.map is None:
            return
        shown = self._shown = picture_of(self._explorer, index)
        image = self._thumbnailer.request(
            shown.recording, shown.subject, shown.frame, channel="hover"
        )
        self._canvas.set_card(image, tuple(shown.tip.splitlines()))

    def _ready(self, recording: str, subject: str, frame: int, image: QImage) -> None:
        shown = self._shown
        if shown is None or self._canvas.hover != shown.index:
            return
        if (recording, subject, frame) == (shown.recording, shown.subject, shown.frame):
            self._canvas.set_card(image, tuple(shown.tip.splitlines()))


def picture_of(explorer: Explorer, index: int, note: str = "") -> Picture:
    """A moment of the map as a strip shows it."""
    found = explorer.map
    if found is None:
        raise ValueError("expected a map")
    m = found.moments
    unit, frame = m.units[m.unit[index]], int(m.middle[index])
    times = explorer.times
    lines = [
        unit.name,
        f"frame {frame}" + (f" · {times[index]:.2f} s" if times is not None else ""),
    ]
    if found.clusters is not None:
        number = int(found.clusters.labels[index])
        lines.append("in no cluster" if number < 0 else f"cluster {number}")
    if note:
        lines.append(f"likeness {note} (100% is the same, 0% no more alike than any two)")
    caption = note or unit.name
    return Picture(index, unit.recording, unit.subject, frame, caption, "\n".join(lines))
