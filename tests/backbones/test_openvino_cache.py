"""Compiled models on the disk: read back they compute the same to the bit; damaged, are remade."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from seeded import seeded_parameters

from ethoprism.backbones.encoder import TINY
from ethoprism.backbones.engine import Compiled
from ethoprism.backbones.openvino_cache import ModelCache, default_cache
from ethoprism.backbones.videoprism import VideoPrismBackbone, build_backbone
from ethoprism.compiled import LIMIT_VARIABLE
from ethoprism.errors import InputError

pytest.importorskip("openvino", reason="the extra cpu is not installed")

from ethoprism.backbones import openvino_engine
from ethoprism.backbones.openvino_engine import OpenVinoEngine

GB = 10**9


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each model that is made anew."""
    made: list[int] = []
    build_model = openvino_engine.build_model

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return build_model(*arguments)

    monkeypatch.setattr(openvino_engine, "build_model", counted)
    return made


def tiny() -> VideoPrismBackbone:
    return build_backbone("tiny", TINY, seeded_parameters, trained=False)


def tokens_of(backbone: VideoPrismBackbone, folder: Path, **options: Any) -> np.ndarray:
    on = backbone.with_engine(OpenVinoEngine(cache=ModelCache(folder, GB), **options))
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (4, TINY.input_size, TINY.input_size, 3), dtype=np.uint8)
    features = np.asarray(on.spatial(frames))
    padding = np.array([[False, False, False, True]])
    gc.collect()
    return np.concatenate([features[None], np.asarray(on.temporal(features[None], padding))])


def test_a_kept_model_gives_the_same_to_the_bit(tmp_path: Path, built: list[int]):
    folder = tmp_path / "new" / "models"
    first = tokens_of(tiny(), folder)
    assert len(built) == 2
    assert len(list(folder.iterdir())) == 2
    # The weights of a model that was read lie in memory of ours, which must outlive the reading.
    for _ in range(3):
        np.testing.assert_array_equal(tokens_of(tiny(), folder), first)
    assert len(built) == 2


def test_damaged_files_are_made_again(tmp_path: Path, built: list[int]):
    first = tokens_of(tiny(), tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    flipped = {path: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] for path, data in whole.items()}
    short = {path: data[: len(data) // 2] for path, data in whole.items()}
    for damage in (flipped, short, dict.fromkeys(whole, b"")):
        for path, data in damage.items():
            path.write_bytes(data)
        built.clear()
        np.testing.assert_array_equal(tokens_of(tiny(), tmp_path), first)
        assert len(built) == 2
        assert set(tmp_path.iterdir()) == set(whole)


def test_a_sound_file_that_openvino_refuses_is_made_again(tmp_path: Path, built: list[int]):
    first = tokens_of(tiny(), tmp_path)
    cache = ModelCache(tmp_path, GB)
    for path in tmp_path.iterdir():
        cache.write(path.stem, b"not a model")
    built.clear()
    np.testing.assert_array_equal(tokens_of(tiny(), tmp_path), first)
    assert len(built) == 2


def test_what_a_model_is_made_of_tells_it_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def files_after(backbone: VideoPrismBackbone, **options: Any) -> int:
        tokens_of(backbone, tmp_path, **options)
        return len(list(tmp_path.iterdir()))

    def doubled(layout: Any) -> Any:
        return ((name, 2 * np.asarray(value)) for name, value in seeded_parameters(layout))

    assert files_after(tiny(), threads=1) == 2
    assert files_after(build_backbone("tiny", TINY, doubled, trained=False), threads=1) == 4
    narrow = build_backbone("tiny", TINY, seeded_parameters, trained=False, precision="bfloat16")
    assert files_after(narrow, threads=1) == 6
    assert files_after(tiny(), threads=2) == 8
    monkeypatch.setattr("ethoprism.backbones.openvino_cache.sources_digest", lambda: "other code")
    assert files_after(tiny(), threads=1) == 10
    monkeypatch.setattr(openvino_engine, "version", lambda _: "another OpenVINO")
    assert files_after(tiny(), threads=1) == 12
    assert files_after(tiny(), threads=1) == 12


def test_parameters_without_a_digest_are_not_kept(tmp_path: Path):
    engine = OpenVinoEngine(cache=ModelCache(tmp_path, GB))
    found = Compiled(engine)("twice", lambda p, x: p * x, np.float32(2), np.ones(3, np.float32))
    assert found.tolist() == [2, 2, 2]
    assert not list(tmp_path.iterdir())


def test_the_oldest_files_go_first(tmp_path: Path):
    cache = ModelCache(tmp_path, 3 * 132)
    for number, name in enumerate("abc"):
        cache.write(name, bytes(100))
        os.utime(tmp_path / f"{name}.ovmodel", (number, number))
    assert cache.read("a") is not None  # used now, so that b is the oldest
    cache.write("d", bytes(100))
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c", "d"}
    cache.write("large", bytes(400))
    ModelCache(tmp_path, GB, largest_bytes=200).write("large", bytes(200))
    assert {path.stem for path in tmp_path.iterdir()} == {"a", "c", "d"}


def test_a_disk_that_takes_nothing_costs_nothing_else(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    cache = ModelCache(tmp_path / "file" / "models", GB)
    cache.write("a", b"model")
    assert cache.read("a") is None


def test_the_environment_bounds_it_or_turns_it_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    usual = default_cache()
    assert usual is not None and usual.most_bytes == 2 * GB
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    small = default_cache()
    assert small is not None and small.most_bytes == GB // 2
    monkeypatch.setenv(LIMIT_VARIABLE, "0")
    assert default_cache() is None
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(InputError, match="0 keeps no compiled models"):
            default_cache()
