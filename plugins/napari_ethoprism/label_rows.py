"""BehaviourRows: the ethogram as a list, with what is labelled and predicted at the frame shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from qtpy.QtCore import QEvent, QModelIndex, QPointF, QRectF, QSize, Qt, Signal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QColor, QPainter, QPalette, QPen, QPolygonF
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from napari_ethoprism.label_keys import Run
from napari_ethoprism.label_summary import Now, Summary, duration

_NOW, _KEY, _NAME, _BOUTS, _TIME = range(5)
_SUMMARY = Qt.ItemDataRole.UserRole


class BehaviourRows(QTreeWidget):
    """The rows; a click chooses a behaviour, a double click edits it.

    Signals name the behaviour.
    """

    chosen = Signal(str)
    edited = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.now = Now()
        self.running: tuple[Run, ...] = ()
        self.subject = ""
        self.setColumnCount(5)
        self.setHeaderLabels(["", "Key", "Behaviour", "Bouts", "Time"])
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.setAllColumnsShowFocus(True)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setItemDelegate(_Painter(self))
        header = self.header()
        if header is not None:
            header.setStretchLastSection(False)
            header.setSectionsMovable(False)
            header.setSectionsClickable(False)
            for column in range(5):
                header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
            header.setMinimumSectionSize(1)
        self._tips()
        self._fit()
        self.itemClicked.connect(lambda item: self.chosen.emit(_name(item)))
        self.itemDoubleClicked.connect(lambda item: self.edited.emit(_name(item)))

    def show_rows(self, rows: Sequence[Summary]) -> None:
        """Show other rows; the chosen one stays chosen."""
        if [_summary(item) for item in self._items()] == list(rows):
            return
        self.setUpdatesEnabled(False)
        chosen = self.current()
        if [_summary(item).behaviour.name for item in self._items()] != [
            row.behaviour.name for row in rows
        ]:
            self.clear()
            self.addTopLevelItems([QTreeWidgetItem() for _ in rows])
        for item, row in zip(self._items(), rows, strict=True):
            _fill(item, row)
        self.choose(chosen)
        self._limit()
        self.setUpdatesEnabled(True)

    def show_now(self, now: Now, running: Iterable[Run], subject: str) -> None:
        """Show another frame's labels and what runs."""
        state = (now, tuple(running), subject)
        if state != (self.now, self.running, self.subject):
            self.now, self.running, self.subject = state
            view = self.viewport()
            if view is not None:
                view.update()

    def current(self) -> str:
        """The behaviour that is chosen, or empty."""
        item = self.currentItem()
        return "" if item is None else _name(item)

    def choose(self, name: str) -> None:
        """Choose a behaviour, or none."""
        found = next((item for item in self._items() if _name(item) == name), None)
        self.setCurrentItem(found)
        if found is None:
            self.clearSelection()

    def changeEvent(self, event: QEvent | None) -> None:
        super().changeEvent(event)
        kinds = (QEvent.Type.FontChange, QEvent.Type.StyleChange)
        if event is not None and event.type() in kinds:
            self._fit()

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), self.maximumHeight())

    def minimumSizeHint(self) -> QSize:
        return QSize(12 * self.fontMetrics().averageCharWidth(), 5 * self._row_height())

    def run_of(self, name: str) -> Run | None:
        """What runs of a behaviour: the focal subject's first."""
        mine = [run for run in self.running if run.behaviour == name]
        mine.sort(key=lambda run: run.subject != self.subject)
        return mine[0] if mine else None

    def _items(self) -> list[QTreeWidgetItem]:
        items = [self.topLevelItem(i) for i in range(self.topLevelItemCount())]
        return [item for item in items if item is not None]

    def _row_height(self) -> int:
        return round(self.fontMetrics().height() * 1.55)

    def _fit(self) -> None:
        metrics = self.fontMetrics()
        self.setColumnWidth(_NOW, round(metrics.height() * 2.2))
        self.setColumnWidth(_KEY, metrics.horizontalAdvance("Shift+W") + 4)
        self.setColumnWidth(_BOUTS, metrics.horizontalAdvance("50,000") + 10)
        self.setColumnWidth(_TIME, metrics.horizontalAdvance("10:00:00") + 14)
        self._limit()

    def _limit(self) -> None:
        """As high as the rows at most; also without rows, or the dock would have no end."""
        rows = max(self.topLevelItemCount(), 3)
        self.setMaximumHeight(round((rows + 1.6) * self._row_height()))

    def _tips(self) -> None:
        head = self.headerItem()
        if head is None:
            return
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for column in (_BOUTS, _TIME):
            head.setTextAlignment(column, right)
        head.setToolTip(
            _NOW,
            "At the frame shown: filled is labelled present, a ring is observed and absent, "
            "nothing is not observed. The arc is the predicted probability.",
        )
        head.setToolTip(_BOUTS, "Bouts in this recording, of the subject")
        head.setToolTip(_TIME, "How long they last together")


