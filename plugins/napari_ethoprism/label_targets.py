"""Which bouts a command at a frame is about; pure, no Qt."""

from __future__ import annotations

import numpy as np

from ethoprism.edit_rows import Labelled
from ethoprism.ranges import Frames
from napari_ethoprism.label_keys import Place


def ranges_of(table: Labelled, behaviour: str, subject: str) -> list[Frames]:
    """Ranges of a behaviour's bouts, in order."""
    bouts = table.bouts
    rows = bouts.loc[(bouts["behaviour"] == behaviour) & (bouts["subject"] == subject)]
    pairs = zip(rows["start_frame"], rows["stop_frame"], strict=True)
    return [(int(start), int(stop)) for start, stop in pairs]


def nearest_bout(table: Labelled, place: Place, behaviour: str, edge: str) -> int | None:
    """The shortest bout that holds a frame, or else the next (to start here) or the last."""
    bouts = table.bouts
    mine = bouts["subject"] == place.subject
    if behaviour:
        mine &= bouts["behaviour"] == behaviour
    if table.annotator:
        mine &= bouts["annotator"].isin(["", table.annotator])
    some = bouts.loc[mine]
    start, stop = some["start_frame"].to_numpy(), some["stop_frame"].to_numpy()
    here = np.flatnonzero((start <= place.frame) & (place.frame < stop))
    if len(here):
        at = here[np.argmin((stop - start)[here])]
    elif edge == "start":
        later = np.flatnonzero(start > place.frame)
        at = later[np.argmin(start[later])] if len(later) else None
    else:
        before = np.flatnonzero(stop <= place.frame)
        at = before[np.argmax(stop[before])] if len(before) else None
    return None if at is None else int(some.index.to_numpy()[at])
