"""PrismPico: a seventh of PrismNano, for students of a laboratory's own; no weights come with it.

`ethoprism distil --student prism-pico` makes its weights. Without any it is untrained, and says so.
"""

from __future__ import annotations

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.backbones.nano import untrained_parameters
from ethoprism.backbones.releases import find_weights
from ethoprism.backbones.videoprism import VideoPrismBackbone, build_backbone
from ethoprism.backbones.weights import read_parameters

NAME = "prism-pico"
PICO = EncoderConfig(18, (8, 8, 8), 96, 4, 1, 3, 384, input_size=144)


def prism_pico(weights: str | None = None, *, precision: str = "float32") -> VideoPrismBackbone:
    """PrismPico: windows of 8 frames at 144 px, 8 × 8 tokens of 96 features a frame.

    Parameters
    ----------
    weights
        Path of a checkpoint; by default untrained parameters, which the card tells.
    precision
        See `videoprism.build_backbone`.
    """
    if weights is None:
        note = "random parameters made from seeds: its features have not been learned"
        return build_backbone(
            NAME, PICO, untrained_parameters, trained=False, precision=precision, note=note
        )
    found = find_weights(NAME, weights)
    return build_backbone(
        NAME,
        PICO,
        lambda layout: read_parameters(found.path, layout),
        trained=True,
        precision=precision,
        note=found.note,
    )
