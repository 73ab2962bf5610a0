"""A program that labels at full typing speed and prints what the label dock shows as saved.

It is killed by `test_kill`. Each line names an edit that the dock showed as saved: its number and
its description.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from label_samples import N_FRAMES, show
from qtpy import QtTest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDockWidget, QMainWindow, QWidget

from ethoprism.project import Project
from napari_ethoprism.key_filter import KeyFilter
from napari_ethoprism.label_dock import LabelDock
from napari_ethoprism.session import Session


def main(folder: Path, seed: int) -> None:
    """Type until killed."""
    app = QApplication([])
    session = Session()
    window = QMainWindow()
    centre = QWidget()
    window.setCentralWidget(centre)
    dock = LabelDock(session)
    holder = QDockWidget()
    holder.setWidget(dock)
    window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, holder)
    keys = KeyFilter(session, window, folder.parent / "keys.json")
    window.show()
    session.open_project(Project.open(folder))
    rng = random.Random(seed)
    test: Any = QtTest.QTest  # the bindings type it differently
    told = 0

    def tell() -> None:
        nonlocal told
        labels = session.labels
        text = dock.saved.saved.text()
        if labels is None or not text.startswith("Saved"):
            return
        newest = int(text.partition("(edit ")[2].rstrip(")"))
        for edit in labels.history:
            if told < edit.id <= newest:
                print(f"{edit.id}\t{edit.description}", flush=True)
        told = max(told, newest)

    def type_key() -> None:
        frame = session.frame or 0
        show(session, (frame + rng.randint(1, 9)) % N_FRAMES)
        test.keyClicks(centre, rng.choice("wrgt"))

    show(session, 0)
    typing, telling = QTimer(), QTimer()
    typing.timeout.connect(type_key)
    telling.timeout.connect(tell)
    typing.start(25)  # forty keys a second; a fast typist makes ten
    telling.start(5)
    app.exec()
    keys.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
