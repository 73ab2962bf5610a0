"""The rounds of labelling and training of a project, and whether more of them help."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ethoprism.files import write_json
from ethoprism.project import Project
from ethoprism.safety import read_json
from ethoprism.suggest.unfound import StoppingHint, stopping_hint

if TYPE_CHECKING:  # imports jax
    from ethoprism.probe.checkpoint import Probe

_FILE = "rounds.json"
_MOST_ROUNDS = 1000


def rounds_path(project: Project) -> Path:
    """Where the rounds of a project are noted; it can be deleted."""
    return project.folder / "suggestions" / _FILE


def remember(project: Project, probe: Probe, labelled_s: float) -> None:
    """Note how much was labelled when a probe was trained, and how well it did.

    The score is the mean F1 of the test part; without one, of the validation part. A probe is noted
    once.
    """
    rounds = _rounds(project)
    if any(item["probe"] == probe.digest for item in rounds):
        return
    part = "test" if probe.metrics.get("test") else "validation"
    figures = [row.get("f1") for row in (probe.metrics.get(part) or {}).values()]
    known = [float(value) for value in figures if value is not None and np.isfinite(value)]
    score = float(np.mean(known)) if known else None
    rounds.append(
        {
            "probe": probe.digest,
            "labelled_s": labelled_s,
            "f1": score,
            "held_out": _held_out(probe, part),
        }
    )
    path = rounds_path(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"rounds": rounds[-_MOST_ROUNDS:]})


def hint_for(project: Project) -> StoppingHint:
    """Whether the last rounds brought anything; of those that were scored on the same frames."""
    rounds = _rounds(project)
    alike = [item for item in rounds if item["held_out"] == rounds[-1]["held_out"]]
    return stopping_hint(
        [float(item["labelled_s"]) for item in alike],
        [float("nan") if item["f1"] is None else float(item["f1"]) for item in alike],
    )


def _rounds(project: Project) -> list[dict[str, Any]]:
    """What was noted; nothing where the file is absent or not what is written here."""
    try:
        found = read_json(rounds_path(project))["rounds"]
        return [
            {
                "probe": str(item["probe"]),
                "labelled_s": float(item["labelled_s"]),
                "f1": None if item["f1"] is None else float(item["f1"]),
                "held_out": str(item["held_out"]),
            }
            for item in found
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _held_out(probe: Probe, part: str) -> str:
    """Names what a probe was scored on: figures of other frames cannot be compared."""
    segments = [s for s in probe.training.get("segments", ()) if s["part"] == part]
    text = json.dumps([sorted(probe.behaviours), segments], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
