"""Scores of probabilities: whether what is called 80 % likely is so in 80 % of the frames.

The probability of presence is compared with how often the behaviour is present, behaviour by
behaviour. Guo et al. compare the confidence of the class that was predicted; for a rare behaviour
that is next to 1 almost everywhere and hides what happens where the behaviour is likely.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from ethoprism.metrics.frames import ratio

N_BINS = 15


def bin_sums(
    truth: Bool[np.ndarray, " n"], probability: Float[np.ndarray, " n"], n_bins: int = N_BINS
) -> Float[np.ndarray, "bins 3"]:
    """Frames, sum of the probabilities and true frames in bins of equal width.

    Bin *i* holds probabilities above ``i / n_bins`` up to ``(i + 1) / n_bins``; the first holds 0
    as well. The sums add up over recordings.
    """
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    place = np.searchsorted(edges, probability, side="left")
    weights = (None, probability, truth)
    return np.stack([np.bincount(place, w, n_bins).astype(np.float64) for w in weights], axis=1)


def calibration_error(sums: Float[np.ndarray, "... bins 3"]) -> Float[np.ndarray, "..."]:
    """Expected calibration error: mean gap of probability and frequency, by frames in the bins.

    NaN without frames. Source: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural
    Networks, ICML 2017, with `N_BINS` bins as there.
    """
    gaps = np.abs(sums[..., 1] - sums[..., 2]).sum(axis=-1)
    return ratio(gaps, sums[..., 0].sum(axis=-1))


def adaptive_calibration_error(
    truth: Bool[np.ndarray, " n"], probability: Float[np.ndarray, " n"], n_bins: int = N_BINS
) -> float:
    """The same with bins of equally many frames, so that no bin is nearly empty.

    The frames are sorted by probability, in a stable order, and cut into ``n_bins`` parts whose
    sizes differ by one frame at most. NaN without frames. Source: Nixon, Dusenberry, Zhang, Jerfel,
    Tran, Measuring Calibration in Deep Learning, CVPR Workshops 2019, for one class.
    """
    if not len(truth):
        return float("nan")
    order = np.argsort(probability, kind="stable")
    gaps = np.concatenate(([0.0], np.cumsum(probability[order].astype(np.float64) - truth[order])))
    edges = np.linspace(0, len(truth), min(n_bins, len(truth)) + 1).astype(np.int64)
    return float(np.abs(np.diff(gaps[edges])).sum() / len(truth))
