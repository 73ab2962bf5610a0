"""The command line. Every command calls one function of `ethoprism.workflow` and prints.

Exit codes: 0 done; 1 an unexpected error; 2 wrong usage; 3 bad input (video, labels, weights, an
argument); 4 the project lacks something or its parts do not belong together; 5 the disk is full,
read-only or gone; 130 interrupted.

Heavy packages are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

# Importing a module of commands adds them, in this order, to the application.
# isort: off
from ethoprism.cli.common import app
from ethoprism.cli import project  # noqa: F401
from ethoprism.cli import sessions  # noqa: F401
from ethoprism.cli import subjects  # noqa: F401
from ethoprism.cli import extraction  # noqa: F401
from ethoprism.cli import labels  # noqa: F401
from ethoprism.cli import probes  # noqa: F401
from ethoprism.cli import evaluation  # noqa: F401
from ethoprism.cli import reporting  # noqa: F401
from ethoprism.cli import exploring  # noqa: F401
from ethoprism.cli import searching  # noqa: F401
from ethoprism.cli import pretraining  # noqa: F401
from ethoprism.cli import pretraining_text  # noqa: F401
from ethoprism.cli import doctor  # noqa: F401
from ethoprism.cli import gui  # noqa: F401
# isort: on

_debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    from ethoprism.compiled import keep_compiled

    global _debug
    _debug = debug
    if version:
        from ethoprism import __version__

        typer.echo(__version__)
        raise typer.Exit
    keep_compiled()


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command ``ethoprism``."""
    from ethoprism.errors import EthoPrismError

    try:
        code = app(args=arguments, standalone_mode=False)
    except EthoPrismError as error:
        if _debug:
            raise
        from ethoprism.safety import printable

        typer.echo(printable(f"Error: {error}"), err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted. What is finished is kept; the same command goes on.", err=True)
        sys.exit(130)
    except Exception as error:
        if isinstance(error, typer.BadParameter.__mro__[2]):  # a usage error
            error.show()  # type: ignore[attr-defined]
            sys.exit(2)
        if _debug:
            raise
        typer.echo(
            f"Error: {type(error).__name__}: {error}. This was not expected; run again with "
            "'ethoprism --debug ...' to see where it happened.",
            err=True,
        )
        sys.exit(1)
    if isinstance(code, int) and code:
        sys.exit(code)
