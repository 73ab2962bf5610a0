"""Whether labels survive: kills, a full disk, a read-only folder, and torn files.

A child process labels and says on a pipe what it is about to do and what was saved; it is killed
with SIGKILL at a random moment. The parent opens the labels again and compares every row with a
model in memory. An edit is lost if it was acknowledged and is not there; a database is damaged if
opening finds more wrong with it than an unfinished edit.

The disk is filled on a small tmpfs where that can be mounted, and elsewhere by a limit on the size
of files. The folder is made read-only by its mode; as root, the child gives its rights up first.
A power cut is played on copies: the last pages of one file are cut off, zeroed or garbled, as by a
drive that had promised to have written them.

Run: python benchmarks/crash.py [--kills 1000] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from ethoprism.annotation import bout_table
from ethoprism.errors import EthoPrismError, StorageError
from ethoprism.store import AnnotationStore, Mode

N_FRAMES = {"r": 10**9}
RATE = 20.0
MAX_LIFE_S = 0.5
KILLS_PER_PROJECT = 100
UNFINISHED = "in the middle of an edit"
Change = tuple[dict[int, int], dict[int, int]]
Operation = list


@dataclass
class Model:
    """What the store should hold: stop frames by start frame, and the edits that made them."""

    rows: dict[int, int] = field(default_factory=dict)
    done: list[Change] = field(default_factory=list)
    undone: list[Change] = field(default_factory=list)

    def copy(self) -> Model:
        return Model(dict(self.rows), list(self.done), list(self.undone))

    def apply(self, operation: Operation) -> None:
        kind, *values = operation
        if kind == "undo":
            removed, added = self.done.pop()
            self.undone.append((removed, added))
            self._exchange(added, removed)
        elif kind == "redo":
            removed, added = self.undone.pop()
            self.done.append((removed, added))
            self._exchange(removed, added)
        else:
            start = values[0]
            removed = {start: self.rows[start]} if kind != "add" else {}
            added = {start: values[1]} if kind != "remove" else {}
            self._exchange(removed, added)
            self.done.append((removed, added))
            self.undone.clear()

    def _exchange(self, removed: dict[int, int], added: dict[int, int]) -> None:
        for start in removed:
            del self.rows[start]
        self.rows.update(added)


@dataclass
class Totals:
    """Counts over all trials."""

    kills: int = 0
    edits_acknowledged: int = 0
    edits_lost: int = 0
    databases_damaged: int = 0
    unfinished_edits_kept: int = 0
    hot_journals: int = 0
    undo_failures: int = 0
    mirror_failures: int = 0
    full_disk_refusals: int = 0
    torn_files: int = 0
    torn_recovered: int = 0
    torn_edits_lost: int = 0
    problems: list[str] = field(default_factory=list)

    def problem(self, text: str) -> None:
        if len(self.problems) < 10:
            self.problems.append(text)


def open_store(folder: Path, mode: Mode = "write") -> AnnotationStore:
    return AnnotationStore(
        folder / "annotations.sqlite", N_FRAMES, folder / "annotations", mode=mode
    )


def rows_of(store: AnnotationStore) -> dict[int, int]:
    return {row["start_frame"]: row["stop_frame"] for row in store.rows("bouts")}


def choose(model: Model, rng: random.Random, serial: int) -> Operation:
    """The next operation: mostly new bouts, and some of all else."""
    dice = rng.random()
    if dice < 0.08 and model.done:
        return ["undo"]
    if dice < 0.12 and model.undone:
        return ["redo"]
    if dice < 0.2 and model.rows:
        start = rng.choice(list(model.rows))
        return ["change", start, start + rng.randrange(1, 1000)]
    if dice < 0.25 and model.rows:
        return ["remove", rng.choice(list(model.rows))]
    return ["add", serial, serial + rng.randrange(1, 1000)]


def perform(store: AnnotationStore, operation: Operation) -> None:
    kind, *values = operation
    if kind == "undo":
        store.undo()
    elif kind == "redo":
        store.redo()
    elif kind == "add":
        row = {"recording": "r", "behaviour": "rest", "start_frame": values[0]}
        store.add(bout_table([{**row, "stop_frame": values[1]}]), description="add")
    else:
        (found,) = [r["id"] for r in store.rows("bouts") if r["start_frame"] == values[0]]
        if kind == "remove":
            store.remove([found], description="remove")
        else:
            store.change(found, stop_frame=values[1], description="change")


def label(folder: Path, model: Model, seed: int, rate: float, pipe: int) -> None:
    """What the child does until it is killed, or until the disk refuses 5 edits."""
    rng = random.Random(seed)
    store = open_store(folder)
    serial = seed * 10_000
    refused = 0
    while refused < 5:
        began = time.monotonic()
        operation = choose(model, rng, serial)
        serial += 1
        os.write(pipe, (json.dumps(["intent", operation]) + "\n").encode())
        try:
            perform(store, operation)
        except StorageError:
            refused += 1
            os.write(pipe, b'["refused"]\n')
            continue
        os.write(pipe, b'["saved"]\n')
        model.apply(operation)
        if rate:
            time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))
    store.close()


def in_child(work: Callable[[int], None], life_s: float | None) -> list[Operation]:
    """Run ``work`` in a fork and kill it after a while; what it said on its pipe is returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(reading)
            work(writing)
            code = 0
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.write(writing, (json.dumps(["error", repr(error)]) + "\n").encode())
        finally:
            os._exit(code)
    os.close(writing)
    if life_s is not None:
        time.sleep(life_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return [json.loads(line) for line in text.splitlines() if line.endswith(b"]")]


def follow(model: Model, said: list[Operation], totals: Totals) -> Operation | None:
    """Bring the model to what was acknowledged; the operation that was under way is returned."""
    intent = None
    for kind, *rest in said:
        if kind == "intent":
            intent = rest[0]
        elif kind == "saved" and intent is not None:
            model.apply(intent)
            totals.edits_acknowledged += 1
            intent = None
        elif kind == "refused":
            totals.full_disk_refusals += 1
            intent = None
        elif kind == "error":
            totals.problem(str(rest[0]))
    return intent


def settle(store: AnnotationStore, model: Model, intent: Operation | None, totals: Totals) -> None:
    """Compare the store with the model; an edit under way may be there or not, but whole."""
    found = rows_of(store)
    if intent is not None and found != model.rows:
        ahead = model.copy()
        ahead.apply(intent)
        if found == ahead.rows:
            model.apply(intent)
            totals.unfinished_edits_kept += 1
            return
    if found != model.rows:
        lost = len(set(model.rows.items()) ^ set(found.items()))
        totals.edits_lost += lost
        totals.problem(f"{lost} rows differ after {intent}")
        model.rows = found


def check_undo(store: AnnotationStore, model: Model, totals: Totals, steps: int) -> None:
    """Undo and redo some steps, comparing the first and the last state with the model."""
    trial = model.copy()
    count = min(steps, len(trial.done))
    for back in (["undo"], ["redo"]):
        for _ in range(count):
            perform(store, back)
            trial.apply(back)
        if rows_of(store) != trial.rows:
            totals.undo_failures += 1
            totals.problem(f"{back[0]} of {count} edits gave other rows")
    if store.undo() is None and model.done:
        totals.undo_failures += 1
    else:
        store.redo()


def check_mirror(folder: Path, model: Model, totals: Totals) -> None:
    path = folder / "annotations" / "r.csv"
    if not path.exists():
        if model.done:
            totals.mirror_failures += 1
        return
    table = pd.read_csv(path)
    if dict(zip(table["start_frame"], table["stop_frame"], strict=True)) != model.rows:
        totals.mirror_failures += 1
        totals.problem("the mirror differs from the labels")


def damaged(store: AnnotationStore) -> bool:
    return store.recovery is not None and any(UNFINISHED not in d for d in store.recovery.damage)


def kill_trials(
    scratch: Path, kills: int, rng: random.Random, totals: Totals
) -> list[tuple[Path, Model, Operation | None]]:
    """Kill at random moments; copies of folders with an unfinished transaction are returned."""
    images = []
    folder, model = scratch, Model()
    for i in range(kills):
        if i % KILLS_PER_PROJECT == 0:
            folder, model = scratch / f"kill{i}", Model()
        rate = RATE if i % 4 else 0.0  # every fourth as fast as it can
        before = model.copy()
        said = in_child(
            lambda pipe, f=folder, m=before, s=i + 1, r=rate: label(f, m, s, r, pipe),
            rng.uniform(0.0, MAX_LIFE_S),
        )
        totals.kills += 1
        intent = follow(model, said, totals)
        journal = folder / "annotations.sqlite-journal"
        if journal.exists():
            totals.hot_journals += 1
            if len(images) < 40:
                images.append((scratch / f"image{i}", model.copy(), intent))
                shutil.copytree(folder, images[-1][0])
        with open_store(folder) as store:
            totals.databases_damaged += damaged(store)
            settle(store, model, intent, totals)
            last = (i + 1) % KILLS_PER_PROJECT == 0 or i + 1 == kills
            check_undo(store, model, totals, 10**6 if last else 2)
        check_mirror(folder, model, totals)
        if i % 50 == 49:
            print(f"{i + 1} kills, {totals.edits_acknowledged} edits", file=sys.stderr)
    return images


@contextlib.contextmanager
def small_disk(scratch: Path) -> Iterator[Path | None]:
    """A file system of 2 MB, or ``None`` where one cannot be mounted."""
    place = scratch / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=False)


