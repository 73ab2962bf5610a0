"""What a student learns to say of a clip: a teacher's tokens, brought to few components.

The teacher is frozen and sees each stored clip once; what it said is kept beside the clips.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ethoprism.backbones.preprocess import preprocess
from ethoprism.backbones.spec import Backbone
from ethoprism.errors import InputError
from ethoprism.files import replacing, write_json
from ethoprism.pretrain.clips import ClipStore
from ethoprism.progress import Progress

COMPONENTS = 96
TEACHER_FRAMES = (2, 5)
"""Frames of a clip of which the teacher's tokens are kept: neighbours say nearly the same."""
_SAMPLE_CLIPS = 200
_CHUNK = 8


@dataclass(frozen=True, eq=False)
class Basis:
    """Principal components of a teacher's tokens.

    Attributes
    ----------
    mean
        Of each feature.
    projection
        Features to components; each component divided by the square root of its deviation.
    """

    mean: Float[np.ndarray, "features"]
    projection: Float[np.ndarray, "features components"]

    def __call__(self, tokens: Float[np.ndarray, "*n features"]) -> np.ndarray:
        """Components of tokens, float16."""
        return ((tokens - self.mean) @ self.projection).astype(np.float16)


def fit_basis(tokens: Float[np.ndarray, "*n features"], components: int = COMPONENTS) -> Basis:
    """The leading components of ``tokens``, of which features are standardised first.

    A component keeps the square root of its deviation. This lies between plain components, of
    which the first drown the others in a cosine, and whitened ones, of which the last are noise.
    """
    flat = tokens.reshape(-1, tokens.shape[-1]).astype(np.float64)
    mean, deviation = flat.mean(axis=0), flat.std(axis=0) + 1e-6
    scaled = (flat - mean) / deviation
    variance, vectors = np.linalg.eigh(scaled.T @ scaled / len(flat))
    count = min(components, len(variance))
    variance, vectors = variance[::-1][:count], vectors[:, ::-1][:, :count]
    projection = vectors / np.maximum(variance, 1e-9) ** 0.25 / deviation[:, None]
    return Basis(mean.astype(np.float32), projection.astype(np.float32))


def teacher_tokens(
    teacher: Backbone,
    clips: UInt8[np.ndarray, "n frames size size 3"],
    chosen: Sequence[int],
    grid: int,
) -> Float[np.ndarray, "n chosen tokens features"]:
    """A teacher's tokens of some frames of clips, averaged to ``grid`` × ``grid`` a frame.

    A clip shorter than the teacher's window stands at its start, and the rest is masked. Of a
    longer one, each chosen frame is seen in a window with as many frames before as after it, as far
    as the clip goes. A teacher of single frames sees the chosen ones alone.
    """
    card = teacher.card
    if card.single_frames:
        tokens = _spatial(teacher, clips[:, list(chosen)])
    else:
        tokens = _in_windows(teacher, _spatial(teacher, clips), chosen)
    return to_grid(tokens, card.grid, grid)


def _spatial(teacher: Backbone, clips: np.ndarray) -> np.ndarray:
    n, frames = clips.shape[:2]
    flat = clips.reshape(n * frames, *clips.shape[2:])
    flat = np.stack([preprocess(frame, teacher.card.input_size) for frame in flat])
    spatial = np.asarray(teacher.spatial(flat), np.float32)
    return spatial.reshape(n, frames, *spatial.shape[1:])


