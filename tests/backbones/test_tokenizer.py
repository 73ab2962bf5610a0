"""Texts become the ids that the official tokenizer gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.backbones.tokenizer import Tokenizer, canonical
from ethoprism.errors import WeightsError


@pytest.fixture(scope="session")
def texts(golden_dir: Path) -> dict[str, Any]:
    return json.loads((golden_dir / "text.json").read_text(encoding="utf-8"))


@pytest.fixture
def tokenizer(shared_dir: Path) -> Tokenizer:
    """The official repository's small model; it is read where it lies."""
    return Tokenizer(shared_dir / "videoprism_reference" / "test_spm.model")


def test_texts_are_written_as_the_models_know_them(texts: dict[str, Any]) -> None:
    assert [canonical(text) for text in texts["texts"]] == texts["canonicalized"]


@given(st.text())
def test_a_canonical_text_is_canonical(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once and once.endswith(".")


@pytest.mark.shared
def test_ids_are_the_official_ones(tokenizer: Tokenizer, texts: dict[str, Any]) -> None:
    for case, options in (
        ("tokenize/default", {}),
        ("tokenize/raw_len16", {"length": 16, "canonicalise": False}),
    ):
        ids, paddings = tokenizer(texts["texts"], **options)
        np.testing.assert_array_equal(ids, texts[case]["ids"])
        np.testing.assert_array_equal(paddings, np.array(texts[case]["paddings"]) > 0)


@pytest.mark.shared
def test_without_a_sign_for_the_beginning_none_is_set(
    tokenizer: Tokenizer, texts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoBeginning:
        def __init__(self, pieces: Any) -> None:
            self.encode = pieces.encode

        def bos_id(self) -> int:
            return -1

    monkeypatch.setattr(tokenizer, "_pieces", NoBeginning(tokenizer._pieces))
    ids, paddings = tokenizer(texts["texts"])
    np.testing.assert_array_equal(ids, texts["tokenize/no_bos"]["ids"])
    np.testing.assert_array_equal(paddings, np.array(texts["tokenize/no_bos"]["paddings"]) > 0)


def test_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There is no"):
        Tokenizer(tmp_path / "absent.model")
    path = tmp_path / "notes.model"
    path.write_text("not a model")
    with pytest.raises(WeightsError, match=r"notes\.model is no SentencePiece model"):
        Tokenizer(path)
