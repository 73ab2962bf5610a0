"""Windows of eight frames that `backbone.py` measures on: the courting flies, and the arena.

Cut-out frames are kept in a folder, so that the next backbone need not decode and cut them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ethoprism.annotation import runs
from ethoprism.backbones.preprocess import preprocess
from ethoprism.crops import crop_size, cut, follow_path
from ethoprism.files import replacing
from ethoprism.recording import open_frames, open_recording
from ethoprism.tracks import read_tracks
from ethoprism_datasets.arena import BEHAVIOURS, Appearance, render, simulate
from ethoprism_datasets.arena_truth import ArenaTruth

FRAMES = 8
HOP = 4
FLIES = "courting_flies_120s"
MALE = 0
FLY_BEHAVIOURS = {
    "wing_extension": "wing_extension_track0",
    "close_proximity": "close_proximity",
    "moving": "moving_track0",
    "chase": "chase_track0",
}
MARGINS = {"crop": 2.0, "wide": 4.0}
"""Side of the square that follows the male, in body lengths, of each view but the whole frame."""
MARGIN = 2.0
ARENA_VERSION = 3
HELD_OUT: dict[str, tuple[tuple[float, float], ...]] = {
    "body_cm": ((5.6, 6.7), (9.8, 11.5)),
    "body_girth": ((0.71, 0.83), (1.24, 1.39)),
    "tail_length": ((0.3, 0.55), (1.06, 1.3)),
    "floor_grain_px": ((4.6, 9.0),),
    "bedding_chips": ((850, 1600),),
    "softness_px": ((2.35, 3.0),),
    "vignette": ((0.45, 0.65),),
    "light_slope": ((0.3, 0.45),),
    "frame_rate": ((12.0, 14.0), (32.0, 40.0)),
}
"""Ranges from which `held_out_look` draws. Clips for pre-training, which are cut from the arena in
`Appearance.random`, have values outside of all of them."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of frames and what they show.

    Attributes
    ----------
    frames
        uint8 ``[n_frames, size, size, 3]``, on disk.
    index
        ``[windows, 8]``: which frames each window is made of.
    truth
        bool ``[windows, behaviours]``: of the middle frame.
    group
        ``[windows]``: the part, recording or bout that a window belongs to.
    """

    frames: np.ndarray
    index: np.ndarray
    truth: np.ndarray
    group: np.ndarray


def fly_windows(recordings: Path, cache: Path, view: str, size: int) -> Windows:
    """The clip of 120 s in windows of 8 frames, 4 apart; the group is the middle frame.

    ``view`` is ``whole`` or one of `MARGINS`.
    """
    path = cache / f"flies-{view}-{size}.npy"
    if not path.is_file():
        _write(path, _fly_frames(recordings, view, size))
    frames = np.load(path, mmap_mode="r")
    labels = pd.read_csv(recordings / f"{FLIES}.labels.csv", comment="#")
    truth = labels[list(FLY_BEHAVIOURS.values())].to_numpy(dtype=bool)
    starts = np.arange(0, len(frames) - FRAMES + 1, HOP)
    middle = starts + FRAMES // 2
    return Windows(frames, starts[:, None] + np.arange(FRAMES), truth[middle], middle)


def _fly_frames(recordings: Path, view: str, size: int) -> Iterable[np.ndarray]:
    recording, _ = open_recording(recordings / f"{FLIES}.mp4")
    tracks, _ = read_tracks(recordings / f"{FLIES}.analysis.h5", recording.n_frames)
    side = crop_size(tracks[MALE].lengths.astype(np.float64), MARGINS.get(view, MARGIN))
    centres = tracks[MALE].centres.astype(np.float64)
    way = follow_path(centres, recording.frame_times, side)
    with closing(open_frames(recording)) as source:
        for number, frame in source.frames():
            if frame is None:
                raise RuntimeError(f"frame {number} is damaged")
            if view in MARGINS:
                top, left = way.top_left[number].tolist()
                frame = cut(frame, top, left, way.size)
            yield preprocess(frame, size)


def _write(path: Path, frames: Iterable[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, np.stack(list(frames)))


# The arena


@dataclass(frozen=True)
class ArenaSize:
    """How much of the arena is made."""

    train: int = 16
    test: int = 6
    seconds: float = 100.0
    test_seconds: float = 50.0
    bouts: int = 110
    """Training bouts of each behaviour that are cut out, if there are as many."""
    per_bout: int = 3
    """Windows of a bout at most."""
    seed: int = 987_000


QUICK = ArenaSize(train=3, test=1, seconds=40.0, test_seconds=20.0, bouts=20, per_bout=2)


def arena_windows(cache: Path, size: int, amount: ArenaSize) -> tuple[Windows, Windows]:
    """Windows inside of bouts to learn from, and regular ones of other recordings to be tested on.

    Each recording has its own random appearance, see `held_out_look`. A training window's group is
    its bout, a test window's its recording.
    """
    text = json.dumps([ARENA_VERSION, size, vars(amount)], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    parts = []
    for part in ("train", "test"):
        path = cache / f"arena-{part}-{digest}.npy"
        if not path.is_file():
            _write_arena(path, part, size, amount)
        frames = np.load(path, mmap_mode="r")
        about = np.load(path.with_suffix(".npz"))
        index = np.arange(len(frames)).reshape(-1, FRAMES)
        parts.append(Windows(frames, index, about["truth"], about["group"]))
    return parts[0], parts[1]


def _write_arena(path: Path, part: str, size: int, amount: ArenaSize) -> None:
    """Cut windows out of simulated recordings."""
    n, seconds = (
        (amount.train, amount.seconds) if part == "train" else (amount.test, amount.test_seconds)
    )
    truths = [_truth(amount.seed + (0 if part == "train" else 500) + i, seconds) for i in range(n)]
    chosen = _in_bouts(truths, amount) if part == "train" else _regular(truths)
    frames, shown, group = [], [], []
    for number, truth in enumerate(truths):
        mine = [c for c in chosen if c[0] == number]
        frames.extend(_cut_out(truth, [(s, m) for _, s, m, _ in mine], size))
        shown.extend(truth.labels[:, s, m] for _, s, m, _ in mine)
        group.extend(g for *_, g in mine)
    _write(path, frames)
    np.savez(path.with_suffix(".npz"), truth=np.array(shown), group=np.array(group))


def _truth(seed: int, seconds: float) -> ArenaTruth:
    look = held_out_look(np.random.default_rng([seed, 9]))
    return simulate(seed, round(seconds * look.frame_rate), appearance=look)


def held_out_look(rng: np.random.Generator) -> Appearance:
    """An appearance unlike all that pre-training draws in bodies, floor, lens, light and rate.

    Colours, the arena's shape and size, shadows and noise are drawn as there.
    """

    def one(name: str) -> float:
        ranges = HELD_OUT[name]
        return float(rng.uniform(*ranges[int(rng.integers(len(ranges)))]))

    body, ratio = one("body_cm"), float(rng.uniform(0.96, 1.04))
    low, high = next(r for r in HELD_OUT["body_cm"] if r[0] <= body <= r[1])
    return Appearance.random(
        rng,
        height=256,
        width=256,
        arena_cm=float(rng.uniform(36.0, 50.0)),
        body_cm=(body, float(np.clip(body * ratio, low, high))),
        body_girth=(one("body_girth"), one("body_girth")),
        bedding_chips=round(one("bedding_chips")),
        **{n: one(n) for n in ("tail_length", "floor_grain_px", "softness_px", "vignette")},
        **{n: one(n) for n in ("light_slope", "frame_rate")},
    )


def _in_bouts(truths: Sequence[ArenaTruth], amount: ArenaSize) -> list[tuple[int, int, int, int]]:
    """Recording, subject, middle frame and bout (behaviour · 10000 + number) of each window."""
    rng = np.random.default_rng(amount.seed)
    chosen = []
    for b in range(len(BEHAVIOURS)):
        bouts = [
            (r, s, start, stop)
            for r, truth in enumerate(truths)
            for s in range(2)
            for start, stop in runs(truth.labels[b, s])
            if start >= FRAMES and stop < truth.n_frames - FRAMES
        ]
        order = rng.permutation(len(bouts))[: amount.bouts]
        for number, which in enumerate(order.tolist()):
            r, s, start, stop = bouts[which]
            middles = np.unique(np.linspace(start, stop - 1, amount.per_bout + 2)[1:-1].astype(int))
            chosen.extend((r, s, int(m), b * 10_000 + number) for m in middles)
    return chosen


def _regular(truths: Sequence[ArenaTruth], hop: int = 10) -> list[tuple[int, int, int, int]]:
    return [
        (r, s, m, r)
        for r, truth in enumerate(truths)
        for s in range(2)
        for m in range(FRAMES, truth.n_frames - FRAMES, hop)
    ]


def _cut_out(
    truth: ArenaTruth, wanted: Sequence[tuple[int, int]], size: int
) -> Iterable[np.ndarray]:
    """Frames of the windows around (subject, middle frame), one window after the other."""
    times = np.arange(truth.n_frames) / truth.fps
    ways = [
        follow_path(truth.positions[:, s], times, crop_size(truth.body_lengths[:, s], MARGIN))
        for s in range(2)
    ]
    spans = [(s, range(m - FRAMES // 2, m + FRAMES // 2)) for s, m in wanted]
    needed = {(s, i) for s, span in spans for i in span}
    numbers = {i for _, i in needed}
    parts: dict[tuple[int, int], np.ndarray] = {}
    for start, stop in runs(np.isin(np.arange(truth.n_frames), list(numbers))):
        for i, frame in enumerate(render(truth, start=int(start), stop=int(stop)), int(start)):
            for s in range(2):
                if (s, i) in needed:
                    top, left = ways[s].top_left[i].tolist()
                    parts[s, i] = preprocess(cut(frame, top, left, ways[s].size), size)
    return [parts[s, i] for s, span in spans for i in span]
