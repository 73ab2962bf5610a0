"""Opens video files and project folders in napari; a recording is one image layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ethoprism.errors import ProjectError
from ethoprism.project import MANIFEST, Project
from ethoprism.recording import FFMPEG, Recording, open_recording, reader_of
from napari_ethoprism._video_array import VideoArray

LayerData = tuple[VideoArray, dict[str, Any], str]
PathOrPaths = str | Sequence[str]


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """The function that reads ``path``, or None for another folder or for several paths."""
    single = _single(path)
    if single is None:
        return None
    if (single / MANIFEST).is_file():
        return read_project
    # A folder may be a recording as well: images, a zarr array, an imgstore.
    if single.is_dir() and reader_of(single).name == FFMPEG:
        return None
    return read_video


def read_video(path: PathOrPaths) -> list[LayerData]:
    """The layer of a video file.

    Raises
    ------
    VideoError
        If the file is no video, or is damaged.
    """
    recording, report = open_recording(_one(path))
    return [recording_layer(recording, warnings=report.warnings)]


def read_project(path: PathOrPaths) -> list[LayerData]:
    """The layer of a project's first recording, whose metadata name the project's folder.

    Raises
    ------
    ProjectError
        If the project cannot be read, or has no recording yet.
    """
    project = Project.open(_one(path))
    if not project.recording_ids:
        raise ProjectError(
            f"The project {project.folder} has no recordings yet",
            remedy=f"Add some with: ethoprism add {project.folder} VIDEO",
        )
    recording = project.recording(project.recording_ids[0])
    return [recording_layer(recording, project=project.folder)]


def recording_layer(
    recording: Recording, project: Path | None = None, warnings: Sequence[str] = ()
) -> LayerData:
    """The image layer of a recording; no frame is decoded yet.

    Its metadata hold the ``recording``, the folder of the ``project`` it belongs to, if any, and
    ``warnings``, what a user should know before relying on it.
    """
    options = {
        "name": recording.id,
        "rgb": True,
        "multiscale": False,
        "contrast_limits": (0, 255),  # napari would look for them in the frames otherwise
        "metadata": {"recording": recording, "project": project, "warnings": tuple(warnings)},
    }
    return VideoArray(recording), options, "image"


def _single(path: PathOrPaths) -> Path | None:
    if isinstance(path, str):
        return Path(path)
    return Path(path[0]) if len(path) == 1 else None


def _one(path: PathOrPaths) -> Path:
    single = _single(path)
    if single is None:
        raise ValueError(f"expected one path, got {len(path)}")
    return single
