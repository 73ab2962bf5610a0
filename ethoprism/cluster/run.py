"""Extraction by the workers of a Dask scheduler, resumable and equal to that of one process.

The process that runs this makes the stores, hands out tasks, and marks blocks as done when their
worker has said that they are on the disk. A task whose worker dies is run again by another one.
"""

from __future__ import annotations

import queue
import shutil
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ethoprism import __version__, workflow
from ethoprism.cluster.plan import Task, blocks_per_task, tasks_of
from ethoprism.crops import place_digest
from ethoprism.errors import EthoPrismError, ProjectError, StorageError
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.subjects import Unit, place_of, units
from ethoprism.token_key import TokenKey
from ethoprism.token_layout import remove_leftovers
from ethoprism.tokens import TokenStore, estimate_bytes

if TYPE_CHECKING:
    from distributed import Client, Future

    from ethoprism.backbones.spec import Backbone
    from ethoprism.cluster.worker import Session, WorkerState, Written

TASKS_AHEAD = 2
"""Tasks for each worker that the scheduler knows of at a time."""
LOOK_EVERY_SECONDS = 1.0
SAME_PACKAGES = {"ethoprism": "EthoPrism", "pillow": "Pillow"}
"""Packages on which the tokens' bytes depend, beyond what `made_by` tells; by distribution."""


@dataclass(frozen=True)
class Fleet:
    """The workers that were there at the start, and what a person should know of them."""

    workers: tuple[WorkerState, ...]
    remarks: tuple[str, ...]

    @property
    def text(self) -> str:
        """``4 workers on node1, node2 (jax on gpu NVIDIA A100)``."""
        hosts = ", ".join(dict.fromkeys(worker.host for worker in self.workers))
        devices = ", ".join(dict.fromkeys(_words(worker) for worker in self.workers))
        n = len(self.workers)
        return f"{n} worker{'s' * (n != 1)} on {hosts} ({devices})"


def _words(worker: WorkerState) -> str:
    return f"{worker.maker.get('engine', '')} on {worker.maker.get('device', '')}"


def extract_on_workers(
    project: Project,
    backbone: Backbone,
    client: Client,
    recordings: Sequence[str] = (),
    *,
    engine: str = "jax",
) -> Generator[Progress, None, Fleet]:
    """Extract the tokens of recordings, all by default; what is there already is kept.

    Closing the generator cancels: tasks that have not begun are given up, workers stop after the
    block that they are at, and what is finished is kept.

    Parameters
    ----------
    project, backbone
        What is extracted, and with what; each worker reads its own copy of the weights.
    client
        See `ethoprism.cluster.connection.connect`.
    recordings
        Ids; all by default.
    engine
        What all workers compute with, where the backbone lets it be chosen.

    Yields
    ------
    Progress in sampled frames of all recordings together; ``note`` says how many workers there are.

    Returns
    -------
    The workers that it began with.

    Raises
    ------
    ProjectError
        If a worker has another EthoPrism, other weights, or does not see the project.
    StorageError
        If the disk does not hold the tokens.
    EthoPrismError
        If a recording cannot be read, or workers die of a task again and again.
    """
    key = workflow.project_key(project, backbone)
    chosen = units(project, key.crop, recordings)
    embeddings = backbone.card.embedding_width
    stores = [_store(project, key, unit, embeddings) for unit in chosen]
    on_disk = sum(_rows(store, np.flatnonzero(store.done)) for store in stores)
    total = sum(store.n_rows for store in stores)
    yield Progress(on_disk, total, "waiting for workers")
    while not _addresses(client):
        yield Progress(on_disk, total, "waiting for workers")
        _pause(client)
    require_same_versions(client)
    _require_space(project, key, stores)
    with _session(project, key, client, engine) as session:
        fleet = yield from _examine(client, session, on_disk, total)
        if all(store.complete for store in stores):
            return fleet
        for store in (store for store in stores if not store.complete):
            for worker in fleet.workers:
                store.sign(worker.maker)
        shape = min((w.frames, w.windows) for w in fleet.workers)
        tasks = _tasks(stores, shape, len(fleet.workers))
        for unit, written in _encoded(client, session, chosen, tasks, shape):
            if written is not None and written.blocks:
                stores[unit].sign(written.maker)  # of a worker that came later, it is new
                _mark(stores[unit], written.blocks)
                on_disk += _rows(stores[unit], np.array(written.blocks))
            n = len(_addresses(client))
            yield Progress(on_disk, total, f"{n} worker{'s' * (n != 1)}")
    for store in stores:
        remove_leftovers(store.path)  # of workers that were killed
        # A worker that no longer saw its marker, as on a network drive, gave up without an error.
        store.require_complete()
    return fleet


