"""TransportBar: plays, steps and goes to moments; a slim bar for the top of the timeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPolygonF
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from napari_ethoprism.actions import Action
from napari_ethoprism.moments import clock, next_bout, parse_moment
from napari_ethoprism.player import FASTEST, SLOWEST
from napari_ethoprism.session import Session

SPEEDS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
_GROUP = "Video"

# Symbols on a square of 8 × 8: triangles as (left, right) with the tip at the latter, and bars.
_SYMBOLS: dict[str, tuple[tuple[str, float, float], ...]] = {
    "play": (("tip", 1.2, 7.4),),
    "pause": (("bar", 1.3, 3.3), ("bar", 4.7, 6.7)),
    "first_frame": (("bar", 0.8, 1.8), ("tip", 7.2, 2.0)),
    "last_frame": (("tip", 0.8, 6.0), ("bar", 6.2, 7.2)),
    "step_back_10": (("tip", 4.0, 0.2), ("tip", 7.8, 4.0)),
    "step_forward_10": (("tip", 0.2, 4.0), ("tip", 4.0, 7.8)),
    "step_back": (("tip", 6.0, 1.8),),
    "step_forward": (("tip", 2.0, 6.2),),
    "previous_bout": (("tip", 3.4, -0.6), ("bout", 4.2, 9.4)),
    "next_bout": (("bout", -1.4, 3.8), ("tip", 4.6, 8.6)),
}


class SymbolButton(QToolButton):
    """A flat button that draws its symbol in the theme's colour of text."""

    def __init__(self, symbol: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.symbol = symbol
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the space bar plays, wherever one clicked

    def sizeHint(self) -> QSize:
        """A square somewhat higher than a line of text."""
        side = round(self.fontMetrics().height() * 1.6)
        return QSize(side, side)

    def minimumSizeHint(self) -> QSize:
        """As large as it likes to be."""
        return self.sizeHint()

    def show_symbol(self, symbol: str) -> None:
        """Draw another symbol."""
        if symbol != self.symbol:
            self.symbol = symbol
            self.update()

    def paintEvent(self, a0: object) -> None:
        """The symbol, with a tint behind it under the pointer."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        colour = QColor(self.palette().color(QPalette.ColorRole.ButtonText))
        if self.isEnabled() and self.underMouse():
            tint = QColor(colour)
            tint.setAlphaF(0.28 if self.isDown() else 0.14)
            painter.setBrush(tint)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), 3, 3)
        colour.setAlphaF(0.95 if self.isEnabled() else 0.3)
        painter.setBrush(colour)
        side = min(self.width(), self.height()) * 0.56
        painter.translate((self.width() - side) / 2, (self.height() - side) / 2)
        painter.scale(side / 8, side / 8)
        for kind, left, right in _SYMBOLS[self.symbol]:
            if kind == "tip":
                points = [QPointF(left, 0.8), QPointF(right, 4.0), QPointF(left, 7.2)]
                painter.drawPolygon(QPolygonF(points))
            else:
                low, high = (0.8, 7.2) if kind == "bar" else (1.8, 6.2)
                painter.drawRect(QRectF(left, low, right - left, high - low))
        painter.end()


class SpeedBox(QDoubleSpinBox):
    """How fast the video plays: 1.00× is true time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(SLOWEST, FASTEST)
        self.setDecimals(2)
        self.setSuffix("×")
        self.setValue(1.0)
        self.setKeyboardTracking(False)
        self.setFixedWidth(self.fontMetrics().horizontalAdvance("−  8.00×  +") + 24)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)

    def stepBy(self, steps: int) -> None:
        """Go through the usual speeds."""
        self.setValue(stepped(self.value(), steps))


def stepped(speed: float, steps: int) -> float:
    """The usual speed that lies ``steps`` above (or below) ``speed``."""
    if steps > 0:
        above = [s for s in SPEEDS if s > speed + 1e-6] or [FASTEST]
        return above[min(steps, len(above)) - 1]
    below = [s for s in SPEEDS if s < speed - 1e-6][::-1] or [SLOWEST]
    return below[min(-steps, len(below)) - 1]


