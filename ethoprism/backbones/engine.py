"""Engines: what computes a backbone's functions.

``jax`` computes everywhere and is the reference. ``openvino`` computes the same functions on
processors, faster. Both follow the precision that a backbone has, so tokens of either can be
mixed in a store; which made what is recorded beside them (`stamp`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

import jax

from ethoprism.backbones.spec import platform
from ethoprism.errors import EthoPrismError, InputError

PRECISIONS = ("float32", "bfloat16")
ENGINES = ("jax", "openvino")
INSTALL_OPENVINO = 'pip install "ethoprism[cpu]"'

Function = Callable[..., Any]
"""Pure: ``function(parameters, *inputs)`` gives an array or a dictionary of arrays."""


class EngineError(EthoPrismError):
    """An engine that cannot compute here."""


@runtime_checkable
class Engine(Protocol):
    """Compiles functions for fixed shapes."""

    @property
    def name(self) -> str:
        """``jax`` or ``openvino``."""
        ...

    @property
    def version(self) -> str:
        """Of the library that computes."""
        ...

    def build(
        self,
        function: Function,
        parameters: Any,
        examples: Sequence[jax.ShapeDtypeStruct],
        identity: str = "",
    ) -> Callable[..., Any]:
        """``function`` with its parameters in it, for inputs of the shapes of the examples.

        Parameters
        ----------
        function
            What to compile.
        parameters
            A tree of arrays, its first argument.
        examples
            Shapes and dtypes of the other arguments; each may be a tree.
        identity
            Tells parameters from any others, so that what was compiled can be kept for another
            process; without it nothing is kept.
        """
        ...


class JaxEngine:
    """JAX's own compiler, on whatever device JAX computes on."""

    name = "jax"

    @property
    def version(self) -> str:
        """Of JAX."""
        return jax.__version__

    def build(
        self, function: Function, parameters: Any, examples: Sequence[Any], identity: str = ""
    ) -> Callable[..., Any]:
        """See `Engine.build`; compiled when it is first called."""
        return partial(jax.jit(function), parameters)


class Compiled:
    """Functions on one engine, each compiled once for every shape that it is called with.

    Parameters
    ----------
    engine
        What computes them.
    weights
        Digest of what all parameters are made from, if it is known (see `Engine.build`).
    """

    def __init__(self, engine: Engine, weights: str = ""):
        self.engine = engine
        self._weights = weights
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def __call__(self, key: Any, function: Function, parameters: Any, *inputs: Any) -> Any:
        """``function(parameters, *inputs)``.

        Parameters
        ----------
        key
            Hashable; tells functions apart that differ in what is compiled into them.
        function, parameters, inputs
            See `Function`.
        """
        examples = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), inputs)
        leaves, tree = jax.tree.flatten(examples)
        shapes = (key, tree, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves))
        if shapes not in self._compiled:
            identity = f"{self._weights} {key!r}" if self._weights else ""
            self._compiled[shapes] = self.engine.build(function, parameters, examples, identity)
        return self._compiled[shapes](*inputs)


def installed(name: str) -> bool:
    """Whether an engine is installed; nothing is imported."""
    return name == "jax" or find_spec("openvino") is not None


def usable() -> tuple[str, ...]:
    """Engines that can compute here: OpenVINO where it is installed and JAX has no accelerator."""
    return tuple(
        name for name in ENGINES if name == "jax" or (installed(name) and platform() == "cpu")
    )


def engine_named(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    InputError
        If there is none, or if it is not installed.
    EngineError
        If it cannot be started here.
    """
    if name == "jax":
        return JaxEngine()
    if name != "openvino":
        raise InputError(
            "There is no such engine", expected=f"auto, {' or '.join(ENGINES)}", found=name
        )
    if not installed(name):
        raise InputError("OpenVINO is not installed", remedy=f"Install it with: {INSTALL_OPENVINO}")
    from ethoprism.backbones.openvino_cache import default_cache
    from ethoprism.backbones.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(cache=default_cache())


def precisions(load: Callable[..., Any]) -> tuple[str, ...]:
    """Precisions of the backbone that a function loads; one without the option has float32 only."""
    return PRECISIONS if "precision" in inspect.signature(load).parameters else PRECISIONS[:1]


def check_precision(precision: str, name: str, known: Sequence[str] = PRECISIONS) -> None:
    """Refuse a precision that a backbone does not have with an `InputError`."""
    if precision not in known:
        raise InputError(
            f"{name} does not compute in this precision",
            expected=" or ".join(known),
            found=precision,
            remedy="Set precision in ethoprism.toml, or make the project with --precision.",
        )


def engine_stamp(engine: Engine, precision: str) -> dict[str, str]:
    """What computes: engine, its version, the device and the precision, for `TokenStore.sign`."""
    device = jax.devices()[0]
    words = (device.platform, device.device_kind) if engine.name == "jax" else ("cpu",)
    return {
        "engine": engine.name,
        "version": engine.version,
        "device": " ".join(dict.fromkeys(words)),
        "precision": precision,
    }
