"""What a data set is: a name, a licence, and a way to put its recordings and labels in a folder.

Every data set registered under the entry points ``ethoprism.datasets`` is an instance of
`Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ethoprism.progress import Progress


@dataclass(frozen=True, eq=False)
class Shot:
    """A short clip with its caption.

    Attributes
    ----------
    frames
        uint8 ``(frames, size, size, 3)``, RGB.
    caption
        What it shows, in one sentence.
    facts
        What the caption was made of.
    """

    frames: np.ndarray
    caption: str
    facts: dict[str, Any] = field(default_factory=dict)


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
    clips
        ``clips(seed)`` gives `Shot` values without end, for pre-training; None where the data set
        has none.
    """

    name: str
    description: str
    licence: str
    make: Callable[..., Iterator[Progress]]
    clips: Callable[[int], Iterator[Shot]] | None = None
