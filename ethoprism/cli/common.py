"""What the commands share: the application, its common options, and checks of what was typed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ethoprism.project import Project

# Rich's help would take longer to import than all else that --help needs.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Frozen VideoPrism tokens, labels, probes and per-frame predictions for behaviour "
    "recordings.",
)

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Project folder.")]
Recordings = Annotated[
    list[str] | None,
    typer.Option("--recording", "-r", help="Recording; may be repeated. All by default."),
]
ProbeName = Annotated[str, typer.Option("--probe", help="Name of the probe.")]


def group(name: str, help: str) -> typer.Typer:
    """A group of commands, ``ethoprism <name> …``."""
    commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=help)
    app.add_typer(commands, name=name)
    return commands


def open_project(folder: Path) -> Project:
    from ethoprism.project import Project

    return Project.open(folder)


def require_recordings(project: Project) -> None:
    from ethoprism.errors import ProjectError

    if not project.entries:
        raise ProjectError(
            f"{project.folder} has no recordings", remedy="Run: ethoprism add PROJECT VIDEO..."
        )


def split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"expected one of {', '.join(choices)}, found {value!r}: {option}")


def introduce(card: Any) -> None:
    from ethoprism import console

    console.say(f"Backbone {card.label}, {card.frames} frames of {card.input_size} px")
    if card.trained and card.note:
        console.say(f"Its weights: {card.note}")
    warn_untrained(card.label, card.trained)


def warn_untrained(label: str, trained: bool) -> None:
    from ethoprism import console

    if not trained:
        console.note(
            f"{label}: its weights are random. Probes on it learn from appearance and motion as "
            "they come; figures say little of what a trained backbone gives."
        )
