"""Probe: parameters and a card, saved as safetensors and JSON; no pickle.

``probe.safetensors`` holds the parameters, ``card.json`` what they are and where they come from,
``metrics.json`` how well the probe did on each part of its split.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ethoprism.errors import ProjectError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.files import replacing, write_json
from ethoprism.prediction import Decision
from ethoprism.probe.model import ProbeShape
from ethoprism.safety import read_json
from ethoprism.tokens import TokenKey

FORMAT_VERSION = 1
_LARGEST = 2**20  # of any number in a card
_MOST_BYTES = 2**30  # of a probe's parameters; one of the widest backbone has some MiB


@dataclass(frozen=True, eq=False)
class Probe:
    """A trained probe.

    Attributes
    ----------
    name
        Its name in the project.
    behaviours
        Names, in the order of the logits.
    ethogram
        The ethogram that it was trained with.
    subject
        Whose behaviour it predicts; empty for anybody's.
    key
        What the tokens must be made with.
    shape
        What fixes the network.
    decision
        Thresholds and smoothing.
    parameters
        float32 arrays by path in the network.
    training
        Recordings, split, seed, steps, versions and whatever else a reader should know.
    metrics
        Scores by part of the split (see `ethoprism.evaluate.frame_scores`).
    """

    name: str
    behaviours: tuple[str, ...]
    ethogram: Ethogram
    subject: str
    key: TokenKey
    shape: ProbeShape
    decision: Decision
    parameters: Mapping[str, np.ndarray]
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hex digest of the parameters and of all that decides what they predict."""
        hasher = hashlib.sha256()
        for name in sorted(self.parameters):
            array = np.ascontiguousarray(self.parameters[name], dtype="<f4")
            hasher.update(f"{name}{array.shape}".encode())
            hasher.update(array.tobytes())
        meaning = [list(self.behaviours), self.subject, self.key.to_dict(), vars(self.shape)]
        hasher.update(json.dumps(meaning, sort_keys=True).encode())
        return hasher.hexdigest()


def save_probe(probe: Probe, folder: Path) -> None:
    """Write a probe; the card is written last, so a probe without one is not complete."""
    tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in probe.parameters.items()}
    (folder / "card.json").unlink(missing_ok=True)
    with replacing(folder / "probe.safetensors") as path:
        path.write_bytes(save_tensors(tensors))
    write_json(folder / "metrics.json", _finite(probe.metrics))
    write_json(
        folder / "card.json",
        _finite(
            {
                "format_version": FORMAT_VERSION,
                "name": probe.name,
                "backbone": probe.key.label,
                "behaviours": list(probe.behaviours),
                "subject": probe.subject,
                "ethogram": probe.ethogram.to_dict(),
                "decision": vars(probe.decision),
                "shape": vars(probe.shape),
                "token_key": probe.key.to_dict(),
                "digest": probe.digest,
                "training": probe.training,
            }
        ),
    )


def load_probe(folder: Path) -> Probe:
    """The probe in ``folder``; a `ProjectError` if it is absent, damaged or of another format."""
    card_path = folder / "card.json"
    if not card_path.is_file():
        others = [p.parent.name for p in sorted(folder.parent.glob("*/card.json"))]
        raise ProjectError(
            f"There is no probe {folder.name!r}",
            expected=f"one of {', '.join(others)}" if others else "",
            remedy="" if others else "Train one with: ethoprism train PROJECT",
        )
    try:
        card = read_json(card_path)
        version = card["format_version"]
        if version != FORMAT_VERSION:
            raise ProjectError(
                f"The probe {folder.name!r} has a format that this EthoPrism does not know",
                expected=str(FORMAT_VERSION),
                found=str(version),
                remedy="Train it again.",
            )
        decision = dict(card["decision"])
        decision["exclusive"] = tuple(tuple(group) for group in decision["exclusive"])
        metrics = read_json(folder / "metrics.json")
        probe = Probe(
            name=card["name"],
            behaviours=tuple(card["behaviours"]),
            ethogram=Ethogram.from_dict(card["ethogram"]),
            subject=card["subject"],
            key=TokenKey.from_dict(card["token_key"]),
            shape=ProbeShape(**card["shape"]),
            decision=Decision(**decision),
            parameters=_parameters(folder / "probe.safetensors"),
            training=card["training"],
            metrics=metrics,
        )
        _check(probe)
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        SafetensorError,
    ) as error:
        raise ProjectError(
            f"The probe in {folder} cannot be read", found=str(error), remedy="Train it again."
        ) from error
    if probe.digest != card.get("digest"):
        raise ProjectError(
            f"The card of the probe in {folder} is of other parameters",
            expected=str(card.get("digest"))[:16],
            found=probe.digest[:16],
            remedy="Train it again.",
        )
    return probe


def _check(probe: Probe) -> None:
    """A ``ValueError`` or ``TypeError`` where the parts of a card do not belong together."""
    names, shape, decision = probe.behaviours, probe.shape, probe.decision
    texts = (probe.name, probe.subject, *names)
    if not all(isinstance(text, str) for text in texts) or len(set(names)) < len(names):
        raise ValueError("its names are not texts, each of them once")
    for name in names:
        Behaviour(name)  # refuses names that no file can hold
    numbers = (shape.width, shape.behaviours, shape.context)
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in numbers):
        raise ValueError(f"its shape is {shape}")
    if (shape.width, shape.behaviours) != (probe.key.width, len(names)):
        raise ValueError(f"its shape is {shape}, for {len(names)} behaviours")
    if set(decision.thresholds) != set(names) or set(decision.min_bout) != set(names):
        raise ValueError("its thresholds are of other behaviours")
    if not all(float(value) >= 0 for value in decision.thresholds.values()):
        raise ValueError("its thresholds are no probabilities")
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in decision.min_bout.values()):
        raise ValueError("its shortest bouts are no numbers of frames")
    if not isinstance(probe.training, Mapping):
        raise TypeError("what it says of its training is no table")


def _parameters(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a probe, as float32; a ``ValueError`` for what no probe holds."""
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes, and at most {_MOST_BYTES:,} are read")
    tensors = load_tensors(path.read_bytes())
    for name, values in tensors.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"{name!r} does not hold finite float32 numbers")
    return tensors


def _finite(value: Any) -> Any:
    """The value as plain JSON: what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
