"""Maps of a project: which recordings and tokens; then `ethoprism.explore`."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from jaxtyping import Float32

from ethoprism.annotation import UNOBSERVED, frame_states
from ethoprism.crops import place_digest
from ethoprism.errors import InputError, ProjectError, StorageError
from ethoprism.explore.cluster import Clusters, ClusterSettings, cluster, exemplars
from ethoprism.explore.embed import UmapSettings, principal_components, umap_coordinates
from ethoprism.explore.maps import Map, Origin, load_map, map_folder, map_names, save_map
from ethoprism.explore.moments import Moments, moment_means, tile
from ethoprism.explore.similar import Match, find_similar
from ethoprism.explore.vectors import PARTS, default_span, moment_vectors
from ethoprism.files import storage_error
from ethoprism.prediction import load_prediction
from ethoprism.progress import Progress
from ethoprism.project import Project
from ethoprism.recording import check_name
from ethoprism.subjects import Unit, place_of, units
from ethoprism.tokens import TokenKey, TokenStore
from ethoprism.workflow import counted_labels, known_keys, open_tokens, unit_states

_IN_MEMORY = 256 << 20
"""Vectors up to this size are kept in memory, larger ones in a temporary file."""


@dataclass(frozen=True)
class MapPlan:
    """What a map is to be made of.

    Attributes
    ----------
    name
        Of the map.
    recordings
        By default all.
    subject
        Where crops follow subjects, only this one.
    hop
        Frames that a moment stands for; by default half of the encoder's window.
    seed
        Of everything that is drawn.
    """

    name: str = "map"
    recordings: tuple[str, ...] = ()
    subject: str = ""
    hop: int | None = None
    seed: int = 0


def project_tokens(project: Project) -> TokenKey:
    """The key of the tokens that the project's settings ask for, without loading the backbone.

    Raises
    ------
    ProjectError
        If the project holds no such tokens.
    """
    s = project.settings
    fitting = [
        key
        for key in known_keys(project)
        if (key.backbone, key.step, key.crop) == (s.backbone, s.step, s.crop)
        and key.precision == s.precision
        and s.hop in (None, key.hop)
        and s.pooling in (None, key.pooling)
    ]
    if not fitting:
        raise ProjectError(
            f"The project has no tokens of {s.backbone}",
            remedy="Run: ethoprism extract PROJECT",
        )
    # Two checkpoints of one backbone: those that were extracted last are those that are in use.
    return max(fitting, key=lambda key: (project.folder / "tokens" / key.digest).stat().st_mtime)


def build_map(project: Project, key: TokenKey, plan: MapPlan) -> Generator[Progress, None, Map]:
    """Vectors of the moments and their principal components: a map to look at at once.

    It is not saved; see `save`.

    Raises
    ------
    InputError, ProjectError
        If there are too few moments, or tokens are absent or incomplete.
    """
    check_name(plan.name, "map")
    hop = default_hop(key) if plan.hop is None else plan.hop
    if hop < 1 or hop % key.step:
        raise InputError(
            f"A moment cannot stand for {hop} frames",
            expected=f"a multiple of {key.step}, the frames from one sampled frame to the next",
        )
    hop //= key.step
    span = default_span(hop)
    chosen = units(project, key.crop, plan.recordings, plan.subject)
    stores = [open_tokens(project, key, unit) for unit in chosen]
    for store in stores:
        store.require_complete()
    n_frames = [project.entry(unit.recording).n_frames for unit in chosen]
    moments = tile(chosen, n_frames, hop, key.step)
    with _scratch(project.folder / "maps", (len(moments), len(PARTS) * key.width)) as vectors:
        yield from _fill(moments, stores, hop, span, vectors)
        known = np.flatnonzero(np.isfinite(vectors[:, 0]))
        moments = moments if len(known) == len(moments) else moments.take(known)
        if len(moments) != len(vectors):  # damaged frames, or an animal that was not seen
            for a in range(0, len(known), 4096):
                vectors[a : a + 4096][: len(known) - a] = vectors[known[a : a + 4096]]
        steps = principal_components(vectors[: len(moments)], seed=plan.seed)
        found = yield from steps
    pca = found.coordinates[:, :2]
    if pca.shape[1] < 2:
        pca = np.hstack([pca, np.zeros_like(pca)])
    return Map(
        name=plan.name,
        key=key,
        origins=tuple(_origin(project, unit, key) for unit in chosen),
        hop=hop,
        span=span,
        seed=plan.seed,
        moments=moments,
        vectors=found.coordinates,
        explained=tuple(found.explained.tolist()),
        pca=np.ascontiguousarray(pca),
        card={
            "parts": list(PARTS),
            "ethoprism": version("ethoprism"),
            "scikit-learn": version("scikit-learn"),
            "umap-learn": version("umap-learn"),
        },
    )


def default_hop(key: TokenKey) -> int:
    """Frames that a moment stands for: half of the encoder's window."""
    return max(key.length // 2, 1) * key.step


def add_umap(found: Map, settings: UmapSettings) -> Generator[Progress, None, Map]:
    """The map with coordinates of UMAP; see `umap_coordinates`."""
    layout = yield from umap_coordinates(found.vectors, settings)
    return replace(found, umap=layout, card={**found.card, "umap": vars(settings)})


def add_clusters(found: Map, settings: ClusterSettings) -> Map:
    """The map with clusters; see `cluster`."""
    return replace(found, clusters=cluster(found.vectors, found.coordinates, settings))


def save(project: Project, found: Map) -> Path:
    """Keep a map in the project; its folder is returned."""
    folder = map_folder(project.folder, found.name)
    save_map(found, folder)
    return folder


def saved_maps(project: Project) -> list[str]:
    """Names of the project's maps."""
    return map_names(project.folder / "maps")


def open_map(project: Project, name: str = "map") -> Map:
    """A map of the project.

    Raises
    ------
    ProjectError
        If it is absent or damaged, or if a recording, region or track is not as it was.
    """
    found = load_map(map_folder(project.folder, name))
    remedy = f"Make it again: ethoprism map PROJECT --name {name}"
    for unit, origin in zip(found.moments.units, found.origins, strict=True):
        if unit.recording not in project.recording_ids:
            raise ProjectError(
                f"The map {name!r} shows a recording that the project lacks",
                found=unit.recording,
                remedy=remedy,
            )
        now = _origin(project, unit, found.key)
        if now != origin:
            what = "recording" if now.content_key != origin.content_key else "region or track"
            raise ProjectError(
                f"The map {name!r} was made from another {what} of {unit.recording!r}",
                remedy=remedy,
            )
    stops = {u: int(found.moments.stop[b - 1]) for u, b in _ends(found.moments)}
    for unit, stop in stops.items():
        if stop > project.entry(unit.recording).n_frames:
            raise ProjectError(f"The map {name!r} is damaged", remedy=remedy)
    return found


def unit_moment_labels(
    project: Project,
    moments: Moments,
    unit: int,
    behaviours: Sequence[str],
    tables: tuple[pd.DataFrame, pd.DataFrame] | None = None,
) -> Float32[np.ndarray, "moments behaviours"]:
    """Share of each of a unit's moments in which behaviours hold, of its observed frames.

    NaN where nothing was observed.

    Parameters
    ----------
    project, moments, unit, behaviours
        Which rows and columns.
    tables
        Bouts and observed spans of the unit's recording where they are at hand; the saved ones are
        read if None.
    """
    which = moments.units[unit]
    if tables is None:
        states = unit_states(project, which, behaviours)
    else:
        bouts, spans = counted_labels(project, which, *tables)
        n_frames = project.entry(which.recording).n_frames
        states = frame_states(bouts, spans, behaviours, n_frames, which.subject or None)
    return moment_means(moments, unit, (states == 1).astype(np.float32), states != UNOBSERVED)


def moment_predictions(
    project: Project, moments: Moments, probe: str
) -> tuple[tuple[str, ...], Float32[np.ndarray, "moments behaviours"]]:
    """Behaviours of a probe, and their mean probability in each moment.

    NaN where the unit was not predicted.

    Raises
    ------
    ProjectError
        If there is no such probe, or no prediction of it for any unit.
    """
    from ethoprism.workflow import probe_from

    loaded = probe_from(project, probe)
    names, rows, any_found = loaded.behaviours, [], False
    for u, unit in enumerate(moments.units):
        first, last = moments.bounds[u : u + 2].tolist()
        path = project.prediction_path(probe, unit.name)
        if not path.exists():
            rows.append(np.full((last - first, len(names)), np.nan, np.float32))
            continue
        entry = project.entry(unit.recording)
        found = load_prediction(
            path, probe=loaded.digest, content_key=entry.content_key, n_frames=entry.n_frames
        )
        known = np.repeat(found.covered[:, None], len(names), axis=1)
        rows.append(moment_means(moments, u, found.probability, known))
        any_found = True
    if not any_found:
        raise ProjectError(
            f"The probe {probe!r} has predicted none of the map's recordings",
            remedy=f"Run: ethoprism predict PROJECT --probe {probe}",
        )
    return names, np.concatenate(rows)


def similar_moments(
    found: Map, query: np.ndarray, count: int = 24, *, zone: int | None = None
) -> list[Match]:
    """Moments that are like a query; none within a window of the encoder from it or each other."""
    zone = found.key.length * found.key.step if zone is None else zone
    return find_similar(found.vectors, found.moments, query, count, zone=zone)


def moment_of(found: Map, recording: str, frame: int, subject: str = "") -> int:
    """The map's moment at a frame; an `InputError` that says why where there is none."""
    for unit in found.moments.units:
        if unit.recording == recording and subject in ("", unit.subject):
            i = found.moments.at(unit, frame)
            if i is not None:
                return i
    names = ", ".join(unit.name for unit in found.moments.units)
    raise InputError(
        f"The map {found.name!r} has no moment at frame {frame} of {recording!r}"
        + (f", {subject!r}" if subject else ""),
        expected=f"a frame with tokens, of: {names}",
    )


def cluster_exemplars(found: Map, count: int = 8) -> list[np.ndarray]:
    """For each cluster, the moments that stand for it; see `exemplars`."""
    clusters: Clusters | None = found.clusters
    if clusters is None:
        return []
    members = [np.flatnonzero(clusters.labels == c) for c in range(clusters.n)]
    return [exemplars(found.vectors, found.moments, m, count) for m in members]


def map_table(found: Map) -> pd.DataFrame:
    """The map as a table: recording, subject, start_frame, stop_frame, x, y, cluster.

    Frames are half-open; the cluster is missing where there are none, and −1 where a moment lies
    in none.
    """
    m = found.moments
    units_of = np.array([[u.recording, u.subject] for u in m.units], dtype=object)[m.unit]
    table = pd.DataFrame({"recording": units_of[:, 0], "subject": units_of[:, 1]})
    table["start_frame"], table["stop_frame"] = m.start, m.stop
    table["x"], table["y"] = found.coordinates.T
    table["cluster"] = pd.array([pd.NA] * len(m), dtype="Int64")
    if found.clusters is not None:
        table["cluster"] = found.clusters.labels.astype(np.int64)
    return table


def _ends(moments: Moments) -> Iterator[tuple[Unit, int]]:
    for u, unit in enumerate(moments.units):
        if moments.bounds[u + 1] > moments.bounds[u]:
            yield unit, int(moments.bounds[u + 1])


def _origin(project: Project, unit: Unit, key: TokenKey) -> Origin:
    place = place_digest(place_of(project, unit, key.crop))
    return Origin(project.entry(unit.recording).content_key, place)


def _fill(
    moments: Moments, stores: Sequence[TokenStore], hop: int, span: int, out: np.ndarray
) -> Generator[Progress, None, None]:
    total, before = sum(store.n_rows for store in stores), 0
    for u, store in enumerate(stores):
        first, last = moments.bounds[u : u + 2].tolist()
        for step in moment_vectors(store, hop, span, out[first:last]):
            yield Progress(before + step.done, total, f"reading {moments.units[u].name}")
        before += store.n_rows


@contextmanager
def _scratch(folder: Path, shape: tuple[int, int]) -> Iterator[np.ndarray]:
    """An array for vectors: in memory, or in a temporary file of the project if it is large."""
    size = 4 * shape[0] * shape[1]
    if size <= _IN_MEMORY:
        yield np.empty(shape, np.float32)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < size + (1 << 30):
        raise StorageError(
            f"The disk has too little room for the vectors of {shape[0]:,} moments",
            expected=f"{size / 1e9:.1f} GB for a while, and 1 GB to spare",
            remedy="Free some space, or let a moment stand for more frames (--hop).",
        )
    with TemporaryDirectory(prefix=".vectors-", dir=folder) as name:
        path = Path(name) / "vectors"
        try:  # written out first: writing to a mapped file on a full disk would kill the program
            with path.open("wb") as file:
                for a in range(0, size, 16 << 20):
                    file.write(bytes(min(16 << 20, size - a)))
        except OSError as error:
            raise storage_error(error, path) from error
        array = np.memmap(path, np.float32, "r+", shape=shape)
        try:
            yield array
        finally:
            array._mmap.close()  # type: ignore[attr-defined]  # before the file is deleted
