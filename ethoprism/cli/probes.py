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

_SHOWN = {
    "present": "present",
    "bouts": "bouts",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "f1_low": "from",
    "f1_high": "to",
    "chance_f1": "chance",
    "average_precision": "AP",
}


@app.command()
def train(
    project: ProjectFolder,
    probe: ProbeName = "probe",
    recording: Recordings = None,
    test: Annotated[
        list[str] | None, typer.Option(help="Recording to hold out; may be repeated.")
    ] = None,
    behaviours: Annotated[str, typer.Option(help="Names; all that can be learnt by default.")] = "",
    head: Annotated[str, typer.Option(help="'linear', 'attentive' or 'temporal'.")] = "",
    loss: Annotated[
        str, typer.Option(help="'cross-entropy', or for rare behaviours 'balanced' or 'focal'.")
    ] = "cross-entropy",
    split: Annotated[
        str,
        typer.Option(
            help="What stays together: 'recordings', 'animals', 'sessions', 'blocks' of one "
            "recording, or 'auto'."
        ),
    ] = "auto",
    split_pattern: Annotated[
        str, typer.Option(help="Regular expression for what stays together, found in the names.")
    ] = "",
    folds: Annotated[
        int, typer.Option(help="Cross-validate in so many folds first; 0 for none.")
    ] = 0,
    ensemble: Annotated[int, typer.Option(help="Networks to average.")] = 1,
    subject: Annotated[str, typer.Option(help="Whose behaviour; anybody's by default.")] = "",
    context: Annotated[int | None, typer.Option(help="Rows seen on either side.")] = None,
    motion: Annotated[bool, typer.Option(help="Join tokens with their change.")] = True,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
) -> None:
    """Train a probe on labels and tokens."""
    from ethoprism import console, training, workflow
    from ethoprism.probe.heads import HEADS
    from ethoprism.probe.losses import LOSSES
    from ethoprism.splits import SPLITS, refuse_frames

    if split_pattern and split in ("auto", "pattern"):
        split = "pattern"
    if split == "frames":
        refuse_frames()
    one_of("--split", split, SPLITS)
    head = head or training.DEFAULT_HEAD
    one_of("--head", head, HEADS)
    one_of("--loss", loss, LOSSES)
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
        head,
        loss,
        split_pattern,
        ensemble,
        folds,
    )
    training.require_sound(plan)
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
        console.notes(prediction.notes)


@app.command()
def thresholds(
    project: ProjectFolder,
    probe: ProbeName = "probe",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="BEHAVIOUR=CHOICE, where the choice is 'miss', 'rather-miss', 'balanced', "
            "'rather-over', 'over-call', 'learnt' or a number; may be repeated.",
        ),
    ] = None,
    reset: Annotated[bool, typer.Option(help="Go back to all learnt thresholds.")] = False,
) -> None:
    """Show what thresholds do, from rather missing to rather over-calling, or set them."""
    from ethoprism import console
    from ethoprism import thresholds as assistant
    from ethoprism.probe.checkpoint import forget_decision, load_held_out, load_probe

    opened = open_project(project)
    folder = opened.probe_folder(probe)
    loaded = load_probe(folder, own=not reset)
    warn_untrained(loaded.key.label, loaded.key.trained)
    if reset:
        forget_decision(folder)
    if set_:
        pairs = [text.rpartition("=") for text in set_]
        wrong = [text for text, (name, _, _) in zip(set_, pairs, strict=True) if not name]
        if wrong:
            raise typer.BadParameter(f"expected BEHAVIOUR=CHOICE, found {wrong[0]!r}: --set")
        loaded = assistant.set_thresholds(
            opened, probe, {name: choice for name, _, choice in pairs}
        )
    found = assistant.choices(loaded, load_held_out(folder, loaded))
    frame = assistant.table(found)
    if len(frame):
        console.table(_threshold_table(frame), f"Thresholds, {loaded.key.label}")
    console.say(f"Shown on {assistant.source_of(loaded)}.")
    console.say(
        "Figures: each fifth of these frames decided by a threshold chosen on the others. Learnt "
        "thresholds in use were set on the same frames, so theirs are a little too good."
        if all(c.nested for c in found if c.choice != "in use")
        else "Figures of behaviours that are seen in one stretch only, and of learnt thresholds in "
        "use, are of the frames that the thresholds were chosen on, so they are a little too good."
    )
    for choice, words in assistant.WORDS.items():
        console.say(f"{choice}: {words}")
    if any(not c.reached for c in found):
        console.say("* no threshold reaches that; this comes nearest")
    console.say(
        "Thresholds in use: " + ("learnt" if loaded.learnt is None else "your own, decision.json")
    )


def _threshold_table(frame: Any) -> Any:
    """What is printed of the assistant's table; what people labelled is a row by itself."""
    import pandas as pd

    shown = pd.DataFrame(
        {
            "behaviour": frame["behaviour"],
            "choice": frame["choice"] + frame["reached"].map({True: "", False: " *"}),
            "at": frame["threshold"].map("{:.3f}".format),
            "precision": frame["precision"],
            "recall": frame["recall"],
            "time": frame["called_share"].map("{:.1%}".format),
            "bouts": frame["bouts"],
        }
    )
    first = frame.drop_duplicates("behaviour")
    labelled = pd.DataFrame(
        {
            "behaviour": first["behaviour"],
            "choice": "(labelled)",
            "at": "",
            "precision": float("nan"),
            "recall": float("nan"),
            "time": first["true_share"].map("{:.1%}".format),
            "bouts": first["true_bouts"],
        }
    )
    return pd.concat([labelled, shown]).sort_index(kind="stable")


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


def _shown(metrics: Any) -> Any:
    """What is printed of a table of scores."""
    import pandas as pd

    frame = pd.DataFrame.from_dict(metrics, orient="index").reindex(columns=list(_SHOWN))
    return frame.rename(columns=_SHOWN).rename_axis("behaviour").reset_index()


def _print_metrics(probe: Any) -> None:
    import pandas as pd

    from ethoprism import console

    found = probe.training.get("cross_validation")
    if found:
        title = f"Cross-validation, {found['folds']} folds, {probe.key.label}"
        console.table(_shown(found["metrics"]), title)
    titles = {
        "validation": "Validation (it stopped the training and set the thresholds)",
        "test": "Test (not seen in training)",
    }
    for part, title in titles.items():
        if probe.metrics.get(part):
            console.table(_shown(probe.metrics[part]), f"{title}, {probe.key.label}")
    console.say("from, to: 95 % interval of F1. chance: F1 of calling every frame present.")
    by_subject = probe.training.get("metrics_by_subject", {})
    rows = [
        {"subject": subject, "behaviour": name, **scores}
        for subject, metrics in by_subject.items()
        for name, scores in metrics.get("test", {}).items()
    ]
    if rows and len(by_subject) > 1:
        console.table(pd.DataFrame(rows), f"Test, by subject, {probe.key.label}")
