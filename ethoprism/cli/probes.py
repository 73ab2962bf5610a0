"""Commands that train probes, predict with them and export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ethoprism.cli.common import (
    ProbeName,
    ProjectFolder,
    Recordings,
    app,
    introduce,
    one_of,
    open_project,
    require_recordings,
    split_names,
    warn_untrained,
)


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

    one_of("--split", split, ("auto", "recordings", "blocks"))
    opened = open_project(project)
    require_recordings(opened)
    backbone = workflow.load_backbone(opened.settings)
    introduce(backbone.card)
    plan = training.TrainingPlan(
        probe,
        split_names(behaviours),
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

    opened = open_project(project)
    require_recordings(opened)
    loaded = workflow.probe_from(opened, probe)
    warn_untrained(loaded.key.label, loaded.key.trained)
    made = console.follow(
        workflow.predict_recordings(opened, loaded, recording or ()), "Predicting"
    )
    for prediction in made:
        n, covered = len(prediction.covered), int(prediction.covered.sum())
        of = f", {prediction.subject}" if prediction.subject else ""
        console.say(f"{prediction.recording}{of}: {covered} of {n} frames predicted")


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

    opened = open_project(project)
    require_recordings(opened)
    if labels:
        path = workflow.export_labels(opened, format, out, recording or (), subject)
    else:
        loaded = workflow.probe_from(opened, probe)
        warn_untrained(loaded.key.label, loaded.key.trained)
        path = workflow.export_predictions(opened, loaded, format, out, recording or ())
    console.wrote(path)


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
    by_subject = probe.training.get("metrics_by_subject", {})
    rows = [
        {"subject": subject, "behaviour": name, **scores}
        for subject, metrics in by_subject.items()
        for name, scores in metrics.get("test", {}).items()
    ]
    if rows and len(by_subject) > 1:
        console.table(pd.DataFrame(rows), f"Test, by subject, {probe.key.label}")
