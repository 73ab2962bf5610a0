"""The bout table, observed spans, and the way from bouts to frames and back.

Frames are half-open: a bout holds ``start_frame`` and not ``stop_frame``. A frame is *present*
(1: inside a bout), *absent* (0: somebody looked for this behaviour and did not see it) or
*unobserved* (−1), and unobserved is never taken for absent.

Observed spans name their behaviour. Had they held for the whole ethogram, a behaviour added later
would count as absent in everything that had been scored before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Int8

from ethoprism.errors import LabelError

BOUT_COLUMNS = (
    "recording",
    "subject",
    "target",
    "behaviour",
    "start_frame",
    "stop_frame",
    "modifiers",
    "comment",
    "annotator",
    "source",
    "modified",
)
SPAN_COLUMNS = (
    "recording",
    "subject",
    "behaviour",
    "start_frame",
    "stop_frame",
    "annotator",
    "modified",
)
SOURCES = ("manual", "automated", "curated")

PRESENT, ABSENT, UNOBSERVED = 1, 0, -1


def bout_table(rows: Sequence[dict[str, object]] | pd.DataFrame = ()) -> pd.DataFrame:
    """A table with all of `BOUT_COLUMNS`, from rows that may lack the optional ones."""
    return _table(rows, BOUT_COLUMNS, {"source": "manual"})


def span_table(rows: Sequence[dict[str, object]] | pd.DataFrame = ()) -> pd.DataFrame:
    """A table of observed spans with all of `SPAN_COLUMNS`."""
    return _table(rows, SPAN_COLUMNS, {})


def _table(
    rows: Sequence[dict[str, object]] | pd.DataFrame,
    columns: tuple[str, ...],
    defaults: dict[str, str],
) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    unknown = [str(c) for c in frame.columns if c not in columns]
    if unknown:
        raise LabelError(
            "The table has columns that are not known here",
            expected=", ".join(columns),
            found=", ".join(unknown),
        )
    frame = frame.reindex(columns=list(columns)).astype(object)
    for column in columns:
        if column in ("start_frame", "stop_frame"):
            frame[column] = frame[column].astype(np.int64)
        else:
            default = defaults.get(column, "")
            frame[column] = frame[column].where(frame[column].notna(), default).astype(str)
    return frame


def check_frames(table: pd.DataFrame, n_frames: dict[str, int]) -> None:
    """Raise a `LabelError` unless every row lies inside its recording.

    Parameters
    ----------
    table
        Bouts or observed spans.
    n_frames
        Frames of each recording, by id.
    """
    for recording, rows in table.groupby("recording", sort=False):
        if recording not in n_frames:
            raise LabelError(
                f"The labels name a recording, {recording!r}, that the project lacks",
                expected=", ".join(n_frames) or "recordings added first",
                found=repr(recording),
                remedy="Add the recording first, or correct its name in the file.",
            )
        start, stop = rows["start_frame"].to_numpy(), rows["stop_frame"].to_numpy()
        limit = n_frames[str(recording)]
        wrong = (start < 0) | (stop > limit) | (stop <= start)
        if wrong.any():
            i = int(np.flatnonzero(wrong)[0])
            raise LabelError(
                f"{int(wrong.sum())} of {len(rows)} labels do not fit recording {recording!r}",
                expected=f"frames from 0 to {limit} (half-open), start before stop",
                found=f"{rows['behaviour'].iloc[i]!r} from frame {start[i]} to {stop[i]}",
                remedy="Check that the labels belong to this video, and their unit: frames or "
                "seconds, counted from 0 or 1.",
            )


def runs(mask: Bool[np.ndarray, " frames"]) -> Int[np.ndarray, "runs 2"]:
    """Half-open ranges over which ``mask`` is true, in order."""
    padded = np.concatenate(([False], np.asarray(mask, dtype=bool), [False]))
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    return edges.reshape(-1, 2)


def mask_of(ranges: Int[np.ndarray, "runs 2"], n_frames: int) -> Bool[np.ndarray, " frames"]:
    """True in every frame that lies in one of the half-open ``ranges``; they may overlap."""
    change = np.zeros(n_frames + 1, dtype=np.int64)
    np.add.at(change, ranges[:, 0], 1)
    np.add.at(change, ranges[:, 1], -1)
    return np.cumsum(change[:-1]) > 0


def frame_states(
    bouts: pd.DataFrame,
    spans: pd.DataFrame,
    behaviours: Sequence[str],
    n_frames: int,
    subject: str | None = None,
) -> Int8[np.ndarray, "frames behaviours"]:
    """What is known of every frame of one recording: present, absent or unobserved.

    Parameters
    ----------
    bouts, spans
        Bouts and observed spans of this recording only.
    behaviours
        Column order of the result.
    n_frames
        Frames of the recording.
    subject
        Whose behaviour. ``None`` asks for anybody's: present where some subject shows it, absent
        only where it was observed to be absent in every subject that has labels at all.

    Returns
    -------
    int8 array of `PRESENT`, `ABSENT` and `UNOBSERVED`. Where annotators differ, one who saw the
    behaviour is believed.
    """
    if subject is not None:
        return _subject_states(
            bouts.loc[bouts["subject"] == subject],
            spans.loc[spans["subject"] == subject],
            behaviours,
            n_frames,
        )
    states = np.full((n_frames, len(behaviours)), UNOBSERVED, dtype=np.int8)
    subjects = sorted(set(bouts["subject"]) | set(spans["subject"]))
    each = [frame_states(bouts, spans, behaviours, n_frames, name) for name in subjects]
    if each:
        stacked = np.stack(each)
        states[(stacked == ABSENT).all(axis=0)] = ABSENT
        states[(stacked == PRESENT).any(axis=0)] = PRESENT
    return states


def _subject_states(
    bouts: pd.DataFrame, spans: pd.DataFrame, behaviours: Sequence[str], n_frames: int
) -> np.ndarray:
    states = np.full((n_frames, len(behaviours)), UNOBSERVED, dtype=np.int8)
    for table, value in ((spans, ABSENT), (bouts, PRESENT)):
        for column, name in enumerate(behaviours):
            rows = table.loc[table["behaviour"] == name]
            if len(rows):
                ranges = rows.loc[:, ["start_frame", "stop_frame"]].to_numpy(np.int64)
                states[mask_of(ranges, n_frames), column] = value
    return states


def bout_totals(
    bouts: pd.DataFrame, frame_times: Float[np.ndarray, " frames"]
) -> dict[str, tuple[int, float]]:
    """Number of bouts of each behaviour and their durations together, in seconds.

    A bout lasts from its first frame to the first frame behind it; where there is none, the last
    frame counts as long as the one before it. Bouts that overlap are counted each for itself.
    """
    times = np.asarray(frame_times, dtype=np.float64)
    step = times[-1] - times[-2] if len(times) > 1 else 0.0
    ends = np.append(times, times[-1] + step) if len(times) else times
    last = max(len(ends) - 1, 0)
    start = np.minimum(bouts["start_frame"].to_numpy(np.int64), last)
    stop = np.minimum(bouts["stop_frame"].to_numpy(np.int64), last)
    names, which = np.unique(bouts["behaviour"].to_numpy(object), return_inverse=True)
    seconds = np.bincount(which, ends[stop] - ends[start], len(names)) if len(bouts) else []
    counts = np.bincount(which, minlength=len(names)) if len(bouts) else []
    return {str(n): (int(c), float(s)) for n, c, s in zip(names, counts, seconds, strict=True)}
