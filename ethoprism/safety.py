"""Guards for what is opened and written: cells of spreadsheets, sizes in headers, zarr folders.

What people open may come from anywhere. Nothing in it is run, and no number in it is believed
before it is compared with what is expected or with the length of the file. Functions that read
raise ``ValueError`` with a sentence about what was found; the callers name the file's role and the
remedy.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.lib import format as npy

MOST_JSON_BYTES = 64 * 2**20
MOST_TEXT_BYTES = 16 * 2**20
MOST_FRAMES = 2**28
"""Frames that a list of recordings may state: 74 hours at 1000 frames a second."""
MOST_CHUNK_BYTES = 2**28
"""Bytes of one zarr chunk or shard, unpacked."""

# A spreadsheet takes a cell that starts so for a formula, which may run programs or send data:
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")
_CODECS = {"bytes", "zstd", "crc32c", "sharding_indexed"}
_TYPES = {"float16": 2, "float32": 4, "bool": 1}

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError)
"""What `zipfile` raises for archives that are damaged, besides ``OSError`` and ``ValueError``."""


def guard_cell(text: str) -> str:
    """``text`` as a cell that no spreadsheet takes for a formula; `unguard_cell` gives it back.

    An apostrophe is put before what starts like a formula, and before what starts with apostrophes
    and then like a formula, so that nothing is lost.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_cell(text: str) -> str:
    """The text that `guard_cell` was given."""
    return text[1:] if _GUARDED.match(text) else text


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its texts and its header guarded for a CSV file; numbers stay as they are."""
    result = table.copy(deep=False)
    for i, column in enumerate(table.columns):
        values = table.iloc[:, i]
        if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
            # Few distinct texts stand in many rows.
            cells = {v: guard_cell(v) if isinstance(v, str) else v for v in values.unique()}
            if any(cell is not text for text, cell in cells.items()):
                result[column] = values.map(cells)
    result.columns = [guard_cell(str(column)) for column in table.columns]
    return result


def unguarded(table: pd.DataFrame) -> pd.DataFrame:
    """The table of texts that `guarded` was given, header included."""
    result = table.copy(deep=False)
    for i, column in enumerate(table.columns):
        values = table.iloc[:, i]
        if values.str.startswith("'").any():
            result[column] = values.map(unguard_cell)
    result.columns = [unguard_cell(str(column)) for column in table.columns]
    return result


def read_json(path: Path, most_bytes: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """A JSON object from a file.

    Raises
    ------
    ValueError
        If the file is larger than ``most_bytes``, is nested too deeply, or holds no JSON object.
    OSError
        If it cannot be read.
    """
    try:
        value = json.loads(read_text(path, most_bytes))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds no JSON object")
    return value


def read_text(path: Path, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """A file of text in UTF-8, with or without a mark at its start.

    Raises
    ------
    ValueError
        If the file is larger than ``most_bytes``, or is not UTF-8.
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise ValueError(f"{path.name} has {size:,} bytes, and at most {most_bytes:,} are read")
    return path.read_bytes().decode("utf-8-sig")


def npy_header(file: io.BufferedIOBase) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype that a NumPy file states; the file then stands at the first value.

    Raises
    ------
    ValueError
        If it is no NumPy file, or holds pickled objects.
    """
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except (tokenize.TokenError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        # Of the Python parser that NumPy reads headers with.
        raise ValueError("its header is damaged") from error
    if dtype.hasobject:
        raise ValueError("it holds pickled objects, which could run code; they are never loaded")
    if any(isinstance(n, bool) or n < 0 for n in shape):
        raise ValueError(f"it states the shape {shape}")
    return shape, dtype


def load_npy(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The array in a ``.npy`` file, of which shape and dtype are known.

    Raises
    ------
    ValueError
        If the header states others, or the file does not have the length of its values.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        stated = npy_header(file)
        if stated != (shape, np.dtype(dtype)):
            raise ValueError(f"it holds {stated[1]} of the shape {stated[0]}")
        left = os.fstat(file.fileno()).st_size - file.tell()
        if left != math.prod(shape) * stated[1].itemsize:
            raise ValueError(f"it holds {left:,} bytes of values")
    return np.load(path, allow_pickle=False)


def npz_headers(path: Path, most_bytes: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each array in an ``.npz`` archive, by name; no value is unpacked.

    Raises
    ------
    ValueError
        If the archive is damaged, holds pickled objects, has one name twice, is packed in a way
        that NumPy does not use, a member's length is not that of its array, or all of them
        together have more than ``most_bytes``.
    OSError
        If it cannot be read.
    """
    headers: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
    total = 0
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in headers:
                    raise ValueError(f"it holds {name[:200]!r} twice")
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name[:200]!r} is packed in an unknown way")
                with archive.open(member) as file:
                    shape, dtype = npy_header(file)  # type: ignore[arg-type]
                    size = file.tell() + math.prod(shape) * dtype.itemsize
                # A header may promise less than is packed; unpacking must not exceed what it says.
                if member.file_size != size:
                    raise ValueError(
                        f"{name[:200]!r} does not have the size of its shape: it has"
                        f" {member.file_size:,} bytes, not {size:,}"
                    )
                total += size
                if total > most_bytes:
                    raise ValueError(f"it unpacks to more than {most_bytes:,} bytes")
                headers[name] = (shape, dtype)
    except ZIP_ERRORS as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return headers


