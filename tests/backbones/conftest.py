"""The oracle: numbers of the official implementation (see ``tests/golden/videoprism``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "videoprism"


@pytest.fixture(scope="session")
def golden_dir() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def cases() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "cases.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


@pytest.fixture(scope="session")
def meta() -> dict[str, Any]:
    return json.loads((GOLDEN / "meta.json").read_text())
