"""Commands that train encoders: ``ethoprism distil`` and ``ethoprism pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ethoprism.cli.common import ProjectFolder, app, group, open_project, require_recordings

commands = group("pretrain", "Train the small encoder from nothing.")

Teacher = Annotated[str, typer.Option(help="A registered backbone that is imitated.")]
Folder = Annotated[
    Path, typer.Option("--folder", help="Where clips, checkpoint and metrics are kept.")
]
Shorten = Annotated[
    float, typer.Option(help="Share of the steps and clips, for a trial: 0.01 takes minutes.")
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="The weights, .safetensors.")]


@app.command("distil")
def distil_command(
    project: ProjectFolder,
    teacher: Teacher = "videoprism-base",
    student: Annotated[str, typer.Option(help="The encoder that learns.")] = "prism-nano",
    teacher_weights: Annotated[
        str | None, typer.Option(help="Checkpoint of the teacher; by default its own.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="What the student starts from; untrained by default.")
    ] = None,
    folder: Folder = Path("distilled"),
    out: Out = Path("weights.safetensors"),
    shorten: Shorten = 1.0,
    seed: Seed = 0,
) -> None:
    """Train a small encoder on a project's own recordings to say what a large one says."""
    from ethoprism.pretrain.recipe import Recipe, distil_project

    opened = open_project(project)
    require_recordings(opened)
    recipe = _recipe(Recipe(seed=seed), shorten)
    task = distil_project(
        opened, _teacher(teacher, teacher_weights), recipe, folder, student=student, weights=weights
    )
    _finish(task, out)


@commands.command("recipe")
def recipe_command(
    video: Annotated[
        list[Path] | None, typer.Option("--video", help="Recording to learn from; repeatable.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Data set that renders clips.")] = "arena",
    teacher: Teacher = "efficientnet-lite0",
    folder: Folder = Path("pretraining"),
    out: Out = Path("prism_nano.safetensors"),
    shorten: Shorten = 1.0,
    seed: Seed = 0,
) -> None:
    """Train prism-nano from nothing: render and cut clips, ask the teacher, train, write."""
    from ethoprism.pretrain.recipe import Recipe, train_from_scratch

    recipe = _recipe(Recipe(seed=seed), shorten)
    _finish(train_from_scratch(dataset, video or [], _teacher(teacher, None), recipe, folder), out)


def _recipe(recipe: Any, shorten: float) -> Any:
    return recipe if shorten == 1.0 else recipe.shortened(shorten)


def _teacher(name: str, weights: str | None) -> Any:
    from ethoprism import registry
    from ethoprism.cli.common import warn_untrained

    teacher = registry.load("backbones", name)(weights)
    warn_untrained(teacher.card.label, teacher.card.trained)
    return teacher


def _finish(task: Any, out: Path) -> None:
    from ethoprism import console
    from ethoprism.files import replacing

    out.parent.mkdir(parents=True, exist_ok=True)  # before the work, not after hours of it
    made: Path = console.follow(task, "Training")
    if made.resolve() != out.resolve():
        with replacing(out) as temporary:
            temporary.write_bytes(made.read_bytes())
    console.wrote(out)
    use = f"ethoprism init PROJECT --backbone prism-nano --weights {out}"
    console.say(f"Use it in a new project: {use}")
