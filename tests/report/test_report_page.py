"""The page as a reader gets it: whole, harmless, and scored on held-out frames only."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism.cli import main
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.prediction import Decision
from ethoprism.probe.decisions import Timeline
from ethoprism.project import Project, Settings
from ethoprism.report.gather import gather
from ethoprism.report.page import CONTENTS, POLICY, write_report
from ethoprism.subjects import Unit, save_tracks
from ethoprism.tracks import read_tracks

Tools = dict[str, Callable[..., Any]]
NASTY = "<script>alert(1)</script>"
N = 120
VOID = {"meta", "img", "br", "hr", "col", "link"}


class Page(HTMLParser):
    """Elements, ids, references and text of a page; tags must nest."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.references.append(value or "")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def require_sound(text: str) -> Page:
    """The parsed page, after what holds of every page."""
    page = Page(text)
    assert [name for name in page.ids if name in dict(CONTENTS)] == [
        name for name, _ in sorted(CONTENTS, key=lambda c: page.ids.index(c[0]))
    ]
    assert set(dict(CONTENTS)) <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    for reference in page.references:
        assert reference.startswith(("#", "data:image/")), reference
        if reference.startswith("#"):
            assert reference[1:] in page.ids
    outside = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"https?:|//\w|url\(|@import", outside)
    assert not {"script", "iframe", "object", "embed", "link", "form", "base"} & set(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert POLICY in text.replace("&#x27;", "'")
    return page


def write(tools: Tools, project: Project, probe: Any = None, **options: Any) -> str:
    path = project.folder / "report.html"
    assert tools["finish"](write_report(project, path, probe, n_resamples=50, **options)) == path
    return path.read_text(encoding="utf-8")


@pytest.fixture
def tested(project: Project, tools: Tools) -> tuple[Project, Any]:
    """Labels of both recordings; r0 was learnt from and predicted wrongly, r1 is held out."""
    probe = tools["probe_of"]({"r0": "train", "r1": "test"})
    for i in range(2):
        states = tools["truth"](i)
        tools["label"](project, f"r{i}", states)
        right = np.where(states == 1, 0.9, 0.1)
        tools["predict"](project, probe, Unit(f"r{i}"), right if i else 1 - right)
    return project, probe


def test_a_page_is_whole_harmless_and_names_everything(tested: tuple[Project, Any], tools: Tools):
    project, probe = tested
    page = require_sound(write(tools, project, probe))
    for name in (*probe.behaviours, project.folder.name, probe.name, "<i>ann</i>", "r0", "r1"):
        assert name in page.text, name
    assert "random weights" in page.text
    assert "only one recording could be scored" in page.text


def test_only_held_out_frames_are_scored(tested: tuple[Project, Any], tools: Tools):
    project, probe = tested
    found = tools["finish"](gather(project, probe, _now(), n_resamples=50))
    assert found.basis == "held out"
    assert found.scored_recordings == ["r1"]
    assert (found.scores.table["f1"] == 1).all()  # r0 is predicted wrongly throughout
    assert found.views[0].learnt.all()
    assert not found.views[1].learnt.any()


def test_errors_name_recording_frame_and_time_and_show_it(
    tested: tuple[Project, Any], tools: Tools
):
    project, probe = tested
    states = tools["truth"](1)
    wrong = np.where(states == 1, 0.9, 0.1)
    wrong[:, 2] = 0.1
    states[40:50, 2], wrong[45, 2] = 1, 0.02
    tools["label"](project, "r1", states)
    tools["predict"](project, probe, Unit("r1"), wrong)
    page = require_sound(write(tools, project, probe))
    time = project.frame_times("r1")
    assert re.search(rf"rest missed ?r1, frame 45 at {time[45]:.1f} s", page.text)
    pictures = [r for r in page.references if r.startswith("data:image/jpeg")]
    assert pictures


def test_labels_alone_and_little_of_them(project: Project, tools: Tools):
    tools["label"](project, "r0", tools["truth"](0), observed=(30, 60))
    page = require_sound(write(tools, project))
    assert "There is no probe yet" in page.text
    assert "12 % of that time was observed" in page.text  # 30 of 240 frames


def test_a_project_without_labels_still_gives_a_page(project: Project, tools: Tools):
    page = require_sound(write(tools, project))
    assert "0 % of that time was observed by nobody" in page.text


def test_an_empty_ethogram_is_refused(tmp_path: Path, tools: Tools):
    project = Project.create(tmp_path / "p", Settings(), Ethogram())
    with pytest.raises(LabelError, match="no behaviours"):
        tools["finish"](write_report(project, tmp_path / "r.html"))
    assert not (tmp_path / "r.html").exists()


def test_nothing_held_out_is_said_and_nothing_is_scored(project: Project, tools: Tools):
    probe = tools["probe_of"]({"r0": "train", "r1": "train"})
    for i in range(2):
        tools["label"](project, f"r{i}", tools["truth"](i))
        tools["predict"](project, probe, Unit(f"r{i}"), np.full((N, 3), 0.7))
    page = require_sound(write(tools, project, probe))
    assert "Nothing could be scored" in page.text
    assert "learnt from or tuned on throughout" in page.text


def test_folds_are_scored_with_their_own_thresholds(
    project: Project, tools: Tools, monkeypatch: pytest.MonkeyPatch
):
    """The probe's thresholds call nothing; those of the folds call what is there."""
    names = tools["probe_of"]({}).behaviours
    own = Decision(dict.fromkeys(names, 0.35), dict.fromkeys(names, 1)).to_dict()
    splits = [[vars(Segment(f"r{i}", 0, N, "test"))] for i in range(2)]
    folds = {"decisions": [own, own], "segments": splits}
    probe = tools["probe_of"](
        {"r0": "train", "r1": "train"}, held_out="folds", cross_validation=folds
    )
    kept = []
    for i in range(2):
        states = tools["truth"](i)
        tools["label"](project, f"r{i}", states)
        right = np.where(states == 1, 0.4, 0.1).astype(np.float32)
        tools["predict"](project, probe, Unit(f"r{i}"), right)
        kept.append(Timeline(f"r{i}", "", right, np.ones(N, bool), states))
    monkeypatch.setattr("ethoprism.probe.checkpoint.load_held_out", lambda *_: tuple(kept))
    findings = tools["finish"](gather(project, probe, _now(), n_resamples=50))
    assert findings.basis == "folds" and findings.scores is not None
    assert (findings.scores.table["f1"] == 1).all()
    page = require_sound(write(tools, project, probe))
    assert "thresholds that were chosen without it" in page.text
    assert "There are none in the scored frames" in page.text  # of errors
    assert "too good" not in page.text.lower()


def test_subjects_are_shown_and_scored_each(project: Project, videos: Path, tools: Tools):
    probe = tools["probe_of"]({"r0": "train", "r1": "test"}, crop="subject 2 lengths")
    for i in range(2):
        tracks, _ = read_tracks(videos / f"r{i}.tracks.csv", N)
        save_tracks(project, f"r{i}", tracks)
        for j, track in enumerate(tracks):
            states = tools["truth"](10 * i + j)
            tools["label"](project, f"r{i}", states, subject=track.subject)
            called = np.where(states == 1, 0.9, 0.1) if j else np.full((N, 3), 0.9)
            tools["predict"](project, probe, Unit(f"r{i}", track.subject), called)
    found = tools["finish"](gather(project, probe, _now(), n_resamples=50))
    good, poor = found.by_subject["mouse_b"].table["f1"], found.by_subject["mouse_a"].table["f1"]
    assert (good == 1).all()
    assert (poor < 1).all()
    page = require_sound(write(tools, project, probe))
    assert "r1@mouse_a" in page.text
    assert [r for r in page.references if r.startswith("data:image/jpeg")]


def test_two_annotators_stand_beside_the_probe(tested: tuple[Project, Any], tools: Tools):
    project, probe = tested
    tools["label"](project, "r1", np.roll(tools["truth"](1), 2, axis=0), annotator="bob")
    page = require_sound(write(tools, project, probe))
    assert "the probe" in page.text
    assert "bob" in page.text
    assert "kappa" in page.text
    assert "no two people labelled" not in page.text


def test_closing_the_work_leaves_no_file(tested: tuple[Project, Any], tmp_path: Path):
    project, probe = tested
    out = tmp_path / "out"
    out.mkdir()
    task = write_report(project, out / "r.html", probe, n_resamples=50)
    next(task)
    next(task)
    task.close()
    assert list(out.iterdir()) == []


def test_the_same_project_gives_the_same_page(tested: tuple[Project, Any], tools: Tools):
    project, probe = tested
    made = _now()
    assert write(tools, project, probe, made=made) == write(tools, project, probe, made=made)


def test_the_command_writes_into_the_exports(
    project: Project, tools: Tools, capsys: pytest.CaptureFixture[str]
):
    tools["label"](project, "r0", tools["truth"](0))
    main(["report", str(project.folder), "--resamples", "20"])
    assert "There is no probe yet" in capsys.readouterr().err
    require_sound((project.exports_folder / "report.html").read_text(encoding="utf-8"))


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2024, 5, 6, 7, 8, tzinfo=UTC)
