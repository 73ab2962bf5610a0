"""Commands that look by text: ``ethoprism search`` and ``ethoprism zero-shot``."""

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
)

Templates = Annotated[
    list[str] | None,
    typer.Option(
        "--template",
        help="Sentence with {} for the text; may be repeated. '{}' and 'a video of {}' by default.",
    ),
]
TextModel = Annotated[
    Path | None,
    typer.Option("--tokenizer", help="SentencePiece model, where it can't be downloaded."),
]
LevelName = Annotated[str, typer.Option(help="'window' or 'frame': what is scored as one.")]
Subject = Annotated[str, typer.Option(help="Where crops follow subjects, only this one.")]


@app.command()
def search(
    project: ProjectFolder,
    text: Annotated[list[str], typer.Argument(help="What to look for; several are averaged.")],
    top: Annotated[int, typer.Option("--top", help="Moments to list.")] = 20,
    recording: Recordings = None,
    subject: Subject = "",
    level: LevelName = "window",
    min_gap: Annotated[
        float | None,
        typer.Option(help="Seconds between two moments of the list; a window by default."),
    ] = None,
    template: Templates = None,
    without: Annotated[
        list[str] | None,
        typer.Option("--not", help="What to tell it from; may be repeated."),
    ] = None,
    behaviour: Annotated[str, typer.Option(help="Behaviour whose labels judge the list.")] = "",
    tokenizer: TextModel = None,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", "-o", help="File to write, .csv or a picture; may be repeated."),
    ] = None,
) -> None:
    """Find the moments that look most like a text, with a video-text backbone."""
    from ethoprism import console
    from ethoprism.search.find import SearchPlan, require_text
    from ethoprism.search.find import search as find
    from ethoprism.search.measured import behaviour_of, measure
    from ethoprism.search.outputs import found_sheet, write_list
    from ethoprism.search.prompts import TEMPLATES, Query

    one_of("--level", level, ("window", "frame"))
    query = Query(tuple(text), tuple(without or ()), tuple(template or TEMPLATES))
    plan = SearchPlan(level, top, min_gap, tuple(recording or ()), subject)  # type: ignore[arg-type]
    opened = open_project(project)
    require_recordings(opened)
    require_text(opened)
    known = _known_behaviour(opened, behaviour) or behaviour_of(opened.ethogram, query)
    backbone, given = _text_backbone(opened, tokenizer, (*query.prompts, *query.contrast))
    found = console.follow(find(opened, backbone, query, plan, given), "Searching")
    table = found.table()
    shown = table.rename(columns={"start_s": "start (s)", "stop_s": "stop (s)"})
    shown["score"] = [f"{score:.3f}" for score in table["score"]]
    console.table(shown, f"{query.label!r}, {found.key.label}")
    console.say(
        f"{len(found.moments):,} {level}s were scored. The score is a cosine"
        + (", less that of what is told from it" if query.without else "")
        + "; only the order means something."
    )
    measured = measure(opened, found, known) if known else None
    if measured is not None:
        console.say(measured.sentence)
    else:
        console.say("No behaviour has that name or definition: --behaviour NAME judges the list.")
    for path in out or ():
        if path.suffix.lower() == ".csv":
            write_list(found, path, measured)
        else:
            console.follow(found_sheet(opened, found, path), "Drawing")
        console.wrote(path)


@app.command("zero-shot")
def zero_shot_command(
    project: ProjectFolder,
    behaviour: Annotated[
        list[str] | None,
        typer.Option("--behaviour", "-b", help="Behaviour; may be repeated. All by default."),
    ] = None,
    recording: Recordings = None,
    subject: Subject = "",
    level: LevelName = "window",
    template: Templates = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Write shares of the behaviours too: softmax of score / temperature."),
    ] = None,
    tokenizer: TextModel = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="CSV to write; one in exports/ by default.")
    ] = None,
) -> None:
    """Score every frame against the ethogram's definitions, without labels and without a probe."""
    from ethoprism import console
    from ethoprism.search.find import require_text
    from ethoprism.search.prompts import TEMPLATES
    from ethoprism.search.zero_shot import (
        ZeroShotPlan,
        behaviour_prompts,
        summary,
        write_frames,
        zero_shot,
    )

    one_of("--level", level, ("window", "frame"))
    plan = ZeroShotPlan(
        tuple(behaviour or ()),
        tuple(template or TEMPLATES),
        level,  # type: ignore[arg-type]
        temperature,
        tuple(recording or ()),
        subject,
    )
    opened = open_project(project)
    require_recordings(opened)
    prompts = behaviour_prompts(opened, plan)
    require_text(opened)
    flat = [prompt for some in prompts.values() for prompt in some]
    backbone, given = _text_backbone(opened, tokenizer, flat)
    for name in prompts:
        if not opened.ethogram[name].definition.strip():
            console.note(f"{name} has no definition; its name is the prompt.")
    found = console.follow(zero_shot(opened, backbone, plan, given), "Scoring")
    table = summary(opened, found)
    table.insert(1, "prompt", [prompts[name][0] for name in table["behaviour"]])
    table["mean_score"] = [f"{score:.3f}" for score in table["mean_score"]]
    console.table(
        table.rename(columns=lambda name: name.replace("_", " ")),
        f"Zero-shot (no probe, no labels used), {found.key.label}",
    )
    console.say("Average precision without any skill is the prevalence of the labelled frames.")
    console.say("Scores are cosines, not probabilities, and not comparable between behaviours.")
    untrained = "" if found.key.trained else "-untrained"
    path = out or opened.exports_folder / f"zero-shot{untrained}-frames.csv"
    write_frames(opened, found, path)
    console.wrote(path)


def _known_behaviour(project: Any, name: str) -> str:
    from ethoprism.errors import InputError

    if name and name not in project.ethogram:
        raise InputError(
            f"The ethogram has no behaviour {name!r}",
            expected=", ".join(project.ethogram.names) or "behaviours",
        )
    return name


def _text_backbone(project: Any, tokenizer: Path | None, prompts: Any) -> tuple[Any, Any]:
    """The project's backbone and the tokenizer that was given, introduced and checked."""
    from ethoprism import console, workflow
    from ethoprism.backbones.tokenizer import Tokenizer
    from ethoprism.errors import ProjectError
    from ethoprism.search.prompts import text_backbones, too_long

    given = None if tokenizer is None else Tokenizer(tokenizer)
    console.follow(workflow.fetch_weights(project.settings), "Downloading")
    backbone: Any = workflow.load_backbone(project.settings)
    if not hasattr(backbone, "embed_text"):
        raise ProjectError(
            f"The project's backbone {backbone.card.name} knows no text",
            expected=f"a video-text backbone: {', '.join(text_backbones())}",
        )
    if not backbone.card.trained:
        console.note(
            f"{backbone.card.label}: its weights are random, so it knows no words. The order below "
            "means nothing."
        )
    given = None if given is None else backbone.check_tokenizer(given)
    console.notes(too_long(given or backbone.tokenizer, prompts))
    return backbone, given
