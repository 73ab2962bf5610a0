"""A probe that is only a name, thresholds and a digest, for tests of what shows predictions."""

from __future__ import annotations

import numpy as np

from ethoprism.prediction import Decision
from ethoprism.probe.checkpoint import Probe, save_probe
from ethoprism.probe.model import ProbeShape
from ethoprism.project import Project
from ethoprism.tokens import TokenKey


def save_toy_probe(project: Project) -> Probe:
    """The probe "p" of an untrained backbone, saved in the project, with thresholds of 0.5."""
    names = project.ethogram.names
    probe = Probe(
        name="p",
        behaviours=names,
        ethogram=project.ethogram,
        subject="",
        key=TokenKey("toy", "0" * 64, "float32", False, 1, 16, 4, 8, 6, 6, 1, 4),
        shape=ProbeShape(8, 2, 1),
        decision=Decision(dict.fromkeys(names, 0.5), dict.fromkeys(names, 1)),
        parameters={"weight": np.zeros(2, np.float32)},
        training={},
        metrics={},
    )
    save_probe(probe, project.probe_folder("p"))
    return probe
