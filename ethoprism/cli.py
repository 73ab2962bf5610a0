"""The command line. Every command calls one function of `ethoprism.workflow` and prints.

Exit codes: 0 done; 1 an unexpected error; 2 wrong usage; 3 bad input (video, labels, weights, an
argument); 4 the project lacks something or its parts do not belong together; 5 the disk is full,
read-only or gone; 130 interrupted.

Heavy packages are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ethoprism.project import Project

# Rich's help would take longer to import than all else that --help needs.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Frozen VideoPrism tokens, labels, probes and per-frame predictions for behaviour "
    "recordings.",
)
label_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Labels in and out.")
app.add_typer(label_app, name="label")

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Project folder.")]
Recordings = Annotated[
    list[str] | None,
    typer.Option("--recording", "-r", help="Recording; may be repeated. All by default."),
]
ProbeName = Annotated[str, typer.Option("--probe", help="Name of the probe.")]
_debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    global _debug
    _debug = debug
    if version:
        from ethoprism import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new project.")],
    backbone: Annotated[str, typer.Option(help="Name of the backbone.")] = "prism-nano",
    weights: Annotated[str, typer.Option(help="Checkpoint file of your own.")] = "",
    behaviours: Annotated[str, typer.Option(help="Names, separated by commas.")] = "",
    exclusive: Annotated[
        list[str] | None,
        typer.Option(help="Names, separated by commas, of which one at most holds."),
    ] = None,
    hop: Annotated[int | None, typer.Option(help="Sampled frames between windows.")] = None,
    step: Annotated[int, typer.Option(help="Recording frames between sampled frames.")] = 1,
    pooling: Annotated[int | None, typer.Option(help="Tokens a side that are kept.")] = None,
) -> None:
    """Make a project."""
    from ethoprism import console, registry
    from ethoprism.errors import InputError
    from ethoprism.ethogram import Ethogram
    from ethoprism.project import Project, Settings

    registry.load("backbones", backbone)
    if weights:
        if not Path(weights).is_file():
            raise InputError(f"There is no checkpoint at {weights}")
        weights = str(Path(weights).resolve())
    ethogram = Ethogram().with_names(_names(behaviours))
    for group in exclusive or []:
        ethogram = ethogram.with_names(_names(group)).with_exclusive(_names(group))
    settings = Settings(backbone, weights, hop, step, pooling)
    Project.create(folder, settings, ethogram)
    console.say(f"Made the project {folder}")


@app.command()
def add(
    project: ProjectFolder,
    videos: Annotated[list[Path], typer.Argument(metavar="VIDEO...", help="Video files.")],
    id: Annotated[str | None, typer.Option(help="Id, for a single video.")] = None,
    accept_damaged: Annotated[
        bool, typer.Option(help="Take a damaged video as far as it can be read.")
    ] = False,
) -> None:
    """Add recordings, or say where they moved to."""
    from ethoprism import console, workflow
    from ethoprism.errors import InputError

    opened = _open(project)
    if id is not None and len(videos) > 1:
        raise InputError("--id names a single video", found=f"{len(videos)} videos")
    for path in videos:
        opened, name, report = workflow.add_recording(
            opened, path, id=id, accept_damaged=accept_damaged
        )
        entry = opened.entry(name)
        console.say(f"{name}: {entry.n_frames} frames, {entry.width}×{entry.height} px, {path}")
        console.notes(report.warnings)


@app.command()
def extract(project: ProjectFolder, recording: Recordings = None) -> None:
    """Extract the tokens of recordings; goes on where it stopped."""
    from ethoprism import console, workflow

    opened = _open(project)
    _require_recordings(opened)
    console.follow(workflow.fetch_weights(opened.settings), "Downloading")
    backbone = workflow.load_backbone(opened.settings)
    _introduce(backbone.card)
    console.follow(workflow.extract_tokens(opened, backbone, recording or ()), "Extracting")
    key = workflow.project_key(opened, backbone)
    console.say(f"Tokens are complete in {opened.folder / 'tokens' / key.digest}")


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

    _one_of("--observed", observed, ("bouts", "whole"))
    _one_of("--unit", unit or "frames", ("frames", "seconds"))
    opened = _open(project)
    request = importing.import_request(
        opened,
        recording=recording,
        subject=subject,
        annotator=annotator,
        behaviours=_names(behaviours) or None,
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

    with workflow.open_annotations(_open(project)) as store:
        edit = store.undo()
    console.say(f"Took back: {edit.description}" if edit else "There is nothing to take back.")


@label_app.command("redo")
def label_redo(project: ProjectFolder) -> None:
    """Do the edit again that was taken back last."""
    from ethoprism import console, workflow

    with workflow.open_annotations(_open(project)) as store:
        edit = store.redo()
    console.say(f"Did again: {edit.description}" if edit else "There is nothing to do again.")


@app.command()
def train(
    project: ProjectFolder,
    probe: ProbeName = "probe",
    recording: Recordings = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Recording to hold out; may be repeated.")
    ] = None,
    behaviours: Annotated[str, typer.Option(help="Names; all that can be learnt by default.")] = "",
    split: Annotated[str, typer.Option(help="'auto', 'recordings' or 'blocks'.")] = "auto",
    subject: Annotated[str, typer.Option(help="Whose behaviour; anybody's by default.")] = "",
    context: Annotated[int | None, typer.Option(help="Rows pooled on either side.")] = None,
    motion: Annotated[bool, typer.Option(help="Join tokens with their change.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train a probe on labels and tokens."""
    from ethoprism import console, training, workflow

    _one_of("--split", split, ("auto", "recordings", "blocks"))
    opened = _open(project)
    _require_recordings(opened)
    backbone = workflow.load_backbone(opened.settings)
    _introduce(backbone.card)
    plan = training.TrainingPlan(
        probe,
        _names(behaviours),
        tuple(recording or ()),
        tuple(test or ()),
        split,
        subject,
        context,
        motion,
        seed,
    )
    key = workflow.project_key(opened, backbone)
    trained = console.follow(training.train_probe(opened, key, plan), "Training")
    left_out = [n for n in opened.ethogram.names if n not in trained.behaviours]
    if left_out and not plan.behaviours:
        console.note(f"Left out, never both present and absent: {', '.join(left_out)}")
    _print_metrics(trained)
    console.wrote(opened.probe_folder(probe))


