"""Splits that cannot leak, and what predictions are worth: pure functions on arrays.

Parts of a split are recordings, or contiguous blocks of one recording with a gap between blocks of
different parts that no window spans. Neighbouring frames are almost the same picture, so a split by
frame would let a probe be tested on what it has seen; there is none here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int8

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.errors import InputError

_Label = TypeVar("_Label")
Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
_CANDIDATES = 500


@dataclass(frozen=True)
class Segment:
    """Rows ``start`` to ``stop`` (excluded) of a recording's tokens, and the part they are in."""

    recording: str
    start: int
    stop: int
    part: Part


def split_blocks(
    recording: str,
    states: Int8[np.ndarray, "rows behaviours"],
    *,
    gap: int,
    n_blocks: int = 10,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.2,
    seed: int = 0,
    test_blocks: Sequence[int] | None = None,
    validation_blocks: Sequence[int] | None = None,
) -> list[Segment]:
    """Contiguous blocks of one recording as parts, with ``gap`` rows unused between parts.

    Parameters
    ----------
    recording
        Its id.
    states
        Known states of its rows.
    gap
        Rows between blocks of different parts; no token on one side may have seen a frame of the
        other.
    n_blocks
        Equal blocks that are assigned to parts.
    validation_fraction, test_fraction
        Shares of the blocks, at least one block each unless 0.
    seed
        Decides among assignments that serve as well.
    test_blocks, validation_blocks
        The blocks to test on, or to tune on, for cross-validation; chosen like the others where it
        is ``None``.
    """
    rows = len(states)
    edges = np.linspace(0, rows, n_blocks + 1).astype(int)
    if np.diff(edges).min() < 2 * gap:
        raise InputError(
            f"{recording!r} is too short to be split into {n_blocks} blocks",
            expected=f"blocks of at least {2 * gap} sampled frames, since {gap} between blocks "
            "stay unused so that no window is seen twice",
            found=f"blocks of {np.diff(edges).min()}",
            remedy="Use a longer recording or several, or a probe that looks less far around: "
            "--head linear --context 2.",
        )
    counts = [present_counts(states[a:b]) for a, b in pairwise(edges)]
    n_test = max(1, round(test_fraction * n_blocks)) if test_fraction else 0
    n_validation = max(1, round(validation_fraction * n_blocks)) if validation_fraction else 0
    given: dict[int, Part] = dict.fromkeys(test_blocks or (), "test")
    given |= dict.fromkeys(validation_blocks or (), "validation")
    sizes: dict[Part, int] = {
        "validation": n_validation if validation_blocks is None else 0,
        "test": n_test if test_blocks is None else 0,
    }
    rest = [i for i in range(n_blocks) if i not in given]
    sizes["train"] = len(rest) - sum(sizes.values())
    assigned: list[Part] = best_assignment([counts[i] for i in rest], sizes, seed)
    found: dict[int, Part] = {**given, **dict(zip(rest, assigned, strict=True))}
    parts: list[Part] = [found[i] for i in range(n_blocks)]
    segments = []
    before, after = gap - gap // 2, gap // 2
    for i, part in enumerate(parts):
        start = int(edges[i]) + (before if i and parts[i - 1] != part else 0)
        last = i == n_blocks - 1
        stop = int(edges[i + 1]) - (after if not last and parts[i + 1] != part else 0)
        segments.append(Segment(recording, start, stop, part))
    return segments


def present_counts(states: np.ndarray) -> np.ndarray:
    """Rows in which each behaviour is present, as float ``[behaviours]``."""
    return (states == PRESENT).sum(axis=0).astype(float)


