"""Predictions of a probe, streamed over a token store in constant memory."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ethoprism.errors import ProjectError
from ethoprism.prediction import Prediction
from ethoprism.probe.batches import read_inputs
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.ensemble import MeanProbability, build, parameters_of
from ethoprism.probe.familiarity import Familiarity, Moments, average_tokens
from ethoprism.probe.fitting import ROWS
from ethoprism.probe.model import group_columns
from ethoprism.progress import Progress
from ethoprism.recording import Recording
from ethoprism.tokens import TokenStore
from ethoprism.windows import WindowGrid

__all__ = ["build", "parameters_of", "predict", "require_key"]


def predict(
    probe: Probe, recording: Recording, store: TokenStore, subject: str = ""
) -> Generator[Progress, None, Prediction]:
    """Probabilities of every frame of a recording; the generator's result is a `Prediction`.

    Frames between sampled ones take the nearest sampled frame's probabilities. ``subject`` is whose
    behaviour the tokens show, where they are one subject's. Where the recording looks unlike those
    that the probe was trained on, the prediction's ``notes`` say so.

    Raises
    ------
    ProjectError
        If the tokens were made with another key than the probe's, or are not complete.
    """
    require_key(probe, store)
    grid = WindowGrid(recording.n_frames, probe.key.length, probe.key.hop, probe.key.step)
    groups = group_columns(probe.behaviours, probe.ethogram.exclusive)
    probability_of = MeanProbability(build(probe.shape, probe.parameters), groups)
    familiarity = Familiarity.of_probe(probe.parameters, probe.training, probe.key.width)
    n, width = store.n_rows, probe.key.width
    result = np.zeros((n, probe.shape.behaviours), np.float32)
    seen = Moments(0, np.zeros(width), np.zeros(width))
    yield Progress(0, n, recording.id)
    for start, stop, inputs, valid, own in _read_ahead(store, probe):
        result[start:stop] = probability_of(inputs, valid)
        seen = seen + own
        yield Progress(stop, n, recording.id)
    rows = grid.sampled_of(np.arange(recording.n_frames))
    name = recording.id + (f", {subject}," if subject else "")
    note = "" if familiarity is None else familiarity.note(name, seen)
    return Prediction(
        recording=recording.id,
        subject=subject or probe.subject,
        behaviours=probe.behaviours,
        probability=result[rows],
        covered=store.valid()[rows],
        probe=probe.digest,
        backbone=probe.key.label,
        content_key=recording.content_key,
        notes=(note,) if note else (),
    )


def disagreement(
    probe: Probe, recording: Recording, store: TokenStore
) -> Generator[Progress, None, np.ndarray]:
    """How far the networks of an ensemble differ, ``[frames, behaviours]`` between 0 and 1.

    It is twice the standard deviation of their probabilities; 0 everywhere for a single network.
    The generator's result is the array, float32.

    Raises
    ------
    ProjectError
        As `predict`.
    """
    require_key(probe, store)
    groups = group_columns(probe.behaviours, probe.ethogram.exclusive)
    probability_of = MeanProbability(build(probe.shape, probe.parameters), groups)
    n = store.n_rows
    result = np.zeros((n, probe.shape.behaviours), np.float32)
    for start, stop, inputs, valid, _ in _read_ahead(store, probe):
        result[start:stop] = 2 * probability_of.each(inputs, valid).std(axis=0)
        yield Progress(stop, n, f"{recording.id}: comparing networks")
    grid = WindowGrid(recording.n_frames, probe.key.length, probe.key.hop, probe.key.step)
    return result[grid.sampled_of(np.arange(recording.n_frames))]


_Piece = tuple[int, int, np.ndarray, np.ndarray, Moments]


def _read_ahead(store: TokenStore, probe: Probe) -> Iterator[_Piece]:
    """Rows from and to, what the probe sees of them, and moments of their average tokens.

    A thread reads a piece while the one before it is predicted.
    """
    n, context, width = store.n_rows, probe.shape.context, probe.key.width

    def read(start: int) -> _Piece:
        stop = min(start + ROWS, n)
        length = stop - start + 2 * context + 1
        inputs, valid = read_inputs(store, start - context - 1, length, probe.shape)
        own = slice(context + 1, context + 1 + stop - start)
        return (
            start,
            stop,
            inputs,
            valid,
            Moments.of(average_tokens(inputs[own], width)[valid[own]]),
        )

    with ThreadPoolExecutor(1, "tokens") as thread:
        ahead = thread.submit(read, 0) if n else None
        while ahead is not None:
            piece = ahead.result()
            ahead = thread.submit(read, piece[1]) if piece[1] < n else None
            yield piece


def require_key(probe: Probe, store: TokenStore) -> None:
    """Raise a `ProjectError` unless the store is complete and of the probe's key."""
    if store.key != probe.key:
        mine, its = probe.key.to_dict(), store.key.to_dict()
        differing = [name for name in mine if mine[name] != its.get(name)]
        raise ProjectError(
            f"The tokens of {store.path.stem!r} are not those that {probe.name!r} was trained on",
            expected=", ".join(f"{name} {mine[name]}" for name in differing),
            found=", ".join(f"{name} {its.get(name)}" for name in differing),
            remedy="Extract the tokens with the probe's backbone, or train another probe.",
        )
    store.require_complete()
