"""Small token stores and maps for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.ethogram import Behaviour, Ethogram
from ethoprism.explore.maps import Map, Origin
from ethoprism.explore.moments import tile
from ethoprism.project import Project, Settings
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenKey, TokenStore
from ethoprism_datasets.arena_files import write_recording

KEY = TokenKey("toy", "0" * 64, "float32", False, 1, 16, 4, 6, 8, 6, 1, 2)
NANO = TokenKey("prism-nano", "0" * 64, "float32", False, 1, 16, 4, 6, 8, 6, 1, 2)


def full_store(
    path: Path, tokens: np.ndarray, valid: np.ndarray, key: TokenKey = KEY
) -> TokenStore:
    """A complete store of one row a frame."""
    store = TokenStore.create(path, key, len(tokens) * key.step, "c" * 64)
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        store.write_block(block, tokens[start:stop].astype(np.float32), valid[start:stop])
    return store


def random_map(n_frames: tuple[int, ...] = (400, 300), hop: int = 4, seed: int = 0) -> Map:
    """A map of random vectors, of as many recordings ``r0``, ``r1`` …"""
    units = tuple(Unit(f"r{i}") for i in range(len(n_frames)))
    moments = tile(units, n_frames, hop)
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(moments), 6)).astype(np.float32)
    return Map(
        name="map",
        key=KEY,
        origins=tuple(Origin("c" * 64) for _ in units),
        hop=hop,
        span=max(hop, 5),
        seed=seed,
        moments=moments,
        vectors=vectors,
        explained=(0.5, 0.3, 0.2, 0.0, 0.0, 0.0),
        pca=np.ascontiguousarray(vectors[:, :2]),
    )


def project_with_tokens(folder: Path, n_frames: int = 120) -> Project:
    """Recordings ``a`` and ``b`` with tokens of three kinds that take turns every 20 frames.

    In the first of them "walk" was seen in the frames 0–19 and looked for in 0–59.
    """
    ethogram = Ethogram((Behaviour("walk", key="w"), Behaviour("groom", key="g", colour="#56B4E9")))
    project = Project.create(folder / "project", Settings(), ethogram)
    for seed, name in enumerate("ab"):
        video = write_recording(folder / "videos", name, seed, n_frames=n_frames).video
        project, _, _ = workflow.add_recording(project, video)
        add_tokens(project, name)
    span: dict[str, object] = {"recording": "a", "start_frame": 0, "stop_frame": 60}
    walk = {"recording": "a", "behaviour": "walk", "start_frame": 0, "stop_frame": 20}
    with workflow.open_annotations(project) as store:
        store.add(bout_table([walk]), span_table([{**span, "behaviour": "walk"}]), description="x")
    return project


def add_tokens(project: Project, name: str) -> None:
    """Tokens for a recording of `project_with_tokens`."""
    entry = project.entry(name)
    rng = np.random.default_rng(ord(name))
    kinds = 8 * np.random.default_rng(0).standard_normal((3, NANO.width))
    kind = np.arange(entry.n_frames) // 20 % 3
    tokens = rng.standard_normal((entry.n_frames, 2, 2, NANO.width)) + kinds[kind][:, None, None]
    path = project.tokens_path(NANO.digest, name)
    store = TokenStore.create(path, NANO, entry.n_frames, entry.content_key)
    for block in range(store.n_blocks):
        start, stop = store.block(block)
        values = tokens[start:stop].astype(np.float32)
        store.write_block(block, values, np.ones(stop - start, bool))
