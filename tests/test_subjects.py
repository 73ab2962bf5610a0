"""Tokens, probes and predictions of subjects: what is cut, what is unscored, what cannot leak."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from test_cli import run
from toy_backbone import ToyBackbone

from ethoprism import importing, subjects, training, workflow
from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.backbones.preprocess import preprocess
from ethoprism.crops import CropPath, Region, cut
from ethoprism.errors import InputError, LabelError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.extract import Batches, extract
from ethoprism.probe.batches import load_samples
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.model import ProbeShape
from ethoprism.probe.predict import predict
from ethoprism.project import Project, Settings
from ethoprism.recording import open_frames
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenStore
from ethoprism.tracks import Track, read_tracks
from ethoprism.windows import WindowGrid
from ethoprism_datasets.arena import write_recording

N = 150
GAP = slice(60, 95)
BACKBONE = ToyBackbone(frames=4)


def finish(task: Generator[Any, None, Any] | Iterator[Any]) -> Any:
    """The result of a task."""
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


def boxes_csv(tracks: Path, out: Path) -> Path:
    """The arena's tracks as a table of boxes; ``mouse_a`` is not seen in the frames of `GAP`."""
    table = pd.read_csv(tracks)
    names = {"x0": "left", "y0": "top", "x1": "right", "y1": "bottom"}
    table = table[["frame", "subject", *names]].rename(columns=names)
    lost = (table["subject"] == "mouse_a") & table["frame"].between(GAP.start, GAP.stop - 1)
    table[~lost].to_csv(out, index=False)
    return out


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for i in range(3):
        files = write_recording(folder, f"r{i}", i, n_frames=N)
        boxes_csv(files.tracks, folder / f"r{i}.boxes.csv")
    return folder


