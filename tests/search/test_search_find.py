"""Search by text: the ranking is known because the embeddings are made by hand."""

from __future__ import annotations

import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from search_stores import WIDTH, WordBackbone, fill, project_with_embeddings, text_model

from ethoprism import workflow
from ethoprism.annotation import bout_table, span_table
from ethoprism.errors import InputError, ProjectError
from ethoprism.explore.similar import apart
from ethoprism.extract import token_key
from ethoprism.project import Project
from ethoprism.search.find import Found, SearchPlan, search
from ethoprism.search.measured import behaviour_of, measure, wilson
from ethoprism.search.outputs import found_sheet, write_list
from ethoprism.search.prompts import Query, ensemble, filled, too_long
from ethoprism.subjects import Unit
from ethoprism.tokens import TokenStore

BARE = ("{}",)


def result(task: Generator[Any, None, Any]) -> Any:
    try:
        while True:
            next(task)
    except StopIteration as stop:
        return stop.value


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, WordBackbone]:
    folder = tmp_path_factory.mktemp("search")
    backbone = WordBackbone(text_model(folder / "words.model"))
    return project_with_embeddings(folder, backbone), backbone


@pytest.fixture
def backbone(made: tuple[Project, WordBackbone]) -> WordBackbone:
    made[1].asked.clear()
    return made[1]


@pytest.fixture
def project(made: tuple[Project, WordBackbone], tmp_path: Path) -> Project:
    """A copy, which tests may change."""
    shutil.copytree(made[0].folder.parent, tmp_path, dirs_exist_ok=True)
    return Project.open(tmp_path / "project")


def look(project: Project, backbone: WordBackbone, text: str, **plan: Any) -> Found:
    without = plan.pop("without", ())
    query = Query((text,), without, BARE)
    return result(search(project, backbone, query, SearchPlan(**plan)))


def test_the_best_window_comes_first_and_none_overlap(
    project: Project, backbone: WordBackbone
) -> None:
    found = look(project, backbone, "groom", count=4, min_gap_s=0.0)
    table = found.table()
    assert table["rank"].tolist() == [1, 2, 3, 4]
    # Recording a is the clean one; of equal windows the earlier comes first.
    assert table["recording"].tolist()[:3] == ["a", "a", "a"]
    assert table["start_frame"].tolist()[:3] == [60, 68, 76]
    np.testing.assert_allclose(table["score"][:3], 1, atol=1e-3)
    assert table["score"].is_monotonic_decreasing
    assert (table["stop_frame"] - table["start_frame"] == 8).all()
    times = project.frame_times("a")
    assert table["start_s"][0] == times[60] and table["stop_s"][0] == times[68]


def test_moments_of_one_recording_keep_their_distance(
    project: Project, backbone: WordBackbone
) -> None:
    for plan in ({}, {"min_gap_s": 1.0}):
        found = look(project, backbone, "walk", count=100, **plan)
        gap = plan.get("min_gap_s", 8 * float(np.diff(project.frame_times("a")).mean()))
        for _, rows in found.table().groupby("recording"):
            rows = rows.sort_values("start_s")
            between = rows["start_s"].to_numpy()[1:] - rows["stop_s"].to_numpy()[:-1]
            assert len(between) and (between >= gap - 1e-6).all()


def test_a_contrast_is_subtracted(project: Project, backbone: WordBackbone) -> None:
    plain = look(project, backbone, "walk")
    against = look(project, backbone, "walk", without=("groom",))
    grooms = plain.moments.start >= 60
    np.testing.assert_allclose(against.scores[grooms], -1, atol=0.03)
    np.testing.assert_allclose(against.scores[~grooms], plain.scores[~grooms], atol=1e-3)


def test_frames_are_searched_by_their_own_embeddings(
    project: Project, backbone: WordBackbone
) -> None:
    found = look(project, backbone, "groom", level="frame", count=3)
    table = found.table()
    assert table["start_frame"][0] == 64 and table["stop_frame"][0] == 65
    assert len(found.moments) == 192
    # The default gap is that of a window, measured by frames.
    assert table["start_frame"][1] == 64 + 1 + 8


