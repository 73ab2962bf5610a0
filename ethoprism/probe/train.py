"""Training of a probe on cached tokens: seconds, seeded, stopped on held-out data."""

from __future__ import annotations

import platform as python_platform
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx

from ethoprism.annotation import ABSENT, PRESENT, UNOBSERVED
from ethoprism.errors import LabelError
from ethoprism.ethogram import Ethogram
from ethoprism.evaluate import Part, Segment
from ethoprism.probe.batches import LabelledTokens, Samples, load_samples
from ethoprism.probe.calibration import fit_calibration
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.decisions import Timeline, in_frames, learn_decision, part_metrics
from ethoprism.probe.ensemble import Member, joined_parameters
from ethoprism.probe.familiarity import Familiarity, average_tokens
from ethoprism.probe.fitting import Schedule, Task, fit, row_logits
from ethoprism.probe.losses import Groups
from ethoprism.probe.model import (
    ProbeNetwork,
    ProbeShape,
    default_context,
    fitting_context,
    group_columns,
)
from ethoprism.progress import Progress

__all__ = ["DEFAULT_HEAD", "Schedule", "train", "versions"]
DEFAULT_HEAD = "temporal"
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)
class _Trained:
    """A member with what it was held back from, and what it said of that."""

    member: Member
    kept: dict[str, float]
    log: list[dict[str, Any]]
    held_out: list[Timeline]
    train: list[Timeline]
    seen: dict[str, list[np.ndarray]]


def train(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    ethogram: Ethogram,
    behaviours: Sequence[str],
    *,
    name: str,
    subject: str = "",
    head: str = DEFAULT_HEAD,
    context: int | None = None,
    motion: bool = True,
    members: Sequence[Sequence[Segment]] = (),
    schedule: Schedule | None = None,
    seed: int = 0,
) -> Generator[Progress, None, Probe]:
    """Train a probe; the generator's result is the `Probe`, with its metrics.

    The training part teaches; the validation part stops the training, calibrates the probabilities
    and sets thresholds and lengths; the test part is looked at once, for the metrics.

    Parameters
    ----------
    data
        Recordings with complete tokens of one key, and the states of their rows.
    segments
        The split, from `ethoprism.evaluate` or `ethoprism.splits`.
    ethogram, behaviours
        The ethogram, and the columns of the states.
    name, subject
        Go to the card.
    head
        One of `ethoprism.probe.heads.HEADS`.
    context
        Rows on either side of a frame that are looked at; by default half a window, or 15 for the
        temporal head.
    motion
        See `ethoprism.probe.model.ProbeShape`.
    members
        Splits with the same test part as ``segments``, one for each network of an ensemble.
        Thresholds are then set on what each network says of its own validation part.
    schedule
        How long and how fast, and the loss.
    seed
        Of parameters, batches and whatever else is drawn. The same seed on the same machine gives
        the same probe.

    Raises
    ------
    LabelError
        If a behaviour is never present or never absent in the training part.
    """
    probe, _ = yield from train_and_test(
        data,
        segments,
        ethogram,
        behaviours,
        name=name,
        subject=subject,
        head=head,
        context=context,
        motion=motion,
        members=members,
        schedule=schedule,
        seed=seed,
    )
    return probe


