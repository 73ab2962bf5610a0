"""Commands on labels: ``ethoprism label …``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethoprism.cli.common import ProjectFolder, group, one_of, open_project, split_names

if TYPE_CHECKING:
    from ethoprism.store import AnnotationStore

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

    with workflow.open_annotations(open_project(project), "write") as store:
        _tell(store)
        edit = store.undo()
    console.say(f"Took back: {edit.description}" if edit else "There is nothing to take back.")


@label_app.command("redo")
def label_redo(project: ProjectFolder) -> None:
    """Do the edit again that was taken back last."""
    from ethoprism import console, workflow

    with workflow.open_annotations(open_project(project), "write") as store:
        _tell(store)
        edit = store.redo()
    console.say(f"Did again: {edit.description}" if edit else "There is nothing to do again.")


@label_app.command("history")
def label_history(
    project: ProjectFolder,
    last: Annotated[int, typer.Option(help="How many of the newest edits; 0 for all.")] = 20,
) -> None:
    """List the edits of the labels, oldest first."""
    import pandas as pd

    from ethoprism import console, workflow

    with workflow.open_annotations(open_project(project), "read") as store:
        _tell(store)
        edits = store.history()
    lines = [
        {
            "edit": edit.id,
            "time (UTC)": edit.time[:19].replace("T", " "),
            "author": edit.author,
            "description": edit.description,
            "": "taken back" if edit.undone else "",
        }
        for edit in edits[-last if last else None :]
    ]
    if not lines:
        console.say("The labels have not been edited yet.")
        return
    console.table(pd.DataFrame(lines), f"{len(lines)} of {len(edits)} edits")


@label_app.command("check")
def label_check(project: ProjectFolder) -> None:
    """Check the labels, their snapshots and who has them open; nothing is written."""
    from ethoprism import console, labelling

    health = labelling.check_labels(open_project(project))
    console.say(f"{health.bouts} bouts, {health.spans} observed spans, {health.edits} edits.")
    sound, bad = len(health.snapshots), len(health.bad_snapshots)
    newest = f", the newest {health.snapshots[-1].name}" if sound else ""
    console.say(f"{sound} sound snapshots{newest}.")
    if health.holder is not None:
        console.say(f"Open for writing by {health.holder}.")
    if bad:
        console.note(
            f"{bad} snapshots are damaged: {', '.join(s.name for s in health.bad_snapshots)}."
        )
    if not health.problems:
        console.say("The labels are sound.")
        return
    console.note("The labels are damaged. The next opening for writing recovers them:")
    console.notes(health.problems)
    raise typer.Exit(4)


@label_app.command("snapshots")
def label_snapshots(project: ProjectFolder) -> None:
    """List the snapshots of the labels, oldest first."""
    import pandas as pd

    from ethoprism import console
    from ethoprism.store import snapshots_of

    found = snapshots_of(open_project(project).annotations_path)
    if not found:
        console.say("There are no snapshots yet; they are made as labels are edited.")
        return
    lines = [
        {"snapshot": s.name, "time (UTC)": f"{s.time:%Y-%m-%d %H:%M:%S}", "after edits": s.n}
        for s in found
    ]
    console.table(pd.DataFrame(lines), "Snapshots")


@label_app.command("restore")
def label_restore(
    project: ProjectFolder,
    snapshot: Annotated[str, typer.Argument(help="Name of the snapshot; see 'label snapshots'.")],
) -> None:
    """Bring back the labels of a snapshot, as one edit that can be taken back."""
    from ethoprism import console, labelling

    edit = labelling.restore_snapshot(open_project(project), snapshot)
    if edit is None:
        console.say("Nothing to do: the labels are as in that snapshot.")
    else:
        console.say(f"Restored {snapshot}. To take that back: ethoprism label undo {project}")


@label_app.command("merge")
def label_merge(
    project: ProjectFolder,
    other: Annotated[Path, typer.Argument(help="Another copy of the project.")],
    take: Annotated[
        str, typer.Option(help="Whose rows stand in a conflict: 'ours', 'theirs' or 'both'.")
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Show what would happen, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Merge the labels of another copy into this project: shows what will happen, then asks."""
    from ethoprism import console, labelling

    one_of("--take", take or "ours", ("ours", "theirs", "both"))
    opened = open_project(project)
    merging = labelling.plan_project_merge(opened, other)
    plan = merging.plan
    console.notes(merging.notes)
    if plan.empty:
        console.say("Nothing to do: all labels of the other copy are here.")
        return
    console.table(plan.table(), f"Labels of {other}")
    if plan.conflicts:
        console.table(plan.conflict_table(), f"Conflicts: {len(plan.conflicts)}")
    if merging.new_behaviours:
        console.say(f"New in the ethogram: {', '.join(merging.new_behaviours)}")
    if dry_run:
        console.say("Nothing was written (--dry-run).")
        return
    if plan.conflicts and not take:
        console.note(
            "Nothing was written: say with --take ours, theirs or both what is to become of the "
            "conflicts."
        )
        raise typer.Exit(2)
    if not yes:
        if not console.interactive():
            console.note("Nothing was written: add --yes to write, or --dry-run to look only.")
            raise typer.Exit(2)
        typer.confirm("Write this?", abort=True, err=True)
    chosen = {"ours": "ours", "theirs": "theirs", "both": "both"}.get(take)
    _, edit = labelling.apply_project_merge(opened, merging, chosen)  # type: ignore[arg-type]
    console.say("Merged, as one edit that can be taken back." if edit else "Nothing was changed.")


def _tell(store: AnnotationStore) -> None:
    """Say what opening the labels showed."""
    from ethoprism import console

    if store.recovery is not None:
        console.notes(store.recovery.sentences())
    console.notes(store.notes)
