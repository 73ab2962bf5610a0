"""What the timeline's tooltips say; no Qt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_ethoprism.timeline_data import TimelineData
from napari_ethoprism.timeline_model import Hit
from napari_ethoprism.timeline_ruler import seconds_text

if TYPE_CHECKING:
    from napari_ethoprism.timeline_feed import TimelineFeed


def row_tip(data: TimelineData, row: int) -> str:
    """A row: its behaviour, subject, key and definition."""
    shown = data.rows[row]
    lines = [shown.behaviour + (f" of {shown.subject}" if shown.subject else "")]
    if shown.kind == "point":
        lines[0] += " (point event)"
    if shown.definition:
        lines.append(shown.definition)
    if shown.key:
        lines.append(f"Key: {shown.key}")
    lines.append("Click to choose it")
    return "\n".join(lines)


def frame_tip(feed: TimelineFeed, frame: int) -> str:
    """A frame: its number and time."""
    return f"Frame {frame:,} at {seconds_text(_time(feed, frame))}"


def bout_tip(feed: TimelineFeed, row: int, found: Hit | None, frame: int) -> str:
    """What a row shows at a frame: the labelled bout, and what is predicted there."""
    data = feed.data
    if data is None:
        return ""
    shown = data.rows[row]
    whose = f" of {shown.subject}" if shown.subject else ""
    lines = [shown.behaviour + whose]
    span = None
    if found is not None:
        span = int(data.bouts.starts[found.bout]), int(data.bouts.stops[found.bout])
        lines.append(_range(feed, *span))
        lines += _facts(feed, int(data.bouts.ids[found.bout]))
    elif not data.observed.at(row, frame):
        lines.append(f"Frame {frame:,}: nobody has looked for it here")
    else:
        lines.append(f"Frame {frame:,}: observed, absent")
    lines += _predicted(data, row, frame, span, feed)
    return "\n".join(lines)


def _range(feed: TimelineFeed, start: int, stop: int) -> str:
    times = feed.session.recording.frame_times if feed.session.recording is not None else None
    frames = stop - start
    text = f"Frames {start:,} to {stop - 1:,} ({frames:,})" if frames > 1 else f"Frame {start:,}"
    if times is None:
        return text
    begin = float(times[start])
    if frames == 1:
        return f"{text}, at {seconds_text(begin)}"
    # The last frame is presented until the next one; of the recording's last, only its start is
    # known.
    end = float(times[min(stop, len(times) - 1)])
    return f"{text}, {seconds_text(begin)} to {seconds_text(end)}, {end - begin:.3f} s long"


def _facts(feed: TimelineFeed, bout: int) -> list[str]:
    labels = feed.session.labels
    table = labels.bouts(feed.recording) if labels is not None else None
    if table is None or bout not in table.index:
        return []
    (facts,) = table.loc[[bout]].to_dict("records")
    source = str(facts["source"]) + (f", by {facts['annotator']}" if facts["annotator"] else "")
    more = [(name, facts[name]) for name in ("target", "modifiers", "comment")]
    return [source, *(f"{name.capitalize()}: {value}" for name, value in more if value)]


def _predicted(
    data: TimelineData, row: int, frame: int, span: tuple[int, int] | None, feed: TimelineFeed
) -> list[str]:
    lines = []
    for part in data.shaded:
        for at, column in zip(part.rows, part.behaviours, strict=True):
            if at != row:
                continue
            untrained = "" if part.trained else " (untrained backbone)"
            name = f"{part.probe}{untrained}"
            prediction = part.prediction
            if not prediction.covered[frame]:
                lines.append(f"{name}: no tokens here")
                continue
            lines.append(f"{name}: probability {prediction.probability[frame, column]:.2f}")
            decided = data.decided.at(row, frame)
            for what, ends in (("this bout", span), ("the predicted bout", decided)):
                if ends is None:
                    continue
                part_of = slice(*ends)
                values = prediction.probability[part_of, column][prediction.covered[part_of]]
                mean = float(np.mean(values)) if len(values) else math.nan
                where = f" ({_range(feed, *ends)})" if ends is decided else ""
                lines.append(f"  mean {mean:.2f} in {what}{where}")
    return lines


def _time(feed: TimelineFeed, frame: int) -> float:
    recording = feed.session.recording
    return 0.0 if recording is None else float(recording.frame_times[frame])
