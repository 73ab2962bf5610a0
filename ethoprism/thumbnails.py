"""Thumbnails: small pictures of moments, frame-exact, from a few readers that are kept open."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from ethoprism.crops import OF_REGION, Crop, CropPath, cut
from ethoprism.errors import InputError
from ethoprism.frame_source import FrameSource
from ethoprism.project import Project
from ethoprism.recording import FFMPEG, open_frames
from ethoprism.subjects import Unit, crop_path
from ethoprism.video import FrameReader

_READER_BYTES = 48 << 20
"""Decoded frames that one reader keeps; neighbours of a moment are often asked for next."""


def shrink(
    picture: UInt8[np.ndarray, "height width 3"], size: int
) -> UInt8[np.ndarray, "rows columns 3"]:
    """A picture whose longer side is at most ``size`` pixels, in its proportions.

    Each pixel is the mean of those that it stands for. A picture that is small enough stays as it
    is.
    """
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return picture
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(picture).resize(target, Image.Resampling.BOX))


def picture_path(project: Project, unit: Unit) -> CropPath | None:
    """Where pictures of a unit are cut: as the project cuts frames, and to the subject if it can.

    A subject with a track is shown by its square even where whole frames are encoded, since one
    wants to see the animal.
    """
    crop = Crop.parse(project.settings.crop)
    if unit.subject:
        if not project.tracks_path(unit.recording).is_file():
            return None
        return crop_path(project, unit, (crop if crop.kind == "subject" else Crop("subject")).text)
    if crop.kind in OF_REGION and project.entry(unit.recording).region:
        return crop_path(project, unit, crop.text)
    return None


class Thumbnails:
    """Thumbnails of a project's moments. Safe from several threads; close it after use.

    Parameters
    ----------
    project
        Whose recordings are shown.
    size
        Longer side of a thumbnail in pixels.
    readers
        Recordings that are kept open at a time.
    cache_bytes
        Memory for thumbnails.
    """

    def __init__(
        self, project: Project, *, size: int = 160, readers: int = 3, cache_bytes: int = 32 << 20
    ) -> None:
        if size < 1 or readers < 1:
            raise InputError(
                "Thumbnails need a size and a reader", found=f"size {size}, readers {readers}"
            )
        self._project, self._size, self._most_readers = project, size, readers
        self._readers: OrderedDict[str, FrameSource] = OrderedDict()
        self._paths: dict[Unit, CropPath | None] = {}
        self._kept: OrderedDict[tuple[str, str, int], np.ndarray] = OrderedDict()
        self._bytes, self._most_bytes = 0, cache_bytes
        self._lock = threading.Lock()
        self._closed = False

    def get(
        self, recording: str, frame: int, subject: str = ""
    ) -> UInt8[np.ndarray, "rows columns 3"]:
        """The thumbnail of a frame: that frame and no other, cut to the subject if it has a track.

        Parameters
        ----------
        recording
            The project's id.
        frame
            Its number, from 0.
        subject
            Whose picture; empty for the whole frame, or the recording's region.

        Raises
        ------
        InputError
            If the recording has no such frame.
        ProjectError
            If the recording is unknown or its file is gone, or the subject has no track in it.
        VideoError
            If the frame is damaged.
        """
        name = (recording, subject, frame)
        with self._lock:
            if self._closed:
                raise ValueError("expected open Thumbnails, got closed ones")
            if name in self._kept:
                self._kept.move_to_end(name)
                return self._kept[name]
            picture = self._picture(Unit(recording, subject), frame)
            picture.flags.writeable = False
            self._kept[name] = picture
            self._bytes += picture.nbytes
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
            return picture

    def close(self) -> None:
        """Close the readers."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            while self._readers:
                self._readers.popitem()[1].close()

    def __enter__(self) -> Thumbnails:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _picture(self, unit: Unit, frame: int) -> np.ndarray:
        n_frames = self._project.entry(unit.recording).n_frames
        if not 0 <= frame < n_frames:
            raise InputError(
                f"{unit.recording!r} has no frame {frame}", expected=f"0 to {n_frames - 1}"
            )
        picture = np.asarray(self._reader(unit.recording)[frame])
        if unit not in self._paths:
            self._paths[unit] = picture_path(self._project, unit)
        path = self._paths[unit]
        if path is not None:
            top, left = path.top_left[frame].tolist()
            picture = cut(picture, top, left, path.size)
        return np.array(shrink(picture, self._size))  # of its own, without the frame behind it

    def _reader(self, recording: str) -> FrameSource:
        if recording in self._readers:
            self._readers.move_to_end(recording)
            return self._readers[recording]
        found = self._project.recording(recording)
        while len(self._readers) >= self._most_readers:
            self._readers.popitem(last=False)[1].close()
        if found.reader == FFMPEG:
            source: FrameSource = FrameReader(found, cache_bytes=_READER_BYTES)
        else:
            source = open_frames(found)
        self._readers[recording] = source
        return source
