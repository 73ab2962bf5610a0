"""Captioned clips of scripted animals and of the arena: seeded, varied, and true to the caption."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ethoprism_datasets.arena import clips
from ethoprism_datasets.arena_bodies import KINDS, Brush, Pose, random_form, spine_of
from ethoprism_datasets.arena_cuts import WORDS, cuts
from ethoprism_datasets.arena_random import shot, shots
from ethoprism_datasets.arena_scripts import PAIR, SOLO, WINGED, WINGED_PAIR, pair, solo

TIMES = np.arange(8) / 25.0
EVERY_PAIR = sorted(set(PAIR + WINGED_PAIR))


def _rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(list(seed))


def _way(body) -> float:
    return float(np.hypot(np.diff(body.x), np.diff(body.y)).sum())


def test_the_same_seed_gives_the_same_clips():
    one, other = (list(itertools.islice(shots(5), 2)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a.frames, b.frames)
        assert a.caption == b.caption
    assert not np.array_equal(one[0].frames, one[1].frames)
    assert not np.array_equal(one[0].frames, next(shots(6)).frames)


def test_shots_have_the_asked_shape_and_are_varied():
    made = [shot(_rng(1, i), frames=4, size=72) for i in range(24)]
    assert all(s.frames.shape == (4, 72, 72, 3) and s.frames.dtype == np.uint8 for s in made)
    assert len({s.facts["kind"] for s in made}) >= 4
    assert len({s.facts["script"] for s in made}) >= 8
    brightness = [float(s.frames.mean()) for s in made]
    assert np.ptp(brightness) > 60
    assert all(str(s.facts["kind"]) in s.caption for s in made)


@pytest.mark.parametrize("script", sorted(set(SOLO + WINGED)))
def test_one_animal_moves_as_its_script_says(script: str):
    body = solo(_rng(3), script, TIMES)
    moves = script in ("walk", "run", "start", "stop", "walk and extend")
    assert (_way(body) > 0.05) == moves
    assert (body.groom.max() > 0.5) == (script == "groom")
    opened = (np.maximum(body.left, body.right) > 0.25).all()
    if script in ("extend", "walk and extend"):
        assert opened and min(body.left.max(), body.right.max()) == 0  # one wing only
    elif script != "flick":
        assert not opened
    if script == "turn":
        assert np.ptp(body.heading) > 0.3


@pytest.mark.parametrize("script", EVERY_PAIR)
@pytest.mark.parametrize("seed", [0, 1])
def test_two_animals_stand_to_each_other_as_their_script_says(script: str, seed: int):
    one, two = pair(_rng(seed, 11), script, TIMES)
    apart = np.hypot(one.x - two.x, one.y - two.y)
    if script.startswith("chase"):
        assert _way(one) > 0.4 and _way(two) > 0.4
        ahead = (two.x - one.x) * np.cos(one.heading) + (two.y - one.y) * np.sin(one.heading)
        assert (ahead > 0).mean() > 0.7
    elif script == "approach":
        assert apart[-1] < apart[0] - 0.1 and _way(two) == 0
    elif script == "part":
        assert apart[-1] > apart[0] + 0.3 and _way(two) == 0
    elif script in ("sniff", "court"):
        assert apart.max() < 1.7
    elif script.startswith("circle"):
        assert np.ptp(apart) < 0.01 and _way(one) > 0.1
    if "extend" in script or script == "court":
        assert max(one.left.max(), one.right.max()) > 0.3
        assert max(two.left.max(), two.right.max()) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_drawn_where_it_is(kind: str):
    cv2 = pytest.importorskip("cv2")
    canvas = np.full((120, 120, 3), 200, np.float32)
    form = random_form(_rng(2), kind, 40.0, False)
    pose = Pose(60.0, 55.0, 0.7, 50.0)
    Brush(canvas, cv2).body(form, pose)
    changed = np.argwhere(np.abs(canvas - 200).max(axis=-1) > 5)
    assert len(changed) > 60
    middle = changed.mean(axis=0)[::-1]
    assert np.hypot(*(middle - (60, 55))) < 25
    points, _ = spine_of(form, pose)
    assert points[8] == pytest.approx([60.0, 55.0])


def test_an_open_wing_shows_on_its_side():
    cv2 = pytest.importorskip("cv2")
    form = random_form(_rng(8), "fly", 60.0, False)
    pictures = {}
    for side in ("none", "left", "right"):
        canvas = np.full((160, 160, 3), 220, np.float32)
        opened = {side: 1.0} if side != "none" else {}
        Brush(canvas, cv2).body(form, Pose(80.0, 80.0, -np.pi / 2, 60.0, **opened))
        pictures[side] = canvas
    # Heading up the picture: its left wing opens to the left of the picture.
    for side, columns in (("left", slice(0, 80)), ("right", slice(80, 160))):
        changed = np.abs(pictures[side] - pictures["none"]).sum(axis=(0, 2))
        assert changed[columns].sum() > 0.9 * changed.sum() > 0


def test_cuts_of_the_arena_say_what_their_labels_say():
    made = list(itertools.islice(cuts(3), 12))
    assert all(s.frames.shape == (8, 144, 144, 3) for s in made)
    shown = [b for s in made for b in s.facts["behaviours"]]
    assert len(set(shown)) >= 4
    for s in made:
        first = next((b for b in WORDS if b in s.facts["behaviours"]), None)
        verb = "moves" if first is None else WORDS[first].split()[1]
        assert verb in s.caption
    np.testing.assert_array_equal(made[0].frames, next(cuts(3)).frames)


def test_the_data_set_mixes_both():
    kinds = [s.facts.get("kind", "arena") for s in itertools.islice(clips(1), 6)]
    assert kinds.count("arena") == 2