class TransportBar(QWidget):
    """Buttons and fields that move a session through its recording; the player does the playing.

    What they do is registered as the session's actions of the group "Video".

    Parameters
    ----------
    session
        The session.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._names: list[str] = []
        self._buttons: dict[str, SymbolButton] = {}
        self._register()
        self._build()
        events = session.events
        self._connections: list[tuple[Any, Callable[..., Any]]] = [
            *((event, self._render) for event in (events.moment, events.decoding)),
            *((event, self._render) for event in (events.playing, events.playback)),
            *((event, self._render_choices) for event in (events.speed, events.every_frame)),
            (session.actions.changed, self._render_keys),
        ]
        for signal, slot in self._connections:
            signal.connect(slot)
        self.destroyed.connect(lambda: self.close_bar())  # a bound method would be held weakly
        self._render()
        self._render_choices()
        self._render_keys()

    def close_bar(self) -> None:
        """Stop listening and take the actions away; once only."""
        while self._connections:
            signal, slot = self._connections.pop()
            signal.disconnect(slot, missing_ok=True)
        names, self._names = self._names, []
        if names:
            self._session.actions.unregister(*names)

    def _register(self) -> None:
        def action(name: str, title: str, key: str, run: Callable[[], object]) -> Action:
            self._names.append(name)
            return Action(name, title, _GROUP, key, run, self._can_move)

        self._session.actions.register(
            action("play", "Play or pause", "Space", self._play),
            action("step_forward", "One frame on", "Right", lambda: self._step(1)),
            action("step_back", "One frame back", "Left", lambda: self._step(-1)),
            action("step_forward_10", "10 frames on", "Shift+Right", lambda: self._step(10)),
            action("step_back_10", "10 frames back", "Shift+Left", lambda: self._step(-10)),
            action("next_bout", "Next bout", "Ctrl+Right", lambda: self._bout(True)),
            action("previous_bout", "Previous bout", "Ctrl+Left", lambda: self._bout(False)),
            action("faster", "Play faster", "]", lambda: self._faster(1)),
            action("slower", "Play slower", "[", lambda: self._faster(-1)),
            action("first_frame", "First frame", "Home", lambda: self._step(-(1 << 62))),
            action("last_frame", "Last frame", "End", lambda: self._step(1 << 62)),
        )

    def _build(self) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(6, 2, 6, 2)
        row.setSpacing(1)
        gap = self.fontMetrics().height() // 2
        for group in (
            ("first_frame", "step_back_10", "step_back", "play"),
            ("step_forward", "step_forward_10", "last_frame"),
            ("previous_bout", "next_bout"),
        ):
            for name in group:
                button = SymbolButton(name, self)
                button.setAutoRepeat(name.startswith("step"))
                button.clicked.connect(lambda _=False, n=name: self._session.actions.trigger(n))
                self._buttons[name] = button
                row.addWidget(button)
            if group[0] != "first_frame":
                row.addSpacing(gap)
        self.speed_box = SpeedBox(self)
        self.speed_box.valueChanged.connect(self._speed_chosen)
        self.mode_box = QComboBox(self)
        self.mode_box.addItems(["keep time", "every frame"])
        self.mode_box.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.mode_box.setToolTip(
            "keep time: play at the speed that is set; frames that come too late are left out and"
            " counted.\nevery frame: show each one, however long that takes."
        )
        self.mode_box.currentIndexChanged.connect(self._mode_chosen)
        self.goto = QLineEdit(self)
        self.goto.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.goto.setFixedWidth(self.fontMetrics().horizontalAdvance("0:00:00.000s") + gap * 2)
        self.goto.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.goto.setToolTip("The frame, counted from 0. Type 1234 or 12.5s or 1:02.5 to go there.")
        self.goto.returnPressed.connect(self._go)
        self.goto.editingFinished.connect(self._render)
        self.position = _label(self)
        self.state = _label(self)
        self.state.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row.addWidget(self.speed_box)
        row.addSpacing(gap // 2)
        row.addWidget(self.mode_box)
        row.addSpacing(gap)
        row.addWidget(self.goto)
        row.addSpacing(gap // 2)
        row.addWidget(self.position)
        row.addSpacing(gap)
        row.addWidget(self.state, 1)

    # What the actions do.

    def _can_move(self) -> bool:
        return self._session.recording is not None

    def _play(self) -> None:
        self._session.playing = not self._session.playing

    def _step(self, frames: int) -> None:
        recording = self._session.recording
        if recording is None:
            return
        self._session.playing = False
        frame = self._session.frame
        here = 0 if frame is None else frame
        self._session.seek(min(max(here + frames, 0), recording.n_frames - 1))

    def _bout(self, forward: bool) -> None:
        session = self._session
        labels, entry, frame = session.labels, session.entry, session.frame
        if labels is None or entry is None or frame is None:
            return
        found = next_bout(
            labels.bouts(entry.id), frame, forward, session.subject, session.behaviour
        )
        if found is None:
            which = f" of {session.behaviour}" if session.behaviour else ""
            session.notify(f"There is no bout{which} {'after' if forward else 'before'} here.")
        else:
            session.seek(found)

    def _faster(self, steps: int) -> None:
        self._session.speed = stepped(self._session.speed, steps)

    def _speed_chosen(self, value: float) -> None:
        self._session.speed = value

    def _mode_chosen(self, row: int) -> None:
        self._session.every_frame = row == 1

    def _go(self) -> None:
        recording = self._session.recording
        if recording is None:
            return
        try:
            frame = parse_moment(self.goto.text(), recording.frame_times)
        except EthoPrismError as error:
            self._session.notify(error)
            self.goto.selectAll()
            return
        self.goto.clearFocus()
        self._session.seek(frame)
        self._render()

    # What is shown.

    def _render(self) -> None:
        session, moment = self._session, self._session.moment
        self.setEnabled(moment is not None)
        self._buttons["play"].show_symbol("pause" if session.playing else "play")
        if moment is None:
            self.goto.clear()
            self.position.setText("")
        else:
            if not self.goto.hasFocus():
                self.goto.setText("" if moment.frame is None else str(moment.frame))
            last = moment.recording.n_frames - 1
            time = "outside" if moment.time is None else clock(moment.time)
            total = clock(float(moment.recording.frame_times[-1]))
            self.position.setText(f"/ {last}    {time} / {total}")
        state, why = self._state()
        self.state.setText(state)
        self.state.setToolTip(why)

    def _state(self) -> tuple[str, str]:
        """What there is to say of the picture, and why."""
        session, frame = self._session, self._session.frame
        if session.decoding is not None:
            return (
                f"decoding frame {session.decoding} …",
                "The picture is of another frame and is washed out until this one is decoded.",
            )
        problem = session.frames.problem(frame) if session.frames and frame is not None else ""
        if problem:
            return f"damaged: {problem}", problem
        played = session.playback
        parts = []
        if session.playing and played.speed:
            parts.append(f"{played.speed:.2f}×")
        if played.dropped:
            parts.append(f"{played.dropped} dropped")
        return (
            " · ".join(parts),
            "The speed that is reached, and the frames that were left out to keep time.",
        )

    def _render_choices(self) -> None:
        for box in (self.speed_box, self.mode_box):
            box.blockSignals(True)
        self.speed_box.setValue(self._session.speed)
        self.mode_box.setCurrentIndex(int(self._session.every_frame))
        for box in (self.speed_box, self.mode_box):
            box.blockSignals(False)

    def _render_keys(self) -> None:
        actions = self._session.actions
        for name, button in self._buttons.items():
            if name in actions:
                action = actions[name]
                button.setToolTip(f"{action.title} ({action.key})" if action.key else action.title)
        if "faster" in actions and "slower" in actions:
            slower, faster = actions["slower"].key, actions["faster"].key
            self.speed_box.setToolTip(f"Speed; 1× is true time ({slower} slower, {faster} faster)")


def _label(parent: QWidget) -> QLabel:
    label = QLabel(parent)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label
