"""Compiled functions on the disk: where, and how much of it.

Compiling takes most of the time of a short task: the first training of a probe, an extraction of a
few minutes. JAX keeps what it compiled where its settings say so; OpenVINO's models are kept by
`backbones.openvino_cache`.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import sys

from ethoprism.errors import InputError
from ethoprism.machine import processor

LIMIT_VARIABLE = "ETHOPRISM_MODEL_CACHE_GB"
"""Environment variable: what compiled models of one engine may take on the disk in GB; 0 keeps
none."""
DEFAULT_GB = 2.0
_FOLDER, _MOST, _LEAST_SECONDS = (
    "JAX_COMPILATION_CACHE_DIR",
    "JAX_COMPILATION_CACHE_MAX_SIZE",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
)
_WORTH_KEEPING = 0.2  # seconds of compiling; reading takes a few hundredths


def limit_bytes() -> int:
    """What one engine's compiled models may take on the disk; 0 if none are to be kept.

    Raises
    ------
    InputError
        If `LIMIT_VARIABLE` is no number of gigabytes.
    """
    text = os.environ.get(LIMIT_VARIABLE, "").strip() or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit <= 1e6:  # which NaN is not, either
        raise InputError(
            f"The environment variable {LIMIT_VARIABLE} cannot be read",
            expected=f"gigabytes, such as {DEFAULT_GB:g}; 0 keeps no compiled models",
            found=text,
        )
    return round(limit * 1e9)


def keep_compiled() -> None:
    """Have JAX keep what it compiles in the user's cache folder, for this and later processes.

    For programs, not for libraries: it changes JAX's settings for the whole process and, by the
    environment, for those that it starts. Settings that the user made stay as they are. There is a
    folder for each kind of processor, as homes are shared by the computers of a cluster and machine
    code is not.

    Raises
    ------
    InputError
        If `LIMIT_VARIABLE` is no number of gigabytes.
    """
    import platformdirs

    if _FOLDER in os.environ:
        return
    most = limit_bytes()
    if not most:
        return
    kind = f"{platform.machine()}\0{processor()}"
    name = hashlib.sha256(kind.encode()).hexdigest()[:12]
    folder = platformdirs.user_cache_path("ethoprism") / "jax" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a home that cannot be written: JAX would warn of it at every function
    if not os.access(folder, os.W_OK):
        return
    for variable, value in ((_FOLDER, folder), (_MOST, most), (_LEAST_SECONDS, _WORTH_KEEPING)):
        os.environ.setdefault(variable, str(value))
    if "jax" in sys.modules:  # which has read the environment already
        import jax

        jax.config.update("jax_compilation_cache_dir", os.environ[_FOLDER])
        jax.config.update("jax_compilation_cache_max_size", int(os.environ[_MOST]))
        least = float(os.environ[_LEAST_SECONDS])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", least)
