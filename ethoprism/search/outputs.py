"""A list of found moments as a table, a card and a contact sheet."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np

from ethoprism.errors import VideoError
from ethoprism.figure import contact_sheet
from ethoprism.files import write_json, write_text
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.search.find import Found
from ethoprism.search.measured import Measured
from ethoprism.thumbnails import Thumbnails

_COLUMNS = 6


def write_list(found: Found, path: Path, measured: Measured | None = None) -> None:
    """Write the list as CSV, and a card of where it comes from beside it.

    Columns are those of `Found.table`; frames are half-open.
    """
    table = found.table()
    write_text(path, table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    card = {
        "kind": "moments found by text, no observations",
        "backbone": found.key.label,
        "token_key": found.key.to_dict(),
        "texts": list(found.query.texts),
        "not": list(found.query.without),
        "templates": list(found.query.templates),
        "level": found.plan.level,
        "scored_moments": len(found.moments),
        "note": "The score is a cosine between video and text"
        + (", less that of what it is to be told from" if found.query.without else "")
        + "; it is no probability."
        + ("" if found.key.trained else " The backbone's weights are random (untrained)."),
    }
    if measured is not None:
        card["measured"] = {
            "behaviour": measured.behaviour,
            "hits": measured.hits,
            "judged": measured.judged,
            "precision_95_interval": [measured.low, measured.high],
            "labelled_moments": measured.labelled,
            "present_moments": measured.present,
        }
    write_json(path.with_name(path.name + ".card.json"), card)


def found_sheet(project: Project, found: Found, path: Path) -> Generator[Progress, None, Path]:
    """Draw the middle frame of each moment of the list, as PNG, PDF or SVG.

    Captions hold rank, recording, subject, time of the frame and score.
    """
    pictures: list[tuple[str, np.ndarray]] = []
    middle = found.moments.middle
    with Thumbnails(project) as thumbnails:
        for rank, i in enumerate(found.listed, start=1):
            yield Progress(rank - 1, len(found.listed), "pictures")
            unit, frame = found.moments.units[found.moments.unit[i]], int(middle[i])
            time = float(project.frame_times(unit.recording)[frame])
            caption = f"{rank}. {unit.name}\n{time:.2f} s · {found.scores[i]:.3f}"
            try:
                picture = np.asarray(thumbnails.get(unit.recording, frame, unit.subject))
            except VideoError:
                picture = np.full((90, 160, 3), 128, np.uint8)
                caption += " · damaged"
            pictures.append((caption, picture))
    rows = [("", pictures[a : a + _COLUMNS]) for a in range(0, len(pictures), _COLUMNS)]
    title = f"{found.query.label!r}, {found.key.label}: time · score"
    contact_sheet(path, rows, title)
    yield Progress(len(found.listed), len(found.listed), "pictures")
    return path
