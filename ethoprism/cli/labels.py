"""Commands on labels: ``ethoprism label …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import ProjectFolder, group, one_of, open_project, split_names

label_app = group("label", "Labels in and out.")


@label_app.command("import")
def label_import(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="File of labels.")],
    format: Annotated[str, typer.Option(help="Its format; see 'ethoprism info'.")] = "frames-csv",
    recording: Annotated[str | None, typer.Option(help="Recording that it is of.")] = None,
    subject: Annotated[str, typer.Option(help="Subject, if the file does not say.")] = "",
    behaviours: Annotated[str, typer.Option(help="Names to import; all by default.")] = "",
    annotator: Annotated[str, typer.Option(help="Who made the labels.")] = "",
    observed: Annotated[
        str, typer.Option(help="For bouts: what was scored, 'bouts' or 'whole' recordings.")
    ] = "bouts",
    unit: Annotated[str | None, typer.Option(help="'frames' or 'seconds'.")] = None,
    inclusive: Annotated[bool, typer.Option(help="Stop frames belong to the bout.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would happen, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Import labels: shows what will happen, then asks."""
    from ethoprism import console, importing

    one_of("--observed", observed, ("bouts", "whole"))
    one_of("--unit", unit or "frames", ("frames", "seconds"))
    opened = open_project(project)
    request = importing.import_request(
        opened,
        recording=recording,
        subject=subject,
        annotator=annotator,
        behaviours=split_names(behaviours) or None,
        observed=observed,
        unit=unit,
        inclusive=inclusive,
    )
    preview = importing.preview_import(opened, file, format, request)
    console.table(preview.table, f"{file.name} as {format}: frames per behaviour")
    if preview.new_behaviours:
        console.say(f"New in the ethogram: {', '.join(preview.new_behaviours)}")
    console.notes(preview.notes)
    if dry_run:
        console.say("Nothing was written (--dry-run).")
        return
    if not yes:
        if not console.interactive():
            console.note("Nothing was written: add --yes to write, or --dry-run to look only.")
            raise typer.Exit(2)
        typer.confirm("Write this?", abort=True, err=True)
    importing.apply_import(opened, preview, description=f"import {file.name}")
    added = preview.plan
    console.say(f"Saved {len(added.bouts)} bouts and {len(added.spans)} observed spans.")


@label_app.command("undo")
def label_undo(project: ProjectFolder) -> None:
    """Take back the newest edit of the labels."""
    from ethoprism import console, workflow

    with workflow.open_annotations(open_project(project)) as store:
        edit = store.undo()
    console.say(f"Took back: {edit.description}" if edit else "There is nothing to take back.")


@label_app.command("redo")
def label_redo(project: ProjectFolder) -> None:
    """Do the edit again that was taken back last."""
    from ethoprism import console, workflow

    with workflow.open_annotations(open_project(project)) as store:
        edit = store.redo()
    console.say(f"Did again: {edit.description}" if edit else "There is nothing to do again.")
