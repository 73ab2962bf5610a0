"""From a JAX function to an OpenVINO model, by way of its jaxpr.

Whatever depends on constants alone is computed here, so weights reach the model in the form in
which products want them. Loops over layers (`jax.lax.scan`) are written out. Functions that
`layers` compiles by themselves are found by their names and become single operations that
OpenVINO has fast kernels for; whatever else they are made of is translated step by step.

OpenVINO's own converter knows neither of these, starts other processes and loads a telemetry
package. This one uses the operations only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from ethoprism.backbones.layers import NORM_EPSILON
from ethoprism.errors import EthoPrismError

Value = Any
"""A NumPy array where it is constant, else an output of an OpenVINO operation.

Its axes may be of size 1 where the jaxpr has more: elementwise operations broadcast, and what
needs the full shape asks for it with `_full`.
"""

Equation = Any
"""An equation of a jaxpr; JAX's stubs don't know that its values have shapes and dtypes."""

Equations = Any
"""A jaxpr without constants."""


class UnknownOperationError(EthoPrismError):
    """A function uses an operation that has no translation."""


def build_model(closed: ClosedJaxpr, parameters: Sequence[np.ndarray]) -> Any:
    """The OpenVINO model of a jaxpr.

    Parameters
    ----------
    closed
        The jaxpr; its first inputs are parameters, the others inputs of the model.
    parameters
        Values of the first inputs. They become constants.

    Raises
    ------
    UnknownOperationError
        If it uses an operation that is not known here.
    """
    import openvino as ov
    from openvino import opset15 as op

    jaxpr: Equations = closed.jaxpr
    avals = [variable.aval for variable in jaxpr.invars[len(parameters) :]]
    inputs = [op.parameter(list(a.shape), _type(a.dtype)) for a in avals]
    arguments = [*parameters, *(node.output(0) for node in inputs)]
    results = _Translator(op).run(closed, arguments)
    outputs = [
        op.result(_output(op, _full(op, value, variable.aval.shape)))
        for value, variable in zip(results, jaxpr.outvars, strict=True)
    ]
    make: Any = ov.Model  # its stubs contradict themselves
    return make(outputs, inputs)


class _Translator:
    def __init__(self, op: Any):
        self._op = op
        self._converted: dict[tuple[Any, ...], Value] = {}

    def run(self, closed: ClosedJaxpr, arguments: Sequence[Value]) -> list[Value]:
        """The results of a jaxpr, given its inputs."""
        return self.evaluate(closed.jaxpr, [np.asarray(c) for c in closed.consts], arguments)

    def evaluate(
        self, jaxpr: Equations, constants: Sequence[Value], arguments: Sequence[Value]
    ) -> list[Value]:
        known: dict[Any, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
        known.update(zip(jaxpr.invars, arguments, strict=True))

        def read(atom: Any) -> Value:
            if isinstance(atom, Literal):
                return np.asarray(atom.val, getattr(atom.aval, "dtype", None))
            return known[atom]

        for equation in jaxpr.eqns:
            results = self._equation(equation, [read(atom) for atom in equation.invars])
            known.update(zip(equation.outvars, results, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _equation(self, equation: Equation, values: list[Value]) -> list[Value]:
        name = equation.primitive.name
        if name == "broadcast_in_dim":
            return [self._broadcast(equation, values[0])]
        if all(isinstance(value, np.ndarray) for value in values):
            return _compute(equation, values)
        if name in ("jit", "pjit", "closed_call", "core_call", "remat", "checkpoint"):
            return self._call(equation, values)
        if name in ("custom_jvp_call", "custom_vjp_call"):
            return self.run(equation.params.get("call_jaxpr"), values)
        if name == "scan":
            return self._scan(equation, values)
        if name == "split":
            return self._split(equation, values[0])
        if name in _ELEMENTWISE:
            return [_ELEMENTWISE[name](self._op, *(_output(self._op, v) for v in values))]
        if name in _SHAPED:
            shaped = [
                _full(self._op, value, atom.aval.shape)
                for value, atom in zip(values, equation.invars, strict=True)
            ]
            return [_SHAPED[name](self._op, equation, *shaped)]
        if name == "convert_element_type":
            return [self.convert(values[0], equation.params["new_dtype"])]
        raise UnknownOperationError(
            "The OpenVINO engine does not know one of the encoder's operations",
            found=name,
            remedy="Compute with the other engine: --engine jax",
        )

    def convert(self, value: Value, dtype: Any) -> Value:
        """``value`` in another dtype; the same conversion is made once."""
        if isinstance(value, np.ndarray):
            return value.astype(dtype)
        target = _type(dtype)
        if value.get_element_type() == target:
            return value
        key = (value.get_node().get_friendly_name(), value.get_index(), str(target))
        if key not in self._converted:
            self._converted[key] = self._op.convert(value, target.to_string()).output(0)
        return self._converted[key]

    def _call(self, equation: Equation, values: list[Value]) -> list[Value]:
        inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
        closed = inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())
        fast = _FAST.get(equation.params.get("name", ""))
        if fast is not None and not isinstance(values[0], np.ndarray):
            full = [
                _full(self._op, value, atom.aval.shape)
                for value, atom in zip(values, equation.invars, strict=True)
            ]
            result = fast(self, self._op, closed.jaxpr, full)
            if result is not None:
                return [result]
        return self.run(closed, values)

    def _scan(self, equation: Equation, values: list[Value]) -> list[Value]:
        p = equation.params
        fixed = values[: p["num_consts"]]
        carry = values[p["num_consts"] : p["num_consts"] + p["num_carry"]]
        sliced = values[p["num_consts"] + p["num_carry"] :]
        if p["jaxpr"].jaxpr.outvars[p["num_carry"] :] or not all(
            isinstance(value, np.ndarray) for value in sliced
        ):
            raise UnknownOperationError("The OpenVINO engine knows loops over parameters only")
        order = range(p["length"])
        for index in reversed(order) if p["reverse"] else order:
            carry = self.run(p["jaxpr"], [*fixed, *carry, *(value[index] for value in sliced)])
        return carry

    def _split(self, equation: Equation, value: Value) -> list[Value]:
        value = _full(self._op, value, equation.invars[0].aval.shape)
        sizes, axis = equation.params["sizes"], equation.params["axis"]
        parts = self._op.variadic_split(value, axis, list(sizes))
        return [parts.output(index) for index in range(len(sizes))]

    def _broadcast(self, equation: Equation, value: Value) -> Value:
        shape = equation.outvars[0].aval.shape
        thin = [1] * len(shape)
        for axis, size in zip(equation.params["broadcast_dimensions"], value.shape, strict=True):
            thin[axis] = size
        return _reshape(self._op, value, thin)


def _compute(equation: Equation, values: list[np.ndarray]) -> list[np.ndarray]:
    shapes = [atom.aval.shape for atom in equation.invars]
    full = [jnp.asarray(np.broadcast_to(v, s)) for v, s in zip(values, shapes, strict=True)]
    results = equation.primitive.bind(*full, **equation.params)
    many = results if equation.primitive.multiple_results else [results]
    return [np.asarray(result) for result in many]


def _type(dtype: Any) -> Any:
    import openvino as ov

    name = np.dtype(dtype).name
    if name == "bfloat16":
        return ov.Type.bf16
    return ov.Type(np.dtype(dtype))


def _output(op: Any, value: Value) -> Value:
    """``value`` as an output of an operation."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.name == "bfloat16":
        import openvino as ov

        # NumPy has no such dtype of its own, so the bits are handed over.
        bits = np.ascontiguousarray(value).view(np.uint16)
        tensor = ov.Tensor(bits, list(value.shape), ov.Type.bf16)
        return op.constant(tensor, shared_memory=False).output(0)
    return op.constant(np.ascontiguousarray(value)).output(0)


