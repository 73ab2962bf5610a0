"""PrismNano: a VideoPrism encoder small enough for any laptop, trained or untrained.

Trained weights are packaged (docs/models/prism-nano.md says how they were made). The untrained
encoder is what they are compared with, and what their training starts from; its parameters are
made here, from seeds. It is a strong baseline for simple behaviours, if its random features keep
what was in the frames, so the usual initialisation is changed in four ways:

- The patch projection sees colours relative to mid-grey and adds a random offset. Without them the
  norms that follow throw the brightness away.
- Spatial layers add little to the tokens, so a token stays about its own patch.
- Temporal attention starts as the subtraction of (part of) the mean over the frames it looks at:
  its output projection is minus the transpose of its value projection. So tokens of what moves
  differ from tokens of what stands.
- Temporal queries and keys have a gain, so that heads differ in the frames they look at.

On a toy (300 clips of a textured disc that moves or stands on a textured ground; logistic
regression on the mean, maximum and deviation of one frame's tokens, cross-validated) they tell
moving from standing with an AUC of 0.98; the plain fan-in initialisation has 0.76, the spatial
tokens alone 0.53.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.releases import WeightsFile, find_weights
from ethoprism.backbones.videoprism import VideoPrismBackbone, build_backbone
from ethoprism.backbones.weights import Layout, read_made_by, read_parameters
from ethoprism.errors import WeightsError

NAME = "prism-nano"
PACKAGED = Path(__file__).parent / "data" / "prism_nano.safetensors"
"""Trained weights."""
UNTRAINED = "untrained"
"""In place of a path of weights: the parameters made from seeds."""

_PATCH_OFFSET = 0.3
_SPATIAL_POSITION = 0.1
_TEMPORAL_POSITION = 0.03
_SPATIAL_ATTENTION = 0.3
_SPATIAL_FEED_FORWARD = 0.5
_MEAN_SUBTRACTED = 0.7
_TEMPORAL_GAIN = 3.0


def prism_nano(weights: str | None = None, *, precision: str = "float32") -> VideoPrismBackbone:
    """PrismNano: windows of 8 frames at 144 px, 8 × 8 tokens of 192 features a frame.

    Parameters
    ----------
    weights
        Path of a checkpoint; by default the packaged weights; ``untrained`` for parameters that
        have learnt nothing, which the card tells.
    precision
        See `videoprism.build_backbone`.
    """
    if weights is None:
        if not PACKAGED.is_file():
            raise WeightsError(
                f"{NAME} is not whole in this installation",
                expected=str(PACKAGED),
                remedy="Install EthoPrism again, or pass weights of your own as --weights PATH",
            )
        made_by = read_made_by(PACKAGED)
        note = "weights packaged with EthoPrism"
        return _trained(WeightsFile(PACKAGED, f"{note}; {made_by}" if made_by else note), precision)
    if weights != UNTRAINED:
        return _trained(find_weights(NAME, weights), precision)
    return build_backbone(
        NAME,
        NANO,
        untrained_parameters,
        trained=False,
        precision=precision,
        note="random parameters made from seeds: its features have not been learned",
    )


def untrained_parameters(layout: Layout) -> Iterator[tuple[str, np.ndarray]]:
    """Yields seeded parameters for an encoder's layout, in the order of their names.

    They are the same on every machine, to the bit: every step is an addition or multiplication
    of single or double floats, correctly rounded by IEEE 754, on `numpy.random.RandomState`'s
    uniform numbers, whose stream NumPy keeps for ever.
    """
    for key in sorted(layout):
        yield key, _untrained(key, layout).astype(np.float32)


def _trained(found: WeightsFile, precision: str) -> VideoPrismBackbone:
    return build_backbone(
        NAME,
        NANO,
        lambda layout: read_parameters(found.path, layout),
        trained=True,
        precision=precision,
        note=found.note,
    )


def _untrained(key: str, layout: Layout) -> np.ndarray:
    shape = layout[key]
    temporal = "/temporal_encoder/" in key
    if key.endswith("patch_projection/linear/bias"):
        kernel = _untrained(key.removesuffix("bias") + "kernel", layout)
        # fsum is rounded once; the order in which NumPy sums depends on the machine.
        mid_grey = np.array([0.5 * math.fsum(column) for column in kernel.T])
        return _PATCH_OFFSET * _bell(key, shape) - mid_grey
    if key.endswith(("/scale", "/bias", "/b")):
        return np.zeros(shape)
    if key.endswith("/emb_var"):
        size = _TEMPORAL_POSITION if "/temporal_pos_emb/" in key else _SPATIAL_POSITION
        return size * _bell(key, shape)
    if temporal and key.endswith("/post/w"):
        return -_MEAN_SUBTRACTED * _untrained(key.replace("/post/", "/value/"), layout)
    if key.endswith("/kernel"):
        gain = _SPATIAL_FEED_FORWARD if "/ffn_layer2/" in key and not temporal else 1.0
        return gain / math.sqrt(shape[-2]) * _bell(key, shape)
    if key.endswith("/post/w"):
        return _SPATIAL_ATTENTION / math.sqrt(shape[-1] * shape[-2]) * _bell(key, shape)
    gain = _TEMPORAL_GAIN if temporal and "/value/" not in key else 1.0
    return gain / math.sqrt(shape[-3]) * _bell(key, shape)


def _bell(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of mean 0 and variance 1, seeded by the name, float64.

    Sums of four uniform numbers are close enough to a normal distribution. The generator's own
    normal numbers go through the logarithm of the machine's C library, whose last digit differs.
    """
    uniform = np.random.RandomState(zlib.crc32(key.encode())).random_sample((4, *shape))
    total = (uniform[0] + uniform[1]) + (uniform[2] + uniform[3])
    return (total - 2.0) * math.sqrt(3.0)
