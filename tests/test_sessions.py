"""Views of one session in a project, from the command line to the table of frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import video_samples as vs
from test_cli import run

from ethoprism.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Views of 60 frames at 25 a second and of 90 at 30 a second."""
    ticks = [i * 40 for i in range(60)], [round(i * 1000 / 30) for i in range(90)]
    for name, moments in zip(("a.mkv", "b.mkv"), ticks, strict=True):
        sample = vs.Sample(name, "ffv1", "yuv420p")
        vs.write(tmp_path, sample, len(moments), ticks=moments, time_base=Fraction(1, 1000))
    assert run("init", tmp_path / "p") == 0
    assert run("add", tmp_path / "p", tmp_path / "a.mkv", tmp_path / "b.mkv") == 0
    return tmp_path / "p"


def test_views_are_matched_by_moments_and_their_frames_listed(project: Path, tmp_path: Path):
    # b began 0.5 s before a: its frame 15 shows what a's frame 0 shows.
    out = tmp_path / "frames.csv"
    matches = ("--match", "a:0=b:15", "--match", "a:50=b:75")
    assert run("sync", project, "day1", *matches, "--table", out) == 0
    entry = Project.open(project).entry("b")
    assert entry.session == "day1" and entry.offset == pytest.approx(-0.5, abs=1e-3)
    assert abs(entry.drift) < 1e-3
    table = pd.read_csv(out)
    assert list(table.columns) == ["session_s", "a", "b"]
    expected = np.round(15 + np.arange(60) * 30 / 25)
    known = table["b"].notna()
    assert known.sum() >= 59
    assert abs(table["b"][known] - expected[known]).max() <= 1


def test_offsets_may_be_typed(project: Path, capsys: pytest.CaptureFixture[str]):
    assert run("sync", project, "s", "--view", "a", "--view", "b=1.5,0.0001") == 0
    entry = Project.open(project).entry("b")
    assert (entry.offset, entry.drift) == (1.5, 0.0001)
    assert "100 ppm" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--view", "b=x"),
        ("--view", "b=1,2,3"),
        ("--view", "b=0,0.9"),
        ("--match", "a:1"),
        ("--match", "a:1=b:x"),
        ("--match", "a:1=b:90"),
        (),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(project: Path, arguments: tuple[str, ...]):
    before = (project / "recordings.csv").read_text()
    assert run("sync", project, "s", *arguments) in (3, 4)
    assert (project / "recordings.csv").read_text() == before
