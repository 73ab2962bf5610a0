"""Extraction by several workers: on this computer, or wherever a Dask scheduler has them.

`plan` says which blocks make one task; `worker` is what runs in a worker; `connection` finds or
starts workers; `run` hands out the tasks. Dask is an extra, and is imported where it is used.
"""

from __future__ import annotations

from importlib.util import find_spec

from ethoprism.errors import InputError

INSTALL = 'pip install "ethoprism[dask]"'


def require_dask() -> None:
    """Raise an `InputError` that names the command unless Dask is installed."""
    if find_spec("distributed") is None:
        raise InputError(
            "Several workers need the package 'distributed', which is not installed",
            remedy=f"Run: {INSTALL}",
        )
