"""Stage 1: clips and their captions brought to the same place.

The loss is symmetric: each clip is to find its own caption among those of the batch, and each
caption its clip. Half of the tubes of a clip are dropped. A batch comes from one data set, and
data sets take turns, so that a clip is told from others of its kind and not by its data set.

Source: arXiv 2402.13217, section 3.1 and appendix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float

from ethoprism.errors import InputError

DROPPED = 0.5
DECAY = 1e-4


def contrastive_loss(
    clips: Float[Array, "n width"],
    texts: Float[Array, "n width"],
    temperature: Float[Array, ""],
    left_out: Bool[Array, "n n"] | None = None,
) -> Float[Array, ""]:
    """Symmetric cross-entropy of embeddings of unit length; row *i* of both belongs together.

    Parameters
    ----------
    temperature
        Logarithm of what cosines are multiplied by, learned; at most ln 100.
    left_out
        Pairs that are not counted as wrong answers; see `twins`.
    """
    logits = jnp.exp(jnp.minimum(temperature, np.log(100.0))) * clips @ texts.T
    if left_out is not None:
        logits = jnp.where(left_out, -1e9, logits)
    own = jnp.arange(len(clips))
    by_clip = optax.softmax_cross_entropy_with_integer_labels(logits, own)
    by_text = optax.softmax_cross_entropy_with_integer_labels(logits.T, own)
    return (by_clip.mean() + by_text.mean()) / 2


def linear_decay(peak: float, warmup: int, steps: int) -> optax.Schedule:
    """A rate that rises linearly to ``peak`` and falls linearly to 0."""
    if not 0 < warmup < steps:
        raise InputError(
            "The warm-up does not fit the training",
            expected=f"between 1 and {steps - 1} steps",
            found=str(warmup),
        )
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, peak, warmup),
            optax.linear_schedule(peak, 0.0, steps - warmup),
        ],
        [warmup],
    )


def alternating(sizes: Sequence[int], batch: int, step: int, seed: int) -> tuple[int, np.ndarray]:
    """Which data set the batch of a step is from, and which of its clips.

    Data sets take turns; each gives every clip once before any comes again, as far as whole
    batches go.
    """
    which = step % len(sizes)
    batches = sizes[which] // batch
    if batches == 0:
        raise InputError(
            "A data set is smaller than a batch", expected=f"{batch} clips", found=str(sizes[which])
        )
    epoch, within = divmod(step // len(sizes), batches)
    order = np.random.default_rng([seed, which, epoch]).permutation(sizes[which])
    return which, order[within * batch : (within + 1) * batch]


def twins(captions: Sequence[str]) -> Bool[np.ndarray, "n n"]:
    """Which pairs of different clips have the same caption: neither is the other's wrong answer."""
    same = np.asarray([[a == b for b in captions] for a in captions])
    return same & ~np.eye(len(captions), dtype=bool)


def learn_vocabulary(captions: Iterator[str] | Sequence[str], path: Path, pieces: int) -> Path:
    """A SentencePiece model of the captions' words, written to ``path`` (``.model``).

    Captions are brought to the form that `backbones.tokenizer` gives every text.
    """
    import sentencepiece

    from ethoprism.backbones.tokenizer import canonical

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([canonical(text) for text in captions]),
        model_prefix=str(path.with_suffix("")),
        vocab_size=pieces,
        hard_vocab_limit=False,
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    return path.with_suffix(".model")


def retrieved(
    clips: Float[np.ndarray, "n width"], texts: Float[np.ndarray, "m width"], own: np.ndarray
) -> float:
    """Share of the clips whose own text (number ``own``) is the nearest of all."""
    return float(np.mean(np.argmax(clips @ texts.T, axis=1) == own))
