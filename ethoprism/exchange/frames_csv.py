"""The per-frame CSV: one row a frame.

Columns: ``recording, subject, frame, time_s, covered``; per behaviour ``<name>`` (1, 0, or empty
for unknown) and ``p_<name>`` (probability, empty where there is none); last ``label``, the names of
the present behaviours joined by ``|``. ``frame`` counts from 0, ``time_s`` is the container's
presentation time, ``covered`` is 1 where the frame was predicted (or, for labels that people made,
observed).

Read back, only ``frame`` and the behaviours' columns are needed. 1, 0 and −1 or empty are present,
absent and unobserved; a frame without a row is unobserved.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Int8

from ethoprism.annotation import (
    PRESENT,
    UNOBSERVED,
    bout_table,
    check_frames,
    runs,
    span_table,
)
from ethoprism.errors import LabelError
from ethoprism.ethogram import RESERVED_NAMES
from ethoprism.exchange.spec import (
    PREDICTIONS_NOTE,
    Format,
    FrameLabels,
    ImportPlan,
    ImportRequest,
    read_table,
    recording_column,
    whole_numbers,
)
from ethoprism.files import replacing
from ethoprism.safety import guarded

_VALUES = {
    "1": PRESENT,
    "1.0": PRESENT,
    "true": PRESENT,
    "0": 0,
    "0.0": 0,
    "false": 0,
    "": UNOBSERVED,
    "-1": UNOBSERVED,
    "-1.0": UNOBSERVED,
    "nan": UNOBSERVED,
}


def frames_table(labels: FrameLabels) -> pd.DataFrame:
    """The table of one recording, with the columns in order."""
    n = len(labels.frame_times)
    columns: dict[str, object] = {
        "recording": np.full(n, labels.recording, dtype=object),
        "subject": np.full(n, labels.subject, dtype=object),
        "frame": np.arange(n),
        "time_s": labels.frame_times,
        "covered": labels.covered.astype(np.int8),
    }
    for i, name in enumerate(labels.behaviours):
        states = pd.array(labels.states[:, i], dtype="Int8")
        states[labels.states[:, i] == UNOBSERVED] = pd.NA
        columns[name] = states
        columns[f"p_{name}"] = _probability_column(labels, i)
    columns["label"] = _joined(labels.states, labels.behaviours)
    return pd.DataFrame(columns)


def write(path: Path, labels: Sequence[FrameLabels]) -> None:
    """Write recordings one after another into one file, whole or not at all.

    Raises
    ------
    StorageError
        If the disk does not hold it; an older file is left as it was.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for i, item in enumerate(labels):
            if item.behaviours != labels[0].behaviours:
                raise ValueError("all recordings of one file need the same behaviours")
            # Floats are written with as many digits as restore them exactly.
            table = guarded(frames_table(item))
            table.to_csv(file, index=False, header=i == 0, lineterminator="\n")


def read(path: Path, request: ImportRequest) -> ImportPlan:
    """The plan of importing per-frame labels.

    Raises
    ------
    LabelError
        If there is no ``frame`` column, a frame is repeated or outside its recording, or no column
        holds 0 and 1.
    """
    table = read_table(path, "per-frame CSV")
    if "frame" not in table.columns:
        raise LabelError(
            f"{path} is no per-frame CSV",
            expected="a column 'frame'",
            found=", ".join(map(str, table.columns)) or "no columns",
        )
    notes: list[str] = []
    states, names = _behaviour_columns(table, path, request, notes)
    frames = whole_numbers(table["frame"], "frame", path)
    recordings = recording_column(table, path, request)
    if "subject" in table.columns and not request.subject:
        subjects = table["subject"]
    else:
        subjects = pd.Series(request.subject, index=table.index)
    _check_rows(frames, recordings, path, request)
    source = "manual"
    if any(f"p_{n}" in table.columns and (table[f"p_{n}"].str.strip() != "").any() for n in names):
        source = "curated"
        notes.append(PREDICTIONS_NOTE)
    bouts, spans = [], []
    owners = list(zip(recordings, subjects, strict=True))
    for recording, subject in dict.fromkeys(owners):
        rows = np.flatnonzero((recordings == recording) & (subjects == subject))
        full = _on_frames(frames[rows], states[rows], request.n_frames[recording], path)
        unlabelled = int((full == UNOBSERVED).all(axis=1).sum())
        if unlabelled:
            notes.append(
                f"{recording}: {unlabelled} of {len(full)} frames carry no label; "
                "they count as unobserved."
            )
        common = {"recording": recording, "subject": subject, "annotator": request.annotator}
        for i, name in enumerate(names):
            for made, mask in (
                (bouts, full[:, i] == PRESENT),
                (spans, full[:, i] != UNOBSERVED),
            ):
                made.extend(
                    {**common, "behaviour": name, "start_frame": int(a), "stop_frame": int(b)}
                    for a, b in runs(mask)
                )
    table_of_bouts = bout_table(bouts)
    table_of_bouts["source"] = source
    return ImportPlan(table_of_bouts, span_table(spans), tuple(notes))


