"""What the animals of a short clip do: a script for one or two, and the sentence that says it.

A script is drawn, its movement computed in closed form or by small steps, and the caption is made
of what was drawn and holds over the whole clip. Lengths are body lengths, times seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

SOLO = ("rest", "walk", "run", "groom", "turn", "look", "start", "stop")
WINGED = ("extend", "flick", "walk and extend")
PAIR = (
    *("chase", "chase", "follow", "approach", "sniff", "beside", "part", "circle", "pass"),
    *("beside groom",),
)
WINGED_PAIR = ("court", "court", "chase and extend", "circle and extend", "beside extend")

SOLO_WORDS = {
    "rest": "rests",
    "walk": "walks",
    "run": "runs",
    "groom": "grooms",
    "turn": "turns on the spot",
    "look": "looks about",
    "start": "starts to run",
    "stop": "runs and stops",
    "extend": "extends one wing",
    "flick": "opens both wings",
    "walk and extend": "walks with one wing extended",
}
PAIR_WORDS = {
    "chase": "{a} chases {b}",
    "follow": "{a} walks behind {b}",
    "approach": "{a} approaches {b}, which stays",
    "sniff": "{a} touches {b} with its head",
    "beside": "{a} and {b} rest side by side",
    "beside groom": "{a} grooms beside {b}",
    "part": "{a} runs away from {b}",
    "circle": "{a} walks around {b}",
    "pass": "{a} walks past {b}",
    "court": "{a} stands close to {b} and extends one wing",
    "chase and extend": "{a} chases {b} with one wing extended",
    "circle and extend": "{a} walks around {b} with one wing extended",
    "beside extend": "{a} extends one wing far from {b}",
}
_STEP = 0.004


@dataclass
class Movement:
    """One animal's movement at the times of the frames; arrays ``(frames,)``."""

    x: np.ndarray
    y: np.ndarray
    heading: np.ndarray
    speed: np.ndarray
    gaze: np.ndarray = field(default_factory=lambda: np.zeros(0))
    left: np.ndarray = field(default_factory=lambda: np.zeros(0))
    right: np.ndarray = field(default_factory=lambda: np.zeros(0))
    groom: np.ndarray = field(default_factory=lambda: np.zeros(0))
    phase: np.ndarray = field(default_factory=lambda: np.zeros(0))
    bend: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gait: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def completed(self, rng: np.random.Generator, times: np.ndarray) -> Movement:
        """This, with what was not set filled in: zeros, and phases that go with time and speed."""
        n = len(times)
        for name in ("gaze", "left", "right", "groom", "bend"):
            if not len(getattr(self, name)):
                setattr(self, name, np.zeros(n))
        self.gaze = self.gaze + 0.05 * np.sin(rng.uniform(4, 12) * times + rng.uniform(0, 6))
        self.phase = 2 * np.pi * rng.uniform(3, 7) * times + rng.uniform(0, 6.3)
        gone = np.concatenate(
            [[0.0], np.cumsum(np.diff(times) * (self.speed[1:] + self.speed[:-1]) / 2)]
        )
        self.gait = 2 * np.pi * gone * rng.uniform(1.5, 3.0) + rng.uniform(0, 6.3)
        return self


def solo(rng: np.random.Generator, script: str, times: np.ndarray) -> Movement:
    """One animal around the origin that does what ``script`` (of `SOLO` or `WINGED`) says."""
    span = times[-1]
    fast = float(np.exp(rng.uniform(np.log(2.0), np.log(9.0))))
    slow = float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
    on = np.clip((times / max(span, 1e-6) - rng.uniform(0.2, 0.5)) / 0.25, 0, 1)
    speed = {
        "walk": slow + 0 * times,
        "run": fast + 0 * times,
        "walk and extend": slow + 0 * times,
        "start": fast * on,
        "stop": fast * (1 - on),
    }.get(script, 0.0 * times)
    turning = rng.normal(0, 1.0) * (speed.max() > 0) + 0.0 * times
    if script == "turn":
        turning = turning + rng.choice([-1, 1]) * rng.uniform(1.5, 6.0)
    moved = _walked(speed, turning, times, rng.uniform(-np.pi, np.pi))
    if script == "groom":
        moved.groom = np.ones(len(times))
    if script == "look":
        moved.gaze = rng.uniform(0.4, 0.9) * np.sin(rng.uniform(3, 9) * times + rng.uniform(0, 6))
    if script in ("extend", "walk and extend"):
        _extend(rng, moved, times)
    if script == "flick":
        opened = rng.uniform(0.3, 1.0) * (
            0.5 + 0.5 * np.sin(rng.uniform(5, 40) * times + rng.uniform(0, 6))
        )
        moved.left, moved.right = opened, opened.copy()
    return moved.completed(rng, times)


def pair(
    rng: np.random.Generator, script: str, times: np.ndarray, ratio: float = 1.0
) -> tuple[Movement, Movement]:
    """Two animals around the origin; the first does what ``script`` says to the second.

    ``ratio`` is the second's length over the first's.
    """
    near = 0.5 + 0.5 * ratio
    base = script.replace(" and extend", "")
    if base in ("chase", "follow"):
        one, two = _chase(rng, times, fast=base == "chase", gap=near + rng.uniform(0.05, 1.2))
    elif base == "circle":
        one, two = _circle(rng, times, near + rng.uniform(-0.1, 0.8))
    elif base in ("approach", "part", "pass"):
        one, two = _straight(rng, times, base, near)
    else:
        one, two = _still(rng, times, base, near)
    if "extend" in script or script == "court":
        _extend(rng, one, times)
    if script == "beside groom":
        one.groom = np.ones(len(times))
    return one.completed(rng, times), two.completed(rng, times)


