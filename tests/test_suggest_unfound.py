"""How much is unfound: known cases, and intervals that hold what they claim."""

from __future__ import annotations

import numpy as np
import pytest

from ethoprism.annotation import PRESENT, UNOBSERVED, runs
from ethoprism.suggest.unfound import BLOCK, Checked, estimate_unfound, stopping_hint


def recording(rng: np.random.Generator, n: int, rate: float, quality: float):
    """True states in bouts of 20 frames, and probabilities that know them more or less."""
    states = np.repeat(rng.random(n // 20) < rate, 20).astype(np.int8)[:, None]
    noise = np.repeat(rng.standard_normal(n // 10), 10)[:, None]
    logit = quality * (2.0 * states - 1) + noise + 1.5  # far too sure of presence
    return states, (1 / (1 + np.exp(-logit))).astype(np.float32)


def count(states: np.ndarray) -> int:
    return len(runs(states[:, 0] == PRESENT))


@pytest.mark.parametrize("quality", [0.0, 1.5])
def test_probabilities_that_are_wrong_do_not_mislead(quality):
    rng = np.random.default_rng(0)
    inside, errors = 0, []
    for _ in range(25):
        known, p_known = recording(rng, 6000, 0.1, quality)
        hidden, p_hidden = recording(rng, 12000, 0.1, quality)
        table = estimate_unfound([Checked(known, p_known)], [p_hidden], ["a"], n_resamples=100)
        row = table.iloc[0]
        assert row["unlabelled_frames"] == 12000
        assert row["checked_frames"] == 6000
        inside += row["bouts_low"] <= count(hidden) <= row["bouts_high"]
        errors.append(row["bouts"] / count(hidden) - 1)
    assert abs(np.mean(errors)) < 0.1
    assert inside >= 21  # of 25; 95 % are claimed


def test_labels_that_were_chosen_by_probability_mislead_little():
    """Frames with a high probability were checked more often; the plain survey is far off then."""
    rng = np.random.default_rng(1)
    errors, plain = [], []
    for _ in range(12):
        known, p_known = recording(rng, 12000, 0.1, 1.5)
        hidden, p_hidden = recording(rng, 12000, 0.1, 1.5)
        # Blocks that look promising are labelled eight times as often.
        blocks = p_known.reshape(-1, 100).mean(axis=1)
        wanted = rng.random(len(blocks)) < np.where(blocks > np.quantile(blocks, 0.7), 0.8, 0.1)
        states = known.copy()
        states[~np.repeat(wanted, 100)] = UNOBSERVED
        table = estimate_unfound([Checked(states, p_known)], [p_hidden], ["a"], n_resamples=100)
        errors.append(table["present_frames"][0] / (hidden == PRESENT).sum() - 1)
        survey = (states == PRESENT).sum() / (states != UNOBSERVED).sum() * 12000
        plain.append(survey / (hidden == PRESENT).sum() - 1)
    assert np.mean(plain) > 0.3
    assert abs(np.mean(errors)) < 0.5 * np.mean(plain)


def test_frames_that_are_labelled_are_not_counted_again():
    rng = np.random.default_rng(2)
    states, p = recording(rng, 4 * BLOCK * 4, 0.2, 1.0)
    nothing = np.full_like(p, np.nan)
    row = estimate_unfound([Checked(states, p)], [nothing], ["a"]).iloc[0]
    assert row["unlabelled_frames"] == 0
    assert row["bouts"] == row["bouts_high"] == 0


def test_too_little_to_check_gives_no_number():
    states = np.zeros((BLOCK, 1), np.int8)
    p = np.full((BLOCK, 1), 0.5, np.float32)
    table = estimate_unfound([Checked(states, p)], [p], ["a"], found_bouts=[3])
    assert np.isnan(table["bouts"][0])
    assert table["found_bouts"][0] == 3
    assert estimate_unfound([], [], ["a"])["bouts"][0] == 0


def test_the_hint_waits_then_goes_on_then_stops():
    assert not stopping_hint([10.0, 20.0, 30.0], [0.1, 0.2, 0.3]).stop
    assert "Too early" in stopping_hint([10.0, 20.0], [0.1, 0.2]).text
    rising = stopping_hint([10.0, 20.0, 30.0, 40.0, 50.0], [0.1, 0.3, 0.5, 0.6, 0.7])
    assert not rising.stop
    assert rising.gain == pytest.approx(0.4)
    flat = stopping_hint([10.0, 20.0, 30.0, 40.0, 50.0], [0.1, 0.7, 0.70, 0.705, 0.7])
    assert flat.stop
    assert "30 s" in flat.text
    unlucky = stopping_hint([10.0, 20.0, 30.0, 40.0, 50.0], [0.3, 0.4, 0.6, 0.7, 0.39])
    assert not unlucky.stop  # one poor round does not end the labelling
    gaps = stopping_hint([10.0, 20.0, 30.0, 40.0], [0.1, float("nan"), 0.2, 0.3])
    assert not gaps.stop
