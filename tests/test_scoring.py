"""Predictions are scored on frames that the probe has not seen; annotators on what both saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ethoprism import scoring
from ethoprism.cli import main
from ethoprism_datasets.arena import write_recording


@dataclass
class Card:
    """What `unseen_frames` reads of a probe."""

    step: int
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> SimpleNamespace:
        return SimpleNamespace(step=self.step)


def card(step: int, *segments: tuple[str, int, int, str]) -> Any:
    names = ("recording", "start", "stop", "part")
    return Card(step, {"segments": [dict(zip(names, s, strict=True)) for s in segments]})


def run(*arguments: object) -> int:
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def unseen(probe: Any, recording: str, n_frames: int) -> list[int]:
    return np.flatnonzero(scoring.unseen_frames(probe, recording, n_frames)).tolist()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three recordings, the last labelled by two annotators and held out for the test."""
    videos = tmp_path_factory.mktemp("videos")
    for i in range(3):
        write_recording(videos, f"r{i}", i, n_frames=260)
    folder = tmp_path_factory.mktemp("p") / "project"
    assert run("init", folder) == 0
    assert run("add", folder, *sorted(videos.glob("*.mp4"))) == 0
    for path in sorted(videos.glob("*.frames.csv")):
        assert run("label", "import", folder, path, "--yes", "--annotator", "ann") == 0
    second = pd.read_csv(videos / "r2.frames.csv")
    second.iloc[:, 1:] = second.iloc[:, 1:].shift(3, fill_value=0)
    (videos / "second").mkdir()
    second.to_csv(videos / "second" / "r2.frames.csv", index=False)
    file = videos / "second" / "r2.frames.csv"
    assert run("label", "import", folder, file, "--yes", "--annotator", "bob") == 0
    assert run("extract", folder) == 0
    assert run("train", folder, "--test", "r2") == 0
    assert run("predict", folder) == 0
    return folder


def test_only_the_test_recording_is_scored(project: Path, capsys: pytest.CaptureFixture[str]):
    csv = project / "scores.csv"
    assert run("evaluate", project, "--csv", csv, "--resamples", 50) == 0
    shown = capsys.readouterr().out
    assert "r2: 260 of 260 frames scored, test part" in shown
    assert "r0: not scored" in shown
    assert "TRAINING FRAMES" not in shown
    assert "The probe beside people" in shown
    assert max(len(line) for line in shown.split("\n") if line.startswith(("│", "┏"))) <= 100
    table = pd.read_csv(csv)
    assert set(table["frames"]) == {260}
    assert not table["includes_training_frames"].any()
    pairs = set(pd.read_csv(project / "scores.agreement.csv")["annotators"])
    assert pairs == {"the probe, ann", "the probe, bob", "ann, bob"}


def test_frames_of_the_training_are_scored_on_demand_and_marked(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("evaluate", project, "--all", "--resamples", 10) == 0
    shown = capsys.readouterr()
    assert "r0: 260 of 260 frames scored, of which 260 WERE USED IN TRAINING" in shown.out
    assert "INCLUDES TRAINING FRAMES" in shown.out + shown.err


def test_with_nothing_unseen_the_error_names_the_remedy(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("evaluate", project, "-r", "r0") == 3
    assert "--test RECORDING" in capsys.readouterr().err


def test_annotators_are_compared_where_both_labelled(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    csv = project / "agreement.csv"
    assert run("agreement", project, "--csv", csv) == 0
    table = pd.read_csv(csv)
    assert set(table["annotators"]) == {"ann, bob"}
    assert set(table["frames"]) == {260}
    defined = table["kappa"].dropna()
    assert len(defined)
    assert ((defined > 0) & (defined < 1)).all()
    assert run("agreement", project, "-r", "r0") == 3
    assert "No two annotators" in capsys.readouterr().err


def test_unseen_frames_are_those_of_the_test_part():
    probe = card(
        2,
        ("r", 0, 10, "train"),
        ("r", 12, 15, "validation"),
        ("r", 17, 20, "test"),
        ("s", 0, 9, "train"),
    )
    # Rows 17 to 19 are frames 34, 36 and 38; the last row ends the recording.
    assert unseen(probe, "r", 40) == list(range(34, 40))
    # A frame after the last row of a part may take its value from the next row.
    assert unseen(probe, "r", 60) == list(range(34, 39))
    assert unseen(probe, "s", 18) == []
    assert unseen(probe, "new", 5) == [0, 1, 2, 3, 4]
