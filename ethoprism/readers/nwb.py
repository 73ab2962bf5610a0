"""NWB image series, with frames in the file or in video files beside it; read by h5py.

Only a few objects of the NWB schema are needed (https://nwb-schema.readthedocs.io, ImageSeries), so
they are read directly: pynwb would build the whole file's objects from the schema that the file
itself carries.
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._arrays import Layout
from ethoprism.readers._frames import (
    MOST_FRAMES,
    Frames,
    changed,
    check_size,
    findings,
    first_bytes,
    sound_times,
    unreadable,
)
from ethoprism.readers._pixels import stated_bits
from ethoprism.readers._videos import Videos, compare
from ethoprism.readers.hdf5 import (
    ERRORS,
    MAGIC,
    check_dataset,
    first_notes,
    frame_getter,
    open_file,
)
from ethoprism.recording import Recording
from ethoprism.recording import content_key as file_key

_WHAT = "an NWB file with an image series"
_TYPES = {"ImageSeries", "OnePhotonSeries", "TwoPhotonSeries", "OpticalSeries"}
_MOST_FILES = 10_000


@dataclass(frozen=True)
class _External:
    """Frames in video files beside the NWB file."""

    paths: list[Path]
    firsts: list[int]


def matches(path: Path) -> bool:
    """Whether the name ends in .nwb and the first bytes are those of HDF5."""
    return path.suffix.lower() == ".nwb" and first_bytes(path, 8) == MAGIC


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of an image series; ``array`` is its name, or its path within the file.

    Raises
    ------
    InputError
        If there are several series and none is named, or not the one that is named.
    VideoError
        If the series cannot be read, or its files lie elsewhere than beside the NWB file.
    """
    file = open_file(path, _WHAT)
    try:
        series = _series(file, path, array)
        if "external_file" in series:
            return _inspect_external(series, path)
        data, plan, assumed = _internal(series, path)
        bits = _bits(series)
        notes = (*assumed, *first_notes(data, plan, bits, path))
        times, more = _times(series, plan.size[0])
        found = findings(None, (), (*notes, *more), pixels=str(data.dtype))
        return Contents(*plan.size, times, found)
    except ERRORS as error:
        raise unreadable(path, _WHAT, error) from error
    finally:
        file.close()


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the series is not the one that was imported.
    """
    path = recording.path
    size = (recording.n_frames, recording.height, recording.width)
    file = open_file(path, _WHAT)
    try:
        series = _series(file, path, recording.array)
        if "external_file" in series:
            external = _external(series, path)
            firsts = [*external.firsts, size[0]]
            file.close()
            videos = Videos(external.paths, firsts, *size[1:])
            return Frames(path, size, videos.get, videos.close)
        data, plan, _ = _internal(series, path)
        if plan.size != size:
            raise changed(path)
        return Frames(path, size, frame_getter(data, plan, _bits(series)), file.close)
    except ERRORS as error:
        file.close()
        raise unreadable(path, _WHAT, error) from error
    except InputError:
        file.close()
        raise


def content_key(path: Path) -> str:
    """The key of the NWB file and of the video files beside it that it names."""
    digest = hashlib.sha256(file_key(path).encode())
    file = open_file(path, _WHAT)
    try:
        for name in sorted(found := _all_series(file)):
            if "external_file" in found[name]:
                for part in _external(found[name], path).paths:
                    if part.is_file():
                        digest.update(file_key(part).encode())
    except (*ERRORS, InputError):
        pass  # what cannot be read adds nothing; the series that is opened is checked elsewhere
    finally:
        file.close()
    return digest.hexdigest()


def _all_series(file: Any) -> dict[str, Any]:
    """Image series by their path; only hard links are followed."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and _text(item.attrs.get("neurodata_type")) in _TYPES:
            found[name] = item

    file.visititems(visit)
    return found


def _series(file: Any, path: Path, array: str) -> Any:
    found = _all_series(file)
    wanted = array.strip("/")
    chosen = [n for n in found if not wanted or wanted in (n, n.rsplit("/", 1)[-1])]
    if len(chosen) != 1:
        raise InputError(
            f"{path} holds {len(chosen) or 'no'} image series" + (f" {array!r}" if array else ""),
            expected="one ImageSeries, or the name of one as the array",
            found=", ".join(sorted(found)[:20]) or "no ImageSeries",
            remedy=f"For instance --array {min(found)}." if found else "",
        )
    return found[chosen[0]]


