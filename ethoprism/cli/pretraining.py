"""Commands that train encoders: ``ethoprism distil`` and ``ethoprism pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ethoprism.cli.common import ProjectFolder, app, group, open_project, require_recordings

commands = group("pretrain", "Train the small encoder from nothing.")

Teacher = Annotated[str, typer.Option(help="A registered backbone that is imitated.")]
Precision = Annotated[
    str, typer.Option(help="Arithmetic of the teacher: float32, or bfloat16 where it can.")
]
Student = Annotated[str, typer.Option(help="The encoder that learns: prism-nano or prism-pico.")]
Start = Annotated[
    Path | None, typer.Option("--weights", help="What it starts from; untrained by default.")
]
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
    student: Student = "prism-nano",
    teacher_weights: Annotated[
        str | None, typer.Option(help="Checkpoint of the teacher; by default its own.")
    ] = None,
    teacher_precision: Precision = "float32",
    weights: Start = None,
    folder: Folder = Path("distilled"),
    out: Out = Path("weights.safetensors"),
    shorten: Shorten = 1.0,
    seed: Seed = 0,
) -> None:
    """Train a small encoder on a project's own recordings to say what a large one says."""
    from ethoprism.pretrain.recipe import Recipe, distil_project, student_parameters

    student_parameters(student, weights)  # what cannot be is said before a teacher is downloaded
    opened = open_project(project)
    require_recordings(opened)
    recipe = _recipe(Recipe(seed=seed), shorten)
    task = distil_project(
        opened,
        _teacher(teacher, teacher_weights, teacher_precision),
        recipe,
        folder,
        student=student,
        weights=weights,
    )
    _finish(task, folder, out, student)


@commands.command("recipe")
def recipe_command(
    video: Annotated[
        list[Path] | None, typer.Option("--video", help="Recording to learn from; repeatable.")
    ] = None,
    dataset: Annotated[str, typer.Option(help="Data set that renders clips.")] = "arena",
    teacher: Teacher = "efficientnet-lite0",
    teacher_precision: Precision = "float32",
    weights: Start = None,
    folder: Folder = Path("pretraining"),
    out: Out = Path("prism_nano.safetensors"),
    shorten: Shorten = 1.0,
    seed: Seed = 0,
) -> None:
    """Train prism-nano: render and cut clips, ask the teacher, train, write."""
    from ethoprism.pretrain.recipe import Recipe, student_parameters, train_nano

    student_parameters("prism-nano", weights)  # what cannot be is said before clips are made
    recipe = _recipe(Recipe(seed=seed), shorten)
    says = _teacher(teacher, None, teacher_precision)
    task = train_nano(dataset, video or [], says, recipe, folder, weights=weights)
    _finish(task, folder, out, "prism-nano")


def _recipe(recipe: Any, shorten: float) -> Any:
    return recipe if shorten == 1.0 else recipe.shortened(shorten)


def _teacher(name: str, weights: str | None, precision: str) -> Any:
    from ethoprism import console, workflow
    from ethoprism.cli.common import introduce
    from ethoprism.project import Settings

    settings = Settings(backbone=name, weights=weights or "", precision=precision)
    console.follow(workflow.fetch_weights(settings), "Downloading")
    teacher = workflow.load_backbone(settings)
    introduce(teacher.card)
    choice = workflow.choose_engine(teacher)
    console.say(choice.text)
    return choice.backbone


def _finish(task: Any, folder: Path, out: Path, student: str) -> None:
    from ethoprism import console
    from ethoprism.backbones.weights import read_made_by
    from ethoprism.files import replacing

    out.parent.mkdir(parents=True, exist_ok=True)  # before the work, not after hours of it
    try:
        made: Path = console.follow(task, "Training")
    except KeyboardInterrupt:
        console.note(f"What is finished lies in {folder}; the same command goes on from there.")
        raise
    if made.resolve() != out.resolve():
        with replacing(out) as temporary:
            temporary.write_bytes(made.read_bytes())
    console.wrote(out)
    console.say(f"Made so: {read_made_by(out)}")
    use = f"ethoprism init PROJECT --backbone {student} --weights {out}"
    console.say(f"Use it in a new project: {use}")
