"""How the table of recordings puts a recording's state into words; no Qt."""

from __future__ import annotations

from dataclasses import dataclass

from ethoprism.overview import RecordingState

COLUMNS = ("Recording", "Length", "Frames", "Labels", "Tokens", "Predicted")
NOTHING = "–"


@dataclass(frozen=True)
class Cell:
    """What a cell shows: text, the length of its bar from 0 to 1 or None, and what hovers."""

    text: str
    share: float | None = None
    tip: str = ""


def cells(state: RecordingState) -> tuple[Cell, ...]:
    """The cells of a recording's row, in the order of `COLUMNS`."""
    entry = state.entry
    return (
        Cell(entry.id, None, state.problem or f"{entry.path}\n{entry.width}×{entry.height} px"),
        Cell(NOTHING if state.seconds is None else clock(state.seconds), None, _seconds(state)),
        Cell(f"{entry.n_frames:,}"),
        _labels(state),
        _tokens(state),
        Cell(", ".join(state.predictions) or NOTHING, None, _predictions(state)),
    )


def clock(seconds: float) -> str:
    """A duration as on a clock: ``0:20``, ``12:05``, ``1:00:00``; tenths under ten seconds."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def percent(share: float) -> str:
    """A share in words that neither claim too much nor too little: 99.6 % is not 100 %."""
    if share <= 0:
        return "0 %"
    if share >= 1:
        return "100 %"
    return f"{min(max(round(100 * share), 1), 99)} %"


def _seconds(state: RecordingState) -> str:
    frames = f"{state.entry.n_frames:,} frames"
    if state.seconds is None:
        return frames
    return f"{frames}, {state.seconds:.4f} s by their times"


def _labels(state: RecordingState) -> Cell:
    if not state.bouts and not state.observed:
        return Cell(NOTHING, 0.0, "No labels yet")
    tip = f"{state.bouts} bouts; {percent(state.observed_share)} of the frames observed"
    if state.present:
        tip += "\n" + "\n".join(f"{name}: {n:,} frames" for name, n in state.present)
    bouts = "1 bout" if state.bouts == 1 else f"{state.bouts:,} bouts"
    return Cell(bouts, state.observed_share, tip)


def _tokens(state: RecordingState) -> Cell:
    share = state.token_share
    lines = [
        f"{tokens.unit.subject or 'whole recording'}: {percent(tokens.share)}, {tokens.key.label}"
        for tokens in state.tokens
    ]
    if state.other_tokens:
        lines.append(f"and {len(state.other_tokens)} more, made with other settings")
    tip = "\n".join(lines) or "No tokens yet: extract them"
    if not share:
        return Cell("none", 0.0, tip)
    if all(tokens.share >= 1 for tokens in state.tokens):
        several = f" ({len(state.tokens)})" if len(state.tokens) > 1 else ""
        return Cell(f"complete{several}", 1.0, tip)
    return Cell(percent(share), share, tip)


def _predictions(state: RecordingState) -> str:
    return "Probes that predicted this recording" if state.predictions else "No predictions yet"