def _internal(series: Any, path: Path) -> tuple[Any, Layout, tuple[str, ...]]:
    """The array of a series, its layout, and what was assumed about rows and columns.

    The schema orders x before y. Most writers store rows first, as images lie in memory. Where the
    series states its dimensions (x, y), they decide.
    """
    import h5py

    link = series.get("data", getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise ValueError("no data, or data behind a link, which may lead out of the file")
    data = series["data"]
    axes, notes = "TYX" + ("C" if data.ndim == 4 else ""), ()
    if data.ndim not in (3, 4):
        raise ValueError(f"data of the shape {data.shape}; [t, y, x] or [t, y, x, c] are read")
    stored = [int(n) for n in data.shape[1:3]]
    stated = _dimension(series)
    if stored[0] != stored[1]:
        if stated == stored:
            axes = "TXY" + axes[3:]
        elif stated != stored[::-1]:
            notes = (
                "the series does not state its dimensions, so rows are taken to come first; if the"
                " picture lies on its side, state dimension as (x, y) in the file",
            )
    return data, check_dataset(data, path, axes), notes


def _dimension(series: Any) -> list[int]:
    import h5py

    if not isinstance(series.get("dimension", getlink=True), h5py.HardLink):
        return []
    values = series["dimension"]
    if not isinstance(values, h5py.Dataset) or values.size is None or not 2 <= values.size <= 3:
        return []
    return [int(n) for n in np.asarray(values[()]).reshape(-1)[:2]]


def _bits(series: Any) -> int:
    import h5py

    if isinstance(series.get("bits_per_pixel", getlink=True), h5py.HardLink):
        values = series["bits_per_pixel"]
        if isinstance(values, h5py.Dataset) and values.size == 1:
            return stated_bits(values[()])
    return 0


def _times(series: Any, n: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Seconds of the session at which the frames were shown, and notes."""
    import h5py

    if "timestamps" in series:
        stamps = series["timestamps"]
        if not isinstance(stamps, h5py.Dataset) or stamps.external or stamps.is_virtual:
            return None, ("its timestamps lie in other files; they are never followed",)
        if stamps.shape != (n,) or stamps.dtype.kind not in "fiu":
            return None, (
                f"it states {stamps.shape[0] if stamps.ndim == 1 else 'no'} timestamps for {n}"
                " frames, so none of them is used",
            )
        return sound_times(np.asarray(stamps[()]))
    if "starting_time" in series:
        start = series["starting_time"]
        rate = float(np.asarray(start.attrs["rate"]).reshape(-1)[0])
        if not (np.isfinite(rate) and rate > 0):
            return None, (f"it states a rate of {rate}",)
        first = float(np.asarray(start[()]).reshape(-1)[0])
        times, notes = sound_times(first + np.arange(n) / rate)
        return times, (*notes, f"its times are counted from a constant rate of {rate:.6g}")
    return None, ()


def _inspect_external(series: Any, path: Path) -> Contents:
    external = _external(series, path)
    counts = [*np.diff(external.firsts).tolist(), -1]
    first, damage = compare(external.paths, counts)
    from ethoprism.readers import ffmpeg

    last = ffmpeg.inspect(external.paths[-1]) if len(external.paths) > 1 else first
    n = external.firsts[-1] + last.n_frames
    check_size(path, n, first.height, first.width)
    times, notes = _times(series, n)
    return Contents(
        n, first.height, first.width, times, findings(None, damage, notes, pixels="video files")
    )


def _external(series: Any, path: Path) -> _External:
    """The video files of a series, and the number of the first frame in each.

    Raises
    ------
    ValueError
        If what is stated about them makes no sense.
    VideoError
        If one lies elsewhere than beside the NWB file, or is absent.
    """
    names = series["external_file"]
    if names.external or names.is_virtual or names.ndim != 1:
        raise ValueError("names of files that lie in other files, or not in a list")
    if not 1 <= names.shape[0] <= _MOST_FILES:
        raise ValueError(f"{names.shape[0]:,} external files")
    paths = [_beside(path, _text(name)) for name in names[()]]
    firsts = np.asarray(names.attrs.get("starting_frame", [0])).reshape(-1)
    if len(firsts) != len(paths) or firsts.dtype.kind not in "iuf":
        raise ValueError(f"{len(paths)} files and {len(firsts)} starting frames")
    numbers = [int(n) for n in firsts]
    if numbers[0] != 0 or any(b <= a for a, b in itertools.pairwise(numbers)):
        raise ValueError("starting frames that do not rise from 0")
    if numbers[-1] > MOST_FRAMES:
        raise ValueError(f"a file that starts at frame {numbers[-1]:,}")
    return _External(paths, numbers)


def _beside(path: Path, name: str) -> Path:
    """A file that an NWB file names, in the NWB file's folder or below it."""
    relative = PurePosixPath(name.replace("\\", "/"))
    outside = (
        not name
        or "://" in name
        or "\0" in name
        or relative.is_absolute()
        or PureWindowsPath(name).drive
        or ".." in relative.parts
    )
    folder = path.parent.resolve()
    found = folder if outside else (folder / relative).resolve()
    if outside or not found.is_relative_to(folder):
        raise VideoError(
            f"{path.name} names a video file outside its folder",
            expected=f"files in {path.parent}",
            found=name[:200],
            remedy="Put the video beside the NWB file and name it relative to that, or open the"
            " video itself.",
        )
    if not found.is_file():
        raise VideoError(
            f"A video file of {path.name} is absent", expected=str(found), remedy="Put it there."
        )
    return found


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


READER = Reader(
    name="nwb",
    title="image series in NWB files (.nwb)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
