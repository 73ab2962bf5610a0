"""What the tests of the napari plugin share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest


@pytest.fixture
def make_napari_viewer(
    make_napari_viewer: Callable[..., Any], qtbot: Any
) -> Iterator[Callable[..., Any]]:
    """napari's factory of viewers; their docks go before them, and what they do then is awaited.

    napari's own fixture closes a viewer and looks at once for what is left of it. A workbench whose
    jobs are still ending is not left over.
    """
    viewers: list[Any] = []

    def made(*args: Any, **options: Any) -> Any:
        viewers.append(make_napari_viewer(*args, **options))
        return viewers[-1]

    yield made
    while viewers:
        with suppress(AttributeError, RuntimeError):  # closed by the test
            viewers.pop().window.remove_dock_widget("all")
    qtbot.wait(50)
