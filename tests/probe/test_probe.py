"""A probe learns what is there, stays at chance where nothing is, and knows its tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ethoprism.annotation import UNOBSERVED
from ethoprism.errors import LabelError, ProjectError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Segment
from ethoprism.prediction import decide
from ethoprism.probe.batches import LabelledTokens, load_samples, split_gap
from ethoprism.probe.checkpoint import Probe, load_probe, save_probe
from ethoprism.probe.model import group_columns, group_outcome, loss, probabilities
from ethoprism.probe.predict import predict
from ethoprism.probe.train import Schedule, train
from ethoprism.recording import Recording
from ethoprism.tokens import TokenKey, TokenStore

KEY = TokenKey("net", "0" * 64, "float32", False, 1, 32, 4, 32, 8, 4, 1, 2)
NAMES = ("still", "moving", "rare")
ETHOGRAM = Ethogram().with_names(NAMES).with_exclusive(["still", "moving"])


def _recording(tmp_path: Path, name: str, seed: int, rows: int = 600) -> LabelledTokens:
    """Tokens in which one of four places carries a sign of the behaviour, in noise."""
    rng = np.random.default_rng(seed)
    bouts = np.repeat(rng.integers(0, 2, rows // 20), 20)
    rare = np.repeat(rng.random(rows // 20) < 0.25, 20)
    tokens = rng.standard_normal((rows, 2, 2, 32)).astype(np.float32)
    place = rng.integers(0, 4, rows)
    flat = tokens.reshape(rows, 4, 32)
    flat[np.arange(rows), place, :8] += 4.0 * bouts[:, None]
    flat[np.arange(rows), place, 8:16] += 4.0 * rare[:, None]
    store = TokenStore.create(tmp_path / f"{name}.zarr", KEY, rows, name)
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        store.write_block(block, tokens[start:stop], np.ones(stop - start, bool))
    states = np.stack([1 - bouts, bouts, rare], axis=1).astype(np.int8)
    return LabelledTokens(name, store, states)


def _train(data: list[LabelledTokens], **options: object) -> Probe:
    parts = ("train", "train", "validation", "test")
    segments = [Segment(d.recording, 0, 600, p) for d, p in zip(data, parts, strict=True)]
    schedule = Schedule(steps=200, batch=64)
    task = train(data, segments, ETHOGRAM, NAMES, name="p", context=2, schedule=schedule, **options)  # type: ignore[arg-type]
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledTokens]:
    folder = tmp_path_factory.mktemp("tokens")
    return [_recording(folder, name, i) for i, name in enumerate("abcd")]


@pytest.fixture(scope="module")
def probe(data: list[LabelledTokens]) -> Probe:
    return _train(data)


def test_it_learns_what_is_there(probe: Probe):
    for name in NAMES:
        scores = probe.metrics["test"][name]
        assert scores["average_precision"] > 0.9, name
        assert scores["f1"] > scores["chance_f1"] + 0.15, name


def test_on_shuffled_labels_it_stays_at_chance(data: list[LabelledTokens]):
    rng = np.random.default_rng(9)
    shuffled = [
        replace(item, states=item.states[rng.permutation(len(item.states))]) for item in data
    ]
    for name, scores in _train(shuffled).metrics["test"].items():
        prevalence = scores["present"] / scores["frames"]
        assert scores["average_precision"] < prevalence + 0.1, name
        assert scores["f1"] < scores["chance_f1"] + 0.05, name


def test_the_same_seed_gives_the_same_probe(data: list[LabelledTokens], probe: Probe):
    assert _train(data).digest == probe.digest
    assert _train(data, seed=1).digest != probe.digest


def _predict(probe: Probe, item: LabelledTokens):
    times = np.arange(600) / 25
    task = predict(probe, Recording(item.recording, Path("v"), 600, 8, 8, times, "c"), item.store)
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


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
        _train(positive)


@given(arrays(np.float32, (6, 4), elements=st.floats(-5, 5, width=32)))
def test_unobserved_frames_weigh_nothing(logits: np.ndarray):
    groups = group_columns(("a", "b", "c", "d"), (("b", "d"),))
    states = np.array(
        [[1, 1, 0, 0], [-1, -1, -1, -1], [0, 0, -1, 0], [-1, -1, 1, 1], [0, -1, 0, 0], [1, 1, 1, 1]]
    )
    gradient = np.asarray(jax.grad(loss)(jnp.asarray(logits), jnp.asarray(states), groups))
    assert (gradient[1] == 0).all()
    assert gradient[2, 2] == 0
    # One member unknown and none present, or two present at once: the group's outcome is unknown.
    assert (gradient[4:6][:, [1, 3]] == 0).all()
    p = np.asarray(probabilities(jnp.asarray(logits), groups))
    assert ((p >= 0) & (p <= 1)).all()
    assert (p[:, 1] + p[:, 3] <= 1 + 1e-6).all()


def test_the_outcome_of_a_group():
    states = jnp.asarray([[0, 0], [1, 0], [0, 1], [-1, 1], [-1, 0], [1, 1]])
    assert group_outcome(states).tolist() == [0, 1, 2, 2, -1, -1]


def test_memory_is_bounded_and_the_share_kept_is_told(data: list[LabelledTokens]):
    segments = [Segment("a", 0, 600, "train")]
    all_rows = load_samples(data[:1], segments, "train", 2)
    assert (len(all_rows.centres), all_rows.kept) == (600, 1.0)
    some = load_samples(data[:1], segments, "train", 2, max_bytes=all_rows.tokens.nbytes // 2)
    assert 0 < some.kept < 1
    assert some.tokens.nbytes <= all_rows.tokens.nbytes // 2


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
