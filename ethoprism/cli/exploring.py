"""Commands that explore: ``ethoprism map`` and ``ethoprism similar``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ethoprism.cli.common import (
    ProjectFolder,
    Recordings,
    app,
    one_of,
    open_project,
    require_recordings,
    warn_untrained,
)

MapName = Annotated[str, typer.Option("--name", help="Name of the map.")]


@app.command("map")
def map_command(
    project: ProjectFolder,
    name: MapName = "map",
    method: Annotated[str, typer.Option(help="'umap' or 'pca'.")] = "umap",
    clusters: Annotated[
        str, typer.Option(help="'kmeans', 'gmm', 'hdbscan', a number for k-means, or 'none'.")
    ] = "kmeans",
    n_clusters: Annotated[int, typer.Option(help="For kmeans and gmm.")] = 8,
    recording: Recordings = None,
    subject: Annotated[str, typer.Option(help="Where crops follow subjects, only this one.")] = "",
    hop: Annotated[
        int | None, typer.Option(help="Frames of a moment; half of the encoder's window.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="File to write, .csv or a picture; may be repeated."),
    ] = None,
) -> None:
    """Map the moments of recordings, and find clusters among them."""
    from ethoprism import console, mapping
    from ethoprism.explore.cluster import ClusterSettings
    from ethoprism.explore.embed import UmapSettings

    if clusters.isdigit():
        clusters, n_clusters = "kmeans", int(clusters)
    one_of("--method", method, ("umap", "pca"))
    one_of("--clusters", clusters, ("kmeans", "gmm", "hdbscan", "none"))
    opened = open_project(project)
    require_recordings(opened)
    key = mapping.project_tokens(opened)
    warn_untrained(key.label, key.trained)
    plan = mapping.MapPlan(name, tuple(recording or ()), subject, hop, seed)
    found = console.follow(mapping.build_map(opened, key, plan), "Comparing")
    if method == "umap":
        console.note("UMAP needs some 20 s to start.")
        found = console.follow(mapping.add_umap(found, UmapSettings(seed=seed)), "UMAP")
    if clusters != "none":
        settings = ClusterSettings(clusters, n_clusters, seed=seed)  # type: ignore[arg-type]
        found = mapping.add_clusters(found, settings)
    folder = mapping.save(opened, found)
    _print_clusters(found)
    console.say(f"Mapped {len(found.moments):,} moments of {found.frames_per_moment} frames.")
    console.wrote(folder)
    for path in out or ():
        _write(found, path)
        console.wrote(path)


@app.command()
def similar(
    project: ProjectFolder,
    recording: Annotated[str, typer.Argument(help="Recording.")],
    frame: Annotated[int, typer.Argument(help="Its frame, from 0.")],
    name: MapName = "map",
    subject: Annotated[str, typer.Option(help="Subject, where crops follow subjects.")] = "",
    count: Annotated[int, typer.Option(help="Moments to find.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture of them to write.")
    ] = None,
) -> None:
    """Find the moments most like a frame, in all recordings of a map."""
    import numpy as np
    import pandas as pd

    from ethoprism import console, mapping

    opened = open_project(project)
    found = mapping.open_map(opened, name)
    warn_untrained(found.key.label, found.key.trained)
    query = mapping.moment_of(found, recording, frame, subject)
    matches = mapping.similar_moments(found, np.array([query]), count)
    m, rows = found.moments, []
    for match in matches:
        unit, i = m.units[m.unit[match.moment]], match.moment
        rows.append(
            {
                "recording": unit.recording,
                "subject": unit.subject,
                "start_frame": int(m.start[i]),
                "stop_frame": int(m.stop[i]),
                "time (s)": float(opened.frame_times(unit.recording)[m.start[i]]),
                "likeness": match.likeness,
            }
        )
    console.table(pd.DataFrame(rows), f"Most like frame {frame} of {recording}, {found.key.label}")
    console.say("Likeness: 1 is the same, 0 no more alike than any two moments.")
    if out is not None:
        _sheet(opened, found, query, matches, out)
        console.wrote(out)


def _print_clusters(found: Any) -> None:
    import pandas as pd

    from ethoprism import console, mapping

    if found.clusters is None:
        return
    m, rows = found.moments, []
    for number, chosen in enumerate(mapping.cluster_exemplars(found, 1)):
        unit = m.units[m.unit[chosen[0]]]
        rows.append(
            {
                "cluster": number,
                "moments": int(found.clusters.sizes[number]),
                "share": float(found.clusters.sizes[number] / len(m)),
                "typical moment": f"{unit.name}, frame {m.middle[chosen[0]]}",
            }
        )
    console.table(pd.DataFrame(rows), f"Clusters ({found.clusters.settings.method})")
    noise = len(m) - int(found.clusters.sizes.sum())
    if noise:
        console.say(f"{noise:,} moments lie in no cluster.")


def _write(found: Any, path: Path) -> None:
    from ethoprism import mapping
    from ethoprism.explore.picture import map_figure
    from ethoprism.files import write_text

    if path.suffix.lower() == ".csv":
        table = mapping.map_table(found)
        write_text(path, table.to_csv(index=False, float_format="%.5f", lineterminator="\n"))
    else:
        map_figure(found, path)


def _sheet(project: Any, found: Any, query: int, matches: Any, path: Path) -> None:
    from ethoprism.figure import contact_sheet
    from ethoprism.thumbnails import Thumbnails

    m, pictures = found.moments, []
    with Thumbnails(project) as thumbnails:
        for i, likeness in [(query, "asked"), *((x.moment, f"{x.likeness:.2f}") for x in matches)]:
            unit, frame = m.units[m.unit[i]], int(m.middle[i])
            picture = thumbnails.get(unit.recording, frame, unit.subject)
            pictures.append((f"{unit.name}\n{frame} · {likeness}", picture))
    rows = [("", pictures[a : a + 7]) for a in range(0, len(pictures), 7)]
    contact_sheet(path, rows, f"Most like the first one, {found.key.label}: frame · likeness")