def full_disk_trials(scratch: Path, trials: int, rng: random.Random, totals: Totals) -> str:
    """Label until the disk refuses, then make room and compare."""
    with small_disk(scratch) as place:
        for i in range(trials):
            folder = (place or scratch) / f"full{i}"
            folder.mkdir()
            model = Model()
            open_store(folder).close()
            filler = folder / "filler"
            if place is not None:
                free = shutil.disk_usage(place).free
                filler.write_bytes(b"x" * max(0, free - rng.randrange(60_000, 300_000)))

            def work(pipe: int, f: Path = folder, m: Model = model, s: int = i + 1) -> None:
                if place is None:
                    limit = rng.randrange(60_000, 300_000)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                label(f, m.copy(), s, 0.0, pipe)

            intent = follow(model, in_child(work, None), totals)
            with open_store(folder, "read") as store:  # still full
                settle(store, model, intent, totals)
            filler.unlink(missing_ok=True)
            with open_store(folder) as store:
                totals.databases_damaged += damaged(store)
                settle(store, model, intent, totals)
                check_undo(store, model, totals, 10**6)
            check_mirror(folder, model, totals)
            shutil.rmtree(folder)
        return "a tmpfs of 2 MB" if place is not None else "a limit on the size of files"


def read_only_trials(scratch: Path, trials: int, totals: Totals) -> None:
    """Make the folder read-only: writing is refused clearly, and all is there to read."""
    for i in range(trials):
        folder, model = scratch / f"ro{i}", Model()
        said = in_child(lambda p, f=folder, s=i + 1: label(f, Model(), s, 0.0, p), 0.4)
        intent = follow(model, said, totals)
        paths = [folder, *folder.rglob("*")]
        for path in paths:
            path.chmod(0o555 if path.is_dir() else 0o444)

        def work(pipe: int, f: Path = folder) -> None:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            try:
                open_store(f).close()
                os.write(pipe, b'["error", "it was opened for writing"]\n')
            except StorageError:
                os.write(pipe, b'["refused"]\n')
            with open_store(f, "either") as store:
                os.write(pipe, (json.dumps(["rows", list(rows_of(store).items())]) + "\n").encode())
                try:
                    perform(store, ["add", 1, 2])
                    os.write(pipe, b'["error", "an edit was taken"]\n')
                except EthoPrismError:
                    os.write(pipe, b'["refused"]\n')

        answers = in_child(work, None)
        for answer in answers:
            if answer[0] == "error":
                totals.problem(answer[1])
        read = [dict(a[1]) for a in answers if a[0] == "rows"]
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
        with open_store(folder) as store:
            settle(store, model, intent, totals)
            totals.databases_damaged += damaged(store)
        if read != [model.rows]:
            totals.edits_lost += 1
            totals.problem("reading a read-only folder gave other rows")


