"""One process that opens cases, so that a native crash, a hang or a full memory ends it alone.

Run as ``python tests/fuzz/worker.py``. Each line of the standard input is JSON: the target's name
and the folder of the case. Each line of the standard output is JSON: how it ended.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

# A module's first import would write its bytecode, which is no reader's doing.
sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from targets import TARGETS  # noqa: E402

from ethoprism.errors import EthoPrismError  # noqa: E402

MOST_BYTES = 3 * 2**29
"""Address space that one worker may take beyond what its imports take."""
_DANGEROUS = (
    "pickle.find_class",
    "socket.connect",
    "socket.getaddrinfo",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
)


class Watch:
    """Notes what no reader may do: unpickling, starting programs, connecting, writing elsewhere."""

    def __init__(self):
        self.case = ""
        self.seen: list[str] = []
        sys.addaudithook(self._event)

    def _event(self, event: str, values: tuple[object, ...]) -> None:
        if not self.case:
            return
        if event in _DANGEROUS:
            if values[:1] != ("uname",):  # the platform module of the standard library
                self.seen.append(f"{event} {values!r}"[:200])
        elif event == "open" and isinstance(values[0], str | bytes):
            flags = values[2]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            path = os.path.abspath(os.fsdecode(values[0]))  # noqa: PTH100 - called for every open
            if writes and not path.startswith((self.case, "/dev/")):
                self.seen.append(f"writes {path}"[:200])


def _misbehave(kind: str) -> None:
    """What no reader may do, on purpose, so that the tests know it is noticed."""
    if kind == "unnamed":
        raise KeyError("on purpose")
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "hang":
        time.sleep(100)
    if kind == "memory":
        bytearray(2 * MOST_BYTES)
    if kind == "escaped":
        pickle.loads(pickle.dumps(Path("a")))  # noqa: S301 - its own bytes


def _peak_kib() -> int:
    """The most memory that this program has had, in KiB.

    ``ru_maxrss`` would count that of the process which started this one: it outlives the exec.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


def main() -> None:
    """Answer cases until the standard input ends."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    watch = Watch()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_BYTES, used + MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prepared: set[str] = set()
    for line in sys.stdin:
        target, folder = json.loads(line)
        if target not in prepared and target in TARGETS:
            TARGETS[target].prepare()
            prepared.add(target)
        watch.case, watch.seen = folder, []
        outcome, detail = _run(target, Path(folder))
        watch.case = ""
        if watch.seen:
            outcome, detail = "escaped", "; ".join(watch.seen[:5])
        peak = _peak_kib()
        answers.write(json.dumps([outcome, detail, peak]) + "\n")
        answers.flush()


def _run(target: str, folder: Path) -> tuple[str, str]:
    try:
        if target.startswith("test: "):
            _misbehave(target.removeprefix("test: "))
        else:
            TARGETS[target].run(folder)
    except EthoPrismError as error:
        return "refused", type(error).__name__
    except MemoryError:
        return "memory", _where()
    except Exception as error:
        return "unnamed", f"{type(error).__name__}: {str(error)[:200]} {_where()}"
    return "opened", ""


def _where() -> str:
    """The deepest frames: first of EthoPrism, then of whatever raised."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    ours = [f for f in frames if "/ethoprism/" in f.filename]
    shown = [*ours[-2:], frames[-1]]
    return " < ".join(f"{Path(f.filename).name}:{f.lineno}" for f in reversed(shown))


if __name__ == "__main__":
    main()
