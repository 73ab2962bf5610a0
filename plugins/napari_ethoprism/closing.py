"""CloseGuard: closing the window while work runs asks, stops cleanly, and loses nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QMainWindow, QMessageBox, QWidget

from ethoprism.errors import EthoPrismError
from napari_ethoprism.jobs import Job
from napari_ethoprism.session import Session

ASKING_LANES = frozenset({"compute", "project"})
"""Lanes whose jobs somebody waits for. The others make maps and pictures, which is done anew."""


class Answer(Enum):
    """What is to happen when the window is to be closed while work runs."""

    STAY = "stay"
    WHEN_DONE = "when done"
    STOP = "stop"


Question = Callable[[QWidget, Sequence[Job]], Answer]


def ask(window: QWidget, jobs: Sequence[Job]) -> Answer:
    """Ask the user, with the jobs by name."""
    box = QMessageBox(window)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("EthoPrism is still working")
    listed = "\n".join(f"•  {job.title}" for job in jobs[:6])
    more = f"\nand {len(jobs) - 6} more" if len(jobs) > 6 else ""
    box.setText(f"Still at work:\n\n{listed}{more}")
    box.setInformativeText(
        "Labels are on the disk. What is finished of the rest is kept, and goes on from there "
        "when it is started again."
    )
    stop = box.addButton("Stop and close", QMessageBox.ButtonRole.DestructiveRole)
    later = box.addButton("Close when finished", QMessageBox.ButtonRole.AcceptRole)
    stay = box.addButton("Go on working", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stay)
    box.setEscapeButton(stay)
    box.exec()
    clicked = box.clickedButton()
    box.deleteLater()
    if clicked is stop:
        return Answer.STOP
    return Answer.WHEN_DONE if clicked is later else Answer.STAY


class CloseGuard(QObject):
    """Watches a window's closing.

    Closing never blocks: where jobs have to stop first, the window closes itself once the last
    one has ended.

    Parameters
    ----------
    session
        Whose jobs are at stake.
    window
        The main window.
    question
        Asks the user; tests answer themselves.
    """

    def __init__(self, session: Session, window: QWidget, question: Question = ask) -> None:
        super().__init__(window)
        self._session, self._window, self._question = session, window, question
        self.closing = False
        """Whether the window closes itself once the jobs have ended."""
        window.installEventFilter(self)
        session.jobs.changed.connect(self._changed)

    def close(self) -> None:
        """Stop watching."""
        self._window.removeEventFilter(self)
        self._session.jobs.changed.disconnect(self._changed)

    def eventFilter(self, a0: QObject | None, a1: QEvent | None) -> bool:
        window = getattr(self, "_window", None)  # PySide6 asks once more while this object goes
        if (
            window is not None
            and a0 is window
            and a1 is not None
            and a1.type() == QEvent.Type.Close
        ):
            if _is_going(window) or self._may_close():
                return False
            a1.ignore()
            return True
        return False

    def _may_close(self) -> bool:
        if not self._labels_are_saved():
            return False
        jobs = self._session.jobs
        active = jobs.active
        if not active:
            return True
        awaited = [job for job in active if job.lane in ASKING_LANES and not job.cancelling]
        if awaited:
            answer = self._question(self._window, awaited)
            self.closing = answer is not Answer.STAY
            if answer is not Answer.STOP:
                if self.closing:
                    self._session.notify("The window closes when the work is finished.")
                return False
        self.closing = True
        jobs.cancel_all()
        if not jobs.active:
            return True
        self._session.notify("Stopping. What is finished is kept; then the window closes.")
        return False

    def _labels_are_saved(self) -> bool:
        """Wait for the disk. A window in which an edit was refused stays open, so that it is read.

        The refusal is told by whoever listens to `Labels.refused`; nothing waits at a second try.
        """
        labels = self._session.labels
        if labels is None:
            return True
        refusals: list[EthoPrismError] = []
        labels.refused.connect(refusals.append)
        try:
            labels.wait()
        finally:
            labels.refused.disconnect(refusals.append)
        return not refusals

    def _changed(self, job: Job) -> None:
        if not self.closing or job.active:
            return
        awaited = [j for j in self._session.jobs.active if j.lane in ASKING_LANES]
        if not awaited:
            self._session.jobs.cancel_all()
        if not self._session.jobs.active:
            # Not within the job's own event: closing takes the jobs apart.
            QTimer.singleShot(0, self._window.close)


def _is_going(window: QWidget) -> bool:
    """Whether a program closes the window, which napari takes apart before it closes it.

    There is nobody to ask then, and no way back. The jobs are stopped by the workbench.
    """
    centre = window.centralWidget() if isinstance(window, QMainWindow) else None
    parts = () if centre is None else centre.findChildren(QWidget, options=_DIRECT)
    return any(part.isHidden() for part in parts)


_DIRECT = Qt.FindChildOption.FindDirectChildrenOnly
