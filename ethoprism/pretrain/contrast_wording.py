"""Captions in other words, so that a text encoder learns more of a language than one form of it.

A data set says "A dark mouse chases another grey mouse." Someone who searches may write "chase",
"a mouse runs after another", or the definition of an ethogram. So each batch says its captions in
one of a few degrees of detail, and each caption in it in words drawn at random.

The sentences know nothing but what animals do: the table is of verbs that data sets of animals use.
Words that it does not have are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEGREES = ("whole", "colourless", "animals", "first", "bare")
"""From all that the caption says to what is done alone; see `reduced`."""
_SHARES = (0.3, 0.2, 0.15, 0.15, 0.2)
_REWORDED = 0.6
_TEMPLATE, _TEMPLATE_SHARE = "a video of {}", 0.3

_WHO = re.compile(r"\b(?:dark|grey|pale) (\w+)")
_MORE = re.compile(r", with (?:one|two) more nearby")
_SECOND = re.compile(r", (?:a|an|another) .*$")
_OBJECT = re.compile(r"\b(?:a|an|another) \w+")
_ONE = ("one mouse", "the mouse", "it", "one animal", "a mouse", "an animal")


@dataclass(frozen=True)
class Phrase:
    """A verb as captions have it, what says the same in its place, and what names it by itself."""

    words: str
    same: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


PHRASES = (
    Phrase("walks with one wing extended", ("walks and holds one wing out",)),
    Phrase("and extends one wing", ("and holds one wing out", "with a wing extended")),
    Phrase("with one wing extended", ("and holds one wing out", "and extends a wing")),
    Phrase(
        "extends one wing",
        ("extends a wing", "holds one wing out", "holds a wing out to the side"),
        ("wing extension", "extending one wing", "one wing held out to the side"),
    ),
    Phrase("opens both wings", ("spreads its wings", "flicks its wings"), ("wing flick",)),
    Phrase(
        "chases",
        ("runs after", "pursues", "follows at a run", "is chasing"),
        (
            "chase",
            "chasing",
            "runs after the other animal which runs away ahead of it",
            "one animal runs and the other runs away ahead of it",
        ),
    ),
    Phrase("walks behind", ("follows", "is following"), ("follow", "following")),
    Phrase("walks around", ("circles", "goes around"), ("circling",)),
    Phrase("walks past", ("passes", "goes past"), ("passing",)),
    Phrase("runs away from", ("flees from", "escapes from"), ("flight", "fleeing", "escape")),
    Phrase("runs and stops", ("stops running", "comes to a halt"), ("stop", "stopping")),
    Phrase("starts to run", ("sets off", "begins to run"), ("start", "starting to run")),
    Phrase(
        "approaches",
        ("walks towards", "comes nearer to", "walks up to", "gets nearer to", "is approaching"),
        (
            "approach",
            "approaching",
            "walks towards the other animal which stays where it is and gets nearer",
        ),
    ),
    Phrase(
        "touches",
        ("sniffs", "is in contact with", "touches the body of", "meets the nose of"),
        (
            "contact",
            "touching",
            "sniffing",
            "its nose touches or nearly touches the other s body or their trunks touch",
        ),
    ),
    Phrase(
        "rest side by side",
        ("lie side by side", "sit close together"),
        ("side by side", "close proximity", "huddle"),
    ),
    Phrase("stands close to", ("stands near", "is close to"), ("close proximity",)),
    Phrase(
        "grooms",
        (
            "grooms itself",
            "washes its face",
            "cleans itself",
            "strokes its face",
            "is grooming",
            "strokes its flank with its paws",
        ),
        (
            "groom",
            "grooming",
            "self grooming",
            "stays in place and strokes its face or flank with rhythmic paws and head",
        ),
    ),
    Phrase("turns on the spot", ("turns around", "is turning"), ("turn", "turning")),
    Phrase("looks about", ("moves its head", "scans around"), ("look", "looking about")),
    Phrase("runs", ("is running", "moves fast"), ("run", "running", "moving")),
    Phrase(
        "rests",
        ("stands still", "lies still", "does not move", "stays where it is", "sits", "is resting"),
        (
            "rest",
            "resting",
            "immobile",
            "still",
            "stands or lies still only breathing moves it",
        ),
    ),
    Phrase(
        "walks",
        ("moves forward", "is walking", "walks about", "moves about"),
        ("walk", "walking", "moves forward at any speed", "locomotion", "moving"),
    ),
)
_FIND = re.compile("|".join(rf"\b{re.escape(phrase.words)}\b" for phrase in PHRASES))
_BY_WORDS = {phrase.words: phrase for phrase in PHRASES}


def reduced(caption: str, degree: str) -> str:
    """What a caption says in a degree of detail, still in its own words.

    ``whole`` is all of it. ``colourless`` leaves out how dark animals are and who else is there,
    ``animals`` their kinds besides, ``first`` what a second one does besides that of its own.
    ``bare`` is the verb alone.
    """
    if degree == "whole":
        return caption
    text = _WHO.sub(r"\1", _MORE.sub("", caption.rstrip(".")))
    text = text[:1].lower() + text[1:]
    if degree == "colourless":
        return text
    if degree in ("first", "bare"):
        text = _SECOND.sub("", text)
    if degree in ("animals", "bare"):
        text = _OBJECT.sub(lambda m: _animal(m.group()), text)
    if degree == "bare":
        found = [m.group() for m in _FIND.finditer(text)]
        return " ".join(found) or text
    return text


def said(rng: np.random.Generator, text: str, degree: str) -> str:
    """A reduced caption in words drawn at random, some as ``a video of …``."""
    if degree == "bare":
        text = _bare(rng, text)
    elif rng.random() < _REWORDED:
        text = _FIND.sub(lambda m: _choice(rng, m.group()), text)
    return _TEMPLATE.replace("{}", text) if rng.random() < _TEMPLATE_SHARE else text


def worded(rng: np.random.Generator, captions: Sequence[str]) -> tuple[list[str], list[str]]:
    """A batch's captions as they are said this time, and what each says, which twins share."""
    degree = str(rng.choice(DEGREES, p=_SHARES))
    meant = [reduced(caption, degree) for caption in captions]
    return [said(rng, text, degree) for text in meant], meant


def sayings(captions: Sequence[str]) -> list[str]:
    """Sentences with all words that captions may be said in, for learning a vocabulary."""
    texts = list(captions) + [reduced(c, d) for c in captions for d in DEGREES[1:]]
    for phrase in PHRASES:
        texts += [phrase.words, *phrase.same, *phrase.bare]
    texts += [f"{one} {phrase.words}" for one in _ONE for phrase in PHRASES]
    return texts + [_TEMPLATE.replace("{}", text) for text in texts[: len(captions)]]


def _bare(rng: np.random.Generator, text: str) -> str:
    phrase = _BY_WORDS.get(text)
    if phrase is None:
        return _FIND.sub(lambda m: _choice(rng, m.group()), text)
    options = (*phrase.bare, *phrase.same, phrase.words)
    chosen = options[int(rng.integers(len(options)))]
    if chosen in phrase.bare or rng.random() < 0.5:
        return chosen
    return f"{_ONE[int(rng.integers(len(_ONE)))]} {chosen}"


def _choice(rng: np.random.Generator, words: str) -> str:
    options = (words, *_BY_WORDS[words].same)
    return options[int(rng.integers(len(options)))]


def _animal(words: str) -> str:
    article = words.split()[0]
    return "another animal" if article == "another" else "an animal"
