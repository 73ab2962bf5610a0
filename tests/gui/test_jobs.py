"""Jobs: library generators in worker threads, with their ends told in the GUI thread."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from ethoprism.errors import InputError
from ethoprism.progress import LearningProgress, Progress

pytest.importorskip("qtpy")
pytestmark = pytest.mark.gui

from napari_ethoprism.jobs import Job, Jobs, State  # noqa: E402


@pytest.fixture
def jobs(qtbot: Any) -> Iterator[Jobs]:
    made = Jobs()
    yield made
    assert made.close(10)
    assert not [t for t in threading.enumerate() if t.name.startswith("job of a test")]


def counting(n: int) -> Generator[Progress, None, int]:
    for i in range(n):
        yield Progress(i + 1, n)
    return n


def test_a_task_runs_elsewhere_and_its_result_arrives_here(jobs: Jobs, qtbot: Any) -> None:
    ran_in, told_in, results = [], [], []

    def task() -> Generator[Progress, None, int]:
        ran_in.append(threading.current_thread())
        return counting(5)

    def done(result: int) -> None:
        told_in.append(threading.current_thread())
        results.append(result)

    job = jobs.start("job of a test", task, on_done=done)
    assert job.active
    qtbot.waitUntil(lambda: job.state is State.DONE)
    assert results == [5]
    assert told_in == [threading.main_thread()] and ran_in != told_in


def test_every_measurement_of_a_training_is_passed_on(jobs: Jobs, qtbot: Any) -> None:
    def task() -> Iterator[Progress]:
        for i in range(50):
            yield LearningProgress(i, 50, "", 1.0 / (i + 1), {"walk": 0.5})

    seen: list[Progress] = []
    job = jobs.start("job of a test", task, on_progress=seen.append)
    qtbot.waitUntil(lambda: not job.active)
    assert [step.done for step in seen] == list(range(50))


def test_jobs_of_a_lane_run_in_turn_and_those_of_others_at_once(jobs: Jobs, qtbot: Any) -> None:
    gate, order = threading.Event(), []

    def waits() -> None:
        gate.wait(10)
        order.append("first")

    first = jobs.start("job of a test 1", waits)
    second = jobs.start("job of a test 2", lambda: order.append("second"))
    other = jobs.start("job of a test 3", lambda: order.append("other"), lane="map")
    qtbot.waitUntil(lambda: not other.active)
    assert (first.state, second.state) == (State.RUNNING, State.WAITING)
    assert jobs.active == [first, second]
    gate.set()
    qtbot.waitUntil(lambda: not second.active)
    assert order == ["other", "first", "second"] and jobs.active == []


def test_cancelling_closes_the_task_in_its_thread(jobs: Jobs, qtbot: Any) -> None:
    closed_in: list[threading.Thread] = []
    done: list[object] = []

    def task() -> Iterator[Progress]:
        try:
            for i in range(10**9):
                yield Progress(i, 10**9)
        finally:
            closed_in.append(threading.current_thread())

    job = jobs.start("job of a test", task, on_done=done.append)
    waiting = jobs.start("job of a test, waiting", lambda: done.append(1))
    qtbot.waitUntil(lambda: job.progress is not None)
    waiting.cancel()
    job.cancel()
    qtbot.waitUntil(lambda: not jobs.active)
    assert (job.state, waiting.state) == (State.CANCELLED, State.CANCELLED)
    assert closed_in and closed_in[0] is not threading.main_thread()
    assert done == []


def test_errors_are_told_with_their_remedy(jobs: Jobs, qtbot: Any) -> None:
    failed: list[Job] = []
    jobs.failed.connect(failed.append)
    told: list[str] = []

    def known() -> None:
        raise InputError("The file is no video", remedy="Choose another.")

    def unforeseen() -> Iterator[Progress]:
        yield Progress(0, 1)
        raise KeyError("row")

    jobs.start("job of a test 1", known, on_error=lambda e: told.append(str(e)))
    jobs.start("Extract tokens", unforeseen)
    qtbot.waitUntil(lambda: len(failed) == 2)
    assert told == ["The file is no video. Choose another."]
    text = str(failed[1].error)
    assert "Extract tokens failed" in text and "KeyError" in text and "report this" in text


def test_closing_cancels_waits_and_calls_nothing_back(jobs: Jobs, qtbot: Any) -> None:
    done: list[object] = []

    def task() -> Iterator[Progress]:
        for i in range(10**9):
            yield Progress(i, 10**9)

    job = jobs.start("job of a test", task, on_done=done.append)
    assert jobs.close(10)
    assert done == [] and job.cancelling
    assert jobs.start("job of a test, late", task).state is State.CANCELLED


def test_time_left_follows_the_pace_of_this_run(jobs: Jobs, qtbot: Any) -> None:
    gate = threading.Event()

    def task() -> Iterator[Progress]:
        yield LearningProgress(90, 100)  # what an earlier run had finished
        yield LearningProgress(95, 100)
        gate.wait(10)

    job = jobs.start("job of a test", task)
    qtbot.waitUntil(lambda: job.progress is not None and job.progress.done == 95)
    left = job.seconds_left
    assert left is not None and 0 <= left < 60
    gate.set()
    qtbot.waitUntil(lambda: not job.active)
    assert job.seconds_left is None
