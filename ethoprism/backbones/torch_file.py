"""Arrays from PyTorch files of the old kind, read by an interpreter that can make nothing else.

Such a file is a row of pickles and the raw numbers behind them. A pickle is a program, and loading
one runs it. Here its instructions are only listed (`pickletools.genops`), and a state dictionary's
are followed by hand: texts, numbers, tuples, dictionaries and arrays. Every other instruction, and
every other name than those of PyTorch's tensors, is refused.

Source: ``torch/serialization.py`` of PyTorch (``_legacy_save``) for the order of the parts, and the
documentation of Python's ``pickletools`` for the instructions.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ethoprism.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}
_TENSOR = "torch._utils _rebuild_tensor_v2"
_DICTIONARY = "collections OrderedDict"
_MOST_BYTES = 1 << 30
_MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class _Name:
    text: str


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Mark:
    pass


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a state dictionary, by name: float32 or int64, in the machine's byte order.

    Raises
    ------
    WeightsError
        If the file is another one, is damaged, or holds anything but arrays.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
        with path.open("rb") as file:
            if _value(file) != _MAGIC or _value(file) != _PROTOCOL:
                raise ValueError("it does not begin as a PyTorch file of the old kind does")
            system, tensors, keys = _value(file), _value(file), _value(file)
            if not isinstance(system, dict) or system.get("little_endian") is not True:
                raise ValueError("its numbers are not in little-endian order")
            if not isinstance(tensors, dict) or not isinstance(keys, list):
                raise ValueError("it holds no dictionary of arrays")
            return _arrays(tensors, _numbers(file, keys, tensors))
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} can't be read as a PyTorch state dictionary",
            expected="arrays of float32 or int64, and nothing else",
            found=str(error),
        ) from error


def _numbers(file: BinaryIO, keys: list[Any], tensors: dict[Any, Any]) -> dict[str, np.ndarray]:
    """The raw numbers that follow the pickles, one block for each key, its length before it."""
    storages = {t.storage.key: t.storage for t in tensors.values() if isinstance(t, _Tensor)}
    if sorted(keys) != sorted(storages):
        raise ValueError("its list of blocks does not fit its arrays")
    numbers = {}
    for key in keys:
        dtype = np.dtype(storages[key].dtype)
        count = int.from_bytes(file.read(8), "little")
        block = file.read(count * dtype.itemsize) if count == storages[key].count else b""
        if not block or len(block) != count * dtype.itemsize:
            raise ValueError(f"the block {key} is cut or has another length than it should")
        numbers[key] = np.frombuffer(block, dtype)
    return numbers


def _arrays(tensors: dict[Any, Any], numbers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError(f"{name!r} is no array")
        block, shape, strides = numbers[tensor.storage.key], tensor.shape, tensor.strides
        sound = len(shape) == len(strides) and min((tensor.offset, *shape, *strides)) >= 0
        last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=False))
        if not sound or last >= len(block) or int(np.prod(shape, dtype=np.int64)) > len(block):
            raise ValueError(f"{name!r} does not lie in its block of numbers")
        view = np.lib.stride_tricks.as_strided(
            block[tensor.offset :], shape, [step * block.itemsize for step in strides]
        )
        arrays[name] = np.array(view)
    return arrays


def _value(file: BinaryIO) -> Any:
    """What the next pickle of the file describes."""
    machine = _Machine()
    for step, (instruction, argument, _) in enumerate(_instructions(file)):
        if step > _MOST_STEPS:
            raise ValueError("it has too many instructions")
        if instruction.name == "STOP":
            return machine.stack.pop()
        machine.do(instruction.name, argument)
    raise ValueError("it ends before its description does")


def _instructions(file: BinaryIO) -> Iterator[Any]:
    # genops reads whole lines ahead of the numbers that follow, so it is given the file itself.
    if not isinstance(file, io.BufferedReader):
        raise TypeError("expected a file")
    return iter(pickletools.genops(file))


class _Machine:
    """The part of pickle's machine that a dictionary of tensors needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memory: dict[int, Any] = {}
        self._plain: dict[str, Callable[[Any], object]] = {
            "EMPTY_DICT": lambda _: {},
            "EMPTY_LIST": lambda _: [],
            "EMPTY_TUPLE": lambda _: (),
            "MARK": lambda _: _Mark(),
            "NONE": lambda _: None,
            "NEWTRUE": lambda _: True,
            "NEWFALSE": lambda _: False,
            "GLOBAL": self._name,
            "TUPLE": lambda _: tuple(self._since_mark()),
            "TUPLE1": lambda _: (self.stack.pop(),),
            "TUPLE2": lambda _: tuple([self.stack.pop(), self.stack.pop()][::-1]),
            "BINPERSID": lambda _: self._storage(self.stack.pop()),
            "REDUCE": lambda _: self._made(self.stack.pop(), self.stack.pop()),
            "BINGET": lambda at: self.memory[at],
            "LONG_BINGET": lambda at: self.memory[at],
        }

    def do(self, name: str, argument: Any) -> None:
        """Follow one instruction."""
        if name in ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE"):
            self.stack.append(argument)
        elif name in self._plain:
            self.stack.append(self._plain[name](argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memory[argument] = self.stack[-1]
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            self._dictionary()[key] = value
        elif name == "SETITEMS":
            items = self._since_mark()
            self._dictionary().update(zip(items[::2], items[1::2], strict=True))
        elif name == "APPENDS":
            items = self._since_mark()
            self.stack[-1].extend(items)
        elif name == "BUILD":  # PyTorch hangs a note of versions on the dictionary
            self.stack.pop()
        elif name != "PROTO":
            raise ValueError(f"it has an instruction that arrays do not need: {name}")

    def _dictionary(self) -> dict[Any, Any]:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("it writes into something that is no dictionary")
        return self.stack[-1]

    def _since_mark(self) -> list[Any]:
        items: list[Any] = []
        while not isinstance(self.stack[-1], _Mark):
            items.append(self.stack.pop())
        self.stack.pop()
        return items[::-1]

    def _name(self, text: str) -> _Name:
        if text not in (_TENSOR, _DICTIONARY, *_DTYPES):
            raise ValueError(f"it asks for {text!r}")
        return _Name(text)

    def _storage(self, identity: Any) -> _Storage:
        kind, type_, key, _, count, view = identity
        if kind != "storage" or view is not None or not isinstance(key, str):
            raise ValueError("it refers to something that is no block of numbers")
        return _Storage(key, _DTYPES[type_.text], int(count))

    def _made(self, arguments: Any, name: Any) -> object:
        if name == _Name(_DICTIONARY) and arguments == ():
            return {}
        if name == _Name(_TENSOR):
            storage, offset, shape, strides = arguments[:4]
            if isinstance(storage, _Storage):
                return _Tensor(storage, int(offset), tuple(shape), tuple(strides))
        raise ValueError("it makes something that is no array")
