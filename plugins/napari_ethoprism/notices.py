"""NoticeBar: what the user is told, in a quiet bar that does not stop the work."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QPainter, QPaintEvent
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPlainTextEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_ethoprism.jobs import Job
from napari_ethoprism.looks import flat_button, plain, tight, tone
from napari_ethoprism.notice_log import NoticeLog, Told
from napari_ethoprism.session import Notice, Session

_SIGNS = {"info": "i", "warning": "!", "error": "×"}
_SHOWN_MS = 8000
"""What is no problem goes away by itself; a problem stays until it is dismissed."""


class NoticeBar(QWidget):
    """Shows the newest notice with its remedy; keeps the former ones.

    Parameters
    ----------
    session
        Its notices and its failed jobs are shown.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.log = NoticeLog()
        self._session = session
        self._build()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.dismiss)
        session.noticed.connect(self._noticed)
        session.jobs.failed.connect(self._failed)
        self.dismiss()

    @property
    def text(self) -> str:
        """What is shown now; empty where nothing is."""
        return "" if self._shown.isHidden() else self.message.text()

    def dismiss(self) -> None:
        """Take the shown notice away; it stays in the history."""
        self._timer.stop()
        self._shown.hide()
        self.copy_button.hide()
        self.history_button.setVisible(len(self.log) > 0)
        self.setVisible(len(self.log) > 0)

    def _build(self) -> None:
        self._sign = _Sign(self)
        self.message = plain()
        self.copy_button = flat_button("Copy", "Copy this message")
        self.dismiss_button = flat_button("✕", "Dismiss; it stays in the history")
        self.history_button = flat_button("Messages", "Show or hide what was told before")
        self.history_button.setCheckable(True)
        self.history = QPlainTextEdit()
        self.history.setReadOnly(True)
        self.history.setMaximumHeight(self.fontMetrics().height() * 9)
        self.history.hide()
        self._shown = QWidget()
        row = tight(QHBoxLayout(self._shown), self)
        row.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.message, 1)
        row.addWidget(self.dismiss_button, 0, Qt.AlignmentFlag.AlignTop)
        foot = tight(QHBoxLayout(), self)
        foot.addStretch(1)
        foot.addWidget(self.copy_button)
        foot.addWidget(self.history_button)
        column = tight(QVBoxLayout(self), self)
        column.setSpacing(2)
        column.addWidget(self._shown)
        column.addWidget(self.history)
        column.addLayout(foot)
        self.copy_button.clicked.connect(self._copy)
        self.dismiss_button.clicked.connect(self.dismiss)
        self.history_button.toggled.connect(self._toggle)

    def _noticed(self, notice: Notice) -> None:
        self._show(self.log.add(notice))

    def _failed(self, job: Job) -> None:
        if job.error is not None:
            self._show(self.log.add(Notice(str(job.error), "error"), doing=job.title))

    def _show(self, told: Told) -> None:
        kind = told.notice.kind
        self._sign.kind = kind
        self._sign.update()
        self.message.setText(told.text)
        self.history.setPlainText(self.log.text)
        bar = self.history.verticalScrollBar()
        if bar is not None:
            bar.setValue(bar.maximum())
        self.history_button.show()
        self.copy_button.show()
        self._shown.show()
        self.show()
        self._timer.stop()
        if kind == "info":
            self._timer.start(_SHOWN_MS)

    def _copy(self) -> None:
        clipboard: Any = QApplication.clipboard()
        clipboard.setText(self.message.text())

    def _toggle(self, shown: bool) -> None:
        self.history.setVisible(shown)


class _Sign(QWidget):
    """A disc in the tone of the notice, with a sign, so that colour is not all that tells."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.kind: Any = "info"
        side = self.fontMetrics().height() + 2
        self.setFixedSize(side, side)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def paintEvent(self, a0: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = tone(self, self.kind)
        pen = painter.pen()
        pen.setColor(colour)
        pen.setWidthF(1.4)
        painter.setPen(pen)
        painter.drawEllipse(self.rect().adjusted(1, 1, -2, -2))
        painter.drawText(self.rect(), 0x84, _SIGNS[self.kind])  # in the middle of both axes
        painter.end()
