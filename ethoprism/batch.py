"""Steps of a project for many recordings at once, where one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ethoprism import registry, workflow
from ethoprism.errors import EthoPrismError, InputError, StorageError
from ethoprism.estimate import rows_left
from ethoprism.frame_source import Reader
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import FFMPEG, ImportReport, reader_of
from ethoprism.subjects import Unit, units

if TYPE_CHECKING:  # it imports jax
    from ethoprism.backbones.spec import Backbone

VIDEO_ENDINGS = (
    *(".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts"),
    *(".wmv", ".flv", ".mj2", ".ogv", ".3gp"),
)
"""Endings of files that are taken for videos where a whole folder is given, in lower case."""


@dataclass(frozen=True)
class Added:
    """What came of adding one path: a recording and the report of its import, or an error.

    ``damaged`` is true where the recording can be read in part, so that it could be added as far
    as it can be read.
    """

    path: Path
    recording: str = ""
    report: ImportReport | None = None
    error: EthoPrismError | None = None
    damaged: bool = False


@dataclass(frozen=True)
class Extracted:
    """What came of a batch: the names of the units that are complete, and what failed."""

    complete: tuple[str, ...]
    failed: tuple[tuple[str, EthoPrismError], ...]


def find_recordings(paths: Iterable[Path]) -> list[Path]:
    """The recordings among files and folders.

    A file stands for itself. A folder that is a recording, such as one of images, does too;
    another one for the videos that lie in it.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir() and reader_of(path).name == FFMPEG:
            inside = sorted(path.iterdir())
            found += [p for p in inside if p.is_file() and p.suffix.lower() in VIDEO_ENDINGS]
        else:
            found.append(path)
    return list(dict.fromkeys(found))


def add_recordings(
    project: Project, paths: Sequence[Path], *, accept_damaged: bool = False
) -> Generator[Progress, None, tuple[Added, ...]]:
    """Add recordings to a project; what fails is said, and the others are added.

    Yields
    ------
    Progress in recordings.

    Raises
    ------
    InputError
        If there is no recording among the paths.
    StorageError
        If the project cannot be written.
    """
    found = find_recordings(paths)
    if not found:
        raise InputError(
            "There is no recording there",
            expected="videos, or folders of videos or images",
            found=", ".join(path.name for path in paths),
        )
    made = []
    for number, path in enumerate(found):
        yield Progress(number, len(found), path.name)
        try:
            project, name, report = workflow.add_recording(
                project, path, accept_damaged=accept_damaged
            )
        except StorageError:
            raise
        except EthoPrismError as error:
            damaged = "accept_damaged" in error.remedy
            made.append(Added(path, error=error, damaged=damaged))
        else:
            made.append(Added(path, name, report))
    yield Progress(len(found), len(found))
    return tuple(made)


def relink(project: Project, recording: str, path: Path) -> Project:
    """This project with the place renewed where a recording's video lies.

    Raises
    ------
    InputError
        If the file is not the one that was added.
    """
    entry = project.entry(recording)
    reader: Reader = registry.load("readers", entry.reader)
    if reader.content_key(path) != entry.content_key:
        raise InputError(
            f"{path.name} is not the video of {recording!r}",
            expected=f"the file that was added, {entry.n_frames} frames",
            found="a file with other content",
            remedy="Choose the original, or a copy of it under any name. Nothing was changed.",
        )
    return project.with_path(recording, path)


def extract_batch(
    project: Project, backbone: Backbone, recordings: Sequence[str] = ()
) -> Generator[Progress, None, Extracted]:
    """Extract the tokens of recordings, all by default; what is there already is kept.

    Yields
    ------
    Progress in sampled frames of all of them together; ``note`` names the unit.

    Raises
    ------
    StorageError
        If the disk does not hold the tokens. What was finished is kept.
    """
    key = workflow.project_key(project, backbone)
    chosen: list[Unit] = []
    failed: list[tuple[str, EthoPrismError]] = []
    for name in recordings or project.recording_ids:
        try:
            chosen += units(project, key.crop, [name])
        except EthoPrismError as error:
            failed.append((name, error))
    rows = {unit: -(-project.entry(unit.recording).n_frames // key.step) for unit in chosen}
    done = dict.fromkeys(chosen, 0)
    for unit in chosen:
        try:
            done[unit] = rows[unit] - rows_left(project, key, unit)
        except EthoPrismError as error:  # tokens of a former region, or damaged ones
            failed.append((unit.name, error))
    left_out = {name for name, _ in failed}
    chosen = [unit for unit in chosen if unit.name not in left_out]
    total, complete = sum(rows[unit] for unit in chosen), []
    yield Progress(sum(done[unit] for unit in chosen), total, chosen[0].name if chosen else "")
    for unit in chosen:
        try:
            for step in workflow.extract_unit(project, backbone, key, unit):
                done[unit] = step.done
                yield Progress(sum(done[u] for u in chosen), total, unit.name)
        except StorageError:
            raise
        except EthoPrismError as error:
            failed.append((unit.name, error))
        else:
            complete.append(unit.name)
    return Extracted(tuple(complete), tuple(failed))
