"""Maps on disk: what is read is what was written; what is damaged is refused with its remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from explore_stores import random_map

from ethoprism.errors import InputError, ProjectError
from ethoprism.explore.cluster import ClusterSettings, cluster
from ethoprism.explore.maps import Map, load_map, map_folder, map_names, save_map


def with_all() -> Map:
    found = random_map()
    clusters = cluster(found.vectors, found.pca, ClusterSettings(n=4))
    return replace(found, umap=found.pca * 2, clusters=clusters, card={"umap-learn": "0.5"})


def same(one: Map, other: Map) -> None:
    for field in ("name", "key", "origins", "hop", "span", "seed", "explained", "card"):
        assert getattr(one, field) == getattr(other, field)
    assert one.moments.units == other.moments.units
    for a, b in (
        (one.moments.unit, other.moments.unit),
        (one.moments.start, other.moments.start),
        (one.moments.stop, other.moments.stop),
        (one.vectors, other.vectors),
        (one.coordinates, other.coordinates),
    ):
        np.testing.assert_array_equal(a, b)
    assert (one.clusters is None) == (other.clusters is None)
    if one.clusters is not None and other.clusters is not None:
        np.testing.assert_array_equal(one.clusters.labels, other.clusters.labels)
        assert (one.clusters.n, one.clusters.settings) == (
            other.clusters.n,
            other.clusters.settings,
        )


def test_a_map_comes_back_as_it_was(tmp_path: Path) -> None:
    for found in (random_map(), with_all(), random_map()):  # the last one takes UMAP away again
        save_map(found, tmp_path / "maps" / "map")
        same(load_map(tmp_path / "maps" / "map"), found)
    assert map_names(tmp_path / "maps") == ["map"]
    assert not (tmp_path / "maps" / "map" / "umap.npy").exists()


def test_a_map_that_was_not_finished_is_none(tmp_path: Path) -> None:
    save_map(with_all(), tmp_path / "a")
    (tmp_path / "a" / "card.json").unlink()
    with pytest.raises(ProjectError, match="ethoprism map PROJECT --name a"):
        load_map(tmp_path / "a")


@pytest.mark.parametrize("name", ["moments", "vectors", "pca", "umap", "clusters"])
def test_a_damaged_array_is_refused(tmp_path: Path, name: str) -> None:
    save_map(with_all(), tmp_path / "map")
    file = tmp_path / "map" / f"{name}.npy"
    content = file.read_bytes()
    wrong = (b"\x7f" if name == "clusters" else b"\xff") * 8  # too large, negative, no number
    for damaged in (content[:-3], b"", b"\x80pickle", content[:-8] + wrong):
        file.write_bytes(damaged)
        with pytest.raises(ProjectError, match="Make it again: ethoprism map"):
            load_map(tmp_path / "map")


@pytest.mark.parametrize(
    ("field", "value"),
    [("format_version", 9), ("moments", -1), ("units", []), ("hop", "4"), ("clusters", {"n": 2})],
)
def test_a_card_of_something_else_is_refused(tmp_path: Path, field: str, value: object) -> None:
    save_map(with_all(), tmp_path / "map")
    card = json.loads((tmp_path / "map" / "card.json").read_text())
    card[field] = value
    (tmp_path / "map" / "card.json").write_text(json.dumps(card))
    with pytest.raises(ProjectError, match="cannot be read"):
        load_map(tmp_path / "map")


def test_names_stay_within_the_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        map_folder(tmp_path, "../elsewhere")
