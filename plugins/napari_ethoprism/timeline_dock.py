"""The timeline dock: transport, the timeline, and what it shows."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_ethoprism.actions import Action
from napari_ethoprism.session import Session
from napari_ethoprism.timeline_canvas import TimelineCanvas
from napari_ethoprism.timeline_feed import TimelineFeed
from napari_ethoprism.timeline_legend import Legend
from napari_ethoprism.timeline_overview import Overview

_STEP = 1.6
_GROUP = "Timeline"


class TimelineDock(QWidget):
    """Behaviours over time, with the transport bar above.

    Parameters
    ----------
    session
        The workbench's session.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.feed = TimelineFeed(session)
        self.canvas = TimelineCanvas(self.feed, self)
        self.overview = Overview(self.canvas, self)
        self._build()
        session.actions.register(*self._actions())
        self.feed.changed.connect(self._data_changed)
        self.feed.selected.connect(self._refresh)
        self.canvas.view_changed.connect(self._refresh)
        names = [action.name for action in self._actions()]
        self._lease = _Lease(self.feed, names, self.transport)
        self.destroyed.connect(self._lease.end)
        self._data_changed()

    def sizeHint(self) -> QSize:
        return QSize(1000, 300)

    def zoom(self, factor: float) -> None:
        """Bring the view closer by ``factor``, around the playhead if it is in sight."""
        canvas, frame = self.canvas, self.session.frame
        x = canvas.view.width / 2
        if frame is not None and canvas.view.shown(frame):
            x = canvas.view.x_of(frame)
        canvas.show_view(canvas.view.zoomed(factor, x))

    def zoom_all(self) -> None:
        """Show the whole recording."""
        view = self.canvas.view
        self.canvas.show_view(view.fitted(0, view.n_frames, 0))

    def zoom_selection(self) -> None:
        """Show the selected frames of this recording."""
        spans = self._selected()
        if spans:
            first, last = min(s.start for s in spans), max(s.stop for s in spans)
            self.canvas.show_view(self.canvas.view.fitted(first, last))

    def clear_selection(self) -> None:
        """Give up a drag that is under way, or else select nothing."""
        if not self.canvas.pointer.cancel():
            self.session.selection = None

    def _selected(self) -> list:
        selection, recording = self.session.selection, self.feed.recording
        spans = () if selection is None or not recording else selection.spans
        return [span for span in spans if span.recording == recording]

    def _has_recording(self) -> bool:
        return self.session.recording is not None

    def _actions(self) -> list[Action]:
        shown, here = self._has_recording, self._selected
        return [
            Action("zoom_in", "Zoom in", _GROUP, "+", partial(self.zoom, _STEP), shown),
            Action("zoom_out", "Zoom out", _GROUP, "-", partial(self.zoom, 1 / _STEP), shown),
            Action("zoom_all", "Show the whole recording", _GROUP, "Ctrl+0", self.zoom_all, shown),
            Action(
                "zoom_selection",
                "Zoom to the selection",
                _GROUP,
                "Ctrl+9",
                self.zoom_selection,
                lambda: bool(here()),
            ),
            Action(
                "clear_selection",
                "Clear the selection",
                _GROUP,
                "Escape",
                self.clear_selection,
                self._can_clear,
            ),
        ]

    def _can_clear(self) -> bool:
        return self.session.selection is not None or self.canvas.pointer.gesture is not None

    def _build(self) -> None:
        self.buttons = {
            "zoom_out": _button("−", "Zoom out around the playhead"),
            "zoom_in": _button("+", "Zoom in around the playhead; the wheel zooms at the pointer"),
            "zoom_all": _button("All", "Show the whole recording"),
            "zoom_selection": _button("Selection", "Show the selected frames"),
        }
        for name, button in self.buttons.items():
            button.clicked.connect(partial(self.session.actions.trigger, name))
        self.subject_box = QComboBox()
        self.subject_box.setToolTip("Show the rows of one subject or of all")
        self.subject_box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.subject_box.activated.connect(self._subject_picked)
        self.used_check = _check("Only used", "Hide behaviours without labels or predictions here")
        self.used_check.toggled.connect(self.feed.show_only_used)
        self.decided_check = _check(
            "Predicted bouts", "Show where the probe says that a behaviour is present", on=True
        )
        self.shade_check = _check("Probability", "Show probabilities as shade", on=True)
        for check in (self.decided_check, self.shade_check):
            check.toggled.connect(self._options_changed)
        self.legend = Legend()
        bar = QHBoxLayout()
        bar.setContentsMargins(6, 2, 6, 2)
        bar.setSpacing(6)
        for widget in self.buttons.values():
            bar.addWidget(widget)
        bar.addSpacing(10)
        bar.addWidget(self.subject_box)
        for widget in (self.used_check, self.decided_check, self.shade_check):
            bar.addWidget(widget)
        bar.addStretch(1)
        bar.addWidget(self.legend)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.transport = _transport(self.session)
        if self.transport is not None:
            layout.addWidget(self.transport)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.overview)
        layout.addLayout(bar)

    def _options_changed(self) -> None:
        self.canvas.set_options(
            shade=self.shade_check.isChecked(), decided=self.decided_check.isChecked()
        )

    def _subject_picked(self, index: int) -> None:
        self.feed.show_subject(self.subject_box.itemData(index))

    def _data_changed(self) -> None:
        subjects = self.feed.subjects
        listed = [self.subject_box.itemData(i) for i in range(self.subject_box.count())]
        wanted = [None, *subjects]
        if listed != wanted:
            chosen = self.subject_box.currentData()
            self.subject_box.clear()
            for subject in wanted:
                name = "All subjects" if subject is None else subject or "No subject named"
                self.subject_box.addItem(name, subject)
            self.subject_box.setCurrentIndex(wanted.index(chosen) if chosen in wanted else 0)
        self.subject_box.setVisible(len(subjects) > 1)
        predicted = bool(self.feed.data and self.feed.data.shaded)
        for check in (self.decided_check, self.shade_check):
            check.setVisible(predicted)
        self.legend.show_predictions(predicted)
        self.legend.setVisible(bool(self.feed.data and self.feed.data.rows))
        self._refresh()

    def _refresh(self) -> None:
        view, shown = self.canvas.view, self._has_recording()
        whole = view.frames >= view.n_frames
        self.buttons["zoom_in"].setEnabled(shown and view.zoomed(1.01, 0) != view)
        self.buttons["zoom_out"].setEnabled(shown and not whole)
        self.buttons["zoom_all"].setEnabled(shown and not whole)
        self.buttons["zoom_selection"].setEnabled(bool(self._selected()))


class _Lease:
    """Lets go of the session when the widgets are gone.

    A method of an object of its own is safe as a slot: Qt may call it after Python has collected
    the widgets, and does not call it if this object was collected with them.
    """

    def __init__(self, feed: TimelineFeed, actions: list[str], transport: Any) -> None:
        self._feed, self._actions, self._transport = feed, actions, transport

    def end(self) -> None:
        if self._transport is not None:
            self._transport.close_bar()
        self._feed.close()
        self._feed.session.actions.unregister(*self._actions)


def _transport(session: Session) -> Any:
    try:
        from napari_ethoprism.transport import TransportBar
    except ImportError:
        return None
    return TransportBar(session)


def _button(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    button.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
    return button


def _check(text: str, tip: str, *, on: bool = False) -> QCheckBox:
    check = QCheckBox(text)
    check.setToolTip(tip)
    check.setChecked(on)
    check.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return check
