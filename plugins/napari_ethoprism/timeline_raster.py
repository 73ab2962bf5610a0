"""The rows of the timeline as a picture, by NumPy; no Qt.

A pixel is 0xffRRGGBB. Each row has a lane, whose tint says whether somebody looked; labelled bouts
in its upper part; below them a prediction as shade, with its decided bouts as a solid line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ethoprism.annotation import SOURCES
from napari_ethoprism.timeline_data import Row, TimelineData
from napari_ethoprism.timeline_model import Columns, Ranges

Colour = tuple[int, int, int]
_MANUAL, _AUTOMATED, _CURATED = (SOURCES.index(s) for s in ("manual", "automated", "curated"))


@dataclass(frozen=True)
class Theme:
    """Colours of the timeline, all derived from the background and the text of the program."""

    background: Colour
    text: Colour
    accent: Colour

    def tint(self, share: float) -> Colour:
        """The background with a share of the text's colour."""
        return mixed(self.background, self.text, share)

    @property
    def lane(self) -> Colour:
        """The ground where somebody looked: lighter than the background in any theme."""
        light = _luminance(self.background) > _luminance(self.text)
        return mixed(self.background, (255, 255, 255), 0.8) if light else self.tint(0.12)

    def shown(self, colour: str) -> Colour:
        """A behaviour's colour, strengthened where it would not stand out from the background."""
        rgb: Colour = (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16))
        for _ in range(4):
            if _contrast(rgb, self.background) >= 1.7:
                break
            rgb = mixed(rgb, self.text, 0.15)
        return rgb


@dataclass(frozen=True)
class Lane:
    """Where a row lies in the picture, in its pixels from the top; it may lie partly outside."""

    row: int
    top: int
    height: int


@dataclass(frozen=True)
class Options:
    """What is drawn of predictions, and how many pixels a thin line is wide."""

    shade: bool = True
    decided: bool = True
    line: int = 1


def mixed(base: Colour, other: Colour, share: float) -> Colour:
    """``base`` with a share of ``other``."""
    r, g, b = (round(x + (y - x) * share) for x, y in zip(base, other, strict=True))
    return r, g, b


def packed(colour: Colour) -> int:
    """A colour as one pixel."""
    return 0xFF000000 | colour[0] << 16 | colour[1] << 8 | colour[2]


def bands(lane: Lane, options: Options, predicted: bool) -> tuple[int, int, int, int]:
    """Tops and bottoms of the bouts and of the prediction, in pixels of the picture.

    ``predicted`` says whether any row has a prediction, so that bouts are of one height everywhere.
    """
    margin = max(1, round(lane.height * 0.1))
    top, bottom = lane.top + margin, lane.top + lane.height - margin - options.line
    predicted = predicted and (options.shade or options.decided)
    if not predicted:
        return top, bottom, bottom, bottom
    middle = top + max(round((bottom - top) * 0.56), 1)
    return top, middle, min(middle + options.line, bottom), bottom


def draw(
    data: TimelineData,
    columns: Columns,
    lanes: Sequence[Lane],
    height: int,
    theme: Theme,
    options: Options,
    predicted: bool | None = None,
) -> np.ndarray:
    """The picture of the rows that ``lanes`` names, uint32 ``[height, columns]``.

    ``predicted`` says whether rows have room for predictions; by default, if there are any.
    """
    width = len(columns.first) - 1
    picture = np.full((height, width), packed(theme.background), np.uint32)
    if not lanes or not width or not height:
        return picture
    rows = np.array([lane.row for lane in lanes])
    lines = _Lines(data, columns, rows, theme, options)
    x = np.arange(width)
    hatch = (x + np.arange(8)[:, None]) % (8 * options.line) < options.line
    stripe = (x + np.arange(6 * options.line)[:, None]) % (6 * options.line) < 3 * options.line
    predicted = bool(data.shaded) if predicted is None else predicted
    for i, lane in enumerate(lanes):
        _paint(picture, lane, i, lines, bands(lane, options, predicted), (hatch, stripe), options)
    return picture


def bout_lines(data: TimelineData, columns: Columns, theme: Theme) -> np.ndarray:
    """Labelled bouts alone, one line a row, uint32 ``[max(rows, 1), columns]``."""
    if not data.rows:
        return np.full((1, len(columns.first) - 1), packed(theme.tint(0.05)), np.uint32)
    none = Ranges.none(data.n_frames)
    labels = replace(data, shaded=(), decided=none, covered=none)
    return _Lines(labels, columns, np.arange(len(data.rows)), theme, Options()).bout


