"""Mutations of files: what a case changes, as plain values that hypothesis can shrink."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Files = Mapping[str, bytes]
"""A file or folder that is opened: relative path → content."""

TOKENS: tuple[bytes, ...] = (
    b"",
    b"\0" * 4,
    b"\xff" * 4,
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x80\0\0\0",
    (2**40).to_bytes(8, "little"),
    (2**40).to_bytes(8, "big"),
    (2**62).to_bytes(8, "little"),
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"inf",
    b"1000000000000000",
    b"99999999999999999999999999",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b'""',
    b"[" * 5000,
    b'{"a":' * 5000,
    b"'",
    b'"',
    b'"""',
    b",",
    b"\n",
    b"\r",
    b"\t",
    b"../../../tmp/escaped",
    b"/etc/passwd",
    b"C:\\windows",
    b"nul",
    b"=1+1",
    b"\xe2\x80\xae",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\xef\xbb\xbf",
    b"1" * 5000,
    # A pickle that would make a file; the worker also watches for anything unpickled.
    b"\x80\x04\x95\x1b\0\0\0\0\0\0\0\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R.",
)


@dataclass(frozen=True)
class Change:
    """One change of one file.

    Attributes
    ----------
    kind
        See `KINDS`.
    file, place
        Fractions from 0 to 1 that choose a file by its name and a place in it.
    size
        Bytes that are touched.
    value
        A byte, or the number of a token or of another seed.
    """

    kind: str
    file: float
    place: float
    size: int
    value: int


KINDS = (
    "flip",
    "byte",
    "cut",
    "remove",
    "repeat",
    "insert",
    "overwrite",
    "number",
    "splice",
    "drop",
)


def random_change(source: random.Random) -> Change:
    """A change at random."""
    # Ends of files hold headers and indexes: half of the places lie near one.
    place = source.random()
    if source.random() < 0.5:
        place = place**4 if source.random() < 0.7 else 1 - place**4
    size = 2 ** source.randrange(12)
    weights = (20, 10, 4, 8, 6, 12, 16, 16, 6, 1)
    kind = source.choices(KINDS, weights)[0]
    return Change(kind, source.random(), place, size, source.randrange(256))


def apply(files: Files, changes: Sequence[Change], others: Sequence[Files]) -> dict[str, bytes]:
    """The files after all changes; ``others`` are seeds that parts are taken from."""
    result = dict(files)
    for change in changes:
        names = sorted(result)
        if not names:
            break
        name = names[min(int(change.file * len(names)), len(names) - 1)]
        if change.kind == "drop":
            if len(names) > 1:
                del result[name]
        else:
            result[name] = _changed(result[name], change, others)
    return result


def _changed(data: bytes, change: Change, others: Sequence[Files]) -> bytes:
    at = min(int(change.place * (len(data) + 1)), len(data))
    stop = min(at + change.size, len(data))
    token = TOKENS[change.value % len(TOKENS)]
    if change.kind == "flip" and at < len(data):
        return data[:at] + bytes([data[at] ^ 1 << change.value % 8]) + data[at + 1 :]
    if change.kind == "byte" and at < len(data):
        return data[:at] + bytes([change.value]) + data[at + 1 :]
    if change.kind == "cut":
        return data[:at]
    if change.kind == "remove":
        return data[:at] + data[stop:]
    if change.kind == "repeat":
        return data[:stop] + data[at:stop] * (1 + change.value % 8) + data[stop:]
    if change.kind == "insert":
        return data[:at] + token + data[at:]
    if change.kind == "overwrite":
        return data[:at] + token + data[at + len(token) :]
    if change.kind == "number":
        return _number(data, at, token)
    if change.kind == "splice" and others:
        other = b"".join(others[change.value % len(others)].values())
        return data[:at] + other[at : at + change.size] + data[stop:]
    return data


def _number(data: bytes, at: int, token: bytes) -> bytes:
    """The run of digits after ``at`` replaced by a token: lengths and counts in texts."""
    digits = b"0123456789"
    while at < len(data) and data[at] not in digits:
        at += 1
    stop = at
    while stop < len(data) and data[stop] in digits:
        stop += 1
    return data[:at] + token + data[stop:]
