"""Prompts: what is looked for in words, as one vector."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from ethoprism import registry
from ethoprism.backbones.tokenizer import LENGTH, Tokenizer, canonical
from ethoprism.errors import InputError

TEMPLATES = ("{}", "a video of {}")
"""What a text is put into: by itself, and as the published example of the models has it."""


@runtime_checkable
class TextEmbedder(Protocol):
    """A backbone that embeds texts; see `ethoprism.backbones.lvt.VideoTextBackbone`."""

    @property
    def tokenizer(self) -> Tokenizer: ...

    def check_tokenizer(self, tokenizer: Tokenizer) -> Tokenizer: ...

    def embed_text(
        self, texts: Sequence[str], tokenizer: Tokenizer | None = None
    ) -> Float[np.ndarray, "texts features"]: ...


@dataclass(frozen=True)
class Query:
    """What is looked for.

    Attributes
    ----------
    texts
        One or several ways to say it.
    without
        What it is to be told from; may be empty.
    templates
        Each text is put into each of these in the place of ``{}``.

    Raises
    ------
    InputError
        If a text holds no word, or a template no ``{}``.
    """

    texts: tuple[str, ...]
    without: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES

    def __post_init__(self) -> None:
        for text in self.texts + self.without:
            if canonical(text) == ".":
                raise InputError(
                    "The text to search for is empty",
                    expected="words, such as 'two flies side by side'",
                    found=repr(text),
                )
        if not self.texts:
            raise InputError("There is no text to search for")
        check_templates(self.templates)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The texts in the templates."""
        return filled(self.texts, self.templates)

    @property
    def contrast(self) -> tuple[str, ...]:
        """What it is to be told from, in the templates."""
        return filled(self.without, self.templates)

    @property
    def label(self) -> str:
        """The query as outputs show it."""
        label = " / ".join(self.texts)
        return f"{label}, not {' / '.join(self.without)}" if self.without else label

    def direction(
        self, backbone: TextEmbedder, tokenizer: Tokenizer | None = None
    ) -> Float32[np.ndarray, " features"]:
        """The vector whose product with an embedding is the score.

        It is the mean of the prompts, brought to length 1; with a contrast, the mean of that is
        subtracted, so that the score is the difference of two cosines.
        """
        vector = ensemble(backbone, self.prompts, tokenizer)
        if self.without:
            vector = vector - ensemble(backbone, self.contrast, tokenizer)
        return vector


def check_templates(templates: Sequence[str]) -> None:
    """Raise an `InputError` unless each template has a place for the text."""
    for template in templates or ("",):
        if template.count("{}") != 1:
            raise InputError(
                "A template for prompts has no place for the text",
                expected="one {} in it, such as 'a video of {}'",
                found=repr(template),
            )


def filled(texts: Sequence[str], templates: Sequence[str]) -> tuple[str, ...]:
    """Each text in each template, each prompt once."""
    prompts = [template.replace("{}", text) for text in texts for template in templates]
    return tuple(dict.fromkeys(prompts))


def ensemble(
    backbone: TextEmbedder, prompts: Sequence[str], tokenizer: Tokenizer | None = None
) -> Float32[np.ndarray, " features"]:
    """The mean of the prompts' embeddings, brought to length 1."""
    mean = backbone.embed_text(list(prompts), tokenizer).astype(np.float64).mean(axis=0)
    return (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)


def too_long(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[str]:
    """A remark for each prompt that the model does not read to its end."""
    counts = [(prompt, tokenizer.count(prompt)) for prompt in prompts]
    return [
        f"{prompt[:60]!r}… has {count} tokens; the model reads the first {LENGTH} of them."
        for prompt, count in counts
        if count > LENGTH
    ]


def text_backbones() -> list[str]:
    """Names of the registered backbones that embed texts, without loading any.

    They are known by what their loading function says it returns.
    """
    return [name for name in registry.names("backbones") if reads_text(name)]


def reads_text(name: str) -> bool:
    """Whether a registered backbone says that it embeds texts."""
    try:
        returned = typing.get_type_hints(registry.load("backbones", name)).get("return")
    except (NameError, TypeError):  # a third party's annotations
        return False
    return hasattr(returned, "embed_text")
