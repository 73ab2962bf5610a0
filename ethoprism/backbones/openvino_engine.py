"""The engine ``openvino``: functions on the processor through OpenVINO (extra ``cpu``).

A function's jaxpr becomes an OpenVINO model (`openvino_graph`) in which each product has the
operands that JAX gives it. The plug-in is told to keep to these types, so precision is the
function's and not the plug-in's choice.

What is compiled is kept on the disk (`openvino_cache`), where it can be told what it is made of.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from threading import Lock
from types import ModuleType
from typing import Any

import jax
import numpy as np

from ethoprism.backbones.engine import EngineError, Function
from ethoprism.backbones.openvino_cache import ModelCache, model_key
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
    cache
        Where compiled models are kept; None keeps them in memory only.

    Raises
    ------
    EngineError
        If OpenVINO cannot be loaded here; so do `build` and what it returns where it fails.
    """

    name = "openvino"

    def __init__(self, threads: int | None = None, cache: ModelCache | None = None):
        with _explained("be started"):
            self._core: Any = load_openvino().Core()
        self._options = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            # Decoding and other work share the cores, so threads must be free to move.
            "ENABLE_CPU_PINNING": False,
        }
        self._cache = cache

    @property
    def version(self) -> str:
        """Of OpenVINO."""
        return version("openvino")

    def build(
        self, function: Function, parameters: Any, examples: Sequence[Any], identity: str = ""
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
        key = ""
        if self._cache is not None and identity:
            key = model_key([identity, _text(jaxpr), str(self._options), self.version])
        compiled, memory = self._kept(key)
        if compiled is None:
            model = build_model(jaxpr, [np.asarray(leaf) for leaf in leaves])
            with _explained("compile the encoder"):
                compiled = self._core.compile_model(model, "CPU", self._options)
            self._keep(key, compiled)
        with _explained("compile the encoder"):
            request = compiled.create_infer_request()
        return _Call(request, jax.tree.structure(results), memory)

    def _kept(self, key: str) -> tuple[Any, Any]:
        """The compiled model of a key and the memory that its weights lie in; None if not kept."""
        model = self._cache.read(key) if self._cache is not None and key else None
        if self._cache is None or model is None:
            return None, None
        tensor = import_module("openvino").Tensor(model, shared_memory=True)
        try:
            return self._core.import_model(tensor, "CPU", self._options), tensor
        except Exception:  # whatever is wrong with it, it is made again
            self._cache.drop(key)
            return None, None

    def _keep(self, key: str, compiled: Any) -> None:
        if self._cache is None or not key:
            return
        try:
            model = compiled.export_model()
        except Exception:  # not all models can be; then this one is made at each start
            return
        self._cache.write(key, model if isinstance(model, bytes) else model.getvalue())


def _text(jaxpr: Any) -> str:
    """A jaxpr in words that are the same in every process, the values of its constants included."""
    values = "".join(sha256(np.asarray(c).tobytes()).hexdigest() for c in jaxpr.consts)
    return re.sub(r"0x[0-9a-f]+", "", str(jaxpr)) + values


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """OpenVINO's own errors as one that a user can act on."""
    try:
        yield
    except (EngineError, MemoryError):
        raise
    except Exception as error:
        raise EngineError(
            f"OpenVINO cannot {what} on this computer",
            expected="a processor and a system that OpenVINO supports",
            found=" ".join(str(error).split())[:300] or type(error).__name__,
            remedy="Compute with the other engine: --engine jax",
        ) from error


class _Call:
    """A compiled model as a function; one call at a time, since the results' memory is reused.

    ``memory`` is held as long as the function: a model that was read computes with the weights
    where they were read to, and OpenVINO does not keep them.
    """

    def __init__(self, request: Any, structure: Any, memory: Any):
        self._request, self._structure, self._lock = request, structure, Lock()
        self._memory = memory

    def __call__(self, *inputs: Any) -> Any:
        arrays = [np.ascontiguousarray(leaf) for leaf in jax.tree.leaves(inputs)]
        with self._lock, _explained("compute the encoder"):
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
