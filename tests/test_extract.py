"""Extraction equals encoding each window by itself, survives interruptions, says what fails."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_backbone import ToyBackbone

from ethoprism.backbones.preprocess import preprocess
from ethoprism.errors import EthoPrismError, StorageError
from ethoprism.extract import Batches, encoded_blocks, extract, maker, settled_batches, token_key
from ethoprism.recording import Recording, open_recording
from ethoprism.tokens import Block, TokenStore
from ethoprism.video import FrameReader
from ethoprism.windows import WindowGrid
from ethoprism_datasets.arena import write_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    files = write_recording(tmp_path_factory.mktemp("arena"), "r", 3, n_frames=75)
    return open_recording(files.video)[0]


def _digest(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def _store(recording: Recording, path: Path, backbone: ToyBackbone, **options: int) -> TokenStore:
    key = token_key(backbone.card, **options)  # type: ignore[arg-type]
    steps = list(extract(recording, backbone, key, path, batches=Batches(frames=5, windows=2)))
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert steps[-1].done == steps[-1].total
    return TokenStore.open(path, key, recording.n_frames, recording.content_key)


@pytest.mark.parametrize(
    ("hop", "step", "pooling"), [(3, 1, 4), (6, 1, 2), (1, 2, 1), (5, 3, 2), (2, 40, 2)]
)
def test_every_token_comes_from_its_most_central_window(
    recording: Recording, tmp_path: Path, hop: int, step: int, pooling: int
):
    backbone = ToyBackbone()
    store = _store(recording, tmp_path / "r.zarr", backbone, hop=hop, step=step, pooling=pooling)
    grid = WindowGrid(recording.n_frames, backbone.card.frames, hop, step)
    with FrameReader(recording) as reader:
        frames = np.stack([preprocess(reader[grid.frame_of(i)], 16) for i in range(grid.n_sampled)])
    tokens = np.asarray(backbone.spatial(jnp.asarray(frames)))
    for row in range(grid.n_sampled):
        window = grid.window_of(row)
        start, stop = grid.start(window), grid.stop(window)
        inside = np.zeros((1, 6, 16, 8), np.float32)
        inside[0, : stop - start] = tokens[start:stop]
        padding = np.arange(6)[None] >= stop - start
        whole = backbone.temporal(jnp.asarray(inside), jnp.asarray(padding))[0, row - start]
        cell = 4 // pooling
        pooled = np.asarray(whole).reshape(pooling, cell, pooling, cell, 8).mean(axis=(1, 3))
        np.testing.assert_allclose(store.tokens(row, row + 1)[0], pooled, rtol=2e-3, atol=2e-3)
    assert store.valid().all()


def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ethoprism.tokens._TARGET_SHARD_BYTES", 16 * 4 * 8 * 2)


def test_cancelled_anywhere_and_started_again_gives_the_same_bytes(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _small_blocks(monkeypatch)
    backbone = ToyBackbone()
    whole = _store(recording, tmp_path / "whole.zarr", backbone, hop=2, pooling=2)
    assert whole.n_blocks == 5
    key = token_key(backbone.card, hop=2, pooling=2)
    for after in range(1, 5):
        path = tmp_path / f"{after}.zarr"
        task = extract(recording, backbone, key, path, batches=Batches(frames=5, windows=2))
        for _ in range(after):
            next(task)
        task.close()
        _store(recording, path, backbone, hop=2, pooling=2)
        assert _digest(path) == _digest(whole.path)


def test_missing_blocks_in_the_middle_are_filled_alike(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _small_blocks(monkeypatch)
    backbone = ToyBackbone()
    store = _store(recording, tmp_path / "r.zarr", backbone, hop=3, pooling=2)
    before = _digest(store.path)
    for block in (1, 3):
        (store.path / f"done/c/{block}").unlink()
        (store.path / f"tokens/c/{block}/0/0/0").write_bytes(b"garbage")
    _store(recording, store.path, backbone, hop=3, pooling=2)
    assert _digest(store.path) == before


def test_a_full_disk_is_a_clear_error_and_keeps_what_is_done(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _small_blocks(monkeypatch)
    backbone = ToyBackbone()
    key = token_key(backbone.card, hop=3, pooling=2)
    path = tmp_path / "r.zarr"
    real, calls = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        if "tokens/c" in str(path):
            calls.append(path)
            if len(calls) > 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageError, match="disk is full"):
            list(extract(recording, backbone, key, path))
    store = TokenStore.open(path, key, recording.n_frames, recording.content_key)
    assert store.done.tolist() == [True, True, False, False, False]
    store = _store(recording, path, backbone, hop=3, pooling=2)
    whole = _store(recording, tmp_path / "whole.zarr", backbone, hop=3, pooling=2)
    assert _digest(store.path) == _digest(whole.path)


def test_a_disk_too_small_for_the_tokens_is_noticed_before_the_work(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    backbone = ToyBackbone()
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("ethoprism.extract.shutil.disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match="too full"):
        list(extract(recording, backbone, token_key(backbone.card), tmp_path / "r.zarr"))


def test_numbers_that_are_not_finite_are_never_stored(recording: Recording, tmp_path: Path):
    backbone = ToyBackbone()
    backbone._projection = backbone._projection * np.nan
    key = token_key(backbone.card)
    with pytest.raises(EthoPrismError, match="not finite"):
        list(extract(recording, backbone, key, tmp_path / "r.zarr"))
    assert not TokenStore.create(tmp_path / "r.zarr", key, 75, recording.content_key).done.any()


class _Embedding(ToyBackbone):
    """The toy with embeddings: of a frame and of a window, from its tokens, of length 1."""

    def __init__(self) -> None:
        super().__init__()
        self.card = replace(self.card, embedding_width=8)

    def embed(self, tokens: np.ndarray, padding: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frames = np.asarray(tokens).mean(axis=2)
        windows = (frames * ~np.asarray(padding)[..., None]).sum(axis=1)
        return _unit(frames), _unit(windows)


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-6)


@pytest.mark.parametrize("hop", [1, 4])
def test_embeddings_are_those_of_the_windows_and_resume_alike(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hop: int
):
    _small_blocks(monkeypatch)
    backbone = _Embedding()
    store = _store(recording, tmp_path / "whole.zarr", backbone, hop=hop, pooling=2)
    grid = store.grid
    with FrameReader(recording) as reader:
        frames = np.stack([preprocess(reader[i], 16) for i in range(grid.n_sampled)])
    tokens = np.asarray(backbone.spatial(frames))
    for window in range(grid.n_windows):
        start, stop = grid.start(window), grid.stop(window)
        inside = np.zeros((1, 6, 16, 8), np.float32)
        inside[0, : stop - start] = tokens[start:stop]
        padding = np.arange(6)[None] >= stop - start
        of_frames, of_window = backbone.embed(
            np.asarray(backbone.temporal(jnp.asarray(inside), padding)), padding
        )
        found = store.window_embeddings(window, window + 1)[0]
        np.testing.assert_allclose(found, of_window[0], atol=2e-3)
        first, last = grid.kept(window)
        np.testing.assert_allclose(
            store.frame_embeddings(first, last),
            of_frames[0, first - start : last - start],
            atol=2e-3,
        )
    key, path = store.key, tmp_path / "again.zarr"
    task = extract(recording, backbone, key, path, batches=Batches(frames=5, windows=2))
    for _ in range(3):
        next(task)
    task.close()
    _store(recording, path, backbone, hop=hop, pooling=2)
    assert _digest(path) == _digest(store.path)


def test_cancelling_leaves_no_thread(recording: Recording, tmp_path: Path):
    backbone = ToyBackbone()
    key = token_key(backbone.card, hop=1, pooling=2)
    task = extract(recording, backbone, key, tmp_path / "r.zarr")
    next(task)
    before = set(threading.enumerate())
    next(task)
    task.close()
    names = {t.name for t in set(threading.enumerate()) - before}
    assert not names & {"decoder", "token writer"}


def test_blocks_are_the_same_whichever_are_computed_together(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _small_blocks(monkeypatch)
    backbone, batches = ToyBackbone(), Batches(frames=5, windows=2)
    key = token_key(backbone.card, hop=2, pooling=2)
    store = TokenStore.create(tmp_path / "r.zarr", key, recording.n_frames, recording.content_key)

    def blocks(first: int, last: int) -> list[Block]:
        return list(encoded_blocks(recording, backbone, store, first, last, batches=batches))

    whole = blocks(0, store.n_blocks)
    assert [block.index for block in whole] == list(range(store.n_blocks))
    for i, expected in enumerate(whole):
        (alone,) = blocks(i, i + 1)
        np.testing.assert_array_equal(alone.tokens, expected.tokens)
        np.testing.assert_array_equal(alone.valid, expected.valid)
    assert not store.done.any()


def test_nothing_is_compiled_anew_for_another_recording_of_another_length(
    recording: Recording, tmp_path: Path
):
    backbone = ToyBackbone()
    _store(recording, tmp_path / "first.zarr", backbone, hop=2, pooling=2)
    files = write_recording(tmp_path, "other", 4, n_frames=61)
    other = open_recording(files.video)[0]
    compiled = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if "compile" in event:
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        _store(other, tmp_path / "other.zarr", backbone, hop=2, pooling=2)
        assert compiled == []
        _store(other, tmp_path / "control.zarr", backbone, hop=3, pooling=1)
        assert compiled, "the listener hears of compilations"
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def test_the_store_says_what_computed_it(recording: Recording, tmp_path: Path):
    store = _store(recording, tmp_path / "r.zarr", ToyBackbone())
    (made,) = store.made_by
    assert made["engine"] == "jax"
    assert made["precision"] == "float32"
    other = ToyBackbone()
    other.engine_stamp = lambda: {"engine": "other"}  # type: ignore[attr-defined]
    assert maker(other) == {"engine": "other"}


def test_an_extraction_goes_on_in_the_shapes_that_it_was_begun_with(
    recording: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a GPU whose memory another program takes or frees between the two runs."""
    backbone = ToyBackbone()
    key = token_key(backbone.card, hop=2, pooling=4)
    suited = [Batches(8, 2)]
    monkeypatch.setattr("ethoprism.extract.platform", lambda: "gpu")
    monkeypatch.setattr("ethoprism.extract.default_batches", lambda card: suited[-1])
    steps = extract(recording, backbone, key, tmp_path / "r.zarr")
    next(steps)
    next(steps)
    steps.close()
    store = TokenStore.open(tmp_path / "r.zarr", key, recording.n_frames, recording.content_key)
    assert [entry["batches"] for entry in store.made_by] == ["8x2"]
    for now, then in (((16, 4), (8, 2)), ((8, 2), (8, 2)), ((4, 1), (4, 1)), ((8, 1), (4, 1))):
        suited.append(Batches(*now))
        assert settled_batches(store, backbone) == Batches(*then)
        if now == (4, 1):  # too little memory for the shapes of the beginning
            store.sign(maker(backbone, Batches(4, 1)))
    assert [entry["batches"] for entry in store.made_by] == ["8x2", "4x1"]
    store.sign({"engine": "jax", "batches": "64x"})
    store.sign({"engine": "another", "batches": "1x1"})
    assert settled_batches(store, backbone) == Batches(4, 1)


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_again_give_the_same_bytes(tmp_path: Path):
    """The real command line, killed at random moments until it comes to its end."""
    write_recording(tmp_path, "r", 3, n_frames=1200)
    command = [str(Path(sys.executable).with_name("ethoprism"))]

    def project(name: str) -> list[str]:
        folder = str(tmp_path / name)
        # Small windows' hop and no pooling make many blocks out of a short video.
        options = ["--pooling", "8", "--hop", "4"]
        subprocess.run([*command, "init", folder, *options], check=True)
        subprocess.run([*command, "add", folder, str(tmp_path / "r.mp4")], check=True)
        return [*command, "extract", folder]

    extraction = project("whole")
    began = time.monotonic()
    subprocess.run(extraction, check=True)
    whole_s = time.monotonic() - began
    extraction = project("killed")
    rng = np.random.default_rng(11)
    kills = 0
    for _ in range(3):
        process = subprocess.Popen(extraction, stderr=subprocess.DEVNULL)
        try:
            process.wait(timeout=float(rng.uniform(0.3, 0.55)) * whole_s)
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 2
    subprocess.run(extraction, check=True)
    stores = [next((tmp_path / name / "tokens").glob("*/r.zarr")) for name in ("whole", "killed")]
    assert len(list((stores[0] / "done" / "c").iterdir())) >= 2
    assert _digest(stores[0]) == _digest(stores[1])
