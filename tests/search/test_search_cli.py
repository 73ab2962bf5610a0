"""Search from the command line, from videos to lists, with a tiny video–text model."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from search_stores import text_model
from typer.testing import CliRunner, Result

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.backbones import lvt
from ethoprism.backbones.lvt import VideoTextBackbone, build_video_text_backbone
from ethoprism.backbones.preprocess import preprocess
from ethoprism.backbones.video_text import LVT_TINY, VideoTextConfig
from ethoprism.backbones.weights import Layout, write_safetensors
from ethoprism.cli import app
from ethoprism.errors import EthoPrismError, InputError, ProjectError, WeightsError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.extract import extract
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenStore
from ethoprism.video import FrameReader
from ethoprism_datasets.arena_files import write_recording

CONFIG = replace(LVT_TINY, text=replace(LVT_TINY.text, vocabulary=60))


def seeded_layout(layout: Layout) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k: 0.3 * rng.standard_normal(layout[k]).astype(np.float32) for k in sorted(layout)}


def write_checkpoint(path: Path, config: VideoTextConfig = CONFIG) -> None:
    """Random parameters, as the backbone would read them."""
    kept: dict[str, np.ndarray] = {}

    def parameters(layout: Layout):
        kept.update(seeded_layout(layout))
        yield from kept.items()

    build_video_text_backbone("x", config, parameters, path, trained=False)
    write_safetensors(path, kept)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with tokens of the tiny model, extracted from the command line."""
    folder = tmp_path_factory.mktemp("search_cli")
    write_checkpoint(folder / "tiny.safetensors")
    text_model(folder / "tiny.model")
    ethogram = Ethogram((Behaviour("chase", "one animal chases the other"), Behaviour("rest")))
    settings = Settings("videoprism-lvt-base", str(folder / "tiny.safetensors"), hop=2, pooling=1)
    project = Project.create(folder / "project", settings, ethogram)
    for seed, name in enumerate("ab"):
        video = write_recording(folder / "videos", name, seed, n_frames=40).video
        project, _, _ = workflow.add_recording(project, video)
    span: dict[str, object] = {"recording": "a", "behaviour": "chase", "start_frame": 0}
    with workflow.open_annotations(project) as store:
        bouts, spans = (
            bout_table([{**span, "stop_frame": 12}]),
            span_table([{**span, "stop_frame": 40}]),
        )
        store.add(bouts, spans, description="x")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lvt, "LVT_BASE", CONFIG)
        run("extract", str(project.folder))
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lvt, "LVT_BASE", CONFIG)


def run(*arguments: str, expect: type[EthoPrismError] | None = None) -> Result:
    result = CliRunner().invoke(app, arguments)
    if expect is None:
        assert result.exit_code == 0, (result.output, result.exception)
    else:
        assert isinstance(result.exception, expect), (result.output, result.exception)
    return result


def test_extraction_stores_embeddings_of_the_most_central_window(folder: Path) -> None:
    project = Project.open(folder / "project")
    backbone = workflow.load_backbone(project.settings)
    key = workflow.project_key(project, backbone)
    store = workflow.open_tokens(project, key, Unit("a"))
    assert store.complete and store.embedding_width == 32
    windows = store.window_embeddings().astype(np.float32)
    frames = store.frame_embeddings().astype(np.float32)
    assert windows.shape == (19, 32) and frames.shape == (40, 32)
    for rows in (windows, frames):
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-3)
    with FrameReader(project.recording("a")) as reader:
        pictures = np.stack([preprocess(reader[i], 24) for i in range(40)])
    for w in (0, 7, 18):
        inside = backbone.spatial(pictures[2 * w : 2 * w + 4])
        tokens = backbone.temporal(np.asarray(inside)[None], np.zeros((1, 4), bool))
        each, whole = backbone.embed(np.asarray(tokens), np.zeros((1, 4), bool))  # type: ignore[attr-defined]
        np.testing.assert_allclose(windows[w], np.asarray(whole)[0], atol=2e-3)
        first, last = store.grid.kept(w)
        np.testing.assert_allclose(
            frames[first:last], np.asarray(each)[0, first - 2 * w : last - 2 * w], atol=2e-3
        )


def test_an_interrupted_extraction_goes_on_to_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ethoprism.tokens._TARGET_SHARD_BYTES", 16 * 32 * 2)
    project = Project.open(folder / "project")
    backbone = workflow.load_backbone(project.settings)
    key, recording = workflow.project_key(project, backbone), project.recording("a")
    digests = []
    for stop_after in (1000, 2):
        path = tmp_path / f"{stop_after}.zarr"
        with closing(extract(recording, backbone, key, path)) as steps:
            for _ in zip(steps, range(stop_after), strict=False):
                pass
        list(extract(recording, backbone, key, path))
        assert TokenStore.open(path, key, 40, recording.content_key).n_blocks == 3
        files = sorted(p for p in path.rglob("*") if p.is_file())
        digests.append({str(p.relative_to(path)): p.read_bytes() for p in files})
    assert any("window_embeddings" in name for name in digests[0])
    assert digests[0] == digests[1]


