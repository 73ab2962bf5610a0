"""What ``ethoprism doctor`` looks at: how fast this computer is, and whether a project is sound.

It changes nothing and downloads nothing. `ethoprism.machine` looks at the computer itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from ethoprism import registry, speed, workflow
from ethoprism.batch import find_recordings
from ethoprism.crops import LEAST_PATCHES, OF_REGION, WHOLE, Crop, Region, crop_size, patches_across
from ethoprism.errors import EthoPrismError, InputError, ProjectError
from ethoprism.estimate import MOST_KINDS, Estimate, estimate_extraction
from ethoprism.ethogram import Ethogram
from ethoprism.machine import Finding
from ethoprism.progress import Progress
from ethoprism.project import Entry, Project, Settings
from ethoprism.speed import EncoderSpeed
from ethoprism.subjects import tracks_of, units
from ethoprism.tokens import TokenKey, estimate_bytes
from ethoprism.tracks import Track

if TYPE_CHECKING:  # it imports jax
    from ethoprism.backbones.spec import Backbone, BackboneCard

MOST_UNSEEN = 0.2
"""A larger share of frames in which an animal is not seen is worth a warning."""


@dataclass(frozen=True)
class AnimalSize:
    """How large an animal reaches the encoder.

    Attributes
    ----------
    recording, subject
        Which animal.
    length_px
        Its usual length, the longer side of its box, in pixels of the recording.
    whole, region, crop
        Patches of the encoder that this length spans if whole frames are encoded, or the
        recording's region (NaN if it has none), or a crop that follows the animal.
    """

    recording: str
    subject: str
    length_px: float
    whole: float
    region: float
    crop: float


@dataclass(frozen=True)
class Measured:
    """How fast this computer is, and what extracting the given recordings would take.

    Attributes
    ----------
    backbone
        Its label; an untrained one is called that.
    stand_in
        Whether its weights are not on this computer, so that others of their shape were timed.
    engine
        The fastest one here, which `extract` takes, and which the estimate is for.
    encoders
        Speed of the encoder alone, by engine that is usable here.
    decoding
        Frames a second that are decoded, by recording; one of each kind.
    estimate
        Of the extraction; None where there are no recordings.
    """

    backbone: str
    stand_in: bool
    engine: str
    encoders: dict[str, EncoderSpeed]
    decoding: dict[str, float]
    estimate: Estimate | None


@contextmanager
def unsaved_project(paths: Sequence[Path], settings: Settings) -> Iterator[Project]:
    """A project of recordings for the length of an examination, in a temporary folder.

    Raises
    ------
    InputError
        If there is no recording among the paths, or one cannot be read.
    """
    with TemporaryDirectory(prefix="ethoprism-doctor-") as folder:
        made = Project.create(Path(folder) / "project", settings, Ethogram())
        for path in find_recordings(paths):
            made, _, _ = workflow.add_recording(made, path, accept_damaged=True)
        if not made.entries:
            raise InputError(
                "There is no recording there",
                expected="a project folder, or videos, or folders of videos",
                found=", ".join(str(path) for path in paths),
            )
        yield made


def load_or_stand_in(settings: Settings) -> tuple[Backbone, bool]:
    """The backbone; where its released weights are not here, one of the same shape, and true.

    How long an encoder takes does not depend on its weights, so nobody needs to download a gigabyte
    to be told.
    """
    from ethoprism.backbones.releases import RELEASES, is_here

    if settings.weights or settings.backbone not in RELEASES or is_here(settings.backbone):
        return workflow.load_backbone(settings), False
    from ethoprism.backbones.encoder import BASE, LARGE
    from ethoprism.backbones.lvt import build_video_text_backbone
    from ethoprism.backbones.video_text import LVT_BASE, LVT_LARGE
    from ethoprism.backbones.videoprism import build_backbone

    def constant(layout: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
        for name in sorted(layout):
            yield name, np.full(layout[name], 0.01, np.float32)

    large, name, precision = "large" in settings.backbone, settings.backbone, settings.precision
    if "lvt" in name:
        config = LVT_LARGE if large else LVT_BASE
        made: Backbone = build_video_text_backbone(
            name, config, constant, Path("no-text.model"), trained=False, precision=precision
        )
        return made, True
    of_video = LARGE if large else BASE
    return build_backbone(name, of_video, constant, trained=False, precision=precision), True


def measure(
    opened: Project | None, settings: Settings, folder: Path
) -> Generator[Progress, None, Measured]:
    """Time decoding, encoding and both together; a few seconds each, nothing is written.

    Parameters
    ----------
    opened
        A project; None to time the encoder alone.
    settings
        Which backbone, windows and crops.
    folder
        Where the tokens would lie: its disk has to hold them.

    Yields
    ------
    Progress in measurements.

    Raises
    ------
    EthoPrismError
        If the backbone cannot be had.
    """
    yield Progress(0, 3, "reading the backbone")
    backbone, stand_in = load_or_stand_in(settings)
    s = settings
    from ethoprism.backbones.engine import engine_named, usable
    from ethoprism.backbones.engine_choice import known_choice
    from ethoprism.extract import maker, token_key
    from ethoprism.window_encoder import default_batches

    key = token_key(backbone.card, hop=s.hop, step=s.step, pooling=s.pooling, crop=s.crop)
    yield Progress(0, 3, "timing the encoder")
    timed = {maker(backbone)["engine"]: (backbone, speed.encoding(backbone, key))}
    for name in usable():
        if name not in timed and hasattr(backbone, "with_engine"):
            yield Progress(0, 3, f"timing the encoder, {name}")
            with suppress(Exception):  # an engine that fails on this computer is not taken
                other = backbone.with_engine(engine_named(name))  # type: ignore[attr-defined]
                timed[name] = (other, speed.encoding(other, key))
    encoders = {name: found for name, (_, found) in timed.items()}
    engine = max(encoders, key=lambda name: encoders[name].frames_per_second)
    shapes = default_batches(backbone.card)
    known = known_choice(backbone, frames=shapes.frames, windows=shapes.windows)
    engine = known if known in timed else engine  # which 'extract' takes
    backbone = timed[engine][0]
    decoding: dict[str, float] = {}
    estimate: Estimate | None = None
    if opened is not None and opened.entries:
        yield Progress(1, 3, "timing the decoder")
        decoding = _decoding(opened)
        yield Progress(2, 3, "timing both together")
        estimate = yield from estimate_extraction(opened, backbone)
        estimate = replace(estimate, free_bytes=free_bytes(folder))
    yield Progress(3, 3)
    return Measured(backbone.card.label, stand_in, engine, encoders, decoding, estimate)


def project(opened: Project) -> tuple[list[Finding], list[AnimalSize]]:
    """Findings on a project, and how large each animal with tracks reaches the encoder."""
    from ethoprism.extract import token_key

    findings: list[Finding] = []
    try:
        card = _card(opened.settings, findings)
        s = opened.settings
        key = token_key(card, hop=s.hop, step=s.step, pooling=s.pooling, crop=s.crop)
    except EthoPrismError as error:
        return [Finding(str(error), warning=True)], []
    if not opened.entries:
        findings.append(Finding("The project has no recordings", "Run: ethoprism add", True))
    findings += _recordings(opened, key, card.embedding_width)
    sizes = []
    for entry in opened.entries:
        try:
            tracks = tracks_of(opened, entry.id)
        except ProjectError as error:
            if Crop.parse(opened.settings.crop).kind != "subject":
                findings.append(
                    Finding(
                        f"{entry.id}: no tracks, so the animals' size is not known",
                        "Import tracks, or look whether they are easily seen in a picture of "
                        f"{key.input_size}×{key.input_size} px.",
                    )
                )
            else:
                findings.append(Finding(str(error), warning=True))
            continue
        except EthoPrismError as error:
            findings.append(Finding(str(error), warning=True))
            continue
        findings += _unseen(entry, tracks)
        found = [animal_size(entry, t, opened.settings, key.grid) for t in tracks]
        sizes += found
        findings += [f for size in found for f in _small(size, opened.settings, key)]
    return [*findings, *_subject_names(opened)], sizes


def animal_size(entry: Entry, track: Track, settings: Settings, grid: int) -> AnimalSize:
    """How large an animal reaches an encoder of ``grid`` patches a side."""
    lengths = track.lengths[np.isfinite(track.lengths)]
    length = float(np.median(lengths)) if len(lengths) else float("nan")
    region = Region.parse(entry.region) if entry.region else None
    how = Crop.parse(settings.crop)
    size = how.size_px or (crop_size(lengths.astype(np.float64), how.margin) if len(lengths) else 0)
    nan = float("nan")
    return AnimalSize(
        entry.id,
        track.subject,
        length,
        patches_across(length, max(entry.height, entry.width), grid),
        patches_across(length, max(region.height, region.width), grid) if region else nan,
        patches_across(length, size, grid) if size else nan,
    )


def of_measurements(measured: Measured) -> Iterator[Finding]:
    """What the measurements say that a person should know before the extraction."""
    if measured.stand_in:
        yield Finding(
            f"The weights of {measured.backbone.removesuffix(' (untrained)')} are not on this "
            "computer; its speed was measured with others of the same shape",
            "'ethoprism extract' downloads them.",
        )
    estimate = measured.estimate
    if estimate is None:
        return
    for name, error in estimate.skipped:
        yield Finding(f"{name} would be left out: {error}", warning=True)
    if not estimate.fits:
        yield Finding(
            f"The tokens take {estimate.bytes_left / 1e9:,.1f} GB, and "
            f"{estimate.free_bytes / 1e9:,.1f} GB are free",
            "Store fewer with --pooling 1 or a larger --step, or put the project on another disk.",
            True,
        )


def free_bytes(folder: Path) -> int:
    """Free on the disk that holds a folder."""
    return shutil.disk_usage(folder).free


def _decoding(opened: Project) -> dict[str, float]:
    """Frames a second that are decoded of the longest recording of each kind."""
    longest: dict[tuple[str, str, int, int], Entry] = {}
    for entry in sorted(opened.entries, key=lambda entry: -entry.n_frames):
        suffix = entry.path.rpartition(".")[2].lower()
        longest.setdefault((entry.reader, suffix, entry.height, entry.width), entry)
    found = {}
    for entry in list(longest.values())[:MOST_KINDS]:
        try:
            found[entry.id] = speed.decoding(opened.recording(entry.id))
        except EthoPrismError:
            continue  # the estimate says why
    return found


def _card(settings: Settings, findings: list[Finding]) -> BackboneCard:
    """The card of the project's backbone, without downloading or reading released weights."""
    from ethoprism.backbones.encoder import BASE, LARGE
    from ethoprism.backbones.releases import RELEASES, is_here
    from ethoprism.backbones.spec import BackboneCard

    registry.load("backbones", settings.backbone)  # which says what there is, if it is unknown
    if settings.backbone in RELEASES and not settings.weights:
        config = LARGE if "large" in settings.backbone else BASE
        here = is_here(settings.backbone)
        findings.append(
            Finding(
                f"Backbone {settings.backbone}: its weights are "
                + ("on this computer" if here else "not on this computer yet"),
                "" if here else "'ethoprism extract' downloads them.",
            )
        )
        card = BackboneCard(
            settings.backbone,
            "",
            config.frames,
            config.input_size,
            config.grid,
            config.width,
            settings.precision,
            trained=True,
            embedding_width=config.width if "lvt" in settings.backbone else 0,
        )
    else:
        card = workflow.load_backbone(settings).card
        findings.append(
            Finding(
                f"Backbone {card.label}",
                ""
                if card.trained
                else "Its weights are random: figures say little of what a trained backbone gives.",
                not card.trained,
            )
        )
    return card


