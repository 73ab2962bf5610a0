"""Opening a project in a session, with what the user should know of it; no Qt."""

from __future__ import annotations

from pathlib import Path

from ethoprism.errors import EthoPrismError
from ethoprism.project import Project
from napari_ethoprism.session import Session


def open_project(session: Session, folder: Path | str) -> bool:
    """Open the project in ``folder``; whether it could be. The user is told why not."""
    try:
        session.open_project(Project.open(Path(folder)))
    except EthoPrismError as error:
        session.notify(error)
        return False
    return True
