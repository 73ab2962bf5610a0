"""The command that looks for what could go wrong: ``ethoprism doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import app, open_project


@app.command()
def doctor(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT]", help="Project folder.")
    ] = None,
) -> None:
    """Look whether this computer and a project are ready; changes nothing."""
    import pandas as pd

    from ethoprism import console
    from ethoprism import doctor as examination

    opened = open_project(project) if project else None
    findings = examination.installation(project or Path())
    if opened:
        found, sizes = examination.project(opened)
        findings += found
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
        text = " ".join(filter(None, (finding.text + ".", finding.remedy)))
        text = text.replace("..", ".")
        (console.note if finding.warning else console.say)(
            f"Warning: {text}" if finding.warning else text
        )
    warnings = sum(finding.warning for finding in findings)
    console.say(f"{warnings} warnings" if warnings != 1 else "1 warning")