FORMAT = Format("frames-csv", "one row a frame, a 0/1 column per behaviour", read, write)


def _probability_column(labels: FrameLabels, column: int) -> np.ndarray:
    if labels.probability is None:
        return np.full(len(labels.covered), np.nan)
    rounded = np.round(labels.probability[:, column].astype(np.float64), 6)
    return np.where(labels.covered, rounded, np.nan)


def _joined(states: Int8[np.ndarray, "frames behaviours"], names: Sequence[str]) -> np.ndarray:
    """Names of the present behaviours joined by ``|``; few distinct rows occur, so join those."""
    patterns, which = np.unique(states == PRESENT, axis=0, return_inverse=True)
    joined = ["|".join(n for n, on in zip(names, row, strict=True) if on) for row in patterns]
    return np.array(joined, dtype=object)[which.reshape(-1)]


def _behaviour_columns(
    table: pd.DataFrame, path: Path, request: ImportRequest, notes: list[str]
) -> tuple[np.ndarray, list[str]]:
    """States of the columns that hold labels, and their names; the others are noted."""
    candidates = [
        str(c)
        for c in table.columns
        if str(c).lower() not in RESERVED_NAMES
        and not (str(c).startswith("p_") and str(c)[2:] in table.columns)
        and not str(c).startswith("Unnamed:")
    ]
    if request.behaviours is not None:
        missing = [name for name in request.behaviours if name not in candidates]
        if missing:
            raise LabelError(
                f"{path} lacks behaviours that were asked for",
                expected=", ".join(candidates),
                found=", ".join(missing),
            )
        candidates = list(request.behaviours)
    states, names = [], []
    for name in candidates:
        values = table[name].str.strip().str.lower().map(_VALUES)
        if not values.isna().any():
            states.append(values.to_numpy(np.int8))
            names.append(name)
        elif request.behaviours is not None:
            found = table[name][values.isna()].iloc[0]
            raise LabelError(
                f"The column {name!r} of {path} does not hold labels",
                expected="1, 0, or −1 or empty for unobserved",
                found=repr(found),
            )
        else:
            found = table[name][values.isna()].iloc[0]
            notes.append(f"Column {name!r} is left out: it holds {found!r}, not 0 and 1.")
    if not names:
        raise LabelError(
            f"{path} has no column of labels",
            expected="a column per behaviour that holds 1, 0, or −1 or empty",
            found=", ".join(map(str, table.columns)),
        )
    return np.stack(states, axis=1), names


def _check_rows(
    frames: np.ndarray, recordings: pd.Series, path: Path, request: ImportRequest
) -> None:
    rows = pd.DataFrame(
        {
            "recording": recordings,
            "behaviour": path.name,
            "start_frame": frames,
            "stop_frame": frames + 1,
        }
    )
    check_frames(rows, dict(request.n_frames))


def _on_frames(frames: np.ndarray, states: np.ndarray, n_frames: int, path: Path) -> np.ndarray:
    unique, counts = np.unique(frames, return_counts=True)
    if (counts > 1).any():
        raise LabelError(
            f"{path} has {int((counts > 1).sum())} frames more than once",
            expected="one row per frame, recording and subject",
            found=f"frame {unique[counts > 1][0]} {counts.max()} times",
        )
    full = np.full((n_frames, states.shape[1]), UNOBSERVED, np.int8)
    full[frames] = states
    return full
