"""Every compiled function of probes lowers for CUDA, with the arguments that training gives it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import jax
import pytest
from probe_samples import trained

import ethoprism.probe
from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.heads import HEADS
from ethoprism.probe.train import Schedule


def _compiled() -> dict[tuple[ModuleType, str], Any]:
    """The functions of the package's modules that `jax.jit` decorates."""
    names = [m.name for m in pkgutil.iter_modules(ethoprism.probe.__path__)]
    found = {}
    for module in (importlib.import_module(f"ethoprism.probe.{name}") for name in names):
        for name, value in inspect.getmembers(module):
            if hasattr(value, "lower") and hasattr(value, "trace"):
                found[module, name] = value
    return found


class _Noting:
    """A compiled function that keeps the arguments of its first call."""

    def __init__(self, function: Any):
        self.function = function
        self.arguments: tuple[Any, ...] | None = None

    def __call__(self, *arguments: Any) -> Any:
        self.arguments = self.arguments or arguments
        return self.function(*arguments)


def test_every_compiled_function_of_probes_lowers_for_cuda(
    data: list[LabelledTokens], monkeypatch: pytest.MonkeyPatch
):
    called: set[str] = set()
    for head in HEADS:
        with monkeypatch.context() as patch:
            noting = {place: _Noting(function) for place, function in _compiled().items()}
            for (module, name), function in noting.items():
                patch.setattr(module, name, function)
            trained(data, head=head, schedule=Schedule(steps=2, batch=64))
        for (_, name), function in noting.items():
            if function.arguments is None:
                continue
            called.add(name)
            exported = jax.export.export(function.function, platforms=["cuda"])
            assert exported(*function.arguments).platforms == ("cuda",), (head, name)
    assert called == {name for _, name in _compiled()}
    assert {"_step", "_logits", "_loss_and_slope"} <= called
