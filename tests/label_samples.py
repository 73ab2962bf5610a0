"""A project and a session for tests of labelling, without videos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ethoprism.ethogram import PALETTE, Behaviour, Ethogram
from ethoprism.project import Project, Settings
from ethoprism.recording import Recording
from ethoprism.recording_table import Entry, write_entries
from napari_ethoprism.session import Moment, Session

N_FRAMES = 1000
ETHOGRAM = Ethogram(
    tuple(
        Behaviour(name, key=key, colour=PALETTE[i], kind="point" if name == "touch" else "state")
        for i, (name, key) in enumerate(
            (("walk", "w"), ("rest", "r"), ("groom", "g"), ("touch", "t"))
        )
    ),
    (("walk", "rest"),),
)


def make_project(folder: Path) -> Project:
    """Two recordings, ``r`` and ``q``, of 1000 frames each."""
    project = Project.create(folder, Settings(), ETHOGRAM)
    entries = tuple(
        Entry(name, f"{name}.mp4", digit * 64, N_FRAMES, 8, 8)
        for name, digit in (("r", "0"), ("q", "1"))
    )
    write_entries(folder / "recordings.csv", entries)
    return replace(project, entries=entries)


def show(session: Session, frame: int, recording: str = "r") -> None:
    """Let the session stand at a frame, as the viewer does."""
    project = session.project
    assert project is not None
    entry = project.entry(recording)
    moment = session.moment
    if moment is None or moment.recording.id != recording:
        times = np.arange(N_FRAMES) / 25.0
        shown = Recording(
            recording, Path(entry.path), N_FRAMES, 8, 8, times, entry.content_key, None
        )
    else:
        shown = moment.recording
    session.moment = Moment(shown, frame)
