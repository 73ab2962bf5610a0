"""ReviewCard: one candidate of the review, with its pictures and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from qtpy.QtCore import QPoint, QSize, Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QAction
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.ethogram import Behaviour
from ethoprism.project import Project
from napari_ethoprism.actions import Action
from napari_ethoprism.looks import heading, plain
from napari_ethoprism.probe_strip import BoutStrip
from napari_ethoprism.probe_widgets import swatch
from napari_ethoprism.review import Candidate, Outcome
from napari_ethoprism.session import Session

_PLACES = {  # title, row, column and width in sixths
    "accept": ("Accept", 0, 0, 3),
    "reject": ("Reject", 0, 3, 3),
    "start": ("Start", 1, 0, 2),
    "stop": ("End", 1, 2, 2),
    "relabel": ("Relabel", 1, 4, 2),
    "previous": ("Previous", 2, 0, 3),
    "skip": ("Skip", 2, 3, 3),
}


class ReviewCard(QWidget):
    """Shows a candidate.

    Signals
    -------
    pressed(name)
        A button, by the name of its action.
    sought(frame)
        A picture was clicked.
    relabelled(behaviour)
        A behaviour was chosen in the menu.
    """

    pressed = QtSignal(str)
    sought = QtSignal(int)
    relabelled = QtSignal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title, self.icon = heading(), QLabel()
        self.where, self.why = plain(), plain()
        self.subject = QComboBox()
        self.subject.setToolTip("Whose bout it is; the probe does not know")
        self.loop = QCheckBox("Loop")
        self.loop.setToolTip("Play the bout again and again, with half a second around it")
        self.strip = BoutStrip(session, self)
        self.menu = QMenu(self)
        self.buttons: dict[str, QPushButton] = {}
        head = QHBoxLayout()
        head.addWidget(self.icon)
        head.addWidget(self.title)
        head.addStretch(1)
        head.addWidget(self.subject)
        head.addWidget(self.loop)
        grid = QGridLayout()
        grid.setSpacing(4)
        for name, (word, row, column, span) in _PLACES.items():
            button = QPushButton(word)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(partial(self._press, name))
            grid.addWidget(button, row, column, 1, span)
            self.buttons[name] = button
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.where)
        layout.addWidget(self.strip)
        layout.addWidget(self.why)
        layout.addLayout(grid)
        self.strip.clicked.connect(self.sought)

    def show_keys(self, actions: Iterable[Action], key_of: Callable[[str], str]) -> None:
        """Say on each button which key does the same."""
        for action in actions:
            name = action.name.removeprefix("review_")
            button, key = self.buttons[name], key_of(action.name)
            button.setText(_PLACES[name][0] + (f"  ({key})" if key else ""))
            button.setToolTip(action.title)

    def show_candidate(self, item: Candidate, project: Project, outcome: Outcome) -> None:
        """Show a candidate of a project, and what was decided of it before."""
        known = project.ethogram
        colour = known[item.behaviour].colour if item.behaviour in known else "#999999"
        side = self.fontMetrics().ascent()
        self.icon.setPixmap(swatch(colour, self).pixmap(QSize(side, side)))
        self.title.setText(item.behaviour + (f" · {item.subject}" if item.subject else ""))
        times = project.frame_times(item.recording)
        last, n = min(item.stop, len(times)) - 1, item.stop - item.start
        decided = "" if outcome is Outcome.OPEN else f" · {outcome.value}"
        self.where.setText(
            f"{item.recording} · {times[item.start]:.2f}–{times[last]:.2f} s · frames "
            f"{item.start}–{last} ({n:,}){decided}"
        )
        self.why.setText(item.explanation)
        self.strip.show_bout(item)

    def offer_subjects(self, names: Sequence[str], focal: str) -> None:
        """Ask whose bout it is, where there are several subjects; none hides the question."""
        self.subject.setVisible(bool(names))
        there = [self.subject.itemData(i) for i in range(self.subject.count())]
        if there != ["", *names]:
            self.subject.clear()
            self.subject.addItem("whose?", "")
            for name in names:
                self.subject.addItem(name, name)
        if focal in names:
            self.subject.setCurrentIndex(self.subject.findData(focal))

    def offer_behaviours(self, behaviours: Sequence[Behaviour]) -> None:
        """Open the menu of behaviours; digits choose the first nine."""
        self.menu.clear()
        for number, b in enumerate(behaviours, 1):
            sign = f"&{number} " if number < 10 else ""
            action = QAction(swatch(b.colour, self), sign + b.name.replace("&", "&&"), self.menu)
            action.triggered.connect(partial(self._chosen, b.name))
            self.menu.addAction(action)
        button = self.buttons["relabel"]
        self.menu.popup(button.mapToGlobal(QPoint(0, button.height())))

    def _press(self, name: str, *_: Any) -> None:
        self.pressed.emit(name)

    def _chosen(self, name: str, *_: Any) -> None:
        self.relabelled.emit(name)
