"""Predicted bouts that are worth a look: where a probe is unsure, or contradicts people."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int8

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED, runs
from ethoprism.prediction import Decision, Prediction, decide

UNCERTAIN = "uncertain"
DISAGREES = "disagrees with labels"
RARE = "rare"
NEAR_RARE = "near a known rare example"

REVIEW_COLUMNS = (
    "recording",
    "subject",
    "behaviour",
    "start_frame",
    "stop_frame",
    "mean_p",
    "score",
    "reason",
)
NEAR_LOGITS = 1.5
"""A frame is near the decision within so many logits below the threshold."""
FEW_BOUTS = 5
"""Known bouts at which a behaviour counts half as rare as one without any."""
_EDGE = 1e-6


def review_bouts(
    prediction: Prediction,
    decision: Decision,
    states: Int8[np.ndarray, "frames behaviours"],
    *,
    count: int = 50,
    known_bouts: Mapping[str, int] | None = None,
    similarity: Mapping[str, np.ndarray] | None = None,
) -> pd.DataFrame:
    """The bouts of one prediction that are most worth a look, best first.

    Candidates are the bouts that were decided; runs of frames just below the threshold that were
    not; and labelled bouts that the probe does not call. What people observed and the probe agrees
    with is left out.

    Parameters
    ----------
    prediction
        Of one recording or subject.
    decision
        Its thresholds and smoothing.
    states
        What people labelled, with the prediction's columns; `UNOBSERVED` where nobody looked.
    count
        Rows at most.
    known_bouts
        Bouts of each behaviour that people labelled so far, in the whole project; by default those
        in ``states``.
    similarity
        By behaviour, ``[frames]`` between 0 and 1: how near each frame is to a known example of a
        rare behaviour. Without it that reason is not given.

    Returns
    -------
    Table with `REVIEW_COLUMNS`. ``score`` is between 0 and 1. ``reason`` is ``uncertain`` (the
    probabilities are near the threshold), ``disagrees with labels``, ``rare`` (a call of a
    behaviour of which few bouts are known) or ``near a known rare example``.

    Raises
    ------
    ValueError
        If the states do not fit the prediction.
    """
    if states.shape != prediction.probability.shape:
        raise ValueError(
            f"states of shape {states.shape} for probabilities of {prediction.probability.shape}"
        )
    decided = decide(prediction, decision)
    tables = []
    for column, name in enumerate(prediction.behaviours):
        known = states[:, column]
        n_known = len(runs(known == PRESENT))
        if known_bouts is not None:
            n_known = known_bouts.get(name, 0)
        tables.append(
            _candidates(
                prediction.probability[:, column],
                decided[:, column],
                known,
                float(decision.thresholds[name]),
                rarity(n_known),
                None if similarity is None else similarity.get(name),
            ).assign(behaviour=name)
        )
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    table = table.assign(recording=prediction.recording, subject=prediction.subject)
    table = table.reindex(columns=list(REVIEW_COLUMNS))
    table = table.sort_values(
        ["score", "start_frame", "behaviour"],
        ascending=[False, True, True],
        kind="stable",
        ignore_index=True,
    )
    return table.head(count)


def rarity(n_known: int) -> float:
    """1 for a behaviour without a known bout, one half at `FEW_BOUTS`, towards 0 with many."""
    return FEW_BOUTS / (FEW_BOUTS + n_known)


def certainty(probability: Float[np.ndarray, " n"], threshold: float) -> Float[np.ndarray, " n"]:
    """From −1 (certainly below the threshold) over 0 (on it) to 1 (certainly above)."""
    p = np.clip(probability.astype(np.float64), _EDGE, 1 - _EDGE)
    t = float(np.clip(threshold, _EDGE, 1 - _EDGE))
    odds = np.log(p / (1 - p)) - np.log(t / (1 - t))
    return np.tanh(odds / 2)


def near_misses(
    probability: Float[np.ndarray, " frames"],
    decided: Int8[np.ndarray, " frames"],
    threshold: float,
) -> Bool[np.ndarray, " frames"]:
    """Covered frames that were not called and lie at most `NEAR_LOGITS` below the threshold."""
    limit = -np.tanh(NEAR_LOGITS / 2)
    return (decided == ABSENT) & (certainty(probability, threshold) >= limit)


def _candidates(
    probability: np.ndarray,
    decided: np.ndarray,
    known: np.ndarray,
    threshold: float,
    rare: float,
    similarity: np.ndarray | None,
) -> pd.DataFrame:
    """Candidate bouts of one behaviour with scores and reasons."""
    sure = certainty(probability, threshold)
    unseen = known == UNOBSERVED
    rows = []
    for start, stop in runs((decided == PRESENT) & unseen).tolist():
        part = slice(start, stop)
        scores = {
            UNCERTAIN: 1 - float(np.abs(sure[part]).mean()),
            RARE: rare * float(probability[part].mean()),
        }
        if similarity is not None:
            scores[NEAR_RARE] = rare * float(similarity[part].max())
        rows.append(_row(start, stop, probability, scores))
    for start, stop in runs(near_misses(probability, decided, threshold) & unseen).tolist():
        part = slice(start, stop)
        # It was not called, so at equal distance from the threshold it matters a little less.
        scores = {UNCERTAIN: 0.9 * (1 - float(np.abs(sure[part]).mean()))}
        if similarity is not None:
            scores[NEAR_RARE] = rare * float(similarity[part].max())
        rows.append(_row(start, stop, probability, scores))
    for called, label in ((PRESENT, ABSENT), (ABSENT, PRESENT)):
        for start, stop in runs((decided == called) & (known == label)).tolist():
            against = float(np.abs(sure[start:stop]).mean())
            rows.append(_row(start, stop, probability, {DISAGREES: 0.5 + against / 2}))
    return pd.DataFrame(rows, columns=["start_frame", "stop_frame", "mean_p", "score", "reason"])


def _row(
    start: int, stop: int, probability: np.ndarray, scores: Mapping[str, float]
) -> dict[str, object]:
    reason = max(scores, key=lambda name: scores[name])
    return {
        "start_frame": int(start),
        "stop_frame": int(stop),
        "mean_p": float(probability[start:stop].mean()),
        "score": float(np.clip(scores[reason], 0, 1)),
        "reason": reason,
    }