@pytest.fixture(scope="module")
def made(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of three recordings with labels and tracks of two subjects each, and tokens."""
    folder = tmp_path_factory.mktemp("p") / "project"
    settings = Settings(backbone="prism-nano", crop="subject 2 lengths")
    project = Project.create(folder, settings, Ethogram())
    for i in range(3):
        project, name, _ = workflow.add_recording(project, videos / f"r{i}.mp4")
        request = importing.import_request(project, recording=name, observed="whole")
        labels = videos / f"r{i}.bouts.csv"
        preview = importing.preview_import(project, labels, "bouts-csv", request)
        project = importing.apply_import(project, preview, description="labels")
        tracks, _ = read_tracks(videos / f"r{i}.boxes.csv", N)
        subjects.save_tracks(project, name, tracks)
    finish(workflow.extract_tokens(project, BACKBONE))
    return folder


@pytest.fixture(scope="module")
def probe(made: Path) -> Probe:
    """A probe of both subjects, r2 held out; it is saved in the project."""
    project = Project.open(made)
    plan = training.TrainingPlan("p", behaviours=("walk",), test=("r2",))
    return finish(training.train_probe(project, workflow.project_key(project, BACKBONE), plan))


@pytest.fixture
def project(made: Path, videos: Path, tmp_path: Path) -> Project:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "project")
    return Project.open(tmp_path / "project")


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_tokens_of_a_subject_are_those_of_its_crop_and_gaps_are_masked(project: Project):
    key = workflow.project_key(project, BACKBONE)
    unit = Unit("r0", "mouse_a")
    store = workflow.open_tokens(project, key, unit)
    path = subjects.crop_path(project, unit, key.crop)
    assert path is not None
    assert not path.valid[GAP].any()
    assert np.array_equal(store.valid(), path.valid)
    grid = WindowGrid(N, key.length, key.hop)
    images = np.zeros((N, 16, 16, 3), np.uint8)
    frames = open_frames(project.recording("r0"))
    for number in np.flatnonzero(path.valid):
        top, left = path.top_left[number].tolist()
        images[number] = preprocess(cut(np.asarray(frames[number]), top, left, path.size), 16)
    frames.close()
    spatial = np.asarray(BACKBONE.spatial(jnp.asarray(images)))
    for row in np.flatnonzero(path.valid).tolist():
        window = grid.window_of(row)
        start, stop = grid.start(window), grid.stop(window)
        inside = np.zeros((1, key.length, 16, 8), np.float32)
        inside[0, : stop - start] = spatial[start:stop]
        padding = np.ones((1, key.length), bool)
        padding[0, : stop - start] = ~path.valid[start:stop]
        whole = BACKBONE.temporal(jnp.asarray(inside), jnp.asarray(padding))[0, row - start]
        expected = np.asarray(whole).reshape(4, 4, 8)
        np.testing.assert_allclose(store.tokens(row, row + 1)[0], expected, rtol=2e-3, atol=2e-3)
    other = workflow.open_tokens(project, key, Unit("r0", "mouse_b"))
    assert other.valid().all()
    assert not np.array_equal(other.tokens(), store.tokens())


def test_cancelled_anywhere_and_started_again_gives_the_same_bytes_with_crops(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ethoprism.tokens._TARGET_SHARD_BYTES", 16 * 16 * 8 * 2)
    key = workflow.project_key(project, BACKBONE)
    crop = subjects.crop_path(project, Unit("r0", "mouse_a"), key.crop)
    recording = project.recording("r0")

    def task(path: Path) -> Generator[Any, None, None]:
        batches = Batches(frames=5, windows=2)
        return extract(recording, BACKBONE, key, path, crop=crop, batches=batches)

    finish(task(tmp_path / "whole.zarr"))
    for after in (1, 3, 5, 6, 9):  # within the gap, too
        path = tmp_path / f"{after}.zarr"
        begun = task(path)
        for _ in range(after):
            next(begun)
        begun.close()
        # The writer finishes the blocks that it was given, so there may be more than were told of.
        assert len(list(path.glob("done/c/*"))) >= after - 1
        finish(task(path))
        assert _digest(path) == _digest(tmp_path / "whole.zarr")


def test_a_probe_of_subjects_predicts_each_and_gaps_are_unscored_in_the_csv(
    project: Project, probe: Probe
):
    key = probe.key
    assert set(probe.training["metrics_by_subject"]) == {"mouse_a", "mouse_b"}
    tested = [
        probe.training["metrics_by_subject"][s]["test"]["walk"] for s in ("mouse_a", "mouse_b")
    ]
    assert tested[0]["frames"] < tested[1]["frames"] == N
    assert sum(t["present"] for t in tested) == probe.metrics["test"]["walk"]["present"]
    finish(workflow.predict_recordings(project, probe))
    table = pd.read_csv(workflow.export_predictions(project, probe, "frames-csv"))
    assert len(table) == 3 * 2 * N
    for (recording, subject), rows in table.groupby(["recording", "subject"]):
        assert np.array_equal(rows["frame"], np.arange(N))
        covered = rows["covered"].to_numpy().astype(bool)
        path = subjects.crop_path(project, Unit(str(recording), str(subject)), key.crop)
        assert path is not None
        assert np.array_equal(covered, path.valid)
        assert covered.all() == (subject == "mouse_b")
        unscored = rows[~covered].drop(columns=["recording", "subject", "frame", "time_s"])
        assert unscored.drop(columns="covered").isna().all(axis=None)
    bouts = pd.read_csv(workflow.export_predictions(project, probe, "bouts-csv"))
    assert set(bouts["subject"]) <= {"mouse_a", "mouse_b"}
    lost = bouts[(bouts["subject"] == "mouse_a")]
    assert not ((lost["start_frame"] < GAP.stop) & (lost["stop_frame"] > GAP.start)).any()


def test_with_a_step_frames_of_a_gap_between_samples_are_unscored(project: Project, probe: Probe):
    project = project.with_settings(replace(project.settings, step=4))
    finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    key = workflow.project_key(project, BACKBONE)
    probe = replace(probe, key=key)
    (a, b) = finish(workflow.predict_recordings(project, probe, ["r0"]))
    assert (a.subject, b.subject) == ("mouse_a", "mouse_b")
    path = subjects.crop_path(project, Unit("r0", "mouse_a"), key.crop)
    assert path is not None
    assert not (a.covered & ~path.valid).any()
    assert a.covered.sum() > path.valid.sum() - 8


def test_both_subjects_of_a_recording_are_in_the_same_part(probe: Probe):
    segments = probe.training["segments"]
    assert sorted(s["recording"] for s in segments) == ["r0", "r1", "r2"]  # not once a subject
    assert {s["part"] for s in segments} == {"train", "validation", "test"}


class Enough(Exception):
    """Training was about to begin."""


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What training is given, without the training."""
    seen: list[Any] = []

    def stop(data: Any, segments: Any, *_: Any, **__: Any) -> None:
        seen.extend((data, segments))
        raise Enough

    monkeypatch.setattr(training, "train", stop)
    return seen


def test_blocks_are_the_same_times_for_both_subjects(
    project: Project, given: list[Any], monkeypatch: pytest.MonkeyPatch
):
    """No frame enters the learning on one subject and the judging of the other."""
    monkeypatch.setattr(training, "split_gap", lambda *_: 7)  # the recording is short
    key = workflow.project_key(project, BACKBONE)
    plan = training.TrainingPlan("q", ("walk",), ("r0",), split="blocks")
    with pytest.raises(Enough):
        finish(training.train_probe(project, key, plan))
    data, segments = given
    assert [(d.recording, d.subject) for d in data] == [("r0", "mouse_a"), ("r0", "mouse_b")]
    assert [s.recording for s in segments] == ["r0"] * 10
    seen = {
        part: [
            load_samples([d], segments, part, ProbeShape(d.store.key.width, 1, 0)).centres.size
            for d in data
        ]
        for part in ("train", "validation", "test")
    }
    assert all(min(sizes) > 0 for sizes in seen.values())
    for a in segments:
        for b in segments:
            if a.part != b.part:
                assert a.stop + 7 <= b.start or b.stop + 7 <= a.start


def test_a_subject_can_be_chosen(project: Project, probe: Probe, given: list[Any]):
    plan = training.TrainingPlan("q", behaviours=("walk",), subject="mouse_b")
    with pytest.raises(Enough):
        finish(training.train_probe(project, probe.key, plan))
    assert [d.subject for d in given[0]] == ["mouse_b"] * 3
    predictions = finish(workflow.predict_recordings(project, replace(probe, subject="mouse_b")))
    assert [p.subject for p in predictions] == ["mouse_b"] * 3
    with pytest.raises(ProjectError, match="mouse_a, mouse_b"):
        finish(training.train_probe(project, probe.key, replace(plan, subject="mouse_c")))


def test_labels_without_a_subject_count_where_there_is_one_only(project: Project):
    with workflow.open_annotations(project) as store:
        bouts = (
            store.bouts("r0")
            .iloc[:1]
            .assign(subject="", behaviour="walk", start_frame=3, stop_frame=9)
        )
        spans = (
            store.spans("r0")
            .iloc[:1]
            .assign(subject="", behaviour="walk", start_frame=0, stop_frame=20)
        )
        ids = store.bouts("r0").index.tolist(), store.spans("r0").index.tolist()
        store.remove(*ids, description="all")
        store.add(bouts, spans, description="nobody's")
    for name in ("mouse_a", "mouse_b"):
        states = workflow.unit_states(project, Unit("r0", name), ["walk"])
        assert (states == UNOBSERVED).all()
    key = workflow.project_key(project, BACKBONE)
    with pytest.raises(LabelError, match=r"'mouse_a', 'mouse_b'.*labels of no subject"):
        finish(training.train_probe(project, key, training.TrainingPlan("p", (), ("r0",))))
    tracks = subjects.tracks_of(project, "r0")
    subjects.save_tracks(project, "r0", tracks[:1], overwrite=True)
    states = workflow.unit_states(project, Unit("r0", "mouse_a"), ["walk"])[:, 0]
    assert (states[3:9] == PRESENT).all()
    assert (states[:3] == ABSENT).all()
    assert (states[20:] == UNOBSERVED).all()


def test_tokens_of_another_track_are_refused_with_the_remedy(project: Project):
    key = workflow.project_key(project, BACKBONE)
    tracks = subjects.tracks_of(project, "r0")
    moved = [replace(t, centres=t.centres + np.float32(3)) for t in tracks]
    subjects.save_tracks(project, "r0", moved, overwrite=True)
    unit = Unit("r0", "mouse_b")
    with pytest.raises(ProjectError, match=r"another region or track.*extract PROJECT -r r0\.$"):
        workflow.open_tokens(project, key, unit)
    with pytest.raises(ProjectError, match="another region or track"):
        finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    for name in ("mouse_a", "mouse_b"):
        shutil.rmtree(project.tokens_path(key.digest, Unit("r0", name).name))
    finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    assert workflow.open_tokens(project, key, unit).complete


def test_tokens_of_another_region_are_refused_and_a_probe_knows_its_crop(
    project: Project, probe: Probe
):
    project = project.with_settings(replace(project.settings, crop="region"))
    with pytest.raises(ProjectError, match="'r0' has no region"):
        finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    for i, name in enumerate(project.recording_ids):
        project = subjects.set_region(project, name, Region(10 + i, 20, 200, 180))
    finish(workflow.extract_tokens(project, BACKBONE))
    key = workflow.project_key(project, BACKBONE)
    store = workflow.open_tokens(project, key, Unit("r0"))
    path = CropPath.from_region(Region(10, 20, 200, 180), N)
    assert TokenStore.open(store.path, key, N, project.entry("r0").content_key, path.digest)
    probe = replace(probe, key=key)
    assert finish(workflow.predict_recordings(project, probe, ["r0"]))[0].covered.all()
    other = subjects.set_region(project, "r0", Region(11, 20, 200, 180))
    with pytest.raises(ProjectError, match="another region or track"):
        finish(workflow.predict_recordings(other, probe, ["r0"]))
    subject_key = replace(key, crop="subject 2 lengths")
    whose = workflow.open_tokens(project, subject_key, Unit("r0", "mouse_b"))
    with pytest.raises(ProjectError, match=r"crop region.*crop subject 2 lengths"):
        finish(predict(probe, project.recording("r0"), whose))


def test_a_focus_keeps_the_tokens_of_the_region_of_whole_frames(project: Project):
    project = project.with_settings(replace(project.settings, crop="whole"))
    whole = workflow.project_key(project, BACKBONE)
    finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    entry = project.entry("r0")
    half = Region(0, 0, entry.width // 2, entry.height)
    project = project.with_settings(replace(project.settings, crop="focus"))
    with pytest.raises(ProjectError, match="'r0' has no region"):
        finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    project = subjects.set_region(project, "r0", half)
    finish(workflow.extract_tokens(project, BACKBONE, ["r0"]))
    key = workflow.project_key(project, BACKBONE)
    assert key.crop == "focus" and key.digest != whole.digest
    store = workflow.open_tokens(project, key, Unit("r0"))
    left = workflow.open_tokens(project, whole, Unit("r0")).tokens().astype(np.float32)
    left = left[:, :, : left.shape[2] // 2]
    found = store.tokens().astype(np.float32)
    # Cells of half the width: two of them side by side are a cell of the whole frame.
    pairs = found.reshape(*found.shape[:2], -1, 2, found.shape[-1]).mean(axis=3)
    np.testing.assert_allclose(pairs, left, atol=3e-3)
    other = subjects.set_region(project, "r0", replace(half, left=2))
    with pytest.raises(ProjectError, match="another region or track"):
        workflow.open_tokens(other, key, Unit("r0"))


def test_names_of_units_are_never_ambiguous(project: Project, tmp_path: Path):
    with pytest.raises(InputError, match="id of a recording"):
        workflow.add_recording(project, project.recording("r0").path, id="r0@mouse_a")
    track = subjects.tracks_of(project, "r0")[0]
    table = project.tracks_path("r0")
    table.write_text(table.read_text().replace("mouse_a", "../../mouse"))
    with pytest.raises(InputError, match="id of a subject"):
        subjects.units(project, "subject", ["r0"])
    short = Track("mouse_a", track.centres[:-1], track.boxes[:-1])
    with pytest.raises(InputError, match="not of this recording"):
        subjects.save_tracks(project, "r0", [short], overwrite=True)
    assert table.exists()


def test_tracks_that_are_replaced_are_kept_beside_the_new_ones(project: Project):
    before = project.tracks_path("r0").read_bytes()
    tracks = subjects.tracks_of(project, "r0")
    with pytest.raises(ProjectError, match="--replace"):
        subjects.save_tracks(project, "r0", tracks[:1])
    assert project.tracks_path("r0").read_bytes() == before
    subjects.save_tracks(project, "r0", tracks[:1], overwrite=True)
    (aside,) = project.tracks_path("r0").parent.glob("r0.before-*.csv")
    assert aside.read_bytes() == before
    assert len(subjects.tracks_of(project, "r0")) == 1


def test_the_command_line_from_tracks_to_a_csv_of_each_subject(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "project"
    options = ("--weights", "untrained", "--pooling", 1, "--step", 3)
    assert run("init", folder, *options) == 0
    assert run("add", folder, videos / "r0.mp4", videos / "r1.mp4") == 0
    for name in ("r0", "r1"):
        labels = videos / f"{name}.bouts.csv"
        options = ("--format", "bouts-csv", "--observed", "whole", "--yes")
        assert run("label", "import", folder, labels, *options) == 0
    assert run("crop", folder, "subject", "--margin", "1.5") == 0
    capsys.readouterr()
    assert run("extract", folder) == 4
    assert "ethoprism track import PROJECT FILE -r r0" in capsys.readouterr().err
    for name in ("r0", "r1"):
        assert run("track", "import", folder, videos / f"{name}.boxes.csv", "-r", name) == 0
    assert "mouse_b" in capsys.readouterr().out
    assert run("track", "import", folder, videos / "r0.boxes.csv", "-r", "r0") == 4
    assert "--replace" in capsys.readouterr().err
    again = ["track", "import", folder, videos / "r0.boxes.csv", "-r", "r0", "--replace"]
    assert run(*again, "--rename", "mouse_x=mouse_a") == 3
    assert run(*again) == 0
    sheet = tmp_path / "sheet.png"
    assert run("track", "preview", folder, "-r", "r0", "--out", sheet) == 0
    assert sheet.stat().st_size > 10_000
    assert run("extract", folder) == 0
    assert run("train", folder, "--behaviours", "walk") == 0
    assert run("predict", folder) == 0
    assert f"r0, mouse_b: {N} of {N} frames" in capsys.readouterr().out
    assert run("export", folder, "--out", tmp_path / "out.csv") == 0
    table = pd.read_csv(tmp_path / "out.csv")
    assert table.groupby(["recording", "subject"]).size().to_dict() == {
        (r, s): N for r in ("r0", "r1") for s in ("mouse_a", "mouse_b")
    }
    covered = table["covered"].astype(bool)
    lost = (table["subject"] == "mouse_a") & table["frame"].between(GAP.start, GAP.stop - 1)
    assert not covered[lost].any()
    assert covered[table["subject"] == "mouse_b"].all()
    card = json.loads((tmp_path / "out.csv.card.json").read_text())
    assert card["token_key"]["crop"] == "subject 1.5 lengths"
    assert "untrained" in card["backbone"]
    assert run("info", folder) == 0


def test_regions_and_following_on_the_command_line(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "project"
    assert run("init", folder) == 0
    assert run("add", folder, videos / "r0.mp4") == 0
    assert run("region", folder, "10,20,300,180", "-r", "r0") == 3
    assert "256" in capsys.readouterr().err
    assert run("region", folder, "10,20,200,180", "-r", "r0") == 0
    assert Project.open(folder).entry("r0").region == "10,20,200,180"
    assert run("region", folder, "none", "-r", "r0") == 0
    assert Project.open(folder).entry("r0").region == ""
    assert run("track", "follow", folder, "-r", "r0", "--subject", "mouse") == 0
    (track,) = subjects.tracks_of(Project.open(folder), "r0")
    assert track.subject == "mouse"
    assert track.seen.mean() > 0.5
    before = Project.open(folder).tracks_path("r0").read_bytes()
    assert run("track", "follow", folder, "-r", "r0") == 4
    assert Project.open(folder).tracks_path("r0").read_bytes() == before
