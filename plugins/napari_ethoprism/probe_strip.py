"""BoutStrip: three pictures of a bout."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtCore import Signal as QtSignal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_ethoprism.review import Candidate
from napari_ethoprism.session import Session
from napari_ethoprism.thumbnailer import Thumbnailer


class BoutStrip(QWidget):
    """The first, middle and last frame of a bout; a click shows that frame."""

    clicked = QtSignal(int)

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self._files = Thumbnailer(session)
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self.pictures = [Picture(self) for _ in range(3)]
        for picture in self.pictures:
            self._layout.addWidget(picture, 1)
            picture.pressed.connect(self.clicked)
        self._files.ready.connect(self._ready)
        self._files.failed.connect(self._failed)

    def show_bout(self, item: Candidate) -> None:
        """Show a bout's pictures as they come."""
        last = item.stop - 1
        middle = (item.start + last) // 2
        for picture, frame, word in zip(
            self.pictures, (item.start, middle, last), ("start", "middle", "end"), strict=True
        ):
            place = (item.recording, item.subject, frame)
            if picture.place != place:
                picture.place = place
                picture.setToolTip(f"{word}: frame {frame}")
                image = self._files.request(*place)
                picture.show_image(image)

    def close_files(self) -> None:
        """Let go of the videos."""
        self._files.close()

    def _ready(self, recording: str, subject: str, frame: int, image: QImage) -> None:
        for picture in self.pictures:
            if picture.place == (recording, subject, frame):
                picture.show_image(image)

    def _failed(self, recording: str, subject: str, frame: int, problem: str) -> None:
        for picture in self.pictures:
            if picture.place == (recording, subject, frame):
                picture.setText("no picture")
                picture.setToolTip(problem)


class Picture(QLabel):
    """One thumbnail, which keeps its shape."""

    pressed = QtSignal(int)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.place: tuple[str, str, int] = ("", "", -1)
        self._image: QImage | None = None
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setMinimumSize(40, 40)
        self.setFixedHeight(8 * self.fontMetrics().height())
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def show_image(self, image: QImage | None) -> None:
        """Show an image, or nothing yet."""
        self._image = image
        self._fit()

    def resizeEvent(self, a0: Any) -> None:
        """Scale the image anew."""
        super().resizeEvent(a0)
        self._fit()

    def mousePressEvent(self, ev: Any) -> None:
        """Ask for the frame."""
        self.pressed.emit(self.place[2])

    def _fit(self) -> None:
        if self._image is None:
            self.clear()
            return
        ratio = self.devicePixelRatioF()
        size = self.size() * ratio
        picture = QPixmap.fromImage(self._image).scaled(
            size,
            Qt.AspectRatioMode.KeepAspectRatio,
            Qt.TransformationMode.SmoothTransformation,
        )
        picture.setDevicePixelRatio(ratio)
        self.setPixmap(picture)
