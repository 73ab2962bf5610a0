"""What a backbone is: a frozen encoder in two steps, and the card that says which one it is.

Every backbone registered under the entry points ``ethoprism.backbones`` is a function
``load(weights: str | None = None) -> Backbone``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, UInt8

Features = Any
"""What windows need of their frames: an array, or a pytree of arrays, with a leading frame axis.

Only the backbone that made it knows what is in it. Callers store, index and stack its arrays.
"""

Kept = tuple[int, int]
"""Half-open range of a window's frames."""

Positions = tuple[int, ...]
"""Numbers of patches, row by row."""


@dataclass(frozen=True)
class BackboneCard:
    """What identifies a backbone; all but the last three enter the key of the tokens."""

    name: str
    weights_sha256: str
    """Hex digest of the parameters (see `weights.fingerprint`), not of the file they came in."""
    frames: int
    """Frames in one window."""
    input_size: int
    """Height and width, in pixels, of the square frames that the encoder sees."""
    grid: int
    """Tokens per side and frame: a frame has ``grid * grid`` tokens, row by row."""
    width: int
    """Features per token."""
    precision: str
    """Arithmetic of the encoder: ``float32`` or ``bfloat16``."""
    trained: bool
    embedding_width: int = 0
    """Features of the embeddings of frames and windows; 0 if there are none (see `Embeds`)."""
    note: str = ""
    """What a reader should know, such as the source of the weights and their licence."""
    single_frames: bool = False
    """Whether frames do not see one another, so that one can be encoded without its neighbours."""

    @property
    def label(self) -> str:
        """The name as every output shows it: an untrained backbone is called that."""
        return self.name if self.trained else f"{self.name} (untrained)"


@runtime_checkable
class Backbone(Protocol):
    """A frozen encoder that factorises into space and time.

    Both functions are pure and compiled for the shapes they are called with, so callers keep the
    shapes fixed and pad. ``shared``, ``kept`` and the number of ``positions`` are compiled in, too.
    """

    @property
    def card(self) -> BackboneCard: ...

    def spatial(
        self, frames: UInt8[Array | np.ndarray, "n size size 3"], *, shared: bool = False
    ) -> Features:
        """What windows need of single frames, RGB of 0 to 255; scaling to [0, 1] is done here.

        Parameters
        ----------
        frames
            At the card's input size.
        shared
            Whether each frame will be in several windows, so that all that does not depend on the
            window is worth computing here.
        """
        ...

    def temporal(
        self,
        features: Features,
        padding: Bool[Array | np.ndarray, "windows frames"],
        kept: Kept | None = None,
        positions: Positions | None = None,
    ) -> Float[Array | np.ndarray, "windows kept tokens width"]:
        """Tokens of windows.

        Parameters
        ----------
        features
            Results of `spatial`, each array with leading axes windows and frames in place of its
            frame axis.
        padding
            True for frames that hold nothing; no other frame looks at them.
        kept
            The frames whose tokens are wanted; all of them by default. The others take part, but
            what only their own tokens need is not computed.
        positions
            The patches whose tokens are wanted; all of them by default.
        """
        ...


@runtime_checkable
class Embeds(Protocol):
    """A backbone that also gives one vector per frame and per window, comparable to texts."""

    def embed(
        self,
        tokens: Float[Array | np.ndarray, "windows frames tokens width"],
        padding: Bool[Array | np.ndarray, "windows frames"],
    ) -> tuple[
        Float[Array | np.ndarray, "windows frames features"],
        Float[Array | np.ndarray, "windows features"],
    ]:
        """Embeddings of length 1, of frames and of windows, from `Backbone.temporal`'s tokens."""
        ...


def platform() -> str:
    """Name of the device that JAX computes on: ``cpu``, ``gpu`` or ``tpu``."""
    return jax.default_backend()
