"""Messages: what runs and what is told, below the docks, whichever of them is in front."""

from __future__ import annotations

from contextlib import suppress

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow, QSizePolicy, QVBoxLayout, QWidget

from napari_ethoprism.jobs_panel import JobsPanel
from napari_ethoprism.looks import spacing, tight
from napari_ethoprism.notices import NoticeBar
from napari_ethoprism.session import Session


class Messages(QWidget):
    """The jobs and the notices of a session; as high as there is something to say.

    Parameters
    ----------
    session
        Whose jobs and notices.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.jobs, self.notices = JobsPanel(session), NoticeBar(session)
        column = tight(QVBoxLayout(self), self)
        column.addWidget(self.jobs)
        column.addWidget(self.notices)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)


class MessageDock(QObject):
    """Puts messages into a dock without a title below another one. Close it.

    It is as high as there is something to say, and gone where there is nothing. Make it before
    other docks are made tabs of the one above: Qt splits no dock that has tabs.

    Parameters
    ----------
    window
        The main window.
    above
        The dock below which it lies.
    messages
        What is shown; it is taken out of the layout in which it lies.
    """

    def __init__(self, window: QMainWindow, above: QDockWidget, messages: Messages) -> None:
        super().__init__(window)
        self._window, self._messages = window, messages
        self._dock = QDockWidget("Messages", window)
        self._dock.setObjectName("ethoprism_messages")
        self._dock.setTitleBarWidget(QWidget(self._dock))
        self._dock.setFeatures(QDockWidget.DockWidgetFeature.NoDockWidgetFeatures)
        gap = spacing(messages)
        messages.setContentsMargins(gap, gap // 2, gap, gap // 2)
        self._dock.setWidget(messages)
        window.splitDockWidget(above, self._dock, Qt.Orientation.Vertical)
        messages.installEventFilter(self)
        self._fit()

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        if a1 is not None and a1.type() in (QEvent.Type.LayoutRequest, QEvent.Type.Resize):
            self._fit()
        return False

    def close(self) -> None:
        """Take the dock away."""
        with suppress(RuntimeError):  # the window went first
            self._messages.removeEventFilter(self)
            self._window.removeDockWidget(self._dock)
            self._dock.deleteLater()

    def _fit(self) -> None:
        parts = (self._messages.jobs, self._messages.notices)
        said = any(not part.isHidden() for part in parts)
        layout = self._messages.layout()
        if said and layout is not None:
            margins = self._messages.contentsMargins()
            width = max(self._messages.width() - margins.left() - margins.right(), 1)
            wanted = layout.heightForWidth(width) if layout.hasHeightForWidth() else -1
            wanted = wanted if wanted > 0 else layout.sizeHint().height()
            wanted += margins.top() + margins.bottom()
            if self._dock.maximumHeight() != wanted:
                self._dock.setFixedHeight(wanted)
        if self._dock.isHidden() == said:
            self._dock.setVisible(said)
