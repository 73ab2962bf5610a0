"""Full-size parameters made from their names: the recipe behind the oracle's ``big/…`` cases.

Run as a program to write such a checkpoint in the released layout, for trying the whole pipeline
at full size where the released weights can't be had (its features mean nothing)::

    python tests/backbones/seeded.py base seeded_base.npz

``large``, ``lvt-base`` and ``lvt-large`` are the others.
"""

from __future__ import annotations

import sys
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from flax import nnx

from ethoprism.backbones.encoder import BASE, LARGE, EncoderConfig, VideoPrismEncoder
from ethoprism.backbones.video_text import (
    LVT_BASE,
    LVT_LARGE,
    VideoTextConfig,
    VideoTextEncoder,
)
from ethoprism.backbones.weights import ENCODER_NAMES, state_layout, video_text_names

CONFIGS = {"base": BASE, "large": LARGE}
LVT_CONFIGS = {"lvt-base": LVT_BASE, "lvt-large": LVT_LARGE}


def encoder_layout(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Released names and shapes of an encoder, without allocating it."""
    abstract = nnx.eval_shape(lambda: VideoPrismEncoder(config, rngs=nnx.Rngs(0)))
    return state_layout(nnx.state(abstract), ENCODER_NAMES)


def video_text_layout(config: VideoTextConfig) -> dict[str, tuple[int, ...]]:
    """The same of a video–text model."""
    abstract = nnx.eval_shape(lambda: VideoTextEncoder(config, rngs=nnx.Rngs(0)))
    return state_layout(nnx.state(abstract), video_text_names(config.text.norm))


def seeded(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The oracle's parameter of that name, float32: a scaled standard normal seeded by the name."""
    values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, np.float32)
    return values * np.float32(_scale(key, shape))


def seeded_parameters(layout: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, np.ndarray]]:
    """All parameters of a layout, in the order of their names."""
    for key in sorted(layout):
        yield key, seeded(key, layout[key])


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosines between the vectors along the last axes."""
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / lengths


def write_npz(path: Path, layout: Mapping[str, tuple[int, ...]]) -> None:
    """Writes a seeded checkpoint in the released layout, one parameter at a time."""
    with zipfile.ZipFile(path, "w") as archive:
        for key, values in seeded_parameters(layout):
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def _scale(key: str, shape: tuple[int, ...]) -> float:
    last = key.split("/")[-1]
    if last in ("bias", "b"):
        return 0.1
    if last in ("scale", "per_dim_scale"):
        return 0.2
    if last == "cls_emb" or "/token_emb/" in key:
        return shape[-1] ** -0.5
    if last == "emb_var":
        return 0.3
    if last == "pooling_attention_query":
        return 1.0
    gain = 4.0 if "/query/" in key or "/key/" in key else 1.0
    if last == "kernel":
        fan = shape[-2]
    elif "/post/" in key:
        fan = shape[-1] * shape[-2]
    else:
        fan = shape[-3]
    return gain * fan**-0.5


if __name__ == "__main__":
    name = sys.argv[1]
    if name in LVT_CONFIGS:
        write_npz(Path(sys.argv[2]), video_text_layout(LVT_CONFIGS[name]))
    else:
        write_npz(Path(sys.argv[2]), encoder_layout(CONFIGS[name]))
