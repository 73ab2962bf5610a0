"""The command that looks for what could go wrong: ``ethoprism doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ethoprism.cli.common import app, open_project

if TYPE_CHECKING:
    from ethoprism.doctor import AnimalSize, Measured
    from ethoprism.machine import Finding, Machine
    from ethoprism.project import Project


@app.command()
def doctor(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PROJECT|VIDEO]...", help="A project folder, or recordings."),
    ] = None,
    backbone: Annotated[
        str, typer.Option("--backbone", help="Backbone to time; the project's by default.")
    ] = "",
    timing: Annotated[
        bool, typer.Option("--timing/--no-timing", help="Time decoding and encoding (seconds).")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Look whether this computer and a project are ready, and how long it would take.

    Nothing is changed and nothing is downloaded.
    """
    from dataclasses import replace

    from ethoprism import console, machine, registry
    from ethoprism import doctor as examination
    from ethoprism.errors import EthoPrismError
    from ethoprism.machine import Finding
    from ethoprism.project import Settings

    if backbone:
        registry.load("backbones", backbone)  # which says what there is, if it is unknown
    with _opened(paths or [], Settings(backbone or Settings().backbone)) as (opened, kept):
        settings = opened.settings if opened else Settings()
        if backbone and backbone != settings.backbone:  # whose weights and precision are others
            settings = replace(settings, backbone=backbone, weights="", precision="float32")
        if opened:
            opened = replace(opened, settings=settings)
        folder = opened.folder if opened and kept else Path()
        here = machine.examine()
        findings = list(machine.findings(here))
        sizes: list[AnimalSize] = []
        if opened and kept:
            found, sizes = examination.project(opened)
            findings += found
        measured = None
        if timing:
            steps = examination.measure(opened, settings, folder)
            try:
                measured = console.follow(steps, "Measuring")
            except EthoPrismError as error:
                findings.append(Finding(f"Nothing could be timed: {error}", warning=True))
        if measured:
            findings += examination.of_measurements(measured)
        free = examination.free_bytes(folder)
    if as_json:
        _print_json(here, free, sizes, measured, findings)
    else:
        _print(here, free, sizes, measured, findings)


@contextmanager
def _opened(paths: list[Path], settings: Any) -> Iterator[tuple[Project | None, bool]]:
    """The project, and whether it is one of the user's; videos are looked at in a temporary one."""
    from ethoprism.doctor import unsaved_project
    from ethoprism.errors import InputError
    from ethoprism.project import MANIFEST

    for path in paths:
        if not path.exists():
            open_project(path)  # which says what was expected there
    if not paths:
        yield None, False
    elif any((path / MANIFEST).is_file() for path in paths):
        if len(paths) > 1:
            raise InputError("One project at a time, or recordings, can be looked at")
        yield open_project(paths[0]), True
    else:
        with unsaved_project(paths, settings) as project:
            yield project, False


def _print(
    here: Machine,
    free: int,
    sizes: list[AnimalSize],
    measured: Measured | None,
    findings: list[Finding],
) -> None:
    import pandas as pd

    from ethoprism import console

    console.table(pd.DataFrame(_machine_rows(here, free)), "This computer")
    parts = [
        {
            "part": part.name,
            "for": part.purpose,
            "installed": "no" if part.missing else "yes",
        }
        for part in here.parts
    ]
    console.table(pd.DataFrame(parts), "Optional parts")
    for part in here.parts:
        if part.missing and (part.name != "gpu" or here.gpus):
            console.say(f"To install {part.name}: {part.command}")
    if measured:
        _print_measured(measured)
    if sizes:
        rows = [
            {
                "recording": size.recording,
                "subject": size.subject,
                "length (px)": size.length_px,
                "whole frame": size.whole,
                "region": size.region,
                "subject crop": size.crop,
            }
            for size in sizes
        ]
        console.table(pd.DataFrame(rows), "How many patches of the encoder each animal spans")
    for finding in findings:
        text = " ".join(filter(None, (finding.text + ".", finding.remedy))).replace("..", ".")
        (console.note if finding.warning else console.say)(
            f"Warning: {text}" if finding.warning else text
        )
    warnings = sum(finding.warning for finding in findings)
    console.say(f"{warnings} warnings" if warnings != 1 else "1 warning")


def _machine_rows(here: Machine, free: int) -> list[dict[str, str]]:
    memory = f"{here.memory / 1e9:.1f} GB" if here.memory else "not known"
    if here.free_memory:
        memory += f", {here.free_memory / 1e9:.1f} GB free"
    rows = {
        "EthoPrism": f"{here.version} (JAX {here.jax}, Python {here.python}, {here.system})",
        "Computes on": ", ".join(here.devices),
        "NVIDIA GPUs": ", ".join(here.gpus) or "none found",
        "Processor cores": str(here.cores),
        "Memory": memory,
        "Free on the disk": f"{free / 1e9:.1f} GB",
    }
    return [{"what": what, "found": found} for what, found in rows.items()]


def _print_measured(measured: Measured) -> None:
    import pandas as pd

    from ethoprism import console
    from ethoprism.cli.extraction import print_estimate

    rows = [
        {
            "step": f"encoding, {measured.backbone}, {engine}",
            "frames a second": f"{encoder.frames_per_second:.1f}",
            "remark": f"{encoder.window_seconds * 1e3:.0f} ms a window; "
            f"{encoder.first_seconds:.1f} s to compile",
        }
        for engine, encoder in measured.encoders.items()
    ]
    rows += [
        {"step": f"decoding {name}", "frames a second": f"{pace:.1f}", "remark": ""}
        for name, pace in measured.decoding.items()
    ]
    console.table(pd.DataFrame(rows), "Speed, measured now")
    if measured.estimate:
        print_estimate(measured.estimate)


def _print_json(
    here: Machine,
    free: int,
    sizes: list[AnimalSize],
    measured: Measured | None,
    findings: list[Finding],
) -> None:
    import json
    from dataclasses import asdict

    estimate = measured.estimate if measured else None
    speed = None
    if measured:
        speed = {
            "backbone": measured.backbone,
            "stand_in_weights": measured.stand_in,
            "engine": measured.engine,
            "encoder": {name: asdict(encoder) for name, encoder in measured.encoders.items()},
            "decoder_frames_per_second": measured.decoding,
        }
    units = [
        {
            "unit": unit.unit.name,
            "frames": unit.rows,
            "frames_left": unit.rows_left,
            "bytes_left": unit.bytes_left,
            "seconds": unit.seconds,
        }
        for unit in (estimate.units if estimate else ())
    ]
    parts = [
        {"name": p.name, "installed": not p.missing, "install_with": p.command} for p in here.parts
    ]
    shown = {
        "computer": {**asdict(here), "parts": parts, "free_disk": free},
        "speed": speed,
        "estimate": None
        if estimate is None
        else {
            "seconds": estimate.seconds,
            "bytes": estimate.bytes_left,
            "fits": estimate.bytes_left <= free,
            "units": units,
            "left_out": {name: str(error) for name, error in estimate.skipped},
        },
        "animals": [asdict(size) for size in sizes],
        "findings": [asdict(finding) for finding in findings],
    }
    typer.echo(json.dumps(_plain(shown), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None
    return value
