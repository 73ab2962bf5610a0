"""The command on synchronised views: ``ethoprism sync``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import ProjectFolder, app, open_project


@app.command()
def sync(
    project: ProjectFolder,
    session: Annotated[str, typer.Argument(help="Name of the session.")],
    view: Annotated[
        list[str] | None,
        typer.Option(help="RECORDING, or RECORDING=OFFSET[,DRIFT] in seconds; may be repeated."),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            help="RECORDING:FRAME=OTHER:FRAME, which show one moment; two or more give the drift."
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="CSV to write, with the frames that belong together.")
    ] = None,
) -> None:
    """Say which recordings are views of one session, and how their clocks run."""
    from ethoprism import console, sessions
    from ethoprism.errors import InputError
    from ethoprism.files import write_text
    from ethoprism.views import Clock

    opened = open_project(project)
    for text in view or []:
        name, _, numbers = text.partition("=")
        try:
            clock = Clock(*(float(number) for number in numbers.split(",") if number))
        except (ValueError, TypeError) as error:
            raise InputError(
                "A view is RECORDING, RECORDING=OFFSET or RECORDING=OFFSET,DRIFT", found=text
            ) from error
        opened = sessions.set_view(opened, name, session, clock)
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for text in match or []:
        (mine, a), (theirs, b) = _moment(text, 0), _moment(text, 1)
        pairs.setdefault((mine, theirs), []).append((a, b))
    for (mine, theirs), frames in pairs.items():
        clock, deviation = sessions.clock_from_matches(opened, mine, theirs, frames)
        if opened.entry(mine).session != session:
            opened = sessions.set_view(opened, mine, session, Clock())
        opened = sessions.set_view(opened, theirs, session, clock)
        console.say(f"{theirs}: the {len(frames)} moments deviate by {deviation:.4g} s at most")
    for entry in sessions.views_of(opened, session):
        console.say(f"{entry.id}: offset {entry.offset:.6g} s, drift {entry.drift * 1e6:.4g} ppm")
    if table is not None:
        frames_table = sessions.correspondences(opened, session)
        write_text(table, frames_table.to_csv(index=False, lineterminator="\n"))
        console.wrote(table)


def _moment(text: str, side: int) -> tuple[str, int]:
    from ethoprism.errors import InputError

    part = text.split("=")[side] if text.count("=") == 1 else ""
    name, colon, frame = part.rpartition(":")
    if not colon or not frame.isdecimal():
        raise InputError("A match is RECORDING:FRAME=OTHER:FRAME", found=text)
    return name, int(frame)
