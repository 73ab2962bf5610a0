"""Pictures of the running workbench for the manual, on the arena and on the courting flies.

    python docs/screenshots.py WORK_FOLDER [--recordings FOLDER] [--only NAME] [--scale 1.0]

``WORK_FOLDER`` keeps the two projects (about five minutes to make, once). The flies are shown where
``--recordings`` names the folder that holds ``courting_flies_120s`` with its labels and tracks.
Without a display, run it under ``xvfb-run -s "-screen 0 1800x1100x24"``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SIZE = (1600, 1000)


def arena_project(folder: Path) -> Path:
    """The demo's project, with predictions of every recording and a map."""
    from ethoprism import console, demo, workflow
    from ethoprism.project import Project

    if not (folder / "project" / "predictions").exists():
        demo.run(folder)
        project = Project.open(folder / "project")
        probe = workflow.probe_from(project, demo.PROBE)
        console.follow(workflow.predict_recordings(project, probe), "Predicting")
    return folder / "project"


def flies_project(folder: Path, recordings: Path) -> Path:
    """The courting flies with crops that follow each fly, labels, a probe and predictions."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from subject_crops import NAME, OF_SUBJECT, project_of

    from ethoprism import console, training, workflow
    from ethoprism.annotation import bout_table, span_table
    from ethoprism.project import Project

    if (folder / "predictions").exists():
        return folder
    project = project_of(recordings, folder, 1)
    # The labels name no fly; here they are given to the one that they are of.
    with workflow.open_annotations(project, "write") as store:
        bouts, spans = store.bouts(NAME), store.spans(NAME)
        of = {name: subject or "" for name, subject in OF_SUBJECT.items()}
        store.apply(
            list(bouts.index),
            list(spans.index),
            bout_table(bouts.assign(subject=bouts["behaviour"].map(of).fillna(""))),
            span_table(spans.assign(subject=spans["behaviour"].map(of).fillna(""))),
            description="labels given to the fly that they are of",
        )
    project = project.with_settings(replace(project.settings, crop="subject 2 lengths"))
    backbone = workflow.load_backbone(project.settings)
    console.follow(workflow.extract_tokens(project, backbone), "Extracting")
    plan = training.TrainingPlan(name="courtship")
    key = workflow.project_key(project, backbone)
    probe = console.follow(training.train_probe(project, key, plan), "Training")
    console.follow(workflow.predict_recordings(Project.open(folder), probe), "Predicting")
    return folder


class Stage:
    """A viewer with the workbench, and the camera before it."""

    def __init__(self, theme: str = "dark") -> None:
        from napari_ethoprism.launch import open_window

        self.viewer, self.bench = open_window()
        self.viewer.theme = theme
        self.window = self.bench.window()
        self.window.resize(*SIZE)
        self.wait(1.0)

    def wait(self, seconds: float, until: Callable[[], bool] | None = None) -> None:
        """Let the program run, for some seconds or until something holds."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until is not None and until()):
            QApplication.processEvents()
            time.sleep(0.01)

    def idle(self, seconds: float = 60.0) -> None:
        """Let every job end, then let what it brought be painted."""
        self.wait(0.5)
        self.wait(seconds, lambda: not self.bench.session.jobs.active)
        self.wait(0.7)

    def show(self, title: str) -> Any:
        """Bring a dock to the front; the dock's widget."""
        self.bench.show_dock(title)
        self.wait(0.3)
        return self.bench.docks[title]

    def shoot(self, name: str, widget: Any = None) -> None:
        """Save a picture of a widget, the whole window by default."""
        IMAGES.mkdir(parents=True, exist_ok=True)
        picture = (widget or self.window).grab()
        picture.save(str(IMAGES / f"{name}.png"))
        print(f"docs/images/{name}.png  {picture.width()} × {picture.height()}")

    def close(self) -> None:
        self.viewer.close()
        self.wait(1.0)


def shoot_arena(project: Path, theme: str, suffix: str = "") -> None:
    """The docks on the arena."""
    stage = Stage(theme)
    bench, session = stage.bench, stage.bench.session
    bench.open_project(project)
    stage.idle()
    session.show("arena_03")
    stage.idle()
    session.seek(1210)
    stage.show("EthoPrism")
    stage.idle()
    stage.shoot(f"workbench{suffix}")
    for title in ("Labels", "Probe"):
        stage.show(title)
        stage.idle()
        stage.shoot(f"{title.lower()}{suffix}")
    dock = stage.show("Map")
    if dock.explorer.map is None:
        dock.explorer.make(dock.options.plan(), dock.options.method.currentText())
        stage.wait(600, lambda: not dock.explorer.busy)
    dock.colour_by.setCurrentText("Prediction")
    stage.idle()
    stage.shoot(f"map{suffix}")
    stage.close()


def shoot_flies(project: Path) -> None:
    """The workbench on the courting flies, with predictions beside the labels."""
    stage = Stage()
    stage.bench.open_project(project)
    stage.idle()
    stage.bench.session.seek(1500)
    stage.show("Labels")
    stage.idle()
    stage.shoot("flies")
    stage.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path, help="folder to keep the projects in")
    parser.add_argument("--recordings", type=Path, help="folder with the courting flies")
    parser.add_argument("--only", choices=["arena", "light", "flies"], help="one of the scenes")
    options = parser.parse_args()
    if options.only in (None, "arena", "light"):
        arena = arena_project(options.work / "arena")
        if options.only != "light":
            shoot_arena(arena, "dark")
        if options.only != "arena":
            shoot_arena(arena, "light", "-light")
    if options.recordings is not None and options.only in (None, "flies"):
        shoot_flies(flies_project(options.work / "flies", options.recordings))


if __name__ == "__main__":
    main()
