"""The doctor warns of what would go wrong, names the remedy, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import run
from toy_backbone import ToyBackbone

from ethoprism import doctor, subjects, workflow
from ethoprism.crops import Region
from ethoprism.doctor import Finding, Measured
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.speed import EncoderSpeed
from ethoprism.tracks import Track
from ethoprism_datasets.arena import write_recording

N = 20
TIMED = EncoderSpeed(200.0, 0.02, 3.0)


def track(subject: str, length: float, seen: int = N) -> Track:
    """An animal of that length in the middle of the picture, seen in the first frames."""
    centres = np.full((N, 2), np.nan, np.float32)
    centres[:seen] = 128
    half = length / 2
    boxes = np.full((N, 4), np.nan, np.float32)
    boxes[:seen] = (128 - half, 126, 128 + half, 130)
    return Track(subject, centres, boxes)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """One recording of 256 × 256 px."""
    write_recording(tmp_path, "r", 0, n_frames=N)
    project = Project.create(tmp_path / "project", Settings(), Ethogram().with_names(["walk"]))
    return workflow.add_recording(project, tmp_path / "r.mp4")[0]


def cut_to(project: Project, crop: str) -> Project:
    now = Project.open(project.folder)
    return now.with_settings(replace(now.settings, crop=crop))


def warnings(findings: Sequence[Finding]) -> str:
    """The warnings but that of untrained weights, with their remedies."""
    found = [f"{f.text} {f.remedy}" for f in findings if f.warning]
    return "\n".join(text for text in found if "(untrained)" not in text)


def test_a_small_animal_is_warned_of_until_crops_or_regions_make_it_large(project: Project):
    # 8 patches span 256 px, so 2 patches are 64 px.
    subjects.save_tracks(project, "r", [track("small", 60), track("large", 68)])
    findings, sizes = doctor.project(project)
    assert [(s.subject, round(s.whole, 3)) for s in sizes] == [("small", 1.875), ("large", 2.125)]
    assert "r, small: 60 px long, it spans 1.9 of the encoder's 8 patches" in warnings(findings)
    assert "ethoprism crop PROJECT subject" in warnings(findings)
    assert "large" not in warnings(findings)
    region = cut_to(subjects.set_region(project, "r", Region(60, 60, 120, 100)), "region")
    findings, sizes = doctor.project(region)
    assert sizes[0].region == pytest.approx(4)  # of 120 px, the longer side
    assert warnings(findings) == ""
    findings, sizes = doctor.project(cut_to(project, "subject 2 lengths"))
    assert sizes[0].crop == pytest.approx(4)
    assert warnings(findings) == ""
    findings, _ = doctor.project(cut_to(project, "subject 500 px"))
    assert warnings(findings).count("Choose a smaller crop") == 2


def test_what_is_missing_is_said_with_the_remedy(project: Project):
    findings, sizes = doctor.project(project)
    assert sizes == []
    assert warnings(findings) == ""
    assert any("size is not known" in f.text for f in findings)
    assert "track import PROJECT FILE -r r" in warnings(
        doctor.project(cut_to(project, "subject 2 lengths"))[0]
    )
    assert "ethoprism region PROJECT" in warnings(doctor.project(cut_to(project, "region"))[0])
    empty = replace(project, entries=())
    assert "no recordings" in warnings(doctor.project(empty)[0])


def test_gaps_and_labels_of_nobody_are_warned_of(project: Project):
    subjects.save_tracks(project, "r", [track("a", 60, seen=15), track("b", 60)])
    with workflow.open_annotations(project) as store:
        from ethoprism.annotation import bout_table, span_table

        bout = {
            "recording": "r",
            "subject": "c",
            "behaviour": "walk",
            "start_frame": 1,
            "stop_frame": 3,
        }
        store.add(bout_table([bout]), span_table([]), description="a bout")
    text = warnings(doctor.project(cut_to(project, "subject 2 lengths"))[0])
    assert "r, a: not seen in 25%" in text
    assert "labels of c belong to none of the tracks (a, b)" in text
    assert "--rename" in text


def test_a_lost_video_and_a_full_disk_are_warned_of(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("ethoprism.doctor.shutil.disk_usage", lambda _: usage)
    assert "more than is free" in warnings(doctor.project(project)[0])
    (tmp_path / "r.mp4").unlink()
    assert "not where it was" in warnings(doctor.project(project)[0])


def test_released_weights_are_neither_downloaded_nor_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("the doctor loads no released weights")

    monkeypatch.setattr(workflow, "load_backbone", never)
    monkeypatch.setattr("ethoprism.backbones.releases.is_here", lambda _: False)
    subjects.save_tracks(project, "r", [track("a", 30)])
    large = project.with_settings(Settings(backbone="videoprism-base"))
    findings, sizes = doctor.project(large)
    assert sizes[0].whole == pytest.approx(30 / 256 * 16)
    assert any("not on this computer yet" in f.text for f in findings)
    assert "of the encoder's 16 patches" in warnings(findings)


def test_the_command_warns_and_ends_well(project: Project, capsys: pytest.CaptureFixture[str]):
    subjects.save_tracks(project, "r", [track("small", 40)])
    before = {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()}
    assert run("doctor", project.folder, "--no-timing") == 0
    shown = capsys.readouterr()
    assert "Warning: r, small: 40 px long" in shown.err
    assert "1 warning" in shown.out
    after = {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()}
    changed = {p.name for p in before if before[p] != after.get(p)}
    assert changed == set()
    assert run("doctor", "--no-timing") == 0
    assert "JAX" in capsys.readouterr().out
    assert run("doctor", project.folder / "nowhere") == 4
    assert run("doctor", project.folder, project.folder) == 3
    assert run("doctor", "--backbone", "no-such") == 3


def test_time_and_disk_are_told_as_json_before_anybody_waits(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    before = {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()}
    assert run("doctor", project.folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"computer", "speed", "estimate", "animals", "findings"}
    assert told["speed"]["backbone"] == "prism-nano"
    assert told["speed"]["engine"] in told["speed"]["encoder"]
    assert all(found["frames_per_second"] > 0 for found in told["speed"]["encoder"].values())
    assert told["speed"]["decoder_frames_per_second"]["r"] > 0
    (unit,) = told["estimate"]["units"]
    assert (unit["unit"], unit["frames_left"], unit["bytes_left"]) == ("r", N, N * 16 * 192 * 2)
    assert told["estimate"]["fits"] and told["estimate"]["seconds"] > 0
    assert {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()} == before
    # The same for a video that belongs to no project, with a disk that is too small.
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("ethoprism.doctor.shutil.disk_usage", lambda _: usage)
    video = project.video_path("r")
    assert run("doctor", video, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["estimate"]["units"][0]["frames"] == N and not told["estimate"]["fits"]
    assert any("are free" in f["text"] and f["warning"] for f in told["findings"])


def test_the_tables_show_speed_and_what_is_left(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("ethoprism.speed.encoding", lambda *_: TIMED)
    monkeypatch.setattr("ethoprism.estimate.pace", lambda *_, **__: 10.0)
    assert run("doctor", project.folder) == 0
    shown = capsys.readouterr().out
    for words in ("This computer", "Optional parts", "200.0", "20 ms", "20 of 20", "2 s"):
        assert words in shown


def test_a_recording_that_is_none_and_weights_that_are_not_here(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "notes.txt").write_text("no video")
    assert run("doctor", tmp_path / "notes.txt", "--no-timing") == 3
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("doctor", empty, "--no-timing") == 3
    monkeypatch.setattr("ethoprism.backbones.releases.is_here", lambda _: False)
    made: list[tuple[str, str, str]] = []

    def builder(kind: str) -> Any:
        def built(name: str, *_: Any, trained: bool, precision: str) -> ToyBackbone:
            assert not trained
            made.append((kind, name, precision))
            return ToyBackbone()

        return built

    monkeypatch.setattr("ethoprism.backbones.videoprism.build_backbone", builder("video"))
    monkeypatch.setattr("ethoprism.backbones.lvt.build_video_text_backbone", builder("text"))
    for name in ("videoprism-large", "videoprism-lvt-base"):
        _, stand_in = doctor.load_or_stand_in(Settings(name, precision="bfloat16"))
        assert stand_in
    assert made == [
        ("video", "videoprism-large", "bfloat16"),
        ("text", "videoprism-lvt-base", "bfloat16"),
    ]
    measured = Measured("videoprism-large (untrained)", True, "jax", {"jax": TIMED}, {}, None)
    (found,) = doctor.of_measurements(measured)
    assert "weights of videoprism-large are not on this computer" in found.text
