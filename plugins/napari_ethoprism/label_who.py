"""WhoPanel: whose behaviour is labelled, and who labels."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QLineEdit, QWidget

from ethoprism import workflow
from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from napari_ethoprism.looks import flat_button, form, plain, spacing
from napari_ethoprism.session import Session

_NOBODY = "no subject"


class WhoPanel(QWidget):
    """The focal subject, the annotator, and blind labelling.

    Parameters
    ----------
    session
        Whose subject and labels.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.subject = QComboBox()
        self.subject.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.subject.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.new_button = flat_button("+", "Add a subject: type its name")
        self.new_button.setCheckable(True)
        self.annotator = QLineEdit()
        self.annotator.setPlaceholderText("nobody in particular")
        self.annotator.setToolTip(
            "Your name goes on new labels. With a name you change your own labels and unsigned "
            "ones; without one, everybody's, and they keep their authors."
        )
        self.blind = QCheckBox("Blind")
        self.blind.setToolTip("Show your own labels alone. Needs your name.")
        layout: QFormLayout = form(self)
        layout.addRow(
            plain("Subject", wrap=False, faint=True), self._row(self.subject, self.new_button)
        )
        layout.addRow(
            plain("Annotator", wrap=False, faint=True), self._row(self.annotator, self.blind)
        )
        self.setLayout(layout)
        self.subject.activated.connect(self._chosen)
        self.new_button.toggled.connect(self._type_name)
        self.annotator.editingFinished.connect(self._reopen)
        self.blind.clicked.connect(self._reopen)
        for event in (session.events.subject, session.events.labels, session.events.moment):
            event.connect(self.render_who)
        self._entry = ""
        self._names: tuple[str, ...] = ()
        self._tracked: tuple[str, ...] = ()
        self.render_who()

    def detach(self) -> None:
        """Stop listening."""
        events = self._session.events
        for event in (events.subject, events.labels, events.moment):
            event.disconnect(self.render_who, missing_ok=True)

    def names(self) -> tuple[str, ...]:
        """The subjects to choose from: of tracks and labels of the recording, and the chosen."""
        return self._names

    def step(self, by: int) -> None:
        """Choose the next subject, or the one before."""
        self.look()
        names = ("", *self._names) if "" in self._labelled() or not self._names else self._names
        current = self._session.subject
        at = names.index(current) if current in names else (-1 if by > 0 else 0)
        self._session.subject = names[(at + by) % len(names)]

    def look(self) -> None:
        """Read anew which subjects there are."""
        found = dict.fromkeys(
            (*self._tracked, *sorted(self._labelled()), self._session.subject, *self._names)
        )
        self._names = tuple(name for name in found if name)
        self._fill()

    def render_who(self) -> None:
        """Show the subject and the annotator."""
        entry = self._session.entry
        name = "" if entry is None else entry.id
        if name != self._entry:
            self._entry, self._names, self._tracked = name, (), ()
            self.look()
            self._read_tracks(name)
        elif self._session.subject not in ("", *self._names):
            self.look()
        at = self.subject.findData(self._session.subject)
        if not self.subject.isEditable():
            self.subject.setCurrentIndex(max(at, 0))
        labels = self._session.labels
        for widget in (self.annotator, self.blind):
            widget.setEnabled(labels is not None)
        if labels is not None and not self.annotator.hasFocus():
            self.annotator.setText(labels.annotator)
            self.blind.setChecked(labels.blind)
        self.blind.setEnabled(labels is not None and bool(self.annotator.text().strip()))

    def _read_tracks(self, recording: str) -> None:
        project = self._session.project
        if project is None or not recording or not project.tracks_path(recording).exists():
            return

        def done(names: tuple[str, ...]) -> None:
            if recording == self._entry:
                self._tracked = names
                self.look()
                self.render_who()

        self._session.jobs.start(
            "Read the subjects",
            partial(_tracked_names, project, recording),
            lane="subjects",
            on_done=done,
            on_error=lambda _: None,  # the project dock tells of tracks that cannot be read
        )

    def _labelled(self) -> set[str]:
        labels, entry = self._session.labels, self._session.entry
        if labels is None or entry is None:
            return set()
        tables = (labels.bouts(entry.id), labels.spans(entry.id))
        return {str(name) for table in tables for name in table["subject"].unique()}

    def _fill(self) -> None:
        self.subject.clear()
        self.subject.addItem(_NOBODY, "")
        for name in self._names:
            self.subject.addItem(name, name)
        self.subject.setToolTip(self._tip())

    def _tip(self) -> str:
        keys = [self._session.keymap.key(n) for n in ("next_subject", "previous_subject")]
        text = "Whose behaviour the keys label"
        return f"{text} ({', '.join(filter(None, keys))} for the next and the one before)"

    def _chosen(self, at: int) -> None:
        if not self.subject.isEditable():
            self._session.subject = self.subject.itemData(at) or ""

    def _type_name(self, on: bool) -> None:
        self.subject.setEditable(on)
        line = self.subject.lineEdit()
        if on and line is not None:
            line.clear()
            line.setPlaceholderText("name, then Return")
            line.returnPressed.connect(self._named)
            line.setFocus(Qt.FocusReason.OtherFocusReason)
        else:
            self.render_who()

    def _named(self) -> None:
        line = self.subject.lineEdit()
        name = "" if line is None else line.text().strip()
        self.new_button.setChecked(False)
        if name:
            self._session.subject = name

    def _reopen(self) -> None:
        """Open the labels as another annotator, or blind."""
        session, labels, project = self._session, self._session.labels, self._session.project
        name = self.annotator.text().strip()
        blind = self.blind.isChecked() and bool(name)
        if labels is None or project is None or (name, blind) == (labels.annotator, labels.blind):
            return
        try:
            session.open_project(project, annotator=name, blind=blind)
        except EthoPrismError as error:
            session.notify(error)
        self.render_who()

    def _row(self, wide: QWidget, narrow: QWidget) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(spacing(self))
        row.addWidget(wide, 1)
        row.addWidget(narrow)
        return row


def _tracked_names(project: Project, recording: str) -> tuple[str, ...]:
    return tuple(track.subject for track in workflow.tracks_of(project, recording))