def tear(path: Path, rng: random.Random) -> str:
    """Damage the end of a file as a power cut may; says how."""
    data = bytearray(path.read_bytes())
    if not data:
        return "nothing"
    how = rng.choice(["cut", "cut pages", "zero", "garble", "half page"])
    size = min(len(data), rng.randrange(1, 4 * 4096))
    if how == "cut":
        data = data[:-size]
    elif how == "cut pages":
        data = data[: max(0, (len(data) // 4096 - rng.randrange(1, 4)) * 4096)]
    elif how == "zero":
        data[-size:] = bytes(size)
    elif how == "garble":
        data[-size:] = rng.randbytes(size)
    else:
        start = min((len(data) - 1) // 4096 * 4096 + 2048, len(data) - 1)
        data[start:] = rng.randbytes(len(data) - start)
    path.write_bytes(data)
    return how


def torn_trials(
    scratch: Path,
    images: list[tuple[Path, Model, Operation | None]],
    trials: int,
    rng: random.Random,
    totals: Totals,
) -> None:
    """Damage one file of a copy, open it, and count what is missing."""
    for i in range(trials):
        image, model, intent = rng.choice(images)
        folder, model = scratch / "torn", model.copy()
        shutil.copytree(image, folder)
        store_file = folder / "annotations.sqlite"
        journal = folder / "annotations.sqlite-journal"
        targets = [store_file, folder / "annotations.log"]
        targets = [path for path in (*targets, journal) if path.exists()]
        target = targets[i % len(targets)]
        how = tear(target, rng)
        if target == store_file and rng.random() < 0.5:
            journal.unlink(missing_ok=True)  # the drive forgot that too
        totals.torn_files += 1
        lost_before = totals.edits_lost
        try:
            with open_store(folder) as store:
                totals.torn_recovered += damaged(store)
                settle(store, model, intent, totals)
                check_undo(store, model, totals, 5)
            check_mirror(folder, model, totals)
            with open_store(folder) as store:
                if damaged(store):
                    totals.databases_damaged += 1
                    totals.problem(f"still damaged after recovery: {target.name}, {how}")
        except EthoPrismError as error:
            totals.edits_lost += len(model.done)
            totals.problem(f"{target.name}, {how}: {error}")
        totals.torn_edits_lost += totals.edits_lost - lost_before
        shutil.rmtree(folder)


def still_images(scratch: Path, rng: random.Random, totals: Totals) -> list:
    """Folders at rest, closed properly, for the tearing."""
    images = []
    for i in range(3):
        folder, model = scratch / f"still{i}", Model()
        with open_store(folder) as store:
            for serial in range(60):
                operation = choose(model, rng, 10**6 * (i + 1) + serial)
                perform(store, operation)
                model.apply(operation)
        totals.edits_acknowledged += 60
        images.append((folder, model, None))
    return images


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="40 kills and fewer of all else")
    parser.add_argument("--json", action="store_true", help="the figures as JSON, on one line")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work, e.g. on a network drive")
    arguments = parser.parse_args()
    kills = 40 if arguments.quick else arguments.kills
    others = 3 if arguments.quick else 20
    rng, totals = random.Random(arguments.seed), Totals()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        images = kill_trials(scratch, kills, rng, totals)
        how = full_disk_trials(scratch, others, rng, totals)
        read_only_trials(scratch, others, totals)
        images += still_images(scratch, rng, totals)
        torn_trials(scratch, images, others * 15, rng, totals)
    figures = {k: v for k, v in vars(totals).items() if k != "problems"}
    figures |= {"full_disk_by": how, "seconds": round(time.monotonic() - began, 1)}
    for text in totals.problems:
        print(f"Problem: {text}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key:24} {value}")
    bad = totals.edits_lost + totals.databases_damaged + totals.undo_failures
    return 1 if bad or totals.mirror_failures or totals.problems else 0


if __name__ == "__main__":
    sys.exit(main())
