"""Sessions of a project: recordings that are views of the same events, and how their clocks run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ethoprism.errors import InputError, ProjectError
from ethoprism.project import Entry, Project
from ethoprism.recording import check_name
from ethoprism.views import Clock, fit_clock, matching_frames


def set_view(project: Project, recording: str, session: str, clock: Clock) -> Project:
    """This project with a recording as a view of a session; an empty name takes it out."""
    if session:
        check_name(session, "session")
    entry = project.entry(recording)
    drift = clock.drift if session else 0.0
    offset = clock.offset if session else 0.0
    return project.with_entry(replace(entry, session=session, offset=offset, drift=drift))


def views_of(project: Project, session: str) -> list[Entry]:
    """The views of a session; a `ProjectError` that lists the sessions if it has none."""
    found = [entry for entry in project.entries if entry.session == session and session]
    if not found:
        known = dict.fromkeys(e.session for e in project.entries if e.session)
        raise ProjectError(
            f"The project has no session {session!r}", expected=", ".join(known) or "none so far"
        )
    return found


def clock_of(entry: Entry) -> Clock:
    """The clock of a view."""
    return Clock(entry.offset, entry.drift)


def clock_from_matches(
    project: Project, reference: str, other: str, frames: Sequence[tuple[int, int]]
) -> tuple[Clock, float]:
    """The clock of ``other`` from frames that show the same moment as frames of ``reference``.

    Parameters
    ----------
    project
        The project; where ``reference`` is no view of a session, its clock is the session's.
    reference, other
        Recordings.
    frames
        Pairs: a frame of the reference, and the frame of the other that shows the same moment. One
        pair gives the offset, two or more the drift as well.

    Returns
    -------
    The clock, and the largest deviation of a pair from it in seconds.
    """
    mine, theirs = project.frame_times(reference), project.frame_times(other)
    for a, b in frames:
        if not (0 <= a < len(mine) and 0 <= b < len(theirs)):
            raise InputError(
                "There is no such frame",
                expected=f"0 to {len(mine) - 1} of {reference}, 0 to {len(theirs) - 1} of {other}",
                found=f"{a} and {b}",
            )
    pairs = np.array(frames, np.int64).reshape(-1, 2)
    session = clock_of(project.entry(reference)).session(mine[pairs[:, 0]])
    return fit_clock(theirs[pairs[:, 1]], session)


def correspondences(project: Project, session: str) -> pd.DataFrame:
    """One row per frame of the session's first view: its time, and the frame of each other view.

    Columns: ``session_s``, then one per view with frame numbers; empty where a view shows nothing
    within half a frame's interval.
    """
    views = views_of(project, session)
    times = [clock_of(entry).session(project.frame_times(entry.id)) for entry in views]
    table = pd.DataFrame({"session_s": times[0], views[0].id: np.arange(len(times[0]))})
    for entry, moments in zip(views[1:], times[1:], strict=True):
        frames = pd.Series(matching_frames(times[0], moments), dtype="Int64")
        table[entry.id] = frames.mask(frames < 0)
    return table
