"""The command that brings texts to the small encoder: ``ethoprism pretrain text``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.pretraining import Folder, Seed, Shorten, commands


@commands.command("text")
def text_command(
    dataset: Annotated[str, typer.Option(help="Data set that renders captioned clips.")] = "arena",
    clips: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of captioned clips that are there already; repeatable."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="The video encoder: a checkpoint of prism-nano; by default its own."),
    ] = None,
    folder: Folder = Path("pretraining-text"),
    out: Annotated[Path, typer.Option("--out", "-o", help="The whole model, .safetensors.")] = Path(
        "prism_nano_lvt.safetensors"
    ),
    shorten: Shorten = 1.0,
    seed: Seed = 0,
) -> None:
    """Train prism-nano-lvt: a text encoder that is brought to the clips of a data set."""
    from dataclasses import replace

    from ethoprism import console
    from ethoprism.backbones.nano_text import KNOWS, NAME
    from ethoprism.files import replacing
    from ethoprism.pretrain.contrast_recipe import TextRecipe, train_text

    out.parent.mkdir(parents=True, exist_ok=True)  # before the work, not after hours of it
    recipe = TextRecipe()
    recipe = replace(recipe, plan=replace(recipe.plan, seed=seed))
    if shorten != 1.0:
        recipe = recipe.shortened(shorten)
    task = train_text(recipe, folder, dataset=dataset, clips=clips or [], weights=weights)
    try:
        made = console.follow(task, "Training")
    except KeyboardInterrupt:
        console.note(f"What is finished lies in {folder}; the same command goes on from there.")
        raise
    for source, copy in ((made, out), (made.with_suffix(".model"), out.with_suffix(".model"))):
        if source.resolve() != copy.resolve():
            with replacing(copy) as temporary:
                temporary.write_bytes(source.read_bytes())
        console.wrote(copy)
    use = f"ethoprism init PROJECT --backbone {NAME} --weights {out}"
    console.say(f"Use it in a new project: {use}")
    console.say(f"Note: {KNOWS}.")
