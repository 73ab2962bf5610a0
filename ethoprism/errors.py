"""Errors that a user can act on: each says what was expected, what was found and what to do.

The command line prints them as one paragraph and leaves with the class's ``exit_code``.
"""

from __future__ import annotations


class EthoPrismError(Exception):
    """Base of every error that EthoPrism raises on purpose.

    Parameters
    ----------
    problem
        What went wrong, in one sentence, naming the file or value.
    expected, found
        What the program needed and what it met. Either may be empty where it would say nothing new.
    remedy
        What the user can do about it.
    """

    exit_code = 1

    def __init__(self, problem: str, *, expected: str = "", found: str = "", remedy: str = ""):
        self.problem = problem
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(self._paragraph())

    def _paragraph(self) -> str:
        parts = [_sentence(self.problem)]
        if self.expected:
            parts.append(_sentence(f"Expected {self.expected}"))
        if self.found:
            parts.append(_sentence(f"Found {self.found}"))
        if self.remedy:
            parts.append(_sentence(self.remedy))
        return " ".join(parts)


class InputError(EthoPrismError):
    """An argument or a file that the user gave does not have the form that is needed."""

    exit_code = 3


class VideoError(InputError):
    """A recording that cannot be opened or decoded as its container promises."""


class LabelError(InputError):
    """Labels that do not fit their recording or ethogram."""


class WeightsError(InputError):
    """A checkpoint that does not fit its model, or that cannot be had."""


class ProjectError(EthoPrismError):
    """A project that lacks something, or whose parts do not belong together."""

    exit_code = 4


class StorageError(EthoPrismError):
    """The disk is full, read-only or unreachable; what had been finished is kept."""

    exit_code = 5


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?", ":")) else text + "."
