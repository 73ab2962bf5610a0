"""A short fuzz run over every target; `run.py` in this folder makes a long one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from mutations import KINDS, Change, apply
from pool import Outcome, Worker
from targets import TARGETS

SHARE = st.floats(0, 1, exclude_max=True)
CHANGE = st.builds(
    Change,
    kind=st.sampled_from(KINDS),
    file=SHARE,
    place=SHARE,
    size=st.sampled_from([1, 2, 4, 8, 64, 1024]),
    value=st.integers(0, 255),
)
CASES = 12


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    with Worker() as started:
        yield started


@cache
def seeds(target: str) -> list[dict[str, bytes]]:
    return TARGETS[target].seeds()


@pytest.mark.parametrize("target", TARGETS)
def test_sound_files_are_opened(worker: Worker, target: str):
    made = seeds(target)
    assert made
    for files in made:
        assert worker.run(target, files).kind == "opened"


@pytest.mark.parametrize("target", TARGETS)
@settings(
    max_examples=CASES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**16), changes=st.lists(CHANGE, min_size=1, max_size=6))
@example(seed=0, changes=[Change("cut", 0.0, 0.5, 1, 0)])
@example(seed=1, changes=[Change("overwrite", 0.5, 0.0, 1, 3)])
def test_a_damaged_file_is_opened_or_refused_in_words(
    worker: Worker, target: str, seed: int, changes: list[Change]
):
    made = seeds(target)
    outcome = worker.run(target, apply(made[seed % len(made)], changes, made))
    assert outcome.sound, outcome


@pytest.mark.parametrize("kind", ["unnamed", "crash", "hang", "memory", "escaped"])
def test_what_the_worker_notices(worker: Worker, kind: str):
    worker.run("fmf", seeds("fmf")[0])  # so that no imports are waited for
    assert worker.run(f"test: {kind}", {"f": b""}, seconds=2.0).kind == kind


def test_an_outcome_that_is_not_sound():
    assert not Outcome("crash", "", 0.0).sound
    assert Outcome("refused", "", 0.0).sound
