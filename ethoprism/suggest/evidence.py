"""What predictions and labelled examples say of a window: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ethoprism.suggest.choose import nearest
from ethoprism.suggest.review import certainty

FEW_BOUTS = 10
"""Behaviours with at most so many known bouts have their examples looked for."""


def window_evidence(
    probability: np.ndarray, thresholds: Mapping[str, float], behaviours: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Nearness to the decision, and highest probability that lasts, of each behaviour.

    Parameters
    ----------
    probability
        ``[frames, behaviours]`` of one window.
    thresholds
        By behaviour.
    behaviours
        Names of the columns.
    """
    sure = [
        np.abs(certainty(probability[:, i], float(thresholds[name])))
        for i, name in enumerate(behaviours)
    ]
    unsure = 1 - np.stack(sure, axis=1)
    return unsure.mean(axis=0), np.quantile(probability, 0.8, axis=0)


def similarity_to_examples(
    candidates: np.ndarray, labelled: np.ndarray, present: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """``[candidates, behaviours]`` between 0 and 1: nearness to examples of what is rare.

    Parameters
    ----------
    candidates, labelled
        Vectors.
    present
        bool ``[labelled, behaviours]``.
    counts
        Known bouts of each behaviour; those with more than a few are left at 0.
    """
    result = np.zeros((len(candidates), present.shape[1]))
    usual = nearest(candidates, labelled)
    for column in np.flatnonzero(present.any(axis=0) & (counts <= FEW_BOUTS)).tolist():
        distance = nearest(candidates, labelled[present[:, column]])
        # 1 where the nearest labelled window of all shows it, and less the farther it is off.
        near = usual / np.maximum(distance, 1e-9)
        result[:, column] = near * np.exp(-distance / max(float(np.median(distance)), 1e-9))
    return result
