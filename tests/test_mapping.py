"""Maps of a project: what they hold, when they are stale, and the commands."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from explore_stores import NANO, add_tokens, project_with_tokens
from sklearn.metrics import adjusted_rand_score
from typer.testing import CliRunner

from ethoprism import mapping, workflow
from ethoprism.cli import app
from ethoprism.errors import InputError, ProjectError
from ethoprism.explore.cluster import ClusterSettings
from ethoprism.explore.maps import Map
from ethoprism.mapping import MapPlan
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenStore
from ethoprism_datasets.arena_files import write_recording


def result(task: Generator[Progress, None, Any]) -> Any:
    try:
        while True:
            next(task)
    except StopIteration as stop:
        return stop.value


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return project_with_tokens(tmp_path)


def build(project: Project, **plan: Any) -> Map:
    return result(mapping.build_map(project, NANO, MapPlan(**plan)))


def test_a_map_holds_all_frames_and_tells_apart_what_the_tokens_tell_apart(
    project: Project,
) -> None:
    assert mapping.project_tokens(project) == NANO
    found = mapping.add_clusters(build(project, hop=5), ClusterSettings(n=3))
    assert found.moments.units == (Unit("a"), Unit("b")) and len(found.moments) == 48
    assert found.moments.stop.max() == 120 and found.frames_per_moment == 5
    kind = found.moments.start // 20 % 3
    assert found.clusters is not None
    assert adjusted_rand_score(kind, found.clusters.labels) > 0.95
    again = build(project, hop=5)
    np.testing.assert_array_equal(again.vectors, found.vectors)


def test_tokens_of_another_precision_are_not_taken(project: Project) -> None:
    from ethoprism.suggest.spans import usual_key

    narrow = replace(NANO, precision="bfloat16")
    entry = project.entry("a")
    path = project.tokens_path(narrow.digest, "a")
    TokenStore.create(path, narrow, entry.n_frames, entry.content_key)  # written last
    for precision, key in (("float32", NANO), ("bfloat16", narrow)):
        set_so = project.with_settings(replace(project.settings, precision=precision))
        assert mapping.project_tokens(set_so) == key
        assert usual_key(set_so) == key


def test_a_large_map_is_the_same_by_way_of_the_disk(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = build(project)
    monkeypatch.setattr(mapping, "_IN_MEMORY", 0)
    by_disk = build(project)
    np.testing.assert_array_equal(by_disk.vectors, in_memory.vectors)
    assert list((project.folder / "maps").iterdir()) == []  # nothing is left of it


def test_moments_without_a_valid_row_are_left_out(project: Project, tmp_path: Path) -> None:
    video = write_recording(tmp_path / "videos", "c", 5, n_frames=60).video
    project, _, _ = workflow.add_recording(project, video)
    add_tokens(project, "c")
    entry = project.entry("c")
    store = workflow.open_tokens(project, NANO, Unit("c"))
    valid = np.ones(60, bool)
    valid[20:40] = False
    store.write_block(0, store.tokens().astype(np.float32), valid)
    found = build(project, hop=4)
    here = found.moments.start[found.moments.unit == 2]
    assert 0 < (60 // 4 - len(here)) <= 5 and not set(range(22, 36)) & set(here.tolist())
    assert entry.n_frames == 60 and np.isfinite(found.vectors).all()


def test_a_saved_map_is_opened_again_unless_its_recordings_changed(project: Project) -> None:
    mapping.save(project, build(project))
    assert mapping.saved_maps(project) == ["map"]
    assert mapping.open_map(project).moments.units == (Unit("a"), Unit("b"))
    entry = project.entry("b")
    other = replace(project, entries=(project.entry("a"), replace(entry, content_key="f" * 64)))
    with pytest.raises(ProjectError, match=r"another recording of 'b'.*ethoprism map PROJECT"):
        mapping.open_map(other)
    with pytest.raises(ProjectError, match=r"lacks.*Found b.*ethoprism map PROJECT"):
        mapping.open_map(replace(project, entries=(project.entry("a"),)))


def test_what_is_not_there_is_told(project: Project) -> None:
    with pytest.raises(InputError, match="moment cannot stand for 0"):
        build(project, hop=0)
    with pytest.raises(ProjectError, match="no recording 'z'"):
        build(project, recordings=("z",))
    bare = Project.create(project.folder.parent / "bare", project.settings, project.ethogram)
    with pytest.raises(ProjectError, match="ethoprism extract"):
        mapping.project_tokens(bare)
    found = build(project, recordings=("a",))
    assert mapping.moment_of(found, "a", 7) == 1
    with pytest.raises(InputError, match="no moment at frame 7 of 'b'"):
        mapping.moment_of(found, "b", 7)


def test_labels_of_moments_and_never_absent_for_unobserved(project: Project) -> None:
    found = build(project, hop=8)
    shares = np.concatenate(
        [
            mapping.unit_moment_labels(project, found.moments, unit, ("walk", "groom"))
            for unit in range(len(found.moments.units))
        ]
    )
    a = found.moments.unit == 0
    expected = np.full(int(a.sum()), np.nan)
    expected[:8] = [1, 1, 0.5, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(shares[a, 0], expected)
    assert np.isnan(shares[a, 1]).all() and np.isnan(shares[~a]).all()
    with workflow.open_annotations(project, "read") as store:
        tables = (store.bouts("a"), store.spans("a"))
    unsaved = (tables[0].iloc[:0], tables[1])
    rows = mapping.unit_moment_labels(project, found.moments, 0, ("walk",), unsaved)
    assert np.nansum(rows) == 0 and np.isfinite(rows[:7]).all()


def test_commands_write_the_map_and_what_is_alike(project: Project, tmp_path: Path) -> None:
    run = CliRunner()
    csv, png, sheet = (tmp_path / name for name in ("map.csv", "map.png", "like.png"))
    options = ["--method", "pca", "--clusters", "3", "--hop", "5"]
    out = run.invoke(
        app,
        ["map", str(project.folder), *options, "--out", str(csv), "--out", str(png)],
        catch_exceptions=False,
    )
    assert out.exit_code == 0 and "48 moments of 5 frames" in out.output
    assert "untrained" in out.output
    table = pd.read_csv(csv, keep_default_na=False)
    assert list(table) == ["recording", "subject", "start_frame", "stop_frame", "x", "y", "cluster"]
    assert len(table) == 48 and set(table["cluster"]) == {0, 1, 2}
    assert table.query("recording == 'b'")["stop_frame"].max() == 120
    found = mapping.open_map(project)
    np.testing.assert_allclose(table[["x", "y"]], found.coordinates, atol=1e-4)
    assert png.stat().st_size > 5000
    out = run.invoke(
        app,
        ["similar", str(project.folder), "a", "30", "--count", "4", "--out", str(sheet)],
        catch_exceptions=False,
    )
    assert out.exit_code == 0 and "Likeness" in out.output and sheet.stat().st_size > 5000
    matches = mapping.similar_moments(found, np.array([mapping.moment_of(found, "a", 30)]), 4)
    assert {int(found.moments.start[m.moment]) // 20 % 3 for m in matches} == {1}


def test_umap_on_the_command_line_is_an_embedding_of_the_same_moments(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = np.arange(60, dtype=np.float32).reshape(30, 2)

    def quick(vectors: np.ndarray, settings: Any) -> Generator[Progress, None, np.ndarray]:
        yield Progress(0, 1, "laying out")
        return layout[: len(vectors)]

    monkeypatch.setattr(mapping, "umap_coordinates", quick)
    out = CliRunner().invoke(
        app, ["map", str(project.folder), "--hop", "8", "--name", "u"], catch_exceptions=False
    )
    assert out.exit_code == 0
    found = mapping.open_map(project, "u")
    np.testing.assert_array_equal(found.coordinates, layout[: len(found.moments)])
    assert found.method == "UMAP" and found.card["umap"]["seed"] == 0
