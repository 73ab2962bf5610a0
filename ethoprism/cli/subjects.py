"""Commands on regions and subjects: ``ethoprism region`` and ``ethoprism track …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import ProjectFolder, app, group, open_project, split_names

track_app = group("track", "Where each animal is, so that crops can follow it.")
OneRecording = Annotated[str, typer.Option("--recording", "-r", help="Recording.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Put tracks that are there aside, and take these.")
]


@app.command()
def crop(
    project: ProjectFolder,
    kind: Annotated[str, typer.Argument(help="'whole', 'region', 'focus' or 'subject'.")],
    margin: Annotated[float, typer.Option(help="Side of a subject's crop in body lengths.")] = 2.0,
    size: Annotated[int, typer.Option(help="Side in pixels, in place of body lengths.")] = 0,
) -> None:
    """Say how frames are cut before they are encoded."""
    from dataclasses import replace

    from ethoprism import console
    from ethoprism.crops import Crop

    opened = open_project(project)
    chosen = Crop(kind, margin, size)
    opened.with_settings(replace(opened.settings, crop=chosen.text))
    what = "Tokens are kept of" if kind == "focus" else "Frames are cut to"
    console.say(f"{what}: {chosen.text}. Extract the tokens to have them so.")


@app.command()
def region(
    project: ProjectFolder,
    rectangle: Annotated[
        str, typer.Argument(help="LEFT,TOP,WIDTH,HEIGHT in pixels; 'none' takes it away.")
    ],
    recording: Annotated[
        list[str], typer.Option("--recording", "-r", help="Recording; may be repeated.")
    ],
) -> None:
    """Set the part of recordings that counts."""
    from ethoprism import console, subjects
    from ethoprism.crops import OF_REGION, Region

    opened = open_project(project)
    chosen = None if rectangle == "none" else Region.parse(rectangle)
    for name in recording:
        opened = subjects.set_region(opened, name, chosen)
        console.say(f"{name}: {chosen.text if chosen else 'no region'}")
    if opened.settings.crop not in OF_REGION and chosen:
        console.note(
            "Run 'ethoprism crop PROJECT region' to cut frames to their regions, or 'crop PROJECT "
            "focus' to encode whole frames and keep the tokens of the regions."
        )


@track_app.command("import")
def track_import(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="SLEAP, DeepLabCut, Lightning Pose, or boxes.")],
    recording: OneRecording,
    rename: Annotated[str, typer.Option(help="Other names: track_0=female,track_1=male.")] = "",
    min_likelihood: Annotated[
        float, typer.Option(help="Less likely points count as not seen.")
    ] = 0.5,
    overwrite: Replace = False,
) -> None:
    """Take tracks from a file."""
    from ethoprism import console, subjects
    from ethoprism.errors import InputError
    from ethoprism.tracks import read_tracks, renamed

    opened = open_project(project)
    pairs = [pair.partition("=") for pair in split_names(rename)]
    if any(not sign for _, sign, _ in pairs):
        raise InputError("--rename takes pairs OLD=NEW, separated by commas", found=rename)
    entry = opened.entry(recording)
    tracks, notes = read_tracks(
        file,
        entry.n_frames,
        min_likelihood=min_likelihood,
        frame_size=(entry.height, entry.width),
    )
    tracks = renamed(tracks, {old.strip(): new.strip() for old, _, new in pairs})
    subjects.save_tracks(opened, recording, tracks, overwrite=overwrite)
    console.table(subjects.track_table(tracks), f"{recording}: tracks of {file.name}")
    console.notes(list(notes))


@track_app.command("follow")
def track_follow(
    project: ProjectFolder,
    recording: OneRecording,
    subject: Annotated[str, typer.Option(help="Name of the animal.")] = "animal",
    overwrite: Replace = False,
) -> None:
    """Follow the single animal that moves in a recording; no training."""
    from ethoprism import console, subjects

    opened = open_project(project)
    if not overwrite:
        subjects.require_no_tracks(opened, recording)
    found = console.follow(subjects.follow_animal(opened, recording, subject), "Following")
    subjects.save_tracks(opened, recording, [found.track], overwrite=overwrite)
    console.table(subjects.track_table([found.track]), f"{recording}: followed")
    console.notes(list(found.notes))


@track_app.command("preview")
def track_preview(
    project: ProjectFolder,
    recording: OneRecording,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write.")] = Path("crops.png"),
    margin: Annotated[
        float | None, typer.Option(help="Side of the crop in body lengths; the project's, or 2.")
    ] = None,
    size: Annotated[int, typer.Option(help="Side in pixels, in place of body lengths.")] = 0,
) -> None:
    """Draw the crops of each subject at moments spread over a recording."""
    from ethoprism import console, subjects
    from ethoprism.crops import MARGIN, Crop
    from ethoprism.figure import contact_sheet

    opened = open_project(project)
    if margin is None and not size and Crop.parse(opened.settings.crop).kind == "subject":
        how = opened.settings.crop
    else:
        how = Crop("subject", MARGIN if margin is None else margin, size).text
    rows = subjects.crop_pictures(opened, recording, how)
    contact_sheet(out, rows, f"{recording}, cut to {how}: frame · time")
    console.wrote(out)