def require_same_versions(client: Client) -> None:
    """Raise a `ProjectError` unless every worker has these versions of EthoPrism and Pillow.

    Pillow's versions resize some pictures differently. Dask asks for the versions of packages
    without importing them, so this works with workers that have no EthoPrism, or one without this
    module.
    """
    found = client.get_versions(packages=list(SAME_PACKAGES))
    for package, name in SAME_PACKAGES.items():
        for address, state in dict(found["workers"]).items():  # type: ignore[index]
            version = (state or {}).get("packages", {}).get(package)
            here = found["client"]["packages"][package]  # type: ignore[index]
            if version != here:
                raise ProjectError(
                    f"The worker at {address} has another version of {name}",
                    expected=f"{here}, as here",
                    found=version or "none",
                    remedy="Install the same version for all workers, and start them anew.",
                )


def _store(project: Project, key: TokenKey, unit: Unit, embeddings: int) -> TokenStore:
    recording = project.recording(unit.recording)  # also fills the caches that workers read
    place = place_digest(place_of(project, unit, key.crop))
    path = project.tokens_path(key.digest, unit.name)
    return TokenStore.create(
        path,
        key,
        recording.n_frames,
        recording.content_key,
        place,
        embedding_width=embeddings,
    )


def _rows(store: TokenStore, blocks: np.ndarray) -> int:
    return sum(stop - start for start, stop in map(store.block, blocks.tolist()))


def _require_space(project: Project, key: TokenKey, stores: list[TokenStore]) -> None:
    row_bytes = estimate_bytes(key, key.step, max(store.embedding_width for store in stores))
    missing = sum(_rows(store, np.flatnonzero(~store.done)) for store in stores)
    free = shutil.disk_usage(project.folder).free
    if missing * row_bytes > free:
        raise StorageError(
            "The disk is too full for the tokens",
            expected=f"about {missing * row_bytes / 1e6:,.0f} MB free",
            found=f"{free / 1e6:,.0f} MB",
            remedy="Free some space, or store fewer tokens with --pooling 1 or a larger --step.",
        )


@contextmanager
def _session(project: Project, key: TokenKey, client: Client, engine: str) -> Iterator[Session]:
    """What the tasks share; workers hold a backbone as long as it is open."""
    from ethoprism.cluster.worker import Encoding, Session

    folder = str(Path(project.folder).resolve())
    session = Session(uuid.uuid4().hex[:12], folder, key.to_dict(), __version__, engine)
    plugin = Encoding(session)
    session.marker.touch()
    try:
        client.register_plugin(plugin, name=plugin.name)
        yield session
    finally:
        session.marker.unlink(missing_ok=True)
        if client.status == "running":
            client.unregister_worker_plugin(plugin.name)


