"""Stores of clips: what is written is read, whole or not at all."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethoprism.errors import InputError
from ethoprism.pretrain.clips import Clip, ClipStore, mixed, write_clips, write_stores
from ethoprism.pretrain.flow import patch_motion
from ethoprism.progress import Progress


def _clips(n: int, seed: int = 0, name: str = "noise") -> Iterator[Clip]:
    rng = np.random.default_rng(seed)
    for i in range(n):
        yield Clip(rng.integers(0, 256, (3, 36, 36, 3), np.uint8), name, f"clip {i}")


def _finish(task) -> tuple[list[Progress], Any]:
    steps = []
    while True:
        try:
            steps.append(next(task))
        except StopIteration as stop:
            return steps, stop.value


def test_what_is_written_is_read(tmp_path: Path):
    steps, store = _finish(write_clips(tmp_path / "a", _clips(9), 5, made_of={"seed": 0}))
    assert [s.done for s in steps] == [1, 2, 3, 4, 5]
    again = ClipStore.open(tmp_path / "a")
    assert len(again) == len(store) == 5
    assert again.captions == tuple(f"clip {i}" for i in range(5))
    assert again.sources == ("noise",) * 5
    assert again.made_of == {"seed": 0}
    for clip, frames, flow in zip(_clips(5), again.clips, again.flow, strict=True):
        np.testing.assert_array_equal(frames, clip.frames)
        np.testing.assert_array_equal(flow, patch_motion(clip.frames).astype(np.float16))


def test_a_store_that_was_not_finished_is_not_there(tmp_path: Path):
    task = write_clips(tmp_path / "a", _clips(9), 5)
    next(task)
    task.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="too few clips"):
        _finish(write_clips(tmp_path / "a", _clips(3), 5))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_not_written_to(tmp_path: Path):
    with pytest.raises(InputError, match="already"):
        _finish(write_clips(tmp_path, _clips(3), 2))


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match=r"clips\.npy"):
        ClipStore.open(tmp_path)
    _finish(write_clips(tmp_path / "a", _clips(3), 2))
    about = tmp_path / "a" / "clips.json"
    text = json.loads(about.read_text())
    about.write_text(json.dumps(text | {"captions": ["one"]}))
    with pytest.raises(InputError, match="cannot be read"):
        ClipStore.open(tmp_path / "a")


def test_stores_that_are_there_are_not_made_again(tmp_path: Path):
    asked: list[int] = []

    def stream(seed: int) -> Iterator[Clip]:
        asked.append(seed)
        return _clips(9, seed)

    task = write_stores(tmp_path, stream, 5, seed=40, per_store=2)
    for _ in range(3):  # the second store is not finished
        next(task)
    task.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000"]
    steps, stores = _finish(write_stores(tmp_path, stream, 5, seed=40, per_store=2))
    assert asked == [40, 41, 41, 42]
    assert [len(store) for store in stores] == [2, 2, 2]
    assert (steps[-1].done, steps[-1].total) == (6, 6)
    assert stores[2].made_of == {"seed": 42}
    np.testing.assert_array_equal(stores[1].clips[0], next(_clips(1, 41)).frames)


def test_a_mixture_has_its_shares_and_follows_from_the_seed():
    def stream(seed: int) -> list[str]:
        streams = [_clips(500, name="a"), _clips(500, name="b")]
        return [c.source for c in itertools.islice(mixed(streams, (3.0, 1.0), seed), 300)]

    assert stream(1) == stream(1) != stream(2)
    assert 0.65 < stream(1).count("a") / 300 < 0.85
