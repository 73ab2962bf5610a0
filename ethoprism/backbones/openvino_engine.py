"""The engine ``openvino``: functions on the processor through OpenVINO (extra ``cpu``).

A function's jaxpr becomes an OpenVINO model (`openvino_graph`) in which each product has the
operands that JAX gives it. The plug-in is told to keep to these types, so precision is the
function's and not the plug-in's choice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from threading import Lock
from types import ModuleType
from typing import Any

import jax
import numpy as np

from ethoprism.backbones.engine import Function
from ethoprism.backbones.openvino_graph import build_model


def load_openvino() -> ModuleType:
    """The package ``openvino``, imported without its model converter.

    Importing the converter, which is not used here, starts a process that reports the import to
    OpenVINO's makers over the network. It is optional to the package, so it is hidden from it.
    """
    converter = "openvino.tools.ovc"
    if "openvino" in sys.modules or converter in sys.modules:
        return import_module("openvino")
    sys.modules[converter] = None  # pyright: ignore[reportArgumentType]
    try:
        return import_module("openvino")
    finally:
        del sys.modules[converter]


class OpenVinoEngine:
    """OpenVINO's CPU plug-in.

    Parameters
    ----------
    threads
        Of the processor; all that this process may use by default.
    """

    name = "openvino"

    def __init__(self, threads: int | None = None):
        self._core: Any = load_openvino().Core()
        self._threads = threads or usable_cores()

    @property
    def version(self) -> str:
        """Of OpenVINO."""
        return version("openvino")

    def build(
        self, function: Function, parameters: Any, examples: Sequence[Any]
    ) -> Callable[..., Any]:
        """See `engine.Engine.build`; results are NumPy arrays.

        Raises
        ------
        UnknownOperationError
            If the function uses an operation that has no translation.
        """
        leaves, tree = jax.tree.flatten(parameters)

        def flat(values: list[Any], *inputs: Any) -> Any:
            return function(jax.tree.unflatten(tree, values), *inputs)

        shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves]
        jaxpr, results = jax.make_jaxpr(flat, return_shape=True)(shapes, *examples)
        model = build_model(jaxpr, [np.asarray(leaf) for leaf in leaves])
        options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": self._threads,
            # Decoding and other work share the cores, so threads must be free to move.
            "ENABLE_CPU_PINNING": False,
        }
        compiled = self._core.compile_model(model, "CPU", options)
        return _Call(compiled.create_infer_request(), jax.tree.structure(results))


class _Call:
    """A compiled model as a function; one call at a time, since the results' memory is reused."""

    def __init__(self, request: Any, structure: Any):
        self._request, self._structure, self._lock = request, structure, Lock()

    def __call__(self, *inputs: Any) -> Any:
        arrays = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(inputs)]
        with self._lock:
            self._request.infer(dict(enumerate(arrays)), share_inputs=True)
            outputs = [
                self._request.get_output_tensor(index).data.copy()
                for index in range(self._structure.num_leaves)
            ]
        return jax.tree.unflatten(self._structure, outputs)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