def test_search_lists_scores_and_measures(folder: Path, tmp_path: Path) -> None:
    csv, png = tmp_path / "found.csv", tmp_path / "found.png"
    shown = run(
        "search", str(folder / "project"), "one animal chases the other",
        "--top", "6", "--min-gap", "0", "-o", str(csv), "-o", str(png),
    ).output  # fmt: skip
    table = pd.read_csv(csv, keep_default_na=False)
    assert len(table) == 6 and set(table["recording"]) <= {"a", "b"}
    assert table["score"].is_monotonic_decreasing and table["score"].between(-1, 1).all()
    for _, rows in table.groupby("recording"):
        rows = rows.sort_values("start_frame")
        assert (rows["start_frame"].to_numpy()[1:] >= rows["stop_frame"].to_numpy()[:-1]).all()
    assert "38 windows were scored" in shown
    assert "of all 19 labelled moments 0.32 do (chance)" in shown
    assert png.stat().st_size > 10_000


def test_search_options(folder: Path) -> None:
    shown = run(
        "search", str(folder / "project"), "fly", "mouse", "--not", "empty", "--level", "frame",
        "-r", "b", "--template", "a video of {}", "--tokenizer", str(folder / "tiny.model"),
        "--behaviour", "rest",
    ).output  # fmt: skip
    assert "fly / mouse, not empty" in shown and "40 frames were scored" in shown
    assert "nothing was measured" in shown


def test_a_long_prompt_is_cut_and_told(folder: Path) -> None:
    result = run("search", str(folder / "project"), "side by side " * 50)
    assert "the model reads the first 64 of them" in result.output


def test_zero_shot_scores_every_frame(folder: Path) -> None:
    shown = run("zero-shot", str(folder / "project")).output
    assert "Zero-shot (no probe, no labels used)" in shown
    assert "rest has no definition; its name is the prompt" in shown
    table = pd.read_csv(folder / "project" / "exports" / "zero-shot-frames.csv")
    assert len(table) == 80 and table["cosine_chase"].between(-1, 1).all()
    assert "0.30" in shown  # the prevalence of chase in the labelled frames


def test_what_is_wrong_is_said(folder: Path, tmp_path: Path) -> None:
    project = str(folder / "project")
    run("search", project, " ", expect=InputError)
    run("search", project, "fly", "--behaviour", "fly", expect=InputError)
    run("search", project, "fly", "--tokenizer", str(tmp_path / "absent"), expect=WeightsError)
    run("zero-shot", project, "-b", "fly", expect=ProjectError)
    result = CliRunner().invoke(app, ["search", project, "fly", "--level", "clip"])
    assert result.exit_code == 2
    nano = Project.create(tmp_path / "nano", Settings(), Ethogram())
    video = Project.open(folder / "project").video_path("a")
    nano, _, _ = workflow.add_recording(nano, video)
    error = run("search", str(nano.folder), "fly", expect=ProjectError).exception
    assert "prism-nano knows no text" in str(error) and "videoprism-lvt-base" in str(error)
    nano = nano.with_settings(Settings("videoprism-lvt-base"))
    error = run("search", str(nano.folder), "fly", expect=ProjectError).exception
    assert "has no tokens" in str(error) and "ethoprism extract" in str(error)


def test_an_untrained_model_is_called_that(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(weights: str | None = None, *, precision: str = "float32") -> VideoTextBackbone:
        return build_video_text_backbone(
            "videoprism-lvt-base",
            CONFIG,
            lambda layout: iter(seeded_layout(layout).items()),
            folder / "tiny.model",
            trained=False,
            precision=precision,
        )

    monkeypatch.setattr(lvt, "videoprism_lvt_base", untrained)
    shutil.copytree(folder, tmp_path / "all")
    project = tmp_path / "all" / "project"
    run("extract", str(project), "-r", "a")
    shown = run("search", str(project), "fly", "-r", "a", "-o", str(tmp_path / "x.csv")).output
    assert "videoprism-lvt-base (untrained)" in shown and "knows no words" in shown
    assert "untrained" in (tmp_path / "x.csv.card.json").read_text()
    run("zero-shot", str(project), "-r", "a")
    assert (project / "exports" / "zero-shot-untrained-frames.csv").is_file()
