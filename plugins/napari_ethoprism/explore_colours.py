"""What the points of a map are coloured by, and the legend that goes with it; no Qt."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ethoprism.explore.maps import Map
from ethoprism.explore.picture import NOISE_COLOUR, cluster_colour
from napari_ethoprism.map_model import mixed_colours, ramp_colours

# Viridis (Smith and van der Walt; CC0), at nine places.
VIRIDIS = (
    "#440154", "#472D7B", "#3B528B", "#2C728E", "#21918C", "#28AE80", "#5EC962", "#ADDC30",
    "#FDE725",
)  # fmt: skip
_UNKNOWN = {True: "#3C4048", False: "#D9DADD"}  # on dark and on light
_NOTHING = {True: "#7A7F88", False: "#9A9DA3"}


@dataclass(frozen=True, eq=False)
class Entry:
    """A line of the legend.

    Attributes
    ----------
    name, colour
        What it says, and ``#RRGGBB``.
    members
        Indices of the moments that it stands for, or None where it stands for no set of them.
    number
        Of the cluster, or −1.
    """

    name: str
    colour: str
    members: np.ndarray | None = None
    number: int = -1


@dataclass(frozen=True, eq=False)
class Colouring:
    """Colours of a map's points.

    Attributes
    ----------
    colours
        float32 ``[moments, 3]``, 0 to 1.
    entries
        The legend.
    ramp
        Colours of a scale, from low to high, where there is one; ``ends`` say what they mean.
    """

    colours: np.ndarray
    entries: tuple[Entry, ...] = ()
    ramp: tuple[str, ...] = ()
    ends: tuple[str, str] = ("", "")


def rgb(colour: str) -> np.ndarray:
    """float32 ``[3]`` from 0 to 1, of ``#RRGGBB``."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)


def legible(colour: str, dark: bool) -> str:
    """The colour, made lighter on a dark ground, or darker on a light one, where it would fade."""
    values = rgb(colour)
    luminance = float(values @ np.array([0.2126, 0.7152, 0.0722], np.float32))
    target, part = values, 0.0
    if dark and luminance < 0.3:
        target, part = np.ones(3, np.float32), (0.3 - luminance) / 0.7
    elif not dark and luminance > 0.72:
        target, part = np.zeros(3, np.float32), (luminance - 0.72) / luminance
    mixed = np.clip(values + (target - values) * part, 0, 1)
    return "#" + "".join(f"{round(float(v) * 255):02X}" for v in mixed)


def by_cluster(found: Map, dark: bool) -> Colouring:
    """Colours of the clusters; all alike where there are none."""
    clusters = found.clusters
    if clusters is None:
        return plain(len(found.moments), dark)
    tones = [legible(cluster_colour(c), dark) for c in range(clusters.n)]
    noise = _NOTHING[dark]
    table = np.stack([rgb(c) for c in (*tones, noise)])  # −1 is the last one
    order = np.argsort(clusters.labels, kind="stable")
    edges = np.searchsorted(clusters.labels[order], np.arange(-1, clusters.n + 1))
    members = [order[a:b] for a, b in itertools.pairwise(edges)]
    entries = [
        Entry(f"{c}", tone, m, c)
        for c, (tone, m) in enumerate(zip(tones, members[1:], strict=True))
    ]
    if len(members[0]):
        entries.append(Entry("none", noise, members[0]))
    return Colouring(table[clusters.labels], tuple(entries))


def by_recording(found: Map, dark: bool) -> Colouring:
    """A colour for each recording, or subject of one."""
    m = found.moments
    tones = [legible(cluster_colour(u), dark) for u in range(len(m.units))]
    entries = [
        Entry(unit.name, tones[u], np.arange(m.bounds[u], m.bounds[u + 1]))
        for u, unit in enumerate(m.units)
    ]
    return Colouring(np.stack([rgb(c) for c in tones])[m.unit], tuple(entries))


def by_time(found: Map, dark: bool) -> Colouring:
    """From each recording's first moment to its last."""
    m = found.moments
    first, last = m.bounds[:-1], np.maximum(m.bounds[1:] - 1, m.bounds[:-1])
    last = np.minimum(last, len(m) - 1)
    low, high = m.start[np.minimum(first, len(m) - 1)], m.stop[last]
    part = (m.start - low[m.unit]) / np.maximum(high - low, 1)[m.unit]
    return _on_ramp(part, ("start", "end of recording"), dark)


def by_behaviour(
    share: np.ndarray, names: Sequence[str], tones: Sequence[str], dark: bool, unknown: str
) -> Colouring:
    """Colours of the behaviours that hold in moments; see `mixed_colours`.

    ``share`` is float32 ``[moments, behaviours]``, at least 0.5 where one holds, NaN where it is
    not known; ``unknown`` names that in the legend.
    """
    shown = [legible(tone, dark) for tone in tones]
    palette = np.stack([rgb(c) for c in shown]) if shown else np.empty((0, 3), np.float32)
    colours = mixed_colours(share, palette, rgb(_NOTHING[dark]), rgb(_UNKNOWN[dark]))
    present = np.nan_to_num(share) >= 0.5
    entries = [
        Entry(name, tone, np.flatnonzero(present[:, b]))
        for b, (name, tone) in enumerate(zip(names, shown, strict=True))
    ]
    looked = np.isfinite(share).any(axis=1)
    for name, colour, members in (
        ("none of these", _NOTHING[dark], looked & ~present.any(axis=1)),
        (unknown, _UNKNOWN[dark], ~looked),
    ):
        if members.any():
            entries.append(Entry(name, colour, np.flatnonzero(members)))
    return Colouring(colours, tuple(entries))


def by_confidence(confidence: np.ndarray, dark: bool) -> Colouring:
    """How sure the prediction is, 0 to 1; NaN where there is none."""
    return _on_ramp(confidence, ("unsure", "sure"), dark)


def plain(n: int, dark: bool) -> Colouring:
    """One colour for all."""
    return Colouring(np.tile(rgb(legible(NOISE_COLOUR, dark)), (n, 1)))


def _on_ramp(values: np.ndarray, ends: tuple[str, str], dark: bool) -> Colouring:
    stops = np.stack([rgb(c) for c in VIRIDIS])
    colours = ramp_colours(values, stops, rgb(_UNKNOWN[dark]))
    return Colouring(colours, (), VIRIDIS, ends)
