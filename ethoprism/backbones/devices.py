"""Devices: how arrays lie on all those of this machine, and what fits into their memory.

Frames and windows are independent of one another, so each device computes its share of a batch
with the whole of the parameters. On a single device nothing is done.
"""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

_AXIS = "devices"
_Tree = TypeVar("_Tree")

SHARE_OF_MEMORY = 0.25
"""Of a device's free memory, what the activations of one call may take. The compiler needs room
for copies, and two batches are under way at a time."""


def divided(array: Array | np.ndarray) -> Array:
    """The array with its leading axis shared out over the devices.

    Where their number does not divide the axis every device gets the whole, and does the whole
    work.
    """
    devices = jax.local_devices()
    if len(devices) == 1:
        return jnp.asarray(array)
    even = array.ndim > 0 and len(array) % len(devices) == 0
    return jax.device_put(array, _sharding(PartitionSpec(_AXIS) if even else PartitionSpec()))


def everywhere(tree: _Tree) -> _Tree:
    """The arrays of a pytree, whole on every device."""
    if len(jax.local_devices()) == 1:
        return tree
    return jax.device_put(tree, _sharding(PartitionSpec()))


def free_bytes() -> int | None:
    """Free memory of the fullest device; None where JAX does not know, as on CPUs."""
    free = []
    for device in jax.local_devices():
        stats = device.memory_stats() or {}
        if "bytes_limit" not in stats:
            return None
        free.append(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return min(free)


def fitting(bytes_each: int, free: int, most: int, devices: int = 1) -> int:
    """How many frames or windows one call takes: a power of two for each device.

    Powers of two because a little more or less free memory shall not change the shapes: other
    shapes round differently.

    Parameters
    ----------
    bytes_each
        Memory that one takes.
    free
        Free memory of a device.
    most
        Enough to fill a device.
    devices
        Number of devices.
    """
    room = min(int(free * SHARE_OF_MEMORY) // max(bytes_each, 1), most)
    return devices * (1 << max(room.bit_length() - 1, 0))


def _sharding(spec: PartitionSpec) -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.local_devices()), (_AXIS,)), spec)
