"""What every test shares. Annotations of the packages are checked at run time."""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from jaxtyping import install_import_hook

os.environ.setdefault("MPLBACKEND", "Agg")
# Which engine is faster depends on the moment, and the timings would lie in the user's cache.
os.environ.setdefault("ETHOPRISM_ENGINE", "jax")
# What one test, worker or child process compiled, the others read.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "compiled")
)
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", "1000000000")  # which also locks it
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
# The first example compiles; on a busy machine any may be slow.
hypothesis.settings.register_profile("ethoprism", deadline=None)
hypothesis.settings.load_profile("ethoprism")
install_import_hook(["ethoprism", "ethoprism_datasets"], "beartype.beartype")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests first, so that none of several workers is left alone with one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real recordings beside the repository, or a skip that names it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "recordings").is_dir():
        pytest.skip("the folder ../shared with real recordings is absent")
    return folder
