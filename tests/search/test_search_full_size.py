"""LvT-Base at full size, with parameters that were never trained, on a real recording."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeded import seeded_parameters

from ethoprism import workflow
from ethoprism.backbones.lvt import build_video_text_backbone
from ethoprism.backbones.video_text import LVT_BASE
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.project import Project, Settings
from ethoprism.search.find import SearchPlan, search
from ethoprism.search.outputs import found_sheet
from ethoprism.search.prompts import Query
from ethoprism.search.zero_shot import ZeroShotPlan, zero_shot
from ethoprism.subjects import Unit


def result(task: Generator[Any, None, Any]) -> Any:
    try:
        while True:
            next(task)
    except StopIteration as stop:
        return stop.value


@pytest.mark.slow
@pytest.mark.shared
def test_from_a_real_recording_to_a_list(shared_dir: Path, tmp_path: Path) -> None:
    ethogram = Ethogram((Behaviour("chase", "one fly follows the other"),))
    video = shared_dir / "recordings" / "courting_flies_120s.mp4"
    project = Project.create(tmp_path / "project", Settings(), ethogram)
    project, name, _ = workflow.add_recording(project, video)
    n_frames = project.entry(name).n_frames
    step = -(-n_frames // 32)  # two windows of 16 sampled frames
    project = project.with_settings(Settings("videoprism-lvt-base", hop=16, step=step))
    began = time.monotonic()
    backbone = build_video_text_backbone(
        "videoprism-lvt-base",
        replace(LVT_BASE, text=replace(LVT_BASE.text, vocabulary=1000)),
        seeded_parameters,
        shared_dir / "videoprism_reference" / "test_spm.model",
        trained=False,
    )
    loaded = time.monotonic()
    list(workflow.extract_tokens(project, backbone))
    extracted = time.monotonic()
    key = workflow.project_key(project, backbone)
    store = workflow.open_tokens(project, key, Unit(name))
    assert store.complete and store.embedding_width == 768 and store.grid.n_windows == 2
    embeddings = np.concatenate([store.frame_embeddings(), store.window_embeddings()])
    lengths = np.linalg.norm(embeddings.astype(np.float32), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=2e-3)
    query = Query(("two flies side by side",), ("an empty arena",))
    found = result(search(project, backbone, query, SearchPlan("frame", count=5, min_gap_s=0.0)))
    assert len(found.table()) == 5 and np.isfinite(found.scores).all()
    assert found.key.label == "videoprism-lvt-base (untrained)"
    result(found_sheet(project, found, tmp_path / "found.png"))
    scores = result(zero_shot(project, backbone, ZeroShotPlan())).scores[Unit(name)]
    assert scores.shape == (n_frames, 1) and np.isfinite(scores).all()
    print(
        f"LvT-Base, seeded: parameters {loaded - began:.0f} s, two windows "
        f"{extracted - loaded:.0f} s, search and zero-shot {time.monotonic() - extracted:.0f} s"
    )
