"""The command line: one straight path, clear errors, documented exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ethoprism import workflow
from ethoprism.cli import main
from ethoprism.project import Project
from ethoprism.recording import open_recording
from ethoprism.subjects import Unit
from ethoprism_datasets.arena import write_recording


def run(*arguments: object) -> int:
    """Exit code of ``ethoprism`` with these arguments."""
    try:
        main([str(a) for a in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(3):
        write_recording(folder, f"r{i}", i, n_frames=260)
    return folder


@pytest.fixture(scope="module")
def project(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with three labelled recordings, their tokens and a probe."""
    folder = tmp_path_factory.mktemp("p") / "project"
    assert run("init", folder, "--weights", "untrained") == 0
    assert run("add", folder, *sorted(videos.glob("*.mp4"))) == 0
    for path in sorted(videos.glob("*.frames.csv")):
        assert run("label", "import", folder, path, "--yes") == 0
    assert run("extract", folder) == 0
    assert run("train", folder, "--test", "r2") == 0
    assert run("predict", folder) == 0
    return folder


def test_the_csv_has_a_row_per_frame_with_the_containers_times(project: Path, videos: Path):
    out = project / "out.csv"
    assert run("export", project, "--out", out, "-r", "r2") == 0
    table = pd.read_csv(out)
    recording, _ = open_recording(videos / "r2.mp4")
    assert list(table.columns[:5]) == ["recording", "subject", "frame", "time_s", "covered"]
    assert table.columns[-1] == "label"
    assert np.array_equal(table["frame"], np.arange(260))
    assert np.array_equal(table["time_s"], recording.frame_times)
    assert table["covered"].all()
    card = json.loads((project / "out.csv.card.json").read_text())
    assert "untrained" in card["backbone"]


def test_the_default_file_names_say_untrained(project: Path):
    assert run("export", project, "--format", "bouts-csv") == 0
    bouts = pd.read_csv(project / "exports" / "probe-untrained-bouts.csv")
    assert set(bouts["source"]) <= {"automated"}


def test_labels_come_out_as_they_went_in(project: Path, videos: Path):
    out = project / "labels.csv"
    assert run("export", project, "--labels", "--out", out, "-r", "r0") == 0
    before, after = pd.read_csv(videos / "r0.frames.csv"), pd.read_csv(out)
    for name in before.columns[1:]:
        assert np.array_equal(before[name], after[name])


