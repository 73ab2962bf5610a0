"""Commands that extract tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ethoprism.cli.common import (
    ProjectFolder,
    Recordings,
    app,
    introduce,
    open_project,
    require_recordings,
)

if TYPE_CHECKING:
    from ethoprism.project import Project


@app.command()
def extract(
    project: ProjectFolder,
    recording: Recordings = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would take, and stop.")
    ] = False,
    dask: Annotated[
        str,
        typer.Option(
            "--dask",
            metavar="local|ADDRESS",
            help="Share the work out: 'local' uses every GPU of this computer, or its cores; "
            "an address such as tcp://10.0.0.5:8786 uses that scheduler's workers.",
        ),
    ] = "",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of workers of --dask local.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="auto|jax|openvino",
            envvar="ETHOPRISM_ENGINE",
            help="What computes the backbone; auto times both once and takes the faster.",
        ),
    ] = "auto",
) -> None:
    """Extract the tokens of recordings; goes on where it stopped."""
    from ethoprism import console, workflow

    opened = open_project(project)
    require_recordings(opened)
    console.follow(workflow.fetch_weights(opened.settings), "Downloading")
    if dask and not estimate:
        _extract_on_workers(opened, dask, workers, recording or (), engine)
        return
    if workers is not None:
        raise typer.BadParameter("it goes together with --dask local: --workers")
    loaded = workflow.load_backbone(opened.settings)
    introduce(loaded.card)
    choice = workflow.choose_engine(loaded, engine)
    console.say(choice.text)
    backbone = choice.backbone
    if estimate:
        from ethoprism.estimate import estimate_extraction

        steps = estimate_extraction(opened, backbone, recording or ())
        print_estimate(console.follow(steps, "Measuring"))
        return
    console.follow(workflow.extract_tokens(opened, backbone, recording or ()), "Extracting")
    key = workflow.project_key(opened, backbone)
    for name, engines in workflow.engines_of(opened, key, recording or ()).items():
        if len(engines) > 1:
            console.note(
                f"{name} was computed by {' and '.join(engines)}: {key.precision} of each, "
                "which differ in the last digits."
            )
    console.say(f"Tokens are complete in {opened.folder / 'tokens' / key.digest}")


def _extract_on_workers(
    project: Project, where: str, workers: int | None, recordings: Sequence[str], engine: str
) -> None:
    from ethoprism import console, workflow
    from ethoprism.cluster import require_dask

    require_dask()
    import jax

    from ethoprism.cluster.connection import LOCAL, connect, outside, visible_gpus
    from ethoprism.cluster.run import extract_on_workers

    if where != LOCAL and outside(where):
        console.note(
            f"{where} is not encrypted: whoever reaches that port can run programs as you. "
            "Use it inside a network that you trust, or tls://."
        )
    # GPUs are the workers'; this process only reads which weights there are.
    jax.config.update("jax_platforms", "cpu")
    backbone = workflow.load_backbone(project.settings)
    introduce(backbone.card)
    if engine == "auto":  # one for all workers; only those like this computer can be timed here
        alike = where == LOCAL and not visible_gpus()
        engine = workflow.choose_engine(backbone, "auto").engine if alike else "jax"
    with connect(where, workers) as client:
        steps = extract_on_workers(project, backbone, client, recordings, engine=engine)
        fleet = console.follow(steps, "Extracting")
    console.say(f"Computed by {fleet.text}")
    console.notes(fleet.remarks)
    key = workflow.project_key(project, backbone)
    console.say(f"Tokens are complete in {project.folder / 'tokens' / key.digest}")


def print_estimate(estimate: Any) -> None:
    """Print what an `ethoprism.estimate.Estimate` says."""
    import pandas as pd

    from ethoprism import console

    rows = [
        {
            "recording": unit.unit.name,
            "frames left": f"{unit.rows_left} of {unit.rows}",
            "MB": f"{unit.bytes_left / 1e6:.1f}",
            "time": console.duration(unit.seconds),
        }
        for unit in estimate.units
    ]
    if rows:
        console.table(pd.DataFrame(rows), f"What is left to extract, on {estimate.device}")
    console.say(
        f"In all about {console.duration(estimate.seconds)} and"
        f" {estimate.bytes_left / 1e6:,.1f} MB; {estimate.free_bytes / 1e9:,.1f} GB are free."
    )
    for name, error in estimate.skipped:
        console.note(f"{name} would be left out: {error}")
    if not estimate.fits:
        console.note(
            "The disk does not hold that. Store fewer tokens with --pooling 1 or a larger --step."
        )
