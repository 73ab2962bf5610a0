"""From probabilities to presence: hysteresis, short bouts and gaps, and the likeliest sequence.

Pure functions on arrays. What they are given (thresholds, lengths, transitions) is learnt
elsewhere, on validation data; nothing here looks at labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ethoprism.annotation import runs
from ethoprism.windows import WindowGrid

_PAINTED_AT_ONCE = 2**22
_LEAST = 1e-6
_LARGEST_STEP = 2**20


@dataclass(frozen=True)
class Chain:
    """A hidden Markov model of an exclusive group: none of its members, or one of them.

    Attributes
    ----------
    behaviours
        The members; state 0 is "none of them", state *i* the *i*-th member.
    transition
        Probability of each state (column) one sampled frame after each state (row).
    prior
        Probability of each state at any moment. The probe's probabilities are divided by it, since
        the transitions hold it already.
    step
        Frames from one sampled frame to the next.
    """

    behaviours: tuple[str, ...]
    transition: tuple[tuple[float, ...], ...]
    prior: tuple[float, ...]
    step: int = 1

    def __post_init__(self) -> None:
        n = len(self.behaviours) + 1
        table = np.array(self.transition, np.float64)
        prior = np.array(self.prior, np.float64)
        if n < 3 or len(set(self.behaviours)) < n - 1 or table.shape != (n, n):
            raise ValueError("a chain has a row and a column for each behaviour and for none")
        if prior.shape != (n,) or not (prior > 0).all() or not (table >= 0).all():
            raise ValueError("a chain's probabilities are not positive")
        if not (np.allclose(table.sum(axis=1), 1) and np.isclose(prior.sum(), 1)):
            raise ValueError("a chain's probabilities do not sum to 1")
        if type(self.step) is not int or not 1 <= self.step <= _LARGEST_STEP:
            raise ValueError(f"a chain's step is {self.step}")

    @classmethod
    def learn(
        cls,
        behaviours: Sequence[str],
        sequences: Sequence[Int[np.ndarray, " _"]],
        step: int = 1,
    ) -> Chain:
        """From sequences of known states, 0 for none; one of each transition is added."""
        n = len(behaviours) + 1
        counts, seen = np.ones((n, n)), np.ones(n)
        for states in sequences:
            np.add.at(counts, (states[:-1], states[1:]), 1)
            np.add.at(seen, states, 1)
        table = counts / counts.sum(axis=1, keepdims=True)
        rows = tuple(tuple(float(v) for v in row) for row in table)
        return cls(tuple(behaviours), rows, tuple(float(v) for v in seen / seen.sum()), step)

    def decode(
        self,
        probability: Float[np.ndarray, "frames members"],
        covered: Bool[np.ndarray, " frames"],
        thresholds: Float[np.ndarray, " members"],
    ) -> Int[np.ndarray, " frames"]:
        """The likeliest state of every frame; 0 where a frame is not covered.

        A threshold of 0.5 leaves the odds of a member as they are, a higher one lowers them.
        """
        grid = WindowGrid(len(probability), 1, 1, self.step)
        rows = np.arange(grid.n_sampled) * self.step
        p = probability[rows].astype(np.float64)
        odds = (1 - thresholds) / np.maximum(thresholds, _LEAST)
        none = 1 - p.sum(axis=1, keepdims=True)
        weights = np.concatenate((none, p * odds), axis=1) / np.array(self.prior)
        scores = np.log(np.maximum(weights, _LEAST))
        moves = np.log(np.maximum(np.array(self.transition), 1e-300))
        state = np.zeros(len(rows), np.int64)
        for start, stop in runs(covered[rows]):
            state[start:stop] = viterbi(scores[start:stop], moves, np.log(np.array(self.prior)))
        result = state[grid.sampled_of(np.arange(len(probability)))]
        return np.where(covered, result, 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "behaviours": list(self.behaviours),
            "transition": [list(row) for row in self.transition],
            "prior": list(self.prior),
            "step": self.step,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Chain:
        """The chain that `to_dict` described; a ``ValueError`` if it is none."""
        return cls(
            tuple(map(str, data["behaviours"])),
            tuple(tuple(float(v) for v in row) for row in data["transition"]),
            tuple(float(v) for v in data["prior"]),
            data["step"],
        )


def viterbi(
    scores: Float[np.ndarray, "rows states"],
    moves: Float[np.ndarray, "states states"],
    first: Float[np.ndarray, " states"],
) -> Int[np.ndarray, " rows"]:
    """The sequence of states with the highest sum of scores, moves and the first state's score.

    Equal blocks of rows are worked off side by side, from every state that they may start from, so
    the loop has as many steps as the square root of the rows. The result is exact.

    Source: Viterbi, IEEE Transactions on Information Theory 13, 1967.
    """
    n, k = scores.shape[0] - 1, scores.shape[1]
    total = first + scores[0]  # of the best way to each state at row 0
    if not n:
        return np.array([int(np.argmax(total))])
    length = int(np.ceil(np.sqrt(n)))
    n_blocks = -(-n // length)
    padded = np.zeros((n_blocks * length, k))
    padded[:n] = scores[1:]
    blocks = padded.reshape(n_blocks, length, k)
    real = (np.arange(n_blocks * length) < n).reshape(n_blocks, length)
    # best[block, before, now]: from the state before the block to the state at its row.
    best = np.tile(np.where(np.eye(k, dtype=bool), 0.0, -np.inf), (n_blocks, 1, 1))
    came = np.zeros((length, n_blocks, k, k), np.int16)
    for row in range(length):
        through = best[:, :, :, None] + moves
        source = through.argmax(axis=2)
        ahead = np.take_along_axis(through, source[:, :, None], axis=2)[:, :, 0]
        on = real[:, row, None, None]  # behind the last row nothing moves
        best = np.where(on, ahead + blocks[:, row, None, :], best)
        came[row] = np.where(on, source, np.arange(k))
    entered_from = np.zeros((n_blocks, k), np.int64)
    for block in range(n_blocks):
        ways = total[:, None] + best[block]
        entered_from[block] = ways.argmax(axis=0)
        total = ways.max(axis=0)
    before, after = np.zeros(n_blocks, np.int64), np.zeros(n_blocks, np.int64)
    state = int(np.argmax(total))
    for block in reversed(range(n_blocks)):
        after[block] = state
        state = before[block] = entered_from[block, state]
    path = np.zeros((length, n_blocks), np.int64)
    each, now = np.arange(n_blocks), after
    for row in reversed(range(length)):
        path[row] = now
        now = came[row, each, before, now].astype(np.int64)
    return np.concatenate(([state], path.T.reshape(-1)[:n]))


def hysteresis(
    high: Bool[np.ndarray, "frames columns"],
    low: Bool[np.ndarray, "frames columns"],
    covered: Bool[np.ndarray, " frames"],
) -> Bool[np.ndarray, "frames columns"]:
    """Runs of ``low`` in which ``high`` holds somewhere; ``high`` implies ``low``.

    Frames that are not covered are absent and end a run.
    """
    result = low & covered[:, None]
    starts, stops, columns = runs_by_column(result)
    if not len(starts):
        return result
    rows, cols = np.nonzero(high & covered[:, None])
    order = np.argsort(cols, kind="stable")
    rows, cols = rows[order], cols[order]
    n = len(result) + 1
    # Frames of all columns one after another, so that one search finds those of every run.
    place = cols * n + rows
    hits = np.searchsorted(place, columns * n + stops) - np.searchsorted(
        place, columns * n + starts
    )
    weak = hits == 0
    paint(result, starts[weak], stops[weak], columns[weak], False)
    return result


def smooth(
    present: Bool[np.ndarray, "frames columns"],
    covered: Bool[np.ndarray, " frames"],
    min_bout: Sequence[int],
    min_gap: Sequence[int],
) -> Bool[np.ndarray, "frames columns"]:
    """``present`` without gaps, then without bouts, that are too short.

    Parameters
    ----------
    present, covered
        Frames that are not covered end a bout; nothing is filled across them.
    min_bout, min_gap
        Frames, per column: bouts shorter than the one are dropped, after gaps shorter than the
        other inside a bout were filled. 0 or 1 changes nothing.
    """
    result = present & covered[:, None]
    starts, stops, columns = runs_by_column(result)
    if not len(starts):
        return result
    seen = np.concatenate(([0], np.cumsum(covered)))
    gaps = starts[1:] - stops[:-1]
    short = (columns[1:] == columns[:-1]) & (gaps < np.asarray(min_gap)[columns[1:]])
    # Only the gaps that are short can be filled, and their frames must all be covered.
    short[short] = (seen[starts[1:][short]] - seen[stops[:-1][short]]) == gaps[short]
    paint(result, stops[:-1][short], starts[1:][short], columns[1:][short], True)
    first = np.concatenate(([True], ~short))
    last = np.concatenate((~short, [True]))
    starts, stops, columns = starts[first], stops[last], columns[first]
    drop = stops - starts < np.asarray(min_bout)[columns]
    paint(result, starts[drop], stops[drop], columns[drop], False)
    return result


def runs_by_column(
    mask: Bool[np.ndarray, "frames columns"],
) -> tuple[Int[np.ndarray, " runs"], Int[np.ndarray, " runs"], Int[np.ndarray, " runs"]]:
    """Starts, stops (excluded) and columns of the runs of true, by column and start."""
    n, width = mask.shape
    if not mask.size:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    changed = np.flatnonzero(mask[1:] != mask[:-1])  # rows are kept as they lie in memory
    rows, columns = np.divmod(changed, width)
    opened, left = np.flatnonzero(mask[0]), np.flatnonzero(mask[-1])
    rows = np.concatenate((np.zeros(len(opened), np.int64), rows + 1, np.full(len(left), n)))
    columns = np.concatenate((opened, columns, left))
    order = np.argsort(columns, kind="stable")
    rows, columns = rows[order], columns[order]
    return rows[::2], rows[1::2], columns[::2]


def paint(
    target: np.ndarray,
    starts: Int[np.ndarray, " runs"],
    stops: Int[np.ndarray, " runs"],
    columns: Int[np.ndarray, " runs"],
    value: bool | int,
) -> None:
    """Set ``target`` ``[frames, columns]`` to a value in ranges of its columns, in place."""
    lengths = stops - starts
    parts = np.cumsum(lengths) // _PAINTED_AT_ONCE
    for part in np.unique(parts):
        chosen = np.flatnonzero(parts == part)
        size = lengths[chosen]
        before = np.repeat(np.cumsum(size) - size, size)
        rows = np.repeat(starts[chosen], size) + np.arange(len(before)) - before
        target[rows, np.repeat(columns[chosen], size)] = value
