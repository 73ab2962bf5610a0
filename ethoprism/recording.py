"""Recording: which file, how large, and when each of its frames was shown.

The frame index is the only clock; frame ranges are half-open. Seconds come only from
``frame_times``, never from a nominal frame rate.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ethoprism import registry
from ethoprism.errors import InputError, VideoError
from ethoprism.frame_index import Findings, FrameIndex, Picture
from ethoprism.frame_source import Contents, FrameSource, Reader

FFMPEG = "ffmpeg"
"""The reader of everything that no other reader claims."""

_BLOCK = 1 << 20  # bytes of a sampled block
_BLOCKS = 32  # sampled blocks of a large file; smaller files are read whole
_LONGEST_ID = 100  # bytes in UTF-8: two ids and an ending fit into the 255 of a file's name
_DEVICES = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{d}{i}" for d in ("com", "lpt") for i in "123456789¹²³"),
}


@dataclass(frozen=True, eq=False)
class Recording:
    """One recording as a project knows it.

    Attributes
    ----------
    id
        Name within the project; safe as a file name.
    path
        Where the video lies.
    n_frames, height, width
        Decoded frames, and their size in pixels as decoded.
    frame_times
        float64, shape ``(n_frames,)``: seconds at which each frame is presented, in presentation
        order, as the container states them.
    content_key
        Digest of the file's content, so that a moved file is known and a changed one is noticed.
    index
        The packets that the frames come from, where they are known already; whoever reads frames
        makes the index anew where it is None.
    reader
        Name of the reader in the registry.
    array
        Name of the array within the file; empty for the only one.
    times_from
        Empty where the frame times are the file's own; ``given`` where they came from elsewhere.
    """

    id: str
    path: Path
    n_frames: int
    height: int
    width: int
    frame_times: np.ndarray
    content_key: str
    index: FrameIndex | None = field(default=None, repr=False)
    reader: str = FFMPEG
    array: str = ""
    times_from: str = ""


@dataclass(frozen=True)
class Gap:
    """A pause in a recording: ``seconds`` pass between frame ``after`` and the next."""

    after: int
    seconds: float


@dataclass(frozen=True)
class ImportReport:
    """What was found when a recording was opened.

    Attributes
    ----------
    container_frames
        Frames that the container states, or None if it states no number.
    n_frames
        Frames that were found.
    variable_rate
        Whether the intervals between frames differ by more than the rounding of the container's
        timestamps, gaps and duplicates aside.
    mean_rate
        Frames a second on average, for display only; NaN where all frames have one time.
    duplicates
        Frames that have the same time as the frame before.
    gaps
        Intervals that are far longer than the usual one: frames were probably lost there.
    dropped
        Frames that would fill these gaps at the usual interval.
    picture
        How the file asks for its pictures to be displayed.
    missing_timestamps
        Frames for which the container states no time of presentation.
    damage
        What is lost, in sentences.
    notes
        What else there is to know, in sentences.
    """

    container_frames: int | None
    n_frames: int
    variable_rate: bool
    mean_rate: float
    duplicates: tuple[int, ...]
    gaps: tuple[Gap, ...]
    dropped: int
    picture: Picture
    missing_timestamps: int
    damage: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def damaged(self) -> bool:
        """Whether content of the recording is lost."""
        return bool(self.damage)

    @property
    def warnings(self) -> list[str]:
        """Everything that a user should know before relying on the recording, in sentences."""
        sentences = [*self.damage]
        if self.variable_rate:
            sentences.append(
                f"the frame rate varies (about {self.mean_rate:.4g} frames a second on average);"
                " times are taken from each frame's timestamp"
            )
        if self.duplicates:
            sentences.append(
                f"{_count(self.duplicates, 'frame')} the time of the frame before, the first is"
                f" frame {self.duplicates[0]}"
            )
        if self.gaps:
            first = self.gaps[0]
            sentences.append(
                f"about {self.dropped} frames seem to be missing in {len(self.gaps)} places; the"
                f" first is behind frame {first.after}, where {first.seconds:.4g} s pass before the"
                " next"
            )
        return [_sentence(text) for text in (*sentences, *self.notes)]


def open_recording(
    path: Path,
    id: str | None = None,
    *,
    accept_damaged: bool = False,
    reader: str = "",
    array: str = "",
    frame_times: np.ndarray | None = None,
) -> tuple[Recording, ImportReport]:
    """A recording with its frame times, and a report of what was found in the file.

    The packets of the file are read once, without decoding more than the first frames, where the
    container states a timestamp for each of them. Where it does not (MPEG-4 or H.264 with B-frames
    in AVI, raw H.264) the stream is decoded once from end to end.

    Parameters
    ----------
    path
        The file or folder.
    id
        Name of the recording, safe as a file name; made from the file's name if None.
    accept_damaged
        Whether a damaged recording is opened as far as it can be read. Otherwise it is refused.
    reader
        Name of the reader; by default the one that `reader_of` chooses.
    array
        Name of the array within the file, for formats that hold several.
    frame_times
        float64 ``(n_frames,)``: seconds at which each frame was shown, in place of what the file
        states; needed where it states none.

    Raises
    ------
    InputError
        If the id is not safe as a file name.
    VideoError
        If the file is absent, is no video, holds no frame, or is damaged and not accepted so.
    """
    name = id_from_name(path.stem) if id is None else id
    check_name(name)
    chosen: Reader = registry.load("readers", reader) if reader else reader_of(path)
    contents = chosen.inspect(path, array)
    times = _times(path, contents, frame_times)
    report = _report(times, contents.findings)
    if report.damaged and not accept_damaged:
        raise VideoError(
            f"{path} is damaged",
            expected="a recording that can be read to its end",
            found="; ".join(report.damage),
            remedy=f"Copy it again from its source, or accept the {contents.n_frames} frames that"
            " can be read (accept_damaged)",
        )
    recording = Recording(
        name,
        path,
        contents.n_frames,
        contents.height,
        contents.width,
        times,
        chosen.content_key(path),
        contents.index,
        chosen.name,
        array,
        "given" if frame_times is not None else "",
    )
    return recording, report


def reader_of(path: Path) -> Reader:
    """The reader of a file or folder: the one that claims it, or FFmpeg's."""
    for name in registry.names("readers"):
        if name != FFMPEG:
            reader: Reader = registry.load("readers", name)
            if reader.matches(path):
                return reader
    return registry.load("readers", FFMPEG)


