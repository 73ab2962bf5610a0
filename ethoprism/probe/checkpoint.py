"""Probe: parameters and a card, saved as safetensors and JSON; no pickle.

``probe.safetensors`` holds the parameters, ``card.json`` what they are and where they come from,
``metrics.json`` how well the probe did on each part of its split, ``decision.json`` the user's own
thresholds where there are any.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from ethoprism.errors import InputError, ProjectError
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.files import replacing, write_json
from ethoprism.prediction import Decision
from ethoprism.probe.decisions import Timeline
from ethoprism.probe.familiarity import Familiarity
from ethoprism.probe.model import ProbeShape
from ethoprism.safety import read_json
from ethoprism.tokens import TokenKey

FORMAT_VERSION = 1
DECISION = "decision.json"
"""The user's own thresholds and lengths, beside the probe."""
HELD_OUT = "held_out.safetensors"
"""What was said of rows that were not learnt from, and what is known of them."""
_MOST_MEMBERS = 100
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
        Thresholds and smoothing that are in use.
    parameters
        float32 arrays by path in the network.
    training
        Recordings, split, seed, steps, versions and whatever else a reader should know.
    metrics
        Scores by part of the split (see `ethoprism.evaluate.frame_scores`).
    learnt
        The decision that training chose, where ``decision`` is the user's own (see
        `save_decision`); else ``None``.
    held_out
        What was said of labelled rows that had not been learnt from, when it was trained. Saved
        beside the probe; `load_held_out` reads it.
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
    learnt: Decision | None = None
    held_out: tuple[Timeline, ...] = ()

    @property
    def digest(self) -> str:
        """Hex digest of the parameters and of all that decides what they predict."""
        hasher = hashlib.sha256()
        for name in sorted(self.parameters):
            array = np.ascontiguousarray(self.parameters[name], dtype="<f4")
            hasher.update(f"{name}{array.shape}".encode())
            hasher.update(array.tobytes())
        meaning = [list(self.behaviours), self.subject, self.key.to_dict(), self.shape.to_dict()]
        hasher.update(json.dumps(meaning, sort_keys=True).encode())
        return hasher.hexdigest()


def save_probe(probe: Probe, folder: Path) -> None:
    """Write a probe; the card is written last, so a probe without one is not complete."""
    tensors = {k: np.ascontiguousarray(v, np.float32) for k, v in probe.parameters.items()}
    (folder / "card.json").unlink(missing_ok=True)
    (folder / DECISION).unlink(
        missing_ok=True
    )  # thresholds that a user chose were of another probe
    with replacing(folder / "probe.safetensors") as path:
        path.write_bytes(save_tensors(tensors))
    _save_held_out(probe, folder)
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
                "decision": (probe.learnt or probe.decision).to_dict(),
                "shape": probe.shape.to_dict(),
                "token_key": probe.key.to_dict(),
                "digest": probe.digest,
                "training": probe.training,
            }
        ),
    )


def save_decision(folder: Path, decision: Decision) -> None:
    """Put the user's own thresholds and lengths beside the probe in ``folder``.

    `load_probe` takes them from then on. The card keeps the learnt ones; `forget_decision` goes
    back to them.

    Raises
    ------
    ProjectError
        If there is no sound probe.
    InputError
        If the decision is not of the probe's behaviours, or holds what decides nothing.
    """
    probe = load_probe(folder, own=False)
    try:
        decision.require_sound(probe.behaviours)
    except ValueError as error:
        raise InputError(
            f"This decision does not fit the probe {probe.name!r}: {error}",
            expected=f"a threshold and a shortest bout for each of {', '.join(probe.behaviours)}",
        ) from error
    write_json(folder / DECISION, {"probe": probe.digest, "decision": decision.to_dict()})


def forget_decision(folder: Path) -> None:
    """Go back to the learnt thresholds and lengths of the probe in ``folder``."""
    (folder / DECISION).unlink(missing_ok=True)


