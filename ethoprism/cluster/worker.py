"""What runs in a worker: it encodes blocks and has them on the disk.

A worker holds one backbone, read when its first task comes. It writes the files of a block and
nothing else; that a block counts is written by the process that hands out the tasks.
"""

from __future__ import annotations

import os
import platform
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin, get_worker

from ethoprism import __version__
from ethoprism.errors import EthoPrismError, ProjectError

if TYPE_CHECKING:  # a worker imports these with its first task, and answers until then
    from ethoprism.backbones.spec import Backbone
    from ethoprism.project import Project

CORES = "ETHOPRISM_CORES"
"""Environment variable: numbers of the processor cores that a worker may use, with commas."""


@dataclass(frozen=True)
class Session:
    """What every task of one extraction shares, in values that mean the same on every computer.

    Attributes
    ----------
    id
        Names the extraction, and the file whose presence says that it is still wanted.
    folder
        The project's folder, absolute.
    key
        `TokenKey.to_dict` of the tokens.
    version
        Of EthoPrism.
    engine
        What computes (`ethoprism.backbones.engine`), for backbones that let it be chosen.
    """

    id: str
    folder: str
    key: dict[str, Any]
    version: str
    engine: str = "jax"

    @property
    def marker(self) -> Path:
        """A file that is there while the extraction is wanted."""
        return Path(self.folder) / "tokens" / f".cluster-{self.id}"


@dataclass(frozen=True)
class Written:
    """What a task has done: blocks whose files are on the disk, and what computed them."""

    blocks: tuple[int, ...]
    maker: dict[str, str]


@dataclass(frozen=True)
class WorkerState:
    """What a worker says of itself.

    Attributes
    ----------
    host, pid
        Where it runs.
    maker
        Engine, version, device and precision (`ethoprism.extract.maker`).
    cores
        How many processor cores it may use.
    frames, windows
        Shapes of the encoder's calls that suit it (`ethoprism.window_encoder.Batches`).
    """

    host: str
    pid: int
    maker: dict[str, str]
    cores: int
    frames: int
    windows: int


class Encoding(WorkerPlugin):
    """Holds a worker's backbone for the length of one extraction."""

    def __init__(self, session: Session):
        self.session = session
        self.name = f"ethoprism-{session.id}"

    def setup(self, worker: object) -> None:
        """Called by Dask in the worker, before any task."""
        limit_cores(os.environ.get(CORES, ""))
        self.lock = threading.Lock()  # one task at a time, however many threads Dask has
        self._loaded: tuple[Project, Backbone] | None = None

    def loaded(self) -> tuple[Project, Backbone]:
        """The project and its backbone.

        Raises
        ------
        ProjectError
            If this worker has another EthoPrism or other weights, or sees another folder.
        """
        if self._loaded is None:
            self._loaded = _load(self.session)
        return self._loaded


def examine(session: Session) -> WorkerState:
    """What this worker is; raises a `ProjectError` if it cannot serve."""
    from ethoprism.extract import maker
    from ethoprism.window_encoder import default_batches

    encoding = _encoding(session)
    with encoding.lock:
        _, backbone = encoding.loaded()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        batches = default_batches(backbone.card)
        return WorkerState(
            platform.node(),
            os.getpid(),
            maker(backbone),
            cores or 1,
            batches.frames,
            batches.windows,
        )


def encode(
    session: Session, unit: tuple[str, str], first: int, last: int, shape: tuple[int, int]
) -> Written:
    """Encode blocks of a unit and have them on the disk.

    Parameters
    ----------
    session
        Of which extraction.
    unit
        Recording and subject.
    first, last
        Half-open range of blocks.
    shape
        Frames and windows of the encoder's calls, the same for all workers: numbers depend on them.

    Returns
    -------
    Blocks whose files are on the disk now, fewer than asked for if the extraction was cancelled;
    and what this worker computes with.

    Raises
    ------
    EthoPrismError
        As `ethoprism.extract.extract`.
    """
    from ethoprism import workflow
    from ethoprism.extract import encoded_blocks, maker
    from ethoprism.subjects import Unit, place_of
    from ethoprism.tokens import TokenKey
    from ethoprism.window_encoder import Batches

    encoding = _encoding(session)
    with encoding.lock:
        project, backbone = encoding.loaded()
        key = TokenKey.from_dict(session.key)
        chosen = Unit(*unit)
        recording = project.recording(chosen.recording)
        crop = place_of(project, chosen, key.crop)
        store = workflow.open_tokens(project, key, chosen)
        written: list[int] = []
        steps = encoded_blocks(
            recording, backbone, store, first, last, crop=crop, batches=Batches(*shape)
        )
        try:
            while session.marker.exists():
                block = next(steps, None)
                if block is None:
                    break
                store.put(block)
                written.append(block.index)
        finally:
            steps.close()
        return Written(tuple(written), maker(backbone, Batches(*shape)))


def limit_cores(cores: str) -> None:
    """Bind all threads of this process, and those to come, to cores; nothing where it is empty.

    Libraries take the number of cores that a process may use for the number of their threads, so
    workers beside each other do not get into each other's way. Only Linux knows this.
    """
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    chosen = {int(core) for core in cores.split(",")}
    for thread in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread may have ended meanwhile
            os.sched_setaffinity(int(thread.name), chosen)


def _encoding(session: Session) -> Encoding:
    plugin = get_worker().plugins.get(f"ethoprism-{session.id}")
    if not isinstance(plugin, Encoding):
        raise EthoPrismError("The extraction that this task belongs to has ended")
    return plugin


def _load(session: Session) -> tuple[Project, Backbone]:
    from ethoprism import workflow
    from ethoprism.project import Project

    host = platform.node()
    if session.version != __version__:
        raise ProjectError(
            f"The worker on {host} has another version of EthoPrism",
            expected=session.version,
            found=__version__,
            remedy="Install the same version for all workers, and start them anew.",
        )
    if not session.marker.exists():
        raise ProjectError(
            f"The worker on {host} does not see the project",
            expected=f"the folder {session.folder}, shared under that path by all computers",
            found="no such folder, or another one",
            remedy="Put project and videos on a disk that all workers mount at the same path.",
        )
    project = Project.open(Path(session.folder))
    backbone = workflow.load_backbone(project.settings)
    found = workflow.project_key(project, backbone).to_dict()
    if found != session.key:
        differ = [name for name, value in session.key.items() if found.get(name) != value]
        raise ProjectError(
            f"The worker on {host} would make other tokens",
            expected=", ".join(f"{name} {session.key[name]}" for name in differ),
            found=", ".join(f"{name} {found.get(name)}" for name in differ),
            remedy="All workers need the same backbone with the same weights. Start them anew.",
        )
    backbone = workflow.choose_engine(backbone, session.engine).backbone
    return project, backbone