def train_and_test(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    ethogram: Ethogram,
    behaviours: Sequence[str],
    *,
    name: str,
    subject: str = "",
    head: str = DEFAULT_HEAD,
    context: int | None = None,
    motion: bool = True,
    members: Sequence[Sequence[Segment]] = (),
    schedule: Schedule | None = None,
    seed: int = 0,
    intervals: bool = True,
) -> Generator[Progress, None, tuple[Probe, list[Timeline]]]:
    """As `train`; the result is the probe and what it says of the test part.

    ``intervals`` says whether its metrics are to have any.
    """
    schedule = schedule or Schedule()
    key = data[0].store.key
    context = default_context(head, key.length) if context is None else context
    splits = [list(split) for split in members] or [list(segments)]
    shape = ProbeShape(
        key.width, len(behaviours), fitting_context(head, context), motion, head, len(splits)
    )
    groups = group_columns(behaviours, ethogram.exclusive)
    trained = []
    for index, split in enumerate(splits):
        steps = _train_member(data, split, shape, behaviours, groups, schedule, seed + index)
        trained.append((yield from numbered(steps, index, len(splits))))
    held_out = merged([t for member in trained for t in member.held_out])
    decision = learn_decision(held_out, behaviours, ethogram.exclusive)  # in rows
    test = _test_timelines(data, splits[0], shape, [t.member for t in trained], groups)
    parts = {"train": trained[0].train, "validation": held_out, "test": test}
    scored = {
        part: part_metrics(items, behaviours, decision, intervals=intervals and part != "train")
        for part, items in parts.items()
    }
    seen = {name: rows for member in trained for name, rows in member.seen.items()}
    familiarity = Familiarity.learn(seen)
    parameters = {**joined_parameters([t.member for t in trained]), **familiarity.parameters()}
    probe = Probe(
        name=name,
        behaviours=tuple(behaviours),
        ethogram=ethogram,
        subject=subject,
        key=key,
        shape=shape,
        decision=in_frames(decision, key.step),
        parameters=parameters,
        training={
            "seed": seed,
            "head": head,
            "schedule": asdict(schedule),
            "log": trained[0].log,
            "logs": [member.log for member in trained],
            "segments": [asdict(segment) for segment in _stated(segments, splits)],
            "recordings": list(dict.fromkeys(item.recording for item in data)),
            "metrics_by_subject": _by_subject(parts, behaviours, decision),
            "overall": {part: overall for part, (_, overall) in scored.items()},
            "share_of_rows_in_memory": trained[0].kept,
            "parameters": int(sum(p.size for p in parameters.values())),
            "familiarity": familiarity.to_dict(),
            "held_out": "members" if members else "validation",
            "versions": versions(),
        },
        metrics={part: metrics for part, (metrics, _) in scored.items()},
        held_out=tuple(held_out),
    )
    return probe, test


def numbered(
    steps: Generator[Progress, None, _Result], index: int, n: int, what: str = "network"
) -> Generator[Progress, None, _Result]:
    """Progress of one training of several, counted over all of them."""
    while True:
        try:
            step = next(steps)
        except StopIteration as stop:
            return stop.value
        note = step.note if n == 1 else f"{what} {index + 1} of {n}, {step.note}"
        yield replace(step, done=index * step.total + step.done, total=n * step.total, note=note)


def _train_member(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    shape: ProbeShape,
    behaviours: Sequence[str],
    groups: Groups,
    schedule: Schedule,
    seed: int,
) -> Generator[Progress, None, _Trained]:
    yield Progress(0, schedule.steps, "reading tokens")
    parts: tuple[Part, ...] = ("train", "validation")
    train, validation = (load_samples(data, segments, part, shape, seed=seed) for part in parts)
    _require_cases(train, behaviours)
    network = ProbeNetwork(shape, rngs=nnx.Rngs(seed))
    task = Task(train, validation, tuple(behaviours), groups, schedule, seed)
    log = yield from fit(network, task)
    logits = row_logits(network, validation)
    rows = validation.centres
    calibration = fit_calibration(logits[rows], validation.states[rows], groups)
    member = Member(network, calibration)
    return _Trained(
        member,
        {"train": train.kept, "validation": validation.kept},
        log,
        _timelines(data, validation, calibration.probability(logits, groups)),
        _timelines(data, train, calibration.probability(row_logits(network, train), groups)),
        _averages(data, train, shape.width),
    )


