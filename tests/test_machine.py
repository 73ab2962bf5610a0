"""What is missing on a computer is named with the command that installs it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ethoprism import machine
from ethoprism.machine import Finding, Machine, Part, debian_package, findings

CPU = Machine(
    version="1",
    python="3.12",
    jax="0.10",
    system="Linux",
    devices=("cpu",),
    gpus=(),
    cores=4,
    memory=16_000_000_000,
    free_memory=8_000_000_000,
    parts=tuple(Part(name, "it", ()) for name in ("gui", "cpu", "gpu", "dask")),
    missing_libraries=(),
)


def without(name: str, here: Machine = CPU) -> Machine:
    parts = tuple(replace(p, missing=("x",)) if p.name == name else p for p in here.parts)
    return replace(here, parts=parts)


def test_this_computer_is_described() -> None:
    here = machine.examine()
    assert here.devices and here.devices[0].startswith("cpu")
    assert here.cores >= 1 and here.memory > 0
    assert 0 <= here.free_memory <= here.memory
    by_name = {part.name: part for part in here.parts}
    assert by_name["dask"].missing == ()  # the tests' environment has it
    assert by_name["tracks"].command == 'pip install "ethoprism[tracks]"'


def test_a_sound_computer_has_nothing_to_say() -> None:
    assert list(findings(CPU)) == []
    gpu = replace(CPU, devices=("gpu NVIDIA A100",), gpus=("NVIDIA A100",))
    assert list(findings(without("gpu", without("cpu", gpu)))) == []


def test_a_gpu_that_jax_does_not_use_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    unused = replace(CPU, gpus=("NVIDIA A100", "NVIDIA A100"))

    def only(here: Machine) -> Finding:
        (found,) = findings(here)
        assert found.warning and "There is a GPU (NVIDIA A100), and JAX does not use it" in (
            found.text
        )
        return found

    assert 'pip install "ethoprism[gpu]"' in only(without("gpu", unused)).remedy
    assert "nvidia-smi" in only(unused).remedy
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert "unset JAX_PLATFORMS" in only(unused).remedy
    monkeypatch.setattr(sys, "platform", "win32")
    assert "WSL" in only(unused).remedy


def test_openvino_is_suggested_where_there_is_no_gpu() -> None:
    (found,) = findings(without("cpu"))
    assert 'pip install "ethoprism[cpu]"' in found.remedy and not found.warning


def test_little_memory_is_warned_of() -> None:
    (found,) = findings(replace(CPU, memory=3_000_000_000))
    assert found.warning and "3.0 GB" in found.text
    (found,) = findings(replace(CPU, free_memory=500_000_000))
    assert found.warning and "0.5 GB of memory are free" in found.text
    assert list(findings(replace(CPU, memory=0, free_memory=0))) == []  # not known


def test_libraries_of_the_system_are_named_with_their_packages() -> None:
    (found,) = findings(replace(CPU, missing_libraries=("libEGL.so.1", "libxcb-cursor.so.0")))
    assert found.warning
    assert "sudo apt install libegl1 libxcb-cursor0" in found.remedy


@pytest.mark.parametrize(
    ("library", "package"),
    [
        ("libxcb-cursor.so.0", "libxcb-cursor0"),
        ("libdbus-1.so.3", "libdbus-1-3"),
        ("libxkbcommon-x11.so.0", "libxkbcommon-x11-0"),
        ("libX11-xcb.so.1", "libx11-xcb1"),
        ("libGL.so.1", "libgl1"),
    ],
)
def test_packages_follow_the_rule(library: str, package: str) -> None:
    assert debian_package(library) == package


@pytest.mark.skipif(sys.platform != "linux", reason="how Linux names what is missing")
def test_the_linker_is_asked_for_qt_libraries(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert machine.missing_qt_libraries() == ()  # the tests' environment opens windows
    program = tmp_path / "ldd"
    program.write_text(
        f"#!{sys.executable}\n"
        "print('\\tlibxcb-cursor.so.0 => not found')\n"
        "print('\\tlibc.so.6 => /lib/libc.so.6 (0x1)')\n"
        "print('\\tlibEGL.so.1 => not found')\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.missing_qt_libraries() == ("libEGL.so.1", "libxcb-cursor.so.0")
    program.unlink()
    assert machine.missing_qt_libraries() == ()


def test_gpus_are_those_of_the_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_gpus() == ()
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!{sys.executable}\nprint('NVIDIA A100')\nprint('NVIDIA T4')\n")
    program.chmod(0o755)
    assert machine.nvidia_gpus() == ("NVIDIA A100", "NVIDIA T4")
    program.write_text(f"#!{sys.executable}\nraise SystemExit(9)\n")  # no driver is loaded
    assert machine.nvidia_gpus() == ()
