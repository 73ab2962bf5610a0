"""Map: moments with vectors, coordinates and clusters, and its folder ``maps/<name>/``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from ethoprism.errors import InputError, ProjectError
from ethoprism.explore.cluster import Clusters, ClusterSettings
from ethoprism.explore.moments import Moments
from ethoprism.files import replacing, write_json
from ethoprism.recording import check_name
from ethoprism.safety import load_npy, read_json
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenKey

FORMAT_VERSION = 1
_MOST_MOMENTS = 2**26


@dataclass(frozen=True)
class Origin:
    """What a unit's vectors were made from: its recording's content, and where it was cut."""

    content_key: str
    place: str = ""


@dataclass(frozen=True, eq=False)
class Map:
    """A map of moments.

    Attributes
    ----------
    name
        Its name in the project.
    key
        What the tokens were made with.
    origins
        For each unit of the moments, what its vectors were made from.
    hop, span, seed
        Sampled frames that a moment stands for, and that its vector looks at; the seed.
    moments
        The moments.
    vectors
        float32 ``[moments, components]``: principal components of the standardised vectors.
    explained
        Share of the variance of each component.
    pca
        float32 ``[moments, 2]``: the first two components.
    umap
        float32 ``[moments, 2]``, or None before it is made.
    clusters
        Clusters, or None.
    card
        Versions and settings beyond these, as plain values.
    """

    name: str
    key: TokenKey
    origins: tuple[Origin, ...]
    hop: int
    span: int
    seed: int
    moments: Moments
    vectors: Float32[np.ndarray, "moments components"]
    explained: tuple[float, ...]
    pca: Float32[np.ndarray, "moments 2"]
    umap: Float32[np.ndarray, "moments 2"] | None = None
    clusters: Clusters | None = None
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def coordinates(self) -> Float32[np.ndarray, "moments 2"]:
        """UMAP where there is one, otherwise the first two principal components."""
        return self.pca if self.umap is None else self.umap

    @property
    def method(self) -> str:
        """What the coordinates are: ``UMAP`` or ``PCA``."""
        return "PCA" if self.umap is None else "UMAP"

    @property
    def frames_per_moment(self) -> int:
        """Frames that a moment stands for."""
        return self.hop * self.key.step


def save_map(found: Map, folder: Path) -> None:
    """Write a map; the card is written last, so that a map without one is not complete."""
    (folder / "card.json").unlink(missing_ok=True)
    m = found.moments
    table = np.stack([m.unit.astype(np.int64), m.start, m.stop], axis=1)
    arrays: dict[str, np.ndarray] = {"moments": table, "vectors": found.vectors, "pca": found.pca}
    if found.umap is not None:
        arrays["umap"] = found.umap
    if found.clusters is not None:
        arrays["clusters"] = found.clusters.labels
    for name in ("umap", "clusters"):
        if name not in arrays:
            (folder / f"{name}.npy").unlink(missing_ok=True)
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
        with replacing(folder / f"{name}.npy") as path:
            path.write_bytes(buffer.getbuffer())
    clusters = found.clusters
    write_json(
        folder / "card.json",
        {
            "format_version": FORMAT_VERSION,
            "name": found.name,
            "backbone": found.key.label,
            "token_key": found.key.to_dict(),
            "units": [
                {
                    "recording": unit.recording,
                    "subject": unit.subject,
                    "content_key": origin.content_key,
                    "place": origin.place,
                }
                for unit, origin in zip(m.units, found.origins, strict=True)
            ],
            "moments": len(m),
            "components": found.vectors.shape[1],
            "explained": list(found.explained),
            "hop": found.hop,
            "span": found.span,
            "seed": found.seed,
            "umap": found.umap is not None,
            "clusters": None
            if clusters is None
            else {**vars(clusters.settings), "found": clusters.n},
            "made_with": dict(found.card),
        },
    )


def load_map(folder: Path) -> Map:
    """The map in ``folder``; a `ProjectError` that names the remedy if it is absent or damaged."""
    path = folder / "card.json"
    remedy = f"Make it again: ethoprism map PROJECT --name {folder.name}"
    if not path.is_file():
        others = [p.parent.name for p in sorted(folder.parent.glob("*/card.json"))]
        raise ProjectError(
            f"There is no map {folder.name!r}",
            expected=f"one of {', '.join(others)}" if others else "",
            remedy=remedy.replace("Make it again", "Make it"),
        )
    try:
        card = read_json(path)
        if card["format_version"] != FORMAT_VERSION:
            raise ValueError(f"its format is {card['format_version']!r}, not {FORMAT_VERSION}")
        return _from_card(card, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise ProjectError(
            f"The map in {folder} cannot be read", found=str(error), remedy=remedy
        ) from error


def _from_card(card: dict[str, Any], folder: Path) -> Map:
    n, width = _whole(card["moments"], _MOST_MOMENTS), _whole(card["components"], 4096)
    table = load_npy(folder / "moments.npy", (n, 3), np.int64)
    units = tuple(Unit(str(u["recording"]), str(u["subject"])) for u in card["units"])
    origins = tuple(Origin(str(u["content_key"]), str(u["place"])) for u in card["units"])
    unit, start, stop = table.T
    ordered = np.lexsort((start, unit))
    if (
        n < 1
        or (stop <= start).any()
        or (start < 0).any()
        or (unit < 0).any()
        or unit.max() >= len(units)
        or not np.array_equal(ordered, np.arange(n))
    ):
        raise ValueError("its moments are not in order, or of no unit")
    moments = Moments(units, unit.astype(np.int32), start.copy(), stop.copy())
    arrays = {
        name: load_npy(folder / f"{name}.npy", shape, np.float32)
        for name, shape in (("vectors", (n, width)), ("pca", (n, 2)), ("umap", (n, 2)))
        if name != "umap" or card["umap"]
    }
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise ValueError("its numbers are not finite")
    clusters = None
    if card["clusters"] is not None:
        settings = dict(card["clusters"])
        count = _whole(settings.pop("found"), n)
        labels = load_npy(folder / "clusters.npy", (n,), np.int32)
        if labels.min() < -1 or labels.max() >= max(count, 1):
            raise ValueError("its clusters have other numbers than it says")
        clusters = Clusters(labels, count, ClusterSettings(**settings))
    return Map(
        name=str(card["name"]),
        key=TokenKey.from_dict(card["token_key"]),
        origins=origins,
        hop=_whole(card["hop"], 2**20),
        span=_whole(card["span"], 2**20),
        seed=_whole(card["seed"], 2**63),
        moments=moments,
        vectors=arrays["vectors"],
        explained=tuple(float(x) for x in card["explained"]),
        pca=arrays["pca"],
        umap=arrays.get("umap"),
        clusters=clusters,
        card=dict(card["made_with"]),
    )


def map_names(folder: Path) -> list[str]:
    """Names of the maps in a project's folder ``maps``."""
    return [path.parent.name for path in sorted(folder.glob("*/card.json"))]


def map_folder(project_folder: Path, name: str) -> Path:
    """The folder of a map of a project."""
    return project_folder / "maps" / check_name(name, "map")


def renamed(found: Map, name: str) -> Map:
    """The map under another name."""
    return replace(found, name=check_name(name, "map"))


def _whole(value: object, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r} is not a whole number up to {most}")
    return value
