"""The doctor warns of what would go wrong, names the remedy, and changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_cli import run

from ethoprism import doctor, subjects, workflow
from ethoprism.crops import Region
from ethoprism.doctor import Finding
from ethoprism.ethogram import Ethogram
from ethoprism.project import Project, Settings
from ethoprism.tracks import Track
from ethoprism_datasets.arena import write_recording

N = 20


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
    assert run("doctor", project.folder) == 0
    shown = capsys.readouterr()
    assert "Warning: r, small: 40 px long" in shown.err
    assert "2 warnings" in shown.out
    after = {p: p.read_bytes() for p in project.folder.rglob("*") if p.is_file()}
    changed = {p.name for p in before if before[p] != after.get(p)}
    assert changed == set()
    assert run("doctor") == 0
    assert "JAX" in capsys.readouterr().out
    assert run("doctor", project.folder / "nowhere") == 4
