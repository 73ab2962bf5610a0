"""RecordingTable: the recordings of a project with their states, a row each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QDragEnterEvent,
    QDropEvent,
    QKeyEvent,
    QPainter,
    QPalette,
    QResizeEvent,
)
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from ethoprism.overview import RecordingState
from napari_ethoprism.looks import is_dark, tone
from napari_ethoprism.project_rows import COLUMNS, Cell, cells

_Index = QModelIndex | QPersistentModelIndex
_RIGHT = (1, 2)
_BAR = Qt.ItemDataRole.UserRole
_NOWHERE = QModelIndex()


class RecordingModel(QAbstractTableModel):
    """Rows of `project_rows.cells`. A recording whose state is not read yet shows its name."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._widget = parent
        self.names: list[str] = []
        self._rows: list[tuple[Cell, ...]] = []
        self._problems: list[bool] = []
        self.shown = ""

    def set(self, names: Sequence[str], states: dict[str, RecordingState], shown: str) -> None:
        """Show these recordings; ``shown`` is the one that the viewer shows."""
        rows = [
            cells(states[name]) if name in states else (Cell(name), *(Cell("…"),) * 5)
            for name in names
        ]
        problems = [name in states and bool(states[name].problem) for name in names]
        if list(names) == self.names:
            changed = (rows, problems, shown) != (self._rows, self._problems, self.shown)
            self._rows, self._problems, self.shown = rows, problems, shown
            if rows and changed:
                last = self.index(len(rows) - 1, len(COLUMNS) - 1)
                self.dataChanged.emit(self.index(0, 0), last)
            return
        self.beginResetModel()
        self.names, self._rows, self._problems = list(names), rows, problems
        self.shown = shown
        self.endResetModel()
        self._widget.updateGeometry()

    def rowCount(self, parent: _Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: _Index = _NOWHERE) -> int:
        return len(COLUMNS)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation == Qt.Orientation.Horizontal:
            if role == Qt.ItemDataRole.DisplayRole:
                return COLUMNS[section]
            if role == Qt.ItemDataRole.TextAlignmentRole:
                return _alignment(section)
        return None

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        if not index.isValid() or not (0 <= row < len(self._rows)):
            return None
        cell = self._rows[row][column]
        if role == Qt.ItemDataRole.DisplayRole:
            return f"⚠ {cell.text}" if column == 0 and self._problems[row] else cell.text
        if role == Qt.ItemDataRole.ToolTipRole:
            return cell.tip
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == _BAR:
            return cell.share
        if role == Qt.ItemDataRole.ForegroundRole and column == 0 and self._problems[row]:
            return tone(self._widget, "warning")
        if role == Qt.ItemDataRole.FontRole and self.names[row] == self.shown and column == 0:
            font = self._widget.font()
            font.setBold(True)
            return font
        return None


class ShareDelegate(QStyledItemDelegate):
    """Draws a thin bar under the text of cells that tell a share."""

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        super().paint(painter, option, index)
        share = index.data(_BAR)
        if share is None or painter is None:
            return
        rect: Any = option.rect  # type: ignore[attr-defined]
        palette: Any = option.palette  # type: ignore[attr-defined]
        text = palette.color(QPalette.ColorRole.WindowText)
        groove = QRectF(rect.left() + 4, rect.bottom() - 4, rect.width() - 8, 2.5)
        ground, bar = QColor(text), QColor(text)
        ground.setAlphaF(0.15)
        bar.setAlphaF(0.65)
        if share >= 1:
            parent = self.parent()
            dark = isinstance(parent, QWidget) and is_dark(parent)
            bar = QColor("#6fcf97" if dark else "#2e7d4f")
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(ground)
        painter.drawRoundedRect(groove, 1.2, 1.2)
        if share > 0:
            groove.setWidth(max(groove.width() * share, 2.5))
            painter.setBrush(bar)
            painter.drawRoundedRect(groove, 1.2, 1.2)
        painter.restore()


class RecordingTable(QTableView):
    """The table; Enter or a double click shows a recording, files dropped on it are added."""

    opened = Signal(str)
    dropped = Signal(list)
    chosen_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows = RecordingModel(self)
        self.setModel(self.rows)
        self.setItemDelegate(ShareDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setAcceptDrops(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.DropOnly)
        self.setToolTip("Enter or a double click shows a recording")
        side: Any = self.verticalHeader()
        side.hide()
        side.setDefaultSectionSize(self.fontMetrics().height() + 14)
        header: Any = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setStyleSheet(
            "QHeaderView::section {background: transparent; border: none; padding: 3px 4px;}"
        )
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(self.fontMetrics().averageCharWidth() * 7)
        self.setMinimumHeight(self.fontMetrics().height() * 6)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.doubleClicked.connect(lambda index: self.opened.emit(self.rows.names[index.row()]))
        selection: Any = self.selectionModel()
        selection.selectionChanged.connect(lambda *_: self.chosen_changed.emit())

    @property
    def chosen(self) -> tuple[str, ...]:
        """The selected recordings, in the order of the project."""
        selection: Any = self.selectionModel()
        rows = sorted(index.row() for index in selection.selectedRows())
        return tuple(self.rows.names[row] for row in rows)

    def choose(self, *names: str) -> None:
        """Select these recordings."""
        self.clearSelection()
        selection: Any = self.selectionModel()
        for name in names:
            index = self.rows.index(self.rows.names.index(name), 0)
            flags = selection.SelectionFlag.Select | selection.SelectionFlag.Rows
            selection.select(index, flags)

    def sizeHint(self) -> QSize:
        """As high as its rows, within reason."""
        side: Any = self.verticalHeader()
        header: Any = self.horizontalHeader()
        rows = min(max(self.rows.rowCount(), 3), 12)
        return QSize(0, header.sizeHint().height() + rows * side.defaultSectionSize() + 4)

    def resizeEvent(self, e: QResizeEvent | None) -> None:
        super().resizeEvent(e)
        # Where there is little room, the length tells enough; hovering tells the frames.
        self.setColumnHidden(2, self.width() < self.fontMetrics().averageCharWidth() * 62)

    def keyPressEvent(self, e: QKeyEvent | None) -> None:
        if e is not None and e.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            index = self.currentIndex()
            if index.isValid():
                self.opened.emit(self.rows.names[index.row()])
                return
        super().keyPressEvent(e)

    def dragEnterEvent(self, e: QDragEnterEvent | None) -> None:
        _accept(e)

    def dragMoveEvent(self, e: Any) -> None:
        _accept(e)

    def dropEvent(self, event: QDropEvent | None) -> None:
        paths = dropped_paths(event)
        if paths and event is not None:
            event.acceptProposedAction()
            self.dropped.emit(paths)


def dropped_paths(event: Any) -> list[Path]:
    """The local files and folders of a drag."""
    data = None if event is None else event.mimeData()
    if data is None or not data.hasUrls():
        return []
    return [Path(url.toLocalFile()) for url in data.urls() if url.isLocalFile()]


def _accept(event: Any) -> None:
    if dropped_paths(event):
        event.acceptProposedAction()
    elif event is not None:
        event.ignore()


def _alignment(column: int) -> int:
    side = Qt.AlignmentFlag.AlignRight if column in _RIGHT else Qt.AlignmentFlag.AlignLeft
    return int((side | Qt.AlignmentFlag.AlignVCenter).value)