def _in_windows(teacher: Backbone, spatial: np.ndarray, chosen: Sequence[int]) -> np.ndarray:
    """Tokens of the chosen frames ``(n, chosen, tokens, features)``, see `teacher_tokens`."""
    n, frames = spatial.shape[:2]
    length = teacher.card.frames
    windows: dict[int, np.ndarray] = {}
    told = []
    for frame in chosen:
        start = int(np.clip(frame - length // 2, 0, max(frames - length, 0)))
        if start not in windows:
            seen = spatial[:, start : start + length]
            window = np.zeros((n, length, *spatial.shape[2:]), np.float32)
            window[:, : seen.shape[1]] = seen
            padding = np.broadcast_to(np.arange(length) >= seen.shape[1], (n, length))
            windows[start] = np.asarray(teacher.temporal(window, padding), np.float32)
        told.append(windows[start][:, frame - start])
    return np.stack(told, axis=1)


def to_grid(
    tokens: Float[np.ndarray, "n frames tokens features"], old: int, new: int
) -> Float[np.ndarray, "n frames new_tokens features"]:
    """Tokens on ``old`` × ``old`` cells averaged to ``new`` × ``new``, which divides it."""
    if old % new:
        raise InputError(
            "The teacher's grid cannot be brought to the student's",
            expected=f"a multiple of {new} tokens a side",
            found=f"{old}",
        )
    n, frames, _, width = tokens.shape
    cells = tokens.reshape(n, frames, new, old // new, new, old // new, width)
    return cells.mean(axis=(3, 5)).reshape(n, frames, new * new, width)


def add_targets(
    teacher: Backbone,
    stores: Sequence[ClipStore],
    *,
    grid: int,
    components: int = COMPONENTS,
    chosen: Sequence[int] = TEACHER_FRAMES,
    basis: Basis | None = None,
) -> Generator[Progress]:
    """Writes ``teacher.npy`` beside the clips of every store, all in one basis.

    A store that has the targets of the same teacher and basis already is left alone.

    Parameters
    ----------
    teacher
        Any frozen encoder.
    stores
        Clips.
    grid
        The student's patches a side.
    components
        Of the teacher's tokens, that are kept.
    chosen
        Frames of a clip that are told of.
    basis
        By default that of a sample of these stores.
    """
    if basis is None:
        basis = yield from store_basis(teacher, stores, grid, components, chosen)
    total, done = sum(map(len, stores)), 0
    for store in stores:
        path, about = store.folder / "teacher.npy", store.folder / "teacher.json"
        made_of = {
            "teacher": teacher.card.name,
            "weights_sha256": teacher.card.weights_sha256,
            "frames": list(chosen),
            "basis": [float(x) for x in basis.projection[:, 0]],
        }
        if teacher.card.precision != "float32":
            made_of["precision"] = teacher.card.precision
        if path.is_file() and about.is_file() and json.loads(about.read_text()) == made_of:
            done += len(store)
            continue
        shape = (len(store), len(chosen), grid * grid, basis.projection.shape[1])
        temporary = path.with_name("teacher.part.npy")
        array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        for start in range(0, len(store), _CHUNK):
            clips = np.asarray(store.clips[start : start + _CHUNK])
            array[start : start + _CHUNK] = basis(_told(teacher, clips, chosen, grid))
            done += len(clips)
            yield Progress(done, total, f"clips, what {teacher.card.label} says of them")
        array.flush()
        temporary.replace(path)
        write_json(about, made_of)


def store_basis(
    teacher: Backbone,
    stores: Sequence[ClipStore],
    grid: int,
    components: int = COMPONENTS,
    chosen: Sequence[int] = TEACHER_FRAMES,
) -> Generator[Progress, None, Basis]:
    """The basis of a sample of the clips of all stores."""
    share = max(1, _SAMPLE_CLIPS // len(stores))
    tokens, done = [], 0
    picked = [
        np.unique(np.linspace(0, len(store) - 1, min(share, len(store))).astype(int))
        for store in stores
    ]
    total = sum(map(len, picked))
    for store, numbers in zip(stores, picked, strict=True):
        for start in range(0, len(numbers), _CHUNK):
            clips = np.asarray(store.clips[numbers[start : start + _CHUNK]])
            tokens.append(_told(teacher, clips, chosen, grid))
            done += len(clips)
            yield Progress(done, total, f"clips, a sample of what {teacher.card.label} says")
    return fit_basis(np.concatenate(tokens), components)


def kept_basis(
    path: Path,
    teacher: Backbone,
    stores: Sequence[ClipStore],
    grid: int,
    chosen: Sequence[int] = TEACHER_FRAMES,
) -> Generator[Progress, None, Basis]:
    """The basis that lies at ``path``; it is made and put there if none does."""
    if not path.is_file():
        basis = yield from store_basis(teacher, stores, grid, chosen=chosen)
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, mean=basis.mean, projection=basis.projection)
    with np.load(path, allow_pickle=False) as kept:
        return Basis(kept["mean"], kept["projection"])


def _told(
    teacher: Backbone, clips: np.ndarray, chosen: Sequence[int], grid: int
) -> Float[np.ndarray, "n chosen tokens features"]:
    """`teacher_tokens` of at most `_CHUNK` clips, always of as many: a shape is compiled once."""
    n = len(clips)
    filled = np.concatenate([clips, np.repeat(clips[-1:], _CHUNK - n, axis=0)])
    return teacher_tokens(teacher, filled, chosen, grid)[:n]
