"""The token store says what it holds, and refuses what is not its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ethoprism.errors import InputError, ProjectError
from ethoprism.token_layout import Layout, file_of
from ethoprism.tokens import Block, TokenKey, TokenStore
from ethoprism.windows import WindowGrid

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


def _embedded(path: Path) -> tuple[TokenStore, np.ndarray, np.ndarray]:
    """A store whose embeddings are known: each frame and window its own."""
    store = TokenStore.create(path, KEY, 2500, "c", embedding_width=6)
    rng = np.random.default_rng(2)
    frames = rng.standard_normal((2500, 6)).astype(np.float16)
    windows = rng.standard_normal((store.grid.n_windows, 6)).astype(np.float16)
    for i in range(store.n_blocks):
        start, stop = store.block(i)
        first, last = store.block_windows(i)
        tokens = np.full((stop - start, 2, 2, 1024), i + 1, np.float16)
        store.write_block(
            i, tokens, np.ones(stop - start, bool), frames[start:stop], windows[first:last]
        )
    return store, frames, windows


def test_embeddings_come_back_by_frame_and_by_window(tmp_path: Path):
    _, frames, windows = _embedded(tmp_path / "r.zarr")
    store = TokenStore.open(tmp_path / "r.zarr", KEY, 2500, "c")
    assert store.embedding_width == 6
    np.testing.assert_array_equal(store.frame_embeddings(), frames)
    np.testing.assert_array_equal(store.window_embeddings(), windows)
    np.testing.assert_array_equal(store.frame_embeddings(1020, 1030), frames[1020:1030])
    middle = store.block_windows(1)[0]
    np.testing.assert_array_equal(
        store.window_embeddings(middle - 2, middle + 3), windows[middle - 2 : middle + 3]
    )
    assert store.window_embeddings(5, 5).shape == (0, 6)


def test_a_block_without_its_embeddings_is_refused(tmp_path: Path):
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c", embedding_width=6)
    block = Block(0, np.zeros((1024, 2, 2, 1024), np.float16), np.ones(1024, bool))
    with pytest.raises(ValueError, match="lacks embeddings"):
        store.put(block)
    assert not store.done.any()


def test_stores_without_embeddings_say_so_and_stay_as_they_are(tmp_path: Path):
    TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c", embedding_width=6)
    assert store.embedding_width == 0
    with pytest.raises(ProjectError, match="no embeddings"):
        store.frame_embeddings()
    with pytest.raises(ProjectError, match="no embeddings"):
        store.window_embeddings()


def test_embeddings_laid_out_otherwise_are_damage(tmp_path: Path):
    _embedded(tmp_path / "r.zarr")
    described = tmp_path / "r.zarr" / "window_embeddings" / "zarr.json"
    described.write_text(described.read_text().replace("6", "7", 1))
    with pytest.raises(ProjectError, match="damaged"):
        TokenStore.open(tmp_path / "r.zarr", KEY, 2500, "c")


def test_a_block_is_the_file_that_zarr_writes(tmp_path: Path):
    store, frames, _ = _embedded(tmp_path / "r.zarr")
    for i in range(store.n_blocks):
        ours = {n: file_of(store.path, n, i) for n in ("tokens", "valid", "frame_embeddings")}
        before = {name: file.read_bytes() for name, file in ours.items()}
        start, stop = store.block(i)
        group = zarr.open_group(store.path, mode="r+")
        for name, values in (
            ("tokens", np.full((stop - start, 2, 2, 1024), i + 1, np.float16)),
            ("valid", np.ones(stop - start, bool)),
            ("frame_embeddings", frames[start:stop]),
        ):
            ours[name].unlink()
            group[name][start:stop] = values  # type: ignore[index]
        assert {name: file.read_bytes() for name, file in ours.items()} == before


def test_a_block_that_is_put_is_not_done_until_it_is_marked(tmp_path: Path):
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    store.put(Block(1, np.ones((1024, 2, 2, 1024), np.float16), np.ones(1024, bool)))
    assert not TokenStore.open(store.path, KEY, 2500, "c").valid().any()
    store.mark_done(1)
    assert TokenStore.open(store.path, KEY, 2500, "c").valid().sum() == 1024


def test_a_store_says_on_what_it_was_computed(tmp_path: Path):
    store = TokenStore.create(tmp_path / "r.zarr", KEY, 2500, "c")
    assert store.made_by == []
    jax = {"engine": "jax", "version": "1", "device": "cpu", "precision": "float32"}
    store.sign(jax)
    store.sign(jax)
    store.sign(jax | {"device": "gpu"})
    again = TokenStore.open(tmp_path / "r.zarr", KEY, 2500, "c")
    assert again.made_by == [jax, jax | {"device": "gpu"}]


@settings(deadline=None)
@given(
    n_frames=st.integers(1, 400),
    length=st.integers(1, 20),
    hop=st.integers(1, 20),
    step=st.integers(1, 4),
    block_rows=st.integers(1, 64),
)
def test_every_window_lies_in_the_block_of_its_first_kept_row(
    n_frames: int, length: int, hop: int, step: int, block_rows: int
):
    grid = WindowGrid(n_frames, length, min(hop, length), step)
    layout = Layout(grid, block_rows)
    following = 0
    for block in range(layout.n_blocks):
        start, stop = layout.rows(block)
        first, last = layout.windows(block)
        assert first == following
        assert last - first <= layout.most_windows
        assert all(start <= grid.kept(w)[0] < stop for w in range(first, last))
        following = last
    assert following == grid.n_windows