def best_assignment(
    counts: Sequence[np.ndarray], sizes: Mapping[_Label, int], seed: int
) -> list[_Label]:
    """The assignment, of many random ones, that shares every behaviour out most evenly.

    Looking at labels to balance whole blocks leaks nothing: no row of one part gets nearer to
    another. Without it a behaviour with few bouts is often missing from a part.
    """
    table = np.stack(counts)
    total = table.sum(axis=0)
    labels = [part for part, size in sizes.items() for _ in range(size)]
    rng = np.random.default_rng(seed)
    best, best_cost = labels, np.inf
    for _ in range(_CANDIDATES):
        candidate = [labels[i] for i in rng.permutation(len(labels))]
        cost = 0.0
        for part, size in sizes.items():
            if not size:
                continue
            share = table[[p == part for p in candidate]].sum(axis=0) / np.maximum(total, 1)
            wanted = size / len(labels)
            cost += float(np.abs(share - wanted)[total > 0].sum())
            # A part without a behaviour can neither teach, tune nor test it.
            cost += 10 * float(((share == 0) & (total > 0)).sum())
        if cost < best_cost:
            best, best_cost = candidate, cost
    return best


def chance_f1(prevalence: float) -> float:
    """F1 of calling every frame present: the best that is possible without looking at the video.

    A guesser who calls a share q of the frames has precision p and recall q, so F1 =
    2pq / (p + q), which grows with q to 2p / (1 + p).
    """
    return 2 * prevalence / (1 + prevalence)


def frame_scores(
    states: Int8[np.ndarray, "frames behaviours"],
    predicted: Int8[np.ndarray, "frames behaviours"],
    probability: Float[np.ndarray, "frames behaviours"],
    behaviours: Sequence[str],
) -> pd.DataFrame:
    """How well frames were predicted, one row per behaviour, always with its support.

    Only frames whose state is known and that were predicted count. Precision, recall and F1 are
    NaN where the behaviour does not occur.

    Returns
    -------
    Table with the index ``behaviour`` and the columns ``frames`` (scored), ``present`` (of them),
    ``bouts`` (true ones), ``precision``, ``recall``, ``f1``, ``chance_f1`` (see `chance_f1`) and
    ``average_precision`` (whose chance level is the prevalence, ``present / frames``).
    """
    rows = []
    for i, name in enumerate(behaviours):
        known = (states[:, i] != UNOBSERVED) & (predicted[:, i] != UNOBSERVED)
        truth = states[known, i] == PRESENT
        rows.append(
            {
                "behaviour": name,
                "frames": int(known.sum()),
                "present": int(truth.sum()),
                "bouts": len(runs((states[:, i] == PRESENT) & known)),
                **_binary_scores(truth, predicted[known, i] == PRESENT, probability[known, i]),
            }
        )
    return pd.DataFrame(rows).set_index("behaviour")


def _binary_scores(
    truth: Bool[np.ndarray, " n"], called: Bool[np.ndarray, " n"], probability: np.ndarray
) -> dict[str, float]:
    present, hits, n_called = int(truth.sum()), int((truth & called).sum()), int(called.sum())
    if not present:
        names = ("precision", "recall", "f1", "chance_f1", "average_precision")
        return dict.fromkeys(names, float("nan"))
    return {
        "precision": hits / n_called if n_called else 0.0,
        "recall": hits / present,
        "f1": 2 * hits / (present + n_called),
        "chance_f1": chance_f1(present / len(truth)),
        "average_precision": _average_precision(truth, probability),
    }


def _average_precision(truth: Bool[np.ndarray, " n"], probability: np.ndarray) -> float:
    """As `ethoprism.metrics.frames.average_precision`: the steps' area, without interpolation."""
    order = np.argsort(-probability, kind="stable")
    values, hits = probability[order], np.cumsum(truth[order])
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    precision = hits[ends] / (ends + 1)
    return float(precision @ np.diff(hits[ends], prepend=0)) / int(truth.sum())


def best_threshold(truth: Bool[np.ndarray, " n"], probability: np.ndarray) -> float:
    """The threshold with the best F1, midway to the next lower probability; 0.5 without cases."""
    if not truth.any() or truth.all():
        return 0.5
    order = np.argsort(-probability, kind="stable")
    values, hits = probability[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(values) + 1) + truth.sum())
    # A threshold falls between two different values only.
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    best = ends[np.argmax(f1[ends])]
    lower = values[best + 1] if best + 1 < len(values) else 0.0
    return float(np.clip((values[best] + lower) / 2, 1e-6, 1 - 1e-6))