def _recordings(opened: Project, key: TokenKey, embedding_width: int) -> Iterator[Finding]:
    needed = 0
    for entry in opened.entries:
        try:
            opened.recording(entry.id)
        except EthoPrismError as error:
            yield Finding(str(error), warning=True)
        try:
            n = len(units(opened, key.crop, [entry.id]))
        except EthoPrismError:
            n = 0  # said where sizes are looked at
        needed += n * estimate_bytes(key, entry.n_frames, embedding_width)
        if Crop.parse(key.crop).kind in OF_REGION and not entry.region:
            yield Finding(
                f"{entry.id}: frames are cut to regions, and it has none",
                f"Run: ethoprism region PROJECT LEFT,TOP,WIDTH,HEIGHT -r {entry.id}",
                True,
            )
    if opened.entries:
        free = shutil.disk_usage(opened.folder).free
        yield Finding(
            f"Tokens of all recordings take about {needed / 1e6:,.0f} MB "
            f"({key.pooling}×{key.pooling} a frame, frames cut to: {key.crop})",
            ""
            if needed < free
            else "That is more than is free. Store fewer with --pooling 1 or a larger --step.",
            needed >= free,
        )


def _unseen(entry: Entry, tracks: tuple[Track, ...]) -> Iterator[Finding]:
    for track in tracks:
        share = float((~track.seen).mean())
        if share > MOST_UNSEEN:
            yield Finding(
                f"{entry.id}, {track.subject}: not seen in {share:.0%} of the frames; with subject "
                "crops these stay unscored",
                "Complete the track in the program that made it.",
                True,
            )


