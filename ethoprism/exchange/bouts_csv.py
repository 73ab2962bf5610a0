"""The bout CSV: one row a bout.

Written columns: ``recording, subject, behaviour, start_frame, stop_frame, start_s, stop_s, mean_p,
source``. Frames are half-open; ``stop_s`` is when the first frame after the bout is presented (at
the recording's end: one more frame interval).

Read back, a row needs ``behaviour`` and ``start_frame`` and ``stop_frame``, or ``start_s`` and
``stop_s``, or ``start`` and ``stop`` with a unit. A frame belongs to a bout given in seconds if it
is presented at or after its start and before its stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ethoprism.annotation import PRESENT, bout_table, check_frames, runs, span_table
from ethoprism.errors import LabelError
from ethoprism.exchange.spec import (
    PREDICTIONS_NOTE,
    Format,
    FrameLabels,
    ImportPlan,
    ImportRequest,
    Unit,
    read_table,
    recording_column,
    seconds,
    whole_numbers,
)
from ethoprism.files import replacing
from ethoprism.recording import edge_times
from ethoprism.safety import guarded

_TOLERANCE_S = 1e-6
"""Files round seconds; a frame this near to an edge counts as on it."""

COLUMNS = (
    "recording",
    "subject",
    "behaviour",
    "start_frame",
    "stop_frame",
    "start_s",
    "stop_s",
    "mean_p",
    "source",
)


def bouts_table(labels: FrameLabels) -> pd.DataFrame:
    """The bouts of one recording, by start."""
    edges = edge_times(labels.frame_times)
    rows = []
    for i, name in enumerate(labels.behaviours):
        for start, stop in runs(labels.states[:, i] == PRESENT):
            mean_p = (
                np.nan
                if labels.probability is None
                else round(float(labels.probability[start:stop, i].mean()), 6)
            )
            rows.append(
                (
                    labels.recording,
                    labels.subject,
                    name,
                    int(start),
                    int(stop),
                    edges[start],
                    edges[stop],
                    mean_p,
                    labels.source,
                )
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["start_frame", "behaviour"], kind="stable", ignore_index=True)


def write(path: Path, labels: Sequence[FrameLabels]) -> None:
    """Write the bouts of all recordings into one file, whole or not at all."""
    tables = [bouts_table(item) for item in labels]
    with replacing(path) as temporary:
        filled = [table for table in tables if len(table)] or tables[:1]
        guarded(pd.concat(filled)).to_csv(temporary, index=False, lineterminator="\n")


def read(path: Path, request: ImportRequest) -> ImportPlan:
    """The plan of importing bouts.

    Raises
    ------
    LabelError
        If columns are missing, the unit is not clear, or a bout does not fit its recording.
    """
    table = read_table(path, "bout CSV")
    table = table.rename(columns={"behavior": "behaviour"})
    if "behaviour" not in table.columns:
        raise LabelError(
            f"{path} is no bout CSV",
            expected="a column 'behaviour'",
            found=", ".join(map(str, table.columns)) or "no columns",
        )
    unit, start_column, stop_column = _edges(table, path, request)
    rows = pd.DataFrame(
        {
            "recording": recording_column(table, path, request),
            "subject": (
                table["subject"]
                if "subject" in table.columns and not request.subject
                else request.subject
            ),
            "behaviour": table["behaviour"].str.strip(),
            "comment": table["comment"] if "comment" in table.columns else "",
            "annotator": request.annotator,
            "source": _sources(table),
        }
    )
    unknown = set(rows["recording"]) - set(request.n_frames)
    if unknown:
        raise LabelError(
            f"{path} names recordings that the project lacks",
            expected=", ".join(request.n_frames) or "recordings added first",
            found=", ".join(sorted(unknown)),
            remedy="Add them first, correct their names, or name one with --recording.",
        )
    if unit == "frames":
        rows["start_frame"] = whole_numbers(table[start_column], start_column, path)
        rows["stop_frame"] = whole_numbers(table[stop_column], stop_column, path)
        rows["stop_frame"] += int(request.inclusive)
    else:
        _frames_from_seconds(
            rows,
            seconds(table[start_column], start_column, path),
            seconds(table[stop_column], stop_column, path),
            request,
        )
    if request.behaviours is not None:
        rows = rows[rows["behaviour"].isin(request.behaviours)]
    check_frames(rows, dict(request.n_frames))
    bouts = bout_table(rows)
    notes = [] if not (bouts["source"] == "curated").any() else [PREDICTIONS_NOTE]
    notes += [f"Starts and stops are read as {unit} ({start_column}, {stop_column})."]
    return ImportPlan(bouts, _spans(bouts, request, notes), tuple(notes))


FORMAT = Format("bouts-csv", "one row a bout, start and stop in frames or seconds", read, write)


def _sources(table: pd.DataFrame) -> pd.Series:
    """``manual``, or ``curated`` for bouts that a program had made and the user now takes."""
    if "source" not in table.columns:
        return pd.Series("manual", index=table.index)
    return table["source"].map(
        lambda source: "curated" if source in ("automated", "curated") else "manual"
    )


def _edges(table: pd.DataFrame, path: Path, request: ImportRequest) -> tuple[Unit, str, str]:
    columns = set(table.columns)
    if {"start_frame", "stop_frame"} <= columns and request.unit != "seconds":
        return "frames", "start_frame", "stop_frame"
    if {"start_s", "stop_s"} <= columns and request.unit != "frames":
        return "seconds", "start_s", "stop_s"
    if {"start", "stop"} <= columns:
        if request.unit is None:
            raise LabelError(
                f"The unit of 'start' and 'stop' in {path} is not clear",
                expected="columns start_frame and stop_frame, or start_s and stop_s",
                remedy="Say which it is with --unit frames or --unit seconds.",
            )
        return request.unit, "start", "stop"
    raise LabelError(
        f"{path} does not say when bouts start and stop",
        expected="columns start_frame and stop_frame, or start_s and stop_s, or start and stop",
        found=", ".join(map(str, table.columns)),
    )


def _frames_from_seconds(
    rows: pd.DataFrame, start: np.ndarray, stop: np.ndarray, request: ImportRequest
) -> None:
    first = np.zeros(len(rows), np.int64)
    last = np.zeros(len(rows), np.int64)
    for recording, index in rows.groupby("recording").indices.items():
        times = request.frame_times(str(recording))
        edges = edge_times(times)
        outside = (start[index] < -_TOLERANCE_S) | (stop[index] > edges[-1] + _TOLERANCE_S)
        outside |= stop[index] <= start[index]
        if outside.any():
            i = index[outside][0]
            raise LabelError(
                f"{int(outside.sum())} of {len(index)} bouts do not fit recording {recording!r}",
                expected=f"seconds from {times[0]:g} to {edges[-1]:g}, start before stop",
                found=f"{rows['behaviour'].iloc[i]!r} from {start[i]:g} to {stop[i]:g} s",
                remedy="Check that the labels belong to this video, and their unit.",
            )
        first[index] = np.searchsorted(times, start[index] - _TOLERANCE_S)
        last[index] = np.searchsorted(times, stop[index] - _TOLERANCE_S)
    # A bout shorter than a frame interval is still seen on one frame.
    limit = rows["recording"].map(dict(request.n_frames)).to_numpy(np.int64)
    first = np.minimum(first, limit - 1)
    rows["start_frame"] = first
    rows["stop_frame"] = np.maximum(last, first + 1)


def _spans(bouts: pd.DataFrame, request: ImportRequest, notes: list[str]) -> pd.DataFrame:
    names = request.behaviours or tuple(dict.fromkeys(bouts["behaviour"]))
    if request.observed == "bouts":
        notes.append(
            "Frames outside the bouts count as unobserved, so nothing here is absent. If the "
            "recordings were scored from end to end, import with --observed whole."
        )
        columns = ["recording", "subject", "behaviour", "start_frame", "stop_frame", "annotator"]
        return span_table(bouts.loc[:, columns])
    pairs = bouts[["recording", "subject"]].drop_duplicates().itertuples(index=False)
    notes.append(f"Every frame counts as observed for {', '.join(names)}.")
    return span_table(
        [
            {
                "recording": recording,
                "subject": subject,
                "behaviour": name,
                "start_frame": 0,
                "stop_frame": request.n_frames[recording],
                "annotator": request.annotator,
            }
            for recording, subject in pairs
            for name in names
        ]
    )
