"""The CSV mirror: every recording's labels as plain text, for eyes and for version control.

It is never read back. ``.mirror.json`` beside the files says up to which operation each was
written, so that files that are behind after a crash are noticed and written anew.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

from ethoprism.annotation import BOUT_COLUMNS, SPAN_COLUMNS
from ethoprism.errors import InputError, StorageError
from ethoprism.files import storage_error
from ethoprism.recording import check_name
from ethoprism.safety import guard_cell

_FILES = (("bouts", BOUT_COLUMNS, ""), ("spans", SPAN_COLUMNS, ".observed"))
# Writing a mirror may take this share of the time in which edits are made; a long recording's is
# then written less often than it is edited.
_SHARE = 0.05
_QUICK_S = 0.01


class Mirror:
    """The mirror of one store.

    Parameters
    ----------
    folder
        Where the files lie, or ``None`` for no mirror.

    Attributes
    ----------
    problem
        Why the last write failed, or an empty string. A mirror that could not be written is no
        edit lost; it is written later.
    """

    def __init__(self, folder: Path | None):
        self.folder = folder
        self.problem = ""
        self._due: set[str] = set()
        self._cost: dict[str, float] = {}
        self._last: dict[str, float] = {}

    def changed(self, db: sqlite3.Connection, recordings: Iterable[str]) -> None:
        """Note that recordings were edited, and write those whose turn it is."""
        self._due.update(recordings)
        moment = time.monotonic()
        turn = [
            name
            for name in sorted(self._due)
            if self._cost.get(name, 0.0) < _QUICK_S
            or (moment - self._last[name]) * _SHARE > self._cost[name]
        ]
        self.write(db, turn)

    def flush(self, db: sqlite3.Connection) -> None:
        """Write all that is due."""
        self.write(db, sorted(self._due))

    def find_stale(self, db: sqlite3.Connection) -> None:
        """Note which recordings' files are not as the database has them."""
        if self.folder is None:
            return
        known = self._known()
        for name, n in db.execute("SELECT recording, n FROM touched"):
            if known.get(name) != [n, *self._sizes(name)]:
                self._due.add(name)

    def write(self, db: sqlite3.Connection, recordings: Iterable[str]) -> None:
        """Write recordings' files; a failure is kept in ``problem`` and raises nothing."""
        names = list(recordings)
        # A database from elsewhere may name recordings that would lead out of the folder.
        safe = [name for name in names if _names_a_file(name)]
        self._due.difference_update(set(names) - set(safe))
        names = safe
        if self.folder is None or not names:
            self._due.difference_update(names)
            return
        try:
            known = self._known()
            for name in names:
                began = time.monotonic()
                for table, columns, suffix in _FILES:
                    _write_csv(db, table, columns, name, self.folder / f"{name}{suffix}.csv")
                n = db.execute("SELECT n FROM touched WHERE recording = ?", (name,)).fetchone()
                known[name] = [n[0] if n else 0, *self._sizes(name)]
                self._last[name] = time.monotonic()
                self._cost[name] = self._last[name] - began
            _replace(self.folder / ".mirror.json", json.dumps(known, indent=1, sort_keys=True))
        except (OSError, StorageError) as error:
            shown = storage_error(error, self.folder) if isinstance(error, OSError) else error
            self.problem = f"The CSV mirror is behind. {shown}"
            return
        self.problem = ""
        self._due.difference_update(names)

    def _known(self) -> dict[str, list[int]]:
        try:
            return json.loads((self.folder or Path()).joinpath(".mirror.json").read_text())
        except (OSError, ValueError):
            return {}

    def _sizes(self, recording: str) -> list[int]:
        sizes = []
        for _, _, suffix in _FILES:
            try:
                sizes.append(((self.folder or Path()) / f"{recording}{suffix}.csv").stat().st_size)
            except OSError:
                sizes.append(-1)
        return sizes


def _names_a_file(name: str) -> bool:
    try:
        check_name(name)
    except InputError:
        return False
    return True


def _write_csv(
    db: sqlite3.Connection, table: str, columns: tuple[str, ...], recording: str, path: Path
) -> None:
    rows = db.execute(
        f"SELECT {', '.join(columns)} FROM {table} WHERE recording = ? "  # noqa: S608
        "ORDER BY start_frame, id",
        (recording,),
    )
    temporary = path.with_name(f".{path.name}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow([guard_cell(v) if isinstance(v, str) else v for v in row])
    temporary.replace(path)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
