"""EfficientNet-Lite0 equals its PyTorch original, and its file can build nothing but arrays."""

from __future__ import annotations

import io
import os
import pickle  # to write hostile files; nothing here loads one
from collections import OrderedDict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ethoprism import registry
from ethoprism.backbones import efficientnet
from ethoprism.backbones.efficientnet import (
    GRID,
    INPUT_SIZE,
    WIDTH,
    EfficientNetLite0,
    efficientnet_lite0,
    feature_maps,
    frame_tokens,
)
from ethoprism.backbones.spec import Backbone
from ethoprism.backbones.torch_file import read_torch_file
from ethoprism.errors import WeightsError

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "efficientnet" / "maps.npz"


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    made = registry.load("backbones", "efficientnet-lite0")()
    assert isinstance(made, EfficientNetLite0) and isinstance(made, Backbone)
    return made


def test_maps_equal_those_of_the_original(backbone: EfficientNetLite0) -> None:
    image = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)
    found = jax.jit(feature_maps)(backbone._parameters, image)
    with np.load(GOLDEN, allow_pickle=False) as expected:
        for maps, name in zip(found, ("shallow", "deep"), strict=True):
            np.testing.assert_allclose(maps, expected[name], atol=2e-4)


def test_tokens_are_one_frames_own(backbone: EfficientNetLite0) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (2, INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    tokens = np.asarray(backbone.spatial(frames))
    assert tokens.shape == (2, GRID * GRID, WIDTH) and tokens.dtype == np.float32
    swapped = np.asarray(backbone.spatial(frames[::-1].copy()))
    np.testing.assert_allclose(swapped, tokens[::-1], atol=1e-4)
    window = jnp.asarray(tokens)[None]
    np.testing.assert_array_equal(backbone.temporal(window, np.zeros((1, 2), bool)), window)
    assert backbone.card.trained and backbone.card.label == "efficientnet-lite0"


def test_filters_written_out_equal_the_convolution() -> None:
    rng = np.random.default_rng(2)
    for size, stride, kernel in ((7, 1, 3), (8, 2, 3), (9, 2, 5), (6, 1, 5)):
        x = jnp.asarray(rng.standard_normal((2, size, size + 1, 4)), jnp.float32)
        layer = {
            "kernel": jnp.asarray(rng.standard_normal((kernel, kernel, 1, 4)), jnp.float32),
            "bias": jnp.asarray(rng.standard_normal(4), jnp.float32),
        }
        by_hand = efficientnet._filtered_by_hand(x, layer, stride)
        np.testing.assert_allclose(
            by_hand, efficientnet._filtered_by_convolution(x, layer, stride), atol=1e-5
        )


def test_it_lowers_for_cuda(backbone: EfficientNetLite0) -> None:
    frames = jax.ShapeDtypeStruct((4, INPUT_SIZE, INPUT_SIZE, 3), jnp.uint8)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), backbone._parameters)
    exported = jax.export.export(frame_tokens, platforms=["cuda"])(shapes, frames)
    assert exported.platforms == ("cuda",)


def test_another_file_or_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(b"x" * 100)
    with pytest.raises(WeightsError, match="not the file that was released"):
        efficientnet_lite0(str(path))
    with pytest.raises(WeightsError, match="no checkpoint"):
        efficientnet_lite0(str(tmp_path / "absent.pth"))
    monkeypatch.setattr(efficientnet, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match=r"ethoprism\[imagenet\]"):
        efficientnet_lite0()


class Calls:
    """Runs a command when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.witness}",)


def hostile(tmp_path: Path) -> dict[str, object]:
    return {
        "a call": OrderedDict(a=Calls(tmp_path / "witness")),
        "a class": OrderedDict(a=Path),
        "no dictionary": [1, 2],
        "a number": OrderedDict(a=1),
    }


@pytest.mark.parametrize("kind", ["a call", "a class", "no dictionary", "a number"])
def test_what_is_no_array_is_refused_and_nothing_runs(tmp_path: Path, kind: str) -> None:
    path = _torch_file(tmp_path, hostile(tmp_path)[kind])
    with pytest.raises(WeightsError, match="state dictionary"):
        read_torch_file(path)
    assert not (tmp_path / "witness").exists()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = Path(str(efficientnet._installed())).read_bytes()
    path = tmp_path / "cut.pth"
    for size in (0, 10, 100, 5_000, 46_000, 60_000, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError):
            read_torch_file(path)


def _torch_file(folder: Path, value: object) -> Path:
    file = io.BytesIO()
    system = {"protocol_version": 1001, "little_endian": True}
    for part in (0x1950A86A20F9469CFC6C, 1001, system, value, []):
        pickle.dump(part, file, protocol=2)
    path = folder / "hostile.pth"
    path.write_bytes(file.getvalue())
    return path
