"""WindowEncoder: kept frames only, no recompilation, any number of devices, embeddings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Array
from toy_backbone import ToyBackbone

from ethoprism import window_encoder
from ethoprism.backbones.devices import fitting
from ethoprism.backbones.spec import BackboneCard
from ethoprism.crops import Focus, Region
from ethoprism.errors import EthoPrismError, InputError
from ethoprism.window_encoder import Batches, Chunk, Rows, WindowEncoder, default_batches
from ethoprism.windows import WindowGrid


def _frames(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (n, size, size, 3), np.uint8)


def _chunks(run: WindowEncoder, frames: np.ndarray, row: int, stop: int) -> Iterator[Chunk]:
    batch = run.batches.frames
    for chunk in run.chunks(row, stop):
        some = frames[chunk * batch : (chunk + 1) * batch]
        filled = np.zeros((batch, *frames.shape[1:]), np.uint8)
        filled[: len(some)] = some
        yield chunk, filled, np.ones(len(some), bool)


def _rows(run: WindowEncoder, frames: np.ndarray, row: int, stop: int) -> list[Rows]:
    return list(run.kept_rows(_chunks(run, frames, row, stop), row, stop))


class DictBackbone(ToyBackbone):
    """The toy with a pytree of features, which notes what it was asked for."""

    def __init__(self):
        super().__init__()
        self.asked: list[tuple[int, int] | None] = []
        self.shared: set[bool] = set()

    def spatial(self, frames, *, shared=False) -> Any:
        self.shared.add(shared)
        tokens = super().spatial(frames)
        return {"tokens": tokens, "numbers": jnp.zeros(len(frames), jnp.int32)}

    def temporal(self, features, padding, kept=None, positions=None):
        assert features["numbers"].shape == padding.shape
        self.asked.append(kept)
        return super().temporal(features["tokens"], padding, kept, positions)


@pytest.mark.parametrize(("hop", "windows"), [(1, 1), (2, 2), (3, 1), (6, 2)])
def test_only_windows_at_the_ends_are_computed_whole(hop: int, windows: int):
    frames = _frames(40, 16)
    grid, batches = WindowGrid(40, 6, hop), Batches(4, windows)
    backbone = DictBackbone()
    found = _rows(WindowEncoder(grid, 4, backbone, batches), frames, 0, 40)
    assert backbone.shared == {hop < 6}
    between = grid.kept_between
    assert backbone.asked[0] is None and backbone.asked[-1] is None
    assert set(backbone.asked[1:-1]) == {between} and between[1] - between[0] == hop
    assert [rows.window for rows in found] == list(range(grid.n_windows))
    assert np.concatenate([rows.tokens for rows in found]).shape == (40, 4, 4, 8)
    tokens = np.asarray(ToyBackbone().spatial(frames))
    for rows in found:
        inside = np.zeros((1, 6, 16, 8), np.float32)
        start, stop = grid.start(rows.window), grid.stop(rows.window)
        inside[0, : stop - start] = tokens[start:stop]
        whole = ToyBackbone().temporal(jnp.asarray(inside), np.arange(6)[None] >= stop - start)
        expected = np.asarray(whole)[0, rows.start - start :][: len(rows.tokens)]
        np.testing.assert_allclose(
            rows.tokens.reshape(len(rows.tokens), 16, 8), expected, rtol=2e-3, atol=2e-3
        )


@given(st.integers(1, 200), st.integers(1, 20), st.integers(1, 5), st.data())
def test_windows_between_the_ends_keep_the_same_of_their_frames(
    n_frames: int, length: int, step: int, data: st.DataObject
):
    grid = WindowGrid(n_frames, length, data.draw(st.integers(1, length)), step)
    first, stop = grid.kept_between
    assert 0 <= first < stop <= length and stop - first == grid.hop
    for window in range(1, grid.n_windows - 1):
        start = grid.start(window)
        assert grid.kept(window) == (start + first, start + stop)


def test_any_part_gives_the_same_numbers_as_the_whole():
    frames, grid = _frames(50, 16), WindowGrid(50, 6, 2)
    run = WindowEncoder(grid, 2, ToyBackbone(), Batches(5, 3))
    whole = np.concatenate([rows.tokens for rows in _rows(run, frames, 0, 50)])
    for row, stop in ((0, 7), (13, 29), (44, 50), (20, 21)):
        part = WindowEncoder(grid, 2, ToyBackbone(), Batches(5, 3))
        found = _rows(part, frames, row, stop)
        assert found[0].start == row
        np.testing.assert_array_equal(np.concatenate([r.tokens for r in found]), whole[row:stop])


def test_nothing_is_compiled_again_while_it_runs():
    """All shapes are met within the first windows and the last; other lengths bring no others."""
    backbone, batches = ToyBackbone(size=20, grid=5, frames=7, width=9), Batches(3, 2)
    counts: list[list[int]] = []
    for n_frames in (40, 61):
        frames, grid = _frames(n_frames, 20), WindowGrid(n_frames, 7, 2)
        _rows(WindowEncoder(grid, 5, backbone, batches), frames, 0, n_frames)
        functions = (window_encoder._put, window_encoder._take, window_encoder.pool)
        counts.append([f._cache_size() for f in functions])  # type: ignore[attr-defined]
    assert counts[0] == counts[1]


class Embedding(ToyBackbone):
    """The toy with embeddings: means of tokens."""

    def __init__(self):
        super().__init__()
        card = self.card
        self.card = BackboneCard(
            card.name, "0" * 64, 6, 16, 4, 8, "float32", trained=False, embedding_width=8
        )

    def embed(self, tokens: Array, padding: np.ndarray) -> tuple[Array, Array]:
        frames = jnp.asarray(tokens).mean(axis=2)
        weight = jnp.asarray(~padding, jnp.float32)[:, :, None]
        return frames, (frames * weight).sum(axis=1) / weight.sum(axis=1).clip(1)


def test_embeddings_go_with_their_frames_and_with_the_first_row_of_a_window():
    frames, grid = _frames(30, 16), WindowGrid(30, 6, 2)
    run = WindowEncoder(grid, 4, Embedding(), Batches(5, 3))
    found = _rows(run, frames, 0, 30)
    assert all(rows.window_embedding is not None for rows in found)
    for rows in found:
        assert rows.frame_embeddings is not None
        means = rows.tokens.astype(np.float32).mean(axis=(1, 2))
        np.testing.assert_allclose(rows.frame_embeddings, means, atol=2e-3)
    split = grid.kept(4)[0] + 1
    part = _rows(WindowEncoder(grid, 4, Embedding(), Batches(5, 3)), frames, split, 30)
    assert (part[0].start, part[0].window) == (split, 4)
    assert part[0].window_embedding is None
    assert part[1].window_embedding is not None


def test_a_card_that_promises_embeddings_needs_a_function_for_them():
    backbone = ToyBackbone()
    backbone.card = Embedding().card
    run = WindowEncoder(WindowGrid(9, 6, 3), 4, backbone, Batches(5, 1))
    with pytest.raises(TypeError, match="no function `embed`"):
        _rows(run, _frames(9, 16), 0, 9)


def test_embeddings_that_are_not_finite_are_refused():
    class Broken(Embedding):
        def embed(self, tokens, padding):
            frames, windows = super().embed(tokens, padding)
            return frames * jnp.nan, windows

    run = WindowEncoder(WindowGrid(9, 6, 3), 4, Broken(), Batches(5, 1))
    with pytest.raises(EthoPrismError, match="not finite near sampled frame 0"):
        _rows(run, _frames(9, 16), 0, 9)


def test_batches_are_powers_of_two_that_fit():
    assert fitting(10, 4 * 1000, most=512) == 64
    assert fitting(10, 4 * 1000, most=16, devices=3) == 48
    assert fitting(10**9, 1000, most=16) == 1
    assert fitting(10, 4 * 1270, most=512) == fitting(10, 4 * 650, most=512) == 64


def test_batches_on_a_gpu_follow_its_free_memory(monkeypatch: pytest.MonkeyPatch):
    card = BackboneCard("base", "0" * 64, 16, 288, 16, 768, "bfloat16", trained=False)
    monkeypatch.setattr(window_encoder, "platform", lambda: "gpu")
    sizes = {}
    for gigabytes in (4, 24, 80):
        monkeypatch.setattr(window_encoder, "free_bytes", lambda g=gigabytes: g << 30)
        sizes[gigabytes] = default_batches(card)
    assert sizes[4].frames < sizes[24].frames <= sizes[80].frames == 128
    assert sizes[4].windows < sizes[24].windows <= sizes[80].windows == 16
    monkeypatch.setattr(window_encoder, "free_bytes", lambda: None)
    assert default_batches(card) == Batches(64, 8)


_ON_DEVICES = """
import sys
import jax, numpy as np