def _walked(speed: np.ndarray, turning: np.ndarray, times: np.ndarray, heading: float) -> Movement:
    """A way along a heading that turns: arrays at ``times``, the middle time at the origin."""
    dt = np.diff(times, prepend=times[0])
    course = heading + np.cumsum(turning * dt)
    mean = course - 0.5 * turning * dt
    x, y = np.cumsum(speed * np.cos(mean) * dt), np.cumsum(speed * np.sin(mean) * dt)
    half = len(times) // 2
    bend = np.clip(0.12 * turning, -0.8, 0.8)
    return Movement(x - x[half], y - y[half], course, np.abs(speed), bend=bend)


def _extend(rng: np.random.Generator, moved: Movement, times: np.ndarray) -> None:
    """Open one wing to 35 to 90 degrees and let it hum."""
    opened = rng.uniform(0.4, 1.05)
    hum = 0.08 * np.sin(2 * np.pi * rng.uniform(5, 200) * times)
    wing = np.clip(opened + hum, 0.0, 1.3)
    if rng.random() < 0.5:
        moved.left = wing
    else:
        moved.right = wing


def _chase(
    rng: np.random.Generator, times: np.ndarray, fast: bool, gap: float
) -> tuple[Movement, Movement]:
    """The second leads; the first follows its way ``gap`` behind."""
    speed = float(rng.uniform(2.0, 9.0) if fast else rng.uniform(0.6, 2.0))
    before = gap / speed
    fine = np.arange(-before - 0.05, times[-1] + 2 * _STEP, _STEP)
    noise = np.cumsum(rng.normal(0, 1, len(fine))) * 2.5 * np.sqrt(_STEP)
    turning = np.clip(noise, -4, 4)
    way = _walked(speed + 0 * fine, turning, fine, rng.uniform(-np.pi, np.pi))

    def at(moments: np.ndarray) -> Movement:
        x, y, heading, bend = (
            np.interp(moments, fine, v) for v in (way.x, way.y, way.heading, way.bend)
        )
        return Movement(x, y, heading, np.full(len(moments), speed), bend=bend)

    two, one = at(times), at(times - before)
    aside = rng.normal(0, 0.1)
    one.x, one.y = one.x - aside * np.sin(one.heading), one.y + aside * np.cos(one.heading)
    return _centred(one, two)


def _circle(
    rng: np.random.Generator, times: np.ndarray, radius: float
) -> tuple[Movement, Movement]:
    rate = rng.choice([-1, 1]) * rng.uniform(0.8, 4.0)
    around = rng.uniform(-np.pi, np.pi) + rate * times
    two = _walked(0 * times, rng.normal(0, 0.3) + 0 * times, times, rng.uniform(-np.pi, np.pi))
    facing = around + np.pi + rng.normal(0, 0.25)
    x, y = radius * np.cos(around), radius * np.sin(around)
    return Movement(x, y, facing, np.full(len(times), abs(rate) * radius)), two


def _straight(
    rng: np.random.Generator, times: np.ndarray, script: str, near: float
) -> tuple[Movement, Movement]:
    two = _walked(0 * times, 0 * times, times, rng.uniform(-np.pi, np.pi))
    heading = rng.uniform(-np.pi, np.pi)
    speed = float(np.exp(rng.uniform(np.log(0.8), np.log(5.0))))
    if script == "part":
        speed = float(rng.uniform(2.5, 9.0))
    way = speed * times
    if script == "approach":
        left = rng.uniform(near + 0.1, near + 1.5)
        along = np.minimum(-left + (way - way[-1]), -near)
    elif script == "part":
        along = near + rng.uniform(0, 0.6) + way
    else:
        along = way - way[-1] * rng.uniform(0.2, 0.8)
    aside = (
        rng.choice([-1, 1]) * rng.uniform(near, near + 1.2)
        if script == "pass"
        else rng.normal(0, 0.1)
    )
    x = along * np.cos(heading) - aside * np.sin(heading)
    y = along * np.sin(heading) + aside * np.cos(heading)
    one = Movement(x, y, np.full(len(times), heading), np.abs(np.gradient(along, times)))
    return _centred(one, two)


def _still(
    rng: np.random.Generator, times: np.ndarray, script: str, near: float
) -> tuple[Movement, Movement]:
    two = _walked(0 * times, 0 * times, times, rng.uniform(-np.pi, np.pi))
    around = rng.uniform(-np.pi, np.pi)
    far = {"sniff": near * rng.uniform(0.75, 0.95), "court": near * rng.uniform(0.8, 1.5)}
    reach = far.get(script, near * rng.uniform(0.7, 1.3))
    if script == "beside extend":
        reach = near * rng.uniform(2.0, 3.5)
    facing = around + np.pi + rng.normal(0, 0.2)
    if script.startswith("beside"):
        facing = rng.uniform(-np.pi, np.pi)
    drift = 0.03 * np.sin(rng.uniform(2, 9) * times)
    one = Movement(
        (reach + drift) * np.cos(around),
        (reach + drift) * np.sin(around),
        np.full(len(times), facing),
        np.zeros(len(times)),
    )
    if script == "sniff":
        one.gaze = 0.4 * np.sin(rng.uniform(4, 14) * times + rng.uniform(0, 6))
    return _centred(one, two)


def _centred(one: Movement, two: Movement) -> tuple[Movement, Movement]:
    """Both moved so that the middle between them is at the origin in the middle frame."""
    half = len(one.x) // 2
    x, y = (one.x[half] + two.x[half]) / 2, (one.y[half] + two.y[half]) / 2
    for body in (one, two):
        body.x, body.y = body.x - x, body.y - y
    return one, two
