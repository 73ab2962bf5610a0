"""Search: the moments of a project whose embeddings lie nearest to a text's."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float32

from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.errors import InputError, ProjectError
from ethoprism.explore.moments import Moments
from ethoprism.explore.similar import apart, recording_numbers
from ethoprism.mapping import project_tokens
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import edge_times
from ethoprism.search.prompts import Query, TextEmbedder, reads_text, text_backbones
from ethoprism.subjects import Unit, units
from ethoprism.tokens import TokenKey, TokenStore
from ethoprism.workflow import open_tokens, project_key

Level = Literal["window", "frame"]
_CHUNK = 8192
_ROUNDING_S = 1e-6  # of presentation times


@dataclass(frozen=True)
class SearchPlan:
    """Where to search, and how the result is listed.

    Attributes
    ----------
    level
        ``window``: a moment is a window of the encoder, scored as a whole. ``frame``: a moment is
        one sampled frame, as the encoder sees it within its window.
    count
        Moments at most.
    min_gap_s
        Seconds between two moments of the list in one recording; None for the length of a window.
        0 allows moments that meet, but none that overlap.
    recordings
        All by default.
    subject
        Where crops follow subjects, only this one.
    """

    level: Level = "window"
    count: int = 20
    min_gap_s: float | None = None
    recordings: tuple[str, ...] = ()
    subject: str = ""

    def __post_init__(self) -> None:
        if self.count < 1 or (self.min_gap_s is not None and not self.min_gap_s >= 0):
            raise InputError(
                "The list of moments cannot be made",
                expected="at least 1 moment, and a gap of at least 0 s",
                found=f"{self.count} moments, a gap of {self.min_gap_s} s",
            )


@dataclass(frozen=True, eq=False)
class Found:
    """All scored moments, and which of them are listed.

    Attributes
    ----------
    query, plan, key
        What was looked for, where, and in which tokens.
    moments, scores
        Every moment that was scored, and float32 ``[moments]``; see `Query.direction`.
    start_s, stop_s
        Their times in seconds, float64 ``[moments]``.
    listed
        Indices of the moments of the list, the best first.
    """

    query: Query
    plan: SearchPlan
    key: TokenKey
    moments: Moments
    scores: Float32[np.ndarray, " moments"]
    start_s: np.ndarray
    stop_s: np.ndarray
    listed: tuple[int, ...]

    def table(self) -> pd.DataFrame:
        """The list: rank, recording, subject, start_frame, stop_frame, start_s, stop_s, score."""
        rows = np.array(self.listed, np.int64)
        chosen = [self.moments.units[u] for u in self.moments.unit[rows]]
        return pd.DataFrame(
            {
                "rank": np.arange(1, len(rows) + 1),
                "recording": [unit.recording for unit in chosen],
                "subject": [unit.subject for unit in chosen],
                "start_frame": self.moments.start[rows],
                "stop_frame": self.moments.stop[rows],
                "start_s": self.start_s[rows],
                "stop_s": self.stop_s[rows],
                "score": self.scores[rows].astype(np.float64),
            }
        )


def require_text(project: Project) -> None:
    """Raise a `ProjectError` if the project's backbone knows no text, or has no tokens yet.

    The backbone is not loaded for that.
    """
    name = project.settings.backbone
    known = text_backbones()
    if known and not reads_text(name):
        raise ProjectError(
            f"The project's backbone {name} knows no text",
            expected=f"a video-text backbone: {', '.join(known)}",
            found=name,
            remedy="Set backbone in ethoprism.toml to one of these and run: ethoprism extract "
            "PROJECT",
        )
    project_tokens(project)


def search(
    project: Project,
    backbone: TextEmbedder,
    query: Query,
    plan: SearchPlan,
    tokenizer: Tokenizer | None = None,
) -> Generator[Progress, None, Found]:
    """The moments of a project that are most like a text.

    Ties are broken by recording, then by time, so the list is the same in every run. No two moments
    of it lie within `SearchPlan.min_gap_s` of each other in one recording, whoever their subject.

    Parameters
    ----------
    project
        With tokens of the backbone.
    backbone
        The project's backbone.
    query, plan
        What, and where.
    tokenizer
        In place of the backbone's own.

    Raises
    ------
    ProjectError
        If tokens are absent or incomplete, or have no embeddings.
    """
    key, stores = open_stores(project, backbone, plan.recordings, plan.subject)
    direction = query.direction(backbone, tokenizer)
    parts: list[tuple[np.ndarray, ...]] = []
    total = sum(store.n_rows for _, store in stores)
    done = 0
    for u, (unit, store) in enumerate(stores):
        yield Progress(done, total, unit.name)
        n_frames = project.entry(unit.recording).n_frames
        scores = embedding_scores(store, direction[:, None], plan.level)[:, 0]
        start, stop = bounds(store, plan.level, n_frames)
        known = np.isfinite(scores)
        edges = edge_times(project.frame_times(unit.recording))
        number = np.full(int(known.sum()), u, np.int32)
        start, stop = start[known], stop[known]
        parts.append((number, start, stop, scores[known], edges[start], edges[stop]))
        done += store.n_rows
    yield Progress(total, total)
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    unit_of, start, stop, scores, start_s, stop_s = columns
    if not len(scores):
        raise ProjectError("No frame of these recordings was encoded")
    moments = Moments(tuple(unit for unit, _ in stores), unit_of, start, stop)
    gap = plan.min_gap_s
    if gap is None:
        gap = key.length * key.step * float(np.median((stop_s - start_s) / (stop - start)))
    listed = apart(
        np.argsort(-scores, kind="stable"),
        recording_numbers(moments)[unit_of],
        start_s,
        stop_s,
        plan.count,
        zone=max(0.0, float(gap) - _ROUNDING_S),
    )
    return Found(query, plan, key, moments, scores, start_s, stop_s, tuple(listed))


def open_stores(
    project: Project, backbone: TextEmbedder, recordings: Sequence[str], subject: str
) -> tuple[TokenKey, list[tuple[Unit, TokenStore]]]:
    """The complete token stores with embeddings of recordings, and their key."""
    key = project_key(project, backbone)  # type: ignore[arg-type]  # it is a backbone as well
    stores = [
        (unit, open_tokens(project, key, unit))
        for unit in units(project, key.crop, recordings, subject)
    ]
    for _, store in stores:
        store.require_embeddings()
        store.require_complete()
    return key, stores


def embedding_scores(
    store: TokenStore, directions: Float32[np.ndarray, "features columns"], level: Level
) -> Float32[np.ndarray, "moments columns"]:
    """Products of each window's (or sampled frame's) embedding with some vectors.

    NaN where nothing was encoded.
    """
    windows = level == "window"
    read = store.window_embeddings if windows else store.frame_embeddings
    n = store.grid.n_windows if windows else store.n_rows
    out = np.empty((n, directions.shape[1]), np.float32)
    for a in range(0, n, _CHUNK):
        rows = read(a, min(a + _CHUNK, n)).astype(np.float32)
        out[a : a + _CHUNK] = rows @ directions
        out[a : a + _CHUNK][~rows.any(axis=1)] = np.nan
    return out


def bounds(store: TokenStore, level: Level, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """First frame and the one after the last of each window or sampled frame, int64."""
    step = store.key.step
    if level == "frame":
        start = np.arange(store.n_rows, dtype=np.int64)
        stop = start + 1
    else:
        start = np.arange(store.grid.n_windows, dtype=np.int64) * store.key.hop
        stop = np.minimum(start + store.key.length, store.n_rows)
    return start * step, np.minimum(stop * step, n_frames)
