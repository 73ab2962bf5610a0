"""What an exchange format is: reading gives a plan that is shown before anything is written.

A format registers a `Format` under the entry points ``ethoprism.exchange``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int8

from ethoprism.errors import LabelError
from ethoprism.safety import unguarded

Observed = Literal["bouts", "whole"]
Unit = Literal["frames", "seconds"]


PREDICTIONS_NOTE = (
    "The file holds predictions. Imported, they count as labels that you accept (source: curated)."
)


@dataclass(frozen=True)
class ImportRequest:
    """What an importer has to know besides the file.

    Attributes
    ----------
    n_frames
        Frames of the project's recordings, by id.
    frame_times
        Gives a recording's presentation times in seconds.
    recording
        The recording that the labels belong to, where the file does not say.
    subject
        The subject, where the file does not say.
    annotator
        Who made the labels.
    behaviours
        Names to import; all that are found if ``None``.
    observed
        For files that list bouts only, which frames somebody looked at: ``bouts`` (no more than
        the bouts) or ``whole`` (each recording from end to end, for every imported behaviour).
    unit
        Unit of ``start`` and ``stop`` columns whose name does not say.
    inclusive
        Whether stop frames belong to the bout.
    """

    n_frames: Mapping[str, int]
    frame_times: Callable[[str], np.ndarray]
    recording: str | None = None
    subject: str = ""
    annotator: str = ""
    behaviours: tuple[str, ...] | None = None
    observed: Observed = "bouts"
    unit: Unit | None = None
    inclusive: bool = False


@dataclass(frozen=True, eq=False)
class ImportPlan:
    """What an import would add, and what its user should know before it does.

    ``bouts`` and ``spans`` are tables as in `ethoprism.annotation`; ``notes`` are sentences.
    """

    bouts: pd.DataFrame
    spans: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def behaviours(self) -> list[str]:
        """Names in the order in which they first appear."""
        return list(dict.fromkeys([*self.spans["behaviour"], *self.bouts["behaviour"]]))

    @property
    def recordings(self) -> list[str]:
        """Ids in the order in which they first appear."""
        return list(dict.fromkeys([*self.spans["recording"], *self.bouts["recording"]]))


@dataclass(frozen=True, eq=False)
class FrameLabels:
    """What is to be written of one recording and subject.

    Attributes
    ----------
    recording, subject
        Whose labels; ``subject`` is empty where any subject counts.
    frame_times
        float64 ``[frames]``, seconds.
    behaviours
        Names, in the order of the columns.
    states
        int8 ``[frames, behaviours]``: 1 present, 0 absent, −1 unknown.
    covered
        bool ``[frames]``: predicted, or observed by somebody.
    probability
        float32 ``[frames, behaviours]``, or ``None`` for labels that people made.
    source
        ``manual``, ``automated`` or ``curated``.
    """

    recording: str
    subject: str
    frame_times: np.ndarray
    behaviours: tuple[str, ...]
    states: Int8[np.ndarray, "frames behaviours"]
    covered: Bool[np.ndarray, " frames"]
    probability: Float[np.ndarray, "frames behaviours"] | None
    source: str


@dataclass(frozen=True)
class Format:
    """One exchange format.

    Attributes
    ----------
    name, description
        As listed by the command line and in menus.
    read
        Gives the plan of an import; raises `LabelError` for a file that is not of this format.
    write
        Writes the labels of one or several recordings into one file, replacing it atomically.
    """

    name: str
    description: str
    read: Callable[[Path, ImportRequest], ImportPlan] | None = None
    write: Callable[[Path, Sequence[FrameLabels]], None] | None = None


def read_table(path: Path, kind: str) -> pd.DataFrame:
    """A CSV or TSV as text, header names stripped; a `LabelError` if it is not one.

    Everything stays text, so that a subject ``007`` or a behaviour ``NA`` is what was typed.
    """
    if not path.is_file():
        raise LabelError(f"There is no file {path}", expected=f"a {kind} file")
    try:
        table = pd.read_csv(
            path,
            sep="\t" if path.suffix.lower() == ".tsv" else ",",
            header=None,  # pandas would rename a repeated column without a word
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skip_blank_lines=True,
        )
    except (UnicodeDecodeError, ValueError, pd.errors.ParserError) as error:
        raise LabelError(
            f"{path} cannot be read as a table",
            expected=f"a {kind} file in UTF-8 with a header line",
            found=str(error),
        ) from error
    table.columns = [str(c).strip() for c in table.iloc[0]]
    table = unguarded(table.iloc[1:].reset_index(drop=True))
    repeated = [str(c) for c in table.columns[table.columns.duplicated()]]
    if repeated:
        raise LabelError(
            f"{path} has a column twice", expected="every name once", found=", ".join(repeated)
        )
    return table


def recording_column(table: pd.DataFrame, path: Path, request: ImportRequest) -> pd.Series:
    """The recording of each row: from its column, from the request, or from the file's name."""
    if "recording" in table.columns and request.recording is None:
        return table["recording"]
    name = request.recording
    if name is None:
        # The longest id that the file's name starts with: "mouse1_b" before "mouse1".
        matching = [r for r in request.n_frames if path.name.startswith(r)]
        name = max(matching, key=len, default=None)
    if name is None:
        raise LabelError(
            f"It is not clear which recording the labels in {path.name} belong to",
            expected="a column 'recording', or a file name that starts with one of "
            f"{', '.join(request.n_frames) or 'the recordings (there are none yet)'}",
            remedy="Name it with --recording.",
        )
    return pd.Series(name, index=table.index)


def whole_numbers(values: pd.Series, what: str, path: Path) -> np.ndarray:
    """Text as int64; a `LabelError` that names the first line which is not a whole number."""
    numbers = _numbers(values, what, path)
    wrong = numbers != np.floor(numbers)
    if wrong.any():
        _bad_number(values, wrong, f"whole numbers as {what}", path)
    return numbers.astype(np.int64)


def seconds(values: pd.Series, what: str, path: Path) -> np.ndarray:
    """Text as float64; a `LabelError` that names the first line which is not a number."""
    return _numbers(values, what, path)


def _numbers(values: pd.Series, what: str, path: Path) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(np.float64)
    wrong = ~np.isfinite(numbers) | (np.abs(numbers) > 2**53)
    if wrong.any():
        _bad_number(values, wrong, f"numbers as {what}", path)
    return numbers


def _bad_number(values: pd.Series, wrong: np.ndarray, expected: str, path: Path) -> None:
    i = int(np.flatnonzero(wrong)[0])
    raise LabelError(
        f"{path} has {int(wrong.sum())} rows that cannot be read",
        expected=expected,
        found=f"{values.iloc[i]!r} in line {i + 2}",
    )
