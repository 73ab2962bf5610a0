"""The projects that were opened last, kept in the user's own configuration; no Qt."""

from __future__ import annotations

import json
from pathlib import Path

from platformdirs import user_config_path

from ethoprism.errors import EthoPrismError
from ethoprism.files import write_json
from ethoprism.project import MANIFEST

MOST = 12


class RecentProjects:
    """Folders of projects, the newest first.

    Parameters
    ----------
    path
        File that keeps them; by default one in the user's configuration folder. Where it cannot
        be read or written, nothing is remembered, and nobody is bothered.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or user_config_path("ethoprism") / "recent_projects.json"

    def folders(self) -> list[Path]:
        """Those that are still there."""
        return [folder for folder in self._read() if _is_project(folder)]

    def add(self, folder: Path) -> None:
        """Put a project first."""
        folder = folder.resolve()
        kept = [other for other in self._read() if other != folder]
        names = [str(path) for path in [folder, *kept][:MOST]]
        try:
            write_json(self._path, {"projects": names})
        except (EthoPrismError, OSError):
            return

    def _read(self) -> list[Path]:
        try:
            names = json.loads(self._path.read_text(encoding="utf-8"))["projects"]
            return [Path(name) for name in names if isinstance(name, str)]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []


def _is_project(folder: Path) -> bool:
    try:
        return (folder / MANIFEST).is_file()
    except (OSError, ValueError):
        return False
