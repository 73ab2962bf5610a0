"""Prediction: what a probe says of every frame, and how raw probabilities become bouts.

Raw probabilities are kept; thresholds and smoothing are applied when they are read, so they can be
changed without predicting again. A prediction is never stored as annotation.
"""

from __future__ import annotations

import math
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from jaxtyping import Bool, Float, Int8

from ethoprism import postprocess
from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.errors import ProjectError
from ethoprism.files import storage_error
from ethoprism.postprocess import Chain
from ethoprism.safety import check_packed, check_zarr

_MOST_VALUES = 2**32
"""Probabilities that a file may state; 16 GiB."""
LONGEST = 2**20
"""Frames that a shortest bout or gap may have."""


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
    notes
        Warnings, each a sentence or more: the recording looks unlike the training ones.
    """

    recording: str
    subject: str
    behaviours: tuple[str, ...]
    probability: Float[np.ndarray, "frames behaviours"]
    covered: Bool[np.ndarray, " frames"]
    probe: str
    backbone: str
    content_key: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """How probabilities become presence.

    Attributes
    ----------
    thresholds
        Per behaviour: present at this probability or above.
    min_bout
        Per behaviour, in frames: shorter bouts are dropped.
    exclusive
        Groups of behaviours of which the most probable one alone may be present.
    low
        Per behaviour: a bout that reached the threshold somewhere goes on while the probability is
        at or above this (hysteresis). The threshold itself where a behaviour is not named.
    min_gap
        Per behaviour, in frames: shorter gaps inside a bout are filled, except in exclusive groups,
        where that could put two behaviours on one frame. ``min_bout`` where it is not named.
    chains
        Groups that are decoded as the likeliest sequence instead. Neither hysteresis nor gaps apply
        to them; thresholds shift the odds of a member.
    """

    thresholds: dict[str, float]
    min_bout: dict[str, int]
    exclusive: tuple[tuple[str, ...], ...] = ()
    low: dict[str, float] = field(default_factory=dict)
    min_gap: dict[str, int] = field(default_factory=dict)
    chains: tuple[Chain, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as written to cards; what is empty is left out, as in older cards."""
        data: dict[str, Any] = {
            "thresholds": dict(self.thresholds),
            "min_bout": dict(self.min_bout),
            "exclusive": [list(group) for group in self.exclusive],
        }
        if self.low:
            data["low"] = dict(self.low)
        if self.min_gap:
            data["min_gap"] = dict(self.min_gap)
        if self.chains:
            data["chains"] = [chain.to_dict() for chain in self.chains]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """The decision that `to_dict` described.

        Raises
        ------
        ValueError, TypeError, KeyError
            If it is none, or holds what decides nothing.
        """
        decision = cls(
            {str(k): float(v) for k, v in data["thresholds"].items()},
            dict(data["min_bout"]),
            tuple(tuple(map(str, group)) for group in data.get("exclusive", ())),
            {str(k): float(v) for k, v in data.get("low", {}).items()},
            dict(data.get("min_gap", {})),
            tuple(Chain.from_dict(chain) for chain in data.get("chains", ())),
        )
        decision.require_sound(list(decision.thresholds))
        return decision

    def require_sound(self, behaviours: Sequence[str]) -> None:
        """Raise a ``ValueError`` unless this decides exactly these behaviours."""
        names = set(behaviours)
        if set(self.thresholds) != names or set(self.min_bout) != names:
            raise ValueError("its thresholds are of other behaviours")
        if not (set(self.low) <= names and set(self.min_gap) <= names):
            raise ValueError("its low thresholds or gaps are of other behaviours")
        values = (*self.thresholds.values(), *self.low.values())
        if not all(math.isfinite(value) and value >= 0 for value in values):
            raise ValueError("its thresholds are no probabilities")
        if any(value > self.thresholds[name] for name, value in self.low.items()):
            raise ValueError("a low threshold is above the threshold")
        for lengths in (self.min_bout, self.min_gap):
            if not all(type(n) is int and 0 <= n <= LONGEST for n in lengths.values()):
                raise ValueError("its shortest bouts or gaps are no numbers of frames")
        if not all(set(chain.behaviours) <= names for chain in self.chains):
            raise ValueError("a chain is of other behaviours")


