"""The section on what follows what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ethoprism.annotation import PRESENT, UNOBSERVED
from ethoprism.metrics.summary import Pairing
from ethoprism.report import matrices, numbers
from ethoprism.report.gather import Findings
from ethoprism.report.markup import Html, h
from ethoprism.report.sections import section

FEW_TRANSITIONS = 10


def order(f: Findings) -> Html:
    """What follows what: matrices, and a graph of people's."""
    if len(f.behaviours) < 2:
        return section("order", "What follows what", h("p", "There is one behaviour only."))
    sources = {
        "people": sum_of(numbers.transitions, [v.states for v in f.views], len(f.behaviours))
    }
    if f.pairings:
        sources = {
            "people": sum_of(
                numbers.transitions,
                [_where_scored(p, p.truth) for p in f.pairings],
                len(f.behaviours),
            ),
            "the probe": sum_of(
                numbers.transitions,
                [_where_scored(p, p.called) for p in f.pairings],
                len(f.behaviours),
            ),
        }
    figures = []
    for name, counts in sources.items():
        totals = counts.sum(axis=1)
        figures.append(
            h(
                "figure",
                h(
                    "figcaption",
                    h("strong", f"By {name}"),
                    ": of 100 bouts of the row, how many are followed by the column",
                ),
                matrices.matrix(
                    numbers.shares(counts),
                    f.behaviours,
                    f.behaviours,
                    f"Transitions by {name}",
                    support=totals.tolist(),
                    faint=(totals < FEW_TRANSITIONS).tolist(),
                ),
            )
        )
    counts = sources["people"]
    present = [
        sum(float(v.seconds[v.states[:, i] == PRESENT].sum()) for v in f.views)
        for i in range(len(f.behaviours))
    ]
    drawn = numbers.shares(counts)
    drawn[counts.sum(axis=1) < FEW_TRANSITIONS] = math.nan
    graph = h(
        "figure",
        h(
            "figcaption",
            h("strong", "By people"),
            ": the wider the arrow, the more often the one follows the other",
        ),
        matrices.graph(
            drawn,
            f.behaviours,
            [f.colour(n) for n in f.behaviours],
            present,
            "Graph of what follows what",
        ),
    )
    return section(
        "order",
        "What follows what",
        h(
            "p",
            "The next bout to begin after a bout, whatever else still lasts, in stretches where "
            "every behaviour was observed. Bouts of the same behaviour may follow one another. "
            f"Rows with fewer than {FEW_TRANSITIONS} transitions are pale and not drawn in the "
            "graph; arrows below 10 % are left out. Discs grow with the time.",
        ),
        h("div", figures, graph, class_="two"),
    )


def _where_scored(p: Pairing, rows: np.ndarray) -> np.ndarray:
    known = (p.truth != UNOBSERVED) & (p.called != UNOBSERVED)
    return np.where(known, rows, UNOBSERVED).astype(np.int8)


def sum_of(
    function: Callable[[np.ndarray], np.ndarray], each: Sequence[np.ndarray], n: int
) -> np.ndarray:
    """The sum of a function's square matrices."""
    return sum((function(rows) for rows in each), np.zeros((n, n), np.int64))