def open_frames(recording: Recording) -> FrameSource:
    """The frames of a recording, from whatever they are stored in; close it after use.

    Raises
    ------
    VideoError
        If the file cannot be read, or is not the one that was imported.
    """
    reader: Reader = registry.load("readers", recording.reader)
    return reader.open(recording)


def edge_times(frame_times: np.ndarray) -> np.ndarray:
    """Presentation times with one more at the end: the last one plus the last interval."""
    interval = frame_times[-1] - frame_times[-2] if len(frame_times) > 1 else 0.0
    return np.append(frame_times, frame_times[-1] + interval)


def content_key(path: Path) -> str:
    """The key of a file's content: 64 hexadecimal digits, the same wherever the file lies.

    It is the SHA-256 of the file's length and of 32 blocks of 1 MiB, spaced evenly from the first
    byte to the last; a file of up to 32 MiB is read whole. So it takes a moment for a file of
    100 GB too, and notices any change of length, of the header and of the index at either end, but
    not an edit of single bytes between the blocks.

    Raises
    ------
    VideoError
        If the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        length = path.stat().st_size
        digest.update(f"ethoprism content {length} ".encode())
        with path.open("rb") as file:
            if length <= _BLOCKS * _BLOCK:
                digest.update(file.read())
            else:
                for block in range(_BLOCKS):
                    file.seek((length - _BLOCK) * block // (_BLOCKS - 1))
                    digest.update(file.read(_BLOCK))
    except OSError as error:
        raise VideoError(
            f"{path} cannot be read",
            expected="a video file",
            found=error.strerror or str(error),
            remedy="Check the spelling, and that the drive is connected.",
        ) from error
    return digest.hexdigest()


def id_from_name(name: str) -> str:
    """A recording id made from a file's name: signs that file systems object to become ``_``."""
    text = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", name)).strip("._-")
    if text.split(".")[0].lower() in _DEVICES:
        text = f"_{text}"  # Windows keeps these names for devices, whatever their ending
    short = text.encode()[:_LONGEST_ID].decode("utf-8", "ignore")
    return short.rstrip(".") or "recording"


