"""Whether a file is a sound annotation store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ethoprism.errors import ProjectError
from ethoprism.store.operations import read_state, table_digest
from ethoprism.store.schema import APPLICATION_ID, COLUMNS, SCHEMA_VERSION, TABLES

_STORAGE = tuple(
    f"SQLITE_{name}"
    for name in ("BUSY", "LOCKED", "READONLY", "IOERR", "FULL", "CANTOPEN", "PERM", "NOMEM")
)
# Pages full of garbage may also give an error message that is no text.
UNSOUND = (sqlite3.Error, UnicodeError)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes durably."""
    db = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    # A rollback journal, unlike WAL, is also safe on network drives; EXTRA also syncs the folder,
    # so that a committed edit outlives a power cut.
    try:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=EXTRA")
        _distrust(db)
    except BaseException:
        db.close()
        raise
    return db


def connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even the recovery of an interrupted transaction."""
    name = path.resolve().as_uri()
    db = sqlite3.connect(f"{name}?mode=ro", uri=True, isolation_level=None, timeout=10.0)
    db.execute("PRAGMA query_only=ON")
    _distrust(db)
    return db


def _distrust(db: sqlite3.Connection) -> None:
    """A file from elsewhere may call no function from its schema, and its pages are checked."""
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA cell_size_check=ON")


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The schema version; 0 for an empty file.

    Raises
    ------
    ProjectError
        If it is another kind of file, or from a newer EthoPrism.
    sqlite3.DatabaseError
        If it cannot be read at all.
    """
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    application = db.execute("PRAGMA application_id").fetchone()[0]
    if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return 0
    if application != APPLICATION_ID:
        raise unreadable(path, "another kind of SQLite file")
    if version > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} was written by a newer EthoPrism",
            expected=f"schema version {SCHEMA_VERSION} or older",
            found=f"version {version}",
            remedy="Update EthoPrism. The file was not touched.",
        )
    return version


def problems_of(db: sqlite3.Connection, *, quick: bool = False) -> list[str]:
    """What is wrong with a store of this schema; an empty list if nothing is.

    Pages are checked by SQLite, and the content of every table against the digest that its last
    operation left. With ``quick`` the indexes are not compared with their tables.
    """
    try:
        found = {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = [name for name in TABLES if name not in found]
        if missing:
            return [f"it has no table {', '.join(missing)}"]
        strange = db.execute(
            "SELECT name FROM sqlite_master WHERE type NOT IN ('table', 'index') "
            "OR sql LIKE 'CREATE VIRTUAL%'"
        ).fetchall()
        if strange:  # it would run with every edit
            return [f"it has a trigger, a view or a virtual table: {strange[0][0]!r}"]
        check = "quick_check" if quick else "integrity_check"
        pages = [row[0] for row in db.execute(f"PRAGMA {check}(3)")]
        if pages != ["ok"]:
            return [str(page) for page in pages]
        state = read_state(db)
        problems = []
        for table in COLUMNS:
            count = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            if count != state.digests[table][0]:
                problems.append(f"{table} has {count} rows, not {state.digests[table][0]}")
            elif table_digest(db, table) != state.digests[table]:
                problems.append(f"{table} does not hold what was last saved")
        return problems
    except (sqlite3.Error, KeyError, ValueError, TypeError) as error:
        if isinstance(error, sqlite3.Error) and is_storage(error):
            raise
        return [str(error)]


class NewerSchema(ProjectError):
    """A store that a newer EthoPrism wrote; it is not damaged."""


def unreadable(path: Path, found: str) -> ProjectError:
    """The error for a file that is no annotation store and that nothing can be made of."""
    return ProjectError(
        f"{path} cannot be read as an annotation store",
        expected="the SQLite file that EthoPrism made",
        found=found,
        remedy="It was not changed. Put a copy of it aside, then restore it from a backup; the "
        "folder annotations/ beside it holds a CSV of every recording as last saved.",
    )


def is_storage(error: Exception) -> bool:
    """Whether an error tells of the disk or of other processes, and not of the file's content."""
    name = getattr(error, "sqlite_errorname", "")
    return name.startswith(_STORAGE)