def decide(prediction: Prediction, decision: Decision) -> Int8[np.ndarray, "frames behaviours"]:
    """Present (1), absent (0) or, where a frame was not covered, unknown (−1)."""
    names = list(prediction.behaviours)
    p, covered = prediction.probability, prediction.covered
    thresholds = np.array([decision.thresholds[name] for name in names], np.float32)
    present = p >= thresholds
    if any(decision.low.get(name, 1.0) < decision.thresholds[name] for name in names):
        low = np.array(
            [decision.low.get(name, decision.thresholds[name]) for name in names], np.float32
        )
        present = postprocess.hysteresis(present, p >= low, covered)
    for group in decision.exclusive:
        columns = [names.index(name) for name in group if name in names]
        if columns:
            winner = np.argmax(p[:, columns], axis=1)
            for place, column in enumerate(columns):
                present[:, column] &= winner == place
    for chain in decision.chains:
        columns = [names.index(name) for name in chain.behaviours]
        state = chain.decode(p[:, columns], covered, thresholds[columns])
        for place, column in enumerate(columns):
            present[:, column] = state == place + 1
    grouped = {name for group in decision.exclusive for name in group}
    grouped |= {name for chain in decision.chains for name in chain.behaviours}
    shortest = [decision.min_bout[name] for name in names]
    gaps = [
        0 if name in grouped else decision.min_gap.get(name, decision.min_bout[name])
        for name in names
    ]
    states = postprocess.smooth(present, covered, shortest, gaps).astype(np.int8)
    states[~covered] = UNOBSERVED
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
    gap = [min_bout if fill else 0]
    return postprocess.smooth(present[:, None], covered, [min_bout], gap)[:, 0]


def predicted_bouts(
    prediction: Prediction, states: Int8[np.ndarray, "frames behaviours"]
) -> pd.DataFrame:
    """Bouts of the decided states with their mean probability.

    Columns: ``recording, subject, behaviour, start_frame, stop_frame, mean_p``, sorted by start.
    """
    starts, stops, columns = postprocess.runs_by_column(states == PRESENT)
    sums = np.array(
        [
            prediction.probability[start:stop, column].sum(dtype=np.float64)
            for start, stop, column in zip(starts, stops, columns, strict=True)
        ],
        np.float64,
    )
    names = np.array(prediction.behaviours, dtype=object)
    table = pd.DataFrame(
        {
            "recording": pd.Series([prediction.recording] * len(starts), dtype=object),
            "subject": pd.Series([prediction.subject] * len(starts), dtype=object),
            "behaviour": pd.Series(names[columns], dtype=object),
            "start_frame": starts,
            "stop_frame": stops,
            "mean_p": sums / (stops - starts),
        }
    )
    return table.sort_values(["start_frame", "behaviour"], kind="stable", ignore_index=True)


def save_prediction(prediction: Prediction, path: Path) -> None:
    """Write a prediction as a zarr group, replacing an older one."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        attributes = {name: getattr(prediction, name) for name in _ATTRIBUTES}
        attributes["behaviours"] = list(prediction.behaviours)
        attributes["notes"] = list(prediction.notes)
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
        notes=tuple(map(str, attributes.get("notes", ()))),
    )


def _unreadable(path: Path, error: Exception) -> ProjectError:
    return ProjectError(
        f"The prediction {path} cannot be read",
        found=str(error),
        remedy="Delete that folder and run: ethoprism predict PROJECT",
    )


_ATTRIBUTES: Sequence[str] = ("recording", "subject", "probe", "backbone", "content_key")
