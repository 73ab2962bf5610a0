"""Session: what one viewer shows, as evented state; no Qt.

It is the one mutable object of the workbench. Docks read it, change it and listen to it; they do
not know each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

from psygnal import Signal, SignalGroupDescriptor

from ethoprism.errors import EthoPrismError
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Decision, Prediction
from ethoprism.project import Project
from ethoprism.recording import Recording
from ethoprism.recording_table import Entry
from napari_ethoprism.actions import Actions
from napari_ethoprism.jobs import Jobs
from napari_ethoprism.keymap import KeyMap
from napari_ethoprism.label_keys import Run
from napari_ethoprism.labels import Labels


@dataclass(frozen=True)
class Moment:
    """A frame of a recording; ``frame`` is None where the viewer stands outside the recording."""

    recording: Recording
    frame: int | None

    @property
    def time(self) -> float | None:
        """Seconds at which the frame is presented, as the recording's container states them."""
        return None if self.frame is None else float(self.recording.frame_times[self.frame])


@dataclass(frozen=True, order=True)
class Span:
    """Frames ``start`` to ``stop``, half-open, of one of the project's recordings."""

    recording: str
    start: int
    stop: int


@dataclass(frozen=True)
class Selection:
    """Frames that are selected, as spans in order that do not overlap.

    ``origin`` names the dock that selected them (``timeline``, ``map``, ``review``), so that it
    does not answer its own change. ``subject`` is whose moments they are, or empty.
    """

    spans: tuple[Span, ...]
    origin: str = ""
    subject: str = ""


@dataclass(frozen=True, eq=False)
class ShownPrediction:
    """A prediction of the recording that is shown, and how it becomes bouts.

    ``recording`` is the project's id; the subject is the prediction's. ``trained`` is false where
    the backbone's weights are random, which every place that shows the prediction says.
    """

    recording: str
    probe: str
    prediction: Prediction
    decision: Decision
    trained: bool


@dataclass(frozen=True)
class Notice:
    """What the user is told, in plain text: what happened and, if it is a problem, the remedy."""

    text: str
    kind: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Playback:
    """How playing goes: frames that were left out to keep time, and the speed that is reached.

    ``speed`` is in seconds of the recording a second; 0 while it is not known.
    """

    dropped: int = 0
    speed: float = 0.0


@runtime_checkable
class Frames(Protocol):
    """What delivers the frames of the recording that is shown."""

    def prepare(self, n: int) -> bool:
        """Whether frame ``n`` can be shown at once; it is fetched where it cannot."""
        ...

    def problem(self, n: int) -> str:
        """Why frame ``n`` is black; empty where it is not, and where that is not known yet."""
        ...


