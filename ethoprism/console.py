"""What the command line prints: progress with the time left, tables, remarks."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Table

from ethoprism.progress import Progress
from ethoprism.safety import printable

Result = TypeVar("Result")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
_LINE_EVERY_S = 10.0


def follow(task: Generator[Progress, None, Result] | Iterator[Progress], title: str) -> Result:
    """Run a task to its end and return its result, showing how far it is and how long it takes.

    On a terminal a bar is drawn on the error stream; elsewhere a line is written every ten seconds,
    so that a log stays readable. An interruption closes the task, which keeps what is finished.
    """
    try:
        if err.is_terminal:
            return _with_bar(task, title)
        return _with_lines(task, title)
    finally:
        close = getattr(task, "close", None)
        if close is not None:
            close()


def _with_bar(task: Generator[Progress, None, Result] | Iterator[Progress], title: str) -> Result:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=err) as bar:
        line = bar.add_task(title, note="")
        before = Progress(0, 0)
        for progress, result in _steps(task):
            if progress is None:
                return result
            if progress.done < before.done or progress.total != before.total:
                bar.reset(line)  # the next recording: its own rate, its own time left
            before = progress
            bar.update(
                line, completed=progress.done, total=progress.total, note=escape(progress.note)
            )
    raise RuntimeError("a task ended without a result")


def _with_lines(task: Generator[Progress, None, Result] | Iterator[Progress], title: str) -> Result:
    began = last = time.monotonic()
    first: Progress | None = None
    for progress, result in _steps(task):
        if progress is None:
            return result
        now = time.monotonic()
        if first is None or progress.done < first.done or progress.total != first.total:
            first, began = progress, now
        if now - last >= _LINE_EVERY_S and progress.done > first.done:
            left = (progress.total - progress.done) * (now - began) / (progress.done - first.done)
            err.print(
                f"{title}: {progress.done} of {progress.total} "
                f"{escape(progress.note)}, about {duration(left)} left"
            )
            last = now
    raise RuntimeError("a task ended without a result")


def _steps(
    task: Generator[Progress, None, Result] | Iterator[Progress],
) -> Iterator[tuple[Progress | None, Any]]:
    """Each progress, and at the end ``(None, result)``."""
    while True:
        try:
            progress = next(task)
        except StopIteration as stop:
            yield None, stop.value
            return
        yield progress, None


def duration(seconds: float) -> str:
    """Seconds as people say them: ``45 s``, ``3 min``, ``2 h 10 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def table(frame: pd.DataFrame, title: str = "") -> None:
    """Print a table; numbers to the right, fractions with two digits, what is missing as a dash."""
    shown = Table(title=escape(title) or None, title_justify="left")
    for column in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[column])
        shown.add_column(escape(str(column)), justify="right" if numeric else "left")
    for row in frame.itertuples(index=False):
        shown.add_row(*(escape(_cell(value)) for value in row))
    out.print(shown)


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else printable(str(value))


def say(text: str) -> None:
    """Print a sentence that may hold brackets and colons of the user's."""
    out.print(escape(printable(text)))


def note(text: str) -> None:
    """Print a remark on the error stream, so that it does not get into piped output."""
    err.print(escape(printable(text)), style="yellow" if err.is_terminal else None)


def notes(sentences: Iterable[str]) -> None:
    """Print remarks, one a line."""
    for sentence in sentences:
        note(f"- {sentence}")


def wrote(path: Path) -> None:
    """Say which file was written."""
    say(f"Wrote {path}")


def interactive() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and err.is_terminal
