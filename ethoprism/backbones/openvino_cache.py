"""Compiled OpenVINO models on the disk, so that the next start need not make them again.

A file holds a checksum and the model as OpenVINO exports it. Its name is a digest of all that the
model is made of, so a file is right or is not found; one that is damaged is made again. The oldest
files go when all together take more than a limit.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ethoprism.compiled import limit_bytes
from ethoprism.errors import StorageError
from ethoprism.files import replacing
from ethoprism.machine import processor

LARGEST_BYTES = 200_000_000
"""Of one model. A larger one is made in the time that reading and checking it would take."""
SUFFIX = ".ovmodel"
_DIGEST_BYTES = hashlib.sha256().digest_size


@dataclass(frozen=True)
class ModelCache:
    """A folder of compiled models, bounded in size.

    Attributes
    ----------
    folder
        Made when the first model is kept.
    most_bytes
        Of all files together.
    largest_bytes
        Of one file. A model larger than either is not kept.
    """

    folder: Path
    most_bytes: int
    largest_bytes: int = LARGEST_BYTES

    def read(self, key: str) -> np.ndarray | None:
        """The model kept under a key, uint8; None if there is none or it is damaged."""
        path = self._path(key)
        try:
            data = np.fromfile(path, np.uint8)
        except OSError:
            return None
        model = data[_DIGEST_BYTES:]
        if hashlib.sha256(model.data).digest() != data[:_DIGEST_BYTES].tobytes():
            self.drop(key)
            return None
        with suppress(OSError):
            os.utime(path)  # the oldest are those that were not used for longest
        return model

    def write(self, key: str, model: bytes) -> None:
        """Keep a model; where the disk does not take it, it is made again next time."""
        if _DIGEST_BYTES + len(model) > min(self.most_bytes, self.largest_bytes):
            return
        with (
            suppress(StorageError, OSError),
            replacing(self._path(key)) as temporary,
            temporary.open("wb") as file,
        ):
            file.write(hashlib.sha256(model).digest())
            file.write(model)
        with suppress(OSError):
            self._shrink(keep=self._path(key))

    def drop(self, key: str) -> None:
        """Remove a model, if it is there."""
        with suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{SUFFIX}"

    def _shrink(self, keep: Path) -> None:
        """Remove the files that were not used for longest, until the rest is small enough."""
        found = [(p, p.stat()) for p in self.folder.glob(f"*{SUFFIX}")]
        total = sum(state.st_size for _, state in found)
        for path, state in sorted(found, key=lambda item: item[1].st_mtime_ns):
            if total <= self.most_bytes:
                return
            if path != keep:
                with suppress(OSError):  # another process may read it, or have removed it
                    path.unlink(missing_ok=True)
                total -= state.st_size


def default_cache() -> ModelCache | None:
    """The cache in the user's cache folder; None where the environment turns it off.

    Raises
    ------
    InputError
        If `compiled.LIMIT_VARIABLE` is no number of gigabytes.
    """
    import platformdirs

    limit = limit_bytes()
    return (
        ModelCache(platformdirs.user_cache_path("ethoprism") / "openvino", limit) if limit else None
    )


def model_key(parts: Sequence[str]) -> str:
    """Digest of what a model is made of, with the code that makes it and the processor."""
    made = [*parts, sources_digest(), platform.machine(), processor()]
    return hashlib.sha256("\0".join(made).encode()).hexdigest()[:32]


@cache
def sources_digest() -> str:
    """Digest of the modules that a model's graph and parameters depend on: all of the package."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()
