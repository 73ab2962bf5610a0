"""What the two animals are up to: a semi-Markov plan for each, and episodes that need both.

Alone, an animal rests, looks about, grooms or walks for a lognormal time each. Between refractory
times one of them approaches the other; contact, flight or a parting follow. What is drawn comes
from shuffled decks rather than independent throws, so that each minute holds some of everything.
The plan is never the truth: labels are read off the movement that comes of it (`arena_labels`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from ethoprism_datasets.arena_motion import Body, Floor, Order, Point, bearing_to, gap, wrap

T = TypeVar("T")

SOLO = ("rest", "rest", "groom", "groom", "walk", "walk", "dash", "look")
"""What an animal does alone. A dash is as fast as a chase, and looking about as still as rest, so
neither speed nor stillness alone tells a behaviour."""

STILL = ("rest", "groom", "rest", "groom", "look")
"""What an animal does that has stopped, or that is about to be approached."""

HOSTS = ("same", "same", "same", "rest", "sniff")
"""What an animal does that is sniffed: goes on as it was, stops and waits, or sniffs back."""

EPISODES = (
    ("contact", "chase"),
    ("contact", "part"),
    ("contact", "reverse"),
    ("startle", "chase"),
    ("contact", "chase"),
    ("startle", "chase"),
)
"""How an approach ends, and what follows: the approached animal is chased or does the chasing, it
starts before it is reached, or they part."""

SECONDS = {
    "rest": (1.8, 0.40, 0.8, 4.5),
    "look": (0.9, 0.35, 0.5, 1.8),
    "groom": (2.0, 0.35, 1.0, 4.5),
    "walk": (1.3, 0.40, 0.7, 3.0),
    "dash": (0.8, 0.25, 0.5, 1.3),
    "contact": (1.4, 0.40, 0.7, 4.0),
    "chase": (1.7, 0.25, 1.2, 3.2),
    "part": (1.0, 0.30, 0.6, 1.8),
    "alone": (1.7, 0.40, 0.8, 4.0),
}
"""Durations: median, spread of the logarithm, shortest and longest, in seconds."""


class Deck(Generic[T]):
    """Cards drawn without replacement and shuffled anew when all are drawn."""

    def __init__(self, cards: Sequence[T], rng: np.random.Generator):
        self._cards = tuple(cards)
        self._rng = rng
        self._left: list[T] = []

    def draw(self) -> T:
        """The next card."""
        if not self._left:
            self._left = [self._cards[i] for i in self._rng.permutation(len(self._cards))]
        return self._left.pop()


@dataclass
class Mind:
    """What one animal is doing until when, and the numbers that go with it."""

    state: str = "rest"
    until: float = 0.0
    goal: Point = (0.0, 0.0)
    speed: float = 0.0
    gaze: float = 0.0
    flank: float = 0.0
    spot: float = 0.0
    """Place along the other's axis that is sniffed or followed."""
    hand: float = 1.0