class _Lines:
    """What each row shows in each column, as colours and masks ``[rows, width]``."""

    def __init__(
        self,
        data: TimelineData,
        columns: Columns,
        rows: np.ndarray,
        theme: Theme,
        options: Options,
    ) -> None:
        self._columns, self._rows = columns, rows
        self._several = columns.cell is None
        self._width = len(columns.first) - 1
        self._theme, self._options = theme, options
        colours = np.array([theme.shown(data.rows[r].colour) for r in rows], np.float32)
        self._point = np.array([data.rows[r].kind == "point" for r in rows])
        seen = self._share(data.observed)
        self.unobserved = seen < 128
        self.lane = np.take(_mixtures(theme.tint(0.025), np.array([theme.lane])), seen)
        self.hatch = packed(theme.tint(0.15))
        self.grid = packed(theme.tint(0.06))
        self._label(data, colours)
        self._predict(data, colours)

    def _label(self, data: TimelineData, colours: np.ndarray) -> None:
        """Labelled bouts."""
        table = _mixtures(self._theme.lane, colours)
        present = [self._presence(ranges, self._point) for ranges in data.sources]
        present = present or [np.zeros(self.lane.shape, np.uint8)] * len(SOURCES)
        alpha = np.maximum.reduce(present)
        bout = _pick(table, alpha)
        self._cut(bout, data, table)
        self.labelled = alpha > 0
        self.bout = np.where(self.labelled, bout, self.lane)
        manual = present[_MANUAL] > 0
        self.curated = (present[_CURATED] > 0) & ~manual
        self.automated = (present[_AUTOMATED] > 0) & ~manual & ~self.curated
        self.faint = self.cap = self.bout
        if self.automated.any():
            self.faint = _pick(table, alpha // 3)
        if self.curated.any():
            bright = np.array([self._theme.text], np.float32) * 0.75 + colours * 0.25
            self.cap = _pick(_mixtures(self._theme.lane, bright), alpha)

    def _predict(self, data: TimelineData, colours: np.ndarray) -> None:
        """Probabilities and decided bouts."""
        self.covered = self._share(data.covered) > 0
        self.shade = self.solid = self.lane
        if not self.covered.any():
            return
        ground = mixed(self._theme.lane, self._theme.tint(0.05), 0.75)
        table = _mixtures(ground, colours)
        shade = np.zeros(self.lane.shape, np.uint8)
        if self._options.shade:
            where = {int(row): i for i, row in enumerate(self._rows)}
            for part in data.shaded:
                here = np.array([int(row) in where for row in part.rows], bool)
                if here.any():
                    at = [where[int(row)] for row in part.rows[here]]
                    values = part.shade.values(self._columns, part.behaviours[here])
                    shade[at] = self._columns.spread(values)
        # A probability of one is a little less than a decided bout.
        shade = _pick(table, shade - shade // 5)
        self.shade = np.where(self.covered, shade, self.lane)
        self.solid = self.shade
        if self._options.decided:
            decided = self._presence(data.decided, np.zeros_like(self._point))
            self.solid = np.where(decided > 0, _pick(table, decided), self.shade)

    def _share(self, ranges: Ranges) -> np.ndarray:
        """How much of each column lies in ranges, 0 to 255; never 0 where some frame does."""
        if not len(ranges):
            return np.zeros((len(self._rows), self._width), np.uint8)
        filled = ranges.filled(self._rows, self._columns.edges)
        share = np.ceil(filled * (255.0 / self._columns.lengths).astype(np.float32))
        return self._columns.spread(np.minimum(share, 255).astype(np.uint8))

    def _presence(self, ranges: Ranges, point: np.ndarray) -> np.ndarray:
        """Opacity of each column: the share, but never so low that it would not be seen."""
        share = self._share(ranges)
        if not len(ranges):
            return share
        line = self._options.line
        floor = np.where(point, 255, 100).astype(np.uint16)[:, None]
        alpha = np.where(share > 0, floor + share * (255 - floor) // 255, 0).astype(np.uint8)
        if self._several:
            alpha = _widened(alpha, line - 1)
        if point.any():
            alpha[point] = _widened(alpha[point], 2 * line - 1)
        return alpha

    def _cut(self, bout: np.ndarray, data: TimelineData, table: np.ndarray) -> None:
        """A thin line where one bout follows another without a frame between them."""
        bouts = data.bouts
        if len(bouts) < 2:
            return
        after = (bouts.starts[1:] == bouts.stops[:-1]) & (bouts.rows[1:] == bouts.rows[:-1])
        line = self._options.line
        frames = self._columns.first[-1] - self._columns.first[0]
        wide = (bouts.stops - bouts.starts) * len(self._columns.first) >= 5 * line * frames
        inside = (bouts.starts > self._columns.first[0]) & (bouts.starts < self._columns.first[-1])
        found = np.flatnonzero(after & wide[1:] & inside[1:]) + 1
        where = {int(row): i for i, row in enumerate(self._rows)}
        at = np.array([where.get(int(row), -1) for row in bouts.rows[found]], np.int64)
        found, at = found[at >= 0], at[at >= 0]
        column = self._columns.column_of(bouts.starts[found])
        for shift in range(line):
            here = np.minimum(column + shift, bout.shape[1] - 1)
            bout[at, here] = table[at, 60]


def _paint(
    picture: np.ndarray,
    lane: Lane,
    i: int,
    lines: _Lines,
    edges: tuple[int, int, int, int],
    patterns: tuple[np.ndarray, np.ndarray],
    options: Options,
) -> None:
    """One row into its part of the picture."""
    hatch, stripe = patterns
    height = len(picture)

    def part(top: int, bottom: int) -> tuple[np.ndarray, np.ndarray]:
        top, bottom = min(max(top, 0), height), min(max(bottom, 0), height)
        return picture[top:bottom], np.arange(top, bottom)

    top, middle, lower, bottom = edges
    ground, y = part(lane.top, lane.top + lane.height - options.line)
    ground[:] = lines.lane[i]
    hatched = np.flatnonzero(lines.unobserved[i])
    if len(hatched):
        some = slice(int(hatched[0]), int(hatched[-1]) + 1)
        mask = hatch[y % len(hatch), some]
        if len(hatched) < some.stop - some.start:
            mask = mask & lines.unobserved[i, some]
        np.copyto(ground[:, some], lines.hatch, where=mask)
    part(lane.top + lane.height - options.line, lane.top + lane.height)[0][:] = lines.grid
    if lines.labelled[i].any():
        bout, y = part(top, middle)
        _lay(bout, lines.bout[i], lines.labelled[i], len(hatched) > 0)
        if lines.automated[i].any():
            where = stripe[y % len(stripe)] & lines.automated[i]
            np.copyto(bout, lines.faint[i], where=where)
        if lines.curated[i].any():
            cap = part(top, min(top + max(2 * options.line, (middle - top) // 5), middle))[0]
            np.copyto(cap, lines.cap[i], where=lines.curated[i])
    if lower < bottom and lines.covered[i].any():
        thick = (bottom - lower) if not options.shade else max(2, round((bottom - lower) * 0.45))
        _lay(part(lower, bottom - thick)[0], lines.shade[i], lines.covered[i], len(hatched) > 0)
        _lay(part(bottom - thick, bottom)[0], lines.solid[i], lines.covered[i], len(hatched) > 0)


def _lay(part: np.ndarray, line: np.ndarray, where: np.ndarray, hatched: bool) -> None:
    """Put a line over part of the picture; copying it whole is faster where nothing shows below."""
    if hatched and not where.all():
        np.copyto(part, line, where=where)
    else:
        part[:] = line


def _mixtures(base: Colour, colours: np.ndarray) -> np.ndarray:
    """Pixels of a base mixed with colours in 256 steps, uint32 ``[colours, 256]``."""
    share = (np.arange(256, dtype=np.float32) / 255)[:, None]
    ground = np.array(base, np.float32)
    values = ground + (np.asarray(colours, np.float32)[:, None, :] - ground) * share
    r, g, b = np.moveaxis(np.rint(values).astype(np.uint32), -1, 0)
    return np.uint32(0xFF000000) | r << 16 | g << 8 | b


def _pick(table: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """From the table of each row the pixels of its opacities ``[rows, width]``."""
    first = np.arange(len(table), dtype=np.int32)[:, None] * table.shape[1]
    return np.take(table, first + alpha)


def _widened(alpha: np.ndarray, by: int) -> np.ndarray:
    """Columns that are empty take the value of one up to ``by`` columns to their left."""
    for _ in range(by):
        alpha = np.concatenate(
            [
                alpha[:, :1],
                np.where(alpha[:, 1:] == 0, alpha[:, :-1], alpha[:, 1:]),
            ],
            axis=1,
        )
    return alpha


def _luminance(colour: Colour) -> float:
    r, g, b = ((v / 255) ** 2.2 for v in colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: Colour, other: Colour) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


__all__ = ["Colour", "Lane", "Options", "Row", "Theme", "bands", "draw", "mixed", "packed"]