def _reshape(op: Any, value: Value, shape: Sequence[int]) -> Value:
    shape = [int(size) for size in shape]
    if tuple(value.shape) == tuple(shape):
        return value
    if isinstance(value, np.ndarray):
        return value.reshape(shape)
    return op.reshape(value, np.asarray(shape, np.int64), False).output(0)


def _full(op: Any, value: Value, shape: Sequence[int]) -> Value:
    """``value`` with its axes of size 1 repeated to ``shape``."""
    if tuple(value.shape) == tuple(shape):
        return value
    if isinstance(value, np.ndarray):
        return np.broadcast_to(value, shape)
    return op.broadcast(value, np.asarray(shape, np.int64)).output(0)


def _transpose(op: Any, value: Value, order: Sequence[int]) -> Value:
    if list(order) == list(range(len(order))):
        return value
    if isinstance(value, np.ndarray):
        return value.transpose(order)
    return op.transpose(value, np.asarray(order, np.int64)).output(0)


def _one(dtype_of: Value) -> np.ndarray:
    return np.asarray(1.0, dtype_of.get_element_type().to_dtype())


_ELEMENTWISE: dict[str, Callable[..., Value]] = {
    "add": lambda op, a, b: op.add(a, b).output(0),
    "add_any": lambda op, a, b: op.add(a, b).output(0),
    "sub": lambda op, a, b: op.subtract(a, b).output(0),
    "mul": lambda op, a, b: op.multiply(a, b).output(0),
    "div": lambda op, a, b: op.divide(a, b).output(0),
    "max": lambda op, a, b: op.maximum(a, b).output(0),
    "min": lambda op, a, b: op.minimum(a, b).output(0),
    "pow": lambda op, a, b: op.power(a, b).output(0),
    "and": lambda op, a, b: op.logical_and(a, b).output(0),
    "or": lambda op, a, b: op.logical_or(a, b).output(0),
    "not": lambda op, a: op.logical_not(a).output(0),
    "eq": lambda op, a, b: op.equal(a, b).output(0),
    "ne": lambda op, a, b: op.not_equal(a, b).output(0),
    "lt": lambda op, a, b: op.less(a, b).output(0),
    "le": lambda op, a, b: op.less_equal(a, b).output(0),
    "gt": lambda op, a, b: op.greater(a, b).output(0),
    "ge": lambda op, a, b: op.greater_equal(a, b).output(0),
    "neg": lambda op, a: op.negative(a).output(0),
    "abs": lambda op, a: op.absolute(a).output(0),
    "exp": lambda op, a: op.exp(a).output(0),
    "log": lambda op, a: op.log(a).output(0),
    "tanh": lambda op, a: op.tanh(a).output(0),
    "logistic": lambda op, a: op.sigmoid(a).output(0),
    "erf": lambda op, a: op.erf(a).output(0),
    "erfc": lambda op, a: op.subtract(op.constant(_one(a)), op.erf(a)).output(0),
    "sqrt": lambda op, a: op.sqrt(a).output(0),
    "rsqrt": lambda op, a: op.divide(op.constant(_one(a)), op.sqrt(a)).output(0),
    "square": lambda op, a: op.multiply(a, a).output(0),
    "copy": lambda op, a: a,
    "copy_p": lambda op, a: a,
    "stop_gradient": lambda op, a: a,
    "optimization_barrier": lambda op, a: a,
    # JAX's select counts from false to true.
    "select_n": lambda op, which, no, yes: op.select(which, yes, no).output(0),
}


