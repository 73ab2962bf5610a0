"""Prediction: what a probe says of every frame, and how raw probabilities become bouts.

Raw probabilities are kept; thresholds and smoothing are applied when they are read, so they can be
changed without predicting again. A prediction is never stored as annotation.
"""

from __future__ import annotations

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
from ethoprism.safety import check_packed, check_zarr

_MOST_VALUES = 2**32
"""Probabilities that a file may state; 16 GiB."""


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


def load_prediction(
    path: Path, *, probe: str, content_key: str, n_frames: int | None = None
) -> Prediction:
    """The prediction at ``path``, of a recording with ``n_frames`` frames where they are known.

    Raises
    ------
    ProjectError
        If it is absent, damaged, or of another probe or video.
    """
    remedy = "Run: ethoprism predict PROJECT"
    if not path.exists():
        raise ProjectError(f"{path.stem!r} has no prediction", expected=str(path), remedy=remedy)
    try:
        attributes = check_zarr(path, {"probability": (None, "float32"), "covered": (None, "bool")})
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    for name, expected in (("probe", probe), ("content_key", content_key)):
        if attributes.get(name) != expected:
            raise ProjectError(
                f"The prediction of {path.stem!r} belongs to another {name.replace('_', ' ')}",
                expected=expected[:16],
                found=str(attributes.get(name))[:16],
                remedy=remedy,
            )
    try:
        return _read(path, attributes, n_frames)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def _read(path: Path, attributes: dict[str, Any], n_frames: int | None) -> Prediction:
    behaviours = tuple(map(str, attributes["behaviours"]))
    group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
    probability, covered = group["probability"], group["covered"]
    if not isinstance(probability, zarr.Array) or not isinstance(covered, zarr.Array):
        raise ValueError("it lacks an array")
    rows = covered.shape[0] if covered.ndim == 1 else -1
    if probability.shape != (rows, len(behaviours)) or n_frames not in (None, rows):
        raise ValueError("its arrays are not one row a frame and one column a behaviour")
    if rows * len(behaviours) > _MOST_VALUES:
        raise ValueError(f"it states {rows:,} frames and {len(behaviours):,} behaviours")
    bytes_of_chunk = int(np.prod(probability.chunks)) * 4
    for name, most in (("probability", bytes_of_chunk), ("covered", int(covered.chunks[0]))):
        for file in (path / name / "c").rglob("*"):
            if file.is_file():
                check_packed(file, most)
    return Prediction(
        **{name: str(attributes[name]) for name in _ATTRIBUTES},
        behaviours=behaviours,
        probability=np.asarray(probability),
        covered=np.asarray(covered),
    )


def _unreadable(path: Path, error: Exception) -> ProjectError:
    return ProjectError(
        f"The prediction {path} cannot be read",
        found=str(error),
        remedy="Delete that folder and run: ethoprism predict PROJECT",
    )


_ATTRIBUTES: Sequence[str] = ("recording", "subject", "probe", "backbone", "content_key")
