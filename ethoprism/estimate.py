"""What an extraction would take: time measured on this computer, and bytes on the disk.

Nothing is written. A recording's pace is measured with the machinery that extracts: frames are
decoded, cut and encoded as they would be, for a second or two, and thrown away.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ethoprism import workflow
from ethoprism.crops import OF_REGION
from ethoprism.errors import EthoPrismError
from ethoprism.progress import Progress
from ethoprism.project import Entry, Project
from ethoprism.recording import Recording
from ethoprism.subjects import Unit, place_of, units
from ethoprism.tokens import TokenKey, estimate_bytes

if TYPE_CHECKING:  # these import jax
    from ethoprism.backbones.spec import Backbone
    from ethoprism.crops import Place
    from ethoprism.extract import Batches

LEAST_SECONDS = 1.0
"""A pace is measured for this long, or for the whole recording if that is shorter."""
MOST_KINDS = 4
"""Recordings that are read alike share a pace. More kinds than these are not measured."""


@dataclass(frozen=True)
class UnitEstimate:
    """What is left to extract of a unit.

    Attributes
    ----------
    unit
        The recording, or one subject of it.
    rows, rows_left
        Sampled frames, and those that are not on the disk yet.
    bytes_left
        Of float16 tokens and embeddings, before compression, which saves little.
    seconds
        How long it takes on this computer as it is now.
    """

    unit: Unit
    rows: int
    rows_left: int
    bytes_left: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """What an extraction would take.

    Attributes
    ----------
    key
        Key of the tokens that would be made; its ``label`` says whether the backbone is trained.
    device
        What JAX computes on, as ``cpu`` or ``gpu NVIDIA A100``.
    units
        What is left of each unit.
    skipped
        Recordings that cannot be extracted, and why.
    free_bytes
        Free on the project's disk.
    """

    key: TokenKey
    device: str
    units: tuple[UnitEstimate, ...]
    skipped: tuple[tuple[str, EthoPrismError], ...]
    free_bytes: int

    @property
    def seconds(self) -> float:
        """Time that the whole takes."""
        return sum(unit.seconds for unit in self.units)

    @property
    def bytes_left(self) -> int:
        """Bytes that the whole takes on the disk."""
        return sum(unit.bytes_left for unit in self.units)

    @property
    def rows_left(self) -> int:
        """Sampled frames that are left to encode."""
        return sum(unit.rows_left for unit in self.units)

    @property
    def fits(self) -> bool:
        """Whether the disk holds it."""
        return self.bytes_left <= self.free_bytes


def device_name() -> str:
    """What JAX computes on, in the words of JAX: ``cpu``, or ``gpu`` and its model."""
    import jax

    device = jax.devices()[0]
    return " ".join(dict.fromkeys((device.platform, device.device_kind)))


def estimate_extraction(
    project: Project, backbone: Backbone, recordings: Sequence[str] = ()
) -> Generator[Progress, None, Estimate]:
    """What extracting recordings, all by default, would take; what is done already is left out.

    Recordings that are read by the same reader, are of one size and are cut alike are taken to be
    equally fast; the longest of each such kind is measured. Of more than `MOST_KINDS` kinds, the
    rest is taken to be as fast as the slowest.

    Yields
    ------
    Progress in kinds of recordings.
    """
    key = workflow.project_key(project, backbone)
    names, skipped = recordings or project.recording_ids, []
    found: list[Unit] = []
    for name in names:
        try:
            found += units(project, key.crop, [name])
            project.recording(name)
        except EthoPrismError as error:
            skipped.append((name, error))
            found = [unit for unit in found if unit.recording != name]
    left = {unit: rows_left(project, key, unit) for unit in found}
    kinds = _kinds(project, key, [unit for unit in found if left[unit]])
    paces: dict[tuple[object, ...], float] = {}
    for number, (kind, unit) in enumerate(list(kinds.items())[:MOST_KINDS]):
        yield Progress(number, min(len(kinds), MOST_KINDS), unit.name)
        recording, crop = project.recording(unit.recording), place_of(project, unit, key.crop)
        paces[kind] = pace(recording, backbone, key, crop=crop)
    slowest = min(paces.values(), default=1.0)
    made = []
    for unit in found:
        entry, rows = project.entry(unit.recording), left[unit]
        total = -(-entry.n_frames // key.step)
        of = paces.get(_kind(project, key, unit), slowest)
        whole = estimate_bytes(key, entry.n_frames, backbone.card.embedding_width)
        size = whole * rows // max(total, 1)
        made.append(UnitEstimate(unit, total, rows, size, rows / of))
    free = shutil.disk_usage(project.folder).free
    yield Progress(1, 1)
    return Estimate(key, device_name(), tuple(made), tuple(skipped), free)


def rows_left(project: Project, key: TokenKey, unit: Unit) -> int:
    """Sampled frames of a unit that are not on the disk yet."""
    total = -(-project.entry(unit.recording).n_frames // key.step)
    if not project.tokens_path(key.digest, unit.name).exists():
        return total
    store = workflow.open_tokens(project, key, unit)
    blocks = [store.block(block) for block in np.flatnonzero(~store.done).tolist()]
    return sum(stop - start for start, stop in blocks)


def pace(
    recording: Recording,
    backbone: Backbone,
    key: TokenKey,
    *,
    crop: Place | None = None,
    batches: Batches | None = None,
    least_seconds: float = LEAST_SECONDS,
) -> float:
    """Sampled frames a second at which a recording is extracted on this computer.

    What is compiled, and what was decoded while it was compiled, does not count.
    """
    from ethoprism.extract import default_batches, trial

    batches = batches or default_batches(backbone.card)
    n_sampled = -(-recording.n_frames // key.step)
    # The decoder runs up to six batches of frames ahead while the encoder is compiled.
    warm = 6 * batches.frames + (batches.windows * key.hop + key.length)
    began, warmed, timed = time.monotonic(), 0, 0
    with closing(trial(recording, backbone, key, n_sampled, crop=crop, batches=batches)) as steps:  # type: ignore[type-var]
        first = next(steps, 0)
        start = time.monotonic()
        for done in steps:
            now = time.monotonic()
            # Where encoding is that slow, what was decoded ahead is no matter.
            if not warmed and (done >= warm or (done > first and now - start > 3.0)):
                began, warmed = now, done
            elif warmed and now - began >= least_seconds:
                return (done - warmed) / (now - began)
            timed = done
    if warmed and timed > warmed and time.monotonic() - began > least_seconds / 2:
        return (timed - warmed) / (time.monotonic() - began)
    began = time.monotonic()  # a short recording; all is compiled now
    done = max(trial(recording, backbone, key, n_sampled, crop=crop, batches=batches), default=1)
    return done / max(time.monotonic() - began, 1e-6)


def _kinds(project: Project, key: TokenKey, found: list[Unit]) -> dict[tuple[object, ...], Unit]:
    """The longest unit of each kind; kinds with the most frames first."""
    frames: dict[tuple[object, ...], int] = {}
    longest: dict[tuple[object, ...], Unit] = {}
    for unit in found:
        kind, n = _kind(project, key, unit), project.entry(unit.recording).n_frames
        frames[kind] = frames.get(kind, 0) + n
        if kind not in longest or n > project.entry(longest[kind].recording).n_frames:
            longest[kind] = unit
    return {kind: longest[kind] for kind in sorted(frames, key=lambda k: -frames[k])}


def _kind(project: Project, key: TokenKey, unit: Unit) -> tuple[object, ...]:
    entry: Entry = project.entry(unit.recording)
    region = entry.region if key.crop in OF_REGION else ""
    suffix = entry.path.rpartition(".")[2].lower()
    return entry.reader, suffix, entry.height, entry.width, region
