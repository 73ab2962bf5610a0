"""Stage 1: the loss, the turns of data sets, and a training that learns which words fit."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretrain_samples import TINY, store

from ethoprism.backbones.text import TextConfig
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import VideoTextConfig
from ethoprism.errors import InputError
from ethoprism.pretrain.contrast import (
    alternating,
    contrastive_loss,
    learn_vocabulary,
    linear_decay,
    retrieved,
    twins,
)
from ethoprism.pretrain.contrast_train import Contrast, train_contrastive


def test_the_loss_is_symmetric_and_smallest_where_pairs_meet():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((6, 8)).astype(np.float32)
    rows = jnp.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    heat = jnp.asarray(3.0)
    own, other = contrastive_loss(rows, rows, heat), contrastive_loss(rows, rows[::-1], heat)
    assert own < 0.05 < other
    assert contrastive_loss(rows, rows[::-1], heat) == pytest.approx(
        float(contrastive_loss(rows[::-1], rows, heat)), rel=1e-6
    )
    same = contrastive_loss(jnp.ones((4, 1)), jnp.ones((4, 1)), heat)
    assert float(same) == pytest.approx(np.log(4), rel=1e-5)


def test_clips_with_the_same_words_are_not_each_others_wrong_answers():
    left_out = twins(["a", "b", "a"])
    assert np.argwhere(left_out).tolist() == [[0, 2], [2, 0]]
    rows = jnp.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    heat = jnp.asarray(4.0)
    assert contrastive_loss(rows, rows, heat, jnp.asarray(left_out)) < 1e-6
    assert contrastive_loss(rows, rows, heat) > 0.4


def test_the_rate_falls_linearly_after_the_warm_up():
    rate = linear_decay(1e-3, 10, 110)
    assert [np.asarray(rate(i)).item() for i in (0, 5, 10, 60, 110)] == pytest.approx(
        [0, 5e-4, 1e-3, 5e-4, 0]
    )
    with pytest.raises(InputError, match="warm-up"):
        linear_decay(1e-3, 10, 10)


@given(st.lists(st.integers(8, 40), min_size=1, max_size=4), st.integers(0, 100))
def test_data_sets_take_turns_and_give_each_clip_once(sizes, seed):
    for which, size in enumerate(sizes):
        seen = []
        for turn in range(size // 8):
            found, picked = alternating(sizes, 8, turn * len(sizes) + which, seed)
            assert found == which
            seen += picked.tolist()
        assert len(set(seen)) == len(seen)
        assert max(seen) < size


def test_training_gets_better_than_chance_and_resumes_exactly(tmp_path: Path):
    made = store(tmp_path / "clips", 24)
    vocabulary = Tokenizer(learn_vocabulary(made.captions, tmp_path / "words.model", 60))
    config = VideoTextConfig(TINY, TextConfig(32, 1, 4, 64, vocabulary=vocabulary.vocabulary), 1)
    plan = Contrast(60, 24, rate=3e-3, warmup=5)

    def run(folder: Path, stop: int | None = None) -> list[float]:
        found = []
        keep_every = 600.0 if stop is None else 0.0
        task = train_contrastive(
            config, [made], vocabulary, plan, folder, dtype="float32", keep_every=keep_every
        )
        for progress in task:
            found.append(progress.loss)
            if len(found) == stop:
                task.close()
        return found

    whole = run(tmp_path / "whole")
    assert np.mean(whole[:5]) == pytest.approx(np.log(24), abs=0.1)  # chance
    assert np.mean(whole[-5:]) < np.log(24) - 0.2
    assert run(tmp_path / "parts", 7) + run(tmp_path / "parts") == whole
    assert (tmp_path / "whole" / "model.safetensors").is_file()


def test_retrieval_counts_the_nearest_text():
    texts = np.eye(3, dtype=np.float32)
    clips = np.asarray([[1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
    assert retrieved(clips, texts, np.asarray([0, 1, 2])) == pytest.approx(2 / 3)
