"""What ``ethoprism info`` prints: a project, a video, or this installation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ethoprism import __version__, console, registry, workflow
from ethoprism.project import Project
from ethoprism.recording import open_recording
from ethoprism.subjects import Unit


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
    """Print what an import of a video would find."""
    recording, report = open_recording(path, accept_damaged=True)
    times = recording.frame_times
    console.say(f"{path}: {recording.n_frames} frames of {recording.width}×{recording.height} px")
    picture = report.picture
    console.say(
        f"Read as {recording.reader}; "
        + ", ".join(
            filter(
                None,
                (
                    picture.pixel_format,
                    f"{picture.colour_range} colour range" if picture.pixel_format else "",
                    f"the container states {report.container_frames} frames"
                    if report.container_frames
                    else "the container states no number of frames",
                    "variable frame rate" if report.variable_rate else "constant frame rate",
                ),
            )
        )
    )
    console.say(f"From {times[0]:.6g} to {times[-1]:.6g} s by the container's timestamps")
    if len(times) > 1:
        intervals = np.diff(times)
        console.say(
            f"Frame intervals: {intervals.min():.6g} to {intervals.max():.6g} s, "
            f"median {np.median(intervals):.6g} s"
        )
    console.notes(report.warnings)


def project(opened: Project) -> None:
    """Print recordings, labels, tokens and probes of a project."""
    settings = opened.settings
    console.say(f"Project {opened.folder}, backbone {settings.backbone}")
    keys = workflow.known_keys(opened)
    for key in keys:
        console.say(
            f"Tokens {key.digest}: {key.label}, windows of {key.length} every {key.hop}, "
            f"step {key.step}, {key.pooling}×{key.pooling} a frame, {key.precision}"
        )
    if opened.entries:
        console.table(_recordings(opened, keys))
    probes = sorted(path.parent for path in (opened.folder / "probes").glob("*/card.json"))
    for folder in probes:
        probe = workflow.probe_from(opened, folder.name)
        console.say(f"Probe {probe.name}: {probe.key.label}; {', '.join(probe.behaviours)}")


def _recordings(opened: Project, keys: list[workflow.TokenKey]) -> pd.DataFrame:
    names = opened.ethogram.names
    states = workflow.label_states(opened, opened.recording_ids, names)
    rows = []
    for entry in opened.entries:
        known = states[entry.id]
        complete = []
        for key in keys:
            complete += _token_shares(opened, key, entry.id)
        rows.append(
            {
                "recording": entry.id,
                "frames": entry.n_frames,
                "size": f"{entry.width}×{entry.height}",
                "observed frames": int((known != -1).any(axis=1).sum()),
                "labelled present": ", ".join(
                    f"{name} {int((known[:, i] == 1).sum())}"
                    for i, name in enumerate(names)
                    if (known[:, i] == 1).any()
                )
                or "–",
                "tokens": ", ".join(complete) or "–",
            }
        )
    return pd.DataFrame(rows)


def _token_shares(project: Project, key: workflow.TokenKey, recording: str) -> list[str]:
    """How far the tokens of a recording, or of each of its subjects, are extracted."""
    shares = []
    for path in sorted(project.tokens_path(key.digest, recording).parent.glob("*.zarr")):
        name, _, subject = path.stem.partition("@")
        if name == recording:
            store = workflow.open_tokens(project, key, Unit(recording, subject))
            of = f" {subject}" if subject else ""
            shares.append(f"{key.digest[:6]}{of} {store.done.mean():.0%}")
    return shares
