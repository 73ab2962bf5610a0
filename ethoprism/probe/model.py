"""The probe's network: what fixes it, its parts, and the probabilities that it gives.

Each head (`ethoprism.probe.heads`) sees standardised features of the training rows. The attentive
head sees tokens, each joined with its absolute change since the row before. The change carries
motion through poolings and backbones that were not trained for it, and the standardisation brings
out the small differences between frames of a static scene; neither has parameters that are learnt.
The other heads see descriptors of the rows, which do not depend on parameters at all
(`ethoprism.probe.descriptors`).

Behaviours are independent (sigmoid), except inside an exclusive group, where a softmax runs over
its members and "none of them", whose logit is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Shaped

from ethoprism.probe.descriptors import PARTS, STILL_PARTS
from ethoprism.probe.heads import HEADS, AttentiveHead, LinearHead, TemporalHead, dilations
from ethoprism.probe.losses import Groups

_HEAD_SIZE = 64
TEMPORAL_CONTEXT = 15
_PIECE_ROWS = 34


@dataclass(frozen=True)
class ProbeShape:
    """What fixes a probe's parameters.

    Attributes
    ----------
    width
        Features of a token in the store.
    behaviours
        Number of logits.
    context
        Rows on either side of a frame that its logits depend on.
    motion
        Whether the change since the row before is seen.
    head
        One of `ethoprism.probe.heads.HEADS`.
    members
        Networks whose probabilities are averaged.
    """

    width: int
    behaviours: int
    context: int
    motion: bool = True
    head: str = "attentive"
    members: int = 1

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"there is no head {self.head!r}")

    @property
    def on_tokens(self) -> bool:
        """Whether the head sees tokens, not descriptors of rows."""
        return self.head == "attentive"

    @property
    def inputs(self) -> int:
        """Features of what the head sees."""
        if self.on_tokens:
            return self.features
        return (PARTS if self.motion else STILL_PARTS) * self.width

    @property
    def features(self) -> int:
        """Features that enter the attentive head's pooler."""
        return 2 * self.width if self.motion else self.width

    @property
    def heads(self) -> int:
        """Attention heads: of 64 features each, as the paper's, where that divides the width."""
        return max(1, self.features // _HEAD_SIZE) if self.features % _HEAD_SIZE == 0 else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values; what older probes did not have is left out where it is as theirs."""
        fields = asdict(self)
        for name, usual in (("head", "attentive"), ("members", 1)):
            if fields[name] == usual:
                del fields[name]
        return fields


def default_context(head: str, length: int) -> int:
    """Rows on either side, where the encoder sees ``length`` rows at once.

    Half of these for the attentive head, three times as many for the linear one, which has fewer
    features to choose from, and as far as four layers of convolutions see for the temporal one.
    """
    if head == "temporal":
        return TEMPORAL_CONTEXT
    return max(3 * length // 2 if head == "linear" else length // 2, 1)


def fitting_context(head: str, context: int) -> int:
    """The context that a head can have, at most the one that is asked for where possible."""
    return sum(dilations(context)) if head == "temporal" else context


class Standardise(nnx.Module):
    """Features minus the mean, over the deviation, of the training rows. Not trained."""

    def __init__(self, features: int):
        self.mean = nnx.Variable(jnp.zeros((features,)))
        self.deviation = nnx.Variable(jnp.ones((features,)))

    def __call__(self, x: Float[Array, "*rows features"]) -> Float[Array, "*rows features"]:
        return (x - self.mean[...]) / self.deviation[...]


class ProbeNetwork(nnx.Module):
    """Logits of the behaviours at consecutive rows."""

    def __init__(self, shape: ProbeShape, *, rngs: nnx.Rngs):
        self.shape = shape
        self.standardise = Standardise(shape.inputs)
        self.head = _head(shape, rngs)

    def features(
        self, inputs: Shaped[Array, "batch rows *rest"], valid: Bool[Array, "batch rows"]
    ) -> Float[Array, "batch rows-1 *features"]:
        """What the head sees of rows 1 to the last, not standardised.

        Of tokens it is these and their change since the row before, which is 0 where one of the
        two rows is not valid; descriptors are as they are.
        """
        x = inputs.astype(jnp.float32)
        if not self.shape.on_tokens or not self.shape.motion:
            return x[:, 1:]
        both = (valid[:, 1:] & valid[:, :-1])[:, :, None, None]
        change = jnp.where(both, jnp.abs(x[:, 1:] - x[:, :-1]), 0.0)
        return jnp.concatenate([x[:, 1:], change], axis=-1)

    def __call__(
        self,
        inputs: Shaped[Array, "batch rows *rest"],
        valid: Bool[Array, "batch rows"],
        *,
        dropout: float = 0.0,
        key: Array | None = None,
    ) -> Float[Array, "batch inner behaviours"]:
        """Logits of all rows but the first ``context + 1`` and the last ``context``.

        Parameters
        ----------
        inputs
            Tokens ``[batch, rows, tokens, width]`` or descriptors ``[batch, rows, features]`` of
            consecutive rows. The first is there for the change of the second.
        valid
            False for rows outside the recording or without a frame; they are left out.
        dropout, key
            In training: share of features that are set to 0, drawn with the key.
        """
        head, context = self.head, self.shape.context
        if isinstance(head, AttentiveHead) and key is None:
            return head.mixed(*self._pooled_rows(head, inputs, valid), valid[:, 1:], context)
        x = self.standardise(self.features(inputs, valid))
        return head.windows(x, valid[:, 1:], context, dropout=dropout, key=key)

    def _pooled_rows(
        self,
        head: AttentiveHead,
        inputs: Shaped[Array, "batch rows tokens features"],
        valid: Bool[Array, "batch rows"],
    ) -> tuple[Float[Array, "batch rows-1 heads"], Float[Array, "batch rows-1 heads size"]]:
        """`AttentiveHead.rows` of rows 1 to the last, a few rows at a time.

        What lies between tokens and values is many times as large as both; of a few rows it stays
        in the processor's cache, which halves the time of a prediction.
        """
        batch, n = inputs.shape[0], inputs.shape[1] - 1
        pieces = -(-n // _PIECE_ROWS)
        lacking = pieces * _PIECE_ROWS - n
        x = jnp.pad(inputs, ((0, 0), (0, lacking), (0, 0), (0, 0)))
        known = jnp.pad(valid, ((0, 0), (0, lacking)))

        def piece(start: Array) -> tuple[Array, Array]:
            own = jax.lax.dynamic_slice_in_dim(x, start, _PIECE_ROWS + 1, axis=1)
            there = jax.lax.dynamic_slice_in_dim(known, start, _PIECE_ROWS + 1, axis=1)
            return head.rows(self.standardise(self.features(own, there)))

        found = jax.lax.map(piece, _PIECE_ROWS * jnp.arange(pieces))
        score, values = (
            jnp.moveaxis(a, 0, 1).reshape(batch, pieces * _PIECE_ROWS, *a.shape[3:])[:, :n]
            for a in found
        )
        return score, values


def _head(shape: ProbeShape, rngs: nnx.Rngs) -> AttentiveHead | LinearHead | TemporalHead:
    if shape.head == "linear":
        return LinearHead(shape.inputs, shape.behaviours)
    if shape.head == "temporal":
        return TemporalHead(shape.inputs, shape.behaviours, shape.context, rngs=rngs)
    return AttentiveHead(shape.features, shape.behaviours, heads=shape.heads, rngs=rngs)


def group_columns(
    behaviours: Sequence[str], exclusive: Sequence[Sequence[str]]
) -> tuple[tuple[int, ...], ...]:
    """Columns of each exclusive group, in the order of ``behaviours``; single ones left out."""
    groups = [
        tuple(i for i, name in enumerate(behaviours) if name in set(group)) for group in exclusive
    ]
    return tuple(columns for columns in groups if len(columns) > 1)


def probabilities(
    logits: Float[np.ndarray, "rows behaviours"], groups: Groups
) -> Float32[np.ndarray, "rows behaviours"]:
    """Probability of each behaviour; members of an exclusive group sum to at most 1."""
    from scipy.special import expit, softmax

    result = expit(logits).astype(np.float32)
    for columns in groups:
        members = logits[:, np.array(columns)]
        outcomes = np.concatenate([np.zeros_like(members[:, :1]), members], axis=1)
        result[:, np.array(columns)] = softmax(outcomes, axis=1)[:, 1:]
    return result
