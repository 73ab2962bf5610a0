"""Several video files that one recording is made of, each opened when a frame of it is needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ethoprism.errors import VideoError
from ethoprism.frame_source import Contents, FrameSource
from ethoprism.readers import ffmpeg
from ethoprism.recording import Recording

_OPEN = 2  # files open at a time


@dataclass
class Videos:
    """Frames of video files, one file behind the other.

    Parameters
    ----------
    paths
        The files.
    firsts
        Number of each file's first frame, and at the end the number of all frames. A file that
        holds fewer frames than it should leaves damaged ones at its end, so none is shifted.
    height, width
        Size of the frames.
    """

    paths: Sequence[Path]
    firsts: Sequence[int]
    height: int
    width: int
    _sources: OrderedDict[int, FrameSource] = field(default_factory=OrderedDict)

    def get(self, n: int) -> np.ndarray | None:
        """Frame ``n`` as uint8 RGB; None if it is damaged or absent."""
        part = int(np.searchsorted(np.asarray(self.firsts), n, side="right")) - 1
        try:
            source = self._source(part)
            place = n - self.firsts[part]
            return source[place] if place < len(source) else None
        except VideoError:
            return None

    def close(self) -> None:
        """Close all files."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()

    def _source(self, part: int) -> FrameSource:
        if part in self._sources:
            self._sources.move_to_end(part)
            return self._sources[part]
        path = self.paths[part]
        found = ffmpeg.inspect(path)
        size = (found.height, found.width)
        if size != (self.height, self.width):
            raise VideoError(f"{path} has frames of {found.width} × {found.height} pixels")
        while len(self._sources) >= _OPEN:
            self._sources.popitem(last=False)[1].close()
        times = found.frame_times if found.frame_times is not None else np.zeros(found.n_frames)
        recording = Recording(
            "part", path, found.n_frames, *size, times, "", found.index, ffmpeg.READER.name
        )
        self._sources[part] = ffmpeg.READER.open(recording)
        return self._sources[part]


def compare(paths: Sequence[Path], counts: Sequence[int]) -> tuple[Contents, tuple[str, ...]]:
    """The first file's contents, and what is lost: files that hold other numbers than stated.

    Parameters
    ----------
    paths
        The files.
    counts
        Frames that each should hold; −1 where that is not stated.

    Raises
    ------
    VideoError
        If a file cannot be opened, or has frames of another size than the first.
    """
    first: Contents | None = None
    damage: list[str] = []
    for path, count in zip(paths, counts, strict=True):
        found = ffmpeg.inspect(path)
        first = first or found
        if (found.height, found.width) != (first.height, first.width):
            raise VideoError(
                f"{path} has frames of another size than {paths[0].name}",
                expected=f"{first.width} × {first.height} pixels",
                found=f"{found.width} × {found.height} pixels",
            )
        if count not in (-1, found.n_frames):
            damage.append(f"{path.name} should hold {count:,} frames and holds {found.n_frames:,}")
        damage += [f"{path.name}: {text}" for text in found.findings.damage]
    if first is None:
        raise VideoError("There is no video file to read")
    return first, tuple(damage)
