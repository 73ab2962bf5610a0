"""PrismNano-LvT: the encoder of PrismNano, and texts that were brought to it on simulated clips.

The video encoder is the packaged one of `nano`, unchanged; the file of this module holds what lies
above it: a layer of joint attention, the pooler, and a text encoder as narrow. A file may hold its
own video encoder besides. How it was trained: docs/models/prism-nano-lvt.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ethoprism.backbones import nano
from ethoprism.backbones.encoder import NANO
from ethoprism.backbones.lvt import VideoTextBackbone, build_video_text_backbone
from ethoprism.backbones.releases import WeightsFile, find_weights
from ethoprism.backbones.text import TextConfig
from ethoprism.backbones.tokenizer import Tokenizer
from ethoprism.backbones.video_text import VideoTextConfig, VideoTextEncoder
from ethoprism.backbones.weights import (
    Layout,
    fingerprint,
    read_made_by,
    read_parameters,
    state_layout,
    video_text_names,
)
from ethoprism.errors import WeightsError
from ethoprism.files import replacing

NAME = "prism-nano-lvt"
PACKAGED = Path(__file__).parent / "data" / "prism_nano_lvt.safetensors"
"""What lies above the video encoder; the SentencePiece model is beside it, ``.model``."""
KNOWS = "it knows only what the simulated arena showed it: a few verbs of drawn animals from above"

_VISION = "params/vision_encoder/"
_EMBEDDED = "params/text_encoder/token_emb/emb_var"
_AUXILIARY = "params/auxiliary_encoder/transformers_stack/x_layers/layer_norm/scale"
_TEXT = "params/text_encoder/unimodal_transformer/x_layers/layer_norm/scale"
_BELOW = "encoder_sha256"
_MOST_LAYERS, _MOST_PIECES = 64, 1 << 20


def nano_text_config(vocabulary: int, *, layers: int = 2, auxiliary: int = 1) -> VideoTextConfig:
    """The shape of PrismNano-LvT: PrismNano and a text encoder as narrow.

    Parameters
    ----------
    vocabulary
        Pieces of the SentencePiece model.
    layers
        Of the text encoder.
    auxiliary
        Layers of joint attention above the video encoder.
    """
    return VideoTextConfig(NANO, TextConfig(192, layers, 6, 768, vocabulary), auxiliary)


def prism_nano_lvt(weights: str | None = None, *, precision: str = "float32") -> VideoTextBackbone:
    """PrismNano-LvT: the windows and tokens of PrismNano, embeddings of 192 features.

    There is no untrained one: a text encoder that has learnt nothing finds nothing.

    Parameters
    ----------
    weights
        Path of a checkpoint, as ``ethoprism pretrain text`` writes it, with its SentencePiece model
        beside it (the same name, ``.model``); by default what is packaged.
    precision
        See `videoprism.build_backbone`.

    Raises
    ------
    WeightsError
        If a file is absent or damaged, or was trained above another video encoder.
    """
    found = find_weights(NAME, weights) if weights is not None else _packaged()
    config, whole, below = _shape(found.path)
    if not whole:
        _require_encoder(found.path, below)

    def parameters(layout: Layout) -> Iterator[tuple[str, np.ndarray]]:
        if whole:
            yield from read_parameters(found.path, layout)
            return
        above = {name: shape for name, shape in layout.items() if not name.startswith(_VISION)}
        # The encoder's names come last in their order, which the digest follows.
        yield from read_parameters(found.path, above)
        for name, values in read_parameters(nano.PACKAGED, _encoder_layout(layout)):
            yield _VISION + name.removeprefix("params/"), values

    return build_video_text_backbone(
        NAME,
        config,
        parameters,
        partial(_tokenizer, found.path),
        trained=True,
        precision=precision,
        note=f"{found.note}; {KNOWS}",
    )


def text_layout(config: VideoTextConfig) -> Layout:
    """Released names and shapes of a video–text model's parameters."""
    model = nnx.eval_shape(lambda: VideoTextEncoder(config, rngs=nnx.Rngs(0)))
    return state_layout(nnx.state(model), video_text_names(config.text.norm))


def model_layout(path: Path) -> Layout:
    """Released names and shapes of the model that a file says it holds, video encoder included."""
    return text_layout(_shape(path)[0])


