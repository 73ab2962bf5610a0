"""A probe learns what is there, stays at chance where nothing is, and knows its tokens."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from probe_samples import (
    ETHOGRAM,
    KEY,
    NAMES,
    ROWS,
    by_recording,
    finish,
    recording,
    store_of,
    trained,
)

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.errors import LabelError, ProjectError
from ethoprism.evaluate import Segment, split_blocks
from ethoprism.prediction import Prediction, decide, load_prediction, save_prediction
from ethoprism.probe.batches import LabelledTokens, load_samples, split_gap
from ethoprism.probe.checkpoint import Probe, load_probe, save_probe
from ethoprism.probe.crossvalidate import CrossValidation, called_by_folds, cross_validate
from ethoprism.probe.heads import HEADS
from ethoprism.probe.losses import group_outcome, loss
from ethoprism.probe.model import ProbeShape, group_columns, probabilities
from ethoprism.probe.predict import disagreement, predict
from ethoprism.probe.train import Schedule, train
from ethoprism.progress import LearningProgress
from ethoprism.recording import Recording
from ethoprism.splits import fold_blocks, fold_groups, member_groups, split_groups
from ethoprism.tokens import TokenStore

SHORT = Schedule(steps=40, batch=64)
SLOPE = jax.jit(jax.grad(loss), static_argnums=2)


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_what_is_there(probes: dict[str, Probe], head: str):
    for name in NAMES:
        scores = probes[head].metrics["test"][name]
        assert scores["average_precision"] > 0.9, name
        assert scores["f1"] > scores["chance_f1"] + 0.15, name
        assert scores["f1_low"] <= scores["f1"] <= scores["f1_high"]


def _shuffled(data: list[LabelledTokens]) -> list[LabelledTokens]:
    """The same states in blocks of 20 rows in another order, so that they say nothing."""
    rng = np.random.default_rng(9)
    found = []
    for item in data:
        blocks = np.arange(len(item.states)).reshape(-1, 20)
        states = item.states[blocks[rng.permutation(len(blocks))].ravel()]
        found.append(replace(item, states=states))
    return found


def _is_chance(row: dict[str, Any]) -> bool:
    """Whether chance lies in the interval of average precision, widened by a hundredth."""
    prevalence = row["present"] / row["frames"]
    low, high = row["average_precision_low"], row["average_precision_high"]
    return low - 0.01 <= prevalence <= high + 0.01


def _require_same_calls(found: CrossValidation) -> None:
    """What a card tells of the folds gives the calls that were scored."""
    card, counts = json.loads(json.dumps(found.to_dict())), np.zeros((3, len(NAMES)), int)
    for item in found.timelines:
        called = called_by_folds(card, item, NAMES, 1)
        assert called is not None and ((called != UNOBSERVED).any(axis=1) == item.covered).all()
        known = (item.states != UNOBSERVED) & (called != UNOBSERVED)
        true, calls = known & (item.states == PRESENT), known & (called == PRESENT)
        counts += [np.sum(true & calls, axis=0), np.sum(true, axis=0), np.sum(calls, axis=0)]
    both, true, calls = counts
    for i, name in enumerate(NAMES):
        expected = 2 * both[i] / (true[i] + calls[i])
        assert card["metrics"][name]["f1"] == pytest.approx(expected)
    assert called_by_folds({}, found.timelines[0], NAMES, 1) is None


@pytest.mark.parametrize("split", ["recordings", "groups", "blocks", "folds", "folds of blocks"])
@pytest.mark.parametrize("head", HEADS)
def test_on_shuffled_labels_every_head_shows_chance_in_every_split(
    tmp_path: Path, data: list[LabelledTokens], head: str, split: str
):
    # A block of a short recording holds too few bouts for an interval to mean anything.
    by_blocks = split.endswith("blocks")
    data = _shuffled([recording(tmp_path, "a", 11, 4 * ROWS)] if by_blocks else data)
    states = {item.recording: item.states for item in data}
    pairs = {"a": "x", "b": "x", "c": "y", "d": "z"}
    options: dict[str, Any] = {"head": head, "context": int(head == "temporal"), "schedule": SHORT}
    if split.startswith("folds"):
        folds = (
            fold_blocks("a", states["a"], 2, gap=12, seed=1)
            if by_blocks
            else fold_groups(states, pairs, 3)
        )
        found = finish(cross_validate(data, folds, ETHOGRAM, NAMES, **options))
        metrics = found.to_dict()["metrics"]
        assert sum(t.covered.sum() for t in found.timelines) == metrics["rare"]["frames"]
        _require_same_calls(found)
    else:
        if split == "blocks":
            segments = split_blocks("a", states["a"], gap=12)
        elif split == "groups":
            segments = split_groups(states, pairs, test=("d",))
        else:
            segments = by_recording(data)
        metrics = trained(data, segments=segments, **options).metrics["test"]
    for name, row in metrics.items():
        assert _is_chance(row), (name, row)
        if split == "recordings":
            assert row["f1"] < row["chance_f1"] + 0.05, name


def test_near_duplicates_fool_a_split_by_frames_and_not_the_default_one(tmp_path: Path):
    """Rows of one stretch look the same; what they look like says nothing of other stretches."""
    rng = np.random.default_rng(5)
    n, rows, data = 10, 200, []
    for name in "abcd":
        looks = np.repeat(rng.standard_normal((rows // n, 2, 2, 32)), n, axis=0)
        tokens = (looks + 0.01 * rng.standard_normal(looks.shape)).astype(np.float32)
        labels = np.repeat(rng.random((rows // n, 1)) < 0.5, n, axis=0)
        states = np.concatenate([~labels, labels, labels], axis=1).astype(np.int8)
        data.append(LabelledTokens(name, store_of(tmp_path, name, tokens), states))
    honest = trained(data, head="linear", context=0).metrics["test"]["rare"]
    assert _is_chance(honest)
    assert honest["f1"] < honest["chance_f1"] + 0.05
    # By hand, since no function makes such a split: every third row to tune and test on.
    frames = [
        Segment(item.recording, i, i + 1, ("train", "validation", "test")[i % 3])  # type: ignore[arg-type]
        for item in data
        for i in range(rows)
    ]
    leaking = trained(data, head="linear", context=0, segments=frames).metrics["test"]["rare"]
    assert leaking["average_precision"] > 0.95
    assert leaking["f1"] > 0.9


@pytest.mark.parametrize("head", HEADS)
def test_the_same_seed_gives_the_same_probe(data: list[LabelledTokens], head: str):
    first, again = (trained(data, head=head, schedule=SHORT) for _ in range(2))
    assert first.digest == again.digest
    assert first.decision == again.decision
    if head != "linear":  # it has nothing to draw
        assert trained(data, head=head, schedule=SHORT, seed=1).digest != first.digest


def test_training_tells_how_it_goes(data: list[LabelledTokens]):
    steps = [
        step
        for step in train(
            data, by_recording(data), ETHOGRAM, NAMES, name="p", context=3, schedule=SHORT
        )
        if isinstance(step, LearningProgress)
    ]
    assert [step.done for step in steps] == [20, 40]
    assert steps[1].loss < steps[0].loss
    assert set(steps[1].scores) == set(NAMES)
    assert all(0 <= score <= 1 for score in steps[1].scores.values())


def test_an_ensemble_averages_networks_that_were_stopped_on_different_folds(
    tmp_path: Path, data: list[LabelledTokens]
):
    states = {item.recording: item.states for item in data}
    splits = member_groups(states, {n: n for n in states}, 3, test=("d",))
    probe = trained(data, head="linear", members=splits)
    assert probe.shape.members == 3
    assert {item.recording for item in probe.held_out} == set("abc")
    assert all(item.covered.all() for item in probe.held_out)
    assert {s["part"] for s in probe.training["segments"]} == {"train", "test"}
    save_probe(probe, tmp_path / "p")
    back = load_probe(tmp_path / "p")
    assert back.digest == probe.digest
    whole = _predict(back, data[3]).probability
    assert probe.metrics["test"]["moving"]["average_precision"] > 0.9
    single = {}
    for index in range(3):
        own = {
            name.removeprefix(f"member{index}."): value
            for name, value in probe.parameters.items()
            if name.startswith((f"member{index}.", "familiarity."))
        }
        alone = replace(probe, shape=replace(probe.shape, members=1), parameters=own)
        single[index] = _predict(alone, data[3]).probability
    np.testing.assert_allclose(whole, np.mean(list(single.values()), axis=0), atol=1e-6)
    video = Recording("d", Path("v"), ROWS, 8, 8, np.arange(ROWS) / 25, "c")
    apart = finish(disagreement(probe, video, data[3].store))
    np.testing.assert_allclose(apart, 2 * np.std(list(single.values()), axis=0), atol=1e-6)
    assert 0 < apart.max() <= 1


def test_a_recording_unlike_the_training_ones_is_noticed(
    tmp_path: Path, data: list[LabelledTokens], probe: Probe
):
    familiar = _predict(probe, data[3])
    assert familiar.notes == ()
    strange = store_of(tmp_path, "d", data[3].store.tokens(0, ROWS).astype(np.float32) + 3)
    noted = _predict(probe, replace(data[3], store=strange))
    assert len(noted.notes) == 1
    assert noted.notes[0].startswith("d looks unlike the recordings")
    save_prediction(noted, tmp_path / "d.pred.zarr")
    back = load_prediction(tmp_path / "d.pred.zarr", probe=probe.digest, content_key="c")
    assert back.notes == noted.notes
    assert probe.training["familiarity"]["limit"] >= 0.5


def _predict(probe: Probe, item: LabelledTokens) -> Prediction:
    times = np.arange(ROWS) / 25
    video = Recording(item.recording, Path("v"), ROWS, 8, 8, times, "c")
    return finish(predict(probe, video, item.store))


def test_predictions_survive_saving_and_fit_the_metrics(
    tmp_path: Path, data: list[LabelledTokens], probe: Probe
):
    save_probe(probe, tmp_path / "p")
    back = load_probe(tmp_path / "p")
    assert back.digest == probe.digest
    before, after = _predict(probe, data[3]), _predict(back, data[3])
    np.testing.assert_array_equal(before.probability, after.probability)
    assert after.covered.all()
    states = decide(after, back.decision)
    assert (states[:, :2].sum(axis=1) <= 1).all()
    called = (states == 1) & (data[3].states == 1)
    recall = called.sum(axis=0) / (data[3].states == 1).sum(axis=0)
    expected = [probe.metrics["test"][name]["recall"] for name in NAMES]
    np.testing.assert_allclose(recall, expected, atol=1e-6)


def test_tokens_of_another_backbone_are_refused(
    tmp_path: Path, data: list[LabelledTokens], probe: Probe
):
    other = replace(KEY, backbone="other", hop=2)
    store = TokenStore.create(tmp_path / "d.zarr", other, 600, "c")
    with pytest.raises(ProjectError, match=r"backbone net, hop 4.*backbone other, hop 2"):
        _predict(probe, replace(data[3], store=store))


def test_a_damaged_probe_is_refused(tmp_path: Path, probe: Probe):
    save_probe(probe, tmp_path / "p")
    path = tmp_path / "p" / "probe.safetensors"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ProjectError, match="other parameters"):
        load_probe(tmp_path / "p")
    path.write_bytes(b"x")
    with pytest.raises(ProjectError, match="cannot be read"):
        load_probe(tmp_path / "p")


def test_behaviours_without_negatives_are_an_error_with_the_remedy(data: list[LabelledTokens]):
    states = [np.where(item.states == 0, UNOBSERVED, item.states) for item in data]
    positive = [replace(d, states=s.astype(np.int8)) for d, s in zip(data, states, strict=True)]
    with pytest.raises(LabelError, match=r"absent.*--observed whole"):
        trained(positive)


@given(arrays(np.float32, (6, 4), elements=st.floats(-5, 5, width=32)))
def test_unobserved_frames_weigh_nothing(logits: np.ndarray):
    groups = group_columns(("a", "b", "c", "d"), (("b", "d"),))
    states = np.array(
        [[1, 1, 0, 0], [-1, -1, -1, -1], [0, 0, -1, 0], [-1, -1, 1, 1], [0, -1, 0, 0], [1, 1, 1, 1]]
    )
    gradient = np.asarray(SLOPE(jnp.asarray(logits), jnp.asarray(states), groups))
    assert (gradient[1] == 0).all()
    assert gradient[2, 2] == 0
    # One member unknown and none present, or two present at once: the group's outcome is unknown.
    assert (gradient[4:6][:, [1, 3]] == 0).all()
    p = probabilities(logits, groups)
    assert ((p >= 0) & (p <= 1)).all()
    assert (p[:, 1] + p[:, 3] <= 1 + 1e-6).all()


def test_the_outcome_of_a_group():
    states = jnp.asarray([[0, 0], [1, 0], [0, 1], [-1, 1], [-1, 0], [1, 1]])
    assert group_outcome(states).tolist() == [0, 1, 2, 2, -1, -1]


def test_memory_is_bounded_and_the_share_kept_is_told(data: list[LabelledTokens]):
    segments = [Segment("a", 0, 600, "train")]
    shape = ProbeShape(32, 3, 2)
    all_rows = load_samples(data[:1], segments, "train", shape)
    assert (len(all_rows.centres), all_rows.kept) == (600, 1.0)
    most = all_rows.inputs.nbytes // 2
    some = load_samples(data[:1], segments, "train", shape, max_bytes=most)
    assert 0 < some.kept < 1
    assert 0 < some.inputs.nbytes <= most + 8 * all_rows.inputs[0].nbytes


def test_rows_a_gap_apart_share_no_frame():
    from ethoprism.windows import WindowGrid

    grid = WindowGrid(400, KEY.length, KEY.hop)
    gap = split_gap(KEY, context=2)

    def seen(row: int) -> set[int]:
        frames: set[int] = set()
        for near in range(row - 3, row + 3):
            window = grid.window_of(near)
            frames |= set(range(grid.start(window), grid.stop(window)))
        return frames

    assert all(not seen(row) & seen(row + gap + 1) for row in range(50, 150))
