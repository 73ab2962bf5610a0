"""What is told of recordings as they are added: their frame times, and files that make one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ethoprism import registry
from ethoprism.errors import InputError
from ethoprism.frame_source import Reader
from ethoprism.project import Project
from ethoprism.recording import check_name, id_from_name, reader_of
from ethoprism.timing import constant_times, read_frame_times


def given_times(
    path: Path,
    table: Path | None,
    column: str = "",
    unit: str = "",
    rate: float | None = None,
    *,
    reader: str = "",
    array: str = "",
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Frame times from a table or a constant rate, and notes; None where neither is given.

    Raises
    ------
    InputError
        If both are given, if the table does not fit, or if a rate is given for a file that states
        times itself.
    """
    if table is None and rate is None:
        return None, ()
    chosen: Reader = registry.load("readers", reader) if reader else reader_of(path)
    contents = chosen.inspect(path, array)
    if table is not None and rate is None:
        found = read_frame_times(table, contents.n_frames, column=column, unit=unit)
        return found.times, found.notes
    if table is not None or contents.frame_times is not None or rate is None:
        raise InputError(
            "A frame rate is for recordings that state no times",
            found="a table of frame times" if table else f"times in {path.name}",
            remedy="Leave --rate out.",
        )
    return constant_times(contents.n_frames, rate), (
        f"Times follow the rate of {rate:g} frames a second that was given.",
    )


def join_files(
    project: Project, files: Sequence[Path], id: str | None, starts: Sequence[float] = ()
) -> tuple[Path, str]:
    """Write the table that makes one recording of several files; its path and its id."""
    from ethoprism.readers.joined import ENDING, write_joined

    name = check_name(id_from_name(files[0].stem) if id is None else id)
    path = project.folder / "joined" / f"{name}{ENDING}"
    if path.exists():
        raise InputError(
            f"There is a joined recording {name!r} already",
            found=str(path),
            remedy="Give this one another name with --id.",
        )
    write_joined(path, files, starts)
    return path, name