def _dot(op: Any, equation: Equation, a: Value, b: Value) -> Value:
    """A general product as a batched matrix product: batch axes, then rows, then columns."""
    (a_sum, b_sum), (a_batch, b_batch) = equation.params["dimension_numbers"]
    result = equation.outvars[0].aval
    a_free = [axis for axis in range(len(a.shape)) if axis not in (*a_sum, *a_batch)]
    b_free = [axis for axis in range(len(b.shape)) if axis not in (*b_sum, *b_batch)]
    shared = math.prod(a.shape[axis] for axis in a_sum)
    batch = [a.shape[axis] for axis in a_batch]
    rows = math.prod(a.shape[axis] for axis in a_free)
    columns = math.prod(b.shape[axis] for axis in b_free)
    left = _reshape(op, _transpose(op, a, [*a_batch, *a_free, *a_sum]), [*batch, rows, shared])
    # Where the axis summed over comes last already, it stays there.
    last = list(b_sum) == list(range(len(b.shape) - len(b_sum), len(b.shape)))
    order = [*b_batch, *b_free, *b_sum] if last else [*b_batch, *b_sum, *b_free]
    sizes = [*batch, columns, shared] if last else [*batch, shared, columns]
    right = _reshape(op, _transpose(op, b, order), sizes)
    product = op.matmul(_output(op, left), _output(op, right), False, last).output(0)
    wanted = _type(result.dtype)
    if product.get_element_type() != wanted:
        product = op.convert(product, wanted.to_string()).output(0)
    return _reshape(op, product, result.shape)


def _reduce(kind: str) -> Callable[..., Value]:
    def reduce(op: Any, equation: Equation, value: Value) -> Value:
        axes = np.asarray(equation.params["axes"], np.int64)
        return getattr(op, kind)(_output(op, value), axes, False).output(0)

    return reduce


