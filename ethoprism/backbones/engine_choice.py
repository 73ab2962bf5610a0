"""Which engine computes a backbone: the one that was asked for, or the faster one on this machine.

Engines are timed once for a kind of backbone, precision and machine; the result is kept in a small
JSON file in the user's cache folder. A file that cannot be read is timed and written anew.
"""

from __future__ import annotations

import json
import platform as system
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ethoprism import __version__
from ethoprism.backbones.engine import Engine, JaxEngine, engine_named, installed, usable
from ethoprism.backbones.spec import Backbone
from ethoprism.errors import InputError
from ethoprism.files import write_json
from ethoprism.machine import processor

AUTO = "auto"
MOST_ENTRIES = 200
"""Timings that are kept; the oldest go first."""


@dataclass(frozen=True)
class Choice:
    """A backbone on an engine."""

    backbone: Backbone
    engine: str
    version: str
    seconds: Mapping[str, float]
    """Of a batch of frames and a batch of windows, by engine, where they were timed."""
    timed_now: bool = False

    @property
    def text(self) -> str:
        """What runs, in one sentence."""
        sentence = f"Engine {self.engine} {self.version}, {self.backbone.card.precision}"
        others = [name for name in self.seconds if name != self.engine]
        if others:
            times = self.seconds[others[0]] / self.seconds[self.engine]
            sentence += f" ({times:.1f} times as fast here as {others[0]})"
        return sentence


def on_engine(
    backbone: Backbone,
    name: str = AUTO,
    *,
    frames: int = 4,
    windows: int = 1,
    cache: Path | None = None,
) -> Choice:
    """The backbone on an engine.

    Parameters
    ----------
    backbone
        As it was loaded. One without a method ``with_engine`` computes with JAX only.
    name
        ``jax``, ``openvino``, or ``auto`` for the faster one; on an accelerator that is JAX.
    frames, windows
        Shapes of the encoder's calls, for the trial.
    cache
        File of earlier trials; by default in the user's cache folder.

    Raises
    ------
    InputError
        If the engine is unknown or not installed, or the backbone cannot use it.
    """
    can = hasattr(backbone, "with_engine")
    if name != AUTO:
        engine = engine_named(name)
        if not can and name != "jax":
            raise InputError(
                f"{backbone.card.name} cannot be computed with {name}",
                remedy="Leave --engine out, or choose --engine jax",
            )
        return _choice(backbone, engine, {})
    if not can or _working() == ("jax",):
        return _choice(backbone, JaxEngine(), {})
    path = _cache_path() if cache is None else cache
    key = json.dumps(_kind(backbone, frames, windows), sort_keys=True)
    known = _read(path)
    seconds = known.get(key)
    now = seconds is None
    if seconds is None:
        seconds = _trial(backbone, frames, windows)
        _write(path, {**known, key: seconds})
    choice = _choice(backbone, engine_named(min(seconds, key=seconds.__getitem__)), seconds)
    return replace(choice, timed_now=now)


def known_choice(
    backbone: Backbone, *, frames: int = 4, windows: int = 1, cache: Path | None = None
) -> str | None:
    """The engine that ``auto`` takes if no trial is needed to know it, else None."""
    if not hasattr(backbone, "with_engine") or _working() == ("jax",):
        return "jax"
    path = _cache_path() if cache is None else cache
    seconds = _read(path).get(json.dumps(_kind(backbone, frames, windows), sort_keys=True))
    return None if seconds is None else min(seconds, key=seconds.__getitem__)


def _choice(backbone: Backbone, engine: Engine, seconds: Mapping[str, float]) -> Choice:
    with_engine = getattr(backbone, "with_engine", None)
    moved = backbone if with_engine is None else with_engine(engine)
    return Choice(moved, engine.name, engine.version, seconds)


def _trial(backbone: Any, frames: int, windows: int) -> dict[str, float]:
    """Seconds of a batch of frames and a batch of windows, by engine; the better of two rounds."""
    card = backbone.card
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (frames, card.input_size, card.input_size, 3), dtype=np.uint8)
    padding = np.zeros((windows, card.frames), bool)
    shape = (windows, card.frames, card.grid**2, card.width)
    tokens = rng.standard_normal(shape, dtype=np.float32)
    seconds = {}
    for name in _working():
        on = backbone.with_engine(engine_named(name))
        rounds = []
        try:
            for _ in range(3):  # the first one compiles
                start = time.perf_counter()
                jax.block_until_ready(on.spatial(batch))
                between = time.perf_counter()
                jax.block_until_ready(on.temporal(tokens, padding))
                # So many spatial calls go with a temporal one if windows do not overlap.
                calls = windows * card.frames / frames
                rounds.append(calls * (between - start) + time.perf_counter() - between)
        except Exception:
            if name == "jax":
                raise
            continue  # JAX computes whatever the others cannot, or fail at on this processor
        seconds[name] = min(rounds[1:])
    return seconds


def _kind(backbone: Backbone, frames: int, windows: int) -> dict[str, Any]:
    """All that speed depends on."""
    card = backbone.card
    versions = {name: engine_named(name).version for name in _working()}
    return {
        "backbone": card.name,
        "shape": [card.frames, card.input_size, card.grid, card.width],
        "precision": card.precision,
        "calls": [frames, windows],
        "versions": {**versions, "ethoprism": __version__},
        "machine": [system.machine(), processor(), _cores()],
    }


def _working() -> tuple[str, ...]:
    """Engines that are usable and can be imported: a package may not fit the computer."""

    def works(name: str) -> bool:
        try:
            return bool(engine_named(name).version)
        except Exception:
            return False

    return tuple(name for name in usable() if name == "jax" or works(name))


def _cores() -> int:
    from ethoprism.backbones.openvino_engine import usable_cores

    return usable_cores()


def _cache_path() -> Path:
    import platformdirs

    return platformdirs.user_cache_path("ethoprism") / "engines.json"


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        data = json.loads(path.read_text())
        return {
            str(key): {str(name): float(value) for name, value in seconds.items()}
            for key, seconds in data.items()
            if seconds and all(installed(name) for name in seconds)
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, entries: Mapping[str, Mapping[str, float]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, dict(list(entries.items())[-MOST_ENTRIES:]))
    except OSError:  # a cache that cannot be kept costs a trial next time, nothing else
        return