class _Painter(QStyledItemDelegate):
    """Paints keys as caps, names with their colour, and the state at the frame shown."""

    def __init__(self, view: BehaviourRows) -> None:
        super().__init__(view)
        self._view = view

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        size = super().sizeHint(option, index)
        return QSize(size.width(), self._view._row_height())

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        if painter is None:
            return
        row: Summary = index.siblingAtColumn(0).data(_SUMMARY)
        name, colour = row.behaviour.name, QColor(row.behaviour.colour)
        box = QRectF(option.rect)
        run = self._view.run_of(name)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = option.palette.color(QPalette.ColorRole.Text)
        if option.state & QStyle.StateFlag.State_Selected:
            tint = QColor(option.palette.color(QPalette.ColorRole.Highlight))
            tint.setAlphaF(0.35)
            painter.fillRect(box, tint)
        if run is not None:
            glow = QColor(colour)
            glow.setAlphaF(0.30)
            painter.fillRect(box, glow)
        if index.column() == _NOW:
            self._paint_now(painter, box, row, text)
        elif index.column() == _KEY:
            self._paint_key(painter, box, row.key, text)
        elif index.column() == _NAME:
            self._paint_name(painter, box, row, run, text)
        else:
            faint = QColor(text)
            faint.setAlphaF(1.0 if row.bouts else 0.45)
            painter.setPen(faint)
            flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(box.adjusted(2, 0, -6, 0), flags, str(index.data() or ""))
        painter.restore()

    def _paint_now(self, painter: QPainter, box: QRectF, row: Summary, text: QColor) -> None:
        now, name = self._view.now, row.behaviour.name
        side = self._view.fontMetrics().height() * 0.62
        place = QRectF(0, 0, side, side)
        place.moveCenter(box.center() + QPointF(side * 0.35, 0))
        colour = QColor(row.behaviour.colour)
        if row.group >= 0:
            self._paint_bracket(painter, box, row, text)
        if name in now.present:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawEllipse(place.adjusted(1, 1, -1, -1))
        elif name in now.observed:
            faint = QColor(text)
            faint.setAlphaF(0.55)
            painter.setPen(QPen(faint, 1.2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(place.adjusted(2, 2, -2, -2))
        chance = (now.probability or {}).get(name)
        if chance is not None:
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(colour, 2.0))
            wide = place.adjusted(-2, -2, 2, 2)
            painter.drawArc(wide, 90 * 16, -round(360 * 16 * chance))

    def _paint_bracket(self, painter: QPainter, box: QRectF, row: Summary, text: QColor) -> None:
        """A line down the left joins the members of an exclusive group."""
        faint = QColor(text)
        faint.setAlphaF(0.5)
        painter.setPen(QPen(faint, 1.4))
        x, middle = box.left() + 3.5, box.center().y()
        above, below = (self._same_group(row, step) for step in (-1, 1))
        painter.drawLine(
            QPointF(x, box.top() if above else middle),
            QPointF(x, box.bottom() if below else middle),
        )
        if not (above and below):
            painter.drawLine(QPointF(x, middle), QPointF(x + 3, middle))

    def _same_group(self, row: Summary, step: int) -> bool:
        items = [_summary(item) for item in self._view._items()]
        at = items.index(row) + step
        return 0 <= at < len(items) and items[at].group == row.group

    def _paint_key(self, painter: QPainter, box: QRectF, key: str, text: QColor) -> None:
        if not key:
            return
        metrics = self._view.fontMetrics()
        height = metrics.height() + 2
        width = max(metrics.horizontalAdvance(key) + 10, height)
        cap = QRectF(box.left() + 1, box.center().y() - height / 2, width, height)
        line, fill = QColor(text), QColor(text)
        line.setAlphaF(0.45)
        fill.setAlphaF(0.07)
        painter.setPen(QPen(line, 1))
        painter.setBrush(fill)
        painter.drawRoundedRect(cap, 3, 3)
        painter.setPen(text)
        painter.drawText(cap, Qt.AlignmentFlag.AlignCenter, key)

    def _paint_name(
        self, painter: QPainter, box: QRectF, row: Summary, run: Run | None, text: QColor
    ) -> None:
        metrics = self._view.fontMetrics()
        side = metrics.height() * 0.72
        sign = QRectF(box.left() + 3, box.center().y() - side / 2, side, side)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(row.behaviour.colour))
        if row.behaviour.kind == "point":
            c = sign.center()
            half = side / 2
            painter.drawPolygon(
                QPolygonF(
                    [
                        QPointF(c.x(), c.y() - half),
                        QPointF(c.x() + half, c.y()),
                        QPointF(c.x(), c.y() + half),
                        QPointF(c.x() - half, c.y()),
                    ]
                )
            )
        else:
            painter.drawRoundedRect(sign, 2.5, 2.5)
        space = box.adjusted(side + 10, 0, -2, 0)
        shown = row.behaviour.name if row.known else f"{row.behaviour.name} (not in the ethogram)"
        font = painter.font()
        font.setBold(run is not None)
        font.setItalic(not row.known)
        painter.setFont(font)
        painter.setPen(text)
        note = "" if run is None else _run_note(run, self._view.subject)
        room = painter.fontMetrics().horizontalAdvance(note) + 6 if note else 0
        left = space.adjusted(0, 0, -room, 0)
        name = painter.fontMetrics().elidedText(
            shown, Qt.TextElideMode.ElideRight, int(left.width())
        )
        flags = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(left, flags | Qt.AlignmentFlag.AlignLeft, name)
        if note:
            painter.drawText(space, flags | Qt.AlignmentFlag.AlignRight, note)


def _run_note(run: Run, subject: str) -> str:
    start, stop = run.frames
    whose = f"{run.subject}: " if run.subject and run.subject != subject else ""
    sign = "✕" if run.kind == "erase" else "●"
    return f"{whose}{sign} {stop - start:,}"


def _fill(item: QTreeWidgetItem, row: Summary) -> None:
    item.setData(_NOW, _SUMMARY, row)
    item.setText(_NAME, row.behaviour.name)
    item.setText(_BOUTS, f"{row.bouts:,}")
    item.setText(_TIME, duration(row.seconds) if row.behaviour.kind == "state" else "")
    lines = [row.behaviour.definition] if row.behaviour.definition else []
    lines.append("A point event: one frame." if row.behaviour.kind == "point" else "A state.")
    if row.rivals:
        lines.append(f"Excludes: {', '.join(row.rivals)}.")
    lines.append("Click to choose it, double-click to edit it.")
    for column in (_KEY, _NAME):
        item.setToolTip(column, f"<qt>{'<br>'.join(map(escape, lines))}</qt>")


def _summary(item: QTreeWidgetItem) -> Summary:
    return item.data(_NOW, _SUMMARY)


def _name(item: QTreeWidgetItem) -> str:
    return _summary(item).behaviour.name
