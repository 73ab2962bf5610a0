"""Find more like this: the moments whose vectors lie nearest to those of a query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, Int64, Num

from ethoprism.errors import InputError
from ethoprism.explore.cluster import median_distance
from ethoprism.explore.moments import Moments

MOST_QUERIES = 64
_CHUNK = 16384


@dataclass(frozen=True)
class Match:
    """A moment that is like the query.

    Attributes
    ----------
    moment
        Its index.
    distance
        Euclidean distance of its vector to the nearest one of the query.
    likeness
        1 − distance / the median distance of two random moments of the map: 1 for moments that are
        the same, 0 for moments no more alike than any two, negative for less. It is not a
        probability that they show the same behaviour.
    """

    moment: int
    distance: float
    likeness: float


def find_similar(
    vectors: Float32[np.ndarray, "moments components"],
    moments: Moments,
    query: Int[np.ndarray, " query"],
    count: int = 24,
    *,
    zone: int = 0,
) -> list[Match]:
    """The moments most like those of a query, the most like first.

    No result lies within ``zone`` frames of the query or of another result of the same recording:
    what is right beside a moment is always like it, and says nothing.

    Parameters
    ----------
    vectors, moments
        Of the map; distances are Euclidean in the space of the vectors.
    query
        Indices of moments. Of more than 64, as many are taken, evenly spaced.
    count
        Results at most.
    zone
        Frames.

    Raises
    ------
    InputError
        If the query is empty.
    """
    query = np.unique(query)
    if not len(query):
        raise InputError(
            "There is no moment to look for",
            remedy="Choose a frame of a recording that the map holds, or select some points.",
        )
    if len(query) > MOST_QUERIES:
        asked = query[np.linspace(0, len(query) - 1, MOST_QUERIES).round().astype(int)]
    else:
        asked = query
    distance = _nearest(vectors, vectors[asked])
    allowed = np.ones(len(vectors), bool)
    recordings = recording_numbers(moments)
    for span in moments.spans(query):
        number = int(recordings[moments.units.index(span.unit)])
        same = recordings[moments.unit] == number
        allowed &= ~(same & near(moments.start, moments.stop, span.start, span.stop, zone))
    usual = median_distance(vectors)
    chosen = apart(
        np.argsort(distance, kind="stable"),
        recordings[moments.unit],
        moments.start,
        moments.stop,
        count,
        zone=float(zone),
        allowed=allowed,
    )
    distances = [(i, float(distance[i])) for i in chosen]
    return [Match(i, d, 1 - d / usual if usual else 1.0) for i, d in distances]


def apart(
    order: Int[np.ndarray, " ranked"],
    recording: Int[np.ndarray, " moments"],
    start: Num[np.ndarray, " moments"],
    stop: Num[np.ndarray, " moments"],
    count: int,
    *,
    zone: float = 0.0,
    allowed: Bool[np.ndarray, " moments"] | None = None,
) -> list[int]:
    """The first moments of a ranking of which none lies within ``zone`` of an earlier one.

    Parameters
    ----------
    order
        Indices of moments, the best first.
    recording
        A number for the recording of each moment; moments of two recordings are never near.
    start, stop
        In any unit of time, half-open.
    count
        Moments at most.
    zone
        In the same unit; 0 for moments that may meet but not overlap.
    allowed
        Which moments may be taken at all.
    """
    free = np.ones(len(start), bool) if allowed is None else allowed.copy()
    chosen: list[int] = []
    for i in order.tolist():
        if len(chosen) == count:
            break
        if free[i]:
            chosen.append(i)
            same = recording == recording[i]
            free &= ~(same & near(start, stop, float(start[i]), float(stop[i]), zone))
    return chosen


def recording_numbers(moments: Moments) -> Int64[np.ndarray, " units"]:
    """A number for the recording of each unit: subjects of one share it."""
    names = list(dict.fromkeys(unit.recording for unit in moments.units))
    return np.array([names.index(unit.recording) for unit in moments.units], np.int64)


def near(
    start: np.ndarray,
    stop: np.ndarray,
    first: float | int,
    last: float | int,
    zone: float | int,
) -> Bool[np.ndarray, " moments"]:
    """Which moments overlap ``first`` to ``last``, or lie less than ``zone`` from it."""
    return (start < last + zone) & (stop > first - zone)


def _nearest(vectors: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Distance of each vector to the nearest of those that are asked for."""
    out = np.empty(len(vectors), np.float64)
    for a in range(0, len(vectors), _CHUNK):
        piece = vectors[a : a + _CHUNK].astype(np.float64)
        best = np.full(len(piece), np.inf)
        for row in asked.astype(np.float64):
            np.minimum(best, np.square(piece - row).sum(axis=1), out=best)
        out[a : a + _CHUNK] = np.sqrt(best)
    return out
