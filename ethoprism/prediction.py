"""Prediction: what a probe says of every frame, and how raw probabilities become bouts.

Raw probabilities are kept; thresholds and smoothing are applied when they are read, so they can be
changed without predicting again. A prediction is never stored as annotation.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from jaxtyping import Bool, Float, Int8

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED, runs
from ethoprism.errors import ProjectError
from ethoprism.files import storage_error


@dataclass(frozen=True, eq=False)
class Prediction:
    """Probabilities of one recording.

    Attributes
    ----------
    recording, subject
        What was predicted; ``subject`` is empty where any subject counts.
    behaviours
        Names, in the order of the columns.
    probability
        float32 ``[frames, behaviours]``; meaningless where ``covered`` is false.
    covered
        bool ``[frames]``: the frame had tokens.
    probe
        Digest of the probe's parameters.
    backbone
        The backbone's label, which says whether it is untrained.
    content_key
        Digest of the recording's content.
    """

    recording: str
    subject: str
    behaviours: tuple[str, ...]
    probability: Float[np.ndarray, "frames behaviours"]
    covered: Bool[np.ndarray, " frames"]
    probe: str
    backbone: str
    content_key: str


@dataclass(frozen=True)
class Decision:
    """How probabilities become presence.

    Attributes
    ----------
    thresholds
        Per behaviour: present at this probability or above.
    min_bout
        Per behaviour, in frames: shorter bouts are dropped, shorter gaps inside one are filled.
    exclusive
        Groups of behaviours of which the most probable one alone may be present.
    """

    thresholds: dict[str, float]
    min_bout: dict[str, int]
    exclusive: tuple[tuple[str, ...], ...] = ()


def decide(prediction: Prediction, decision: Decision) -> Int8[np.ndarray, "frames behaviours"]:
    """Present (1), absent (0) or, where a frame was not covered, unknown (−1)."""
    names = list(prediction.behaviours)
    thresholds = np.array([decision.thresholds[name] for name in names], np.float32)
    present = prediction.probability >= thresholds
    for group in decision.exclusive:
        columns = [names.index(name) for name in group if name in names]
        if columns:
            winner = np.argmax(prediction.probability[:, columns], axis=1)
            present[:, columns] &= np.arange(len(columns)) == winner[:, None]
    grouped = {name for group in decision.exclusive for name in group}
    for column, name in enumerate(names):
        present[:, column] = smooth(
            present[:, column],
            prediction.covered,
            decision.min_bout[name],
            # Filling a gap could put two behaviours of an exclusive group on one frame.
            fill=name not in grouped,
        )
    states = np.where(present, PRESENT, ABSENT).astype(np.int8)
    states[~prediction.covered] = UNOBSERVED
    return states


def smooth(
    present: Bool[np.ndarray, " frames"],
    covered: Bool[np.ndarray, " frames"],
    min_bout: int,
    *,
    fill: bool = True,
) -> Bool[np.ndarray, " frames"]:
    """``present`` without gaps, then without bouts, that are shorter than ``min_bout`` frames.

    Frames that are not covered end a bout; nothing is filled across them.
    """
    result = present & covered
    if fill:
        for start, stop in runs(~result & covered):
            inside = start > 0 and stop < len(result) and result[start - 1] and result[stop]
            if inside and stop - start < min_bout:
                result[start:stop] = True
    for start, stop in runs(result):
        if stop - start < min_bout:
            result[start:stop] = False
    return result


def predicted_bouts(
    prediction: Prediction, states: Int8[np.ndarray, "frames behaviours"]
) -> pd.DataFrame:
    """Bouts of the decided states with their mean probability.

    Columns: ``recording, subject, behaviour, start_frame, stop_frame, mean_p``, sorted by start.
    """
    rows = []
    for column, name in enumerate(prediction.behaviours):
        for start, stop in runs(states[:, column] == PRESENT):
            rows.append(
                {
                    "recording": prediction.recording,
                    "subject": prediction.subject,
                    "behaviour": name,
                    "start_frame": int(start),
                    "stop_frame": int(stop),
                    "mean_p": float(prediction.probability[start:stop, column].mean()),
                }
            )
    columns = ["recording", "subject", "behaviour", "start_frame", "stop_frame", "mean_p"]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values(["start_frame", "behaviour"], kind="stable", ignore_index=True)


def save_prediction(prediction: Prediction, path: Path) -> None:
    """Write a prediction as a zarr group, replacing an older one."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        attributes = {name: getattr(prediction, name) for name in _ATTRIBUTES}
        attributes["behaviours"] = list(prediction.behaviours)
        group = zarr.create_group(temporary, zarr_format=3, attributes=attributes)
        group.create_array("probability", data=prediction.probability)
        group.create_array("covered", data=prediction.covered)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise storage_error(error, path) from error


def load_prediction(path: Path, *, probe: str, content_key: str) -> Prediction:
    """The prediction at ``path``; a `ProjectError` if it is absent or of another probe or video."""
    remedy = "Run: ethoprism predict PROJECT"
    if not path.exists():
        raise ProjectError(f"{path.stem!r} has no prediction", expected=str(path), remedy=remedy)
    group = zarr.open_group(path, mode="r")
    attributes: dict[str, Any] = json.loads(json.dumps(dict(group.attrs)))
    for name, expected in (("probe", probe), ("content_key", content_key)):
        if attributes.get(name) != expected:
            raise ProjectError(
                f"The prediction of {path.stem!r} belongs to another {name.replace('_', ' ')}",
                expected=expected[:16],
                found=str(attributes.get(name))[:16],
                remedy=remedy,
            )
    return Prediction(
        **{name: str(attributes[name]) for name in _ATTRIBUTES},
        behaviours=tuple(attributes["behaviours"]),
        probability=np.asarray(group["probability"]),
        covered=np.asarray(group["covered"]),
    )


_ATTRIBUTES: Sequence[str] = ("recording", "subject", "probe", "backbone", "content_key")
