"""RegionBar: the region of the recording that is shown, drawn in the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QWidget

from ethoprism.crops import Region
from ethoprism.errors import EthoPrismError, InputError
from ethoprism.subjects import set_region
from napari_ethoprism._layers import current_layer
from napari_ethoprism._region import draw_region, drawn_region, region_layer
from napari_ethoprism.looks import flat_button, plain, tight
from napari_ethoprism.session import Moment, Session

if TYPE_CHECKING:
    from napari.components import ViewerModel


class RegionBar(QWidget):
    """Shows the region of the shown recording, and lets another one be drawn.

    Parameters
    ----------
    session
        Whose recording.
    viewer
        Where regions are drawn.
    """

    def __init__(
        self, session: Session, viewer: ViewerModel, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._viewer = session, viewer
        self.label = plain()
        self.draw_button = flat_button(
            "Draw…", "Draw the part of the frame that counts, such as one arena of several"
        )
        self.set_button = flat_button("Set", "Save the rectangle that was drawn")
        self.whole_button = flat_button("Whole frame", "Take the region away")
        row = tight(QHBoxLayout(self), self)
        row.addWidget(plain("Region", wrap=False, faint=True))
        row.addWidget(self.label, 1)
        for button in (self.draw_button, self.set_button, self.whole_button):
            row.addWidget(button)
        self.draw_button.clicked.connect(self.draw)
        self.set_button.clicked.connect(lambda: self._set(keep=True))
        self.whole_button.clicked.connect(lambda: self._set(keep=False))
        session.events.moment.connect(self._moment_changed)
        session.events.project.connect(self._render)
        self._render()

    def draw(self) -> None:
        """Show the recording's region, and let another rectangle be drawn."""
        layer, entry = current_layer(self._viewer), self._session.entry
        if layer is not None and entry is not None:
            draw_region(self._viewer, layer, Region.parse(entry.region) if entry.region else None)
            self._session.notify("Draw a rectangle over the video, then press 'Set'.")

    def _set(self, *, keep: bool) -> None:
        project, entry = self._session.project, self._session.entry
        drawn = region_layer(self._viewer)
        if project is None or entry is None:
            return
        try:
            region = None
            if keep:
                if drawn is None:
                    raise InputError("No region is drawn", remedy="Press 'Draw…' first.")
                region = drawn_region(drawn, entry.height, entry.width)
            self._session.project = set_region(project, entry.id, region)
        except EthoPrismError as error:
            self._session.notify(error)
            return
        if drawn is not None:
            self._viewer.layers.remove(drawn)
        self._render()

    def _moment_changed(self, new: Moment | None, old: Moment | None) -> None:
        if (new and new.recording) is not (old and old.recording):
            self._render()

    def _render(self, *_: object) -> None:
        entry = self._session.entry
        region = entry.region if entry else ""
        text = "whole frame"
        if region:
            parsed = Region.parse(region)
            text = f"{parsed.width}×{parsed.height} px at {parsed.left}, {parsed.top}"
        self.label.setText(text)
        self.whole_button.setEnabled(bool(region))
        self.setVisible(entry is not None)
