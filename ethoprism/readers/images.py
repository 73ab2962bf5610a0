"""A folder of images, one a frame, in the order of the numbers in their names."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ethoprism.errors import InputError, VideoError
from ethoprism.frame_source import Contents, FrameSource, Reader
from ethoprism.readers._frames import Frames, changed, check_size, findings
from ethoprism.readers._pixels import to_rgb
from ethoprism.recording import Recording
from ethoprism.recording import content_key as file_key

KINDS = {
    ".png": "png", ".jpg": "jpg", ".jpeg": "jpg", ".tif": "tif", ".tiff": "tif", ".bmp": "bmp",
    ".webp": "webp",
}  # fmt: skip
_DECODERS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")
_SAMPLED = 32  # files of a folder whose content enters its key
_NOT_IMAGES = ("metadata.yaml", "zarr.json", ".zarray", ".zgroup")
_TURNED = {5, 6, 7, 8}  # orientations in EXIF that exchange width and height


def matches(path: Path) -> bool:
    """Whether it is a folder with images that no other format claims."""
    try:
        if not path.is_dir() or any((path / name).exists() for name in _NOT_IMAGES):
            return False
        return any(_is_image(entry) for entry in path.iterdir())
    except OSError:
        return False


def inspect(path: Path, array: str = "") -> Contents:
    """The images of a folder. An image that cannot be opened is a damaged frame in its place.

    ``array`` is the kind, such as ``png``, where a folder holds several.

    Raises
    ------
    InputError
        If it holds several kinds of images and none is named, or not the one that is named.
    VideoError
        If it holds no image that can be opened, or images of different sizes.
    """
    names = listing(path, array)
    check_size(path, len(names), 1, 1)
    size: tuple[int, int] | None = None
    first, turned = "", 0
    damaged: list[str] = []
    for name in names:
        head = _head(path / name)
        if head is None:
            damaged.append(name)
            continue
        found, is_turned = head
        turned += is_turned
        if size is None:
            size, first = found, name
        elif found != size:
            raise VideoError(
                f"The images in {path} have different sizes",
                expected=f"{size[1]} × {size[0]} pixels as in {first}",
                found=f"{found[1]} × {found[0]} pixels in {name}",
                remedy="Put images of each size into a folder of their own.",
            )
    if size is None:
        raise VideoError(
            f"None of the {len(names)} images in {path} can be opened",
            expected="PNG, JPEG, TIFF, BMP or WebP images of one frame each",
            found=f"the first is {names[0]}",
        )
    damage: tuple[str, ...] = ()
    if damaged:
        damage = (
            f"{len(damaged)} of {len(names)} images cannot be opened, the first is {damaged[0]}",
        )
    notes = _gaps(names)
    if turned:
        notes += (f"{turned} images are turned as their EXIF orientation asks",)
    return Contents(
        len(names), *size, None, findings(None, damage, notes, pixels=KINDS[_end(names)])
    )


def open_frames(recording: Recording) -> FrameSource:
    """The frames.

    Raises
    ------
    VideoError
        If the folder does not hold as many images as were imported.
    """
    path = recording.path
    names = listing(path, recording.array)
    if len(names) != recording.n_frames:
        raise changed(path)
    size = (recording.height, recording.width)
    return Frames(path, (len(names), *size), lambda n: decode(path / names[n], size))


def content_key(path: Path) -> str:
    """The key of a folder's images: names and sizes of all, and the content of 32 of them."""
    digest = hashlib.sha256(b"ethoprism images")
    try:
        entries = sorted(entry for entry in path.iterdir() if _is_image(entry))
        for entry in entries:
            digest.update(f"\0{entry.name}\0{entry.stat().st_size}".encode())
    except OSError as error:
        raise _no_folder(path, error) from error
    last = len(entries) - 1
    sampled = sorted({last * i // (_SAMPLED - 1) for i in range(_SAMPLED)}) if entries else []
    for i in sampled:
        digest.update(file_key(entries[i]).encode())
    return digest.hexdigest()


def listing(path: Path, kind: str = "") -> list[str]:
    """Names of the images of one kind in a folder, in the order of the numbers in them.

    Raises
    ------
    InputError
        If there are several kinds and none is named, or not the one that is named.
    VideoError
        If the folder cannot be read, or holds no image.
    """
    try:
        names = [entry.name for entry in path.iterdir() if _is_image(entry)]
    except OSError as error:
        raise _no_folder(path, error) from error
    kinds = Counter(KINDS[Path(name).suffix.lower()] for name in names)
    if not names:
        raise VideoError(
            f"{path} holds no images", expected=f"files that end in {', '.join(KINDS)}"
        )
    if (kind and kind not in kinds) or (not kind and len(kinds) > 1):
        raise InputError(
            f"{path} holds {'no' if kind else 'several kinds of'} images" + f" {kind}".rstrip(),
            expected="one kind, named as the array",
            found=", ".join(f"{n} {name}" for name, n in sorted(kinds.items())),
            remedy=f"For instance --array {max(kinds, key=kinds.__getitem__)}.",
        )
    chosen = [name for name in names if not kind or KINDS[Path(name).suffix.lower()] == kind]
    return sorted(chosen, key=_natural)


def decode(
    source: Path | io.BytesIO, size: tuple[int, int], decoders: tuple[str, ...] = _DECODERS
) -> np.ndarray | None:
    """One image as uint8 RGB ``[height, width, 3]``; None if it is damaged or of another size.

    16-bit grey is shifted down by 8 bits; palettes and transparency are resolved; the orientation
    that EXIF states is applied.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=decoders) as image:
                if sorted(image.size) != sorted(size):
                    return None
                image = ImageOps.exif_transpose(image)
                if image.mode == "P" or "transparency" in image.info:
                    image = image.convert("RGBA")
                if image.mode in ("I;16", "I;16L", "I;16B", "I"):
                    pixels = np.asarray(image)
                    if pixels.min() < 0 or pixels.max() > 65535:
                        return None
                    return to_rgb(pixels.astype(np.uint16))
                if image.mode == "F":
                    return to_rgb(np.asarray(image))
                return to_rgb(np.array(image.convert("RGB")))
    except _ERRORS:
        return None


_ERRORS = (
    OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, ZeroDivisionError,
    OverflowError, MemoryError, UnidentifiedImageError, Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)  # fmt: skip
"""What Pillow raises for damaged images."""


def _head(path: Path) -> tuple[tuple[int, int], bool] | None:
    """Height and width as shown, and whether the image is turned; None if it cannot be opened."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_DECODERS) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise VideoError(
                        f"{path} holds {getattr(image, 'n_frames', 1)} images",
                        expected="one image a file, in a folder of images",
                        remedy="Open the file itself instead of the folder.",
                    )
                orientation = image.getexif().get(0x0112, 1)
                width, height = image.size
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise VideoError(
            f"{path} states more pixels than a recording has",
            expected=f"up to {Image.MAX_IMAGE_PIXELS:,} pixels",
            found=str(error),
            remedy="Make the images smaller first, or take the file out of the folder.",
        ) from error
    except _ERRORS:
        return None
    turned = orientation in range(2, 9)
    return ((width, height) if orientation in _TURNED else (height, width)), turned


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in KINDS and not entry.name.startswith(".") and entry.is_file()


def _end(names: list[str]) -> str:
    return Path(names[0]).suffix.lower()


def _natural(name: str) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(0, int(p), "") if p.isascii() and p.isdigit() else (1, 0, p) for p in parts], name


