"""ReviewPanel: the bouts most worth a look, one after the other, each decided by one key."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ethoprism.edit_rows import Labelled
from ethoprism.errors import EthoPrismError, LabelError
from napari_ethoprism.actions import Action
from napari_ethoprism.jobs import Job
from napari_ethoprism.links import Links
from napari_ethoprism.looks import plain
from napari_ethoprism.probe_candidates import (
    accepted,
    find_candidates,
    rejected,
    relabelled,
    subjects_of,
)
from napari_ethoprism.probe_run import when_saved
from napari_ethoprism.probe_widgets import Remark
from napari_ethoprism.review import Candidate, Outcome, ReviewQueue
from napari_ethoprism.review_card import ReviewCard
from napari_ethoprism.session import Selection, Session, Span

_MARGIN_S = 0.5
"""A bout is played with so much before and behind it."""


class ReviewPanel(QWidget):
    """Review of candidate bouts. Accepting and rejecting are edits of the labels, each undoable.

    Signals
    -------
    retrain
        The user asks for another training.
    """

    retrain = QtSignal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.queue = ReviewQueue()
        self.running = False
        self._at_end = False
        self._job: Job | None = None
        self._build()
        self._register()
        links = Links()
        links.add(session.events.probe, self.stop)
        links.add(session.events.labels, self._watch_labels)
        links.add(session.events.moment, self._moved)
        links.add(session.events.subject, self._render)
        links.add(session.keymap.changed, self._render)
        links.at_end(self.card.strip.close_files)
        links.at_end(partial(session.actions.unregister, *(a.name for a in self._actions)))
        self.links, self._watched = links, None
        self._watch_labels()
        self._render()

    def start(self) -> None:
        """Look for candidates in the predictions of the probe that is shown."""
        project, probe = self._session.project, self._session.probe
        if project is None or not probe or self._job is not None:
            return
        entry, shown = self._session.entry, self._session.predictions
        here = [entry.id] if entry is not None else []
        recordings = here if self.scope.currentData() else list(project.recording_ids)
        self.remark.say("")
        self._job = self._session.jobs.start(
            "Look for bouts to review",
            when_saved(
                self._session.labels,
                partial(
                    find_candidates,
                    project,
                    probe,
                    shown[0].decision if shown else None,
                    recordings,
                ),
            ),
            lane="predictions",
            on_done=self._found,
            on_error=self._tell,
        )
        self._render()

    def stop(self) -> None:
        """End the review; what was decided stays."""
        self._at_end = False
        if self.running:
            self.running = False
            self._session.playing = False if self.card.loop.isChecked() else self._session.playing
        if self._job is not None:
            self._job.cancel()
            self._job = None
        self._render()

    def accept(self) -> None:
        """Take the candidate up as a curated bout."""
        self._decide(Outcome.ACCEPTED)

    def reject(self) -> None:
        """Say that the behaviour is absent there."""
        self._decide(Outcome.REJECTED)

    def skip(self) -> None:
        """Leave it open."""
        self.queue.decide(Outcome.SKIPPED)
        self._show()

    def previous(self) -> None:
        """Go back to the one before."""
        self.queue.previous()
        self._show()

    def set_start(self) -> None:
        """Let the bout begin at the frame that is shown."""
        self._adjust("start", 0)

    def set_stop(self) -> None:
        """Let the frame that is shown be the bout's last."""
        self._adjust("stop", 1)

    def relabel(self) -> None:
        """Choose another behaviour, as which it is accepted."""
        project = self._session.project
        if project is not None and self.queue.current is not None:
            self.card.offer_behaviours(project.ethogram.behaviours)

    def was_trained(self) -> None:
        """A probe was trained: what it calls now is not what is in the queue."""
        self.queue.was_trained()
        self.stop()

    def _found(self, candidates: tuple[Candidate, ...]) -> None:
        self._job = None
        self.queue = ReviewQueue(candidates)
        for box, word, names in (
            (self.behaviour, "All behaviours", self.queue.behaviours),
            (self.reason, "All reasons", self.queue.reasons),
        ):
            box.blockSignals(True)
            box.clear()
            box.addItem(word, "")
            for name in names:
                box.addItem(name, name)
            box.blockSignals(False)
        self.running = bool(candidates)
        if not candidates:
            self.remark.say(
                "No bout is worth a look here: there are no predictions, or labels and probe agree."
            )
        # Last registered wins: while the review runs, its keys come before the behaviours'.
        self._session.actions.register(*self._actions)
        self._show()

    def _decide(self, outcome: Outcome) -> None:
        labels, item = self._session.labels, self.queue.current
        if labels is None or item is None:
            return
        try:
            table = self._labelled(item.recording)
            if outcome is Outcome.ACCEPTED:
                change = accepted(table, item, self._whose())
            else:
                change = rejected(table, item)
            edit = labels.commit(change)
        except EthoPrismError as error:
            self._tell(error)
            return
        self.remark.say("")
        self.queue.decide(outcome, None if edit is None else edit.id)
        self._show()

    def _relabelled(self, behaviour: str) -> None:
        labels, item = self._session.labels, self.queue.current
        if labels is None or item is None:
            return
        if behaviour == item.behaviour:
            self.accept()
            return
        try:
            table = self._labelled(item.recording)
            edit = labels.commit(relabelled(table, item, behaviour, self._whose()))
        except EthoPrismError as error:
            self._tell(error)
            return
        self.queue.decide(Outcome.REJECTED, None if edit is None else edit.id)
        self._show()

    def _labelled(self, recording: str) -> Labelled:
        project, labels = self._session.project, self._session.labels
        if project is None or labels is None:
            raise LabelError("No project is open")
        if not labels.writable:
            raise LabelError(
                "The labels cannot be changed now", remedy="Close the program that writes them."
            )
        return labels.labelled(project, recording)

    def _whose(self) -> str:
        return self.card.subject.currentData() or self._session.subject

    def _adjust(self, edge: str, offset: int) -> None:
        frame, item, entry = self._session.frame, self.queue.current, self._session.entry
        if frame is None or item is None or entry is None or entry.id != item.recording:
            return
        if not self.queue.adjust(**{edge: frame + offset}):
            self.remark.say("The bout would have no frame left.", "warning")
            return
        self.remark.say("")
        self._show(seek=False)

    def _watch_labels(self) -> None:
        if self._watched is not None:
            self._watched.disconnect(self._labels_changed, missing_ok=True)
        labels = self._session.labels
        self._watched = None if labels is None else labels.changed
        if self._watched is not None:
            self.links.add(self._watched, self._labels_changed)
        self.queue = ReviewQueue()  # what was in it belongs to the former labels
        self.stop()

    def _labels_changed(self) -> None:
        labels = self._session.labels
        if labels is None or not self.queue.edits:
            return
        gone = {edit.id for edit in labels.history if edit.undone}
        if self.queue.undone(gone):
            self.running = self.running or self._at_end
            self._show()

    def _moved(self) -> None:
        item, frame, entry = self.queue.current, self._session.frame, self._session.entry
        if not (self.running and self.card.loop.isChecked() and self._session.playing):
            return
        if item is None or frame is None or entry is None or entry.id != item.recording:
            return
        margin = self._margin()
        if frame >= min(item.stop + margin, entry.n_frames) - 1 or frame < item.start - margin:
            self._session.seek(max(item.start - margin, 0), item.recording)

    def _margin(self) -> int:
        recording = self._session.recording
        if recording is None or recording.n_frames < 2:
            return 0
        return max(round(_MARGIN_S / float(np.median(np.diff(recording.frame_times)))), 1)

    def _session_seek(self, frame: int) -> None:
        if self.queue.current is not None:
            self._session.seek(frame, self.queue.current.recording)

    def _tell(self, error: EthoPrismError) -> None:
        self._job = None
        self.remark.say(str(error), "error")
        self._render()

    def _show(self, *, seek: bool = True) -> None:
        """Bring the viewer to the current candidate, and show what is known of it."""
        item = self.queue.current
        if item is None and self.running:
            self.running, self._at_end = False, True
            self.remark.say("That was the last one.")
        if self.running and item is not None:
            self._at_end = False
            span = Span(item.recording, item.start, item.stop)
            self._session.selection = Selection((span,), "review", item.subject)
            if seek:
                self._session.seek(item.start, item.recording)
                if self.card.loop.isChecked():
                    self._session.playing = True
        self._render()

    def _filter(self) -> None:
        behaviour, reason = self.behaviour.currentData(), self.reason.currentData()
        self.queue.filter([behaviour] if behaviour else (), [reason] if reason else ())
        self.running = self.queue.current is not None
        self._show()

    def _toggle_loop(self, on: bool) -> None:
        if self.running:
            self._session.playing = on

    def _register(self) -> None:
        def running() -> bool:
            return self.running

        made = [  # no letters: those are the behaviours'
            ("accept", "Accept the bout", "Return", self.accept),
            ("reject", "Reject the bout: absent here", "Backspace", self.reject),
            ("start", "Bout begins at this frame", ",", self.set_start),
            ("stop", "Bout ends with this frame", ".", self.set_stop),
            ("relabel", "Accept it as another behaviour", "F2", self.relabel),
            ("skip", "Skip the bout", "Down", self.skip),
            ("previous", "Previous bout of the review", "Up", self.previous),
        ]
        self._actions = tuple(
            Action(f"review_{name}", title, "Review", key, run, running)
            for name, title, key, run in made
        )
        self._session.actions.register(*self._actions)

    def _build(self) -> None:
        self.scope, self.behaviour, self.reason = QComboBox(), QComboBox(), QComboBox()
        self.scope.addItem("All recordings", False)
        self.scope.addItem("This recording", True)
        self.behaviour.addItem("All behaviours", "")
        self.reason.addItem("All reasons", "")
        self.start_button = QPushButton("Start review")
        self.start_button.setToolTip("Look for predicted bouts that are most worth a look")
        self.remark = Remark()
        self.card = ReviewCard(self._session)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(6)
        self.count = plain(wrap=False)
        self.retrain_button = QPushButton("Train again with these decisions")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.setSpacing(6)
        top, filters = QHBoxLayout(), QHBoxLayout()
        top.addWidget(self.scope, 1)
        top.addWidget(self.start_button, 1)
        filters.addWidget(self.behaviour, 1)
        filters.addWidget(self.reason, 1)
        self._filters = QWidget()
        filters.setContentsMargins(0, 0, 0, 0)
        self._filters.setLayout(filters)
        layout.addLayout(top)
        layout.addWidget(self._filters)
        layout.addWidget(self.bar)
        layout.addWidget(self.count)
        layout.addWidget(self.card)
        layout.addWidget(self.remark)
        layout.addWidget(self.retrain_button)
        layout.addStretch(1)
        self.start_button.clicked.connect(lambda: self.stop() if self.running else self.start())
        self.behaviour.activated.connect(self._filter)
        self.reason.activated.connect(self._filter)
        self.card.loop.toggled.connect(self._toggle_loop)
        self.retrain_button.clicked.connect(self.retrain)
        self.card.pressed.connect(self._trigger)
        self.card.sought.connect(self._session_seek)
        self.card.relabelled.connect(self._relabelled)

    def _trigger(self, name: str) -> None:
        self._session.actions.trigger(f"review_{name}")

    def _render(self) -> None:
        item, tally = self.queue.current, self.queue.tally
        project, labels = self._session.project, self._session.labels
        self.start_button.setText("Stop review" if self.running else "Start review")
        self.start_button.setEnabled(
            self._job is None and project is not None and bool(self._session.probe)
        )
        for widget in (self._filters, self.bar, self.count):
            widget.setVisible(len(self.queue) > 0)
        self.card.setVisible(self.running and item is not None)
        self.scope.setEnabled(not self.running)
        self.retrain_button.setVisible(self.queue.wants_training)
        done = tally.total - tally.left
        self.bar.setRange(0, max(tally.total, 1))
        self.bar.setValue(done)
        self.count.setText(
            f"{self.queue.place} of {tally.total} · {tally.accepted} accepted · "
            f"{tally.rejected} rejected · {tally.skipped} skipped"
        )
        self.card.show_keys(self._actions, self._session.keymap.key)
        if item is None or project is None or labels is None or not self.running:
            return
        self.card.show_candidate(item, project, self.queue.outcome)
        named = [n for n in subjects_of(labels.labelled(project, item.recording)) if n]
        ask = not item.subject and len(named) > 1
        self.card.offer_subjects(named if ask else (), self._session.subject)
