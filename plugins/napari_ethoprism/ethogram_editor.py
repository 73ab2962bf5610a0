"""EthogramEditor: one behaviour's name, key, colour, kind, group and definition."""

from __future__ import annotations

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QIcon, QKeyEvent, QPainter, QPalette, QPen, QPixmap
from qtpy.QtWidgets import (
    QColorDialog,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.errors import EthoPrismError
from ethoprism.ethogram import PALETTE, Behaviour
from napari_ethoprism.key_filter import key_text
from napari_ethoprism.label_ethogram import EthogramEdits
from napari_ethoprism.label_summary import key_warning
from napari_ethoprism.looks import form, plain, spacing, tone
from napari_ethoprism.session import Session


class EthogramEditor(QDialog):
    """A form for one behaviour; nothing is changed until it is saved.

    Parameters
    ----------
    session
        Whose ethogram.
    edits
        Makes the change.
    name
        The behaviour; a name that the ethogram lacks, or empty, is a new one.
    """

    def __init__(
        self, session: Session, edits: EthogramEdits, name: str, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._edits = session, edits
        project = session.project
        ethogram = None if project is None else project.ethogram
        self._name = name if ethogram is not None and name in ethogram else ""
        count = 0 if ethogram is None else len(ethogram.behaviours)
        old = Behaviour(name or "new", colour=PALETTE[count % len(PALETTE)])
        if ethogram is not None and self._name:
            old = ethogram[name]
        self._colour = old.colour
        self.setWindowTitle("Behaviour" if self._name else "New behaviour")
        self.name = QLineEdit(name)
        self.name.setPlaceholderText("walk, groom, …")
        self.key = KeyEdit(old.key)
        self.kind = QComboBox()
        self.kind.addItem("State: has a duration", "state")
        self.kind.addItem("Point: one frame", "point")
        self.kind.setCurrentIndex(int(old.kind == "point"))
        self.group = QComboBox()
        self.group.addItem("nothing", "")
        for other in () if ethogram is None else ethogram.behaviours:
            if other.name != self._name:
                self.group.addItem(self._group_text(other.name), other.name)
        self.group.setCurrentIndex(max(self.group.findData(self._rival()), 0))
        self.group.setToolTip("Of behaviours that exclude each other, at most one holds.")
        self.definition = QPlainTextEdit(old.definition)
        self.definition.setPlaceholderText("How an observer recognises it")
        self.definition.setTabChangesFocus(True)
        self.definition.setStyleSheet(
            "QPlainTextEdit { border: 1px solid rgba(128, 128, 128, 130); border-radius: 2px; }"
        )
        self.definition.setFixedHeight(5 * self.fontMetrics().height())
        self.warning, self.problem = plain(), plain()
        self._build()
        self.key.changed = self._look_at_key
        self._look_at_key()
        self.setMinimumWidth(48 * self.fontMetrics().averageCharWidth())
        (self.name if not self._name else self.key).setFocus()

    def behaviour(self) -> Behaviour:
        """The behaviour as the form describes it; a `LabelError` if that cannot be."""
        return Behaviour(
            name=self.name.text().strip(),
            definition=self.definition.toPlainText().strip(),
            key=self.key.text().strip(),
            colour=self._colour,
            kind="point" if self.kind.currentData() == "point" else "state",
        )

    def accept(self) -> None:
        """Save the behaviour, or say why that is not possible."""
        try:
            made, excludes = self.behaviour(), self.group.currentData() or ""
            if self._name:
                self._edits.change(self._name, made, excludes)
            else:
                self._edits.add(made, excludes)
        except EthoPrismError as error:
            self.problem.setText(str(error))
            self.problem.setStyleSheet(f"color: {tone(self, 'error').name()}")
            self.problem.setVisible(True)
            return
        super().accept()

    def choose_colour(self, colour: str) -> None:
        """Take a colour, ``#RRGGBB``."""
        self._colour = colour.upper()
        for button in self._swatches:
            own = str(button.property("colour"))
            button.setIcon(_swatch(own, self, ring=own == self._colour))
        other = self._colour not in [str(b.property("colour")) for b in self._swatches]
        self.other_colour.setIcon(_swatch(self._colour, self, ring=True) if other else QIcon())

    def _build(self) -> None:
        layout = form(self)
        for text, widget in (("Name", self.name), ("Key", self.key)):
            layout.addRow(plain(text, wrap=False), widget)
        layout.addRow(plain("", wrap=False), self.warning)
        layout.addRow(plain("Colour", wrap=False), self._colours())
        layout.addRow(plain("Kind", wrap=False), self.kind)
        layout.addRow(plain("Excludes", wrap=False), self.group)
        layout.addRow(plain("Definition", wrap=False), self.definition)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Save | QDialogButtonBox.StandardButton.Cancel
        )
        for button in buttons.buttons():
            button.setIcon(QIcon())
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        gap = spacing(self) * 2
        column.setContentsMargins(gap, gap, gap, gap)
        column.setSpacing(gap)
        column.addLayout(layout)
        column.addWidget(self.problem)
        column.addWidget(buttons)
        self.problem.setVisible(False)

    def _colours(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        self._swatches: list[QToolButton] = []
        for colour in PALETTE:
            button = QToolButton()
            button.setAutoRaise(True)
            side = round(1.2 * self.fontMetrics().height())
            button.setIconSize(QSize(side, side))
            button.setProperty("colour", colour.upper())
            button.setToolTip(colour)
            button.clicked.connect(lambda _=False, c=colour: self.choose_colour(c))
            self._swatches.append(button)
            row.addWidget(button)
        self.other_colour = QToolButton()
        self.other_colour.setText("Other…")
        self.other_colour.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.other_colour.clicked.connect(self._ask_colour)
        row.addWidget(self.other_colour)
        row.addStretch(1)
        self.choose_colour(self._colour)
        return row

    def _ask_colour(self) -> None:
        chosen = QColorDialog.getColor(QColor(self._colour), self, "Colour of the behaviour")
        if chosen.isValid():
            self.choose_colour(chosen.name())

    def _look_at_key(self) -> None:
        text = key_warning(self._session, self._session.keymap, self.key.text(), self._name)
        self.warning.setText(text)
        self.warning.setVisible(bool(text))
        self.warning.setStyleSheet(f"color: {tone(self, 'warning').name()}")

    def _rival(self) -> str:
        project = self._session.project
        for group in () if project is None else project.ethogram.exclusive:
            if self._name in group:
                return next(name for name in group if name != self._name)
        return ""

    def _group_text(self, name: str) -> str:
        project = self._session.project
        groups = () if project is None else project.ethogram.exclusive
        group = next((g for g in groups if name in g), (name,))
        return ", ".join(n for n in group if n != self._name)


class KeyEdit(QLineEdit):
    """A field that takes the key that is pressed in it; Backspace takes it away."""

    def __init__(self, key: str, parent: QWidget | None = None) -> None:
        super().__init__(key, parent)
        self.changed = lambda: None
        self.setPlaceholderText("press a key")
        self.setToolTip("Press the key that labels it; Backspace for none.")
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)

    def keyPressEvent(self, a0: QKeyEvent | None) -> None:
        if a0 is None:
            return
        text = key_text(a0)
        if text in ("Tab", "Shift+Tab", "Escape", "Return"):
            super().keyPressEvent(a0)
            return
        if text in ("Backspace", "Delete"):
            self.setText("")
        elif text:
            self.setText(text.lower() if len(text) == 1 else text)
        self.changed()


def _swatch(colour: str, widget: QWidget, *, ring: bool) -> QIcon:
    """A disc of a colour, with a ring where it is the chosen one."""
    side, ratio = round(1.2 * widget.fontMetrics().height()), widget.devicePixelRatioF()
    picture = QPixmap(round(side * ratio), round(side * ratio))
    picture.setDevicePixelRatio(ratio)
    picture.fill(QColor(0, 0, 0, 0))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    inset = side * (0.26 if ring else 0.16)
    painter.drawEllipse(QRectF(0, 0, side, side).adjusted(inset, inset, -inset, -inset))
    if ring:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(widget.palette().color(QPalette.ColorRole.WindowText), 1.6))
        painter.drawEllipse(QRectF(0, 0, side, side).adjusted(1.5, 1.5, -1.5, -1.5))
    painter.end()
    return QIcon(picture)
