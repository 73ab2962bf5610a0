"""Checkpoints: read whole or refused with a reason, and named by what they hold."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from seeded import encoder_layout

from ethoprism.backbones.encoder import TINY
from ethoprism.backbones.weights import fingerprint, read_parameters, write_safetensors
from ethoprism.errors import WeightsError

Parameters = dict[str, np.ndarray]

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "videoprism"
TINY_FILE = GOLDEN / "tiny_encoder_repeated.npz"

LAYOUT = {"params/a/kernel": (2, 3), "params/a/bias": (3,), "params/b/w": (2, 2, 2)}


@pytest.fixture
def parameters() -> Parameters:
    rng = np.random.default_rng(0)
    return {key: rng.standard_normal(shape, np.float32) for key, shape in LAYOUT.items()}


class Dangerous:
    """Unpickling one leaves a trace."""

    loaded = False

    def __reduce__(self):
        return _leave_trace, ()


def _leave_trace() -> str:
    Dangerous.loaded = True
    return "loaded"


def _write_npz(path: Path, parameters: Parameters) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for key, values in parameters.items():
            with archive.open(f"{key}.npy", "w") as member:
                np.lib.format.write_array(member, values)
    return path


def _assert_equal(found: Parameters, expected: Parameters) -> None:
    assert list(found) == sorted(expected)
    for key, values in found.items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected[key])


def _refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        list(read_parameters(path, LAYOUT))
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_npz_round_trip(tmp_path: Path, parameters: Parameters, compressed: bool):
    path = tmp_path / "checkpoint.npz"
    (np.savez_compressed if compressed else np.savez)(path, allow_pickle=False, **parameters)
    _assert_equal(dict(read_parameters(path, LAYOUT)), parameters)


def test_npz_of_other_byte_and_memory_order(tmp_path: Path, parameters: Parameters):
    stored = {key: np.asfortranarray(values.astype(">f4")) for key, values in parameters.items()}
    path = _write_npz(tmp_path / "checkpoint.npz", stored)
    _assert_equal(dict(read_parameters(path, LAYOUT)), parameters)


def test_safetensors_float32(tmp_path: Path, parameters: Parameters):
    path = tmp_path / "checkpoint.safetensors"
    write_safetensors(path, parameters)
    _assert_equal(dict(read_parameters(path, LAYOUT)), parameters)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_safetensors_float16(tmp_path: Path, parameters: Parameters):
    path = tmp_path / "checkpoint.safetensors"
    write_safetensors(path, parameters, half=True)
    rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in parameters.items()}
    found = dict(read_parameters(path, LAYOUT))
    _assert_equal(found, rounded)
    assert fingerprint(found) == fingerprint(rounded) != fingerprint(parameters)


def test_the_container_is_told_by_content_not_by_name(tmp_path: Path, parameters: Parameters):
    archive = _write_npz(tmp_path / "checkpoint.safetensors", parameters)
    _assert_equal(dict(read_parameters(archive, LAYOUT)), parameters)
    write_safetensors(tmp_path / "checkpoint.npz", parameters)
    _assert_equal(dict(read_parameters(tmp_path / "checkpoint.npz", LAYOUT)), parameters)


def test_the_fingerprint_does_not_depend_on_the_container(tmp_path: Path):
    layout = encoder_layout(TINY)
    released = dict(read_parameters(TINY_FILE, layout))
    write_safetensors(tmp_path / "tiny.safetensors", released)
    again = dict(read_parameters(tmp_path / "tiny.safetensors", layout))
    assert fingerprint(again) == fingerprint(released)


def test_the_fingerprint_is_of_names_shapes_and_values(parameters: Parameters):
    whole = fingerprint(parameters)
    assert whole == fingerprint(dict(reversed(parameters.items())))
    assert whole == fingerprint({k: v.astype(np.float64) for k, v in parameters.items()})
    assert whole == fingerprint({k: np.asfortranarray(v) for k, v in parameters.items()})
    key = "params/a/kernel"
    value = parameters[key].copy()
    value[1, 2] = np.nextafter(value[1, 2], np.float32(9))
    renamed = {(k if k != key else "params/a/other"): v for k, v in parameters.items()}
    changes = [
        parameters | {key: value},
        parameters | {key: parameters[key].reshape(3, 2)},
        parameters | {key: parameters[key].reshape(6)},
        renamed,
        {k: v for k, v in parameters.items() if k != key},
    ]
    assert len({whole, *map(fingerprint, changes)}) == 1 + len(changes)


@pytest.mark.parametrize("container", ["npz", "safetensors"])
def test_all_that_differs_is_listed_at_once(tmp_path: Path, parameters: Parameters, container: str):
    layout = LAYOUT | {"params/c/w": (2,)}
    stored = {
        "params/a/kernel": parameters["params/a/kernel"].T.copy(),
        "params/b/w": parameters["params/b/w"].astype(np.int32),
        "params/c/w": np.zeros(2, np.float64),
        "params/head/one": np.zeros(1, np.float32),
        "params/head/two": np.zeros(1, np.float32),
    }
    path = tmp_path / f"checkpoint.{container}"
    if container == "npz":
        _write_npz(path, stored)
    else:
        save_file(stored, path)
    with pytest.raises(WeightsError) as caught:
        list(read_parameters(path, layout))
    message = str(caught.value)
    assert str(path) in message
    assert "missing: params/a/bias;" in message
    assert "not part of the model: params/head/one, params/head/two;" in message
    assert "of another shape: params/a/kernel is (3, 2), not (2, 3);" in message
    types = message.split("neither float16 nor float32: ")[1]
    assert "params/b/w is " in types
    assert "params/c/w is " in types
    assert "params/a/kernel" not in types


def test_a_list_of_strange_names_is_cut(tmp_path: Path):
    stored = {f"layer {i} {'x' * 300}": np.zeros(1, np.float32) for i in range(100)}
    message = _refusal(_write_npz(tmp_path / "other.npz", stored))
    assert "and 40 more" in message
    assert len(message) < 15_000


def test_nothing_is_read_when_the_names_differ(tmp_path: Path, parameters: Parameters):
    parameters["params/a/bias"][:] = np.nan
    del parameters["params/b/w"]
    message = _refusal(_write_npz(tmp_path / "checkpoint.npz", parameters))
    assert "missing: params/b/w" in message
    assert "finite" not in message


def test_a_pickled_array_in_an_npz_is_never_loaded(tmp_path: Path, parameters: Parameters):
    stored: dict[str, np.ndarray] = dict(parameters)
    stored["params/a/bias"] = np.array([Dangerous(), 0, 0], object)
    message = _refusal(_write_npz(tmp_path / "checkpoint.npz", stored))
    assert "it holds pickled objects, which could run code" in message
    assert not Dangerous.loaded


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_a_bare_pickle_is_never_loaded(tmp_path: Path, protocol: int):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(pickle.dumps({"params": Dangerous()}, protocol))
    message = _refusal(path)
    assert "Found a pickle, which could run code" in message
    assert not Dangerous.loaded


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"epoch 12: loss 0.3\n", b"\x93NUMPY\x01\x00v\x00"]
)
def test_other_files_are_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(content)
    message = _refusal(path)
    assert "Expected an .npz archive or a safetensors file" in message
    assert "pickle" not in message


def test_a_folder_and_a_missing_file(tmp_path: Path):
    assert "is a folder" in _refusal(tmp_path)
    assert "There is no checkpoint" in _refusal(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("container", ["npz", "safetensors"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.95])
def test_truncated_files(tmp_path: Path, parameters: Parameters, container: str, kept: float):
    path = tmp_path / f"checkpoint.{container}"
    if container == "npz":
        _write_npz(path, parameters)
    else:
        write_safetensors(path, parameters)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    message = _refusal(path)
    assert "can't be read" in message
    assert "Copy or download it again" in message


def test_a_flipped_bit_in_an_npz(tmp_path: Path, parameters: Parameters):
    path = _write_npz(tmp_path / "checkpoint.npz", parameters)
    content = bytearray(path.read_bytes())
    content[content.index(parameters["params/b/w"].tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert "can't be read" in _refusal(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', (",
        b"{[]: 1}",
        b"{'descr': 5, 'fortran_order': False, 'shape': (3,)}",
        b"'''",
        b"(" * 5000,
    ],
)
def test_damaged_headers_in_an_npz(tmp_path: Path, header: bytes):
    path = tmp_path / "checkpoint.npz"
    with zipfile.ZipFile(path, "w") as archive:
        start = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little")
        archive.writestr("params/a/bias.npy", start + header + b"\n" + bytes(12))
    assert "can't be read" in _refusal(path)


def test_an_npz_that_unpacks_to_more_than_it_says(tmp_path: Path, parameters: Parameters):
    path = tmp_path / "checkpoint.npz"
    _write_npz(path, {k: v for k, v in parameters.items() if k != "params/a/bias"})
    with zipfile.ZipFile(path, "a") as archive, archive.open("params/a/bias.npy", "w") as member:
        np.lib.format.write_array(member, parameters["params/a/bias"])
        member.write(bytes(1000))
    message = _refusal(path)
    assert "'params/a/bias' does not have the size of its shape" in message
    assert "1,140 bytes" in message


def test_a_parameter_that_is_there_twice(tmp_path: Path, parameters: Parameters):
    path = _write_npz(tmp_path / "checkpoint.npz", parameters)
    with zipfile.ZipFile(path, "a") as archive, archive.open("params/b/w", "w") as member:
        np.lib.format.write_array(member, parameters["params/b/w"])
    assert "holds 'params/b/w' twice" in _refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("container", ["npz", "safetensors"])
def test_values_that_are_not_finite(
    tmp_path: Path, parameters: Parameters, container: str, value: float
):
    parameters["params/a/kernel"][1, 1] = value
    path = tmp_path / f"checkpoint.{container}"
    if container == "npz":
        _write_npz(path, parameters)
    else:
        write_safetensors(path, parameters)
    assert "params/a/kernel has values that are not finite" in _refusal(path)