def check_name(name: str, what: str = "recording") -> str:
    """``name``, if it can name files on every system and stays in its folder.

    Raises
    ------
    InputError
        If it can't; the message suggests one that can.
    """
    safe = (
        re.fullmatch(r"[\w.-]+", name) is not None
        and name == unicodedata.normalize("NFC", name)
        and len(name.encode()) <= _LONGEST_ID
        and not name.startswith((".", "-"))
        and not name.endswith(".")
        and name.split(".")[0].lower() not in _DEVICES
    )
    if not safe:
        raise InputError(
            f"{name!r} cannot be the id of a {what}",
            expected=f"up to {_LONGEST_ID} bytes of letters, digits, '_', '-' or '.', not starting"
            " with '.' or '-'",
            remedy=f"For instance {id_from_name(name)!r}.",
        )
    return name


def _times(path: Path, contents: Contents, given: np.ndarray | None) -> np.ndarray:
    n_frames, stated = contents.n_frames, contents.frame_times
    if given is not None:
        if given.shape != (n_frames,):
            raise InputError(
                f"The frame times given for {path.name} are not one per frame",
                expected=f"{n_frames} times",
                found=f"{len(given)} times",
            )
        return np.asarray(given, np.float64)
    if stated is None:
        raise InputError(
            f"{path.name} does not state when its frames were shown",
            expected="a table of frame times, or a frame rate",
            found="; ".join(contents.findings.notes),
            remedy="Give --frame-times FILE, or --rate FRAMES_PER_SECOND if it was constant.",
        )
    return stated


def _report(times: np.ndarray, findings: Findings) -> ImportReport:
    intervals = np.diff(times)
    moving = intervals[intervals > 0]
    usual = float(np.median(moving)) if len(moving) else math.nan
    duplicates = np.flatnonzero(intervals <= 0) + 1
    # Each timestamp is rounded to a tick, so an interval may be off by one tick and no more.
    # Seconds since 1970 leave float64 only some digits behind the point.
    rounding = findings.tick * 1.001 + 4 * float(np.spacing(abs(times[-1])))
    regular = abs(moving - usual) <= rounding
    long = moving > 1.5 * usual
    variable = bool((~regular & ~long).any()) or bool(long.mean() > 0.1 if len(long) else False)
    far = np.flatnonzero(intervals > (3 if variable else 1.5) * usual) if len(moving) else []
    span = float(times[-1] - times[0])
    return ImportReport(
        container_frames=findings.container_frames,
        n_frames=len(times),
        variable_rate=variable,
        mean_rate=(len(times) - 1) / span if span > 0 else math.nan,
        duplicates=tuple(duplicates.tolist()),
        gaps=tuple(Gap(int(after), float(intervals[after])) for after in far),
        dropped=int(sum(round(float(intervals[after]) / usual) - 1 for after in far)),
        picture=findings.picture,
        missing_timestamps=findings.missing_timestamps,
        damage=findings.damage,
        notes=findings.notes,
    )


def _count(items: tuple[int, ...], noun: str) -> str:
    return f"1 {noun} has" if len(items) == 1 else f"{len(items)} {noun}s have"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
