"""Commands that make, fill and describe a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import ProjectFolder, app, open_project, split_names


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new project.")],
    backbone: Annotated[str, typer.Option(help="Name of the backbone.")] = "prism-nano",
    weights: Annotated[
        str, typer.Option(help="Checkpoint file of your own; for prism-nano also: untrained.")
    ] = "",
    behaviours: Annotated[str, typer.Option(help="Names, separated by commas.")] = "",
    exclusive: Annotated[
        list[str] | None,
        typer.Option(help="Names, separated by commas, of which one at most holds."),
    ] = None,
    hop: Annotated[int | None, typer.Option(help="Sampled frames between windows.")] = None,
    step: Annotated[int, typer.Option(help="Recording frames between sampled frames.")] = 1,
    pooling: Annotated[int | None, typer.Option(help="Tokens a side that are kept.")] = None,
    precision: Annotated[
        str,
        typer.Option(help="Arithmetic of the backbone: float32, or bfloat16, which is faster."),
    ] = "float32",
) -> None:
    """Make a project."""
    from ethoprism import console, registry
    from ethoprism.backbones.engine import check_precision, precisions
    from ethoprism.backbones.nano import NAME, UNTRAINED
    from ethoprism.errors import InputError
    from ethoprism.ethogram import Ethogram
    from ethoprism.project import Project, Settings

    check_precision(precision, backbone, precisions(registry.load("backbones", backbone)))
    if weights and (backbone, weights) != (NAME, UNTRAINED):
        if not Path(weights).is_file():
            raise InputError(f"There is no checkpoint at {weights}")
        weights = str(Path(weights).resolve())
    ethogram = Ethogram().with_names(split_names(behaviours))
    for group in exclusive or []:
        ethogram = ethogram.with_names(split_names(group)).with_exclusive(split_names(group))
    settings = Settings(backbone, weights, hop, step, pooling, precision=precision)
    Project.create(folder, settings, ethogram)
    console.say(f"Made the project {folder}")


@app.command()
def add(
    project: ProjectFolder,
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO...", help="Video files, or folders of images.")
    ],
    id: Annotated[str | None, typer.Option(help="Id, for a single recording.")] = None,
    accept_damaged: Annotated[
        bool, typer.Option(help="Take a damaged video as far as it can be read.")
    ] = False,
    join: Annotated[
        bool, typer.Option("--join", help="The files are one recording, in this order.")
    ] = False,
    start: Annotated[
        list[float] | None, typer.Option(help="With --join: seconds at which each file starts.")
    ] = None,
    frame_times: Annotated[
        Path | None, typer.Option(help="Table of frame times that overrides the file's.")
    ] = None,
    time_column: Annotated[str, typer.Option(help="Its column with the times.")] = "",
    time_unit: Annotated[str, typer.Option(help="Its unit: s, ms, us or ns.")] = "",
    rate: Annotated[
        float | None, typer.Option(help="Frames a second, of images that state no times.")
    ] = None,
    reader: Annotated[str, typer.Option(help="How it is read; told from the file.")] = "",
    array: Annotated[str, typer.Option(help="Name of the array, in files with several.")] = "",
) -> None:
    """Add recordings, or say where they moved to."""
    from ethoprism import adding, console, workflow
    from ethoprism.errors import InputError

    opened = open_project(project)
    if join:
        path, id = adding.join_files(opened, videos, id, start or ())
        videos = [path]
    single = (id, frame_times) != (None, None)
    if single and len(videos) > 1:
        raise InputError(
            "--id and --frame-times are for a single recording", found=f"{len(videos)} files"
        )
    for path in videos:
        times, notes = adding.given_times(
            path, frame_times, time_column, time_unit, rate, reader=reader, array=array
        )
        opened, name, report = workflow.add_recording(
            opened,
            path,
            id=id,
            accept_damaged=accept_damaged,
            reader=reader,
            array=array,
            frame_times=times,
        )
        entry = opened.entry(name)
        console.say(f"{name}: {entry.n_frames} frames, {entry.width}×{entry.height} px, {path}")
        console.notes([*notes, *report.warnings])


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to make.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Of the recordings and the probe.")] = 0,
) -> None:
    """Run everything once on four simulated recordings."""
    from ethoprism.demo import run

    run(out, seed=seed)


@app.command()
def info(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PROJECT|VIDEO]", help="A project, a video, or a folder of images."
        ),
    ] = None,
) -> None:
    """Describe a project, a video, or this installation."""
    from ethoprism import describe
    from ethoprism.project import MANIFEST
    from ethoprism.recording import FFMPEG, reader_of

    if subject is None:
        describe.installation()
    elif (subject / MANIFEST).exists() or (subject.is_dir() and reader_of(subject).name == FFMPEG):
        describe.project(open_project(subject))
    else:
        describe.video(subject)
