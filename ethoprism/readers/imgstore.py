"""imgstore folders of loopbio: chunks of images or videos, and a table of times for each chunk.

After the project's description and behaviour: https://github.com/loopbio/imgstore.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import Contents, FrameSource, Reader
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
from ethoprism.readers._pixels import check_pixels, to_rgb
from ethoprism.readers._videos import Videos, compare
from ethoprism.readers.images import decode
from ethoprism.recording import Recording
from ethoprism.recording import content_key as file_key
from ethoprism.safety import ZIP_ERRORS, load_npy, npy_header

_WHAT = "an imgstore: metadata.yaml and numbered chunks beside it"
_METADATA = "metadata.yaml"
_IMAGES = {"png": "PNG", "jpg": "JPEG", "tif": "TIFF", "bmp": "BMP", "ppm": "PPM", "pgm": "PPM"}
_ENDINGS = (".mp4", ".avi", ".mkv")
_MOST_METADATA = 2**20
_MOST_TABLE = 2**28
_TABLE = ("frame_number", "frame_time")


@dataclass(frozen=True)
class _Chunk:
    path: Path  # the folder of images, or the video file
    count: int
    numbers: np.ndarray
    times: np.ndarray


@dataclass(frozen=True)
class _Store:
    kind: str  # png, jpg, …, npy, or the ending of the videos
    height: int
    width: int
    shape: tuple[int, ...]
    chunks: list[_Chunk]
    damage: tuple[str, ...]

    @property
    def firsts(self) -> list[int]:
        return np.cumsum([0, *(chunk.count for chunk in self.chunks)]).tolist()


def matches(path: Path) -> bool:
    """Whether it is such a folder or its metadata.yaml, by the key that every store has in it."""
    table = path / _METADATA
    try:
        if path.name == _METADATA and path.is_file():
            table = path
        return b"__store:" in first_bytes(table, _MOST_METADATA)
    except OSError:
        return False


def inspect(path: Path, array: str = "") -> Contents:
    """The frames of a store, one for each row of the chunks' tables.

    Raises
    ------
    InputError
        If an array is named: the format has none.
    VideoError
        If it is no such folder, is of a kind that is not read, or holds no frame.
    """
    if array:
        raise InputError(f"{path} has no arrays to choose from", found=f"the array {array!r}")
    store = _store(path)
    height, width, damage = store.height, store.width, store.damage
    if f".{store.kind}" in _ENDINGS:
        paths, counts = [c.path for c in store.chunks], [c.count for c in store.chunks]
        first, lost = compare(paths, counts)
        height, width, damage = first.height, first.width, (*damage, *lost)
    else:
        absent = [p for c in store.chunks for p in _images(c, store.kind) if not p.is_file()]
        if absent:
            damage += (f"{len(absent)} images are absent, the first is {absent[0].name}",)
    n = store.firsts[-1]
    check_size(path, n, height, width)
    times, notes = sound_times(np.concatenate([c.times for c in store.chunks]))
    numbers = np.concatenate([c.numbers for c in store.chunks])
    lost_numbers = int((np.diff(numbers) - 1).clip(0).sum())
    if lost_numbers:
        notes += (
            f"the camera's frame numbers leave out {lost_numbers:,} frames; frames are counted"
            " without them",
        )
    return Contents(n, height, width, times, findings(n, damage, notes, pixels=store.kind))


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the store is not the one that was imported.
    """
    path = recording.path
    store = _store(path)
    size = (recording.n_frames, recording.height, recording.width)
    firsts = store.firsts
    if firsts[-1] != size[0]:
        raise changed(path)
    if f".{store.kind}" in _ENDINGS:
        videos = Videos([c.path for c in store.chunks], firsts, *size[1:])
        return Frames(path, size, videos.get, videos.close)

    def get(n: int) -> np.ndarray | None:
        part = int(np.searchsorted(np.asarray(firsts), n, side="right")) - 1
        file = store.chunks[part].path / f"{n - firsts[part]:06d}.{store.kind}"
        if store.kind != "npy":
            return decode(file, size[1:], (_IMAGES[store.kind],))
        try:
            image = load_npy(file, store.shape, np.uint8)
        except (OSError, ValueError):
            return None
        # OpenCV, which imgstore is written for, keeps colours in the order blue, green, red.
        return to_rgb(image[:, :, 2::-1] if image.ndim == 3 and image.shape[2] == 3 else image)

    return Frames(path, size, get)


def content_key(path: Path) -> str:
    """The key of a store: its metadata, each chunk's table, and the sizes of the files in it."""
    folder = path.parent if path.name == _METADATA else path
    digest = hashlib.sha256(b"ethoprism imgstore")
    try:
        files = sorted(f for f in folder.rglob("*") if f.is_file() and f.name != ".lock")
        for file in files:
            name = file.relative_to(folder).as_posix()
            digest.update(f"\0{name}\0{file.stat().st_size}".encode())
    except OSError as error:
        raise unreadable(path, _WHAT, error) from error
    for file in files:
        if file.suffix in (".yaml", ".npz") or file.suffix in _ENDINGS:
            digest.update(file_key(file).encode())
    return digest.hexdigest()


