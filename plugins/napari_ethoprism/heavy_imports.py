"""The first import of JAX, one thread at a time.

JAX and Flax import themselves in circles. Two threads that import them for the first time at once
each find the other's half of it, and fail.
"""

from __future__ import annotations

import importlib
import threading

from ethoprism.compiled import keep_compiled

LANES = frozenset({"compute", "effect", "map", "predictions", "survey"})
"""Lanes of jobs that use JAX."""

_lock = threading.Lock()
_MODULES = ("jax.numpy", "flax.nnx", "optax")


def import_jax() -> None:
    """Import JAX and what is built on it, or wait until another thread has."""
    with _lock:
        keep_compiled()
        for name in _MODULES:
            importlib.import_module(name)
