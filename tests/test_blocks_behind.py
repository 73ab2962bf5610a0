"""The writing thread keeps the order, hands errors back and is gone afterwards."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from ethoprism.blocks_behind import BlocksBehind
from ethoprism.errors import StorageError
from ethoprism.tokens import Block, TokenKey, TokenStore

KEY = TokenKey("net", "0" * 64, "float32", False, 1, 32, 4, 256, 8, 4, 1, 2)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TokenStore:
    monkeypatch.setattr("ethoprism.tokens._TARGET_SHARD_BYTES", 1)
    return TokenStore.create(tmp_path / "r.zarr", KEY, 100, "c")


def _block(store: TokenStore, index: int) -> Block:
    start, stop = store.block(index)
    tokens = np.full((stop - start, 2, 2, 256), index, np.float16)
    return Block(index, tokens, np.ones(stop - start, bool))


def _threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "token writer"]


def test_all_blocks_are_written_and_told_of_once(store: TokenStore):
    told = []
    with BlocksBehind(store) as writer:
        for i in range(store.n_blocks):
            told += writer.put(_block(store, i))
        told += writer.finish()
    assert told == [stop - start for start, stop in map(store.block, range(store.n_blocks))]
    assert store.complete
    assert not _threads()
    assert [int(store.tokens(*store.block(i))[0, 0, 0, 0]) for i in range(7)] == list(range(7))


def test_done_is_set_after_the_block_is_on_the_disk(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
):
    order = []
    put, mark = TokenStore.put, TokenStore.mark_done
    monkeypatch.setattr(
        TokenStore, "put", lambda s, b: (put(s, b), order.append(("put", b.index)))[0]
    )
    monkeypatch.setattr(
        TokenStore, "mark_done", lambda s, i: (order.append(("done", i)), mark(s, i))
    )
    with BlocksBehind(store) as writer:
        for i in range(3):
            list(writer.put(_block(store, i)))
    assert order == [(what, i) for i in range(3) for what in ("put", "done")]


def test_what_fails_in_the_thread_is_raised_and_nothing_after_it_is_written(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch
):
    put = TokenStore.put

    def full(self: TokenStore, block: Block) -> None:
        if block.index == 2:
            raise StorageError("full")
        put(self, block)

    monkeypatch.setattr(TokenStore, "put", full)

    def work() -> None:
        with BlocksBehind(store) as writer:
            for i in range(store.n_blocks):
                list(writer.put(_block(store, i)))
            list(writer.finish())

    with pytest.raises(StorageError, match="full"):
        work()
    assert store.done.tolist() == [True, True] + [False] * (store.n_blocks - 2)
    assert not _threads()


def test_an_error_elsewhere_keeps_what_was_given(store: TokenStore):
    def work() -> None:
        with BlocksBehind(store) as writer:
            for i in range(4):
                list(writer.put(_block(store, i)))
            raise RuntimeError("of the encoder")

    with pytest.raises(RuntimeError, match="encoder"):
        work()
    assert store.done.tolist() == [True] * 4 + [False] * (store.n_blocks - 4)
    assert not _threads()
