"""The token store says what it holds, and refuses what is not its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ethoprism.errors import InputError, ProjectError
from ethoprism.tokens import TokenKey, TokenStore

KEY = TokenKey("net", "0" * 64, "float32", False, 1, 32, 4, 1024, 8, 4, 1, 2)


def _fill(store: TokenStore, *blocks: int) -> None:
    for i in blocks:
        start, stop = store.block(i)
        values = np.full((stop - start, 2, 2, 1024), i + 1, np.float32)
        store.write_block(i, values, np.arange(start, stop) != 3)


def test_rows_are_valid_once_their_block_is_done(tmp_path: Path):
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    assert (store.n_blocks, store.block_rows, store.block(2)) == (3, 1024, (2048, 2500))
    _fill(store, 0, 2)
    assert store.done.tolist() == [True, False, True]
    assert not store.complete
    valid = TokenStore.open(tmp_path / "r.zarr", KEY, 2500, "c").valid()
    expected = np.ones(2500, bool)
    expected[1024:2048] = False
    expected[3] = False
    assert np.array_equal(valid, expected)
    assert store.tokens(2047, 2049)[:, 0, 0, 0].tolist() == [0, 3]
    with pytest.raises(ProjectError, match="ethoprism extract"):
        store.require_complete()


@pytest.mark.parametrize(
    ("key", "n_frames", "content"),
    [(replace(KEY, hop=2), 2500, "c"), (KEY, 2501, "c"), (KEY, 2500, "d")],
)
def test_tokens_of_something_else_are_refused(
    tmp_path: Path, key: TokenKey, n_frames: int, content: str
):
    TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    with pytest.raises(ProjectError, match="belong to another"):
        TokenStore.open(tmp_path / "r.zarr", key, n_frames, content)


def test_what_a_kill_leaves_is_cleared_away(tmp_path: Path):
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    _fill(store, 0)
    partial = tmp_path / "r.zarr" / "tokens" / "c" / "0" / "0" / "0" / "0.abc.partial"
    partial.write_bytes(b"half")
    half_made = tmp_path / ".r.zarr.12345678.tmp"
    half_made.mkdir()
    TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    assert not partial.exists()
    assert not half_made.exists()
    assert store.done.tolist() == [True, False, False]


def test_the_digest_changes_with_every_field():
    digests = {KEY.digest}
    for name, value in KEY.to_dict().items():
        changed = not value if isinstance(value, bool) else value * 2
        digests.add(replace(KEY, **{name: changed}).digest if name != "pooling" else "pooling")
    assert len(digests) == len(KEY.to_dict()) + 1


def test_a_pooling_that_does_not_divide_the_grid_is_refused():
    with pytest.raises(InputError, match="1, 2, 4"):
        replace(KEY, pooling=3)


def test_tokens_from_before_there_were_crops_stay_in_use():
    key = TokenKey("net", "0" * 64, "float32", False, 1, 32, 4, 32, 8, 4, 1, 2)
    assert key.digest == "96eb4421926f0916"
    assert "crop" not in key.to_dict()
    assert TokenKey.from_dict(key.to_dict()) == key
    cut = replace(key, crop="subject 2 lengths")
    assert TokenKey.from_dict(cut.to_dict()) == cut
    others = {k.digest for k in (key, cut, replace(key, crop="region"))}
    assert len(others) == 3


def test_tokens_of_another_place_are_refused(tmp_path: Path):
    cut = replace(KEY, crop="region")
    path = tmp_path / "r@a.zarr"
    TokenStore.create(path, cut, 2500, "c", "here")
    assert TokenStore.open(path, cut, 2500, "c", "here").key == cut
    with pytest.raises(ProjectError, match=r"another region or track.*there.*here.*PROJECT -r r\."):
        TokenStore.open(path, cut, 2500, "c", "there")