class Plan:
    """The intentions of both animals, asked for their orders step by step."""

    def __init__(self, bodies: tuple[Body, Body], floor: Floor, rng: np.random.Generator):
        self._bodies = bodies
        self._floor = floor
        self._rng = rng
        self._minds = (Mind(hand=1.0), Mind(hand=-1.0))
        self._solo = (Deck(SOLO, rng), Deck(SOLO, rng))
        self._episodes = Deck(EPISODES, rng)
        self._actors = Deck((0, 1), rng)
        self._still = Deck(STILL, rng)
        self._hosts = Deck(HOSTS, rng)
        self._spots = Deck((-0.4, -0.1, 0.1, 0.45), rng)
        self._phase = "alone"
        self._phase_until = 0.6 + _seconds("alone", self._rng)
        self._actor = 0
        self._episode = EPISODES[0]
        for one in (0, 1):
            self._begin_solo(one, 0.0)

    def orders(self, now: float) -> tuple[Order, Order]:
        """What each animal intends at ``now`` seconds."""
        self._advance(now)
        for one, mind in enumerate(self._minds):
            if now >= mind.until and mind.state in SOLO:
                self._begin_solo(one, now)
        return (self._order(0, now), self._order(1, now))

    # Episodes of both animals

    def _advance(self, now: float) -> None:
        actor, other = self._actor, 1 - self._actor
        if self._phase == "alone" and now >= self._phase_until:
            self._try_approach(now)
        elif self._phase == "approach":
            near = gap(self._bodies[actor], self._bodies[other])
            if self._episode[0] == "startle" and near < 4.5:
                self._begin_chase(actor, other, now)
            elif near < 0.5:
                self._begin_contact(now)
            elif now >= self._phase_until:
                self._end_episode(now)
        elif self._phase == "contact" and now >= self._phase_until:
            if self._episode[1] == "chase":
                self._begin_chase(actor, other, now)
            elif self._episode[1] == "reverse":
                self._begin_chase(other, actor, now)
            else:
                self._part(now)
        elif self._phase == "chase" and now >= self._phase_until:
            self._end_episode(now)

    def _try_approach(self, now: float) -> None:
        actor = self._actors.draw()
        other = 1 - actor
        if gap(self._bodies[actor], self._bodies[other]) < 6.5:
            self._walk_away(actor, now)
            self._phase_until = now + 1.1
            return
        self._actor, self._episode = actor, self._episodes.draw()
        self._phase, self._phase_until = "approach", now + 5.0
        mind = self._minds[actor]
        mind.state, mind.speed = "approach", float(self._rng.uniform(8.0, 13.0))
        mind.spot = self._spots.draw()
        theirs = self._minds[other]
        if theirs.state in ("walk", "dash"):
            self._begin_solo(other, now, self._still.draw())
        theirs.until = now + 6.0

    def _begin_contact(self, now: float) -> None:
        self._phase, self._phase_until = "contact", now + _seconds("contact", self._rng)
        actor, other = self._minds[self._actor], self._minds[1 - self._actor]
        actor.state = "sniff"
        other.until = math.inf
        answer = self._hosts.draw()
        if answer != "same":
            other.state, other.spot = answer, 0.45

    def _begin_chase(self, chaser: int, fleeing: int, now: float) -> None:
        self._phase, self._phase_until = "chase", now + _seconds("chase", self._rng)
        speed = float(self._rng.uniform(19.0, 27.0))
        self._minds[chaser].state, self._minds[chaser].speed = "chase", speed
        self._minds[fleeing].state, self._minds[fleeing].speed = "flee", speed
        self._minds[fleeing].goal = self._refuge(fleeing)

    def _part(self, now: float) -> None:
        self._walk_away(int(self._rng.integers(2)), now)
        self._end_episode(now)

    def _end_episode(self, now: float) -> None:
        self._phase, self._phase_until = "alone", now + _seconds("alone", self._rng)
        for one, mind in enumerate(self._minds):
            if mind.state == "flee":
                mind.state, mind.until, mind.speed = "walk", now + _seconds("part", self._rng), 10.0
            elif mind.state != "walk":
                self._begin_solo(one, now, self._still.draw())

    # Each animal alone

    def _begin_solo(self, one: int, now: float, state: str = "") -> None:
        mind, rng = self._minds[one], self._rng
        previous = mind.state
        mind.state = state or self._solo[one].draw()
        if not state and mind.state == previous and previous in ("rest", "groom"):
            mind.state = "walk"
        mind.until = now + _seconds(mind.state, self._rng)
        mind.gaze = 0.0
        if mind.state == "groom":
            mind.flank = float(rng.choice([0.0, 0.0, -1.0, 1.0]))
        elif mind.state in ("walk", "dash"):
            dash = mind.state == "dash"
            mind.speed = float(rng.uniform(18.0, 25.0) if dash else rng.uniform(5.0, 12.0))
            mind.goal = self._point(one, away=False)

    def _walk_away(self, one: int, now: float) -> None:
        mind = self._minds[one]
        mind.state, mind.until = "walk", now + 0.5 + _seconds("part", self._rng)
        mind.speed, mind.goal = float(self._rng.uniform(8.0, 13.0)), self._point(one, away=True)

    def _point(self, one: int, away: bool) -> Point:
        """Somewhere to walk to; far from the other animal if ``away``."""
        body, other = self._bodies[one], self._bodies[1 - one]

        def merit(x: float, y: float) -> float:
            score = min(14.0, math.hypot(x - body.x, y - body.y))
            return score + (1.5 if away else 0.4) * math.hypot(x - other.x, y - other.y)

        return self._best_of(8 if away else 3, merit)

    def _refuge(self, one: int) -> Point:
        """Where a fleeing animal heads: ahead and away from the other."""
        body, other = self._bodies[one], self._bodies[1 - one]
        danger = bearing_to(body, (other.x, other.y))

        def merit(x: float, y: float) -> float:
            way = bearing_to(body, (x, y))
            score = 1.6 * math.cos(way - body.heading) - math.cos(way - danger)
            return score + 0.08 * min(14.0, math.hypot(x - body.x, y - body.y))

        return self._best_of(10, merit)

    def _best_of(self, tries: int, merit: Callable[[float, float], float]) -> Point:
        """The best of some random points of the floor, rather along the walls."""
        points = []
        for _ in range(tries):
            radius, angle = self._rng.uniform(0.42, 0.88), self._rng.uniform(-math.pi, math.pi)
            x = radius * math.cos(angle) * self._floor.half_width
            points.append((x, radius * math.sin(angle) * self._floor.half_height))
        return max(points, key=lambda point: merit(*point))

    # From states to orders

    def _order(self, one: int, now: float) -> Order:
        mind, body, other = self._minds[one], self._bodies[one], self._bodies[1 - one]
        if mind.state == "groom":
            return Order(groom=1.0, flank=mind.flank, gaze=0.5 * mind.flank)
        if mind.state == "look":
            return Order(gaze=0.75 * math.sin(4.5 * now + one), sniff=0.6)
        if mind.state in ("walk", "dash"):
            return self._walk(one)
        if mind.state == "flee":
            if math.hypot(mind.goal[0] - body.x, mind.goal[1] - body.y) < 7.0:
                mind.goal = self._refuge(one)
            bearing = self._pass_by(one, bearing_to(body, mind.goal))
            return Order(mind.speed, self._steer(one, bearing, 6.0))
        if mind.state == "chase":
            near = gap(body, other)
            speed = max(3.0, min(33.0, mind.speed + 5.0 * (near - 3.2)))
            return Order(speed, self._steer(one, bearing_to(body, other.along(-0.3)), 4.0))
        if mind.state == "approach":
            near = gap(body, other)
            speed = max(2.5, min(mind.speed, 2.5 * near + 1.0))
            return Order(speed, self._steer(one, bearing_to(body, other.along(mind.spot)), 3.0))
        if mind.state == "sniff":
            return self._sniff(one)
        return Order()

    def _walk(self, one: int) -> Order:
        mind, body = self._minds[one], self._bodies[one]
        if math.hypot(mind.goal[0] - body.x, mind.goal[1] - body.y) < 5.0:
            mind.goal = self._point(one, away=False)
        bearing = self._pass_by(one, bearing_to(body, mind.goal))
        return Order(mind.speed, self._steer(one, bearing, 6.0))

    def _pass_by(self, one: int, bearing: float) -> float:
        """``bearing`` turned aside where the other animal is near and in the way."""
        body, other = self._bodies[one], self._bodies[1 - one]
        near = gap(body, other)
        off = wrap(bearing - bearing_to(body, (other.x, other.y)))
        if near > 5.0 or abs(off) > 1.3:
            return bearing
        return bearing + math.copysign(1.3 - abs(off), off) * min(1.0, (5.0 - near) / 3.0)

    def _sniff(self, one: int) -> Order:
        mind, body, other = self._minds[one], self._bodies[one], self._bodies[1 - one]
        if self._rng.random() < 0.008:
            mind.spot = self._spots.draw()
        bearing = bearing_to(body, other.along(mind.spot))
        near = gap(body, other)
        speed = max(0.0, min(4.0, 4.0 * (near - 0.1)))
        off = wrap(bearing - body.heading)
        return Order(speed, bearing, gaze=max(-0.6, min(0.6, 0.8 * off)), sniff=1.0)

    def _steer(self, one: int, bearing: float, reach: float) -> float:
        body = self._bodies[one]
        return self._floor.steer(body.x, body.y, bearing, reach, self._minds[one].hand)


def _seconds(what: str, rng: np.random.Generator) -> float:
    median, spread, shortest, longest = SECONDS[what]
    return min(longest, max(shortest, median * math.exp(spread * rng.standard_normal())))