def test_only_some_recordings(project: Project, backbone: WordBackbone) -> None:
    found = look(project, backbone, "walk", recordings=("b",))
    assert set(found.table()["recording"]) == {"b"}
    with pytest.raises(ProjectError, match="no recording 'c'"):
        look(project, backbone, "walk", recordings=("c",))


def test_what_was_not_encoded_is_never_found(project: Project, backbone: WordBackbone) -> None:
    key = token_key(backbone.card, hop=4, pooling=1)
    store = workflow.open_tokens(project, key, Unit("a"))
    frames = store.frame_embeddings().astype(np.float32)
    windows = store.window_embeddings().astype(np.float32)
    frames[64:], windows[15:] = 0, 0
    fill(store, frames, windows)
    found = look(project, backbone, "groom", count=100)
    assert len(found.moments) == 15 + 23
    assert found.table()["recording"][0] == "b"


def test_tokens_without_embeddings_name_the_remedy(
    project: Project, backbone: WordBackbone
) -> None:
    key = token_key(backbone.card, hop=4, pooling=1)
    path = project.tokens_path(key.digest, "a")
    shutil.rmtree(path)
    with pytest.raises(ProjectError, match="ethoprism extract"):
        look(project, backbone, "walk")
    TokenStore.create(path, key, 96, project.entry("a").content_key)
    with pytest.raises(ProjectError, match="no embeddings"):
        look(project, backbone, "walk")


def test_steps_between_sampled_frames(tmp_path: Path, backbone: WordBackbone) -> None:
    project = project_with_embeddings(tmp_path, backbone, names="a", step=3, n_frames=96)
    table = look(project, backbone, "groom", count=1).table()
    assert (table["start_frame"][0], table["stop_frame"][0]) == (60, 84)
    found = look(project, backbone, "groom", count=1, level="frame")
    assert found.moments.stop.max() == 96
    assert found.table()["stop_frame"][0] - found.table()["start_frame"][0] == 3


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 1)), min_size=1, max_size=30),
    st.integers(0, 9),
    st.integers(1, 12),
)
def test_chosen_moments_are_apart_and_no_better_one_was_left_out(
    moments: list[tuple[int, int]], zone: int, count: int
) -> None:
    start = np.array([s for s, _ in moments], np.int64)
    number = np.array([r for _, r in moments], np.int64)
    stop = start + 4
    chosen = apart(np.arange(len(start)), number, start, stop, count, zone=float(zone))

    def close(i: int, j: int) -> bool:
        return bool(
            number[i] == number[j] and start[i] < stop[j] + zone and stop[i] > start[j] - zone
        )

    assert chosen == sorted(chosen) and 1 <= len(chosen) <= count
    assert not any(close(i, j) for i in chosen for j in chosen if i < j)
    last = chosen[-1] if len(chosen) == count else len(start)
    for i in set(range(last)) - set(chosen):
        assert any(close(i, j) for j in chosen if j < i)


def test_prompts_are_averaged_and_brought_to_length_one(backbone: WordBackbone) -> None:
    assert filled(("x", "y"), ("{}", "a {}", "{}")) == ("x", "a x", "y", "a y")
    vector = ensemble(backbone, ("walk", "groom"))
    np.testing.assert_allclose(vector[:3], [0.5**0.5, 0.5**0.5, 0], atol=1e-6)
    query = Query(("walk",), ("groom",), BARE)
    np.testing.assert_allclose(query.direction(backbone)[:2], [1, -1], atol=1e-6)
    assert query.label == "walk, not groom"


@pytest.mark.parametrize("texts", [(), ("",), ("walk", " ?! ")])
def test_an_empty_text_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="text to search for"):
        Query(texts)


@pytest.mark.parametrize("templates", [(), ("a video",), ("{} and {}",)])
def test_a_template_without_a_place_is_refused(templates: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="no place for the text"):
        Query(("walk",), (), templates)


@pytest.mark.parametrize("plan", [{"count": 0}, {"min_gap_s": -1.0}, {"min_gap_s": np.nan}])
def test_a_list_that_cannot_be_made_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be made"):
        SearchPlan(**plan)


