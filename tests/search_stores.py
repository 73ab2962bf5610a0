"""A project with embeddings made by hand, and a backbone that embeds texts from a table."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sentencepiece import SentencePieceTrainer

from ethoprism import workflow
from ethoprism.backbones.spec import BackboneCard
from ethoprism.backbones.tokenizer import Tokenizer, canonical
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.extract import token_key
from ethoprism.project import Project, Settings
from ethoprism.tokens import TokenStore
from ethoprism_datasets.arena_files import write_recording

WIDTH = 8
CORPUS = [
    "a video of two flies side by side.",
    "one animal chases the other through the arena.",
    "a mouse grooms its face with both paws.",
    "nothing moves and the arena is empty.",
    "the male extends a wing and sings to the female.",
]


def text_model(path: Path, vocabulary: int = 60) -> Path:
    """A small SentencePiece model, trained on a few sentences."""
    buffer = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=buffer,
        vocab_size=vocabulary,
        model_type="bpe",
        minloglevel=2,
    )
    path.write_bytes(buffer.getvalue())
    return path


class WordBackbone:
    """Embeds a text as the mean of its words' axes: the words of `AXES` have one each."""

    AXES = ("walk", "groom", "fly", "empty")

    def __init__(self, model: Path, *, trained: bool = False, hop: int = 4):
        self.card = BackboneCard(
            "words", "0" * 64, 8, 16, 4, 8, "float32", trained=trained, embedding_width=WIDTH
        )
        self.tokenizer = Tokenizer(model)
        self.asked: list[str] = []

    def check_tokenizer(self, tokenizer: Tokenizer) -> Tokenizer:
        return tokenizer

    def embed_text(self, texts: Sequence[str], tokenizer: Tokenizer | None = None) -> np.ndarray:
        self.asked += texts
        rows = np.zeros((len(texts), WIDTH), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in canonical(text).rstrip(".").split():
                row[self.AXES.index(word) if word in self.AXES else WIDTH - 1] += 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def project_with_embeddings(
    folder: Path, backbone: WordBackbone, n_frames: int = 96, names: str = "ab", step: int = 1
) -> Project:
    """Recordings in which "walk" is what the first third looks like, and "groom" the last.

    Embeddings of the middle third are half "walk", and half of something else.
    """
    ethogram = Ethogram(
        (Behaviour("walk", key="w"), Behaviour("self_groom", "groom", "g", "#56B4E9"))
    )
    project = Project.create(folder / "project", Settings(hop=4, step=step), ethogram)
    key = token_key(backbone.card, hop=4, step=step, pooling=1)
    project = project.with_settings(Settings(backbone="words", hop=4, step=step, pooling=1))
    for seed, name in enumerate(names):
        video = write_recording(folder / "videos", name, seed, n_frames=n_frames).video
        project, _, _ = workflow.add_recording(project, video)
        entry = project.entry(name)
        store = TokenStore.create(
            project.tokens_path(key.digest, name),
            key,
            n_frames,
            entry.content_key,
            embedding_width=WIDTH,
        )
        frames = np.stack([looks(r / store.n_rows, seed) for r in range(store.n_rows)])
        middles = np.minimum(np.arange(store.grid.n_windows) * 4 + 4, store.n_rows - 1)
        fill(store, frames, frames[middles])
    return project


def looks(place: float, seed: int) -> np.ndarray:
    """The embedding of a frame at a place from 0 to 1 in its recording; ``seed`` blurs it a bit."""
    vector = np.zeros(WIDTH, np.float32)
    if place < 1 / 3:
        vector[0], vector[5] = 1, 0.2 * seed
    elif place < 2 / 3:
        vector[0], vector[4] = 1, 1
    else:
        vector[1], vector[5] = 1, 0.2 * seed
    return vector / np.linalg.norm(vector)


def fill(store: TokenStore, frames: np.ndarray, windows: np.ndarray) -> None:
    """Write all blocks of a store: empty tokens, and these embeddings."""
    for block in range(store.n_blocks):
        (start, stop), (first, last) = store.block(block), store.block_windows(block)
        tokens = np.zeros((stop - start, *store.shape[1:]), np.float16)
        valid = np.asarray(frames[start:stop].any(axis=1))
        store.write_block(block, tokens, valid, frames[start:stop], windows[first:last])
