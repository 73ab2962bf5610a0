"""How much of each behaviour is still unfound, and whether more labels still help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Int8

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED, runs
from ethoprism.metrics import bootstrap

BLOCK = 250
"""Frames of a block: neighbouring frames are alike, so blocks are drawn, not frames."""
FEWEST_BLOCKS = 4
_BINS = 8
_PRIOR_FRAMES = 25.0
UNFOUND_COLUMNS = (
    "behaviour",
    "unlabelled_frames",
    "present_frames",
    "present_low",
    "present_high",
    "bouts",
    "bouts_low",
    "bouts_high",
    "found_bouts",
    "checked_frames",
)


@dataclass(frozen=True, eq=False)
class Checked:
    """Labelled frames of one unit that the probe did not learn from.

    Attributes
    ----------
    states
        What people labelled.
    probability
        What the probe says; the same everywhere where there is none.
    """

    states: Int8[np.ndarray, "frames behaviours"]
    probability: Float[np.ndarray, "frames behaviours"]


@dataclass(frozen=True, eq=False)
class _Counts:
    """Of blocks: frames and present frames by bin; bouts that begin, and present frames in which
    it is known whether one does."""

    frames: Float[np.ndarray, "blocks bins"]
    present: Float[np.ndarray, "blocks bins"]
    bouts: Float[np.ndarray, " blocks"]
    followed: Float[np.ndarray, " blocks"]


def estimate_unfound(
    checked: Sequence[Checked],
    unlabelled: Sequence[Float[np.ndarray, "frames behaviours"]],
    behaviours: Sequence[str],
    *,
    found_bouts: Sequence[int] | None = None,
    n_resamples: int = bootstrap.N_RESAMPLES,
    seed: int = 0,
) -> pd.DataFrame:
    """How many frames and bouts of each behaviour lie in the time that nobody labelled.

    The unlabelled frames are sorted into bins by probability. In the labelled frames of each bin
    that the probe did not learn from, a share is present; the same share is expected here. So a
    probe whose probabilities are wrong does not mislead as long as it is wrong alike in both, and
    labels that were chosen by probability mislead little. Bouts follow from the number of bouts per
    present frame.

    Without a probe, with one probability for all frames, this is the plain survey: the labelled
    time is taken to be like the rest. Labels that were chosen because something happens there then
    give too high a number.

    Parameters
    ----------
    checked
        Labelled frames that the probe did not learn from.
    unlabelled
        Probabilities of the frames that nobody labelled, of each unit; NaN for other frames.
    behaviours
        Names of the columns.
    found_bouts
        Labelled bouts so far, for the table.
    n_resamples, seed
        Of the 95 % intervals. Blocks of `BLOCK` labelled frames are drawn again, and to the sum the
        errors of as many drawn blocks are added as there are unlabelled ones.

    Returns
    -------
    Table with `UNFOUND_COLUMNS`. NaN where fewer than `FEWEST_BLOCKS` blocks could be checked.
    """
    rows = []
    for column, name in enumerate(behaviours):
        p = [part[np.isfinite(part[:, column]), column] for part in unlabelled]
        pairs = [(c.states[:, column], c.probability[:, column]) for c in checked]
        estimate = _estimate(pairs, np.concatenate(p) if p else np.zeros(0), n_resamples, seed)
        found = 0 if found_bouts is None else int(found_bouts[column])
        rows.append({"behaviour": name, "found_bouts": found, **estimate})
    return pd.DataFrame(rows, columns=list(UNFOUND_COLUMNS))


def _estimate(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]], p: np.ndarray, n_resamples: int, seed: int
) -> dict[str, float]:
    known = [probability[states != UNOBSERVED] for states, probability in pairs]
    together = np.concatenate(known) if known else np.zeros(0)
    result: dict[str, float] = {
        "unlabelled_frames": float(len(p)),
        "checked_frames": float(len(together)),
    }
    if not len(p):
        zero = dict.fromkeys(("present_frames", "bouts"), 0.0)
        ends = {f"{n}_{e}": 0.0 for n in ("present", "bouts") for e in ("low", "high")}
        return {**result, **zero, **ends}
    edges = (
        np.unique(np.quantile(together, np.linspace(0, 1, _BINS + 1)[1:-1]))
        if len(together)
        else np.zeros(0)
    )
    counts = _counts(pairs, edges)
    n_blocks = len(counts.bouts)
    if n_blocks < FEWEST_BLOCKS or not counts.present.sum():
        return result
    target = np.bincount(np.searchsorted(edges, p), minlength=len(edges) + 1).astype(np.float64)
    weights = bootstrap.draw(n_blocks, n_resamples, seed).astype(np.float64)
    everything = np.vstack([np.ones(n_blocks), weights])
    rate, per_frame = _rates(counts, everything)
    present = rate @ target
    # What a block really holds differs from what is expected of it; so will the unlabelled ones.
    errors = counts.present.sum(axis=1) - counts.frames @ rate[0]
    missing = max(1, round(len(p) / max(counts.frames.sum(axis=1).mean(), 1.0)))
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(missing, np.full(n_blocks, 1 / n_blocks), size=n_resamples)
    noisy = np.clip(present[1:] + drawn @ errors, 0, len(p))
    low, high = bootstrap.interval(noisy)
    bouts_low, bouts_high = bootstrap.interval(noisy * per_frame[1:])
    return {
        **result,
        "present_frames": float(present[0]),
        "present_low": float(min(low, present[0])),
        "present_high": float(max(high, present[0])),
        "bouts": float(present[0] * per_frame[0]),
        "bouts_low": float(min(bouts_low, present[0] * per_frame[0])),
        "bouts_high": float(max(bouts_high, present[0] * per_frame[0])),
    }


def _counts(pairs: Sequence[tuple[np.ndarray, np.ndarray]], edges: np.ndarray) -> _Counts:
    n_bins = len(edges) + 1
    frames, present, bouts, followed = [], [], [], []
    for states, probability in pairs:
        known = np.flatnonzero(states != UNOBSERVED)
        place = np.searchsorted(edges, probability)
        before = np.concatenate(([ABSENT], states[:-1]))
        # At the first frame of an observed span a bout may have begun long before.
        told = (states == PRESENT) & (before != UNOBSERVED)
        begins = told & (before != PRESENT)
        for block in np.array_split(known, max(1, round(len(known) / BLOCK))):
            if len(block):
                here = place[block]
                frames.append(np.bincount(here, minlength=n_bins))
                present.append(np.bincount(here[states[block] == PRESENT], minlength=n_bins))
                bouts.append(begins[block].sum())
                followed.append(told[block].sum())
    shape = (-1, n_bins)
    return _Counts(
        np.array(frames, np.float64).reshape(shape),
        np.array(present, np.float64).reshape(shape),
        np.array(bouts, np.float64),
        np.array(followed, np.float64),
    )


def _rates(
    counts: _Counts, weights: Float[np.ndarray, "draws blocks"]
) -> tuple[Float[np.ndarray, "draws bins"], Float[np.ndarray, " draws"]]:
    """Share of present frames in each bin, drawn towards the overall share; bouts a frame."""
    frames, present = weights @ counts.frames, weights @ counts.present
    bouts = weights @ counts.bouts
    total = present.sum(axis=1)
    overall = total / np.maximum(frames.sum(axis=1), 1.0)
    rate = (present + _PRIOR_FRAMES * overall[:, None]) / (frames + _PRIOR_FRAMES)
    return rate, bouts / np.maximum(weights @ counts.followed, 1.0)


@dataclass(frozen=True)
class StoppingHint:
    """Whether more labels still help.

    Attributes
    ----------
    stop
        The last rounds changed next to nothing.
    gain
        Change of the score over the last rounds; NaN where there are too few.
    text
        What to tell a person.
    """

    stop: bool
    gain: float
    text: str


ROUNDS = 3
SMALL_GAIN = 0.01


def stopping_hint(
    labelled_s: Sequence[float],
    scores: Sequence[float],
    *,
    rounds: int = ROUNDS,
    small: float = SMALL_GAIN,
) -> StoppingHint:
    """What the last ``rounds`` rounds of labelling brought.

    Parameters
    ----------
    labelled_s
        Seconds that were labelled, after each round; growing.
    scores
        Mean F1 on the same held-out labels, after each round; rounds without one are NaN.
    rounds, small
        Rounds that are looked at, and the gain over all of them that is called small.
    """
    points = [
        (float(a), float(b)) for a, b in zip(labelled_s, scores, strict=True) if np.isfinite(b)
    ]
    if len(points) <= rounds:
        return StoppingHint(
            False,
            float("nan"),
            "Too early to say whether more labels help: rounds of labelling and training that "
            f"are known: {len(points)}; needed: {rounds + 1}.",
        )
    (before_s, _), (now_s, now) = points[-1 - rounds], points[-1]
    # One lucky round must not end the labelling, nor an unlucky one prolong it.
    best_before = max(score for _, score in points[:-rounds])
    gain = max(now, float(np.median([score for _, score in points[-rounds:]]))) - best_before
    what = f"The last {now_s - before_s:.0f} s of labels changed the mean F1 by {gain:+.2f}"
    if gain < small:
        return StoppingHint(
            True,
            gain,
            f"{what}. More labels of this kind will change little; label what is rare, "
            "or stop here.",
        )
    return StoppingHint(False, gain, f"{what}. More labels still help.")


def bout_counts(
    states: Sequence[Int8[np.ndarray, "frames behaviours"]], n_behaviours: int
) -> Int[np.ndarray, " behaviours"]:
    """Labelled bouts of each behaviour in all units together."""
    counts = np.zeros(n_behaviours, np.int64)
    for rows in states:
        counts += [len(runs(rows[:, i] == PRESENT)) for i in range(n_behaviours)]
    return counts
