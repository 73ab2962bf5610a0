"""The table of hostile videos in the manual is true, and no cell of it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from video_matrix import COLUMNS, table_of  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "video-matrix.md"


@pytest.mark.slow
def test_frame_n_is_the_same_frame_on_every_path(
    make_napari_viewer: Callable[..., Any], tmp_path: Path
):
    page, rows = table_of(make_napari_viewer, tmp_path)
    for row in rows:
        assert len({row[column] for column in COLUMNS}) == 1, row
        assert "WRONG" not in row.values(), row
    assert sum("lost" in row["CSV"] for row in rows) >= 4
    assert page == PAGE.read_text(encoding="utf-8"), "run: python tests/video_matrix.py " + str(
        PAGE
    )