def check_zarr(
    path: Path, arrays: Mapping[str, tuple[tuple[int, ...] | None, str]]
) -> dict[str, Any]:
    """Attributes of a zarr group whose arrays are as they should be; no chunk is read.

    Parameters
    ----------
    path
        Folder of a group of zarr format 3. Format 2 is refused: one of its codecs is Python's
        pickle.
    arrays
        Name → shape (None where it is not known) and type, such as ``float16``.

    Raises
    ------
    ValueError
        If a shape or type differs, a codec is none that EthoPrism writes, or a chunk is larger
        than `MOST_CHUNK_BYTES`.
    OSError
        If a file is missing or cannot be read.
    """
    group = read_json(path / "zarr.json")
    if group.get("zarr_format") != 3 or group.get("node_type") != "group":
        raise ValueError("it is no zarr group of format 3")
    attributes = group.get("attributes", {})
    if not isinstance(attributes, dict) or group.get("consolidated_metadata") is not None:
        raise ValueError("its zarr.json was not written by EthoPrism")
    for name, (shape, dtype) in arrays.items():
        try:
            _check_array(read_json(path / name / "zarr.json"), shape, dtype)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the array {name!r} is not described as it should be") from error
        except ValueError as error:
            raise ValueError(f"the array {name!r}: {error}") from error
    return attributes


def _check_array(array: Mapping[str, Any], shape: tuple[int, ...] | None, dtype: str) -> None:
    if array["zarr_format"] != 3 or array["node_type"] != "array" or array["data_type"] != dtype:
        raise ValueError(f"it holds {str(array['data_type'])[:40]}, not {dtype}")
    found = tuple(array["shape"])
    if not all(type(n) is int and n >= 0 for n in found) or shape not in (None, found):
        raise ValueError(f"its shape is {str(found)[:80]}" + (f", not {shape}" if shape else ""))
    if array.get("storage_transformers"):
        raise ValueError("it has storage transformers")
    chunk = _chunk(array["chunk_grid"]["configuration"]["chunk_shape"], len(found), dtype)
    _check_codecs(array["codecs"], len(found), dtype)
    if len(found) and math.prod(-(-n // c) for n, c in zip(found, chunk, strict=True)) > 2**31:
        raise ValueError("it has too many chunks")


def _chunk(chunk: list[Any], ndim: int, dtype: str) -> tuple[int, ...]:
    if len(chunk) != ndim or not all(type(n) is int and n > 0 for n in chunk):
        raise ValueError(f"its chunks are {str(chunk)[:80]}")
    if math.prod(chunk) * _TYPES[dtype] > MOST_CHUNK_BYTES:
        raise ValueError(f"its chunks are larger than {MOST_CHUNK_BYTES:,} bytes")
    return tuple(chunk)


def _check_codecs(codecs: list[Any], ndim: int, dtype: str, nested: bool = False) -> None:
    for codec in codecs:
        name = codec["name"]
        if name not in _CODECS or (nested and name == "sharding_indexed"):
            raise ValueError(f"it is packed with {str(name)[:40]!r}, which is not read here")
        if name == "sharding_indexed":
            settings = codec["configuration"]
            _chunk(settings["chunk_shape"], ndim, dtype)
            _check_codecs(settings["codecs"], ndim, dtype, nested=True)
            _check_codecs(settings.get("index_codecs", []), ndim, dtype, nested=True)


def check_packed(file: Path, most_bytes: int, chunks: int = 0) -> None:
    """Refuse a zarr chunk or shard that unpacks to more than it should; nothing is unpacked.

    Parameters
    ----------
    file
        A chunk packed with zstd, or a shard of such chunks with its index at the end.
    most_bytes
        Bytes of an unpacked chunk.
    chunks
        Chunks in the shard; 0 for a chunk that is not in one.

    Raises
    ------
    ValueError
        If a chunk states a greater length or none, or the index points outside the file.
    OSError
        If the file cannot be read.
    """
    with file.open("rb") as opened:
        length = os.fstat(opened.fileno()).st_size
        places = [(0, length)]
        if chunks:
            index = 16 * chunks + 4  # offsets and lengths, then a checksum
            if length < index:
                raise ValueError(f"{file.name} is shorter than its index")
            opened.seek(length - index)
            pairs = np.frombuffer(opened.read(16 * chunks), "<u8").reshape(-1, 2)
            places = [(a, n) for a, n in pairs.tolist() if (a, n) != (2**64 - 1, 2**64 - 1)]
        for start, size in places:
            if start + size > length:
                raise ValueError(f"{file.name} has an index that points outside")
            opened.seek(start)
            stated = _unpacked_bytes(opened.read(min(size, 18)))
            if stated is None or stated > most_bytes:
                raise ValueError(f"a chunk of {file.name} unpacks to {stated} bytes")


def _unpacked_bytes(head: bytes) -> int | None:
    """The length that a zstd frame states, or None (RFC 8878, section 3.1.1.1)."""
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        return None
    flag, single, dictionary = head[4] >> 6, head[4] >> 5 & 1, (0, 1, 2, 4)[head[4] & 3]
    width = (single, 2, 4, 8)[flag]
    at = 5 + (1 - single) + dictionary
    if not width or len(head) < at + width:
        return None
    return int.from_bytes(head[at : at + width], "little") + (256 if flag == 1 else 0)


def printable(text: str) -> str:
    """``text`` for a terminal: control characters, which could steer it, become ``\ufffd``."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)
