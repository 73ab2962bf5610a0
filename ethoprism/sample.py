"""A small labelled project from a registered data set, to try things on."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Generator
from pathlib import Path

from ethoprism import importing, registry, workflow
from ethoprism.ethogram import Ethogram
from ethoprism.files import storage_error
from ethoprism.progress import Progress
from ethoprism.project import MANIFEST, Project, Settings


def sample_project(
    folder: Path, *, dataset: str = "arena", recordings: int = 2, seconds: float = 20.0
) -> Generator[Progress, None, Project]:
    """The project ``folder/project`` of simulated recordings with their labels.

    It is made under another name and renamed, so that it is there whole or not at all. One that
    is there already is opened as it is, with whatever was done to it.

    Parameters
    ----------
    folder
        Where it lies, with its videos in ``folder/videos``.
    dataset
        Name of a data set in the registry that makes recordings.
    recordings, seconds
        How many, and how long each is.
    """
    if (folder / "project" / MANIFEST).is_file():
        yield Progress(1, 1)
        return Project.open(folder / "project")
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        steps = registry.load("datasets", dataset).make(
            temporary / "videos", recordings=recordings, seconds=seconds, seed=0
        )
        yield from steps
        _labelled(temporary)
        temporary.rename(folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Project.open(folder / "project")


def _labelled(folder: Path) -> None:
    """Make the project of the videos in a folder, and import the labels beside them."""
    project = Project.create(folder / "project", Settings(), Ethogram())
    for path in sorted((folder / "videos").glob("*.mp4")):
        project, name, _ = workflow.add_recording(project, path)
        request = importing.import_request(project, recording=name, observed="whole")
        labels = path.with_suffix(".bouts.csv")
        preview = importing.preview_import(project, labels, "bouts-csv", request)
        project = importing.apply_import(project, preview, description=f"import {labels.name}")
