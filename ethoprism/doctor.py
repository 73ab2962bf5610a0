"""What ``ethoprism doctor`` looks at: this computer, and whether a project will come out well.

It changes nothing, downloads nothing and decodes no video.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ethoprism import __version__, registry, workflow
from ethoprism.crops import LEAST_PATCHES, WHOLE, Crop, Region, crop_size, patches_across
from ethoprism.errors import EthoPrismError, ProjectError
from ethoprism.project import Entry, Project, Settings
from ethoprism.subjects import tracks_of, units
from ethoprism.tokens import TokenKey, estimate_bytes
from ethoprism.tracks import Track

MOST_UNSEEN = 0.2
"""A larger share of frames in which an animal is not seen is worth a warning."""


@dataclass(frozen=True)
class Finding:
    """A sentence on what was found; if it is a warning, with what to do about it."""

    text: str
    remedy: str = ""
    warning: bool = False


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


def installation(folder: Path) -> list[Finding]:
    """Findings on this computer: versions, devices, memory, and the disk that holds ``folder``."""
    import jax

    devices = ", ".join(" ".join({d.platform: 0, d.device_kind: 0}) for d in jax.devices())
    findings = [
        Finding(f"EthoPrism {__version__}, JAX {jax.__version__}"),
        Finding(f"Computes on: {devices}; {os.cpu_count()} processor cores"),
    ]
    memory = _memory_bytes()
    if memory:
        low = memory < 4e9
        findings.append(
            Finding(
                f"Memory: {memory / 1e9:.1f} GB",
                "Close other programs before you train; large backbones may not fit." * low,
                low,
            )
        )
    free = shutil.disk_usage(folder).free
    return [*findings, Finding(f"Free on the disk of {folder.resolve()}: {free / 1e9:.1f} GB")]


def project(opened: Project) -> tuple[list[Finding], list[AnimalSize]]:
    """Findings on a project, and how large each animal with tracks reaches the encoder."""
    findings: list[Finding] = []
    try:
        key = _key(opened.settings, findings)
    except EthoPrismError as error:
        return [Finding(str(error), warning=True)], []
    if not opened.entries:
        findings.append(Finding("The project has no recordings", "Run: ethoprism add", True))
    findings += _recordings(opened, key)
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


def _key(settings: Settings, findings: list[Finding]) -> TokenKey:
    """The key of the project's tokens, without downloading or reading released weights."""
    from ethoprism.backbones.encoder import BASE, LARGE
    from ethoprism.backbones.releases import RELEASES, is_here
    from ethoprism.backbones.spec import BackboneCard
    from ethoprism.extract import token_key

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
            "float32",
            trained=True,
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
    s = settings
    return token_key(card, hop=s.hop, step=s.step, pooling=s.pooling, crop=s.crop)


def _recordings(opened: Project, key: TokenKey) -> Iterator[Finding]:
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
        needed += n * estimate_bytes(key, entry.n_frames)
        if Crop.parse(key.crop).kind == "region" and not entry.region:
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


def _memory_bytes() -> int:
    """Memory of this computer; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0
