"""Vectors: the same whether a store is read whole or in pieces, and what they say they are."""

from __future__ import annotations

import numpy as np
import pytest
from explore_stores import full_store
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.errors import InputError
from ethoprism.explore import vectors as module
from ethoprism.explore.vectors import default_span, moment_vectors, n_moments
from ethoprism.tokens import TokenStore

ROWS = 61


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    rng = np.random.default_rng(3)
    tokens = rng.standard_normal((ROWS, 2, 2, 6)).astype(np.float16)
    valid = np.ones(ROWS, bool)
    valid[20:31] = False
    return full_store(tmp_path_factory.mktemp("s") / "r.zarr", tokens, valid)


def whole(store: TokenStore, hop: int, span: int) -> np.ndarray:
    """Vectors from all tokens at once, moment by moment, as the docstring defines them."""
    tokens, valid = store.tokens().astype(np.float64), store.valid()
    out = []
    for k in range(n_moments(store.n_rows, hop)):
        start = min(max(k * hop + (hop - span) // 2, 0), store.n_rows - span)
        rows = [r for r in range(start, start + span) if valid[r]]
        if not rows:
            out.append(np.full(4 * tokens.shape[-1], np.nan))
            continue
        here = tokens[rows]
        pairs = [r for r in rows if r - 1 in rows]
        change = [np.abs(tokens[r] - tokens[r - 1]).mean(axis=(0, 1)) for r in pairs]
        out.append(
            np.concatenate(
                [
                    here.mean(axis=(0, 1, 2)),
                    here.std(axis=(0, 1, 2)),
                    here.max(axis=(1, 2)).mean(axis=0),
                    np.mean(change, axis=0) if change else np.zeros(tokens.shape[-1]),
                ]
            )
        )
    return np.array(out)


@given(hop=st.integers(1, 70), span=st.integers(1, 30), rows=st.integers(1, 40))
def test_reading_in_pieces_gives_what_the_whole_gives(
    store: TokenStore, hop: int, span: int, rows: int
) -> None:
    out = np.zeros((n_moments(ROWS, hop), 24), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS", rows)
        patch.setattr(module, "_GATHERED", 300)
        steps = list(moment_vectors(store, hop, span, out))
    assert (steps[-1].done, steps[-1].total) == (ROWS, ROWS)
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    np.testing.assert_allclose(out, whole(store, hop, span), rtol=1e-3, atol=2e-3)


def test_pieces_hold_little_at_a_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = TokenStore.tokens

    def noted(self: TokenStore, start: int = 0, stop: int | None = None) -> np.ndarray:
        asked.append((self.n_rows if stop is None else stop) - start)
        return read(self, start, stop)

    monkeypatch.setattr(TokenStore, "tokens", noted)
    monkeypatch.setattr(module, "_ROWS", 10)
    list(moment_vectors(store, 2, 5, np.empty((31, 24), np.float32)))
    assert max(asked) <= 10 + 5 + 1 and len(asked) == 7


def test_moments_have_frames_and_some_change_to_see(store: TokenStore) -> None:
    with pytest.raises(InputError):
        next(moment_vectors(store, 0, 5, np.empty((1, 24), np.float32)))
    assert default_span(1) >= 2 and default_span(50) == 50