def _store(path: Path) -> _Store:
    import yaml

    folder = path.parent if path.name == _METADATA else path
    try:
        content = first_bytes(folder / _METADATA, _MOST_METADATA + 1)
        if not content or len(content) > _MOST_METADATA:
            raise ValueError(f"no {_METADATA}, or one of more than {_MOST_METADATA:,} bytes")
        store = yaml.safe_load(content)["__store"]
        shape = tuple(int(n) for n in store["imgshape"])
        kind = _kind(store)
        if len(shape) not in (2, 3) or np.dtype(str(store["imgdtype"])) != np.uint8:
            raise ValueError(f"frames of the shape {shape} and the type {store['imgdtype']}")
        if store.get("encoding"):
            raise ValueError(f"the encoding {str(store['encoding'])[:40]} (raw pixels of a camera)")
        check_size(path, 1, *shape[:2])
        check_pixels(np.dtype(np.uint8))
        chunks, damage = _chunks(folder, kind)
    except VideoError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable(path, _WHAT, error) from error
    except yaml.YAMLError as error:
        raise unreadable(path, _WHAT, error) from error
    return _Store(kind, shape[0], shape[1], shape, chunks, damage)


def _kind(store: dict[str, Any]) -> str:
    """The ending of the images or of the videos."""
    stated = str(store["format"])
    if stated in _IMAGES or stated == "npy":
        return stated
    ending = str(store.get("extension") or (".avi" if stated.startswith("mjpeg") else ".mp4"))
    if ending not in _ENDINGS:
        raise ValueError(f"the format {stated[:40]!r} with files that end in {ending[:10]!r}")
    return ending[1:]


def _chunks(folder: Path, kind: str) -> tuple[list[_Chunk], tuple[str, ...]]:
    video = f".{kind}" in _ENDINGS
    pattern = re.compile(r"([0-9]{1,9})" + (re.escape(f".{kind}") if video else ""))
    found = []
    for entry in folder.iterdir():
        match = pattern.fullmatch(entry.name)
        if match and (entry.is_file() if video else entry.is_dir()):
            found.append((int(match.group(1)), entry))
    chunks: list[_Chunk] = []
    damage: list[str] = []
    for number, entry in sorted(found):
        table = entry.with_suffix("") if video else entry / "index"
        try:
            numbers, times = _table(table)
        except (OSError, ValueError, KeyError, *ZIP_ERRORS):
            damage.append(f"the table of the chunk {number} cannot be read; it is left out")
            continue
        if len(numbers):
            chunks.append(_Chunk(entry, len(numbers), numbers, times))
    if not chunks:
        raise ValueError("no chunk with a table of frames")
    absent = len(set(range(sorted(found)[-1][0] + 1)) - {number for number, _ in found})
    if absent:
        damage.append(f"{absent} chunks are absent")
    if sum(chunk.count for chunk in chunks) > MOST_FRAMES:
        raise ValueError("more frames than a recording has")
    return chunks, tuple(damage)


def _table(stem: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frame numbers and times of a chunk; other arrays in its table are never loaded."""
    import yaml

    archive = stem.with_name(stem.name + ".npz")
    if archive.is_file():
        columns = [_member(archive, name) for name in _TABLE]
    else:
        text = stem.with_name(stem.name + ".yaml")
        if text.stat().st_size > _MOST_TABLE:
            raise ValueError("a table that is too large")
        try:
            table = yaml.safe_load(text.read_bytes())
            # Aliases can make a short text a list of lists of billions: only numbers are taken.
            plain = all(type(n) in (int, float) for name in _TABLE for n in table[name])
            columns = [np.asarray(table[name]) for name in _TABLE if plain]
        except (yaml.YAMLError, TypeError, RecursionError) as error:
            raise ValueError("a damaged table") from error
    if len(columns) != len(_TABLE):
        raise ValueError("a table of other things than numbers")
    numbers, times = columns
    if numbers.ndim != 1 or numbers.shape != times.shape or numbers.dtype.kind not in "iuf":
        raise ValueError("columns that are not one number a frame")
    if times.dtype.kind not in "iuf":
        raise ValueError("times that are no numbers")
    return np.nan_to_num(numbers.astype(np.float64)), times.astype(np.float64)


def _member(archive: Path, name: str) -> np.ndarray:
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo(f"{name}.npy")
        if info.file_size > _MOST_TABLE:
            raise ValueError("a table that is too large")
        content = io.BytesIO(file.read(info))
    shape, dtype = npy_header(content)  # type: ignore[arg-type]
    left = content.getbuffer()[content.tell() :]
    if len(shape) != 1 or dtype.kind not in "iuf" or len(left) != shape[0] * dtype.itemsize:
        raise ValueError("a damaged table")
    return np.frombuffer(left, dtype)


def _images(chunk: _Chunk, kind: str) -> list[Path]:
    return [chunk.path / f"{k:06d}.{kind}" for k in range(chunk.count)]


READER = Reader(
    name="imgstore",
    title="imgstore folders (images, npy or videos)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
