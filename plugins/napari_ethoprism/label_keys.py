"""KeyMachine: what a behaviour's key means at a frame; pure, without Qt, napari or a store.

A key starts a run at the frame that is shown, and the same key ends it. A run holds all frames
between its anchor and the playhead, both included, so one may also label backwards. A member of an
exclusive group ends the one that runs. While the video stands still and frames are selected, a key
acts on the selection instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.ranges import Frames, union

Mode = Literal["label", "erase"]
Kind = Literal["label", "erase", "observe", "point"]

_PLAYED = 64
"""A step of up to so many frames while the video plays is playing, a longer one is a jump."""


@dataclass(frozen=True)
class Place:
    """Where a key is pressed.

    Attributes
    ----------
    recording, frame
        What is shown: the project's id, and the frame.
    subject
        Whose behaviour is labelled, or empty.
    playing
        Whether the video plays.
    selected
        Frames that are selected, by recording.
    """

    recording: str
    frame: int
    subject: str = ""
    playing: bool = False
    selected: tuple[tuple[str, tuple[Frames, ...]], ...] = ()


@dataclass(frozen=True)
class Run:
    """A bout that is being drawn, from its anchor to the playhead.

    Attributes
    ----------
    kind
        ``label``, ``erase``, or ``observe`` for all behaviours.
    behaviour
        Its name; empty for ``observe``.
    subject, recording
        Whose, and where; they stay as they were when it began.
    anchor, last
        Where it began, and the newest frame that was shown.
    """

    kind: Kind
    behaviour: str
    subject: str
    recording: str
    anchor: int
    last: int

    @property
    def frames(self) -> Frames:
        """All frames from the anchor to the last one, both included."""
        return min(self.anchor, self.last), max(self.anchor, self.last) + 1


@dataclass(frozen=True)
class Intent:
    """What is to be done to the labels: one kind, one behaviour, frames by recording."""

    kind: Kind
    behaviour: str
    subject: str
    frames: tuple[tuple[str, tuple[Frames, ...]], ...]


class KeyMachine:
    """What runs, and in which mode keys act. Each method returns what is to be done now."""

    def __init__(self) -> None:
        self.runs: tuple[Run, ...] = ()
        self.mode: Mode = "label"

    def press(self, behaviour: Behaviour, ethogram: Ethogram, place: Place) -> list[Intent]:
        """A behaviour's key: act on the selection, mark a point, or start or end a run."""
        kind: Kind = self.mode
        name = behaviour.name
        if place.selected and not place.playing:
            point = kind == "label" and behaviour.kind == "point"
            frames = _first_frames(place.selected) if point else place.selected
            return [Intent("point" if point else kind, name, place.subject, frames)]
        if behaviour.kind == "point":
            at = (place.frame, place.frame + 1)
            done: Kind = "point" if kind == "label" else kind
            return [Intent(done, name, place.subject, ((place.recording, (at,)),))]
        same = self._find(name, place)
        if same is not None:
            return [self._end(same)]
        done_now: list[Intent] = []
        if kind == "label":
            rivals = next((g for g in ethogram.exclusive if name in g), ())
            for run in self.runs:
                if run.behaviour in rivals and _is_of(run, place) and run.kind == "label":
                    # The frame that is shown belongs to the behaviour that begins with it.
                    done_now.extend(self._end_before(run, place.frame))
        run = Run(kind, name, place.subject, place.recording, place.frame, place.frame)
        self.runs = (*self.runs, run)
        return done_now

    def moved(self, place: Place) -> list[Intent]:
        """Another frame is shown. Runs of another recording end at the last frame seen there."""
        done = [self._end(run) for run in self.runs if run.recording != place.recording]
        for run in self.runs:
            if run.kind == "observe" and _jumped(run.last, place):
                done.append(self._end(run))
                self.runs = (*self.runs, replace(run, anchor=place.frame, last=place.frame))
        self.runs = tuple(
            replace(run, last=place.frame) if run.recording == place.recording else run
            for run in self.runs
        )
        return [intent for intent in done if intent.frames]

    def observe(self, place: Place) -> list[Intent]:
        """Begin to count all that is played as observed, or stop that."""
        mine = next((run for run in self.runs if run.kind == "observe"), None)
        if mine is not None:
            return [self._end(mine)]
        run = Run("observe", "", place.subject, place.recording, place.frame, place.frame)
        self.runs = (*self.runs, run)
        return []

    def end_all(self) -> list[Intent]:
        """End all runs at the last frame that was shown."""
        return [self._end(run) for run in self.runs]

    def cancel(self) -> tuple[Run, ...]:
        """Drop all runs; they are returned, and nothing of them is labelled."""
        dropped, self.runs = self.runs, ()
        return dropped

    def _find(self, behaviour: str, place: Place) -> Run | None:
        return next(
            (run for run in self.runs if run.behaviour == behaviour and _is_of(run, place)), None
        )

    def _end(self, run: Run) -> Intent:
        self.runs = tuple(other for other in self.runs if other is not run)
        return Intent(run.kind, run.behaviour, run.subject, ((run.recording, (run.frames,)),))

    def _end_before(self, run: Run, frame: int) -> list[Intent]:
        start, stop = replace(run, last=frame).frames
        frames = (start, frame) if run.anchor < frame else (frame + 1, stop)
        self.runs = tuple(other for other in self.runs if other is not run)
        if frames[1] <= frames[0]:
            return []
        return [Intent(run.kind, run.behaviour, run.subject, ((run.recording, (frames,)),))]


def by_recording(
    spans: Iterable[tuple[str, int, int]],
) -> tuple[tuple[str, tuple[Frames, ...]], ...]:
    """Spans of several recordings, in order and joined, by recording."""
    found: dict[str, list[Frames]] = {}
    for recording, start, stop in spans:
        found.setdefault(recording, []).append((start, stop))
    return tuple((name, tuple(union(frames))) for name, frames in found.items())


def _is_of(run: Run, place: Place) -> bool:
    return (run.recording, run.subject) == (place.recording, place.subject)


def _jumped(last: int, place: Place) -> bool:
    step = place.frame - last
    return not (0 <= step <= _PLAYED if place.playing else abs(step) <= 1)


def _first_frames(
    selected: tuple[tuple[str, tuple[Frames, ...]], ...],
) -> tuple[tuple[str, tuple[Frames, ...]], ...]:
    return tuple(
        (name, tuple((start, start + 1) for start, _ in frames)) for name, frames in selected
    )
