"""Sample data: a simulated arena, labelled, as a project of its own."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

from ethoprism.sample import sample_project
from napari_ethoprism._reader import LayerData, read_project

FOLDER = "arena-1"
"""Its number grows when the sample is made differently, so that an older one is not mistaken."""


def arena() -> list[LayerData]:
    """The layer of the sample's first recording; its project opens with it.

    The project is made at the first time, in two or three seconds, and kept in the user's data
    folder: what is labelled there stays.
    """
    for _ in sample_project(sample_folder()):
        pass
    return read_project(str(sample_folder() / "project"))


def sample_folder() -> Path:
    """Where the sample lies."""
    return user_data_path("ethoprism") / "samples" / FOLDER
