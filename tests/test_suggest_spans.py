"""What to label next in a project: with and without a probe, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.prediction import Decision, Prediction, save_prediction
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import ProbeShape
from ethoprism.progress import Progress
from ethoprism.project import Entry, Project, Settings
from ethoprism.suggest import rounds
from ethoprism.suggest.spans import SPAN_COLUMNS, suggest_next
from ethoprism.tokens import TokenKey, TokenStore

N = 2000
RATE = 25.0
KEY = TokenKey("toy", "0" * 64, "float32", False, 1, 16, 4, 8, 6, 3, 1, 2)


def finish(task: Any) -> Any:
    while True:
        try:
            assert isinstance(next(task), Progress)
        except StopIteration as stop:
            return stop.value


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Two recordings with tokens; the second half of b looks unlike all else."""
    made = Project.create(tmp_path / "p", Settings(), Ethogram().with_names(["rest", "rare"]))
    entries = [Entry(name, f"{name}.mp4", name * 64, N, 8, 8) for name in "ab"]
    lines = ["id,path,content_key,n_frames,height,width"]
    lines += [f"{e.id},{e.path},{e.content_key},{e.n_frames},{e.height},{e.width}" for e in entries]
    (made.folder / "recordings.csv").write_text("\n".join(lines) + "\n")
    made = Project.open(made.folder)
    monkeypatch.setattr(Project, "frame_times", lambda self, name: np.arange(N) / RATE)
    rng = np.random.default_rng(0)
    for entry in entries:
        path = made.tokens_path(KEY.digest, entry.id)
        store = TokenStore.create(path, KEY, N, entry.content_key)
        tokens = rng.standard_normal((N, 2, 2, 8)).astype(np.float32)
        if entry.id == "b":
            tokens[N // 2 :] += 6
        for block in range(store.n_blocks):
            start, stop = store.block(block)
            store.write_block(block, tokens[start:stop], np.ones(stop - start, bool))
    return made


def observe(project: Project, recording: str, start: int, stop: int, *bouts: tuple[int, int]):
    common = {"recording": recording, "annotator": "ann"}
    spans = [
        {**common, "behaviour": name, "start_frame": start, "stop_frame": stop}
        for name in project.ethogram.names
    ]
    rows = [{**common, "behaviour": "rest", "start_frame": a, "stop_frame": b} for a, b in bouts]
    with workflow.open_annotations(project, "write") as store:
        store.add(bout_table(rows), span_table(spans), description="test")


def probe_of(project: Project, p: dict[str, np.ndarray], f1: float = 0.5) -> Probe:
    names = project.ethogram.names
    probe = Probe(
        "probe",
        names,
        project.ethogram,
        "",
        KEY,
        ProbeShape(8, 2, 3),
        Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 1)),
        {"x": np.array([f1], np.float32)},
        metrics={"validation": {"rest": {"f1": f1}, "rare": {"f1": None}}},
    )
    for name, values in p.items():
        entry = project.entry(name)
        prediction = Prediction(
            name,
            "",
            names,
            values.astype(np.float32),
            np.ones(N, bool),
            probe.digest,
            "toy",
            entry.content_key,
        )
        save_prediction(prediction, project.prediction_path("probe", name))
    return probe


def test_without_a_probe_every_kind_of_moment_is_among_the_first(project: Project):
    found = finish(suggest_next(project, count=3))
    assert tuple(found.spans.columns) == SPAN_COLUMNS
    assert list(found.spans["rank"]) == [1, 2, 3]
    odd = (found.spans["recording"] == "b") & (found.spans["start_frame"] >= N // 2 - 100)
    assert 1 <= odd.sum() <= 2
    assert found.labelled_s == 0
    assert found.total_s == pytest.approx(2 * N / RATE)
    assert "Without a probe" in found.basis


def test_what_is_labelled_is_not_suggested(project: Project):
    observe(project, "a", 0, N)
    observe(project, "b", 0, 1500)
    found = finish(suggest_next(project, count=50))
    assert set(found.spans["recording"]) == {"b"}
    assert found.spans["start_frame"].min() >= 1500
    assert found.labelled_s == pytest.approx(3500 / RATE)
    seconds = found.spans["stop_s"] - found.spans["start_s"]
    assert seconds.max() <= 4


def test_where_the_probe_is_unsure_comes_first(project: Project):
    observe(project, "a", 0, 1000, (0, 500))
    p = {name: np.full((N, 2), 0.02) for name in "ab"}
    p["b"][300:400, 0] = 0.5
    found = finish(suggest_next(project, probe_of(project, p), count=1))
    (first,) = found.spans.to_dict("records")
    assert first["recording"] == "b"
    assert first["start_frame"] < 400
    assert first["stop_frame"] > 300
    assert first["behaviour"] == "rest"
    assert "unsure" in found.basis


def test_unfound_bouts_are_estimated_from_labels_alone(project: Project):
    observe(project, "a", 0, N, *((s, s + 50) for s in range(0, N, 100)))
    found = finish(suggest_next(project))
    row = found.unfound.set_index("behaviour").loc["rest"]
    assert row["found_bouts"] == 20
    assert row["bouts"] == pytest.approx(20, abs=2)  # b is as long as a
    assert row["bouts_low"] <= 20 <= row["bouts_high"]


def test_nothing_left_and_no_tokens_are_refused(project: Project, tmp_path: Path):
    for name in "ab":
        observe(project, name, 0, N)
    with pytest.raises(InputError, match="Everything is labelled"):
        finish(suggest_next(project))
    with pytest.raises(InputError, match="Nothing was asked for"):
        finish(suggest_next(project, count=0))
    bare = Project.create(tmp_path / "bare", Settings(), Ethogram())
    with pytest.raises(ProjectError, match="no tokens"):
        finish(suggest_next(bare))


def test_rounds_are_noted_once_and_give_a_hint(project: Project):
    for i, f1 in enumerate([0.2, 0.5, 0.6, 0.601, 0.602, 0.603]):
        probe = probe_of(project, {}, f1)
        rounds.remember(project, probe, 10.0 * (i + 1))
        rounds.remember(project, probe, 99.0)
    assert "Too early" not in rounds.hint_for(project).text
    assert rounds.hint_for(project).stop
    rounds.rounds_path(project).write_text("{broken")
    rounds.remember(project, probe_of(project, {}, 0.7), 5.0)
    assert "Too early" in rounds.hint_for(project).text
