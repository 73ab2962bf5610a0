"""Toy recordings and probes that the tests of probes share."""

from __future__ import annotations

import pytest
from probe_samples import recording, trained

from ethoprism.probe.batches import LabelledTokens
from ethoprism.probe.checkpoint import Probe
from ethoprism.probe.heads import HEADS


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledTokens]:
    folder = tmp_path_factory.mktemp("tokens")
    return [recording(folder, name, i) for i, name in enumerate("abcd")]


@pytest.fixture(scope="session")
def probes(data: list[LabelledTokens]) -> dict[str, Probe]:
    """One of each head."""
    return {head: trained(data, head=head) for head in HEADS}


@pytest.fixture(scope="session")
def probe(probes: dict[str, Probe]) -> Probe:
    return probes["attentive"]
