"""How good a list of moments is, where people labelled what it shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ethoprism.backbones.tokenizer import canonical
from ethoprism.ethogram import Ethogram
from ethoprism.mapping import unit_moment_labels
from ethoprism.project import Project
from ethoprism.search.find import Found
from ethoprism.search.prompts import Query

PRESENT_FROM = 0.5
"""Share of a moment's observed frames from which on it shows a behaviour."""


@dataclass(frozen=True)
class Measured:
    """The shortlist against the labels of one behaviour.

    Attributes
    ----------
    behaviour
        Its name.
    hits, judged
        Listed moments that show it, of those that somebody looked at for it.
    low, high
        Wilson's 95 % interval of the precision; it takes the moments for independent.
    present, labelled
        The same counts of all moments that were scored: their ratio is what a random list would
        give on average.
    """

    behaviour: str
    hits: int
    judged: int
    low: float
    high: float
    present: int
    labelled: int

    @property
    def precision(self) -> float:
        """Hits / judged; NaN if none was judged."""
        return self.hits / self.judged if self.judged else float("nan")

    @property
    def chance(self) -> float:
        """Share of all labelled moments that show the behaviour; NaN if none is labelled."""
        return self.present / self.labelled if self.labelled else float("nan")

    @property
    def sentence(self) -> str:
        """What was measured, in words."""
        if not self.labelled:
            return f"No scored moment is labelled for {self.behaviour!r}: nothing was measured."
        chance = f"of all {self.labelled} labelled moments {self.chance:.2f} do (chance)"
        if not self.judged:
            return f"None of the list is labelled for {self.behaviour!r}; {chance}."
        return (
            f"Labels: {self.hits} of the {self.judged} listed moments that are labelled show "
            f"{self.behaviour!r}, precision@{self.judged} {self.precision:.2f} (95 % interval "
            f"{self.low:.2f} to {self.high:.2f}); {chance}."
        )


def behaviour_of(ethogram: Ethogram, query: Query) -> str:
    """The behaviour whose name or definition a query is, or an empty text."""
    asked = {canonical(text) for text in query.texts}
    for behaviour in ethogram.behaviours:
        spoken = behaviour.name.replace("_", " ")
        if asked & ({canonical(spoken), canonical(behaviour.definition)} - {"."}):
            return behaviour.name
    return ""


def measure(project: Project, found: Found, behaviour: str) -> Measured:
    """The list of moments against the labels of a behaviour.

    A moment shows the behaviour if it is present in half of the moment's observed frames or more.
    Moments in which nobody looked for it are not judged.
    """
    shares = np.concatenate(
        [
            unit_moment_labels(project, found.moments, u, [behaviour])[:, 0]
            for u in range(len(found.moments.units))
        ]
    )
    listed = shares[list(found.listed)]
    hits, judged = _counts(listed)
    present, labelled = _counts(shares)
    low, high = wilson(hits, judged)
    return Measured(behaviour, hits, judged, low, high, present, labelled)


def wilson(hits: int, judged: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share; (0, 1) if nothing was judged."""
    from scipy.stats import binomtest

    if not judged:
        return 0.0, 1.0
    interval = binomtest(hits, judged).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def _counts(shares: np.ndarray) -> tuple[int, int]:
    known = np.isfinite(shares)
    return int((shares[known] >= PRESENT_FROM).sum()), int(known.sum())
