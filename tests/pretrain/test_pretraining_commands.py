"""The commands that train encoders, from a project or from nothing to a CSV of what they encode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_cli import run

from ethoprism import workflow
from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.pico import PICO, prism_pico
from ethoprism.backbones.weights import read_made_by
from ethoprism.project import Project
from ethoprism.subjects import Unit
from ethoprism_datasets.arena import write_recording

pytest.importorskip("cv2", reason="the extra pretrain is not installed")
TRIAL = "0.0005"


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("video"), "r", 5, n_frames=60).video


@pytest.mark.slow
def test_a_distilled_encoder_makes_the_tokens_of_another_project(
    tmp_path: Path, video: Path, capsys: pytest.CaptureFixture[str]
):
    own, other, made = tmp_path / "own", tmp_path / "other", tmp_path / "w.safetensors"
    run("init", own, "--weights", "untrained")
    run("add", own, video)
    training = ("distil", own, "--teacher", "prism-pico", "--student", "prism-pico")
    where = ("--folder", tmp_path / "d", "--out", made, "--shorten", TRIAL)
    assert run(*training, *where) == 0
    history = read_made_by(made)
    assert "distilled by EthoPrism" in history and "of r" in history and "prism-pico" in history
    again = made.read_bytes()
    assert run(*training, *where) == 0  # nothing is left to do
    assert made.read_bytes() == again

    assert run("init", other, "--backbone", "prism-pico", "--weights", made) == 0
    assert run("add", other, video) == 0
    assert run("extract", other) == 0
    project = Project.open(other)
    key = workflow.project_key(project, workflow.load_backbone(project.settings))
    assert key.trained and key.backbone == "prism-pico"
    store = workflow.open_tokens(project, key, Unit("r"))
    assert store.complete and np.isfinite(store.tokens().astype(np.float32)).all()
    capsys.readouterr()
    assert run("info", other) == 0
    assert history[:60] in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.slow
def test_the_recipe_makes_the_small_encoder_from_nothing(tmp_path: Path, video: Path):
    made = tmp_path / "nano.safetensors"
    recipe = ("pretrain", "recipe", "--video", video, "--teacher", "prism-pico")
    options = ("--folder", tmp_path / "p", "--out", made, "--shorten", TRIAL)
    assert run(*recipe, *options) == 0
    assert "of arena" in read_made_by(made) and "from untrained parameters" in read_made_by(made)
    assert made.stat().st_size < 12e6 * 2  # float32 here; packaged as float16
    assert run(*recipe, "--weights", tmp_path / "none.safetensors", *options) == 3


def test_a_student_that_is_not_known_is_refused_before_any_work(tmp_path: Path):
    assert run("init", tmp_path / "p") == 0
    assert run("distil", tmp_path / "p", "--student", "prism-femto") == 3


def test_pico_comes_untrained_and_is_a_seventh_of_nano():
    backbone = prism_pico()
    assert not backbone.card.trained and "(untrained)" in backbone.card.label
    assert (PICO.frames, PICO.input_size, PICO.grid) == (NANO.frames, NANO.input_size, NANO.grid)