def _small(size: AnimalSize, settings: Settings, key: TokenKey) -> Iterator[Finding]:
    """A warning if the animal is lost at the encoder's input size as the project cuts frames."""
    kind = Crop.parse(settings.crop).kind
    across = size.crop if kind == "subject" else size.region if kind == "region" else size.whole
    if not across < LEAST_PATCHES:  # NaN where it is not known
        return
    if kind == "subject":
        remedy = "Choose a smaller crop: ethoprism crop PROJECT subject --margin 2"
    else:
        remedy = "Let crops follow the animals: ethoprism crop PROJECT subject"
        if kind == WHOLE:
            remedy += "; or cut to a region: ethoprism region"
    yield Finding(
        f"{size.recording}, {size.subject}: {size.length_px:.0f} px long, it spans {across:.1f} of "
        f"the encoder's {key.grid} patches; under {LEAST_PATCHES:g} an animal may be lost",
        remedy,
        True,
    )


def _subject_names(opened: Project) -> Iterator[Finding]:
    """Labels whose subject no track has: with subject crops they would teach nothing."""
    if Crop.parse(opened.settings.crop).kind != "subject":
        return
    for entry in opened.entries:
        try:
            names = {track.subject for track in tracks_of(opened, entry.id)}
        except EthoPrismError:
            continue
        with workflow.open_annotations(opened, "read") as store:
            tables = store.bouts(entry.id), store.spans(entry.id)
        labelled = {str(name) for table in tables for name in table["subject"]}
        if len(names) == 1:
            labelled.discard("")  # it can only be that one's
        if labelled - names:
            lost = ", ".join(sorted(name or "no subject" for name in labelled - names))
            yield Finding(
                f"{entry.id}: labels of {lost} belong to none of the tracks "
                f"({', '.join(sorted(names))})",
                "Name them alike: ethoprism track import … --replace --rename OLD=NEW",
                True,
            )
