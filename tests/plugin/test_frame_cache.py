"""Which frames are kept, and which are decoded ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from napari_ethoprism.frame_cache import FrameCache, budget, prefetch_order

SIZES = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 40)), max_size=60)


def cache(capacity: int) -> FrameCache[bytes]:
    return FrameCache(capacity, len)


@given(SIZES, st.integers(1, 100))
def test_the_bound_of_bytes_is_kept(puts: list[tuple[int, int]], capacity: int) -> None:
    kept = cache(capacity)
    for n, size in puts:
        kept.put(n, bytes(size))
        assert kept.get(n) == bytes(size)
        assert kept.nbytes <= capacity or len(kept) == 1
    present = [kept.get(n) for n in range(21) if n in kept]
    assert kept.nbytes == sum(len(value) for value in present if value is not None)
    assert len(kept) == len(present)
    kept.clear()
    assert len(kept) == 0 and kept.nbytes == 0


def test_the_frame_used_longest_ago_goes_first() -> None:
    kept = cache(3)
    for n in (1, 2, 3):
        kept.put(n, b"x")
    assert kept.get(1) == b"x"
    kept.put(4, b"x")
    assert [n for n in range(6) if n in kept] == [1, 3, 4]
    assert (kept.nearest(0), kept.nearest(9), cache(3).nearest(0)) == (1, 4, None)


@given(st.integers(1, 60), st.data(), st.booleans(), st.integers(0, 30))
def test_frames_ahead_come_first_and_nearest_first(
    n_frames: int, data: st.DataObject, forward: bool, reach: int
) -> None:
    playhead = data.draw(st.integers(0, n_frames - 1))
    order = list(prefetch_order(playhead, forward, n_frames, reach))
    assert len({*order}) == len(order) and playhead not in order
    assert all(0 <= n < n_frames for n in order)
    sign = 1 if forward else -1
    ahead = [n for n in order if (n - playhead) * sign > 0]
    behind = order[len(ahead) :]
    assert order[: len(ahead)] == ahead
    for part in (ahead, behind):
        assert [abs(n - playhead) for n in part] == list(range(1, len(part) + 1))
    room = n_frames - 1 - playhead if forward else playhead
    assert len(ahead) == min(reach, room)


@given(st.integers(0, 1 << 45))
def test_the_budget_lies_between_its_bounds(memory: int) -> None:
    assert 128 << 20 <= budget(memory) <= 1 << 30
    assert budget(memory) <= max(memory // 8, 128 << 20)
    assert budget() >= 128 << 20
