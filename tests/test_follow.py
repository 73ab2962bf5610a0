"""A single moving animal is found without tracks; what does not serve is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ethoprism.crops import Region
from ethoprism.errors import InputError
from ethoprism.follow import Followed, follow

H, W = 120, 160


class Frames:
    """Frames from a function of their number, as a `FrameSource`; None where it gives None."""

    def __init__(self, n: int, draw: Any):
        self.n, self.draw = n, draw

    dtype, ndim = np.dtype(np.uint8), 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.n, H, W, 3

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.draw(key)

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Any]:
        for i in range(self.n)[start:stop:step]:
            yield i, self.draw(i)

    def close(self) -> None:
        pass


def _scene(ways: list[np.ndarray], value: int = 30, noise: float = 3.0, damaged: int = -1) -> Any:
    rng = np.random.default_rng(0)
    ground = 150 + 25 * np.sin(np.arange(W) / 7)[None] * np.cos(np.arange(H) / 9)[:, None]
    y, x = np.mgrid[:H, :W]

    def draw(i: int) -> np.ndarray | None:
        if i == damaged:
            return None
        picture = ground + 4 * np.sin(i / 60)  # the light drifts
        for way in ways:
            inside = ((x - way[i, 0]) / 12) ** 2 + ((y - way[i, 1]) / 7) ** 2 < 1
            picture = np.where(inside, value, picture)
        picture = picture + rng.normal(0, noise, picture.shape)
        return np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[..., None], 3, axis=2)

    return draw


def _way(n: int, phase: float = 0.0) -> np.ndarray:
    t = np.arange(n) / 25
    return np.stack([80 + 55 * np.sin(t * 0.9 + phase), 60 + 40 * np.cos(t * 0.7 + phase)], axis=1)


def _result(frames: Frames, **options: Any) -> Followed:
    task = follow(frames, **options)
    done = []
    while True:
        try:
            done.append(next(task))
        except StopIteration as stop:
            assert [p.done for p in done] == sorted(p.done for p in done)
            assert done[-1].done == done[-1].total
            return stop.value


@pytest.mark.parametrize("value", [30, 245])
def test_a_dark_or_light_animal_is_followed(value: int):
    way = _way(300)
    found = _result(Frames(300, _scene([way], value, damaged=17)))
    error = np.hypot(*(found.track.centres - way).T)
    assert found.track.seen.mean() > 0.97 and not found.track.seen[17]
    assert np.nanmedian(error) < 1.0 and np.nanmax(error) < 6
    assert abs(np.nanmedian(found.track.lengths) - 24) <= 4
    assert any("not found in" in note for note in found.notes)


def test_an_animal_that_rests_for_a_third_of_the_time_is_followed():
    way = _way(300)
    way[100:200] = way[100]
    found = _result(Frames(300, _scene([way])))
    assert np.nanmedian(np.hypot(*(found.track.centres - way).T)) < 1.0
    assert found.track.seen.mean() > 0.95


def test_a_second_animal_is_remarked_on():
    found = _result(Frames(300, _scene([_way(300), _way(300, 2.0)])))
    assert any("single animal" in note for note in found.notes)


def test_only_the_region_is_looked_at():
    ways = [
        _way(200),
        np.tile([10.0, 10.0], (200, 1)) + np.random.default_rng(1).normal(0, 3, (200, 2)),
    ]
    found = _result(Frames(200, _scene(ways)), region=Region(20, 15, 140, 105))
    assert not any("single animal" in note for note in found.notes)
    assert found.track.boxes[found.track.seen, 0].min() >= 20


def test_nothing_that_moves_is_an_error():
    with pytest.raises(InputError, match="No moving animal"):
        _result(Frames(60, _scene([])))


@pytest.mark.parametrize("share", [0.6, 0.85])
def test_an_animal_that_rests_for_most_of_the_time_is_followed_and_said(share: float):
    way = _way(300)
    way[: int(300 * share)] = way[int(300 * share)]
    found = _result(Frames(300, _scene([way])))
    assert found.track.seen.mean() > 0.95
    assert np.nanmax(np.hypot(*(found.track.centres - way).T)) < 6
    assert any("rests in one place" in note for note in found.notes)


def test_an_animal_that_never_rests_is_not_said_to_rest():
    found = _result(Frames(300, _scene([_way(300)])))
    assert not any("rests" in note for note in found.notes)


def test_light_that_drifts_by_more_than_the_threshold_is_evened_out():
    way = _way(300)
    still = _scene([way], 75)  # less contrast than the light alone would hide

    def draw(i: int) -> np.ndarray:
        return np.clip(still(i).astype(int) + i // 6 - 25, 0, 255).astype(np.uint8)

    found = _result(Frames(300, draw))
    assert found.track.seen.mean() > 0.95
    assert np.nanmedian(np.hypot(*(found.track.centres - way).T)) < 1.0
