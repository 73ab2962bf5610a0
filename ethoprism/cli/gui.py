"""The command that opens the workbench in napari: ``ethoprism gui``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ethoprism.cli.common import app

INSTALL = 'pip install "ethoprism[gui]"'


@app.command()
def gui(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PROJECT|VIDEO]...", help="A project folder, or recordings."),
    ] = None,
) -> None:
    """Open the workbench in napari, with a project or with recordings."""
    import importlib

    from ethoprism.errors import InputError

    given = paths or []
    for path in given:
        if not path.exists():
            raise InputError(f"There is nothing at {path}", expected="a project or a recording")
    require_gui()
    # The library does not depend on its plugin, which comes with it.
    importlib.import_module("napari_ethoprism.launch").run(given)


def require_gui() -> None:
    """Raise an `EthoPrismError` with the remedy where a window cannot be opened."""
    import importlib.util
    import os
    import sys

    from ethoprism.errors import EthoPrismError

    for name in ("napari", "qtpy"):
        if importlib.util.find_spec(name) is None:
            raise EthoPrismError(f"The workbench needs {name}", remedy=f"Run: {INSTALL}")
    try:
        importlib.import_module("qtpy")
    except Exception as error:  # of its own kind where no binding is there, or a broken one's
        raise EthoPrismError(
            "The workbench needs Qt", found=str(error), remedy=f"Run: {INSTALL}"
        ) from error
    headless = not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    )
    if sys.platform.startswith("linux") and headless:
        raise EthoPrismError(
            "There is no display to open a window on",
            expected="a desktop, or a variable DISPLAY or WAYLAND_DISPLAY",
            remedy="Over ssh, connect with 'ssh -X', or run it on the computer itself. The other "
            "commands need no display.",
        )
