"""What a backbone is: a frozen encoder in two steps, and the card that says which one it is.

Every backbone registered under the entry points ``ethoprism.backbones`` is a function
``load(weights: str | None = None) -> Backbone``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool, Float, UInt8


@dataclass(frozen=True)
class BackboneCard:
    """What identifies a backbone; all of it but ``note`` enters the key of the tokens."""

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
    note: str = ""
    """What a reader should know, such as the source of the weights and their licence."""

    @property
    def label(self) -> str:
        """The name as every output shows it: an untrained backbone is called that."""
        return self.name if self.trained else f"{self.name} (untrained)"


@runtime_checkable
class Backbone(Protocol):
    """A frozen encoder that factorises into space and time.

    Both functions are pure and compiled for the shapes they are called with, so callers keep the
    shapes fixed and pad.
    """

    @property
    def card(self) -> BackboneCard: ...

    def spatial(self, frames: UInt8[Array, "n size size 3"]) -> Float[Array, "n tokens width"]:
        """Tokens of single frames, RGB of 0 to 255; scaling to [0, 1] is done here."""
        ...

    def temporal(
        self,
        tokens: Float[Array, "windows frames tokens width"],
        padding: Bool[Array, "windows frames"],
    ) -> Float[Array, "windows frames tokens width"]:
        """Tokens of whole windows; frames where ``padding`` is true are masked."""
        ...


def platform() -> str:
    """Name of the device that JAX computes on: ``cpu``, ``gpu`` or ``tpu``."""
    return jax.default_backend()
