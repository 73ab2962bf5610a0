"""How fast this computer decodes, encodes, and does both, measured for a second or two each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ethoprism.recording import Recording, open_frames
from ethoprism.windows import WindowGrid

if TYPE_CHECKING:  # these import jax
    from ethoprism.backbones.spec import Backbone
    from ethoprism.token_key import TokenKey

SECONDS = 1.0


@dataclass(frozen=True)
class EncoderSpeed:
    """How fast the encoder is, fed with frames that are there already.

    Attributes
    ----------
    frames_per_second
        Sampled frames a second.
    window_seconds
        Time for one more window: its new frames in space, and all of it in time.
    first_seconds
        Time until the first window came: compiling.
    """

    frames_per_second: float
    window_seconds: float
    first_seconds: float


def decoding(recording: Recording, *, seconds: float = SECONDS) -> float:
    """Frames a second at which a recording is decoded in order, without anything else."""
    done, began = 0, 0.0
    with closing(open_frames(recording)) as reader:
        for _ in reader.frames(0, recording.n_frames, 1):
            if not began:  # opening does not count, nor does the first frame
                began = time.perf_counter()
                continue
            done += 1
            if time.perf_counter() - began > seconds:
                break
    if not done:
        return float("nan")
    return done / max(time.perf_counter() - began, 1e-9)


def encoding(backbone: Backbone, key: TokenKey, *, seconds: float = SECONDS) -> EncoderSpeed:
    """Encode noise as extraction would encode frames, and time it after the first windows."""
    from ethoprism.window_encoder import WindowEncoder

    grid = WindowGrid(2**24, key.length, key.hop, 1)
    run = WindowEncoder(grid, key.pooling, backbone)
    size, batch = backbone.card.input_size, run.batches.frames
    noise = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    ahead = run.batches.windows * key.hop + key.length

    def chunks() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        chunk = 0
        while True:
            yield chunk, noise, np.ones(batch, dtype=bool)
            chunk += 1

    start, first, began, warmed, done = time.perf_counter(), 0.0, 0.0, 0, 0
    with closing(run.kept_rows(chunks(), 0, grid.n_sampled)) as steps:  # type: ignore[type-var]
        for rows in steps:
            done += len(rows.tokens)
            now = time.perf_counter()
            first = first or now - start
            # The windows at a recording's start have other shapes than those that follow.
            if not warmed and done >= ahead + run.batches.windows * key.hop:
                began, warmed = now, done
            elif warmed and now - began > seconds:
                break
    pace = (done - warmed) / (time.perf_counter() - began)
    return EncoderSpeed(pace, key.hop / pace, first)
