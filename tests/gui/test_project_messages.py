"""Messages are seen below the docks, whichever is in front, and take no room without cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ethoprism.errors import InputError

pytest.importorskip("napari")
pytestmark = pytest.mark.gui

from qtpy.QtWidgets import QDockWidget  # noqa: E402

from napari_ethoprism.project_dock import ProjectDock  # noqa: E402


def test_an_error_is_seen_in_front_of_any_dock_until_it_is_dismissed(
    make_napari_viewer: Callable[..., Any],
    qtbot: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    viewer = make_napari_viewer(show=True)
    _, bench = viewer.window.add_plugin_dock_widget("ethoprism", "EthoPrism")
    qtbot.waitUntil(lambda: bench._docked)
    window = viewer.window._qt_window
    (dock,) = (d for d in window.findChildren(QDockWidget, "ethoprism_messages"))
    (project,) = (w for w in bench.docks.values() if isinstance(w, ProjectDock))
    assert dock.isHidden()
    bench.show_dock("Labels")
    bench.session.notify(InputError("It does not fit", remedy="Take another."))
    qtbot.waitUntil(lambda: project.notices.message.isVisible())
    assert project.notices.message.text() == "It does not fit. Take another."
    qtbot.waitUntil(lambda: dock.height() < window.height() / 4)
    project.notices.dismiss_button.click()
    assert not project.notices.message.isVisible() and project.notices.text == ""
    viewer.window.remove_dock_widget("all")
    qtbot.waitUntil(lambda: not bench._parts)
    assert not [d for d in window.findChildren(QDockWidget, "ethoprism_messages") if d.isVisible()]
