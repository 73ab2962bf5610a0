"""The simulated arena: the same seed gives the same recording, and no label says what isn't so."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from av.video.frame import PictureType

from ethoprism.annotation import runs
from ethoprism.errors import InputError
from ethoprism.progress import Progress
from ethoprism_datasets.arena import (
    ARENA,
    BEHAVIOURS,
    DEFINITIONS,
    SUBJECTS,
    Appearance,
    ArenaTruth,
    recording_steps,
    render,
    simulate,
    write_recording,
)
from ethoprism_datasets.arena_anatomy import embody
from ethoprism_datasets.arena_files import RecordingFiles
from ethoprism_datasets.arena_labels import SHORTEST, Kinematics, kinematics
from ethoprism_datasets.arena_motion import Floor
from ethoprism_datasets.spec import Dataset

SMALL = Appearance(height=96, width=128, arena_cm=32.0)
MINUTE = 1500


@pytest.fixture(scope="module")
def minutes() -> list[tuple[ArenaTruth, Kinematics]]:
    """Four recordings of a minute each: only what happens, not what it looks like."""
    truths = [simulate(seed, MINUTE) for seed in range(4)]
    return [(truth, _seen(truth)) for truth in truths]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> RecordingFiles:
    """A short recording on disk."""
    folder = tmp_path_factory.mktemp("arena")
    return write_recording(folder, "small", 7, n_frames=160, appearance=SMALL)


def _seen(truth: ArenaTruth) -> Kinematics:
    look = truth.appearance
    floor = Floor(look.arena_shape, *look.half_size_cm)
    bodies = embody(truth.motion, floor, look.body_cm, look.body_girth, look.tail_length)
    return kinematics(truth.motion, bodies, truth.fps)


def _where(truth: ArenaTruth, behaviour: str) -> np.ndarray:
    """bool, (n_frames, 2)"""
    return truth.labels[BEHAVIOURS.index(behaviour)].T


def _frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


# The same seed, the same recording


def test_the_same_seed_gives_the_same_truth_and_the_same_frames():
    one, other = (simulate(11, 80, appearance=SMALL) for _ in range(2))
    for name in ("positions", "headings", "body_lengths", "boxes", "labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for first, second in zip(render(one), render(other), strict=True):
        np.testing.assert_array_equal(first, second)


def test_the_same_seed_gives_the_same_files(written: RecordingFiles, tmp_path: Path):
    again = write_recording(tmp_path, "small", 7, n_frames=160, appearance=SMALL)
    for one, other in zip(written.all(), again.all(), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_another_seed_gives_another_recording():
    one, other = simulate(1, 50, appearance=SMALL), simulate(2, 50, appearance=SMALL)
    assert np.abs(one.positions - other.positions).max() > 5
    assert not np.array_equal(next(render(one)), next(render(other)))


def test_a_frame_looks_the_same_rendered_alone():
    truth = simulate(3, 40, appearance=SMALL)
    alone = list(render(truth, start=25, stop=27))
    whole = list(render(truth))
    np.testing.assert_array_equal(alone[0], whole[25])
    np.testing.assert_array_equal(alone[1], whole[26])


def test_a_longer_recording_begins_like_a_shorter_one():
    short, long = simulate(5, 30), simulate(5, 60)
    np.testing.assert_array_equal(short.positions, long.positions[:30])


# Labels say what is to be seen


def test_a_resting_animal_hardly_moves(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        rest = _where(truth, "rest")
        assert seen.speed[rest].max() < 0.8  # cm/s
        step = np.linalg.norm(np.diff(truth.positions, axis=0), axis=-1)
        assert np.median(step[rest[1:]]) < 0.02  # pixels
        assert truth.motion.groom[rest].max() < 0.3


def test_a_walking_animal_moves_forward(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        walk = _where(truth, "walk")
        assert seen.speed[walk].min() > 2.0
        travelled = np.diff(truth.positions, axis=0)
        ahead = np.stack([np.cos(truth.headings), np.sin(truth.headings)], axis=-1)[1:]
        along = (travelled * ahead).sum(axis=-1)[walk[1:]]
        assert (along > 0).mean() > 0.97


def test_a_grooming_animal_stays_and_strokes(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        groom = _where(truth, "groom")
        assert truth.motion.groom[groom].min() >= 0.5
        assert seen.speed[groom].max() < 2.0


def test_contact_means_that_bodies_touch(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        contact = _where(truth, "contact")
        touch = np.minimum(seen.nose_gap, seen.trunk_gap)
        assert touch[contact].max() < 0.8  # cm
        # So near that the boxes meet, give or take that gap in pixels.
        low = truth.boxes[..., :2].max(axis=1)
        high = truth.boxes[..., 2:].min(axis=1)
        apart = (low - high).max(axis=-1)
        assert apart[contact.any(axis=1)].max() <= np.ceil(0.8 * truth.appearance.pixels_per_cm)


def test_a_chase_is_fast_and_follows(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        chase = _where(truth, "chase")
        assert seen.speed[chase].min() > 8.0
        assert seen.speed[:, ::-1][chase].min() > 8.0
        assert seen.nose_gap[chase].max() < 12.0
        assert seen.off[chase].max() < 1.1
        assert seen.fleeing[chase].max() < 1.6
        assert not np.any(chase.all(axis=1))


def test_an_approach_nears_an_animal_that_stays(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        approach = _where(truth, "approach")
        assert seen.speed[:, ::-1][approach].max() < 2.5
        apart = np.linalg.norm(truth.positions[:, 0] - truth.positions[:, 1], axis=-1)
        for subject in range(2):
            for start, stop in runs(approach[:, subject]):
                assert apart[stop - 1] < apart[start]


def test_rest_walk_and_groom_exclude_each_other(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, _ in minutes:
        assert truth.labels[:3].sum(axis=0).max() == 1


def test_no_bout_is_a_flicker(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for (truth, _), b, s in itertools.product(minutes, range(len(BEHAVIOURS)), range(2)):
        lengths = np.diff(runs(truth.labels[b, s]), axis=1)
        assert np.all(lengths >= SHORTEST * truth.fps)


def test_every_minute_shows_some_of_everything(minutes: list[tuple[ArenaTruth, Kinematics]]):
    shares = np.stack([truth.labels.any(axis=1).mean(axis=1) for truth, _ in minutes])
    counts = np.stack(
        [
            [sum(len(runs(truth.labels[b, s])) for s in range(2)) for b in range(len(BEHAVIOURS))]
            for truth, _ in minutes
        ]
    )
    assert shares.min() > 0.04
    assert shares.max() < 0.9
    assert counts.min() >= 4
    assert np.median(counts, axis=0).min() >= 6


@pytest.mark.parametrize("seed", range(2))
def test_random_arenas_keep_their_promises_too(seed: int):
    look = Appearance.random(np.random.default_rng(seed), height=96, width=96)
    truth = simulate(seed, round(30 * look.frame_rate), appearance=look)
    assert truth.labels.any(axis=(1, 2)).all()
    seen = _seen(truth)
    assert seen.speed[_where(truth, "rest")].max() < 0.8
    assert seen.speed[_where(truth, "chase")].min() > 8.0


# Bodies


def test_bodies_stay_in_the_frame_and_off_each_other(minutes: list[tuple[ArenaTruth, Kinematics]]):
    for truth, seen in minutes:
        x, y = truth.positions[..., 0], truth.positions[..., 1]
        assert x.min() > 0 and y.min() > 0
        assert x.max() < truth.appearance.width - 1 and y.max() < truth.appearance.height - 1
        assert np.all(truth.boxes[..., :2] >= 0)
        assert np.all(truth.boxes[..., 2:] <= truth.appearance.width)
        assert np.all(truth.boxes[..., 2:] > truth.boxes[..., :2])
        overlap = -seen.trunk_gap
        assert np.mean(overlap > 0.5) < 0.01


def test_the_box_is_where_the_animal_is_drawn():
    plain = Appearance(
        coat=((20.0, 20.0, 20.0), (20.0, 20.0, 20.0)),
        floor=(220.0, 220.0, 220.0),
        floor_texture=0.0,
        bedding_chips=0,
        droppings=0,
        shadow=0.0,
        sensor_noise=0.0,
        vignette=0.0,
    )
    truth = simulate(2, 20, appearance=plain)
    frame = next(render(truth, start=10, stop=11)).astype(int)
    dark = frame.max(axis=-1) < 70
    dark[:, :18] = dark[:, -18:] = dark[:18] = dark[-18:] = False
    boxed = np.zeros_like(dark)
    for x0, y0, x1, y1 in truth.boxes[10]:
        inside = dark[y0:y1, x0:x1]
        assert 0.3 < inside.mean() < 0.95
        assert inside[:4].any() and inside[-4:].any()
        assert inside[:, :4].any() and inside[:, -4:].any()
        boxed[y0:y1, x0:x1] = True
    assert not np.any(dark & ~boxed)
    for x, y in truth.positions[10]:
        assert dark[round(y), round(x)]


def test_noise_differs_from_frame_to_frame_and_light_drifts():
    truth = simulate(4, 200, appearance=dataclasses.replace(SMALL, light_drift=0.12))
    frames = np.stack(list(render(truth))).astype(float)
    corner = frames[:, 10:30, 10:30]
    assert np.all(np.abs(np.diff(corner, axis=0)).mean(axis=(1, 2, 3)) > 1.0)
    assert np.ptp(corner.mean(axis=(1, 2, 3))) > 1.0


# Files


def test_the_video_has_the_frames_of_the_truth(written: RecordingFiles):
    with av.open(str(written.video)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 25
        frames = list(container.decode(stream))
    assert len(frames) == 160
    assert any(frame.pict_type == PictureType.B for frame in frames)
    times = np.array([frame.time for frame in frames])
    np.testing.assert_allclose(times, np.arange(160) / 25.0, atol=1e-4)


def test_each_decoded_frame_is_the_rendered_one(written: RecordingFiles):
    truth = simulate(7, 160, appearance=SMALL)
    decoded = np.stack(_frames(written.video)).astype(float)
    drawn = np.stack(list(render(truth))).astype(float)
    assert np.abs(decoded - drawn).mean() < 6.0
    # No frame is off by one: each resembles its own original more than its neighbour's.
    moving = np.abs(np.diff(truth.positions, axis=0)).max(axis=(1, 2)) > 1.0
    own = ((decoded - drawn) ** 2).mean(axis=(1, 2, 3))
    next_ = ((decoded[:-1] - drawn[1:]) ** 2).mean(axis=(1, 2, 3))
    assert moving.sum() > 10
    assert np.all(own[:-1][moving] < next_[moving])


def test_bouts_and_frames_tables_agree(written: RecordingFiles):
    bouts, frames = pd.read_csv(written.bouts), pd.read_csv(written.frames)
    assert list(bouts) == ["recording", "subject", "behaviour", "start_frame", "stop_frame"]
    assert list(frames) == ["frame", *BEHAVIOURS]
    assert set(bouts["recording"]) == {"small"} and set(bouts["subject"]) <= set(SUBJECTS)
    np.testing.assert_array_equal(frames["frame"], np.arange(160))
    for behaviour in BEHAVIOURS:
        shown = np.zeros(160, dtype=int)
        own = bouts[bouts["behaviour"] == behaviour]
        for start, stop in zip(own["start_frame"], own["stop_frame"], strict=True):
            shown[start:stop] = 1
        np.testing.assert_array_equal(frames[behaviour], shown)


def test_tracks_hold_one_row_a_frame_and_subject(written: RecordingFiles):
    tracks = pd.read_csv(written.tracks)
    truth = simulate(7, 160, appearance=SMALL)
    assert len(tracks) == 320
    for s, subject in enumerate(SUBJECTS):
        own = tracks[tracks["subject"] == subject]
        np.testing.assert_array_equal(own["frame"], np.arange(160))
        np.testing.assert_allclose(own[["x", "y"]], truth.positions[:, s], atol=6e-4)
        np.testing.assert_allclose(own["heading_rad"], truth.headings[:, s], atol=6e-4)
        np.testing.assert_array_equal(own[["x0", "y0", "x1", "y1"]], truth.boxes[:, s])


def test_a_cancelled_recording_leaves_nothing_half_written(tmp_path: Path):
    steps = recording_steps(tmp_path, "cut", 1, n_frames=120, appearance=SMALL)
    for step in steps:
        if step.done >= 50:
            break
    steps.close()
    assert {path.name for path in tmp_path.iterdir()} == {"cut.card.json"}
    paths = write_recording(tmp_path, "cut", 1, n_frames=120, appearance=SMALL)
    assert len(_frames(paths.video)) == 120


def test_another_recording_of_the_same_name_is_not_overwritten(tmp_path: Path):
    write_recording(tmp_path, "one", 1, n_frames=5, appearance=SMALL)
    with pytest.raises(InputError, match="another recording named one"):
        write_recording(tmp_path, "one", 2, n_frames=5, appearance=SMALL)
    (tmp_path / "mine.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="there already"):
        write_recording(tmp_path, "mine", 2, n_frames=5, appearance=SMALL)


# The data set


def test_the_data_set_makes_its_recordings_and_goes_on_where_it_stopped(tmp_path: Path):
    assert isinstance(ARENA, Dataset) and ARENA.name == "arena" and ARENA.licence
    options = {"recordings": 2, "seconds": 2.0, "appearance": SMALL}
    steps = list(ARENA.make(tmp_path, **options))
    assert all(isinstance(step, Progress) for step in steps)
    done = [step.done for step in steps]
    assert done == sorted(done) and done[-1] == steps[-1].total == 100
    videos = sorted(tmp_path.glob("*.mp4"))
    assert [video.name for video in videos] == ["arena_00.mp4", "arena_01.mp4"]
    made = [video.stat().st_mtime_ns for video in videos]
    list(ARENA.make(tmp_path, **options))
    assert [video.stat().st_mtime_ns for video in videos] == made


def test_a_varied_set_keeps_the_size_but_not_the_looks(tmp_path: Path):
    look = dataclasses.replace(SMALL, frame_rate=20.0)
    list(ARENA.make(tmp_path, recordings=2, seconds=0.5, appearance=look, vary=True))
    first, second = (_frames(path) for path in sorted(tmp_path.glob("*.mp4")))
    assert len(first) == len(second) == 10
    assert first[0].shape == second[0].shape == (96, 128, 3)
    assert np.abs(first[0].astype(float) - second[0]).mean() > 5


def test_random_appearances_follow_the_generator():
    one, other, third = (Appearance.random(np.random.default_rng(s)) for s in (1, 1, 2))
    assert one == other != third
    assert Appearance.random(np.random.default_rng(1), height=64).height == 64


def test_every_behaviour_is_defined():
    assert set(DEFINITIONS) == set(BEHAVIOURS)


@pytest.mark.parametrize(
    "field, value",
    [("height", 97), ("arena_shape", "star"), ("body_cm", (20.0, 8.0)), ("frame_rate", 0.0)],
)
def test_an_impossible_appearance_says_what_is_wrong(field: str, value: object):
    with pytest.raises(InputError, match=field):
        dataclasses.replace(Appearance(), **{field: value})


def test_wrong_arguments_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="no such field"):
        Appearance.random(np.random.default_rng(0), colour="red")
    with pytest.raises(InputError, match="one frame or more"):
        simulate(0, 0)
    with pytest.raises(InputError, match="does not fit"):
        render(simulate(0, 5), SMALL)
    with pytest.raises(InputError, match="not in the recording"):
        render(simulate(0, 5), stop=6)
    with pytest.raises(InputError, match="this name"):
        write_recording(tmp_path, "a/b", 0)
    with pytest.raises(InputError, match="one recording or more"):
        list(ARENA.make(tmp_path, recordings=0))
