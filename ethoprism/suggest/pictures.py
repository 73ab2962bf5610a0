"""Suggested spans as pictures."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
import pandas as pd

from ethoprism.figure import contact_sheet
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.thumbnails import Thumbnails


def span_pictures(
    project: Project, spans: pd.DataFrame, path: Path, *, pictures: int = 4
) -> Generator[Progress, None, Path]:
    """A contact sheet of spans, a row each; the generator's result is the file.

    Parameters
    ----------
    project, spans
        As from `suggest_next`.
    path
        File to write; its ending chooses the format.
    pictures
        Moments of each span.
    """
    rows = []
    with Thumbnails(project, size=160) as thumbnails:
        for i, span in enumerate(spans.to_dict("records")):
            yield Progress(i, len(spans), "pictures")
            moments = np.linspace(span["start_frame"], span["stop_frame"] - 1, pictures)
            shown = [
                (
                    f"{frame}",
                    np.asarray(thumbnails.get(span["recording"], frame, span["subject"])),
                )
                for frame in np.unique(moments.astype(int)).tolist()
            ]
            rows.append((f"{span['rank']}. {span['recording']}", shown))
    contact_sheet(path, rows, "What to label next: frame numbers above the pictures")
    yield Progress(len(spans), len(spans), "pictures")
    return path