def test_a_prompt_that_is_cut_is_told(backbone: WordBackbone) -> None:
    long = "side by side " * 60
    [remark] = too_long(backbone.tokenizer, ["walk", long])
    count = backbone.tokenizer.count(long)
    assert f"has {count} tokens" in remark and "first 64" in remark and count > 64


def label(project: Project, name: str, behaviour: str, start: int, stop: int, seen: int) -> None:
    span: dict[str, object] = {
        "recording": name, "behaviour": behaviour, "start_frame": 0, "stop_frame": seen,
    }  # fmt: skip
    bout = {**span, "start_frame": start, "stop_frame": stop}
    with workflow.open_annotations(project) as store:
        store.add(bout_table([bout]), span_table([span]), description="x")


def test_the_list_is_measured_against_labels(project: Project, backbone: WordBackbone) -> None:
    label(project, "a", "walk", 0, 30, 96)
    found = look(project, backbone, "walk", count=20, min_gap_s=0.0)
    assert behaviour_of(project.ethogram, found.query) == "walk"
    measured = measure(project, found, "walk")
    listed = found.table().query("recording == 'a'")
    # A window shows it if 4 of its 8 frames do: those that start at 26 or before.
    assert measured.hits == int((listed["start_frame"] <= 26).sum())
    assert measured.judged == len(listed)
    assert (measured.present, measured.labelled) == (7, 23)
    assert measured.chance == 7 / 23
    assert measured.low < measured.precision < measured.high
    assert f"{measured.hits} of the {measured.judged}" in measured.sentence
    assert "0.30 do (chance)" in measured.sentence


def test_without_labels_nothing_is_claimed(project: Project, backbone: WordBackbone) -> None:
    found = look(project, backbone, "walk", count=5)
    measured = measure(project, found, "walk")
    assert (measured.judged, measured.labelled) == (0, 0)
    assert np.isnan(measured.precision) and "nothing was measured" in measured.sentence
    label(project, "b", "self_groom", 90, 96, 96)
    measured = measure(project, look(project, backbone, "walk", count=1), "self_groom")
    assert measured.judged == 0 and "None of the list" in measured.sentence


def test_a_behaviour_is_known_by_name_or_definition(project: Project) -> None:
    known = project.ethogram
    assert behaviour_of(known, Query(("Self groom",))) == "self_groom"
    assert (
        behaviour_of(
            known,
            Query(
                (
                    "x",
                    "Groom.",
                )
            ),
        )
        == "self_groom"
    )
    assert behaviour_of(known, Query(("fly",))) == ""


@given(st.integers(0, 40), st.integers(1, 40))
def test_wilson_holds_the_share_and_narrows(hits: int, judged: int) -> None:
    hits = min(hits, judged)
    low, high = wilson(hits, judged)
    assert 0 <= low <= hits / judged <= high <= 1
    wide_low, wide_high = wilson(hits, judged, 0.99)
    assert wide_low <= low and high <= wide_high
    # Wilson, 1927: the bounds solve |p - share| = z sqrt(p (1 - p) / n).
    for p in (low, high):
        if 0 < p < 1:
            z = abs(p - hits / judged) / np.sqrt(p * (1 - p) / judged)
            assert z == pytest.approx(1.959964, rel=1e-4)


def test_list_and_sheet_say_where_they_come_from(
    project: Project, backbone: WordBackbone, tmp_path: Path
) -> None:
    found = look(project, backbone, "walk", count=3)
    path = tmp_path / "found.csv"
    write_list(found, path, measure(project, found, "walk"))
    table = pd.read_csv(path, keep_default_na=False)
    assert list(table.columns) == [
        "rank", "recording", "subject", "start_frame", "stop_frame", "start_s", "stop_s", "score",
    ]  # fmt: skip
    assert len(table) == 3
    card = (tmp_path / "found.csv.card.json").read_text()
    assert "words (untrained)" in card and "random (untrained)" in card
    result(found_sheet(project, found, tmp_path / "found.png"))
    from PIL import Image

    with Image.open(tmp_path / "found.png") as picture:
        assert picture.width > picture.height > 50


def test_embeddings_have_the_width_of_the_text(project: Project, backbone: WordBackbone) -> None:
    assert look(project, backbone, "walk").query.direction(backbone).shape == (WIDTH,)
    assert backbone.asked.count("walk") == 2