def _gaps(names: list[str]) -> tuple[str, ...]:
    """Notes about the numbers in the names: several series, and numbers that are missing."""
    series: dict[str, list[int]] = {}
    for name in names:
        stem = Path(name).stem
        match = re.search(r"([0-9]+)(?=[^0-9]*$)", stem)
        if match:
            pattern = f"{stem[: match.start()]}#{stem[match.end() :]}"
            series.setdefault(pattern, []).append(int(match.group()))
    notes: tuple[str, ...] = ()
    if len(series) > 1:
        notes = (
            f"the names follow {len(series)} patterns, such as {', '.join(sorted(series)[:3])};"
            " they are read one after the other",
        )
    for pattern, numbers in series.items():
        steps = np.diff(np.array(sorted(set(numbers)), dtype=object))
        if not len(steps):
            continue
        usual = min(steps)
        missing = sum(int(step // usual) - 1 for step in steps)
        if missing:
            at = next(i for i, step in enumerate(steps) if step > usual)
            start = sorted(set(numbers))[at] + usual
            notes += (
                f"about {missing} numbers are missing in {pattern}, the first is {start}; frames"
                " are counted without them",
            )
    return notes


def _no_folder(path: Path, error: OSError) -> VideoError:
    return VideoError(
        f"{path} cannot be read",
        expected="a folder of images",
        found=error.strerror or str(error),
        remedy="Check the spelling, and that the drive is connected.",
    )


READER = Reader(
    name="images",
    title="folders of images (png, jpg, tif, bmp, webp)",
    matches=matches,
    inspect=inspect,
    open=open_frames,
    content_key=content_key,
)
