"""Commands that extract tokens."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ethoprism.cli.common import (
    ProjectFolder,
    Recordings,
    app,
    introduce,
    open_project,
    require_recordings,
)


@app.command()
def extract(
    project: ProjectFolder,
    recording: Recordings = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it would take, and stop.")
    ] = False,
) -> None:
    """Extract the tokens of recordings; goes on where it stopped."""
    from ethoprism import console, workflow

    opened = open_project(project)
    require_recordings(opened)
    console.follow(workflow.fetch_weights(opened.settings), "Downloading")
    backbone = workflow.load_backbone(opened.settings)
    introduce(backbone.card)
    if estimate:
        from ethoprism.estimate import estimate_extraction

        steps = estimate_extraction(opened, backbone, recording or ())
        _print_estimate(console.follow(steps, "Measuring"))
        return
    console.follow(workflow.extract_tokens(opened, backbone, recording or ()), "Extracting")
    key = workflow.project_key(opened, backbone)
    console.say(f"Tokens are complete in {opened.folder / 'tokens' / key.digest}")


def _print_estimate(estimate: Any) -> None:
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
