"""ReviewQueue: candidate bouts one after the other, and what was decided of each; no Qt."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

RETRAIN_AFTER = 15
"""So many decisions make another training worth its while."""


class Outcome(Enum):
    """What was decided of a candidate."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SKIPPED = "skipped"


DECIDED = (Outcome.ACCEPTED, Outcome.REJECTED)


@dataclass(frozen=True)
class Candidate:
    """A bout that is worth a look.

    Attributes
    ----------
    recording, subject, behaviour, start, stop
        What and where; frames are half-open.
    mean_p
        Mean probability over its frames.
    threshold
        At which the behaviour is called.
    reason
        One of the reasons of `ethoprism.suggest`.
    label
        What people said of its first frame: 1 present, 0 absent, −1 nothing.
    """

    recording: str
    subject: str
    behaviour: str
    start: int
    stop: int
    mean_p: float
    threshold: float
    reason: str
    label: int = -1

    @property
    def explanation(self) -> str:
        """Why it is worth a look, as a sentence."""
        p = f"probability {self.mean_p:.2f}"
        if self.reason.startswith("disagrees"):
            if self.label == 1:
                return f"Labelled, but the probe does not call it ({p})."
            return f"The probe calls it ({p}), but somebody looked and did not see it."
        if self.reason.startswith("uncertain"):
            return f"The probe is not sure: {p}, threshold {self.threshold:.2f}."
        if self.reason.startswith("rare"):
            return f"A behaviour of which few bouts are labelled ({p})."
        return f"{self.reason[:1].upper()}{self.reason[1:]} ({p})."


@dataclass(frozen=True)
class Tally:
    """How far the review has come, among the candidates that the filter lets through."""

    accepted: int
    rejected: int
    skipped: int
    total: int

    @property
    def left(self) -> int:
        """Candidates that nobody has looked at."""
        return self.total - self.accepted - self.rejected - self.skipped


class ReviewQueue:
    """Candidates in order, best first, and where the review stands.

    After a decision it goes to the next open candidate, round to the beginning; `current` is None
    when none is left. `previous` goes back to those that were decided, so that they can be decided
    anew.

    Parameters
    ----------
    candidates
        Best first.
    """

    def __init__(self, candidates: Iterable[Candidate] = ()) -> None:
        self._items: list[Candidate] = list(candidates)
        self._outcomes = [Outcome.OPEN] * len(self._items)
        self._edits: dict[int, int] = {}
        self._behaviours: frozenset[str] = frozenset()
        self._reasons: frozenset[str] = frozenset()
        self._at: int | None = 0 if self._items else None
        self._since_training = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def items(self) -> Sequence[Candidate]:
        """All candidates, with the edges that were adjusted."""
        return tuple(self._items)

    @property
    def current(self) -> Candidate | None:
        """The candidate that is looked at."""
        return None if self._at is None else self._items[self._at]

    @property
    def outcome(self) -> Outcome:
        """What was decided of the current candidate."""
        return Outcome.OPEN if self._at is None else self._outcomes[self._at]

    @property
    def behaviours(self) -> tuple[str, ...]:
        """Behaviours among the candidates, in their order."""
        return tuple(dict.fromkeys(item.behaviour for item in self._items))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Reasons among the candidates, in their order."""
        return tuple(dict.fromkeys(item.reason for item in self._items))

    @property
    def tally(self) -> Tally:
        """Counts among what the filter lets through."""
        found = [self._outcomes[i] for i in self._shown()]
        return Tally(
            accepted=found.count(Outcome.ACCEPTED),
            rejected=found.count(Outcome.REJECTED),
            skipped=found.count(Outcome.SKIPPED),
            total=len(found),
        )

    @property
    def place(self) -> int:
        """Which one of the shown candidates is current, counted from 1; 0 without one."""
        shown = self._shown()
        return shown.index(self._at) + 1 if self._at in shown else 0

    @property
    def wants_training(self) -> bool:
        """Whether enough was decided since the last training."""
        return self._since_training >= RETRAIN_AFTER

    def was_trained(self) -> None:
        """A probe was trained with what was decided so far."""
        self._since_training = 0

    def filter(self, behaviours: Collection[str] = (), reasons: Collection[str] = ()) -> None:
        """Look at some behaviours and reasons only; empty lets all through."""
        self._behaviours, self._reasons = frozenset(behaviours), frozenset(reasons)
        if self._at not in self._shown():
            self._at = self._next_open(-1)

    def adjust(self, *, start: int | None = None, stop: int | None = None) -> bool:
        """Move the current candidate's first frame or end; whether a frame would be left."""
        if self._at is None:
            return False
        item = self._items[self._at]
        moved = replace(
            item,
            start=item.start if start is None else int(start),
            stop=item.stop if stop is None else int(stop),
        )
        if moved.start < 0 or moved.stop <= moved.start:
            return False
        self._items[self._at] = moved
        return True

    def decide(self, outcome: Outcome, edit: int | None = None) -> Candidate | None:
        """Note what was decided of the current candidate, and go on; the next one is returned.

        Parameters
        ----------
        outcome
            Accepted, rejected or skipped.
        edit
            Number of the edit that made it so, if any; see `undone`.
        """
        if self._at is None:
            return None
        if self._outcomes[self._at] not in DECIDED and outcome in DECIDED:
            self._since_training += 1
        self._outcomes[self._at] = outcome
        self._edits.pop(self._at, None)
        if edit is not None:
            self._edits[self._at] = edit
        self._at = self._next_open(self._at)
        return self.current

    def next(self) -> Candidate | None:
        """Go to the candidate behind the current one, decided or not; stays at the last."""
        return self._step(1)

    def previous(self) -> Candidate | None:
        """Go back by one; from the end of the review to the last candidate."""
        return self._step(-1)

    def undone(self, edits: Collection[int]) -> bool:
        """Open again what these edits decided, and look at the first of it; whether any was."""
        found = [i for i, edit in self._edits.items() if edit in edits]
        for i in found:
            del self._edits[i]
            if self._outcomes[i] in DECIDED:
                self._since_training = max(self._since_training - 1, 0)
            self._outcomes[i] = Outcome.OPEN
        seen = [i for i in found if i in self._shown()]
        if seen:
            self._at = min(seen)
        return bool(found)

    @property
    def edits(self) -> frozenset[int]:
        """Numbers of the edits that the review made and that hold, as far as it knows."""
        return frozenset(self._edits.values())

    def _shown(self) -> list[int]:
        return [
            i
            for i, item in enumerate(self._items)
            if (not self._behaviours or item.behaviour in self._behaviours)
            and (not self._reasons or item.reason in self._reasons)
        ]

    def _next_open(self, at: int) -> int | None:
        shown = self._shown()
        order = [i for i in shown if i > at] + [i for i in shown if i <= at]
        return next((i for i in order if self._outcomes[i] is Outcome.OPEN), None)

    def _step(self, by: int) -> Candidate | None:
        shown = self._shown()
        if not shown:
            return None
        if self._at not in shown:
            self._at = shown[-1] if by < 0 else shown[0]
        else:
            place = shown.index(self._at) + by
            self._at = shown[min(max(place, 0), len(shown) - 1)]
        return self.current
