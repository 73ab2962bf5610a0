"""Player: plays the recording that is shown at its true times, or frame by frame."""

from __future__ import annotations

import math
import time
from collections import deque

from qtpy.QtCore import QObject, Qt, QTimer

from napari_ethoprism.links import Links
from napari_ethoprism.moments import Schedule
from napari_ethoprism.session import Moment, Playback, Session

SLOWEST, FASTEST = 0.1, 8.0
_SOON_S = 0.004  # after which a frame that is not there yet is asked for again
_REPORT_S = 0.25  # between two reports of how playing goes
_MEASURED_S = 1.0  # over which the speed is measured


class Player(QObject):
    """Moves a session through its recording while the session is playing.

    A frame is shown when it is due and has been decoded. To keep time, frames that are late are
    left out and counted; otherwise each frame is shown, and playing takes as long as it takes.
    Moving elsewhere while the video plays goes on from there; at the last frame playing stops.

    Parameters
    ----------
    session
        Its ``playing``, ``speed`` and ``every_frame`` are obeyed; ``playback`` tells how it goes.
    """

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._schedule: Schedule | None = None
        self._next: int | None = None
        self._shown: int | None = None
        self._moving = False
        self._dropped = 0
        self._reported = 0.0
        self._marks: deque[tuple[float, float]] = deque()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)
        events = session.events
        self._links = links = Links()
        links.add(events.playing, self._switched)
        links.add(events.speed, self._begin_again)
        links.add(events.every_frame, self._begin_again)
        links.add(events.moment, self._moved)

    def close(self) -> None:
        """Stop playing and stop listening."""
        self._timer.stop()
        self._links.cut()
        self._session.playing = False

    def _switched(self, playing: bool) -> None:
        self._timer.stop()
        moment = self._session.moment
        if not playing:
            self._report(time.perf_counter(), last=True)
            return
        if moment is None or moment.frame is None:
            self._session.playing = False
            return
        self._dropped = 0
        self._marks.clear()
        self._session.playback = Playback()
        if moment.frame == moment.recording.n_frames - 1:
            self._session.seek(0)
        self._begin_again()

    def _begin_again(self) -> None:
        """Go on from the frame that is shown, now."""
        moment = self._session.moment
        if not self._session.playing or moment is None or moment.frame is None:
            return
        speed = min(max(self._session.speed, SLOWEST), FASTEST)
        now = time.perf_counter()
        self._schedule = Schedule(moment.recording.frame_times, moment.frame, now, speed)
        self._shown, self._next = moment.frame, None
        self._marks.clear()
        self._timer.start(0)

    def _moved(self, new: Moment | None, old: Moment | None) -> None:
        if self._moving or not self._session.playing:
            return
        if new is None or new.frame is None or old is None or new.recording is not old.recording:
            self._session.playing = False
        elif new.frame != self._shown:
            self._begin_again()

    def _tick(self) -> None:
        schedule, shown = self._schedule, self._shown
        if not self._session.playing or schedule is None or shown is None:
            return
        now = time.perf_counter()
        if shown >= len(schedule.frame_times) - 1:
            self._session.playing = False
            return
        if self._next is None:
            self._next = shown + 1
            if not self._session.every_frame:
                self._next = max(self._next, schedule.frame_at(now))
        if self._ready(self._next) and now >= schedule.due(self._next):
            latest = self._next if self._session.every_frame else schedule.frame_at(now)
            if latest > self._next and self._ready(latest):
                self._next = latest
            self._show(self._next, now)
            now = time.perf_counter()
        self._timer.start(self._pause(now))

    def _ready(self, n: int) -> bool:
        frames = self._session.frames
        return frames is None or frames.prepare(n)

    def _pause(self, now: float) -> int:
        """Milliseconds until there is something to do."""
        schedule, shown = self._schedule, self._shown
        if schedule is None or shown is None:
            return 0
        coming = min(shown + 1, len(schedule.frame_times) - 1) if self._next is None else self._next
        wait = schedule.due(coming) - now
        if wait <= 0 and self._next is not None:
            wait = _SOON_S  # it is being decoded
        return max(math.ceil(wait * 1000), 1)

    def _show(self, n: int, now: float) -> None:
        schedule, shown = self._schedule, self._shown
        if schedule is None or shown is None:
            return
        self._dropped += n - shown - 1
        self._shown, self._next = n, None
        self._moving = True
        try:
            self._session.seek(n)
        finally:
            self._moving = False
        late = time.perf_counter() - schedule.due(n)
        if self._session.every_frame and late > _SOON_S:
            # What was late is not caught up with.
            self._schedule = Schedule(schedule.frame_times, n, now, schedule.speed)
        self._marks.append((now, float(schedule.frame_times[n])))
        while now - self._marks[0][0] > _MEASURED_S:
            self._marks.popleft()
        self._report(now)

    def _report(self, now: float, *, last: bool = False) -> None:
        if not last and now - self._reported < _REPORT_S:
            return
        self._reported = now
        speed = 0.0
        if len(self._marks) > 1:
            (first, begin), (final, end) = self._marks[0], self._marks[-1]
            speed = (end - begin) / max(final - first, 1e-9)
        self._session.playback = Playback(self._dropped, speed)