from ethoprism.backbones.nano import prism_nano
from ethoprism.window_encoder import Batches, WindowEncoder, default_batches
from ethoprism.windows import WindowGrid
assert jax.local_device_count() == int(sys.argv[1])
backbone = prism_nano()
assert default_batches(backbone.card).frames == 16 * jax.local_device_count()
frames = np.random.default_rng(0).integers(0, 256, (24, 144, 144, 3), np.uint8)
run = WindowEncoder(WindowGrid(24, 8, 4), 8, backbone, Batches(8, 2))
chunks = ((i, backbone.to_device(frames[8 * i : 8 * i + 8]), np.ones(8, bool)) for i in range(3))
tokens = np.concatenate([rows.tokens for rows in run.kept_rows(chunks, 0, 24)])
shared = backbone.spatial(backbone.to_device(frames[:8]))
windows = backbone.temporal(shared.reshape(2, 4, 64, 192), np.zeros((2, 4), bool), (1, 3))
used = {s.device for s in shared.addressable_shards}, {s.device for s in windows.addressable_shards}
assert [len(devices) for devices in used] == [jax.local_device_count()] * 2
whole = backbone.spatial(frames[:7])  # seven are not shared out
np.savez(sys.argv[2], tokens=tokens, windows=windows, seven=whole)
"""


def test_two_devices_give_what_one_gives(tmp_path: Path):
    found = []
    for devices in (1, 2):
        flag = f"--xla_force_host_platform_device_count={devices}"
        path = tmp_path / f"{devices}.npz"
        subprocess.run(
            [sys.executable, "-c", _ON_DEVICES, str(devices), str(path)],
            check=True,
            env={**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"},
        )
        with np.load(path) as archive:
            found.append({name: archive[name] for name in ("tokens", "windows", "seven")})
    for name, values in found[0].items():
        error = np.abs(values.astype(np.float32) - found[1][name].astype(np.float32)).max()
        print(f"{name}: {error:.1e}")
        assert values.shape == found[1][name].shape
        assert error <= (4e-3 if values.dtype == np.float16 else 2e-5)


def test_a_focus_gives_the_tokens_of_its_part_of_whole_frames():
    frames = _frames(40, 16)
    grid, batches = WindowGrid(40, 6, 2), Batches(4, 2)
    whole = _rows(WindowEncoder(grid, 4, ToyBackbone(), batches), frames, 0, 40)
    part = Focus(Region(20, 0, 20, 10), 20, 40)  # columns 2 and 3, rows 0 and 1 of 4 by 4
    found = _rows(WindowEncoder(grid, 2, ToyBackbone(), batches, focus=part), frames, 0, 40)
    for a, b in zip(whole, found, strict=True):
        assert a.start == b.start and b.tokens.shape == (len(a.tokens), 2, 2, 8)
        np.testing.assert_allclose(
            b.tokens.astype(np.float32), a.tokens[:, :2, 2:].astype(np.float32), atol=1e-3
        )


def test_only_the_patches_of_a_focus_pass_the_temporal_encoder():
    asked = []

    class Noting(ToyBackbone):
        def temporal(self, features, padding, kept=None, positions=None):
            asked.append(positions)
            return super().temporal(features, padding, kept, positions)

    part = Focus(Region(10, 5, 5, 5), 20, 40)
    run = WindowEncoder(WindowGrid(40, 6, 2), 2, Noting(), Batches(4, 2), focus=part)
    _rows(run, _frames(40, 16), 0, 40)
    assert set(asked) == {(5,)}


def test_a_backbone_that_embeds_whole_frames_refuses_a_focus():
    part = Focus(Region(0, 0, 5, 5), 20, 40)
    with pytest.raises(InputError, match="whole frames in words"):
        WindowEncoder(WindowGrid(40, 6, 2), 2, Embedding(), Batches(4, 2), focus=part)