def _slice(op: Any, equation: Equation, value: Value) -> Value:
    p = equation.params
    steps = p["strides"] or [1] * len(p["start_indices"])
    bounds = (np.asarray(x, np.int64) for x in (p["start_indices"], p["limit_indices"], steps))
    return op.slice(_output(op, value), *bounds).output(0)


def _concatenate(op: Any, equation: Equation, *values: Value) -> Value:
    return op.concat([_output(op, v) for v in values], equation.params["dimension"]).output(0)


def _integer_power(op: Any, equation: Equation, value: Value) -> Value:
    if equation.params["y"] == 2:
        return op.multiply(value, value).output(0)
    exponent = np.asarray(equation.params["y"], value.get_element_type().to_dtype())
    return op.power(value, op.constant(exponent)).output(0)


def _to_result_shape(op: Any, equation: Equation, value: Value) -> Value:
    return _reshape(op, value, equation.outvars[0].aval.shape)


_SHAPED: dict[str, Callable[..., Value]] = {
    "dot_general": _dot,
    "reshape": _to_result_shape,
    "squeeze": _to_result_shape,
    "expand_dims": _to_result_shape,
    "transpose": lambda op, e, v: _transpose(op, v, e.params["permutation"]),
    "reduce_sum": _reduce("reduce_sum"),
    "reduce_max": _reduce("reduce_max"),
    "reduce_min": _reduce("reduce_min"),
    "reduce_and": _reduce("reduce_logical_and"),
    "reduce_or": _reduce("reduce_logical_or"),
    "slice": _slice,
    "concatenate": _concatenate,
    "integer_pow": _integer_power,
}


def _fast_gelu(t: _Translator, op: Any, jaxpr: Equations, values: list[Value]) -> Value | None:
    return op.gelu(values[0], "erf").output(0)


def _fast_softmax(t: _Translator, op: Any, jaxpr: Equations, values: list[Value]) -> Value | None:
    return op.softmax(values[0], len(values[0].shape) - 1).output(0)


def _fast_norm(t: _Translator, op: Any, jaxpr: Equations, values: list[Value]) -> Value | None:
    x, scale, bias = values
    if not (isinstance(scale, np.ndarray) and isinstance(bias, np.ndarray)):
        return None
    wide = t.convert(x, np.float32)
    last = np.asarray([len(x.shape) - 1], np.int64)
    normed = op.mvn(wide, last, True, NORM_EPSILON, "INSIDE_SQRT")
    normed = op.multiply(normed, _output(op, np.float32(1) + scale.astype(np.float32)))
    normed = op.add(normed, _output(op, bias.astype(np.float32))).output(0)
    return t.convert(normed, jaxpr.outvars[0].aval.dtype)


def _fast_project(t: _Translator, op: Any, jaxpr: Equations, values: list[Value]) -> Value | None:
    """The bias is added before the result is cut into heads, where it joins the product."""
    x, w, b = values
    dot = next(e for e in jaxpr.eqns if e.primitive.name == "dot_general")
    (x_sum, w_sum), _ = dot.params["dimension_numbers"]
    lead = x.shape[: len(x.shape) - len(x_sum)]
    trailing = list(x_sum) == list(range(len(lead), len(x.shape)))
    if not (trailing and isinstance(w, np.ndarray) and isinstance(b, np.ndarray)):
        return None
    result = jaxpr.outvars[0].aval
    operand = dot.invars[0].aval.dtype
    free = [axis for axis in range(w.ndim) if axis not in w_sum]
    shared = math.prod(w.shape[axis] for axis in w_sum)
    weight = w.transpose([*free, *w_sum]).reshape(-1, shared).astype(operand)
    x = _reshape(op, t.convert(x, operand), [*lead, shared])
    product = op.matmul(x, _output(op, weight), False, True).output(0)
    product = t.convert(product, np.float32)
    product = op.add(product, _output(op, b.reshape(-1).astype(np.float32))).output(0)
    return _reshape(op, t.convert(product, result.dtype), result.shape)


_FAST: dict[str, Callable[[_Translator, Any, Equations, list[Value]], Value | None]] = {
    "gelu": _fast_gelu,
    "softmax": _fast_softmax,
    "layer_norm": _fast_norm,
    "project": _fast_project,
}
"""Compiled functions of `layers` that OpenVINO has an operation for."""
