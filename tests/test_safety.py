"""Guards for what is opened and written."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from ethoprism.exchange import bouts_csv, frames_csv
from ethoprism.exchange.spec import FrameLabels, ImportRequest, read_table
from ethoprism.safety import (
    check_packed,
    check_zarr,
    guard_cell,
    guarded,
    load_npy,
    npz_headers,
    printable,
    read_json,
    unguard_cell,
)

FORMULA = "=+-@\t\r\n＝＋－＠"
TEXT = st.one_of(st.text(max_size=8), st.text(alphabet="'=+-@\t\r\n a＝", max_size=6))
# A behaviour's name as `Behaviour` allows it, which files can hold without quoting rules.
NAME = st.text(alphabet="'=+-@ab,;\"é", min_size=1, max_size=6).filter(
    lambda name: name not in ("", "p_")
)


@given(TEXT)
def test_a_cell_is_no_formula_and_comes_back(text: str):
    cell = guard_cell(text)
    assert not cell.startswith(tuple(FORMULA))
    assert unguard_cell(cell) == text


@given(TEXT, TEXT)
def test_two_texts_never_share_a_cell(one: str, other: str):
    assert (guard_cell(one) == guard_cell(other)) == (one == other)


def test_numbers_are_left_alone():
    table = pd.DataFrame({"n": [-1, -2], "x": [-0.5, np.nan], "=t": ["-a", "b"]})
    result = guarded(table)
    assert result["n"].tolist() == [-1, -2]
    assert result["x"].iloc[0] == -0.5
    assert result["'=t"].tolist() == ["'-a", "b"]
    assert table["=t"].tolist() == ["-a", "b"]


@given(subject=NAME.map(str.strip), names=st.lists(NAME.map(str.strip), min_size=1, unique=True))
def test_no_csv_that_is_written_holds_a_formula_and_all_of_it_comes_back(
    tmp_path_factory: pytest.TempPathFactory, subject: str, names: list[str]
):
    names = [name for name in names if name]
    if not names or {f"p_{n}" for n in names} & set(names):
        return
    folder = tmp_path_factory.mktemp("csv")
    states = np.ones((3, len(names)), np.int8)
    labels = FrameLabels(
        "r", subject, np.arange(3.0), tuple(names), states, np.ones(3, bool), None, "manual"
    )
    request = ImportRequest({"r": 3}, lambda name: np.arange(3.0), observed="whole")
    for module in (frames_csv, bouts_csv):
        path = folder / f"{module.__name__}.csv"
        module.write(path, [labels])
        cells = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
        texts = cells.to_numpy().ravel().tolist()
        assert not [t for t in texts if t.startswith(tuple(FORMULA))]
        plan = module.read(path, request)
        assert sorted(plan.behaviours) == sorted(names)
        assert set(plan.bouts["subject"]) == {subject}


def test_a_table_of_another_program_keeps_its_apostrophes(tmp_path: Path):
    (tmp_path / "t.csv").write_text("behaviour,comment\n'quoted',it's\n")
    table = read_table(tmp_path / "t.csv", "table")
    assert table.to_numpy().tolist() == [["'quoted'", "it's"]]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "3", "", "\ud800"])
def test_json_that_is_no_sound_object(tmp_path: Path, text: str):
    path = tmp_path / "card.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError):
        read_json(path)


def test_a_long_json_is_not_read(tmp_path: Path):
    (tmp_path / "card.json").write_text(json.dumps({"a": "b" * 100}))
    with pytest.raises(ValueError, match="at most 50"):
        read_json(tmp_path / "card.json", 50)


def _npy(shape: tuple[int, ...], values: bytes = b"") -> bytes:
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + values


def test_a_hundred_bytes_that_state_a_trillion_numbers(tmp_path: Path):
    path = tmp_path / "a.npy"
    path.write_bytes(_npy((10**12,)))
    with pytest.raises(ValueError, match="bytes of values"):
        load_npy(path, (10**12,), np.float64)
    with pytest.raises(ValueError, match="1000000000000"):
        load_npy(path, (3,), np.float64)
    path.write_bytes(_npy((3,), bytes(24)))
    assert load_npy(path, (3,), np.float64).tolist() == [0, 0, 0]


def test_an_archive_that_states_more_than_is_allowed(tmp_path: Path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(10**6))  # a megabyte of zeros takes a kilobyte
    assert path.stat().st_size < 10**5
    assert npz_headers(path, 2**24)["a"] == ((10**6,), np.dtype(np.float64))
    with pytest.raises(ValueError, match="unpacks to more than"):
        npz_headers(path, 2**20)


def test_an_archive_packed_in_another_way(tmp_path: Path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.npy", _npy((3,), bytes(24)))
    with pytest.raises(ValueError, match="unknown way"):
        npz_headers(path, 2**20)


def _group(path: Path, **changes: object) -> Path:
    group = zarr.create_group(path, zarr_format=3, attributes={"a": 1})
    group.create_array("x", data=np.zeros((4, 2), np.float32), chunks=(2, 2))
    file = path / "x" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return path


def test_a_sound_group(tmp_path: Path):
    assert check_zarr(_group(tmp_path / "g"), {"x": ((4, 2), "float32")}) == {"a": 1}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"shape": [10**15, 2]}, "shape"),
        ({"shape": [-4, 2]}, "shape"),
        ({"shape": [True, 2]}, "shape"),
        ({"data_type": "float64"}, "holds float64"),
        ({"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]}, "numcodecs.pickle"),
        ({"codecs": [{"name": "pickle"}]}, "pickle"),
        ({"codecs": 3}, "described"),
        (
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**40, 2]}}},
            "larger",
        ),
        ({"storage_transformers": [{"name": "x"}]}, "transformers"),
    ],
)
def test_a_group_that_was_changed(tmp_path: Path, changes: dict[str, object], match: str):
    with pytest.raises(ValueError, match=match):
        check_zarr(_group(tmp_path / "g", **changes), {"x": ((4, 2), "float32")})


def test_zarr_format_2_is_refused(tmp_path: Path):
    zarr.create_group(tmp_path / "g", zarr_format=2)
    (tmp_path / "g" / "zarr.json").write_text('{"zarr_format": 2}')
    with pytest.raises(ValueError, match="format 3"):
        check_zarr(tmp_path / "g", {})


@pytest.mark.parametrize("values", [10, 300, 100_000])
@pytest.mark.parametrize("shards", [None, (400_000,)])
def test_the_length_that_a_chunk_states(tmp_path: Path, values: int, shards: tuple[int] | None):
    chunks = (values,) if shards is None else (100_000,)
    array = zarr.create_array(
        tmp_path / "a", shape=(values,), dtype="float32", chunks=chunks, shards=shards
    )
    array[:] = np.random.default_rng(0).random(values, np.float32)
    file = tmp_path / "a" / "c" / "0"
    unpacked = chunks[0] * 4
    inner = 4 if shards else 0
    check_packed(file, unpacked, inner)
    with pytest.raises(ValueError, match="unpacks to"):
        check_packed(file, unpacked - 1, inner)


@given(st.text())
def test_nothing_that_is_printed_steers_the_terminal(text: str):
    shown = printable(f"\x1b]0;title\x07{text}")
    assert not any((c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" for c in shown)
    assert (
        printable("plain\ttext\nwith breaks, é and 日本") == "plain\ttext\nwith breaks, é and 日本"
    )
