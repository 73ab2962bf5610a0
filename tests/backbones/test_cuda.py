"""Every compiled function of extraction lowers for CUDA on a machine that has none."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import ethoprism.backbones
from ethoprism import window_encoder
from ethoprism.backbones import efficientnet, lvt, videoprism
from ethoprism.backbones.encoder import TINY
from ethoprism.backbones.video_text import LVT_TINY
from ethoprism.backbones.videoprism import build_backbone
from ethoprism.backbones.weights import read_parameters

PARTS_OF_OTHERS = {"project", "gelu", "softmax", "layer_norm"}
"""Compiled by themselves only so that another engine knows them by name."""

_EMBEDDINGS = ("window_embeddings", "text_embeddings")

Case = tuple[Callable[..., Any], tuple[Any, ...]]


def _shape(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _videoprism(golden_dir: Path, precision: str) -> dict[str, list[Case]]:
    path = golden_dir / "tiny_encoder_repeated.npz"
    backbone = build_backbone(
        "tiny",
        TINY,
        lambda layout: read_parameters(path, layout),
        trained=False,
        precision=precision,
    )
    graph, state = backbone._graph, backbone._state
    frames, padding = _shape(4, 24, 24, 3, dtype=jnp.uint8), _shape(2, 4, dtype=jnp.bool_)
    tokens = _shape(2, 4, 16, 32)
    both = {"tokens": tokens, "projected": _shape(2, 4, 16, 96)}

    def spatial(shared: bool) -> Case:
        return lambda s, f: videoprism.spatial_tokens(graph, precision, s, f, shared), (
            state,
            frames,
        )

    def temporal(features: Any, kept: Any) -> Case:
        def function(s: Any, f: Any, p: Any) -> Any:
            return videoprism.temporal_tokens(graph, precision, s, f, p, kept)

        return function, (state, features, padding)

    return {
        "spatial_tokens": [spatial(False), spatial(True)],
        "temporal_tokens": [
            temporal(tokens, None),
            temporal(tokens, (1, 3)),
            temporal(both, (1, 3)),
        ],
        "_picked": [(videoprism._picked, (both, _shape(5, dtype=jnp.int32)))],
    }


def _video_text(golden_dir: Path, precision: str) -> dict[str, list[Case]]:
    backbone = lvt.build_video_text_backbone(
        "tiny-lvt",
        LVT_TINY,
        lambda layout: read_parameters(golden_dir / "tiny_lvt_repeated.npz", layout),
        Path("no_tokenizer_is_needed.model"),
        trained=False,
        precision=precision,
    )
    pooling, text = backbone._pooling_graph, backbone._text_graph
    return {
        "window_embeddings": [
            (
                lambda s, t, p: lvt.window_embeddings(pooling, precision, s, t, p),
                (backbone._pooling, _shape(2, 4, 16, 32), _shape(2, 4, dtype=jnp.bool_)),
            )
        ],
        "text_embeddings": [
            (
                lambda s, i, p: lvt.text_embeddings(text, precision, s, i, p),
                (backbone._text, _shape(3, 64, dtype=jnp.int32), _shape(3, 64, dtype=jnp.bool_)),
            )
        ],
    }


def _around() -> dict[str, list[Case]]:
    ring, some = {"tokens": _shape(12, 16, 8)}, {"tokens": _shape(4, 16, 8)}
    return {
        "_put": [(window_encoder._put, (ring, some, _shape(dtype=jnp.int32)))],
        "_take": [(window_encoder._take, (ring, _shape(2, 6, dtype=jnp.int32)))],
        "pool_cells": [
            (
                lambda x, w: window_encoder.pool_cells(x, w, 2),
                (_shape(2, 3, 5, 8), _shape(4, 5)),
            )
        ],
        "pool": [(lambda x: window_encoder.pool(x, 4, 2), (_shape(2, 3, 16, 8),))],
    }


def _efficientnet() -> dict[str, list[Case]]:
    layers: dict[str, dict[str, Any]] = {"stem": _layer(3, 3, 32)}
    for number, block in enumerate(efficientnet.BLOCKS):
        wide = block.inputs * block.expand
        if block.expand > 1:
            layers[f"{number}/expand"] = _layer(1, block.inputs, wide)
        layers[f"{number}/filter"] = _layer(block.kernel, 1, wide)
        layers[f"{number}/project"] = _layer(1, wide, block.outputs)
    frames = _shape(2, 64, 64, 3, dtype=jnp.uint8)
    return {"frame_tokens": [(efficientnet.frame_tokens, (layers, frames))]}


def _layer(size: int, inputs: int, outputs: int) -> dict[str, jax.ShapeDtypeStruct]:
    return {"kernel": _shape(size, size, inputs, outputs), "bias": _shape(outputs)}


def _jitted_functions() -> set[str]:
    """Names of what is decorated with `jax.jit` in the backbones and around them."""
    package = ethoprism.backbones
    names = [f"{package.__name__}.{m.name}" for m in pkgutil.iter_modules(package.__path__)]
    found = set()
    for module in [window_encoder, *map(importlib.import_module, names)]:
        for name, value in inspect.getmembers(module):
            if hasattr(value, "lower") and hasattr(value, "trace"):
                found.add(name)
    return found - PARTS_OF_OTHERS


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_compiled_function_lowers_for_cuda(golden_dir: Path, precision: str):
    cases = _videoprism(golden_dir, precision) | _video_text(golden_dir, precision)
    if precision == "float32":  # these have one precision
        cases |= _efficientnet() | _around()
        assert set(cases) == _jitted_functions()
    for name, variants in cases.items():
        for function, arguments in variants:
            jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
            exported = jax.export.export(jitted, platforms=["cuda"])(*arguments)
            assert exported.platforms == ("cuda",), name
            operands = exported.mlir_module().count("bf16")
            attends = name in ("spatial_tokens", "temporal_tokens", *_EMBEDDINGS)
            assert (operands > 0) is (precision == "bfloat16" and attends), name


def test_the_list_would_notice_a_function_that_is_missing():
    assert {"spatial_tokens", "temporal_tokens", "pool"} <= _jitted_functions()
