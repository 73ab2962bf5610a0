"""Stage 2: targets, batches, exact resume, several devices, other platforms, export."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from pretrain_samples import TINY, PatchTeacher, finished, parameters, store

from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.pico import PICO
from ethoprism.backbones.releases import find_weights
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.weights import read_made_by, read_parameters
from ethoprism.errors import InputError, WeightsError
from ethoprism.pretrain.batches import Supply, flipped
from ethoprism.pretrain.checkpoint import append_metrics, cut_metrics
from ethoprism.pretrain.distil import Phase, losses
from ethoprism.pretrain.plot import plot_metrics
from ethoprism.pretrain.recipe import (
    Recipe,
    claim,
    history,
    layout_of,
    student_parameters,
)
from ethoprism.pretrain.targets import (
    add_targets,
    fit_basis,
    kept_basis,
    teacher_tokens,
    to_grid,
)
from ethoprism.pretrain.train import AVERAGE, _stays, begin, compiled_step, on_device, train

PHASES = (
    Phase("frames", 4, 4, 8, single=True, schedule="constant", warmup=2),
    Phase("clips", 5, 4, 6, rate=1e-3, warmup=2),
)


@pytest.fixture
def supply(tmp_path: Path) -> Supply:
    made = store(tmp_path / "clips")
    steps = list(
        add_targets(PatchTeacher(), [made], grid=4, components=5, chosen=(1, 3))  # type: ignore[arg-type]
    )
    assert steps[-1].done == len(made)
    return Supply([made], 4, seed=3)


def test_targets_are_the_teachers_tokens_in_few_components(supply: Supply):
    assert supply.teacher[0].shape == (12, 2, 16, 5)
    assert supply.seen_frames == (1, 3)
    file = supply.stores[0].folder / "teacher.npy"
    before = file.stat().st_mtime_ns
    for _ in add_targets(PatchTeacher(), supply.stores, grid=4, components=5, chosen=(1, 3)):  # type: ignore[arg-type]
        pass
    assert file.stat().st_mtime_ns == before  # they are there already


def test_a_basis_keeps_what_varies_and_nothing_of_the_mean():
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((400, 2))
    tokens = (hidden @ rng.standard_normal((2, 9)) + 5.0).astype(np.float32)
    basis = fit_basis(tokens, 4)
    found = basis(tokens).astype(np.float64)
    assert np.all(np.abs(found.mean(axis=0)) < 0.02)
    assert np.all(np.abs(found[:, 2:]).max() < 0.2 * np.abs(found[:, :2]).max())
    with pytest.raises(InputError, match="grid"):
        to_grid(np.zeros((1, 1, 36, 2), np.float32), 6, 4)
    cells = to_grid(np.arange(16, dtype=np.float32).reshape(1, 1, 16, 1), 4, 2)
    np.testing.assert_array_equal(cells[0, 0, :, 0], [2.5, 4.5, 10.5, 12.5])


def test_a_batch_depends_on_seed_and_step_alone(supply: Supply):
    a, b = (supply.batch(5, 4, 6, single=False) for _ in range(2))
    for one, two in zip(vars(a).values(), vars(b).values(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(a.frames, supply.batch(6, 4, 6, single=False).frames)
    epoch = np.concatenate([supply._picked(step, 4, False) for step in range(3)])
    assert sorted(epoch) == list(range(12))  # each clip once


def test_flips_move_maps_and_motion_with_the_pixels():
    frames = np.zeros((1, 4, 4, 1), np.uint8)
    frames[0, 0, 1] = 1
    motion = np.zeros((1, 4, 4, 4), np.float32)
    motion[0, 0, 1] = (2, 1, 3, 4)  # to the right and a little down
    directions = set()
    for seed in range(40):
        f, m, v = flipped(frames, frames.astype(np.float32), motion, np.random.default_rng(seed))
        at = tuple(np.argwhere(f[0, :, :, 0])[0])
        np.testing.assert_array_equal(f, m)
        assert tuple(v[0, *at, 2:]) == (3, 4)
        assert abs(v[0, *at, :2]).sum() == 3
        directions.add((at, tuple(v[0, *at, :2])))
    assert len(directions) == 8
    assert ((0, 2), (-2, 1)) in directions  # mirrored: now to the left
    assert ((1, 0), (1, 2)) in directions  # rows and columns exchanged


def _run(supply: Supply, folder: Path, phases=PHASES, stop: int | None = None) -> list[float]:
    found = []
    task = train(TINY, supply, phases, parameters(), folder, dtype="float32", keep_every=0.0)
    for progress in task:
        found.append(progress.loss)
        if stop is not None and len(found) == stop:
            task.close()
    return found


def test_a_resumed_training_is_the_same_to_the_last_digit(supply: Supply, tmp_path: Path):
    whole = _run(supply, tmp_path / "whole")
    first = _run(supply, tmp_path / "parts", stop=6)
    rest = _run(supply, tmp_path / "parts")
    assert first + rest == whole
    assert len(whole) == 9
    one, two = (
        (tmp_path / name / "student.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert one == two
    table = pd.read_csv(tmp_path / "parts" / "metrics.csv")
    assert table["loss"].tolist() == whole
    assert (table["clips_per_s"] > 0).all()
    plot_metrics(tmp_path / "parts" / "metrics.csv", tmp_path / "metrics.png")
    assert (tmp_path / "metrics.png").read_bytes()[:4] == b"\x89PNG"


def test_a_checkpoint_of_another_training_is_refused(supply: Supply, tmp_path: Path):
    _run(supply, tmp_path / "a", stop=1)
    (tmp_path / "a" / "checkpoint.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(WeightsError, match="cannot go on"):
        _run(supply, tmp_path / "a")


def test_the_student_is_written_as_released_names_in_half_precision(supply, tmp_path: Path):
    _run(supply, tmp_path / "a")
    layout = layout_of(TINY)
    read = dict(read_parameters(tmp_path / "a" / "student.safetensors", layout))
    assert set(read) == set(layout)
    changed = [k for k, v in parameters().items() if not np.array_equal(read[k], np.float16(v))]
    assert len(changed) > 20  # the running mean has moved, if by little


@pytest.mark.parametrize(("form", "factor"), [("direct", 0.75), ("decoded", 0.9)])
def test_the_loss_falls(supply: Supply, tmp_path: Path, form, factor):
    phases = (Phase("clips", 60, 12, 8, rate=3e-3, warmup=5, form=form),)
    found = _run(supply, tmp_path / form, phases)
    assert np.mean(found[-5:]) < factor * np.mean(found[:5])


def test_the_decoders_tell_of_hidden_patches_and_ignore_the_order_they_come_in(supply: Supply):
    """Without learned positions every order gives the same; with them it does not."""
    phase = Phase("clips", 2, 4, 6, form="decoded")
    state = begin(TINY, parameters(), supply, [phase])
    batch = on_device(supply.batch(0, 4, 6, single=False), 0, 0)
    other = batch | {
        "order": jnp.asarray(np.random.default_rng(9).permuted(np.asarray(batch["order"]), axis=1))
    }

    def loss(parameters, batch):
        return float(
            losses(parameters, TINY, phase, supply.seen_frames, batch, "float32")[1]["token"]
        )

    assert abs(loss(state.parameters, batch) - loss(state.parameters, other)) > 1e-7
    name = "head/token_decoder/positions"
    without = state.parameters | {name: jnp.zeros_like(state.parameters[name])}
    assert loss(without, batch) == pytest.approx(loss(without, other), abs=1e-6)


def test_the_step_lowers_for_cuda(supply: Supply):
    phase = PHASES[1]
    state = begin(TINY, parameters(), supply, PHASES)
    batch = on_device(supply.batch(0, 4, 6, single=False), 0, 0)
    step = compiled_step(TINY, phase, supply.seen_frames, "bfloat16")
    traced = step.trace(state.parameters, state.average, state.moments, batch)
    lowered = traced.lower(lowering_platforms=("cuda",))
    assert "stablehlo.dot_general" in lowered.as_text()
    assert "bf16" in lowered.as_text()


_PARALLEL = """
import json, sys
from pathlib import Path
import jax
from ethoprism.pretrain.batches import Supply
from ethoprism.pretrain.clips import ClipStore
from ethoprism.pretrain.distil import Phase
from ethoprism.pretrain.train import train
sys.path.insert(0, sys.argv[2])
from pretrain_samples import TINY, parameters
supply = Supply([ClipStore.open(Path(sys.argv[1]))], 4, 3)
phases = (Phase("clips", 3, 4, 6, rate=1e-3, warmup=1),)
task = train(TINY, supply, phases, parameters(), Path(sys.argv[3]), dtype="float32")
print(json.dumps([len(jax.devices()), *[p.loss for p in task]]))
"""


def test_two_devices_share_a_batch_and_learn_the_same(supply: Supply, tmp_path: Path):
    phases = (Phase("clips", 3, 4, 6, rate=1e-3, warmup=1),)
    alone = _run(supply, tmp_path / "alone", phases)
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
    }
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _PARALLEL, supply.stores[0].folder, tests, tmp_path / "two"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    devices, *found = json.loads(done.stdout.splitlines()[-1])
    assert devices == 2
    np.testing.assert_allclose(found, alone, rtol=1e-4)


def test_a_recipe_is_shortened_and_a_student_must_be_known():
    short = Recipe().shortened(0.01)
    assert [p.steps for p in short.phases] == [25, 13]
    assert short.clips == 60
    with pytest.raises(InputError, match="shortened"):
        Recipe().shortened(2.0)
    with pytest.raises(InputError, match="No student"):
        student_parameters("prism-femto")
    for name, config in (("prism-nano", NANO), ("prism-pico", PICO)):
        found = {k: v.shape for k, v in student_parameters(name).items()}
        assert found == dict(layout_of(config))


def test_a_folder_serves_one_training(tmp_path: Path):
    teacher: Any = PatchTeacher()
    folder, recipe, start = tmp_path / "f", Recipe(clips=40), parameters()
    material = {"recordings": ["a" * 64]}
    claim(folder, recipe, teacher, start, material)
    claim(folder, recipe, teacher, start, material)  # goes on
    before = (folder / "training.json").read_bytes()
    others = [
        (replace(recipe, seed=1), start, material),
        (recipe.shortened(0.5), start, material),
        (recipe, parameters(1), material),
        (recipe, start, {"recordings": ["b" * 64]}),
    ]
    for other in others:
        with pytest.raises(InputError, match="--folder"):
            claim(folder, other[0], teacher, other[1], other[2])
    assert (folder / "training.json").read_bytes() == before
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "checkpoint.safetensors").write_bytes(b"of something")
    with pytest.raises(InputError, match="none that says"):
        claim(tmp_path / "g", recipe, teacher, start, material)


class ShortTeacher(PatchTeacher):
    """Looks at two frames at a time and says which place in the window each has."""

    card = BackboneCard("short-teacher", "0" * 64, 2, 24, 4, 6, "float32", True)

    def temporal(self, tokens, padding):
        assert tokens.shape[1] == 2
        assert not np.asarray(padding).any()
        return jnp.asarray(tokens) + jnp.arange(2.0)[None, :, None, None]


class LongTeacher(PatchTeacher):
    """Looks at six frames."""

    card = BackboneCard("long-teacher", "0" * 64, 6, 24, 4, 6, "float32", True)

    def temporal(self, tokens, padding):
        assert tokens.shape[1] == 6
        np.testing.assert_array_equal(np.asarray(padding)[0], [False] * 4 + [True] * 2)
        assert not np.asarray(tokens)[:, 4:].any()
        return jnp.asarray(tokens)


def test_a_teachers_window_may_be_shorter_or_longer_than_the_clips():
    clips = np.random.default_rng(0).integers(0, 256, (2, 4, 24, 24, 3), np.uint8)
    alone = np.asarray(PatchTeacher().spatial(clips.reshape(8, 24, 24, 3))).reshape(2, 4, 16, 6)
    short: Any = ShortTeacher()
    found = teacher_tokens(short, clips, (0, 2, 3), 4)
    # Frame 0 is the first of its window; of the others the windows start one before.
    places = np.array([0.0, 1.0, 1.0])[None, :, None, None]
    np.testing.assert_allclose(found, alone[:, [0, 2, 3]] + places, atol=1e-6)
    long: Any = LongTeacher()
    np.testing.assert_allclose(teacher_tokens(long, clips, (1, 3), 4), alone[:, [1, 3]], atol=1e-6)


def test_a_teacher_of_single_frames_is_asked_about_the_chosen_ones_alone():
    class Single(PatchTeacher):
        card = replace(PatchTeacher.card, single_frames=True)
        asked = 0

        def spatial(self, frames):
            self.asked += len(frames)
            return super().spatial(frames)

        def temporal(self, tokens, padding):
            raise AssertionError("frames do not see one another")

    teacher: Any = Single()
    clips = np.random.default_rng(0).integers(0, 256, (3, 4, 24, 24, 3), np.uint8)
    assert teacher_tokens(teacher, clips, (1, 3), 4).shape == (3, 2, 16, 6)
    assert teacher.asked == 6


def test_a_basis_is_kept_and_not_made_again(supply: Supply, tmp_path: Path):
    teacher: Any = PatchTeacher()
    path = tmp_path / "basis.npz"
    made = finished(kept_basis(path, teacher, supply.stores, 4, (1, 3)))
    task = kept_basis(path, teacher, supply.stores, 4, (1, 3))
    with pytest.raises(StopIteration) as again:
        next(task)  # no progress: nothing is asked
    np.testing.assert_array_equal(again.value.value.projection, made.projection)


def test_a_training_that_was_killed_has_each_step_once_in_its_table(supply: Supply, tmp_path: Path):
    whole = _run(supply, tmp_path / "whole")
    folder = tmp_path / "killed"
    _run(supply, folder, stop=5)
    checkpoint = (folder / "checkpoint.safetensors").read_bytes()
    _run(supply, folder, stop=3)
    # Killed: the checkpoint is three steps older than the table, whose last line is torn.
    (folder / "checkpoint.safetensors").write_bytes(checkpoint)
    with (folder / "metrics.csv").open("a") as file:
        file.write("clips,4,0.3")
    assert _run(supply, folder) == whole[5:]
    table = pd.read_csv(folder / "metrics.csv")
    assert table["loss"].tolist() == whole
    assert list(zip(table["phase"], table["step"], strict=True)) == [
        *(("frames", n) for n in range(4)),
        *(("clips", n) for n in range(5)),
    ]


def test_a_training_without_a_checkpoint_begins_its_table_anew(tmp_path: Path):
    path = tmp_path / "metrics.csv"
    cut_metrics(path, {"frames": 0})
    assert not path.exists()
    append_metrics(path, {"phase": "frames", "step": 0, "loss": 1.0, "clips_per_s": 3.0})
    append_metrics(path, {"phase": "frames", "step": 1, "loss": 0.5, "clips_per_s": 3.0})
    cut_metrics(path, {"frames": 1})
    assert pd.read_csv(path)["step"].tolist() == [0]
    cut_metrics(path, {"frames": 0})
    assert len(pd.read_csv(path)) == 0


def test_closing_or_interrupting_keeps_the_last_whole_step(
    supply: Supply, tmp_path: Path, monkeypatch
):
    phases = (replace(PHASES[1], steps=6),)
    whole = _run(supply, tmp_path / "whole", phases)
    task = train(TINY, supply, phases, parameters(), tmp_path / "a", dtype="float32")
    found = [next(task).loss, next(task).loss]
    task.close()
    task = train(TINY, supply, phases, parameters(), tmp_path / "a", dtype="float32")
    found.append(next(task).loss)
    batch = supply.batch

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(supply, "batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(task)
    monkeypatch.setattr(supply, "batch", batch)
    found += [
        p.loss for p in train(TINY, supply, phases, parameters(), tmp_path / "a", dtype="float32")
    ]
    assert found == whole


def test_a_students_file_says_what_it_was_made_of(supply: Supply, tmp_path: Path):
    teacher: Any = PatchTeacher()
    said = history(supply.stores, teacher.card, Recipe(seed=7), None)
    phases = (replace(PHASES[1], steps=3),)
    task = train(TINY, supply, phases, parameters(), tmp_path, dtype="float32", made_by=said)
    next(task)
    task.close()
    student = tmp_path / "student.safetensors"
    expected = "patch-teacher (000000000000), beginning from untrained parameters, seed 7, on 12"
    assert expected in read_made_by(student)
    assert read_made_by(student).endswith("12 of square; clips 1 of 3 steps of 4 clips")
    for _ in train(TINY, supply, phases, parameters(), tmp_path, dtype="float32", made_by=said):
        pass
    note = find_weights("prism-nano", str(student)).note
    assert note == f"weights from student.safetensors, given by the user; {read_made_by(student)}"
    assert note.endswith("clips 3 of 3 steps of 4 clips")


def test_a_short_training_is_not_averaged_with_its_beginning():
    """Share of the first parameters in the running mean after so many steps."""
    shares = np.cumprod([_stays(done) for done in range(3000)])
    assert shares[20] < 1e-4
    assert _stays(2999) == AVERAGE
