"""Finding or starting workers: on this computer, or those of a Dask scheduler that runs already."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ethoprism.cluster import require_dask
from ethoprism.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

LOCAL = "local"
"""Instead of an address: start workers on this computer."""
CORES_PER_WORKER = 4
"""A worker without a GPU gets about so many cores: more help one encoder little."""
CONNECT_SECONDS = 20
THREAD_LIMITS = ("PJRT_NPROC", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables by which XLA and the libraries under NumPy take a number of threads."""


@dataclass(frozen=True)
class Place:
    """What one worker of this computer may use: processor cores, and a GPU's name or nothing."""

    cores: tuple[int, ...]
    gpu: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that a worker's process is started with."""
        from ethoprism.cluster.worker import CORES

        made = {CORES: ",".join(map(str, self.cores))}
        made |= dict.fromkeys(THREAD_LIMITS, str(len(self.cores)))
        if self.gpu:
            made["CUDA_VISIBLE_DEVICES"] = self.gpu
        return made


def places(cores: list[int], gpus: list[str], workers: int | None = None) -> list[Place]:
    """Cores and GPUs shared out: one worker a GPU, else one for each `CORES_PER_WORKER` cores.

    Raises
    ------
    InputError
        If there are more workers than cores, or than GPUs where there are any.
    """
    most = len(gpus) or len(cores)
    n = workers or len(gpus) or max(len(cores) // CORES_PER_WORKER, 1)
    if not 1 <= n <= most:
        what = "GPUs" if gpus else "processor cores"
        raise InputError(
            f"{n} workers do not fit on this computer",
            expected=f"from 1 to {most}, one for each of its {what}",
            found=str(n),
        )
    n_gpus = gpus[:n] or [""] * n
    if len(cores) < n:  # more GPUs than cores: they share
        return [Place(tuple(cores), gpu) for gpu in n_gpus]
    bounds = [len(cores) * i // n for i in range(n + 1)]
    return [
        Place(tuple(cores[a:b]), gpu)
        for a, b, gpu in zip(bounds[:-1], bounds[1:], n_gpus, strict=True)
    ]


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def visible_gpus() -> list[str]:
    """Names of the NVIDIA GPUs that this process may use, without JAX.

    JAX would take most of their memory, which is the workers'.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip() not in ("", "-1")]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        command = [program, "--query-gpu=index", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip().isdigit()]


def outside(address: str) -> bool:
    """Whether an address leads out of this computer without TLS, so that it must be trusted."""
    parts = urlsplit(address)
    if parts.scheme in ("tls", "wss", "inproc"):
        return False
    host = parts.hostname or ""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@contextmanager
def connect(where: str, workers: int | None = None) -> Iterator[Client]:
    """A client of the scheduler at an address, or of workers started here for ``local``.

    Parameters
    ----------
    where
        ``local``, or an address such as ``tcp://10.0.0.5:8786`` or ``tls://…``.
    workers
        How many to start, for ``local``; by default one a GPU, else by the number of cores.

    Raises
    ------
    InputError
        If Dask is not installed, the address is none, or nobody answers there.
    """
    require_dask()
    if where == LOCAL:
        with local_workers(places(usable_cores(), visible_gpus(), workers)) as client:
            yield client
        return
    if workers is not None:
        raise InputError(
            "The number of workers is chosen where they are started",
            expected="--workers together with --dask local only",
        )
    with _client(where, set_as_default=False, timeout=CONNECT_SECONDS) as client:
        yield client


@contextmanager
def _client(address: Any, **options: Any) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, **options)
    except (OSError, ValueError, ImportError) as error:
        raise InputError(
            f"No Dask scheduler answers at {address}",
            expected="an address such as tcp://10.0.0.5:8786, as the scheduler prints it",
            found=str(error) or type(error).__name__,
            remedy="Start the scheduler and its workers first, or use --dask local.",
        ) from error
    try:
        yield client
    finally:
        client.close()


@contextmanager
def local_workers(chosen: list[Place]) -> Iterator[Client]:
    """A client of workers that are started on this computer, one in each place."""
    import dask.config
    from distributed import Nanny, Scheduler, SpecCluster

    with TemporaryDirectory(prefix="ethoprism-dask-", ignore_cleanup_errors=True) as scratch:
        spec = {
            number: {
                "cls": Nanny,
                "options": {
                    "nthreads": 1,
                    "env": place.environment,
                    "host": "127.0.0.1",
                    "memory_limit": 0,  # constant, but more than Dask would guess on GPUs
                    "local_directory": str(Path(scratch)),
                    "dashboard": False,
                    "silence_logs": logging.CRITICAL,
                },
            }
            for number, place in enumerate(chosen)
        }
        scheduler = {
            "cls": Scheduler,
            "options": {
                "host": "127.0.0.1",
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
            },
        }
        quiet: dict[str, Any] = {"silence_logs": logging.CRITICAL}
        # Set before a worker's process starts, or its libraries have read them already.
        limits = {name: str(len(chosen[0].cores)) for name in THREAD_LIMITS}
        with (
            dask.config.set({"distributed.nanny.pre-spawn-environ": limits}),
            SpecCluster(workers=spec, scheduler=scheduler, **quiet) as cluster,
            _client(cluster, set_as_default=False) as client,
        ):
            yield client
