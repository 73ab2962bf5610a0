"""Runs on the disk: what is being labelled when a program is killed is labelled at the next start.

The file holds the runs as they were about a second ago. It is the session's own; whoever holds the
lock of the labels writes it, and it is gone when nothing runs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from ethoprism.errors import EthoPrismError
from ethoprism.files import write_json
from ethoprism.project import Project
from napari_ethoprism.label_keys import Run

_MOST_BYTES = 1 << 20


def running_path(project: Project) -> Path:
    """Where a project's runs are kept."""
    return project.annotations_path.with_suffix(".running.json")


def write_runs(path: Path, runs: Sequence[Run]) -> str:
    """Put the runs on the disk, whole or not at all; why that was not possible, or empty."""
    try:
        if runs:
            write_json(path, [asdict(run) for run in runs])
        else:
            path.unlink(missing_ok=True)
    except (EthoPrismError, OSError) as error:
        return str(error)
    return ""


def read_runs(path: Path, project: Project) -> tuple[Run, ...]:
    """The runs that were left, as far as they make sense in the project."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        if path.stat().st_size > _MOST_BYTES:
            return ()
        runs = [Run(**row) for row in json.loads(path.read_text(encoding="utf-8"))]
        return tuple(run for run in runs if _makes_sense(run, project))
    return ()


def _makes_sense(run: Run, project: Project) -> bool:
    n_frames = project.n_frames.get(run.recording, 0)
    texts = (run.kind, run.behaviour, run.subject, run.recording)
    return (
        all(isinstance(text, str) for text in texts)
        and run.kind in ("label", "erase", "observe")
        and all(type(f) is int and 0 <= f < n_frames for f in (run.anchor, run.last))
        and (run.kind == "observe" or run.behaviour in project.ethogram)
    )
