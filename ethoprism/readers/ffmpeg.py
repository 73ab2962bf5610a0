"""Video files that FFmpeg decodes; the reader of everything that no other reader claims."""

from __future__ import annotations

from pathlib import Path

from ethoprism.errors import InputError
from ethoprism.frame_source import Contents, Reader
from ethoprism.indexing import build_index
from ethoprism.recording import content_key
from ethoprism.video import FrameReader


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a video file's best video stream.

    Raises
    ------
    InputError
        If an array is named: a video file has none.
    VideoError
        If the file is absent, is no video, or holds no frame.
    """
    if array:
        raise InputError(
            f"{path} is a video file, which has no arrays to choose from",
            found=f"the array {array!r}",
            remedy="Leave the name of the array out.",
        )
    index, findings = build_index(path)
    return Contents(index.n_frames, index.height, index.width, index.frame_times, findings, index)


READER = Reader(
    name="ffmpeg",
    title="video files (mp4, mkv, mov, avi, webm, …)",
    matches=Path.is_file,
    inspect=inspect,
    open=FrameReader,
    content_key=content_key,
)
