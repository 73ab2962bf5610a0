"""Commands that say what to label next, and what came of it: ``suggest`` and ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ethoprism.cli.common import (
    ProjectFolder,
    Recordings,
    app,
    open_project,
    require_recordings,
    warn_untrained,
)

if TYPE_CHECKING:
    import pandas as pd

    from ethoprism.probe.checkpoint import Probe
    from ethoprism.project import Project

Seed = Annotated[int, typer.Option(help="Of what is drawn.")]
AProbe = Annotated[
    str, typer.Option("--probe", help="Name of the probe; the newest by default, or 'none'.")
]


@app.command()
def report(
    project: ProjectFolder,
    probe: AProbe = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File; exports/report.html by default.")
    ] = None,
    recording: Recordings = None,
    resamples: Annotated[
        int, typer.Option(min=1, help="How often recordings are drawn again for the intervals.")
    ] = 1000,
    seed: Seed = 0,
) -> None:
    """Write one page on the project for a person who studies behaviour."""
    from ethoprism import console
    from ethoprism.report.page import write_report

    opened = open_project(project)
    require_recordings(opened)
    loaded = _probe(opened, probe)
    if loaded is not None:
        warn_untrained(loaded.key.label, loaded.key.trained)
    path = out or opened.exports_folder / "report.html"
    steps = write_report(
        opened, path, loaded, recordings=recording or (), n_resamples=resamples, seed=seed
    )
    console.wrote(console.follow(steps, "Reporting"))


@app.command()
def suggest(
    project: ProjectFolder,
    probe: AProbe = "",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Spans at most.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of a span.")] = 4.0,
    recording: Recordings = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="File to write, .csv or a picture; may be repeated."),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Say what to label next, and how much of each behaviour is still unfound."""
    from ethoprism import console
    from ethoprism.suggest.pictures import span_pictures
    from ethoprism.suggest.rounds import hint_for, remember
    from ethoprism.suggest.spans import suggest_next

    opened = open_project(project)
    require_recordings(opened)
    loaded = _probe(opened, probe)
    steps = suggest_next(
        opened, loaded, count=count, seconds=seconds, recordings=recording or (), seed=seed
    )
    found = console.follow(steps, "Looking")
    console.say(found.basis)
    console.table(_shown(found.spans), "What to label next")
    share = found.labelled_s / max(found.total_s, 1e-9)
    console.say(
        f"Labelled so far: {console.duration(found.labelled_s)} of "
        f"{console.duration(found.total_s)} ({share:.0%})."
    )
    if len(found.unfound):
        console.table(_unfound_shown(found.unfound), "Estimated bouts in what nobody labelled")
        if found.unfound["bouts"].isna().any():
            console.note(
                "–: too few labelled frames that the probe did not learn from to estimate this."
            )
    if loaded is not None:
        remember(opened, loaded, found.labelled_s)
        console.say(hint_for(opened).text)
    for path in out or [opened.exports_folder / "suggestions.csv"]:
        if path.suffix.lower() == ".csv":
            _write_table(found.spans, path)
        else:
            console.follow(span_pictures(opened, found.spans, path), "Drawing")
        console.wrote(path)


def _shown(spans: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    columns = {
        "rank": spans["rank"],
        "recording": spans["recording"],
        "subject": spans["subject"],
        "frames": [
            f"{a} to {b - 1}" for a, b in zip(spans.start_frame, spans.stop_frame, strict=True)
        ],
        "seconds": [
            f"{a:.1f} to {b:.1f}" for a, b in zip(spans.start_s, spans.stop_s, strict=True)
        ],
        "why": [
            f"{reason}: {behaviour}" if behaviour else reason
            for reason, behaviour in zip(spans.reason, spans.behaviour, strict=True)
        ],
    }
    if not spans["subject"].any():
        del columns["subject"]
    return pd.DataFrame(columns)


def _unfound_shown(unfound: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    def number(value: float) -> str:
        return "–" if pd.isna(value) else f"{value:.0f}"

    return pd.DataFrame(
        {
            "behaviour": unfound["behaviour"],
            "labelled bouts": unfound["found_bouts"],
            "unfound": [number(v) for v in unfound["bouts"]],
            "95 %": [
                "–" if pd.isna(a) else f"{number(a)} to {number(b)}"
                for a, b in zip(unfound["bouts_low"], unfound["bouts_high"], strict=True)
            ],
        }
    )


def _write_table(table: pd.DataFrame, path: Path) -> None:
    from ethoprism.files import replacing

    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


def _probe(project: Project, name: str) -> Probe | None:
    """The probe of that name, or the newest; None for 'none' or where there is none."""
    from ethoprism import console, workflow

    if name == "none":
        return None
    if name:
        return workflow.probe_from(project, name)
    cards = sorted(
        project.probe_folder("x").parent.glob("*/card.json"), key=lambda p: p.stat().st_mtime
    )
    if not cards:
        console.note("There is no probe yet, so labels alone are used.")
        return None
    if len(cards) > 1:
        console.say(f"Probe {cards[-1].parent.name!r}, the newest of {len(cards)}")
    return workflow.probe_from(project, cards[-1].parent.name)