def load_probe(folder: Path, *, own: bool = True) -> Probe:
    """The probe in ``folder``, with the user's own decision if there is one.

    Parameters
    ----------
    folder
        Of the probe.
    own
        False takes the learnt decision all the same.

    Raises
    ------
    ProjectError
        If it is absent, damaged or of another format, or if the user's decision is.
    """
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
        metrics = read_json(folder / "metrics.json")
        probe = Probe(
            name=card["name"],
            behaviours=tuple(card["behaviours"]),
            ethogram=Ethogram.from_dict(card["ethogram"]),
            subject=card["subject"],
            key=TokenKey.from_dict(card["token_key"]),
            shape=ProbeShape(**card["shape"]),
            decision=Decision.from_dict(card["decision"]),
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
    return _with_own_decision(probe, folder) if own and (folder / DECISION).exists() else probe


def _with_own_decision(probe: Probe, folder: Path) -> Probe:
    """The probe with the decision that the user saved beside it."""
    try:
        stored = read_json(folder / DECISION)
        if stored["probe"] != probe.digest:
            raise ValueError("it is of another probe")
        decision = Decision.from_dict(stored["decision"])
        decision.require_sound(probe.behaviours)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ProjectError(
            f"The thresholds in {folder / DECISION} cannot be used",
            found=str(error),
            remedy="Delete that file to go back to the learnt thresholds, and set yours again.",
        ) from error
    return replace(probe, decision=decision, learnt=probe.decision)


def _save_held_out(probe: Probe, folder: Path) -> None:
    tensors: dict[str, np.ndarray] = {}
    for index, item in enumerate(probe.held_out):
        tensors[f"{index}.probability"] = np.ascontiguousarray(item.probability)
        tensors[f"{index}.covered"] = item.covered.astype(np.uint8)
        tensors[f"{index}.states"] = np.ascontiguousarray(item.states)
    names = json.dumps([[item.recording, item.subject] for item in probe.held_out])
    with replacing(folder / HELD_OUT) as path:
        path.write_bytes(save_tensors(tensors, {"probe": probe.digest, "units": names}))


def load_held_out(folder: Path, probe: Probe) -> tuple[Timeline, ...]:
    """What was said, in training, of labelled rows that had not been learnt from.

    ``probe.training["held_out"]`` says which rows these are: those of the ``validation`` part, or
    of all parts in turn, by networks of the probe (``members``) or by other probes (``folds``).

    Raises
    ------
    ProjectError
        If it is absent, damaged or of another probe.
    """
    path = folder / HELD_OUT
    try:
        return tuple(_held_out(path, probe))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, RecursionError) as error:
        raise ProjectError(
            f"What {probe.name!r} said of held-out frames cannot be read",
            expected=str(path),
            found=str(error),
            remedy="Train it again.",
        ) from error


def _held_out(path: Path, probe: Probe) -> list[Timeline]:
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes, and at most {_MOST_BYTES:,} are read")
    content = path.read_bytes()
    with safe_open(path, "numpy") as file:
        metadata = file.metadata() or {}
    if metadata.get("probe") != probe.digest:
        raise ValueError("it is of another probe")
    tensors, found = load_tensors(content), []
    for index, (recording, subject) in enumerate(json.loads(metadata["units"])):
        p, covered, states = (
            tensors[f"{index}.{name}"] for name in ("probability", "covered", "states")
        )
        shape = (len(covered), len(probe.behaviours))
        sound = (p.shape, states.shape, covered.ndim) == (shape, shape, 1)
        if not sound or (p.dtype, states.dtype) != (np.float32, np.int8):
            raise ValueError("its arrays are not one row a frame and one column a behaviour")
        found.append(Timeline(str(recording), str(subject), p, covered.astype(bool), states))
    return found


def _check(probe: Probe) -> None:
    """A ``ValueError`` or ``TypeError`` where the parts of a card do not belong together."""
    names, shape = probe.behaviours, probe.shape
    texts = (probe.name, probe.subject, *names)
    if not all(isinstance(text, str) for text in texts) or len(set(names)) < len(names):
        raise ValueError("its names are not texts, each of them once")
    for name in names:
        Behaviour(name)  # refuses names that no file can hold
    numbers = (shape.width, shape.behaviours, shape.context, shape.members)
    if not all(type(n) is int and 0 <= n <= _LARGEST for n in numbers):
        raise ValueError(f"its shape is {shape}")
    if not 1 <= shape.members <= _MOST_MEMBERS:
        raise ValueError(f"it has {shape.members} members")
    if (shape.width, shape.behaviours) != (probe.key.width, len(names)):
        raise ValueError(f"its shape is {shape}, for {len(names)} behaviours")
    probe.decision.require_sound(names)
    if not isinstance(probe.training, Mapping):
        raise TypeError("what it says of its training is no table")
    Familiarity.of_probe(probe.parameters, probe.training, probe.key.width)


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