def _examine(
    client: Client, session: Session, done: int, total: int
) -> Generator[Progress, None, Fleet]:
    """Ask each worker that is there what it is; one that is lost meanwhile is not waited for."""
    from ethoprism.cluster.worker import examine

    asked = {
        worker: client.submit(examine, session, workers=[worker], pure=False)
        for worker in _addresses(client)
    }
    ended = _Ended()
    for future in asked.values():
        ended.watch(future)
    while True:
        there = set(_addresses(client))
        waiting = [w for w, future in asked.items() if not future.done() and w in there]
        if not waiting:
            break
        yield Progress(done, total, "workers get ready")
        ended.next()
    states = tuple(_result(future) for future in asked.values() if future.done())
    if not states:
        raise EthoPrismError(
            "Every worker died while it read the backbone",
            remedy="They may have too little memory; look at their logs.",
        )
    remarks = []
    if len({tuple(sorted(worker.maker.items())) for worker in states}) > 1:
        remarks.append(
            "The workers compute on different devices or with different versions: tokens agree "
            "within rounding, not to the bit"
        )
    return Fleet(states, tuple(remarks))


def _tasks(stores: list[TokenStore], shape: tuple[int, int], workers: int) -> Iterator[Task]:
    missing = sum(int((~store.done).sum()) for store in stores)
    for number, store in enumerate(stores):
        blocks = blocks_per_task(store.grid, *shape, store.block_rows, missing, workers)
        yield from tasks_of(number, store.done, blocks)


def _encoded(
    client: Client,
    session: Session,
    chosen: list[Unit],
    tasks: Iterator[Task],
    shape: tuple[int, int],
) -> Iterator[tuple[int, Written | None]]:
    """The unit's number and what was written of it; ``(0, None)`` where nothing happened."""
    from ethoprism.cluster.worker import encode

    pending: dict[Future, Task] = {}
    ended, left = _Ended(), True
    try:
        while left or pending:
            while left and len(pending) < TASKS_AHEAD * max(len(_addresses(client)), 1):
                task = next(tasks, None)
                if task is None:
                    left = False
                    break
                unit = chosen[task.unit]
                future = client.submit(
                    encode,
                    session,
                    (unit.recording, unit.subject),
                    task.first,
                    task.last,
                    shape,
                    key=f"ethoprism-{session.id}-{unit.name}-{task.first}",
                    pure=False,
                )
                pending[future] = task
                ended.watch(future)
            if not pending:
                return
            future = ended.next()
            if future is None:
                yield 0, None
            else:
                yield pending.pop(future).unit, _result(future)
    finally:
        client.cancel(list(pending), force=True)


class _Ended:
    """Futures as they come to an end, in the order in which they do."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Future] = queue.SimpleQueue()

    def watch(self, future: Future) -> None:
        future.add_done_callback(self._queue.put)

    def next(self) -> Future | None:
        """The next one; None if none comes to an end within `LOOK_EVERY_SECONDS`."""
        try:
            return self._queue.get(timeout=LOOK_EVERY_SECONDS)
        except queue.Empty:
            return None


def _result(future: Future) -> Any:
    from distributed import KilledWorker
    from distributed.client import FutureCancelledError

    try:
        return future.result()
    except KilledWorker as error:
        raise EthoPrismError(
            "Several workers died of the same task",
            found=str(error),
            remedy="They may have too little memory; look at their logs. What is finished is kept, "
            "and the same command goes on.",
        ) from error
    except FutureCancelledError as error:
        raise EthoPrismError(
            "The Dask scheduler is gone, or gave up the task",
            found=str(error),
            remedy="Start it again. What is finished is kept, and the same command goes on.",
        ) from error


def _mark(store: TokenStore, blocks: tuple[int, ...]) -> None:
    """Mark blocks as done, if their files are there for this computer too."""
    for block in blocks:
        store.mark_done(block)


def _addresses(client: Client) -> list[str]:
    """Of the workers that are there now."""
    threads: Any = client.nthreads()
    return list(threads)


def _pause(client: Client) -> None:
    try:
        client.wait_for_workers(1, timeout=LOOK_EVERY_SECONDS)
    except TimeoutError:
        return
