"""Zero-shot scores of frames: which window or frame they come from, and what is claimed of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_stores import WordBackbone, fill, project_with_embeddings, text_model

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.extract import token_key
from ethoprism.project import Project
from ethoprism.search.zero_shot import (
    ZeroShot,
    ZeroShotPlan,
    behaviour_prompts,
    softmax,
    summary,
    write_frames,
    zero_shot,
)
from ethoprism.subjects import Unit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, WordBackbone]:
    folder = tmp_path_factory.mktemp("zero_shot")
    backbone = WordBackbone(text_model(folder / "words.model"))
    return project_with_embeddings(folder, backbone, names="a"), backbone


@pytest.fixture
def backbone(made: tuple[Project, WordBackbone]) -> WordBackbone:
    return made[1]


@pytest.fixture
def project(made: tuple[Project, WordBackbone], tmp_path: Path) -> Project:
    shutil.copytree(made[0].folder.parent, tmp_path, dirs_exist_ok=True)
    return Project.open(tmp_path / "project")


def score(project: Project, backbone: WordBackbone, **plan: Any) -> ZeroShot:
    task: Generator[Any, None, ZeroShot]
    task = zero_shot(project, backbone, ZeroShotPlan(templates=("{}",), **plan))
    try:
        while True:
            next(task)
    except StopIteration as stop:
        return stop.value


def test_a_frame_takes_the_score_of_its_window(project: Project, backbone: WordBackbone) -> None:
    found = score(project, backbone)
    assert found.prompts == {"walk": ("walk",), "self_groom": ("groom",)}
    scores = found.scores[Unit("a")]
    assert scores.shape == (96, 2)
    key = token_key(backbone.card, hop=4, pooling=1)
    store = workflow.open_tokens(project, key, Unit("a"))
    windows = store.window_embeddings().astype(np.float32)
    for frame in (0, 5, 6, 41, 95):
        window = store.grid.window_of(frame)
        np.testing.assert_allclose(scores[frame], windows[window, :2], atol=1e-6)


def test_a_frame_by_itself(project: Project, backbone: WordBackbone) -> None:
    scores = score(project, backbone, level="frame").scores[Unit("a")]
    np.testing.assert_allclose(scores[:32, 0], 1, atol=1e-3)
    np.testing.assert_allclose(scores[64:], [[0, 1]] * 32, atol=1e-3)


def test_what_was_not_encoded_has_no_score(
    project: Project, backbone: WordBackbone, tmp_path: Path
) -> None:
    key = token_key(backbone.card, hop=4, pooling=1)
    store = workflow.open_tokens(project, key, Unit("a"))
    frames = store.frame_embeddings().astype(np.float32)
    windows = store.window_embeddings().astype(np.float32)
    frames[10:12] = 0
    fill(store, frames, windows)
    for level in ("window", "frame"):
        found = score(project, backbone, level=level)
        missing = np.isnan(found.scores[Unit("a")]).all(axis=1)
        assert np.flatnonzero(missing).tolist() == [10, 11]
    write_frames(project, found, tmp_path / "scores.csv")
    table = pd.read_csv(tmp_path / "scores.csv")
    assert table["cosine_walk"].isna().sum() == 2


def test_the_file_says_what_it_is(project: Project, backbone: WordBackbone, tmp_path: Path) -> None:
    found = score(project, backbone, temperature=0.05)
    path = tmp_path / "scores.csv"
    write_frames(project, found, path)
    table = pd.read_csv(path, keep_default_na=False)
    assert list(table.columns) == [
        "recording", "subject", "frame", "time_s",
        "cosine_walk", "cosine_self_groom", "share_walk", "share_self_groom",
    ]  # fmt: skip
    assert table["frame"].tolist() == list(range(96))
    np.testing.assert_allclose(table["time_s"], project.frame_times("a"), atol=1e-6)
    np.testing.assert_allclose(table["share_walk"] + table["share_self_groom"], 1, atol=1e-5)
    card = json.loads((tmp_path / "scores.csv.card.json").read_text())
    assert card["kind"] == "zero-shot scores, no probe"
    assert card["backbone"] == "words (untrained)" and "untrained" in card["note"]
    assert card["prompts"]["self_groom"] == ["groom"]


def test_the_summary_ranks_labelled_frames_only(project: Project, backbone: WordBackbone) -> None:
    empty = summary(project, score(project, backbone))
    assert empty["labelled_frames"].tolist() == [0, 0]
    assert empty[["prevalence", "average_precision"]].isna().all(axis=None)
    with workflow.open_annotations(project) as store:
        span: dict[str, object] = {
            "recording": "a", "behaviour": "walk", "start_frame": 0, "stop_frame": 60,
        }  # fmt: skip
        store.add(bout_table([{**span, "stop_frame": 20}]), span_table([span]), description="x")
    table = summary(project, score(project, backbone, level="frame"))
    assert table["labelled_frames"].tolist() == [60, 0]
    assert table["prevalence"][0] == pytest.approx(1 / 3)
    # Frames 0 to 31 score 1, and 20 of them walk.
    assert table["average_precision"][0] == pytest.approx(20 / 32)
    assert np.isnan(table["average_precision"][1])


def test_prompts_are_definitions_or_else_names(project: Project) -> None:
    behaviours = (Behaviour("self_groom"), Behaviour("walk", "an animal walks", colour="#56B4E9"))
    project = replace(project, ethogram=Ethogram(behaviours))
    plan = ZeroShotPlan(templates=("{}", "a video of {}"))
    assert behaviour_prompts(project, plan) == {
        "self_groom": ("self groom", "a video of self groom"),
        "walk": ("an animal walks", "a video of an animal walks"),
    }
    with pytest.raises(ProjectError, match="lacks the behaviours"):
        behaviour_prompts(project, ZeroShotPlan(behaviours=("fly",)))
    with pytest.raises(ProjectError, match="with a definition each"):
        behaviour_prompts(replace(project, ethogram=Ethogram()), plan)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temperature_that_is_none_is_refused(temperature: float) -> None:
    with pytest.raises(InputError, match="temperature above 0"):
        ZeroShotPlan(temperature=temperature)


@given(
    st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=6),
    st.floats(0.01, 10),
)
def test_shares_sum_to_one_and_keep_the_order(values: list[float], temperature: float) -> None:
    row = np.array([values], np.float32)
    shares = softmax(row, temperature)[0]
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert (np.diff(shares[np.argsort(row[0], kind="stable")]) >= -1e-6).all()
