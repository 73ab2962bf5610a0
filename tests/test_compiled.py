"""Compiled functions are kept for the next process, where the user allows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ethoprism.compiled import LIMIT_VARIABLE
from ethoprism.errors import InputError

PROGRAM = """
import sys
if "early" in sys.argv:
    import jax
from ethoprism.compiled import keep_compiled
keep_compiled()
import jax, jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
x = jnp.ones((32, 32))
def f(x):
    for i in range(60):
        x = jnp.sin(x @ x) + i
    return x.sum()
print(float(jax.jit(f)(x)), sum(name.endswith("cache_hits") for name in hits))
"""


def run(home: Path, *arguments: str, **environment: str) -> tuple[str, str]:
    """What the program computed, and how many functions it found on the disk."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", LIMIT_VARIABLE))}
    clean |= {"XDG_CACHE_HOME": str(home), "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, *arguments]
    done = subprocess.run(command, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    value, hits = done.stdout.split()
    return value, hits


@pytest.mark.parametrize("when", ["late", "early"])
def test_the_next_process_reads_what_one_compiled(tmp_path: Path, when: str) -> None:
    first = run(tmp_path, when)
    second = run(tmp_path, when)
    assert first[0] == second[0]
    assert first[1] == "0"
    assert int(second[1]) >= 1
    assert list((tmp_path / "ethoprism" / "jax").glob("*/*-cache"))


def test_none_is_kept_where_the_user_says_so(tmp_path: Path) -> None:
    run(tmp_path, **{LIMIT_VARIABLE: "0"})
    assert not list(tmp_path.iterdir())


def test_the_users_own_folder_is_used(tmp_path: Path) -> None:
    own = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    run(tmp_path / "home", **own)
    assert list((tmp_path / "own").iterdir())
    assert not (tmp_path / "home").exists()


def test_a_home_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("not a folder")
    assert run(home)[1] == "0"


def test_a_limit_that_is_no_number_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from ethoprism.compiled import keep_compiled

    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    with pytest.raises(InputError, match="gigabytes"):
        keep_compiled()