def write_above(
    path: Path, parameters: Mapping[str, np.ndarray], encoder: Path, *, made_by: str = ""
) -> None:
    """Writes a model without its video encoder, float16; it is then used above that of a file.

    Parameters
    ----------
    path
        The file.
    parameters
        Released name → value; those of the video encoder are left out.
    encoder
        The file that has the video encoder, such as `nano.PACKAGED`. Which it was is written down.
    made_by
        See `weights.write_safetensors`.
    """
    config = nano_text_config(1)
    layout = _encoder_layout(text_layout(config))
    below = fingerprint(dict(read_parameters(encoder, layout)))
    arrays = {
        name: np.ascontiguousarray(values, np.float16)
        for name, values in parameters.items()
        if not name.startswith(_VISION)
    }
    said = {_BELOW: below} | ({"made_by": made_by} if made_by else {})
    with replacing(path) as temporary:
        save_file(arrays, temporary, said)


def _packaged() -> WeightsFile:
    if not PACKAGED.is_file():
        raise WeightsError(
            f"{NAME} is not part of this installation: its weights were not packaged",
            expected=PACKAGED.name,
            remedy="Train it with: ethoprism pretrain text --out FILE.safetensors, and pass it as "
            "--weights FILE.safetensors. Or take videoprism-lvt-base",
        )
    made_by = read_made_by(PACKAGED)
    note = "weights packaged with EthoPrism"
    return WeightsFile(PACKAGED, f"{note}; {made_by}" if made_by else note)


def _tokenizer(weights: Path) -> Tokenizer:
    path = weights.with_suffix(".model")
    if not path.is_file():
        raise WeightsError(
            f"The SentencePiece model of {weights.name} is missing",
            expected=str(path),
            remedy="Copy it there from where the weights were trained",
        )
    return Tokenizer(path)


def _shape(path: Path) -> tuple[VideoTextConfig, bool, str]:
    """The shape of the model in a file, whether its encoder is there, and which it was trained on.

    What does not fit is found when the parameters are read.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            missing = sorted({_EMBEDDED, _AUXILIARY, _TEXT} - names)
            if missing:
                raise WeightsError(
                    f"{path} holds no {NAME}",
                    expected="a file of ethoprism pretrain text",
                    found=f"no {', '.join(missing)}",
                )
            pieces, text, auxiliary = (
                int(file.get_slice(name).get_shape()[0]) for name in (_EMBEDDED, _TEXT, _AUXILIARY)
            )
            below = (file.metadata() or {}).get(_BELOW, "")
    except (OSError, ValueError, IndexError, SafetensorError) as error:
        raise WeightsError(
            f"{path} can't be read as weights of {NAME}",
            expected="a safetensors file of ethoprism pretrain text",
            found=str(error),
        ) from error
    if max(text, auxiliary) > _MOST_LAYERS or pieces > _MOST_PIECES or not pieces:
        raise WeightsError(
            f"{path} holds no {NAME}",
            expected=f"at most {_MOST_LAYERS} layers and {_MOST_PIECES} pieces",
            found=f"{text} and {auxiliary} layers, {pieces} pieces",
        )
    config = nano_text_config(pieces, layers=text, auxiliary=auxiliary)
    return config, any(name.startswith(_VISION) for name in names), below


def _require_encoder(path: Path, below: str) -> None:
    """Raise a `WeightsError` unless the packaged video encoder is that of the training."""
    if not nano.PACKAGED.is_file():
        raise WeightsError(
            f"{path.name} lies above the video encoder of {nano.NAME}, which was not packaged",
            expected=nano.PACKAGED.name,
            remedy="Pass a file with its own encoder as --weights PATH",
        )
    layout = _encoder_layout(text_layout(nano_text_config(1)))
    found = fingerprint(dict(read_parameters(nano.PACKAGED, layout)))
    if found != below:
        raise WeightsError(
            f"{path.name} was trained above another video encoder than the packaged {nano.NAME}",
            expected=below[:16] or "a file that says above which",
            found=found[:16],
            remedy="Install EthoPrism again, or train it anew with: ethoprism pretrain text",
        )


def _encoder_layout(layout: Layout) -> Layout:
    """The video encoder's part of a model's layout, named as by itself."""
    return {
        "params/" + name.removeprefix(_VISION): shape
        for name, shape in layout.items()
        if name.startswith(_VISION)
    }
