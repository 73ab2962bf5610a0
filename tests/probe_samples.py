"""Small token stores with known states, for tests of probes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Part, Segment
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.train import Schedule, train
from ethoprism.tokens import TokenKey, TokenStore

KEY = TokenKey("net", "0" * 64, "float32", False, 1, 32, 4, 32, 8, 4, 1, 2)
NAMES = ("still", "moving", "rare")
ETHOGRAM = Ethogram().with_names(NAMES).with_exclusive(["still", "moving"])
ROWS = 600
PARTS: tuple[Part, ...] = ("train", "train", "validation", "test")


def finish(task: Generator[Any, None, Any]) -> Any:
    """The result of a generator task."""
    while True:
        try:
            next(task)
        except StopIteration as stop:
            return stop.value


def store_of(folder: Path, name: str, tokens: np.ndarray) -> TokenStore:
    """A complete store of tokens ``[rows, 2, 2, 32]``."""
    store = TokenStore.create(folder / f"{name}.zarr", KEY, len(tokens), name)
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        store.write_block(block, tokens[start:stop], np.ones(stop - start, bool))
    return store


def recording(folder: Path, name: str, seed: int, rows: int = ROWS) -> LabelledTokens:
    """Tokens in which one of four places carries a sign of the behaviour, in noise."""
    rng = np.random.default_rng(seed)
    bouts = np.repeat(rng.integers(0, 2, rows // 20), 20)
    rare = np.repeat(rng.random(rows // 20) < 0.25, 20)
    tokens = rng.standard_normal((rows, 2, 2, 32)).astype(np.float32)
    place = rng.integers(0, 4, rows)
    flat = tokens.reshape(rows, 4, 32)
    flat[np.arange(rows), place, :8] += 4.0 * bouts[:, None]
    flat[np.arange(rows), place, 8:16] += 4.0 * rare[:, None]
    states = np.stack([1 - bouts, bouts, rare], axis=1).astype(np.int8)
    return LabelledTokens(name, store_of(folder, name, tokens), states)


def by_recording(data: Sequence[LabelledTokens]) -> list[Segment]:
    """Two recordings to train on, one to tune on, one to test on."""
    return [
        Segment(item.recording, 0, len(item.states), part)
        for item, part in zip(data, PARTS, strict=True)
    ]


def trained(data: Sequence[LabelledTokens], **options: Any) -> Probe:
    """A probe of the toy recordings."""
    options = {"schedule": Schedule(steps=100, batch=64), "context": 2, "name": "p", **options}
    segments = options.pop("segments", None) or by_recording(data)
    return finish(train(data, segments, ETHOGRAM, NAMES, **options))
