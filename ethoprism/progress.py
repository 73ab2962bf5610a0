"""Progress of long work: every long task is a generator of these.

The command line and the GUI consume the same generator. Closing it cancels cleanly; starting the
task again goes on from where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a task has come: ``done`` of ``total`` units, and what it is doing."""

    done: int
    total: int
    note: str = ""
