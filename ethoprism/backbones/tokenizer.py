"""Texts to the token ids of VideoPrism's text encoders.

Source: the released models; examples in ``tests/golden/videoprism/text.json``.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Int

from ethoprism.errors import WeightsError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

LENGTH = 64
"""Tokens of a text in the released models; longer texts are cut."""
_MOST_BYTES = 64 << 20
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")


def canonical(text: str) -> str:
    """The text as the models were trained on it: lower case, one full stop, at its end.

    ASCII punctuation becomes blanks, runs of blanks become one; other scripts are left alone.
    """
    words = _PUNCTUATION.sub(" ", text.lower()).split()
    return " ".join(words) + "."


class Tokenizer:
    """Ids and paddings of texts.

    Parameters
    ----------
    model
        Path of a SentencePiece model; that of the released models is c4_en with 32,000 pieces.

    Raises
    ------
    WeightsError
        If there is no such file, or it is no SentencePiece model.
    """

    def __init__(self, model: Path):
        self._pieces: Any = _load(model)

    @property
    def vocabulary(self) -> int:
        """Number of pieces."""
        return int(self._pieces.get_piece_size())

    def count(self, text: str) -> int:
        """Tokens of a text, before it is cut."""
        return len(self._begin) + len(self._pieces.encode(canonical(text)))

    @property
    def _begin(self) -> list[int]:
        """The sign for a beginning, where the model has one."""
        return [self._pieces.bos_id()] if self._pieces.bos_id() >= 0 else []

    def __call__(
        self, texts: Sequence[str], *, length: int = LENGTH, canonicalise: bool = True
    ) -> tuple[Int[np.ndarray, "texts length"], Bool[np.ndarray, "texts length"]]:
        """Ids of the texts, int32, and where they have ended.

        A beginning is marked where the model has a sign for it, an end never. Padding has id 0,
        which is a piece as well: only the second array tells them apart.
        """
        begin = self._begin
        ids = np.zeros((len(texts), length), np.int32)
        paddings = np.ones((len(texts), length), bool)
        for row, text in enumerate(texts):
            found = begin + self._pieces.encode(canonical(text) if canonicalise else text)
            found = found[:length]
            ids[row, : len(found)] = found
            paddings[row, : len(found)] = False
        return ids, paddings


def _load(path: Path) -> SentencePieceProcessor:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise WeightsError(
            "Text needs the package sentencepiece, which is not installed",
            remedy="Install it with: pip install sentencepiece",
        ) from error
    if not path.is_file():
        raise WeightsError(f"There is no SentencePiece model at {path}")
    if path.stat().st_size > _MOST_BYTES:
        raise WeightsError(
            f"{path} is no SentencePiece model",
            expected=f"a file of at most {_MOST_BYTES >> 20} MiB",
            found=f"{path.stat().st_size >> 20} MiB",
        )
    pieces = SentencePieceProcessor()
    try:
        pieces.LoadFromSerializedProto(path.read_bytes())
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path} is no SentencePiece model", found=str(error)) from error
    return pieces
