"""What a student learns to say of a clip: a teacher's tokens, brought to few components.

The teacher is frozen and sees each stored clip once; what it said is kept beside the clips.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from ethoprism.backbones.preprocess import preprocess
from ethoprism.backbones.spec import Backbone
from ethoprism.errors import InputError
from ethoprism.files import write_json
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

    The clip stands at the start of the teacher's window; what is left of the window is masked.
    A clip longer than the window is an error.
    """
    card = teacher.card
    n, frames = clips.shape[:2]
    if frames > card.frames:
        raise InputError(
            f"The clips are longer than a window of {card.name}",
            expected=f"at most {card.frames} frames",
            found=f"{frames} frames",
        )
    single = card.name == "efficientnet-lite0"
    seen = clips[:, list(chosen)] if single else clips
    count = seen.shape[1]
    flat = seen.reshape(n * count, *clips.shape[2:])
    flat = np.stack([preprocess(frame, card.input_size) for frame in flat])
    spatial = np.asarray(teacher.spatial(flat))
    spatial = spatial.reshape(n, count, *spatial.shape[1:])
    if not single:
        padded = np.zeros((n, card.frames, *spatial.shape[2:]), np.float32)
        padded[:, :count] = spatial
        padding = np.broadcast_to(np.arange(card.frames) >= count, (n, card.frames))
        spatial = np.asarray(teacher.temporal(padded, padding))[:, list(chosen)]
    return to_grid(spatial, card.grid, grid)


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
        basis = store_basis(teacher, stores, grid, components, chosen)
    total, done = sum(map(len, stores)), 0
    for store in stores:
        path, about = store.folder / "teacher.npy", store.folder / "teacher.json"
        made_of = {
            "teacher": teacher.card.name,
            "weights_sha256": teacher.card.weights_sha256,
            "frames": list(chosen),
            "basis": [float(x) for x in basis.projection[:, 0]],
        }
        if path.is_file() and about.is_file() and json.loads(about.read_text()) == made_of:
            done += len(store)
            continue
        shape = (len(store), len(chosen), grid * grid, basis.projection.shape[1])
        temporary = path.with_name("teacher.part.npy")
        array = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
        for start in range(0, len(store), _CHUNK):
            clips = np.asarray(store.clips[start : start + _CHUNK])
            array[start : start + _CHUNK] = basis(teacher_tokens(teacher, clips, chosen, grid))
            done += len(clips)
            yield Progress(done, total, f"what {teacher.card.label} says of {store.folder.name}")
        array.flush()
        temporary.replace(path)
        write_json(about, made_of)


def store_basis(
    teacher: Backbone,
    stores: Sequence[ClipStore],
    grid: int,
    components: int = COMPONENTS,
    chosen: Sequence[int] = TEACHER_FRAMES,
) -> Basis:
    """The basis of a sample of the clips of all stores."""
    share = max(1, _SAMPLE_CLIPS // len(stores))
    tokens = []
    for store in stores:
        picked = np.unique(np.linspace(0, len(store) - 1, min(share, len(store))).astype(int))
        clips = np.asarray(store.clips[picked])
        parts = np.array_split(clips, -(-len(clips) // _CHUNK))
        tokens += [teacher_tokens(teacher, part, chosen, grid) for part in parts]
    return fit_basis(np.concatenate(tokens), components)