@app.command()
def predict(
    project: ProjectFolder, probe: ProbeName = "probe", recording: Recordings = None
) -> None:
    """Predict every frame of recordings."""
    from ethoprism import console, workflow

    opened = _open(project)
    _require_recordings(opened)
    loaded = workflow.probe_from(opened, probe)
    _warn_untrained(loaded.key.label, loaded.key.trained)
    made = console.follow(
        workflow.predict_recordings(opened, loaded, recording or ()), "Predicting"
    )
    for prediction in made:
        n, covered = len(prediction.covered), int(prediction.covered.sum())
        console.say(f"{prediction.recording}: {covered} of {n} frames predicted")


@app.command()
def export(
    project: ProjectFolder,
    probe: ProbeName = "probe",
    recording: Recordings = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write.")] = None,
    format: Annotated[
        str, typer.Option(help="'frames-csv', 'bouts-csv' or another that can be written.")
    ] = "frames-csv",
    labels: Annotated[bool, typer.Option(help="What people labelled, not predictions.")] = False,
    subject: Annotated[str, typer.Option(help="With --labels: whose; anybody's if empty.")] = "",
) -> None:
    """Write predictions, or labels, to a file."""
    from ethoprism import console, workflow

    opened = _open(project)
    _require_recordings(opened)
    if labels:
        path = workflow.export_labels(opened, format, out, recording or (), subject)
    else:
        loaded = workflow.probe_from(opened, probe)
        _warn_untrained(loaded.key.label, loaded.key.trained)
        path = workflow.export_predictions(opened, loaded, format, out, recording or ())
    console.wrote(path)


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
        Path | None, typer.Argument(metavar="[PROJECT|VIDEO]", help="What to describe.")
    ] = None,
) -> None:
    """Describe a project, a video, or this installation."""
    from ethoprism import describe

    if subject is None:
        describe.installation()
    elif subject.is_dir():
        describe.project(_open(subject))
    else:
        describe.video(subject)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command ``ethoprism``."""
    from ethoprism.errors import EthoPrismError

    try:
        code = app(args=arguments, standalone_mode=False)
    except EthoPrismError as error:
        if _debug:
            raise
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted. What is finished is kept; the same command goes on.", err=True)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, typer.BadParameter.__mro__[2]):  # a usage error
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        if _debug:
            raise
        typer.echo(
            f"Error: {type(error).__name__}: {error}. This was not expected; run again with "
            "'ethoprism --debug ...' to see where it happened.",
            err=True,
        )
        sys.exit(1)
    if isinstance(code, int) and code:
        sys.exit(code)


def _open(folder: Path) -> Project:
    from ethoprism.project import Project

    return Project.open(folder)


def _require_recordings(project: Project) -> None:
    from ethoprism.errors import ProjectError

    if not project.entries:
        raise ProjectError(
            f"{project.folder} has no recordings", remedy="Run: ethoprism add PROJECT VIDEO..."
        )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"expected one of {', '.join(choices)}, found {value!r}: {option}")


def _introduce(card: Any) -> None:
    from ethoprism import console

    console.say(f"Backbone {card.label}, {card.frames} frames of {card.input_size} px")
    _warn_untrained(card.label, card.trained)


def _warn_untrained(label: str, trained: bool) -> None:
    from ethoprism import console

    if not trained:
        console.note(
            f"{label}: its weights are random. Probes on it learn from appearance and motion as "
            "they come; figures say little of what a trained backbone gives."
        )


def _print_metrics(probe: Any) -> None:
    import pandas as pd

    from ethoprism import console

    titles = {
        "validation": "Validation (it stopped the training and set the thresholds)",
        "test": "Test (not seen in training)",
    }
    for part, title in titles.items():
        if probe.metrics.get(part):
            frame = pd.DataFrame.from_dict(probe.metrics[part], orient="index")
            frame = frame.rename_axis("behaviour").reset_index()
            console.table(frame, f"{title}, {probe.key.label}")
