"""Captioned clips of stage 1: data sets of several stores, clips held out, and tokens kept.

Where the video encoder stays as it is, its tokens of a clip are always the same. So they are
computed once for a few views of each clip and kept beside the training, and a step costs no more
than what lies above the encoder.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8

from ethoprism.backbones.encoder import EncoderConfig
from ethoprism.errors import InputError
from ethoprism.files import replacing
from ethoprism.pretrain.clips import ClipStore
from ethoprism.pretrain.student import encode
from ethoprism.progress import Progress

_AT_ONCE = 10


class Captioned:
    """Captioned clips that count as one data set, in one or several stores.

    Parameters
    ----------
    stores
        Clips of one size.
    held_out
        How many are never learnt from: the last ones.

    Raises
    ------
    InputError
        If clips have no captions, or none would be left to learn from.
    """

    def __init__(self, stores: Sequence[ClipStore], held_out: int = 0):
        self.stores = tuple(stores)
        self.captions = tuple(caption for store in stores for caption in store.captions)
        self.sources = tuple(source for store in stores for source in store.sources)
        if not all(self.captions):
            raise InputError("Stage 1 needs a caption for every clip", found="clips without")
        if held_out >= len(self.captions):
            raise InputError(
                "No clips are left to learn from",
                expected=f"fewer than {len(self.captions)} held out",
                found=str(held_out),
            )
        self._start = np.cumsum([0, *map(len, stores)])
        self.learnt = np.arange(len(self.captions) - held_out)
        self.held_out = np.arange(len(self.captions) - held_out, len(self.captions))

    def __len__(self) -> int:
        """The number of clips that are learnt from."""
        return len(self.learnt)

    def gather(self, arrays: Sequence[np.ndarray], numbers: np.ndarray) -> list[np.ndarray]:
        """Rows of arrays that lie store by store, by the clips' numbers in the data set."""
        which = np.searchsorted(self._start, numbers, side="right") - 1
        return [arrays[w][n - self._start[w]] for w, n in zip(which, numbers, strict=True)]

    def frames(self, numbers: np.ndarray) -> UInt8[np.ndarray, "clips frames size size 3"]:
        """Clips by their numbers."""
        return np.stack(self.gather([store.clips for store in self.stores], numbers))


def seen_again(
    rng: np.random.Generator, frames: UInt8[np.ndarray, "frames size size 3"]
) -> Float[np.ndarray, "frames size size 3"]:
    """A clip mirrored, turned and lit at random, in [0, 1]; what animals do stays the same."""
    left_right, up_down, transposed = rng.random(3) < 0.5
    if left_right:
        frames = frames[:, :, ::-1]
    if up_down:
        frames = frames[:, ::-1]
    if transposed:
        frames = frames.swapaxes(1, 2)
    x = frames.astype(np.float32) / 255.0
    gain = float(np.exp(rng.uniform(-0.4, 0.4))) * np.exp(rng.normal(0, 0.04, 3))
    x = (x - 0.5) * gain.astype(np.float32) + np.float32(0.5 + rng.normal(0, 0.06))
    return np.clip(x, 0.0, 1.0)


def keep_tokens(
    parameters: Mapping[str, np.ndarray],
    config: EncoderConfig,
    stores: Sequence[ClipStore],
    folder: Path,
    *,
    views: int,
    seed: int,
    dtype: str = "bfloat16",
) -> Generator[Progress, None, list[np.ndarray]]:
    """Tokens of all clips: float16 ``[clips, views, frames, patches, width]``, store by store.

    View 0 is the clip as it is, the others are those of `seen_again`. Stores that were done in an
    earlier call are left as they are.

    Parameters
    ----------
    parameters
        The encoder's, by released name.
    folder
        Where the arrays are kept, mapped into memory; one training's alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: jnp.asarray(values) for name, values in parameters.items()}

    @jax.jit
    def tokens(own: dict[str, Array], clips: Array) -> Array:
        return encode(own, config, clips, dtype=dtype).astype(jnp.float16)

    total, done, arrays = sum(map(len, stores)), 0, []
    for number, store in enumerate(stores):
        path = folder / f"{number:03d}.npy"
        if not path.is_file():
            shape = (len(store), views, store.clips.shape[1], config.grid**2, config.width)
            with replacing(path) as temporary:
                out = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
                for a in range(0, len(store), _AT_ONCE):
                    picked = np.arange(a, min(a + _AT_ONCE, len(store)))
                    for view in range(views):
                        clips = _view(store, picked, view, [seed, 11, number])
                        out[picked, view] = np.asarray(tokens(own, jnp.asarray(clips)))[
                            : len(picked)
                        ]
                    yield Progress(done + int(picked[-1]) + 1, total, "tokens of the clips")
                out.flush()
                del out
        done += len(store)
        arrays.append(np.load(path, mmap_mode="r", allow_pickle=False))
    return arrays


def _view(
    store: ClipStore, picked: Int[np.ndarray, " clips"], view: int, seed: list[int]
) -> Float[np.ndarray, "at_once frames size size 3"]:
    """One view of some clips, filled up to the number that is encoded at once."""
    clips = [np.asarray(store.clips[i]) for i in picked]
    if view == 0:
        seen = [clip.astype(np.float32) / 255.0 for clip in clips]
    else:
        seen = [
            seen_again(np.random.default_rng([*seed, int(i), view]), clip)
            for i, clip in zip(picked, clips, strict=True)
        ]
    seen += [seen[0]] * (_AT_ONCE - len(seen))
    return np.stack(seen)
