"""What a data set is: a name, a licence, and a way to put its recordings and labels in a folder.

Every data set registered under the entry points ``ethoprism.datasets`` is an instance of
`Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ethoprism.progress import Progress


@dataclass(frozen=True)
class Dataset:
    """Labelled recordings that can be fetched or made.

    Attributes
    ----------
    name
        The name of its entry point.
    description
        One sentence for menus and the command line.
    licence
        SPDX identifier under which the recordings and labels may be used.
    make
        ``make(out_dir, **options)`` writes into the folder ``out_dir`` (a ``pathlib.Path``, made
        where it is missing) and yields its progress. For each recording it leaves
        ``<name>.mp4`` and ``<name>.bouts.csv`` (recording, subject, behaviour, start_frame,
        stop_frame; half-open), and whatever else it knows beside them under the same name.
        Options are keyword arguments with defaults. Closing the iterator cancels and leaves no
        half-written file under a final name; calling again goes on from where it stopped.
    """

    name: str
    description: str
    licence: str
    make: Callable[..., Iterator[Progress]]