def _timelines(
    data: Sequence[LabelledTokens], samples: Samples, probability: np.ndarray
) -> list[Timeline]:
    """Rows in memory back at their places in the recordings."""
    found: dict[int, Timeline] = {}
    for place in samples.places:
        item = data[place.item]
        if place.item not in found:
            n, columns = item.states.shape
            found[place.item] = Timeline(
                item.recording,
                item.subject,
                np.zeros((n, columns), np.float32),
                np.zeros(n, dtype=bool),
                np.full((n, columns), UNOBSERVED, np.int8),
            )
        there = slice(place.start, place.stop)
        here = slice(place.position, place.position + place.stop - place.start)
        into, states = found[place.item], samples.states[here]
        into.probability[there] = probability[here]
        into.states[there] = states
        into.covered[there] = (states != UNOBSERVED).any(axis=1)
    return list(found.values())


def merged(timelines: Sequence[Timeline]) -> list[Timeline]:
    """One timeline a recording and subject; no row is covered by two."""
    found: dict[tuple[str, str], Timeline] = {}
    for item in timelines:
        name = (item.recording, item.subject)
        if name not in found:
            found[name] = item
            continue
        old, new = found[name], item.covered
        found[name] = replace(
            old,
            probability=np.where(new[:, None], item.probability, old.probability),
            covered=old.covered | new,
            states=np.where(new[:, None], item.states, old.states),
        )
    return list(found.values())


def _averages(
    data: Sequence[LabelledTokens], samples: Samples, width: int
) -> dict[str, list[np.ndarray]]:
    """Average tokens of each recording's valid training rows."""
    found: dict[str, list[np.ndarray]] = {}
    for place in samples.places:
        here = slice(place.position, place.position + place.stop - place.start)
        rows = average_tokens(samples.inputs[here], width)[samples.valid[here]]
        if len(rows):
            found.setdefault(data[place.item].recording, []).append(rows)
    return found


def _test_timelines(
    data: Sequence[LabelledTokens],
    segments: Sequence[Segment],
    shape: ProbeShape,
    members: Sequence[Member],
    groups: Groups,
) -> list[Timeline]:
    if not any(segment.part == "test" for segment in segments):
        return []
    samples = load_samples(data, segments, "test", shape)
    each = [
        member.calibration.probability(row_logits(member.network, samples), groups)
        for member in members
    ]
    return _timelines(data, samples, np.stack(each).mean(axis=0, dtype=np.float32))


def _stated(segments: Sequence[Segment], splits: Sequence[Sequence[Segment]]) -> list[Segment]:
    """The split as the card tells it: of an ensemble, all that is not tested on trained it."""
    if len(splits) == 1:
        return list(splits[0])
    return [s if s.part == "test" else replace(s, part="train") for s in segments]


def _by_subject(
    parts: dict[str, list[Timeline]], behaviours: Sequence[str], decision: Any
) -> dict[str, dict[str, Any]]:
    subjects = dict.fromkeys(t.subject for items in parts.values() for t in items if t.subject)
    return {
        name: {
            part: part_metrics(
                [t for t in items if t.subject == name], behaviours, decision, intervals=False
            )[0]
            for part, items in parts.items()
            if part != "train"
        }
        for name in subjects
    }


def versions() -> dict[str, str]:
    """Versions of what computes, for cards."""
    packages = ("ethoprism", "jax", "flax", "optax", "numpy", "scipy")
    found = {name: version(name) for name in packages}
    return {**found, "python": python_platform.python_version(), "device": jax.default_backend()}


def _require_cases(samples: Samples, behaviours: Sequence[str]) -> None:
    for value, word in ((PRESENT, "present"), (ABSENT, "absent")):
        lacking = [
            name
            for column, name in enumerate(behaviours)
            if not (samples.states[:, column] == value).any()
        ]
        if lacking:
            raise LabelError(
                f"The training part has no frame in which {', '.join(lacking)} is {word}",
                expected="frames of both kinds for every behaviour",
                remedy="Leave it out with --behaviours, or label more. Frames count as absent only "
                "where somebody observed them: mark observed spans, or import bouts with "
                "--observed whole.",
            )