def test_the_untrained_backbone_says_so_everywhere(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    for command in (
        ["train", project, "--probe", "again"],
        ["predict", project],
        ["info", project],
    ):
        assert run(*command) == 0
        shown = capsys.readouterr()
        assert "prism-nano (untrained)" in shown.out + shown.err, command


def test_tokens_of_two_engines_are_said_to_be_that(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    mixed = tmp_path / "mixed"
    shutil.copytree(project, mixed)
    assert run("extract", mixed) == 0
    assert "computed by" not in capsys.readouterr().err
    opened = Project.open(mixed)
    key = workflow.known_keys(opened)[0]
    name = opened.recording_ids[0]
    store = workflow.open_tokens(opened, key, Unit(name))
    store.sign({"engine": "openvino", "version": "1", "device": "cpu", "precision": "float32"})
    assert run("extract", mixed) == 0
    told = capsys.readouterr().err
    assert f"{name} was computed by jax and openvino" in " ".join(told.split())


def test_a_dry_run_writes_nothing(
    project: Path, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    labels = tmp_path / "r0.csv"
    labels.write_text("frame,new\n0,1\n1,0\n")
    before = (copy / "annotations.sqlite").read_bytes(), (copy / "ethoprism.toml").read_bytes()
    assert run("label", "import", copy, labels, "--dry-run") == 0
    assert run("label", "import", copy, labels) == 2  # nobody there to ask
    assert "New in the ethogram: new" in capsys.readouterr().out
    after = (copy / "annotations.sqlite").read_bytes(), (copy / "ethoprism.toml").read_bytes()
    assert before == after
    assert run("label", "import", copy, labels, "--yes") == 0
    assert "new" in (copy / "ethoprism.toml").read_text()
    assert run("label", "undo", copy) == 0
    assert run("label", "redo", copy) == 0


def test_importing_twice_adds_nothing(
    project: Path, videos: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("label", "import", project, videos / "r0.frames.csv", "--yes") == 0
    assert "Saved 0 bouts and 0 observed spans" in capsys.readouterr().out


def _cut(videos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cut.mp4"
    content = (videos / "r0.mp4").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def _text(videos: Path, tmp_path: Path) -> Path:
    path = tmp_path / "text.mp4"
    path.write_text("this is no video\n" * 100)
    return path


def _empty(videos: Path, tmp_path: Path) -> Path:
    import av

    path = tmp_path / "empty.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        container.start_encoding()
    return path


@pytest.mark.parametrize("make", [_cut, _text, _empty])
def test_bad_videos_are_one_clear_paragraph_and_leave_the_project_alone(
    project: Path, videos: Path, tmp_path: Path, make, capsys: pytest.CaptureFixture[str]
):
    path = make(videos, tmp_path)
    before = (project / "recordings.csv").read_bytes()
    capsys.readouterr()
    assert run("add", project, path) == 3
    shown = capsys.readouterr()
    assert shown.err.startswith("Error: ")
    assert path.name in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    assert (project / "recordings.csv").read_bytes() == before


def test_labels_outside_the_recording_are_refused_whole(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    labels = tmp_path / "r0.csv"
    labels.write_text("frame,walk\n0,1\n260,1\n")
    before = (project / "annotations.sqlite").read_bytes()
    assert run("label", "import", project, labels, "--yes") == 3
    assert "0 to 260" in capsys.readouterr().err
    assert (project / "annotations.sqlite").read_bytes() == before


def test_a_wrong_checkpoint_is_refused_with_what_differs(
    tmp_path: Path, videos: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "wrong.npz"
    np.savez(path, allow_pickle=False, **{"params/spatial_ln/scale": np.zeros(3, np.float32)})
    folder = tmp_path / "project"
    assert run("init", folder, "--backbone", "videoprism-base", "--weights", path) == 0
    assert run("add", folder, videos / "r0.mp4") == 0
    assert run("extract", folder) == 3
    shown = capsys.readouterr().err
    assert "missing" in shown
    assert "params/spatial_ln/scale is (3,)" in shown
    assert not (folder / "tokens").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["info", "nowhere"], 3, "nowhere"),
        (["extract", "."], 4, "not a project"),
        (["init", "x", "--backbone", "prism-nan"], 3, "Did you mean 'prism-nano'?"),
        (["train"], 2, "Missing argument"),
        (["train", ".", "--split", "days"], 2, "auto, recordings, blocks"),
        (["train", ".", "--split", "frames"], 3, "cannot be split one by one"),
    ],
)
def test_exit_codes_are_those_documented(
    arguments: list[str],
    code: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    assert text in capsys.readouterr().err


def test_a_changed_video_is_noticed(project: Path, tmp_path: Path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(project, copy)
    video = tmp_path / "own.mp4"
    write_recording(tmp_path, "own", 7, n_frames=30)
    assert run("add", copy, video) == 0
    write_recording(tmp_path, "other", 8, n_frames=30)
    shutil.copy(tmp_path / "other.mp4", video)
    assert run("extract", copy, "-r", "own") == 4
    assert "not the file that was added" in capsys.readouterr().err


@pytest.mark.slow
def test_the_demo_is_far_above_chance_and_leaves_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run("demo", "--out", tmp_path / "demo") == 0
    shown = capsys.readouterr().out
    assert "untrained" not in shown
    exports = tmp_path / "demo" / "project" / "exports"
    assert (exports / "ethogram.png").stat().st_size > 10_000
    assert (exports / "search.png").stat().st_size > 10_000
    words = " ".join(shown.split())
    found = re.search(r"precision@10 ([01]\.\d+)", words)
    chance = re.search(r"([01]\.\d+) do \(chance\)", words)
    assert found and chance and float(found[1]) > 2 * float(chance[1])
    table = pd.read_csv(exports / "demo-frames.csv")
    scores = json.loads((exports.parent / "probes" / "demo" / "metrics.json").read_text())["test"]
    assert len(table) == next(iter(scores.values()))["frames"]
    true_lift, true_gain = _over_chance(scores)
    assert true_lift > 1.5
    assert true_gain > 0.1
    shuffled_lift, shuffled_gain = _over_chance(_shuffled_scores(exports.parent))
    assert shuffled_lift < 1.15
    assert shuffled_gain < 0.02


def _over_chance(scores: dict[str, dict[str, float]]) -> tuple[float, float]:
    """Means over behaviours: average precision over prevalence, and F1 minus chance F1."""
    lifts = [s["average_precision"] * s["frames"] / s["present"] for s in scores.values()]
    gains = [s["f1"] - s["chance_f1"] for s in scores.values()]
    return float(np.mean(lifts)), float(np.mean(gains))


def _shuffled_scores(folder: Path) -> dict[str, dict[str, float]]:
    """Test scores of a probe like the demo's whose labels were shuffled over the frames."""
    from ethoprism import workflow
    from ethoprism.probe.batches import LabelledTokens
    from ethoprism.probe.train import Schedule, train
    from ethoprism.project import Project
    from ethoprism.splits import split_groups
    from ethoprism.subjects import Unit

    project = Project.open(folder)
    (key,) = workflow.known_keys(project)
    names = project.ethogram.names
    states = workflow.label_states(project, project.recording_ids, names)
    rng = np.random.default_rng(0)
    data = [
        LabelledTokens(name, workflow.open_tokens(project, key, Unit(name)), rng.permutation(rows))
        for name, rows in states.items()
    ]
    by_recording = {d.recording: d.states for d in data}
    segments = split_groups(by_recording, {n: n for n in by_recording}, test=["arena_03"])
    schedule = Schedule(steps=100)
    task = train(data, segments, project.ethogram, names, name="x", schedule=schedule)
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value.metrics["test"]


@pytest.mark.slow
@pytest.mark.shared
def test_a_real_recording_becomes_a_csv_on_the_containers_clock(shared_dir: Path, tmp_path: Path):
    name = "courting_flies_120s"
    videos = shared_dir / "recordings"
    folder = tmp_path / "flies"
    assert run("init", folder) == 0
    assert run("add", folder, videos / f"{name}.mp4") == 0
    assert run("label", "import", folder, videos / f"{name}.labels.csv", "--yes") == 0
    assert run("extract", folder) == 0
    assert run("train", folder) == 0
    card = json.loads((folder / "probes" / "probe" / "card.json").read_text())
    parts = [s["part"] for s in card["training"]["segments"]]
    assert len(parts) == 10
    assert set(parts) == {"train", "validation", "test"}
    assert run("predict", folder) == 0
    assert run("export", folder, "--out", tmp_path / "flies.csv") == 0
    table = pd.read_csv(tmp_path / "flies.csv")
    assert len(table) == 3000
    recording, _ = open_recording(videos / f"{name}.mp4")
    assert np.array_equal(table["time_s"], recording.frame_times)
    assert np.array_equal(table["time_s"], np.arange(3000) * 512 / 12800)
    assert table["covered"].all()
