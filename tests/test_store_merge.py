"""Several annotators, and copies of a store that were edited apart."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ethoprism.annotation import bout_table
from ethoprism.errors import LabelError
from ethoprism.store import AnnotationStore
from ethoprism.store.merge import MergePlan, merge, plan_merge

N_FRAMES = {"r": 10_000, "s": 10_000}
SAME = {"r": "r", "s": "s"}


def _bout(start: int, stop: int, behaviour: str = "rest", **values: object) -> pd.DataFrame:
    row: dict[str, object] = {"recording": "r", "behaviour": behaviour, **values}
    return bout_table([{**row, "start_frame": start, "stop_frame": stop}])


def _open(path: Path, **options: Any) -> AnnotationStore:
    return AnnotationStore(path / "annotations.sqlite", N_FRAMES, **options)


def _ranges(store: AnnotationStore) -> list[tuple[int, int]]:
    table = store.bouts()
    return list(zip(table["start_frame"], table["stop_frame"], strict=True))


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    """Two copies that share the bouts 0-10, 20-30 and 40-50, with ids 1, 2 and 3."""
    (tmp_path / "ours").mkdir()
    with _open(tmp_path / "ours") as store:
        for start in (0, 20, 40):
            store.add(_bout(start, start + 10), description="shared")
    shutil.copytree(tmp_path / "ours", tmp_path / "theirs")
    return tmp_path / "ours", tmp_path / "theirs"


def _plan(copies: tuple[Path, Path]) -> MergePlan:
    with _open(copies[0], mode="read") as ours, _open(copies[1], mode="read") as theirs:
        return plan_merge(ours, theirs, SAME)


def test_what_only_one_side_did_is_taken_and_can_be_undone(copies: tuple[Path, Path]):
    with _open(copies[0]) as ours:
        ours.add(_bout(100, 110), description="we add")
        ours.remove([3], description="we remove")
    with _open(copies[1]) as theirs:
        theirs.add(_bout(200, 210), description="they add")
        theirs.remove([1], description="they remove")
        theirs.change(2, stop_frame=33, description="they change")
    plan = _plan(copies)
    assert plan.conflicts == ()
    assert plan.table().to_dict("records") == [
        {"recording": "r", "added": 1, "changed": 1, "removed": 1, "conflicts": 0}
    ]
    with _open(copies[0]) as ours:
        before = ours.bouts()
        assert merge(ours, plan, description="merge") is not None
        assert _ranges(ours) == [(20, 33), (100, 110), (200, 210)]
        ours.undo()
        pd.testing.assert_frame_equal(ours.bouts(), before)
        ours.redo()
    assert _plan(copies).empty  # a second time there is nothing to do


@pytest.mark.parametrize(
    ("take", "expected"),
    [("ours", [(0, 11)]), ("theirs", [(0, 12)]), ("both", [(0, 11), (0, 12)])],
)
def test_both_changed_the_same_row(copies: tuple[Path, Path], take: Any, expected: list):
    with _open(copies[0]) as ours:
        ours.change(1, stop_frame=11, description="ours")
    with _open(copies[1]) as theirs:
        theirs.change(1, stop_frame=12, description="theirs")
    plan = _plan(copies)
    (line,) = plan.conflict_table().to_dict("records")
    assert (line["ours"], line["theirs"], line["why"]) == ("0-11", "0-12", "both changed it")
    with _open(copies[0]) as ours:
        merge(ours, plan, take, description="merge")
        assert _ranges(ours) == [*expected, (20, 30), (40, 50)]
    assert len(_plan(copies).conflicts) == (take == "ours")


def test_one_removed_what_the_other_changed(copies: tuple[Path, Path]):
    with _open(copies[0]) as ours:
        ours.remove([1], description="ours")
        ours.change(2, stop_frame=31, description="ours")
    with _open(copies[1]) as theirs:
        theirs.change(1, stop_frame=12, description="theirs")
        theirs.remove([2], description="theirs")
    plan = _plan(copies)
    table = plan.conflict_table()
    assert sorted(zip(table["ours"], table["theirs"], strict=True)) == [
        ("20-31", "removed"),
        ("removed", "0-12"),
    ]
    with _open(copies[0]) as ours:
        merge(ours, plan, "theirs", description="merge")
        assert _ranges(ours) == [(0, 12), (40, 50)]


def test_new_bouts_that_overlap_are_a_conflict_and_equal_ones_are_not(copies: tuple[Path, Path]):
    with _open(copies[0]) as ours:
        ours.add(_bout(100, 110), description="x")
        ours.add(_bout(300, 310), description="alike")
        ours.add(_bout(400, 410, annotator="anna"), description="another's")
    with _open(copies[1]) as theirs:
        theirs.add(_bout(105, 115), description="x")
        theirs.add(_bout(300, 310), description="alike")
        theirs.add(_bout(400, 412, annotator="bob"), description="another's")
        theirs.add(_bout(100, 115, "walk"), description="another behaviour")
    plan = _plan(copies)
    assert plan.same == 1
    (line,) = plan.conflict_table().to_dict("records")
    assert (line["ours"], line["theirs"]) == ("100-110", "105-115")
    with _open(copies[0]) as ours:
        merge(ours, plan, "both", description="merge")
        new = [r for r in _ranges(ours) if r[0] >= 100]
        assert new == [(100, 110), (100, 115), (105, 115), (300, 310), (400, 410), (400, 412)]


def test_recordings_that_ours_lacks_are_counted(copies: tuple[Path, Path]):
    with _open(copies[1]) as theirs:
        theirs.add(_bout(1, 2, recording="s"), description="x")
    with _open(copies[0], mode="read") as ours, _open(copies[1], mode="read") as theirs:
        plan = plan_merge(ours, theirs, {"r": "r"})
    assert plan.unknown == {"s": 1} and plan.empty


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 9)), max_size=8),
)
def test_a_merge_drops_nothing_silently(
    tmp_path: Path, copies: tuple[Path, Path], steps: list[tuple[bool, int, int]]
):
    """With both sides kept, every row that a side added or changed is there afterwards."""
    work = tmp_path / "work"
    shutil.rmtree(work, ignore_errors=True)
    pair = work / "ours", work / "theirs"
    for source, target in zip(copies, pair, strict=True):
        shutil.copytree(source, target)
    with _open(pair[0]) as ours, _open(pair[1]) as theirs:
        for on_ours, target, size in steps:
            store = ours if on_ours else theirs
            if target == 0 or target not in store.bouts().index:
                store.add(_bout(1000 + 37 * size, 1000 + 40 * size), description="add")
            elif size < 4:
                store.remove([target], description="remove")
            else:
                store.change(target, stop_frame=target * 20 + size, description="change")
        shared = {(0, 10), (20, 30), (40, 50)}
        wanted = (set(_ranges(ours)) | set(_ranges(theirs))) - shared
        merge(ours, plan_merge(ours, theirs, SAME), "both", description="merge")
        assert wanted <= set(_ranges(ours))


def test_blind_annotators_see_and_undo_their_own_only(tmp_path: Path):
    with _open(tmp_path, annotator="anna", blind=True) as anna:
        anna.add(_bout(1, 2), description="hers")
    with _open(tmp_path, annotator="bob", blind=True) as bob:
        assert bob.bouts().empty and bob.history() == []
        assert bob.undo() is None
        bob.add(_bout(3, 4), description="his")
        assert bob.bouts()["annotator"].tolist() == ["bob"]
        with pytest.raises(LabelError, match="No such rows"):
            bob.remove([1], description="hers")
        with pytest.raises(LabelError, match="cannot add another's"):
            bob.add(_bout(5, 6, annotator="anna"), description="hers")
    with _open(tmp_path, annotator="anna", blind=True) as anna:
        edit = anna.undo()  # his edit is newer, and stays
        assert edit is not None and edit.author == "anna"
    with _open(tmp_path) as everybody:
        assert everybody.bouts()["annotator"].tolist() == ["bob"]
        assert len(everybody.history()) == 2
    with _open(tmp_path, annotator="bob", blind=True) as bob:
        bob.add(_bout(8, 9), description="his")  # does not end her undone branch
    with _open(tmp_path, annotator="anna", blind=True) as anna:
        assert anna.redo() is not None
        assert _ranges(anna) == [(1, 2)]


def test_undo_is_refused_where_somebody_changed_the_row_since(tmp_path: Path):
    with _open(tmp_path, annotator="anna", blind=True) as anna:
        anna.add(_bout(1, 2), description="hers")
    with _open(tmp_path, annotator="bob") as bob:
        bob.change(1, stop_frame=9, description="corrected")
    with _open(tmp_path, annotator="anna", blind=True) as anna:
        with pytest.raises(LabelError, match="changed or removed since"):
            anna.undo()
        assert _ranges(anna) == [(1, 9)]
        assert [edit.undone for edit in anna.history()] == [False]


def test_an_annotator_who_is_not_blind_sees_all(tmp_path: Path):
    with _open(tmp_path, annotator="anna") as anna:
        anna.add(_bout(1, 2), description="hers")
        anna.add(_bout(5, 6, annotator="bob"), description="imported")
        assert anna.bouts()["annotator"].tolist() == ["anna", "bob"]
        assert {edit.author for edit in anna.history()} == {"anna"}
    with pytest.raises(LabelError, match="needs the name"):
        _open(tmp_path, blind=True)


def test_a_split_is_one_edit(tmp_path: Path):
    with _open(tmp_path) as store:
        store.add(_bout(10, 30), description="draw")
        halves = pd.concat([_bout(10, 20), _bout(20, 30)])
        store.apply(remove_bouts=[1], add_bouts=halves, description="split")
        assert _ranges(store) == [(10, 20), (20, 30)]
        store.undo()
        assert _ranges(store) == [(10, 30)] and store.bouts().index.tolist() == [1]
