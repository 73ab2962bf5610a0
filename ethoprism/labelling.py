"""The labels of whole projects: checking, restoring and merging them."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from ethoprism.errors import LabelError, ProjectError
from ethoprism.project import Project
from ethoprism.store import Edit, Holder, Snapshot, holder_of, snapshots_of
from ethoprism.store.integrity import UNSOUND, connect_reading, problems_of, version_of
from ethoprism.store.merge import MergePlan, Take, merge, plan_merge
from ethoprism.store.operations import Row, Rows
from ethoprism.store.schema import COLUMNS, LABELS, SCHEMA_VERSION
from ethoprism.workflow import open_annotations


@dataclass(frozen=True)
class StoreHealth:
    """How the labels of a project are kept, found without writing anything.

    Attributes
    ----------
    bouts, spans, edits
        Numbers of rows and of edits.
    problems
        What is wrong; an empty tuple if nothing is. The next opening for writing puts it right.
    snapshots
        The sound ones, oldest first.
    bad_snapshots
        Those that are damaged.
    holder
        Who has the labels open for writing now.
    """

    bouts: int
    spans: int
    edits: int
    problems: tuple[str, ...]
    snapshots: tuple[Snapshot, ...]
    bad_snapshots: tuple[Snapshot, ...]
    holder: Holder | None


@dataclass(frozen=True, eq=False)
class ProjectMerge:
    """A merge of the labels of two projects, before it is done.

    Attributes
    ----------
    plan
        What happens to the rows.
    new_behaviours
        Names that our ethogram lacks and would be given.
    notes
        Sentences that the user should read first.
    description
        What the history will show.
    """

    plan: MergePlan
    new_behaviours: tuple[str, ...]
    notes: tuple[str, ...]
    description: str


def check_labels(project: Project) -> StoreHealth:
    """Check the labels and their snapshots in full; nothing is written."""
    path = project.annotations_path
    good, bad = [], []
    for snapshot in snapshots_of(path):
        (bad if _problems(snapshot.path) else good).append(snapshot)
    problems = _problems(path) if path.exists() else []
    with open_annotations(project, "read") as store:
        if store.recovery is not None:
            problems = list(dict.fromkeys((*problems, *store.recovery.sentences())))
        return StoreHealth(
            len(store.rows("bouts")),
            len(store.rows("spans")),
            len(store.history()),
            tuple(problems),
            tuple(good),
            tuple(bad),
            holder_of(path),
        )


def restore_snapshot(project: Project, name: str) -> Edit | None:
    """Bring back the labels of a snapshot as one edit, which can be undone.

    A snapshot of what is there now is taken first. ``None`` if nothing differs.

    Raises
    ------
    ProjectError
        If there is no such snapshot, it is damaged, or somebody else has the labels open.
    """
    known = {s.name: s for s in snapshots_of(project.annotations_path)}
    if name not in known:
        raise ProjectError(
            f"The project has no snapshot {name!r}",
            expected="; ".join(list(known)[-5:]) or "snapshots; they are made by editing",
        )
    if problems := _problems(known[name].path):
        raise ProjectError(f"The snapshot {name} is damaged", found=problems[0])
    with open_annotations(project, "write") as store:
        store.snapshot()
        db = connect_reading(known[name].path)
        try:
            wanted = {t: _rows(db, t) for t in LABELS}
        finally:
            db.close()
        removed, added = _difference({t: store.rows(t) for t in LABELS}, wanted)
        if not any((*removed.values(), *added.values())):
            return None
        return store.exchange(removed, added, description=f"restore {name}")


def plan_project_merge(project: Project, other: Path) -> ProjectMerge:
    """What merging the labels of another copy of the project would do; nothing is written.

    Recordings are matched by their content, so that they may be called differently.
    """
    theirs = Project.open(other)
    if theirs.annotations_path.resolve() == project.annotations_path.resolve():
        raise LabelError("A project cannot be merged with itself", found=str(other))
    ids = {entry.content_key: entry.id for entry in project.entries}
    recordings = {e.id: ids[e.content_key] for e in theirs.entries if e.content_key in ids}
    with (
        open_annotations(project, "read") as ours,
        open_annotations(theirs, "read") as store,
    ):
        plan = plan_merge(ours, store, recordings)
        recovery = store.recovery
    notes = [
        f"{name} is called {recordings[name]} here: they are the same recording."
        for name in recordings
        if name != recordings[name]
    ]
    notes += [
        f"{count} labels of {name} are left out: this project does not have that recording."
        for name, count in plan.unknown.items()
    ]
    if plan.same:
        notes.append(f"{plan.same} labels were made alike on both sides; one of each is kept.")
    if plan.withheld:
        notes.append(f"{plan.withheld} labels were removed here and stay removed.")
    if recovery is not None:
        notes += [f"In {other}: {sentence}" for sentence in recovery.sentences()]
    arriving = [row for rows in plan.added.values() for row in rows]
    arriving += [row for conflict in plan.conflicts for row in conflict.theirs]
    names = dict.fromkeys(row["behaviour"] for row in arriving)
    new = tuple(name for name in names if name not in project.ethogram)
    project.ethogram.with_names(new)  # refuses names that cannot be used
    return ProjectMerge(plan, new, tuple(notes), f"merge {other.resolve().name}")


def apply_project_merge(
    project: Project, merging: ProjectMerge, take: Take | None = None
) -> tuple[Project, Edit | None]:
    """Do a merge as one edit; the project with its new behaviours is returned with it.

    Raises
    ------
    LabelError
        If there are conflicts and ``take`` does not say whose rows are to stand, or the labels were
        changed since the merge was planned.
    """
    plan = merging.plan
    if plan.conflicts and take is None:
        raise LabelError(
            f"The two copies differ in {len(plan.conflicts)} places",
            expected="a decision for them: ours, theirs or both",
            remedy="Nothing was written.",
        )
    if merging.new_behaviours:
        project = project.with_ethogram(project.ethogram.with_names(merging.new_behaviours))
    with open_annotations(project, "write") as store:
        store.snapshot()
        edit = merge(store, plan, take or "ours", description=merging.description)
    return project, edit


def _problems(path: Path) -> list[str]:
    """What is wrong with a file; nothing is written."""
    try:
        db = connect_reading(path)
        try:
            if version_of(db, path) < SCHEMA_VERSION:
                return [str(r[0]) for r in db.execute("PRAGMA integrity_check") if r[0] != "ok"]
            return problems_of(db)
        finally:
            db.close()
    except (*UNSOUND, ProjectError) as error:
        return [str(error)]


def _rows(db: sqlite3.Connection, table: str) -> list[Row]:
    names = COLUMNS[table]
    rows = db.execute(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608
    return [dict(zip(names, row, strict=True)) for row in rows]


def _difference(present: Rows, wanted: Rows) -> tuple[Rows, Rows]:
    removed: Rows = {}
    added: Rows = {}
    for table in LABELS:
        have = {row["id"]: row for row in present[table]}
        want = {row["id"]: row for row in wanted[table]}
        removed[table] = [row for i, row in have.items() if want.get(i) != row]
        added[table] = [row for i, row in want.items() if have.get(i) != row]
    return removed, added
