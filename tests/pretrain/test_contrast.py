"""Stage 1: the loss, the turns of data sets, and a training that learns which words fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pretrain_samples import TINY, parameters, store
from safetensors import safe_open

from ethoprism.backbones.nano_text import text_layout
from ethoprism.backbones.text import TextConfig
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import VideoTextConfig
from ethoprism.backbones.weights import read_made_by
from ethoprism.errors import InputError
from ethoprism.pretrain.contrast import (
    alternating,
    contrastive_loss,
    learn_vocabulary,
    linear_decay,
    retrieved,
    twins,
)
from ethoprism.pretrain.contrast_data import Captioned, seen_again
from ethoprism.pretrain.contrast_train import VISION, Contrast, train_contrastive
from ethoprism.pretrain.contrast_wording import reduced, sayings, worded
from ethoprism.progress import LearningProgress


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


@pytest.mark.parametrize("frozen", [True, False])
def test_training_gets_better_than_chance_and_resumes_exactly(tmp_path: Path, frozen: bool):
    made = store(tmp_path / "clips", 24)
    # A vocabulary of so few words cuts them to letters, of which only the first ones are read.
    short = tuple(text.removeprefix("a square moves ") for text in made.captions)
    made = replace(made, captions=short)
    data = [Captioned([made], 4)]
    vocabulary = Tokenizer(learn_vocabulary(made.captions, tmp_path / "words.model", 60))
    config = VideoTextConfig(TINY, TextConfig(32, 1, 4, 64, vocabulary=vocabulary.vocabulary), 1)
    steps, stop = (40, 7) if frozen else (4, 2)
    plan = Contrast(steps, 20, rate=3e-3, warmup=3, frozen=frozen, frames=0, check_every=steps // 2)

    def run(folder: Path, stop: int | None = None) -> list[float]:
        found = []
        task = train_contrastive(
            config,
            data,
            vocabulary,
            plan,
            folder,
            encoder=parameters(),
            dtype="float32",
            made_by="by a test",
            keep_every=600.0 if stop is None else 0.0,
        )
        for progress in task:
            if isinstance(progress, LearningProgress):
                found.append(progress.loss)
                if len(found) == stop:
                    task.close()
        return found

    whole = run(tmp_path / "whole")
    assert np.mean(whole[:3]) == pytest.approx(np.log(20), abs=0.1)  # chance
    if frozen:  # else clips are turned, and which way is right changes with them
        assert np.mean(whole[-5:]) < np.mean(whole[:3]) - 0.1
    assert run(tmp_path / "parts", stop) + run(tmp_path / "parts") == whole
    assert len(whole) == steps
    tables = [pd.read_csv(tmp_path / name / "held_out.csv") for name in ("whole", "parts")]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert list(tables[0]["step"]) == [steps // 2, steps]
    assert len(pd.read_csv(tmp_path / "parts" / "metrics.csv")) == steps
    assert read_made_by(tmp_path / "whole" / "model.safetensors") == "by a test"
    names = set(text_layout(config))
    with safe_open(tmp_path / "whole" / "model.safetensors", framework="numpy") as file:
        assert set(file.keys()) == names
        encoder = {k: file.get_tensor(VISION + k.removeprefix("params/")) for k in parameters()}
    same = all((encoder[k] == v.astype(np.float16)).all() for k, v in parameters().items())
    assert same is frozen


def test_clips_that_are_held_out_are_the_last_and_never_learnt_from(tmp_path: Path):
    parts = [store(tmp_path / name, n) for name, n in (("a", 5), ("b", 7))]
    one = Captioned(parts, 3)
    assert len(one) == 9 and list(one.held_out) == [9, 10, 11]
    np.testing.assert_array_equal(
        one.frames(np.array([4, 5])), [parts[0].clips[4], parts[1].clips[0]]
    )
    with pytest.raises(InputError, match="No clips are left"):
        Captioned(parts, 12)
    bare = replace(parts[0], captions=("",) * 5)
    with pytest.raises(InputError, match="caption for every clip"):
        Captioned([bare])


def test_a_clip_seen_again_is_the_same_clip_in_another_light():
    clip = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    for seed in range(8):
        seen = seen_again(np.random.default_rng(seed), clip)
        assert seen.shape == clip.shape and seen.min() >= 0 and seen.max() <= 1
        # Turned and mirrored, every grey value keeps its rank.
        before, after = (np.sort(x.astype(np.float64).mean(-1).ravel()) for x in (clip, seen))
        assert np.corrcoef(before, after)[0, 1] > 0.9


def test_captions_are_reduced_and_said_in_other_words():
    caption = "A dark mouse chases another grey mouse, with one more nearby."
    assert reduced(caption, "whole") == caption
    assert reduced(caption, "colourless") == "a mouse chases another mouse"
    assert reduced(caption, "animals") == "an animal chases another animal"
    assert reduced(caption, "bare") == "chases"
    rng = np.random.default_rng(0)
    batches = [worded(rng, [caption, "A dark fly rests."]) for _ in range(200)]
    ways = {text for texts, _ in batches for text in texts}
    assert len(ways) > 60
    assert any("pursues" in text for text in ways) and any("immobile" in text for text in ways)
    for texts, meant in batches:
        assert len(texts) == len(meant) == 2 and meant[0] != meant[1]
        assert "rest" not in texts[0] and "chas" not in texts[1]
    assert set(sayings([caption])) >= {caption, "chases", "immobile"}


def test_retrieval_counts_the_nearest_text():
    texts = np.eye(3, dtype=np.float32)
    clips = np.asarray([[1, 0, 0], [0, 0, 1], [0, 0, 1]], np.float32)
    assert retrieved(clips, texts, np.asarray([0, 1, 2])) == pytest.approx(2 / 3)
