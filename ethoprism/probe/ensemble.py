"""The networks of a probe with their calibrations: what gives probabilities.

A probe has one network, or several whose calibrated probabilities are averaged. Parameters are kept
in one table: ``head.…`` and ``standardise.…`` of the network, ``calibration.…``, each behind
``member0.``, ``member1.``, … where there are several. ``familiarity.…`` is no network's (see
`ethoprism.probe.familiarity`).

Source of averaging: Lakshminarayanan, Pritzel, Blundell, Simple and Scalable Predictive Uncertainty
Estimation using Deep Ensembles, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float32, Shaped

from ethoprism.errors import ProjectError
from ethoprism.probe.calibration import Calibration
from ethoprism.probe.fitting import RowLogits
from ethoprism.probe.losses import Groups
from ethoprism.probe.model import ProbeNetwork, ProbeShape

_CALIBRATION = "calibration."
NOT_OF_NETWORKS = "familiarity."


@dataclass(frozen=True, eq=False)
class Member:
    """A network and the calibration of its logits."""

    network: ProbeNetwork
    calibration: Calibration

    def parameters(self) -> dict[str, np.ndarray]:
        """Everything that is learnt, by path."""
        return {
            **parameters_of(self.network),
            f"{_CALIBRATION}scale": self.calibration.scale,
            f"{_CALIBRATION}offset": self.calibration.offset,
        }


class MeanProbability:
    """Probabilities of rows that come piece by piece: the mean over a probe's members."""

    def __init__(self, members: Sequence[Member], groups: Groups):
        self._members = [(RowLogits(m.network), m.calibration) for m in members]
        self._groups = groups

    def each(
        self, inputs: Shaped[np.ndarray, "rows *rest"], valid: Bool[np.ndarray, " rows"]
    ) -> Float32[np.ndarray, "members inner behaviours"]:
        """What each member says (see `ethoprism.probe.fitting.RowLogits`)."""
        return np.stack(
            [
                calibration.probability(logits(inputs, valid), self._groups)
                for logits, calibration in self._members
            ]
        )

    def __call__(
        self, inputs: Shaped[np.ndarray, "rows *rest"], valid: Bool[np.ndarray, " rows"]
    ) -> Float32[np.ndarray, "inner behaviours"]:
        """The mean over the members."""
        return self.each(inputs, valid).mean(axis=0, dtype=np.float32)


def joined_parameters(members: Sequence[Member]) -> dict[str, np.ndarray]:
    """The table of all members' parameters."""
    if len(members) == 1:
        return members[0].parameters()
    return {
        f"member{index}.{name}": value
        for index, member in enumerate(members)
        for name, value in member.parameters().items()
    }


def build(shape: ProbeShape, parameters: Mapping[str, np.ndarray]) -> list[Member]:
    """The members of a probe; a `ProjectError` if the parameters do not fit them.

    Probes from before there was calibration have none, and are taken as they are.
    """
    own = {k: v for k, v in parameters.items() if not k.startswith(NOT_OF_NETWORKS)}
    if shape.members == 1:
        return [_member(shape, own)]
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(shape.members)]
    for name, value in own.items():
        head, _, rest = name.partition(".")
        number = head.removeprefix("member")
        if not (number.isascii() and number.isdigit() and int(number) < shape.members and rest):
            raise _unfit(name)
        parts[int(number)][rest] = value
    return [_member(shape, part) for part in parts]


def _member(shape: ProbeShape, parameters: dict[str, np.ndarray]) -> Member:
    own = {k: v for k, v in parameters.items() if not k.startswith(_CALIBRATION)}
    rest = {k.removeprefix(_CALIBRATION): v for k, v in parameters.items() if k not in own}
    calibration = Calibration.none(shape.behaviours)
    if rest:
        shapes = {name: value.shape for name, value in rest.items()}
        if shapes != dict.fromkeys(("scale", "offset"), (shape.behaviours,)):
            raise _unfit(", ".join(f"calibration {name} {s}" for name, s in shapes.items()))
        calibration = Calibration(rest["scale"], rest["offset"])
    return Member(network_from(shape, own), calibration)


def network_from(shape: ProbeShape, parameters: Mapping[str, np.ndarray]) -> ProbeNetwork:
    """The network with parameters by path; a `ProjectError` if they do not fit it."""
    network = nnx.eval_shape(lambda: ProbeNetwork(shape, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(network)
    flat = {".".join(map(str, path)): leaf for path, leaf in nnx.to_flat_state(state)}
    expected = {name: tuple(leaf.get_value().shape) for name, leaf in flat.items()}
    found = {name: tuple(value.shape) for name, value in parameters.items()}
    if expected != found:
        differing = sorted(set(expected.items()) ^ set(found.items()))
        raise _unfit(", ".join(f"{name} {shape}" for name, shape in differing))
    filled = [
        (path, leaf.replace(jnp.asarray(parameters[".".join(map(str, path))])))
        for path, leaf in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def parameters_of(network: ProbeNetwork) -> dict[str, np.ndarray]:
    """Parameters and standardisation of a network, by path."""
    return {
        ".".join(map(str, path)): np.asarray(leaf.get_value())
        for path, leaf in nnx.to_flat_state(nnx.state(network))
    }


def _unfit(found: str) -> ProjectError:
    return ProjectError(
        "The probe's parameters do not fit its network", found=found, remedy="Train it again."
    )