@dataclass(eq=False)
class Session:
    """The state of one workbench. ``events.<field>`` is emitted with (new, old) on each change.

    Recording and frame change together, so that no one sees a frame of another recording.

    Attributes
    ----------
    moment
        What the viewer shows. Docks do not set it; they call `seek` or `show`.
    project
        The project that is open. Set through `open_project`.
    labels
        Its labels, or None without a project. ``labels.changed`` tells of edits.
    subject
        The focal subject that labels are given to, or empty.
    behaviour
        The behaviour that is chosen, or empty.
    running
        Bouts that are being drawn by keys, from their anchor to the playhead. Set by the labels'
        commands alone.
    erasing
        Whether behaviours' keys erase.
    selection
        What is selected, on the timeline, the map or in the review.
    probe
        Name of the probe whose predictions are shown, or empty.
    predictions
        Predictions of the recording that is shown, one for each subject.
    playing, speed
        Whether the video plays, and how fast: 1.0 is true time.
    every_frame
        Whether every frame is played, however long that takes; frames may be left out otherwise.
    playback
        How playing goes.
    frames
        What delivers the frames of the recording that is shown.
    decoding
        The frame that is still being decoded while the viewer stands at it and shows a veiled
        picture; None when what it shows is exact.
    actions
        What keys and buttons can do.
    jobs
        Library work in worker threads.
    keymap
        Which key does what: the actions' keys, and the user's own.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
    sought: ClassVar[Signal] = Signal(str, int)
    """A dock asks to see a frame: the project's id of the recording, or empty for the one shown."""
    noticed: ClassVar[Signal] = Signal(Notice)
    """Something is to be told to the user."""
    labels_closing: ClassVar[Signal] = Signal()
    """The labels are about to be closed: what is not saved yet is to be saved now."""

    moment: Moment | None = None
    project: Project | None = None
    labels: Labels | None = None
    subject: str = ""
    behaviour: str = ""
    running: tuple[Run, ...] = ()
    erasing: bool = False
    selection: Selection | None = None
    probe: str = ""
    predictions: tuple[ShownPrediction, ...] = ()
    playing: bool = False
    speed: float = 1.0
    every_frame: bool = False
    playback: Playback = Playback()
    frames: Frames | None = None
    decoding: int | None = None
    actions: Actions = field(default_factory=Actions)
    jobs: Jobs = field(default_factory=Jobs)
    keymap: KeyMap = field(init=False)

    def __post_init__(self) -> None:
        self.keymap = KeyMap(self.actions)

    @property
    def recording(self) -> Recording | None:
        """The recording that is shown."""
        return None if self.moment is None else self.moment.recording

    @property
    def frame(self) -> int | None:
        """The frame that is shown."""
        return None if self.moment is None else self.moment.frame

    @property
    def entry(self) -> Entry | None:
        """The project's line of the recording that is shown, known by its content, if any."""
        if self.project is None or self.recording is None:
            return None
        key = self.recording.content_key
        return next((e for e in self.project.entries if e.content_key == key), None)

    def open_project(
        self, project: Project, *, annotator: str | None = None, blind: bool | None = None
    ) -> None:
        """Show another project, or the same one anew; the former one's labels are closed.

        Parameters
        ----------
        project
            The project as it is on the disk now.
        annotator, blind
            Who labels, and whether others' labels are hidden; by default as before where it is the
            same project, and nobody in particular in another one.

        Raises
        ------
        EthoPrismError
            If the labels cannot be read. Another project that was open stays open then; the same
            one is left without labels.
        """
        same = self.project is not None and self.project.folder == project.folder
        former = self.labels
        kept = former if same else None
        if annotator is None:
            annotator = kept.annotator if kept is not None else ""
        if blind is None:
            blind = kept.blind if kept is not None else False
        if former is not None:
            self.labels_closing.emit()
        if former is not None and same:
            self._leave(former)  # it holds the lock that is needed now
            self.labels = None
        labels = Labels(project, annotator=annotator, blind=blind)
        if former is not None and not same:
            self._leave(former)
        self.selection = None
        self.predictions = ()
        if not same:
            self.probe = ""
        self.project = project
        self.labels = labels

    def _leave(self, labels: Labels) -> None:
        """Close labels, and tell if an edit of them was refused; they are closed all the same."""
        try:
            labels.close()
        except EthoPrismError as error:
            self.notify(error)

    def change_ethogram(self, ethogram: Ethogram) -> None:
        """Write another ethogram into the project; the labels stay as they are.

        Raises
        ------
        EthoPrismError
            If the project's file cannot be written, or another program changed it.
        """
        if self.project is not None:
            self.project = self.project.with_ethogram(ethogram)

    def seek(self, frame: int, recording: str = "") -> None:
        """Ask the viewer to show a frame, of the recording that is shown if none is named."""
        self.sought.emit(recording, int(frame))

    def show(self, recording: str) -> None:
        """Ask the viewer to show another of the project's recordings, where it was left."""
        self.sought.emit(recording, -1)

    def notify(
        self, message: str | EthoPrismError, kind: Literal["info", "warning", "error"] = "info"
    ) -> None:
        """Tell the user something; an error is told as one, with its remedy."""
        if isinstance(message, EthoPrismError):
            kind = "error"
        self.noticed.emit(Notice(str(message), kind))

    def hush(self) -> None:
        """Tell nobody of anything any more: the docks are about to go."""
        self.events.disconnect()
        for signal in (self.sought, self.noticed, self.actions.changed):
            signal.disconnect()
        for signal in (self.jobs.changed, self.jobs.failed):
            signal.disconnect()
        if self.labels is not None:
            self.labels.changed.disconnect()

    def close(self) -> None:
        """Close the labels; nobody is told. Jobs are closed by the workbench."""
        self.hush()
        if self.labels is not None:
            self.labels_closing.emit()
            self.labels.close()
            self.labels = None
