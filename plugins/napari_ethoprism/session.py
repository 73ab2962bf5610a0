"""Session: what one viewer shows, as evented state; no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from psygnal import SignalGroupDescriptor

from ethoprism.project import Project
from ethoprism.recording import Recording


@dataclass(frozen=True)
class Moment:
    """A frame of a recording; ``frame`` is None where the viewer stands outside the recording."""

    recording: Recording
    frame: int | None

    @property
    def time(self) -> float | None:
        """Seconds at which the frame is presented, as the recording's container states them."""
        return None if self.frame is None else float(self.recording.frame_times[self.frame])


@dataclass(eq=False)
class Session:
    """The state of one viewer; ``events.moment`` and ``events.project`` tell of every change.

    Recording and frame change together, so that no one sees a frame of another recording.
    """

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
    moment: Moment | None = None
    project: Project | None = None

    @property
    def recording(self) -> Recording | None:
        """The recording that is shown."""
        return None if self.moment is None else self.moment.recording

    @property
    def frame(self) -> int | None:
        """The frame that is shown."""
        return None if self.moment is None else self.moment.frame
