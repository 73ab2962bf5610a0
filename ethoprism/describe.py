"""What ``ethoprism info`` prints: a project, a video, or this installation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ethoprism import __version__, console, registry, workflow
from ethoprism.errors import EthoPrismError
from ethoprism.overview import TokenShare, overview
from ethoprism.project import Entry, Project
from ethoprism.recording import FFMPEG, ImportReport, open_recording, reader_of


def installation() -> None:
    """Print versions, devices, backbones, data sets and exchange formats."""
    import jax

    console.say(f"EthoPrism {__version__}, JAX {jax.__version__}")
    console.say("Devices: " + ", ".join(f"{d.platform} {d.device_kind}" for d in jax.devices()))
    console.say("Backbones: " + ", ".join(registry.names("backbones")))
    for name in registry.names("datasets"):
        console.say(f"Data set {name}: {registry.load('datasets', name).description}")
    for name in registry.names("exchange"):
        format = registry.load("exchange", name)
        ways = " and ".join(
            way for way, there in (("read", format.read), ("written", format.write)) if there
        )
        console.say(f"Format {name} ({ways}): {format.description}")


def video(path: Path) -> None:
    """Print what an import of a recording would find."""
    reader = reader_of(path)
    if reader.name != FFMPEG:
        contents = reader.inspect(path, "")
        if contents.frame_times is None:
            console.say(
                f"{path}: {contents.n_frames} frames of {contents.width}×{contents.height} px"
            )
            console.say(
                f"Read as {reader.name}. It states no times: add it with --frame-times or --rate."
            )
            console.notes([*contents.findings.damage, *contents.findings.notes])
            return
    recording, report = open_recording(path, accept_damaged=True)
    console.say(f"{path}: {recording.n_frames} frames of {recording.width}×{recording.height} px")
    console.say(f"Read as {recording.reader}. {_picture(report)}")
    _times(recording.frame_times, report)
    console.notes(report.warnings)


def _picture(report: ImportReport) -> str:
    picture = report.picture
    parts = [
        f"pixel format {picture.pixel_format or 'unspecified'}",
        f"colour range {picture.colour_range}",
        f"colour matrix {picture.colour_matrix}",
        f"rotation {picture.rotation}°",
        f"pixel aspect {picture.pixel_aspect:.4g}",
        "interlaced" if picture.interlaced else "not interlaced",
    ]
    return f"Pictures: {', '.join(parts)}"


def _times(times: np.ndarray, report: ImportReport) -> None:
    stated = report.container_frames
    console.say(
        f"Frames: {'no number' if stated is None else stated} stated, {report.n_frames} found;"
        f" {'variable' if report.variable_rate else 'constant'} rate,"
        f" {len(report.duplicates)} duplicate times, {len(report.gaps)} gaps"
        f" (about {report.dropped} frames dropped), {report.missing_timestamps} without a time"
    )
    console.say(f"From {times[0]:.6g} to {times[-1]:.6g} s by the file's timestamps")
    if len(times) > 1:
        intervals = np.diff(times)
        console.say(
            f"Frame intervals: {intervals.min():.6g} to {intervals.max():.6g} s, "
            f"median {np.median(intervals):.6g} s"
        )


def project(opened: Project) -> None:
    """Print recordings, labels, tokens and probes of a project."""
    settings = opened.settings
    console.say(f"Project {opened.folder}, backbone {settings.backbone}")
    weights = Path(settings.weights).expanduser()
    if settings.weights and weights.is_file():
        console.say(f"Weights {settings.weights}: {_history(weights)}")
    keys = workflow.known_keys(opened)
    for key in keys:
        console.say(
            f"Tokens {key.digest}: {key.label}, windows of {key.length} every {key.hop}, "
            f"step {key.step}, {key.pooling}×{key.pooling} a frame, {key.precision}"
        )
    if opened.entries:
        console.table(_recordings(opened))
    probes = sorted(path.parent for path in (opened.folder / "probes").glob("*/card.json"))
    for folder in probes:
        probe = workflow.probe_from(opened, folder.name)
        console.say(f"Probe {probe.name}: {probe.key.label}; {', '.join(probe.behaviours)}")


def _recordings(opened: Project) -> pd.DataFrame:
    rows = []
    for state in console.follow(overview(opened, check=False), "Reading"):
        entry = state.entry
        rows.append(
            {
                "recording": entry.id,
                "frames": entry.n_frames,
                "size": f"{entry.width}×{entry.height}",
                "source": _source(entry),
                "observed frames": state.observed,
                "labelled present": ", ".join(f"{name} {n}" for name, n in state.present) or "–",
                "tokens": ", ".join(_share(t) for t in state.all_tokens if t.share) or "–",
            }
        )
    return pd.DataFrame(rows)


def _source(entry: Entry) -> str:
    """How a recording is read, and what was set for it."""
    parts = [f"{entry.reader} {entry.array}".strip()]
    if entry.times:
        parts.append(f"times from a {entry.times}")
    if entry.region:
        parts.append(f"region {entry.region}")
    if entry.session:
        parts.append(
            f"session {entry.session} (offset {entry.offset:.6g} s, drift"
            f" {entry.drift * 1e6:.4g} ppm)"
        )
    return ", ".join(parts)


def _share(tokens: TokenShare) -> str:
    of = f" {tokens.unit.subject}" if tokens.unit.subject else ""
    return f"{tokens.key.digest[:6]}{of} {tokens.share:.0%}"


def _history(weights: Path) -> str:
    """How a file of weights came to be."""
    from ethoprism.backbones.weights import read_made_by

    try:
        return read_made_by(weights) or "the file does not say how they were made"
    except EthoPrismError as error:
        return str(error)
