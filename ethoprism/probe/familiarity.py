"""Whether a recording looks like those that a probe was trained on.

Tokens of a frame are averaged. Of each feature of these averages, the training rows have a mean and
a deviation. How far a recording lies from them is the root mean square, over the features, of its
mean's distance in deviations. How far the training recordings lie from each other says how much is
usual: each is compared with all others, and a recording is unfamiliar beyond the largest of these
distances times `MARGIN`. With one training recording, blocks of it are compared, and the margin is
larger, since blocks of one recording are more alike than recordings are.

It is a rough guard: it notices another camera, arena, light or animal. It can't notice a behaviour
that looks new in a familiar picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Shaped

MARGIN = 2.0
BLOCK_MARGIN = 4.0
LEAST_LIMIT = 0.5
"""Half a deviation is never called unfamiliar."""
_BLOCKS = 10


@dataclass(frozen=True)
class Moments:
    """Sums over rows of each feature, of its square, and the number of rows."""

    count: int
    total: Float[np.ndarray, " width"]
    squares: Float[np.ndarray, " width"]

    @classmethod
    def of(cls, rows: Float[np.ndarray, "rows width"]) -> Moments:
        """Of rows' averages."""
        x = rows.astype(np.float64)
        return cls(len(x), x.sum(axis=0), np.square(x).sum(axis=0))

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> Float[np.ndarray, " width"]:
        """Mean of each feature."""
        return self.total / max(self.count, 1)

    @property
    def deviation(self) -> Float[np.ndarray, " width"]:
        """Deviation of each feature, with a floor that keeps constant ones from counting."""
        variance = self.squares / max(self.count, 1) - np.square(self.mean)
        deviation = np.sqrt(np.maximum(variance, 0))
        return np.maximum(deviation, 1e-2 * float(deviation.mean()) + 1e-6)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What is usual among the training recordings.

    Attributes
    ----------
    mean, deviation
        float32 ``[width]`` of the training rows' average tokens.
    limit
        Distance beyond which a recording is unfamiliar.
    distances
        Of each training recording, or block, from the others.
    """

    mean: Float32[np.ndarray, " width"]
    deviation: Float32[np.ndarray, " width"]
    limit: float
    distances: Mapping[str, float]

    @classmethod
    def learn(cls, rows: Mapping[str, Sequence[np.ndarray]]) -> Familiarity:
        """From the average tokens ``[rows, width]`` of each recording's pieces."""
        parts = {name: np.concatenate(pieces) for name, pieces in rows.items()}
        margin = MARGIN
        if len(parts) == 1:
            margin = BLOCK_MARGIN
            (name, whole), n = next(iter(parts.items())), _BLOCKS
            cut = np.array_split(whole, min(n, len(whole)))
            parts = {f"{name}, block {i + 1} of {len(cut)}": p for i, p in enumerate(cut)}
        moments = {name: Moments.of(part) for name, part in parts.items()}
        distances = {}
        for name, mine in moments.items():
            others = [m for other, m in moments.items() if other != name]
            if others:
                rest = _summed(others)
                distances[name] = _distance(mine.mean, rest.mean, rest.deviation)
        whole = _summed(list(moments.values()))
        limit = max(margin * max(distances.values(), default=np.inf), LEAST_LIMIT)
        return cls(
            whole.mean.astype(np.float32),
            whole.deviation.astype(np.float32),
            float(limit),
            distances,
        )

    def distance(self, seen: Moments) -> float:
        """How far a recording lies from the training rows, in their deviations."""
        return _distance(seen.mean, self.mean, self.deviation)

    def note(self, name: str, seen: Moments) -> str:
        """A warning where a recording is unfamiliar, else empty."""
        if not seen.count:
            return ""
        distance = self.distance(seen)
        if distance <= self.limit:
            return ""
        usual = max(self.distances.values(), default=0.0)
        return (
            f"{name} looks unlike the recordings that the probe was trained on: its tokens lie "
            f"{distance:.1f} deviations from theirs, which lie up to {usual:.1f} from each other. "
            "Camera, light, arena or animal may differ. Check its predictions by eye, or label "
            "some of it and train again."
        )

    def to_dict(self) -> dict[str, Any]:
        """What a card says; the mean and deviation are among the parameters."""
        return {"limit": self.limit, "distances": dict(self.distances)}

    def parameters(self) -> dict[str, np.ndarray]:
        """What is kept among the parameters."""
        return {"familiarity.mean": self.mean, "familiarity.deviation": self.deviation}

    @classmethod
    def of_probe(
        cls, parameters: Mapping[str, np.ndarray], training: Mapping[str, Any], width: int
    ) -> Familiarity | None:
        """What a probe knows; ``None`` for probes from before it was kept.

        Raises
        ------
        ValueError, TypeError
            If what it says does not fit.
        """
        stated = training.get("familiarity")
        mean = parameters.get("familiarity.mean")
        deviation = parameters.get("familiarity.deviation")
        if stated is None or mean is None or deviation is None:
            return None
        if mean.shape != (width,) or deviation.shape != (width,) or not (deviation > 0).all():
            raise ValueError("what it knows of its training rows is of another width")
        limit = np.inf if stated["limit"] is None else float(stated["limit"])
        distances = {str(k): float(v) for k, v in stated["distances"].items() if v is not None}
        return cls(mean, deviation, limit, distances)


def average_tokens(
    inputs: Shaped[np.ndarray, "rows *rest"], width: int
) -> Float32[np.ndarray, "rows width"]:
    """Each row's average token, of tokens or of descriptors (of which it is the first part)."""
    if inputs.ndim == 2:
        return inputs[:, :width].astype(np.float32)
    return inputs.mean(axis=1, dtype=np.float32)


def _summed(moments: Sequence[Moments]) -> Moments:
    result = moments[0]
    for other in moments[1:]:
        result = result + other
    return result


def _distance(mean: np.ndarray, reference: np.ndarray, deviation: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square((mean - reference) / deviation))))
