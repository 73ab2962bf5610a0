"""The demo: four simulated recordings through the whole path, three to learn from and one to judge.

It uses nothing that a user could not call: the data set ``arena``, a project, label import,
extraction, training, prediction and export, and a search by text that needs no labels.
"""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

from ethoprism import console, importing, registry, training, workflow
from ethoprism.backbones import nano_text
from ethoprism.backbones.lvt import VideoTextBackbone
from ethoprism.errors import InputError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import frame_scores
from ethoprism.figure import ethogram_figure
from ethoprism.probe.checkpoint import Probe
from ethoprism.project import MANIFEST, Project, Settings
from ethoprism.search.find import SearchPlan, search
from ethoprism.search.measured import measure
from ethoprism.search.outputs import found_sheet
from ethoprism.search.prompts import Query

PROBE = "demo"
LOOKED_FOR = "two mice, one mouse chases the other"
SHOWS = "chase"
"""What is searched for, and the behaviour whose labels judge the list."""


def run(out: Path, *, seed: int = 0, recordings: int = 4, seconds: float = 120.0) -> Project:
    """Make the demo in the folder ``out`` and print what came of it; the project is returned.

    An interrupted demo goes on where it stopped; the recordings, tokens and labels that are there
    are kept.
    """
    began = time.monotonic()
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file", expected="a folder to make", remedy="Use --out.")
    videos = out / "recordings"
    arena = registry.load("datasets", "arena")
    console.follow(
        arena.make(videos, recordings=recordings, seconds=seconds, seed=seed), "Simulating"
    )
    project = _project(out / "project", videos, Ethogram())
    backbone = workflow.load_backbone(project.settings)
    console.say(f"Backbone {backbone.card.label}")
    console.follow(workflow.extract_tokens(project, backbone), "Extracting")
    key = workflow.project_key(project, backbone)
    held_out = project.recording_ids[-1]
    plan = training.TrainingPlan(name=PROBE, test=(held_out,), seed=seed)
    probe = console.follow(training.train_probe(project, key, plan), "Training")
    console.follow(workflow.predict_recordings(project, probe, [held_out]), "Predicting")
    _report(project, probe, held_out)
    if isinstance(backbone, VideoTextBackbone):  # a demo that was begun with another has none
        _search(project, backbone)
    console.say(f"The demo took {console.duration(time.monotonic() - began)}.")
    return project


def _project(folder: Path, videos: Path, ethogram: Ethogram) -> Project:
    if (folder / MANIFEST).exists():
        project = Project.open(folder)
    else:
        project = Project.create(folder, Settings(backbone=nano_text.NAME), ethogram)
    for path in sorted(videos.glob("*.mp4")):
        project, name, report = workflow.add_recording(project, path)
        console.notes(report.warnings)
        request = importing.import_request(project, recording=name, observed="whole")
        labels = path.with_suffix(".bouts.csv")
        preview = importing.preview_import(project, labels, "bouts-csv", request)
        project = importing.apply_import(project, preview, description=f"import {labels.name}")
    console.say(f"Project {folder}: {', '.join(project.recording_ids)}, labelled")
    return project


def _search(project: Project, backbone: VideoTextBackbone) -> None:
    """Look for a behaviour by a sentence, without labels and probe; labels judge the list."""
    query = Query((LOOKED_FOR,))
    found = console.follow(search(project, backbone, query, SearchPlan(count=10)), "Searching")
    console.say(f"Searched for {LOOKED_FOR!r}; {nano_text.KNOWS}.")
    console.say(measure(project, found, SHOWS).sentence)
    sheet = project.exports_folder / "search.png"
    console.follow(found_sheet(project, found, sheet), "Drawing")
    console.wrote(sheet)


def _report(project: Project, probe: Probe, held_out: str) -> None:
    """Print the scores of the recording that was held out, and write the CSVs and the figure."""
    (labels,) = workflow.predicted_labels(project, probe, [held_out])
    truth = workflow.label_states(project, [held_out], probe.behaviours)[held_out]
    if labels.probability is None:
        raise TypeError("predictions carry probabilities")
    scores = frame_scores(truth, labels.states, labels.probability, probe.behaviours)
    shown = pd.DataFrame(
        {
            "behaviour": scores.index,
            "F1": scores["f1"].to_numpy(),
            "chance F1": scores["chance_f1"].to_numpy(),
            "average precision": scores["average_precision"].to_numpy(),
            "prevalence": (scores["present"] / scores["frames"]).to_numpy(),
            "frames present": scores["present"].to_numpy(),
            "bouts": scores["bouts"].to_numpy(),
        }
    )
    n_train = len(project.recording_ids) - 1
    console.table(
        shown, f"{held_out}, not seen in training; probe of {n_train} others, {probe.key.label}"
    )
    console.say("Chance F1 is that of calling every frame present, the best without looking.")
    for format_name in ("frames-csv", "bouts-csv"):
        console.wrote(workflow.export_predictions(project, probe, format_name, None, [held_out]))
    figure = project.exports_folder / "ethogram.png"
    ethogram_figure(
        figure,
        labels.frame_times,
        project.ethogram,
        probe.behaviours,
        [("true", truth), ("predicted", labels.states)],
        f"{held_out} (simulated), held out; frame-wise predictions with {probe.key.label}",
    )
    console.wrote(figure)
