"""The lock of a store: one process writes, and the others are told who it is.

The lock is the operating system's, on the file ``annotations.lock``; it ends with its process,
however that ends. The text in the file only names the holder, and means nothing without the lock.
On network drives the server keeps it, where the drive supports locks.
"""

from __future__ import annotations

import contextlib
import errno
import getpass
import json
import os
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from ethoprism.errors import ProjectError, StorageError
from ethoprism.files import storage_error
from ethoprism.store.schema import now

_WAIT_S = 0.5
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# On Windows a locked byte cannot be read, so one far behind the text is locked.
_BYTE = 1 << 30


@dataclass(frozen=True)
class Holder:
    """Who has a store open for writing."""

    user: str
    host: str
    pid: int
    since: str
    program: str

    @classmethod
    def me(cls) -> Holder:
        """This process."""
        program = Path(sys.argv[0] if sys.argv and sys.argv[0] else sys.executable).name
        return cls(user_name(), socket.gethostname(), os.getpid(), now(), program)

    def __str__(self) -> str:
        return (
            f"{self.user} on {self.host} ({self.program}, process {self.pid}, since {self.since})"
        )


def user_name() -> str:
    """The login name of whoever runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "unknown"


class Locked(ProjectError):
    """Somebody else has the store open for writing."""

    def __init__(self, path: Path, holder: Holder | None):
        self.holder = holder
        super().__init__(
            f"The labels {path.name} are open for writing elsewhere",
            found=str(holder) if holder else "a holder that is not named",
            remedy="Close it there, or look only: reading is possible meanwhile. If that process "
            "is ended in whatever way, the labels are free again at once.",
        )


class StoreLock:
    """The lock of one store, held from its making to `release`.

    Parameters
    ----------
    store
        The store's file.

    Raises
    ------
    Locked
        If another process, or another store in this one, holds it.
    StorageError
        If the folder cannot be written, or its drive has no locks.
    """

    def __init__(self, store: Path, wait_s: float = _WAIT_S):
        path = lock_path(store)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise storage_error(error, path) from error
        deadline = time.monotonic() + wait_s
        try:
            while not _try_lock(self._file, path):
                if time.monotonic() > deadline:
                    raise Locked(store, _named(path))
                time.sleep(0.02)
        except BaseException:
            self._file.close()
            raise
        with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
            self._write(json.dumps(asdict(Holder.me())))

    def release(self) -> None:
        """Give the lock back."""
        if not self._file.closed:
            with contextlib.suppress(OSError):
                self._write("")
            _unlock(self._file)
            self._file.close()

    def _write(self, text: str) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._file.write(text.encode())
        self._file.flush()


def lock_path(store: Path) -> Path:
    """Where the lock of a store lies."""
    return store.with_suffix(".lock")


def holder_of(store: Path) -> Holder | None:
    """Who holds the lock of a store; ``None`` if nobody does, or nothing can be found out.

    Nothing is written.
    """
    path = lock_path(store)
    try:
        with path.open("rb") as file:
            if _try_lock(file, path, shared=True):
                _unlock(file)
                return None
    except (OSError, StorageError):
        return None
    return _named(path) or Holder("unknown", "unknown", 0, "", "unknown")


def _named(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _try_lock(file: IO[bytes], path: Path, *, shared: bool = False) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            # On NFS the kernel turns this into a lock at the server.
            kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
            fcntl.flock(file.fileno(), kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise StorageError(
                f"The drive of {path} has no file locks",
                found=error.strerror or str(error),
                remedy="Two people writing at once could not be kept apart there. Put the project "
                "on another drive, or have the drive mounted with locks.",
            ) from error
        if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK):
            raise storage_error(error, path) from error
        return False
    return True


def _unlock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
